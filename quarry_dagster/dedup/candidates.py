"""Which pairs of texts are worth a look: a function of the set of texts, never of the order in which they came.

A pair is found by sampled shingles that both texts have, or by vectors whose cosine reaches the threshold
(exactly: an index that misses pairs would make the corpus depend on its history).

What very many texts share, as a site's template, would make pairs of all of them. There a text is paired with the
first LIMIT of them alone, the heads. Texts are numbered in the order of keeping, so heads are what the others would
be removed for: ten thousand edits of one text all still meet it.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product

import numpy as np
import polars as pl

from quarry_dagster.dedup.shingles import SAMPLE_RATE
from quarry_dagster.dedup.verify import cosines

VERSION = "candidates-2"

LIMIT = 32
"""Of the texts with one hash, and of the earlier neighbours of a vector, the first so many count."""
_MIN_SHARED = 0.2
"""Share of the smaller sample that must be common; near duplicates have twice that."""
_ROWS = 4_000_000
"""Rows of the join of sketches, and pairs by vector, that are held at once."""
_DIMENSIONS = 64
"""Principal dimensions that vectors are compared in first."""
_BLOCK = 1024
_MANY = 16_384
"""Possible pairs in a block from which multiplying whole matrices is less work than looking at each."""
_ROUNDING = 1e-3
"""By which a bound computed in float32 may fall short."""
_IN_DOUBT = 1e-4
"""So near to the threshold a cosine in float32 does not tell on which side the rounded one is."""

PAIRS = pl.Schema({"left": pl.UInt32, "right": pl.UInt32})
HASHES = pl.Schema({"text": pl.UInt32, "hash": pl.UInt64})


def sketch_size(hashes: str) -> pl.Expr:
    """What a share of a sketch (a column of lists of hashes) is taken of; of very few samples, one is enough."""
    size = pl.col(hashes).list.eval(pl.element() < 2**64 // SAMPLE_RATE).list.sum()
    return pl.when(size >= 8).then(size).otherwise(1).cast(pl.UInt32)


def moved(hashes: pl.DataFrame, came: pl.Series, gone: pl.Series) -> pl.Series:
    """The texts that became a head of some hash, or ceased to be one, though they were there before and are now.

    Args:
        hashes: schema HASHES, of texts now and before: all rows with a hash of a text that came or is gone.
        came: texts that were not there before.
        gone: texts that are not there now.
    """
    is_new, is_old = (pl.col("text").is_in(texts.implode()) for texts in (came, gone))
    before, now = (_ranked(hashes.filter(~other)).filter(pl.col("rank") < LIMIT) for other in (is_new, is_old))
    key = ["text", "hash"]
    changed = pl.concat([before.join(now, on=key, how="anti"), now.join(before, on=key, how="anti")])
    return changed.filter(~is_new & ~is_old)["text"].unique()


def sketch_pairs(wanted: pl.Series, hashes: pl.DataFrame, sizes: pl.DataFrame) -> pl.DataFrame:
    """Pairs with a wanted text whose earlier text is a head of a hash that both have, if they share enough hashes.

    Args:
        wanted: texts to find partners for.
        hashes: schema HASHES, all rows with a hash of a wanted text.
        sizes: columns text, size (:func:`sketch_size`) of all texts.

    Returns:
        Schema PAIRS, left < right, each pair once.
    """
    rows = _ranked(hashes).with_row_index("at").with_columns(wanted=pl.col("text").is_in(wanted.implode()))
    hidden = rows.filter(pl.col("rank") >= LIMIT).select("text", "hash")
    texts = rows["text"].to_numpy()
    # Each wanted text with the heads before it; each wanted head with the texts after it that are not wanted.
    unwanted = texts[~rows["wanted"].to_numpy()]
    before = np.concatenate([[0], np.cumsum(~rows["wanted"].to_numpy())])
    mine = rows.filter("wanted")
    seeking = mine.select("text", first="start", number=pl.col("rank").clip(upper_bound=LIMIT))
    leading = mine.filter(pl.col("rank") < LIMIT).select(
        "text",
        first=pl.col("at").map_batches(lambda at: pl.Series(before[at.to_numpy()]), pl.Int64),
        end=pl.col("end").map_batches(lambda at: pl.Series(before[at.to_numpy()]), pl.Int64),
    )
    leading = leading.select("text", "first", number=pl.col("end") - pl.col("first"))
    found = [pl.DataFrame(schema=PAIRS)]
    for block in _blocks(seeking):
        left, right = _expanded(block, texts)
        found.append(_sharing_enough(left, right, hidden, sizes))
    for block in _blocks(leading):
        right, left = _expanded(block, unwanted)
        found.append(_sharing_enough(left, right, hidden, sizes))
    return pl.concat(found)


def _ranked(hashes: pl.DataFrame) -> pl.DataFrame:
    """The rows by hash and text, with `rank` of the text among those of its hash, and `start` and `end` of those."""
    rows = hashes.sort("hash", "text")
    values = rows["hash"].to_numpy()
    start = np.flatnonzero(np.diff(values, prepend=~values[:1]))
    sizes = np.diff(start, append=len(values))
    starts, ends = np.repeat(start, sizes), np.repeat(start + sizes, sizes)
    return rows.with_columns(start=starts, end=ends, rank=np.arange(len(values)) - starts)


def _blocks(runs: pl.DataFrame) -> list[pl.DataFrame]:
    """Runs (columns text, first, number) in blocks of about _ROWS, those of one text in one block."""
    runs = runs.filter(pl.col("number") > 0).sort("text")
    before = runs["number"].cum_sum() - runs["number"]
    block = before.to_frame("before").select(pl.col("before").min().over(runs["text"]) // _ROWS).to_series()
    return runs.with_columns(block=block).partition_by("block")


def _expanded(runs: pl.DataFrame, texts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each run the `number` texts from `first` on, and beside each of these the run's own text."""
    number = runs["number"].to_numpy()
    starts = np.repeat(runs["first"].to_numpy() - (np.cumsum(number) - number), number)
    return texts[np.arange(len(starts)) + starts], np.repeat(runs["text"].to_numpy(), number)


