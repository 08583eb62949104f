"""Which partitions are behind: not crawled, extracted, described, rated and embedded from their batch as it is now."""

from __future__ import annotations

from functools import lru_cache

import polars as pl

from quarry_dagster.store import FactSegment, PagesSegment, SignalSegment, Store, TextSegment, VectorSegment

_VERSION = pl.col("path").str.extract(r"/0*(\d+)[^/]*$", 1).cast(pl.Int64)
_SOURCE = pl.col("input").str.extract(r"^(\S+)", 1)
"""The content that a segment was made from: the first part of its fingerprint."""


def backlog(store: Store) -> dict[str, str]:
    """The partitions that are behind, in order, each with the versions that its tables have.

    As long as these stay the same, another run would do what the last one did.
    """
    return dict(_backlog(store.files.root, store.files.state().sha256))


@lru_cache(maxsize=1)
def _backlog(root: str, commit: str) -> dict[str, str]:
    """As :func:`backlog` of a root at a commit; a sensor asks every half minute, and mostly nothing has changed."""
    store = Store(root)
    raw = store.raw_pages.segments().frame()
    raw = raw.with_columns(batch=pl.col("others").str.json_path_match("$.batch").cast(pl.Int64))
    found = store.batches.segments().frame().select("partition", v0=_VERSION)
    for i, (table, source) in enumerate(
        (
            (raw, pl.col("batch")),
            (store.extracted_text.segments().frame(), _SOURCE),
            (store.embeddings.segments().frame(), _SOURCE),
            (store.page_metadata.segments().frame(), _SOURCE),
            (store.personal_data.segments().frame(), _SOURCE),
            (store.quality_signals.segments().frame(), _SOURCE),
        ),
        1,
    ):
        columns = (
            *(_VERSION.alias(f"v{i}"), source.alias(f"from{i}")),
            *(pl.col("content").alias(f"c{i}"), pl.col("path").alias(f"p{i}")),
        )
        made = table.select("partition", *columns)
        found = found.join(made, on="partition", how="left")
    in_line = (pl.col("from1") == pl.col("v0")) & (pl.col("from2") == pl.col("c1")) & (pl.col("from3") == pl.col("c2"))
    for i, table in ((4, store.page_metadata), (5, store.personal_data), (6, store.quality_signals)):
        if len(table.segments()):  # else the root is of before there was such a table: another run makes it
            in_line &= pl.col(f"from{i}") == pl.col("p2")
    behind = found.filter(~in_line.fill_null(False)).sort("partition")
    versions = pl.concat_str([pl.col(f"v{i}").fill_null(0) for i in range(7)], separator=".")
    return dict(behind.select("partition", versions.alias("versions")).iter_rows())


def follows(made: TextSegment | VectorSegment, source: PagesSegment | TextSegment) -> bool:
    """Whether a segment is made from what its source holds now; otherwise it waits to be materialized again."""
    return made.notes.input.inputs == (source.notes.content,)


def describes(facts: FactSegment | SignalSegment, texts: TextSegment) -> bool:
    """The same of what is told of documents: it is made from texts as they are, not from their content alone."""
    return facts.notes.input.inputs == (texts.path,)
