"""Reading the files of a published index: what is in it, and the index itself, ready to be searched."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from quarry_dagster.errors import IndexCorruptError, StoreError
from quarry_dagster.index import Shard, VectorIndex, index_type, spread
from quarry_dagster.store import Files, Index, ShardFiles
from quarry_dagster.store.schemas import REMOVED_POSITIONS

_TEXTS = pl.Schema({"text_digest": pl.String})


def rows_of(files: Files, shards: Sequence[ShardFiles], published: Index | None) -> pl.DataFrame:
    """The vectors of these shards, one row each, in order of their positions.

    Columns text_digest, `shard` (Int64: its place in the list), and `found` (Boolean: whether the published index
    finds the vector, or passes it over).

    Raises:
        IndexCorruptError: a file is gone or cannot be read.
    """
    rows = [_read(files, each.texts, _TEXTS).with_columns(shard=pl.lit(i, pl.Int64)) for i, each in enumerate(shards)]
    listed = pl.concat([pl.DataFrame(schema={**_TEXTS, "shard": pl.Int64}), *rows])
    removed = _removed(published) if published and shards else pl.Series(dtype=pl.Int64)
    return listed.with_row_index("at").with_columns(found=~pl.col("at").is_in(removed.implode())).drop("at")


def members(index: Index) -> pl.DataFrame:
    """The texts that a published index finds: columns `position` (Int64, ascending) and text_digest.

    Raises:
        IndexCorruptError: a file is gone or cannot be read.
    """
    listed = rows_of(index.snapshot.files, index.shards, index)
    return listed.with_row_index("position").filter("found").select(pl.col("position").cast(pl.Int64), "text_digest")


def load(index: Index, *, on_gpu: bool = False) -> VectorIndex:
    """A published index, ready to be searched, its files checked against its manifest.

    Raises:
        IndexCorruptError: a file is not the one that was published, or gone.
        ConfigError: `on_gpu`, and FAISS cannot use one.
    """
    shards = [_open(index, files) for files in index.shards]
    if on_gpu:
        shards = spread(shards)
    return VectorIndex(shards, _removed(index).to_numpy())


def _open(index: Index, shard: ShardFiles) -> Shard:
    try:
        with index.snapshot.files.local(shard.file) as path:
            with Path(path).open("rb") as f:
                sha256 = hashlib.file_digest(f, "sha256").hexdigest()
            if sha256 == shard.sha256:
                return Shard.open(path, index_type(shard.kind), index.dim, shard.vectors)
            problem = f"its sha256 is {sha256}, its manifest says {shard.sha256}"
    except FileNotFoundError:
        problem = "it is gone"
    raise _corrupt(shard.file, problem)


def _removed(index: Index) -> pl.Series:
    """The positions that a published index passes over, Int64."""
    return _read(index.snapshot.files, index.removed_path, REMOVED_POSITIONS)["position"]


def _read(files: Files, path: str, schema: pl.Schema) -> pl.DataFrame:
    """A small table of the index."""
    try:
        return files.frame(path, schema)
    except (StoreError, pl.exceptions.PolarsError) as e:
        raise _corrupt(path, str(e)) from e


def _corrupt(path: str, problem: str) -> IndexCorruptError:
    return IndexCorruptError(f"{path}: {problem}; have it made again: quarry check --deep, then quarry run")
