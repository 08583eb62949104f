"""The public reader: the tables as lazy polars frames, without Dagster."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Literal

import polars as pl

from quarry_dagster.errors import ConfigError, StoreError
from quarry_dagster.store import Segments, Store, Table, VectorNotes
from quarry_dagster.store.schemas import (
    DEDUP_DECISIONS,
    DEDUPED_CORPUS,
    FILTER_DECISIONS,
    PERSONAL_DATA,
    embeddings_schema,
)

TableName = Literal[
    "raw_pages",
    "extracted_text",
    "page_metadata",
    "personal_data",
    "quality_signals",
    "embeddings",
    "deduped_corpus",
    "dedup_decisions",
    "filter_decisions",
    "problems",
    "consent",
]


def scan(
    table: TableName, data: str | os.PathLike[str] | None = None, *, snapshot: int | str | None = None
) -> pl.LazyFrame:
    """The current snapshot of a table; what is being written is not seen, whole, until it is complete.

    What is read is compared with what was written: a file that is missing, cut or changed raises a StoreError within
    `collect()`, and is never read as data.

    Args:
        table: "raw_pages", "extracted_text", "page_metadata", "personal_data", "quality_signals", "embeddings",
            "deduped_corpus", "dedup_decisions", "filter_decisions", "problems" or "consent".
        data: the data root, a path or an fsspec URL; `$QUARRY_DATA` where it is not given.
        snapshot: number or tag of a published corpus that is kept (`quarry tag` lists them): the table as it was then.

    Raises:
        ConfigError: neither `data` nor QUARRY_DATA is given, or no corpus of that name is kept.
        StoreError: there is no such folder, a file is damaged or may not be read, or vectors of two models are not of
            one length.
        ValueError: there is no such table.
    """
    store = Store.existing(root_of(data))
    if table not in TableName.__args__:
        raise ValueError(f"no table {table!r}: there are {', '.join(TableName.__args__)}")
    if table in ("deduped_corpus", "dedup_decisions", "filter_decisions"):
        corpus = store.deduped_corpus.current() if snapshot is None else store.corpus(snapshot)
        if table == "deduped_corpus":
            return corpus.documents() if corpus else pl.LazyFrame(schema=DEDUPED_CORPUS)
        if table == "filter_decisions":
            return corpus.filtered() if corpus else pl.LazyFrame(schema=FILTER_DECISIONS)
        return corpus.decisions() if corpus else pl.LazyFrame(schema=DEDUP_DECISIONS)
    commit = None if snapshot is None else store.commit_of(snapshot)
    if table == "raw_pages":
        pages = store.raw_pages.segments(commit)
        return store.files.scan(list(pages.paths().values()), store.raw_pages.schema)
    if table == "problems":
        return _problems(store, commit)
    if table == "consent":
        return store.files.scan(list(store.consent.segments(commit).paths().values()), store.consent.schema)
    batches = store.batches.segments(commit).paths()
    if table == "embeddings":
        return _embeddings(store, store.embeddings.segments(commit), batches)
    if table == "page_metadata":
        return _of_batches(store, store.page_metadata, commit, batches)
    if table == "personal_data":
        places = _of_batches(store, store.personal_data, commit, batches)
        return places.explode("found").unnest("found").drop_nulls("type").select(PERSONAL_DATA.names())
    if table == "quality_signals":
        rated = store.quality_signals.segments(commit).items()
        return store.quality_signals.rows([segment for partition, segment in rated if partition in batches])
    return _of_batches(store, store.extracted_text, commit, batches)


def root_of(data: str | os.PathLike[str] | None) -> str:
    """The data root that is meant.

    Raises:
        ConfigError: none is named, here or by QUARRY_DATA.
    """
    root = os.fspath(data) if data is not None else os.environ.get("QUARRY_DATA")
    if not root:
        raise ConfigError("name the data root: scan(table, data=...) or the environment variable QUARRY_DATA")
    return root


def _of_batches(store: Store, table: Table[Any], commit: int | None, batches: Mapping[str, str]) -> pl.LazyFrame:
    """The rows of a table of those partitions that there are."""
    paths = table.segments(commit).paths()
    return store.files.scan([path for partition, path in paths.items() if partition in batches], table.schema)


def _problems(store: Store, commit: int | None) -> pl.LazyFrame:
    """Those of crawls, and those of seed files as they are now."""
    from quarry_dagster.intake.ledger import Ledger, problems_in  # loads what reading a corpus does not need

    found = store.files.scan(list(store.problems.segments(commit).paths().values()), store.problems.schema)
    return pl.concat([found, problems_in(Ledger.read(store)).lazy()])


def _embeddings(store: Store, vectors: Segments[VectorNotes], batches: dict[str, str]) -> pl.LazyFrame:
    # A partition without documents has no vectors, and so no dimension.
    segments = [s for p, s in vectors.items() if p in batches and s.rows]
    dims = sorted({s.notes.dim for s in segments}) or [1]
    if len(dims) > 1:
        raise StoreError(
            f"{store.files.url('embeddings')} holds vectors of {' and '.join(map(str, dims))} dimensions: "
            "another model was set, and not every partition is embedded with it yet; run the job embed, or quarry run"
        )
    return store.files.scan([s.path for s in segments], embeddings_schema(dims[0]))
