"""The public reader: the current tables as lazy polars frames, without Dagster."""

from __future__ import annotations

import os
from typing import Literal

import polars as pl

from quarry_dagster.errors import ConfigError, StoreError
from quarry_dagster.store import Store
from quarry_dagster.store.schemas import DEDUP_DECISIONS, DEDUPED_CORPUS, embeddings_schema

TableName = Literal["raw_pages", "extracted_text", "embeddings", "deduped_corpus", "dedup_decisions"]


def scan(table: TableName, data: str | os.PathLike[str] | None = None) -> pl.LazyFrame:
    """The current snapshot of a table; what is being written is not seen, whole, until it is complete.

    Args:
        table: "raw_pages", "extracted_text", "embeddings", "deduped_corpus" or "dedup_decisions".
        data: the data root, a path or an fsspec URL; `$QUARRY_DATA` where it is not given.

    Raises:
        ConfigError: neither `data` nor QUARRY_DATA is given.
        StoreError: there is no such folder, a file is damaged or may not be read, or vectors of two models are not of
            one length.
        ValueError: there is no such table.
    """
    root = os.fspath(data) if data is not None else os.environ.get("QUARRY_DATA")
    if not root:
        raise ConfigError("name the data root: scan(table, data=...) or the environment variable QUARRY_DATA")
    store = Store.existing(root)
    if table == "raw_pages":
        return store.raw_pages.scan()
    if table == "extracted_text":
        return store.extracted_text.scan(store.batches.segments())
    if table == "embeddings":
        return _embeddings(store)
    corpus = store.deduped_corpus.current() if table in ("deduped_corpus", "dedup_decisions") else None
    if table == "deduped_corpus":
        return corpus.documents() if corpus else pl.LazyFrame(schema=DEDUPED_CORPUS)
    if table == "dedup_decisions":
        return corpus.decisions() if corpus else pl.LazyFrame(schema=DEDUP_DECISIONS)
    raise ValueError(f"no table {table!r}: there are {', '.join(TableName.__args__)}")


def _embeddings(store: Store) -> pl.LazyFrame:
    # A partition without documents has no vectors, and so no dimension.
    batches = store.batches.segments()
    segments = [s for p, s in store.embeddings.segments().items() if p in batches and s.notes.rows]
    dims = sorted({s.notes.dim for s in segments}) or [1]
    if len(dims) > 1:
        raise StoreError(
            f"{store.files.url('embeddings')} holds vectors of {' and '.join(map(str, dims))} dimensions: "
            "another model was set, and not every partition is embedded with it yet; run the job embed, or quarry run"
        )
    return store.files.scan([s.path for s in segments], embeddings_schema(dims[0]))
