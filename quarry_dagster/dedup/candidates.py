"""Which pairs of texts are worth a look. Both ways depend on the two texts alone, never on their order.

A pair is found by sampled shingles that both texts have, or by vectors whose cosine reaches the threshold
(exactly, by comparing all: an index that misses pairs would make the corpus depend on its history).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl

from quarry_dagster.dedup.shingles import SAMPLE_RATE

VERSION = "candidates-1"

_MIN_SHARED = 0.2
"""Share of the smaller sample that must be common; near duplicates have twice that."""
_BLOCK = 4096
_JOIN_ROWS = 4_000_000
"""Rows of the join of sketches that are held at once: page templates make many."""


def sketch_pairs(new: pl.DataFrame, hashes: pl.LazyFrame) -> pl.DataFrame:
    """Pairs with at least one text in `new` whose sketches share enough.

    Args:
        new: column `text` (UInt32), the texts to find partners for.
        hashes: columns `text` (UInt32), `hash` (UInt64): the sketches of all texts, a row a hash.

    Returns:
        Columns `left`, `right` (UInt32, left < right), each pair once.
    """
    limit = 2**64 // SAMPLE_RATE
    sizes = (
        hashes.group_by("text")
        .agg(size=(pl.col("hash") < limit).sum())
        .select("text", size=pl.when(pl.col("size") >= 8).then("size").otherwise(1))
        .collect()
    )
    of_new = hashes.join(new.lazy(), on="text", how="semi").collect()
    distinct = of_new.select("hash").unique().lazy()
    frequency = hashes.join(distinct, on="hash", how="semi").group_by("hash").len().collect()
    cost = of_new.join(frequency, on="hash").group_by("text").agg(rows=pl.col("len").sum()).sort("text")
    blocks = cost.with_columns(block=pl.col("rows").cum_sum() // _JOIN_ROWS).partition_by("block")
    found = [_sharing(of_new.join(block, on="text", how="semi"), hashes, sizes) for block in blocks]
    return pl.concat([pl.DataFrame(schema={"left": pl.UInt32, "right": pl.UInt32}), *found]).unique()


def _sharing(of_new: pl.DataFrame, hashes: pl.LazyFrame, sizes: pl.DataFrame) -> pl.DataFrame:
    shared = (
        of_new.lazy()
        .join(hashes, on="hash", suffix="_other")
        .filter(pl.col("text") != pl.col("text_other"))
        .group_by("text", "text_other")
        .agg(shared=pl.len())
        .select("shared", left=pl.min_horizontal("text", "text_other"), right=pl.max_horizontal("text", "text_other"))
        .unique()
        .collect()
    )
    return (
        shared.join(sizes.rename({"text": "left", "size": "left_size"}), on="left")
        .join(sizes.rename({"text": "right", "size": "right_size"}), on="right")
        .filter(pl.col("shared") >= _MIN_SHARED * pl.min_horizontal("left_size", "right_size"))
        .select("left", "right")
    )


def vector_pairs(
    new: tuple[np.ndarray, np.ndarray], blocks: Iterator[tuple[np.ndarray, np.ndarray]], threshold: float
) -> pl.DataFrame:
    """Pairs of a new text and any text whose cosine is at least `threshold`; exact.

    Args:
        new: ids (uint32, shape (m,)) and unit vectors (float32, shape (m, dim)) of the new texts.
        blocks: the same of all texts, the new ones included, in blocks that fit in memory.

    Returns:
        Columns `left`, `right` (UInt32, left < right), each pair once.
    """
    ids, vectors = new
    left: list[np.ndarray] = []
    right: list[np.ndarray] = []
    for other_ids, other in blocks:
        for start in range(0, len(ids), _BLOCK):
            # A hair below the threshold: the decision is made on the rounded cosine of the verified pair.
            a, b = np.nonzero(vectors[start : start + _BLOCK] @ other.T >= threshold - 1e-5)
            first, second = ids[start : start + _BLOCK][a], other_ids[b]
            differ = first != second
            left.append(np.minimum(first, second)[differ])
            right.append(np.maximum(first, second)[differ])
    empty = np.empty(0, np.uint32)
    return pl.DataFrame(
        {"left": np.concatenate([empty, *left]), "right": np.concatenate([empty, *right])},
        schema={"left": pl.UInt32, "right": pl.UInt32},
    ).unique()
