"""Reading the vectors of texts from `embeddings`, where documents with equal texts share one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

import numpy as np
import polars as pl

from quarry_dagster.errors import StoreError
from quarry_dagster.progress import log
from quarry_dagster.store import Files, Store, VectorSegment

_DIGESTS = pl.Schema({"text_digest": pl.String})


def texts_of(store: Store, segments: Iterable[VectorSegment]) -> pl.Series:
    """The distinct text digests of these segments of `embeddings`, sorted."""
    paths = [s.path for s in segments]
    return store.files.scan(paths, _DIGESTS).unique().sort("text_digest").collect()["text_digest"]


def vectors_of(
    store: Store, segments: Iterable[VectorSegment], wanted: pl.Series, *, pass_over_damage: bool = False
) -> Iterator[tuple[pl.Series, np.ndarray]]:
    """Each wanted text once with its vector, in blocks: text digests, and float32 of shape (n, dim).

    A damaged segment is an error, unless it is to be passed over because vectors are being made again.
    """
    left = wanted.rename("text_digest").to_frame()
    for segment in segments:
        if left.is_empty():
            return
        try:
            if not np.isin(_keys(left["text_digest"]), _keys_of(store.files, segment.path)).any():
                continue
            digests, vectors = read_vectors(store, segment)
        except StoreError as e:
            if not pass_over_damage:
                raise
            log.warning("%s; its vectors are not used", e)
            continue
        rows = digests.to_frame().with_row_index("row").join(left, on="text_digest", how="semi")
        found = rows.unique("text_digest", keep="first").sort("row")
        left = left.join(found, on="text_digest", how="anti")
        # Mostly all rows are wanted: then nothing is copied.
        yield found["text_digest"], vectors if found.height == len(vectors) else vectors[found["row"].to_numpy()]


@lru_cache(maxsize=65_536)
def _keys_of(files: Files, path: str) -> np.ndarray:
    """The :func:`_keys` of a segment's texts, kept in memory: each partition that is embedded asks all others."""
    return _keys(files.scan([path], _DIGESTS).collect()["text_digest"])


def _keys(digests: pl.Series) -> np.ndarray:
    """The first half of each digest as a number, uint64: enough to tell most texts apart."""
    return digests.str.slice(0, 16).str.to_integer(base=16, dtype=pl.UInt64).to_numpy()


def read_vectors(
    store: Store, segment: VectorSegment, some: Sequence[str] | None = None
) -> tuple[pl.Series, np.ndarray]:
    """Read a segment of `embeddings`; returns text digests and their vectors, float32 of shape (n, dim), in file order.

    Where `some` digests are named, row groups without any of them are skipped; other rows may still be returned.
    """
    columns = ["text_digest", "embedding"]
    with store.files.parquet(segment.path) as f:  # thrice as fast as polars with columns of vectors
        if some is None or len(some) >= f.metadata.num_rows:
            table = f.read(columns, use_threads=False)
        else:
            digests, asked = f.read(columns[:1], use_threads=False)[0].to_pylist(), {*some}
            ends = np.cumsum([f.metadata.row_group(i).num_rows for i in range(f.num_row_groups)])
            wanted = [row for row, digest in enumerate(digests) if digest in asked]
            groups = {*np.searchsorted(ends, wanted, "right").tolist()}
            table = f.read_row_groups(sorted(groups), columns, use_threads=False)
    column = table["embedding"].combine_chunks()
    array = column.flatten().to_numpy().reshape(len(column), -1)
    return pl.Series("text_digest", table["text_digest"]), array.astype(np.float32, copy=False)
