"""Questions about a published corpus, answered from memory: is a text in, what is near it, what would a run do with it.

- :mod:`~quarry_dagster.asking.mapped`: arrays that are sorted, and mapped from files
- :mod:`~quarry_dagster.asking.standing`: the sketches of the corpus' texts, by hash
- :mod:`~quarry_dagster.asking.snapshot`: one published corpus, loaded, which never changes
- :mod:`~quarry_dagster.asking.building`: its files, made in a process of their own
- :mod:`~quarry_dagster.asking.following`: the newest snapshot, swapped in whole
- :mod:`~quarry_dagster.asking.questions`: is a text in, what is near it, what is known of a document
- :mod:`~quarry_dagster.asking.what_if`: what a run would do with a document
- :mod:`~quarry_dagster.asking.opened`: the face of all that in Python, `quarry_dagster.open`

No rule and no bound stands here: whatever is decided is asked of :mod:`quarry_dagster.dedup`. Nothing is written to the
data root. :mod:`quarry_dagster.serve` puts it on the network.

Why so: "The service asks the functions that a run asks" in docs/decisions.md.
"""