def _sharing_enough(left: np.ndarray, right: np.ndarray, hidden: pl.DataFrame, sizes: pl.DataFrame) -> pl.DataFrame:
    """Of pairs, once for each hash that makes them one, those that share enough hashes, `hidden` ones counted too."""
    size = sizes.with_columns(pl.col("size") * _MIN_SHARED)
    pairs = (
        pl.DataFrame({"left": left, "right": right}, schema=PAIRS)
        .group_by("left", "right")
        .agg(shared=pl.len())
        .join(size.rename({"text": "left", "size": "of_left"}), on="left")
        .join(size.rename({"text": "right", "size": "of_right"}), on="right")
        .with_columns(enough=pl.min_horizontal("of_left", "of_right"))
    )
    enough = pairs.filter(pl.col("shared") >= pl.col("enough")).select("left", "right")
    number = hidden.group_by("text").agg(hidden=pl.len())
    perhaps = (
        pairs.filter(pl.col("shared") < pl.col("enough"))
        .join(number.rename({"text": "left", "hidden": "in_left"}), on="left")
        .join(number.rename({"text": "right", "hidden": "in_right"}), on="right")
        .filter(pl.col("shared") + pl.min_horizontal("in_left", "in_right") >= pl.col("enough"))
    )
    more = (
        perhaps.lazy()
        .join(hidden.lazy(), left_on="left", right_on="text")
        .join(hidden.lazy(), left_on=["right", "hash"], right_on=["text", "hash"], how="semi")
        .group_by("left", "right")
        .agg(pl.col("shared", "enough").first(), more=pl.len())
        .filter(pl.col("shared") + pl.col("more") >= pl.col("enough"))
        .select("left", "right")
        .collect()
    )
    return pl.concat([enough, more])


