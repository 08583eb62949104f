"""Answering questions about a published corpus from memory: what `quarry serve` and `quarry_dagster.open` share.

- :mod:`~quarry_dagster.serve.mapped`: arrays that are sorted, and mapped from files
- :mod:`~quarry_dagster.serve.standing`: the sketches of the corpus' texts, by hash
- :mod:`~quarry_dagster.serve.snapshot`: one published corpus, loaded, which never changes
- :mod:`~quarry_dagster.serve.building`: its files, made in a process of their own
- :mod:`~quarry_dagster.serve.following`: the newest snapshot, swapped in whole
- :mod:`~quarry_dagster.serve.questions`: is a text in, what is near it, what is known of a document
- :mod:`~quarry_dagster.serve.what_if`: what a run would do with a document
- :mod:`~quarry_dagster.serve.opened`: the face of all that in Python
- :mod:`~quarry_dagster.serve.web`: the same over HTTP; the other modules are of it alone

No rule and no bound stands here: whatever is decided is asked of :mod:`quarry_dagster.dedup`. Nothing is written to the
data root.

Why so: "The service asks the functions that a run asks" in docs/decisions.md.
"""
