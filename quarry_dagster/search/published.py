"""Reading the index that `faiss_index` published: what is in it, and the nearest texts to a vector."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from quarry_dagster.errors import IndexCorruptError, StoreError
from quarry_dagster.index import Shard, VectorIndex
from quarry_dagster.profiles.settings import Index
from quarry_dagster.stages.vectors import vectors_of
from quarry_dagster.store import Files, Snapshot, Store

REMOVED = "removed.parquet"
"""The file of a snapshot with the positions that are passed over."""
MORE = 4
"""How many times as many neighbours are ranked again, where the index holds vectors rounded."""

Row = dict[str, Any]
"""What a manifest says of a shard: `file`, `texts`, `kind`, `vectors`, `bytes`, `sha256`."""


def current_index(store: Store) -> Snapshot | None:
    """The published snapshot; none where it is of before there were shards: it is built anew."""
    snapshot = store.faiss_index.current()
    return snapshot if snapshot and "shards" in snapshot.manifest else None


def rows_of(files: Files, shards: Sequence[Row], published: Snapshot | None) -> pl.DataFrame:
    """The vectors of these shards by position: columns text_digest, `shard` (its place in the list), and `found`,
    whether the published index finds it.

    Raises:
        IndexCorruptError: a file is gone or cannot be read.
    """
    texts = pl.Schema({"text_digest": pl.String})
    rows = [_read(files, r["texts"], texts).with_columns(shard=pl.lit(i, pl.Int64)) for i, r in enumerate(shards)]
    listed = pl.concat([pl.DataFrame(schema={**texts, "shard": pl.Int64}), *rows])
    removed = _removed(published) if published and shards else pl.Series(dtype=pl.Int64)
    return listed.with_row_index("at").with_columns(found=~pl.col("at").is_in(removed.implode())).drop("at")


def _removed(snapshot: Snapshot) -> pl.Series:
    """The positions that a published index passes over, int64."""
    return _read(snapshot.files, snapshot.path(REMOVED), pl.Schema({"position": pl.Int64}))["position"]


def _read(files: Files, path: str, schema: pl.Schema) -> pl.DataFrame:
    """A small table of the index."""
    try:
        return files.scan([path], schema).collect()
    except FileNotFoundError as e:
        raise _corrupt(path, "it is gone") from e
    except (StoreError, pl.exceptions.PolarsError, pa.ArrowException) as e:
        raise _corrupt(path, "it cannot be read") from e


def _corrupt(path: str, problem: str) -> IndexCorruptError:
    return IndexCorruptError(f"{path}: {problem}; delete the folder faiss_index and materialize it again")


def load(snapshot: Snapshot, *, on_gpu: bool = False) -> VectorIndex:
    """A published index, its files checked against its manifest.

    Raises:
        IndexCorruptError: a file is not the one that was published, or gone.
        ConfigError: `on_gpu`, and FAISS cannot use one.
    """
    shards = [_open(snapshot, row) for row in snapshot.manifest["shards"]]
    return VectorIndex([s.on_gpu() for s in shards] if on_gpu else shards, _removed(snapshot).to_numpy())


def _open(snapshot: Snapshot, row: Row) -> Shard:
    try:
        with snapshot.files.local(row["file"]) as path:
            with Path(path).open("rb") as f:
                sha256 = hashlib.file_digest(f, "sha256").hexdigest()
            if sha256 == row["sha256"]:
                return Shard.open(path, row["kind"], snapshot.manifest["dim"], row["vectors"])
            problem = f"its sha256 is {sha256}, its manifest says {row['sha256']}"
    except FileNotFoundError:
        problem = "it is gone"
    raise _corrupt(row["file"], problem)


def members(snapshot: Snapshot) -> pl.DataFrame:
    """The texts that a published index finds: columns `position` (int64, in order) and text_digest.

    Raises:
        IndexCorruptError: a file is gone or cannot be read.
    """
    listed = rows_of(snapshot.files, snapshot.manifest["shards"], snapshot)
    return listed.with_row_index("position").filter("found").select(pl.col("position").cast(pl.Int64), "text_digest")


def nearest_texts(
    store: Store, snapshot: Snapshot, queries: np.ndarray, k: int, settings: Index
) -> list[list[tuple[str, float]]]:
    """The k nearest texts to unit vectors (float32, shape (n, dim)): of each ``(text_digest, cosine)``, best first.

    Where the index holds vectors rounded, more are taken from it and ranked by the vectors themselves.

    Raises:
        IndexCorruptError: a file is not the one that was published, or gone.
        ConfigError: `settings.use_gpu_faiss`, and FAISS cannot use a GPU.
    """
    index = load(snapshot, on_gpu=settings.use_gpu_faiss)
    positions, cosines = index.search(queries, k * MORE if index.is_lossy else k, settings)
    digests = members(snapshot).filter(pl.col("position").is_in(np.unique(positions)))
    digest_of = dict(digests.iter_rows())
    if index.is_lossy:
        cosines = _cosines(store, snapshot, queries, positions, digests)
    found = []
    for row, of in zip(positions.tolist(), cosines.tolist(), strict=True):
        ranked = sorted(((c, i) for i, c in zip(row, of, strict=True) if i >= 0), key=lambda x: -x[0])
        found.append([(digest_of[i], c) for c, i in ranked[:k]])
    return found


def _cosines(
    store: Store, snapshot: Snapshot, queries: np.ndarray, positions: np.ndarray, digests: pl.DataFrame
) -> np.ndarray:
    """The cosines of queries and what was found for them, from the stored vectors: float32 of the positions' shape."""
    segments = [store.embeddings.at(p) for p in snapshot.manifest["partitions"].values()]
    position_of = dict(zip(digests["text_digest"], digests["position"], strict=True))
    vectors = {
        position_of[digest]: vector
        for some, array in vectors_of(store, segments, digests["text_digest"])
        for digest, vector in zip(some, array, strict=True)
    }
    nothing = np.zeros(queries.shape[1], np.float32)
    return np.array(
        [
            [query @ vectors.get(i, nothing) for i in row]
            for query, row in zip(queries, positions.tolist(), strict=True)
        ],
        np.float32,
    )
