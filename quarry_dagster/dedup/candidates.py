"""Which pairs of texts are worth a look: a function of the set of texts, never of the order in which they came.

A pair is found by sampled shingles that both texts have, or by vectors whose cosine reaches the threshold
(exactly: an index that misses pairs would make the corpus depend on its history).

What very many texts share, as a site's template, would make pairs of all of them. There a text is paired with the
first LIMIT of them alone, the heads. Texts are numbered in the order of keeping, so heads are what the others would
be removed for: ten thousand edits of one text all still meet it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np
import polars as pl

from quarry_dagster.dedup.shingles import SAMPLE_RATE
from quarry_dagster.dedup.verify import cosines, rounded
from quarry_dagster.index import Float32, MakeKernel, ThresholdJoin

VERSION = "candidates-2"

LIMIT = 16
"""Of the texts with one hash, and of the earlier neighbours of a vector, the first so many count."""
_MIN_SHARED = 0.2
"""Share of the smaller sample that must be common; near duplicates have twice that."""
_ROWS = 1_000_000
"""Rows of the join of sketches, and pairs by vector, that are held at once."""
_PAIRS = 1024
"""Pairs of vectors that are held side by side."""
_ROUNDING = 1e-4
"""More than a cosine changes when it is rounded."""

PAIRS = pl.Schema({"left": pl.UInt32, "right": pl.UInt32})
HASHES = pl.Schema({"text": pl.UInt32, "hash": pl.UInt64})
COSINES = pl.Schema({**PAIRS, "cosine": pl.Float64})
Vectors = tuple[np.ndarray, np.ndarray]
"""Numbers of texts (uint32, shape (n,)), and their unit vectors (float32, shape (n, dim))."""


@dataclass(frozen=True)
class Sketches:
    """The sketches of texts, one behind the other.

    `texts` are their numbers (uint32, shape (n,)), each once; the sketch of `texts[i]` ends before row `ends[i]`
    (int64, shape (n,)) of `hashes` (UInt64), and is not empty.
    """

    texts: np.ndarray
    ends: np.ndarray
    hashes: pl.Series

    @classmethod
    def unpacked(cls, texts: pl.Series, packed: pl.Series) -> Sketches:
        """From each text's sketch as bytes (Binary), none of them empty: its hashes, uint64, one behind the other."""
        ends = packed.bin.size().cast(pl.Int64).cum_sum().to_numpy() // 8
        # Their bytes lie one behind the other in Arrow's layout already.
        _, _, values = packed.to_arrow(compat_level=pl.CompatLevel.oldest()).buffers()
        return cls(texts.to_numpy(), ends, pl.Series(np.frombuffer(values, np.uint64)))

    def sizes(self) -> pl.DataFrame:
        """What a share of a text's sketch is taken of: columns text, size. Of very few samples, one is enough."""
        sampled = (self.hashes < 2**64 // SAMPLE_RATE).to_numpy()
        starts = self.ends - np.diff(self.ends, prepend=0)
        size = np.add.reduceat(sampled, starts, dtype=np.uint32) if len(starts) else np.empty(0, np.uint32)
        return pl.DataFrame({"text": self.texts, "size": np.where(size >= 8, size, np.uint32(1))})

    def sharing(self, wanted: pl.Series) -> pl.DataFrame:
        """All rows, schema HASHES, of the hashes that a wanted text and another have.

        Most hashes are one text's alone. So beside the rows that are returned only a part of the others is held.
        """
        is_wanted = pl.Series(np.repeat(np.isin(self.texts, wanted.to_numpy()), np.diff(self.ends, prepend=0)))
        found = [pl.DataFrame(schema=HASHES)]
        for rows in self._parts(1 + is_wanted.arg_true().len() // _ROWS):
            hashes = self.hashes if rows is None else self.hashes.gather(rows)
            mine = hashes.filter(is_wanted if rows is None else is_wanted.gather(rows)).unique()
            at = hashes.is_in(mine.implode()).arg_true()
            at = at.filter(hashes.gather(at).is_duplicated())
            rows = (at if rows is None else rows.gather(at)).to_numpy()
            texts = self.texts[np.searchsorted(self.ends, rows, "right")]
            found.append(pl.DataFrame({"text": texts, "hash": hashes.gather(at)}, HASHES))
        return pl.concat(found)

    def _parts(self, number: int) -> Iterator[pl.Series | None]:
        """The rows of so many parts of all hashes; None: all of them."""
        if number == 1:
            yield None
            return
        part_of = (self.hashes % number).cast(pl.UInt32)
        for part in range(number):
            yield (part_of == part).arg_true()


def moved(hashes: pl.DataFrame, came: pl.Series, gone: pl.Series) -> pl.Series:
    """The texts that became a head of some hash, or ceased to be one, though they were there before and are now.

    Args:
        hashes: schema HASHES, of texts now and before: what they share with those that came or are gone.
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
        hashes: schema HASHES, all that texts share with the wanted ones (:meth:`Sketches.sharing`).
        sizes: columns text, size (:meth:`Sketches.sizes`) of all texts.

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
    number = hidden.group_by("text").agg(hidden=pl.len())
    perhaps = (
        pairs.filter(pl.col("shared") < pl.col("enough"))
        .join(number.rename({"text": "left", "hidden": "in_left"}), on="left")
        .join(number.rename({"text": "right", "hidden": "in_right"}), on="right")
        .filter(pl.col("shared") + pl.min_horizontal("in_left", "in_right") >= pl.col("enough"))
    )
    found = [pairs.filter(pl.col("shared") >= pl.col("enough")).select("left", "right")]
    for block in perhaps.iter_slices(_ROWS // 64):
        more = (
            block.lazy()
            .join(hidden.lazy(), left_on="left", right_on="text")
            .join(hidden.lazy(), left_on=["right", "hash"], right_on=["text", "hash"], how="semi")
            .group_by("left", "right")
            .agg(pl.col("shared", "enough").first(), more=pl.len())
            .filter(pl.col("shared") + pl.col("more") >= pl.col("enough"))
        )
        found.append(more.select("left", "right").collect())
    return pl.concat(found)


def vector_pairs(
    new: Vectors, others: Iterable[Vectors], threshold: float, kernel: MakeKernel = Float32
) -> pl.DataFrame:
    """Pairs of a new text with another whose rounded cosine is at least `threshold`, of those :func:`first_neighbours`.

    `others` are those that are not new, in blocks that fit in memory. Returns schema COSINES, left < right, each once.
    """
    order = np.argsort(new[0])
    texts, vectors = new[0][order], new[1][order]
    join = ThresholdJoin(vectors, threshold - _ROUNDING, kernel)
    inside = ((texts[p.a], texts[p.b], p.cosine) for p in join.within(LIMIT))
    outside = ((texts[p.a], block[0][p.b], p.cosine) for block in others for p in join.against(block[1]))
    found = pl.DataFrame(schema=COSINES)
    for pairs in _batches(chain(inside, outside)):
        a, b, cosine = (np.concatenate(column) for column in zip(*pairs, strict=True))
        columns = {"left": np.minimum(a, b), "right": np.maximum(a, b), "cosine": rounded(cosine)}
        close = pl.DataFrame(columns, schema=COSINES).filter(pl.col("cosine") >= threshold)
        found = first_neighbours(pl.concat([found, _not_behind(found, close)]))
    return found


def _not_behind(found: pl.DataFrame, pairs: pl.DataFrame) -> pl.DataFrame:
    """Of pairs those that may still be among the first of their right text: where all are alike, few are."""
    last = found.group_by("right").agg(last=pl.col("left").max(), number=pl.len()).filter(pl.col("number") >= LIMIT)
    beside = pairs.join(last, on="right", how="left")
    return beside.filter(pl.col("last").is_null() | (pl.col("left") < pl.col("last"))).select(COSINES.names())


_Found = tuple[np.ndarray, np.ndarray, np.ndarray]


def _batches(found: Iterable[_Found]) -> Iterator[list[_Found]]:
    """What is found, about _ROWS pairs at a time."""
    batch, rows = [], 0
    for pairs in found:
        batch.append(pairs)
        rows += len(pairs[0])
        if rows > _ROWS:
            yield batch
            batch, rows = [], 0
    if batch:
        yield batch


def cosines_of(pairs: pl.DataFrame, texts: np.ndarray, vectors: np.ndarray) -> pl.DataFrame:
    """Pairs (schema PAIRS) of texts with their cosines, schema COSINES."""
    order = np.argsort(texts)
    left, right = (order[np.searchsorted(texts, pairs[side], sorter=order)] for side in ("left", "right"))
    found = np.empty(pairs.height)
    for start in range(0, pairs.height, _PAIRS):
        part = slice(start, start + _PAIRS)
        found[part] = cosines(vectors[left[part]], vectors[right[part]])
    return pairs.with_columns(pl.Series("cosine", found))


def first_neighbours(pairs: pl.DataFrame) -> pl.DataFrame:
    """Of pairs by vector (columns left < right), for each right text those with its first LIMIT left ones."""
    return pairs.unique(["left", "right"]).filter(pl.col("left").rank("ordinal").over("right") <= LIMIT)