def vector_pairs(
    new: tuple[np.ndarray, np.ndarray], blocks: Iterable[tuple[np.ndarray, np.ndarray]], threshold: float
) -> pl.DataFrame:
    """Pairs of a new text and any text whose cosine is at least `threshold`, of those :func:`first_neighbours`.

    Exact, and much less work than comparing whole vectors: what two vectors have outside a few principal dimensions
    adds to their cosine at most the product of its lengths (Cauchy-Schwarz), so most pairs are ruled out without it.

    Args:
        new: ids (uint32, shape (m,)) and unit vectors (float32, shape (m, dim)) of the new texts.
        blocks: the same of the texts to compare them with, the new ones included, in blocks that fit in memory.

    Returns:
        Schema PAIRS, left < right, each pair once.
    """
    ids, vectors = _by_id(*new)
    basis = _principal(vectors)
    mine = _bounding(vectors, basis)
    found, pending = [pl.DataFrame(schema=PAIRS)], 0
    for block in blocks:
        other_ids, other = _by_id(*block)
        theirs = _bounding(other, basis).T.copy()
        for i, j in product(range(0, len(ids), _BLOCK), range(0, len(other), _BLOCK)):
            at, to = slice(i, i + _BLOCK), slice(j, j + _BLOCK)
            possible = np.flatnonzero(mine[at] @ theirs[:, to] >= threshold - _ROUNDING)
            if len(possible) == 0:
                continue
            first, second = ids[at], other_ids[to]
            if len(possible) > _MANY:
                close = _close(vectors[at], other[to], threshold)
                before = second < first[:, None]
                after = second > first[:, None]
                a, b = np.nonzero(_first(close & before, axis=1) | _first(close & after, axis=0))
            else:
                a, b = np.divmod(possible, len(second))
                close = (cosines(vectors[at][a], other[to][b]) >= threshold) & (first[a] != second[b])
                a, b = a[close], b[close]
            left, right = np.minimum(first[a], second[b]), np.maximum(first[a], second[b])
            found.append(pl.DataFrame({"left": left, "right": right}, schema=PAIRS))
            pending += len(left)
            if pending > _ROWS:
                found, pending = [first_neighbours(pl.concat(found))], 0
    return first_neighbours(pl.concat(found))


def first_neighbours(pairs: pl.DataFrame) -> pl.DataFrame:
    """Of pairs by vector (columns left < right), for each right text those with its first LIMIT left ones."""
    return pairs.unique(["left", "right"]).filter(pl.col("left").rank("ordinal").over("right") <= LIMIT)


def _close(a: np.ndarray, b: np.ndarray, threshold: float) -> np.ndarray:
    """Which of all pairs of rows have a rounded cosine of at least `threshold`: bool of shape (len(a), len(b))."""
    cosine = a @ b.T
    close = cosine >= threshold
    i, j = np.nonzero(np.abs(cosine - threshold) < _IN_DOUBT)
    close[i, j] = cosines(a[i], b[j]) >= threshold
    return close


def _principal(vectors: np.ndarray) -> np.ndarray:
    """Orthonormal columns that span nearly the principal dimensions: subspace iteration, from any start."""
    sample = vectors[:: max(1, len(vectors) // _BLOCK)]
    moments = sample.T @ sample
    start = np.random.default_rng(0).standard_normal((len(moments), min(_DIMENSIONS, len(moments))))
    for _ in range(3):
        start = np.linalg.qr(moments @ start)[0]
    return start.astype(np.float32)


def _bounding(vectors: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """Vectors whose dot products are upper bounds of cosines: principal components, and the length of the rest."""
    inside = vectors @ basis
    rest = np.sqrt(np.maximum(0, 1 - np.einsum("ij,ij->i", inside, inside)))
    return np.column_stack([inside, rest])


def _by_id(ids: np.ndarray, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    order = np.argsort(ids)
    return ids[order], vectors[order]


def _first(hits: np.ndarray, axis: int) -> np.ndarray:
    """Of each row's (or column's) hits the first LIMIT."""
    return hits & (np.cumsum(hits, axis=axis, dtype=np.uint16) <= LIMIT)
