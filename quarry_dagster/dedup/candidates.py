"""Which pairs of texts are worth scoring: a function of the set of texts, never of the order in which they came.

A pair is a candidate if its texts share enough sampled shingles, or, where vectors are asked, if the cosine of theirs
reaches the threshold. Both are found exactly: an index that misses pairs would make the corpus depend on its history.

A shingle that very many texts have, as that of a site's template, would make a pair of any two of them. Such a shingle
pairs a text with the first LIMIT of these texts only: the heads of the shingle. Texts are numbered in the order of
keeping, and a text is removed for one that comes before it. So ten thousand edits of one text still all meet it.

Why so: "In a crowd a text is compared with the first of it" and "Hashes of one text alone are left out before texts
are paired" in docs/decisions.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Protocol

import numpy as np
import polars as pl

from quarry_dagster.dedup.shingles import BITS, SAMPLED, SKETCH_MIN
from quarry_dagster.dedup.verify import cosines, rounded
from quarry_dagster.index import Float32, MakeKernel, ThresholdJoin, may_reach

VERSION = "candidates-4"

LIMIT = 16
"""How many heads a hash has, and how many earlier neighbours of a vector count: the first ones."""
_MIN_SHARED = 0.2
"""Share of the smaller of two sketches that both must have; near duplicates share twice as much."""
_ROWS = 1_000_000
"""Rows of the join of sketches, or pairs by vector, that are held in memory at once."""
_LOOKED_UP = 65_536
"""Hashes that are looked up at once: as many as fit in the cache of a core."""
_PAIRS = 1024
"""Pairs of vectors that are held side by side."""
_ROUNDING = 1e-4
"""Rounding changes a cosine by less than this."""

PAIRS = pl.Schema({"left": pl.UInt32, "right": pl.UInt32})
HASHES = pl.Schema({"text": pl.UInt32, "hash": pl.UInt32})
"""Texts and the numbers of the hashes that they have: a frame numbers its hashes as it likes."""
COSINES = pl.Schema({**PAIRS, "cosine": pl.Float64})
Vectors = tuple[np.ndarray, np.ndarray]
"""Numbers of texts (uint32, shape (n,)), and their unit vectors (float32, shape (n, dim))."""


@dataclass(frozen=True)
class Sketches:
    """The sketches of texts, concatenated."""

    texts: np.ndarray
    """The numbers of the texts: uint32, shape (n,), each once."""
    ends: np.ndarray
    """Where each sketch ends: that of `texts[i]` ends before row `ends[i]` of `hashes`; int64, shape (n,)."""
    hashes: np.ndarray
    """The hashes of all sketches, uint64 below 2**BITS."""

    def sizes(self) -> pl.DataFrame:
        """The size of each sketch by which the share of common hashes is measured: columns text, size (Int64).

        It is the number of sampled hashes: those that only fill a short sketch up do not count. Below 8 it is 1, so
        that one common hash is enough.
        """
        size = np.diff(self.ends, prepend=0)
        filled_up = np.flatnonzero((size > 0) & (size <= SKETCH_MIN))
        if len(filled_up):
            starts = np.cumsum(size[filled_up]) - size[filled_up]
            size[filled_up] = np.add.reduceat(self._of(filled_up) < SAMPLED, starts, dtype=np.int64)
        return pl.DataFrame({"text": self.texts, "size": np.where(size >= 8, size, 1)})

    def sharing(self, wanted: pl.Series) -> pl.DataFrame:
        """The hashes that a wanted text shares with another text: schema HASHES, a row for each text that has one.

        They are numbered from 0 on: there are few of them, and a number is half as long as a hash. Most hashes belong
        to one text alone. They are sorted out a part at a time, so that few of them are in memory beside the rows that
        are returned.
        """
        at = np.flatnonzero(_marked(wanted, self.texts))
        mine = self.hashes if len(at) == len(self.texts) else self._of(at)
        number = min(1 + len(mine) // _ROWS, 2**16)
        part_of, part_of_mine = ((h % number).astype(np.uint16) if number > 1 else None for h in (self.hashes, mine))
        found, numbered = [pl.DataFrame(schema=HASHES)], 0
        for part in range(number):
            if part_of is None:
                rows = _among(self.hashes, mine)
            else:
                rows = np.flatnonzero(part_of == part)
                rows = rows[_among(self.hashes[rows], mine[part_of_mine == part])]
            rows = rows[pl.Series(self.hashes[rows]).is_duplicated().to_numpy()]
            texts = self.texts[np.searchsorted(self.ends, rows, "right")]
            distinct, numbers = np.unique(self.hashes[rows], return_inverse=True)
            found.append(pl.DataFrame({"text": texts, "hash": (numbers + numbered).astype(np.uint32)}, HASHES))
            numbered += len(distinct)
        return pl.concat(found)

    def _of(self, at: np.ndarray) -> np.ndarray:
        """The hashes of the sketches of `texts[at]`, concatenated."""
        ends = self.ends[at]
        sizes = ends - np.where(at > 0, self.ends[at - 1], 0)
        return self.hashes[_rows_from(ends - sizes, sizes)]


def _among(hashes: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The rows of `hashes` (uint64) whose hash is wanted: int64.

    A table of the first bits of the wanted hashes dismisses most of the others.
    """
    bits = min(24, 6 + len(wanted).bit_length())
    shift = np.uint64(BITS - bits)
    table = np.zeros(1 << bits, np.bool_)
    table[wanted >> shift] = True
    parts = [np.empty(0, np.int64)]
    for start in range(0, len(hashes), _LOOKED_UP):
        at = hashes[start : start + _LOOKED_UP] >> shift
        parts.append(start + np.flatnonzero(table.take(at, mode="clip")))  # "clip" skips the check of bounds
    rows = np.concatenate(parts)
    return rows[pl.Series(hashes[rows]).is_in(pl.Series(wanted).unique().implode()).to_numpy()]


@dataclass(frozen=True)
class _Ranked:
    """Rows of a hash and a text that has it, sorted by hash and then by text."""

    texts: np.ndarray
    hashes: np.ndarray
    starts: np.ndarray
    """Of each row, the first row with the same hash."""
    ends: np.ndarray
    """Of each row, the row behind the last one with the same hash."""

    @classmethod
    def of(cls, hashes: pl.DataFrame) -> _Ranked:
        """Sort rows of schema HASHES."""
        keys = np.sort(_keys(hashes["hash"].to_numpy(), hashes["text"].to_numpy()))
        values = (keys >> np.uint64(32)).astype(np.uint32)
        starts = np.flatnonzero(np.diff(values, prepend=~values[:1]))
        sizes = np.diff(starts, append=len(values))
        return cls(keys.astype(np.uint32), values, np.repeat(starts, sizes), np.repeat(starts + sizes, sizes))

    def places(self, counted: np.ndarray) -> np.ndarray:
        """The number of counted rows that stand before each row among the rows of its hash: int64.

        `counted` says of each row whether it counts (bool).
        """
        before = np.cumsum(counted) - counted
        return before - before[self.starts]


class Sharing(Protocol):
    """Sketches of texts that can say which of them share hashes, as :class:`Sketches` does."""

    def sharing(self, wanted: pl.Series) -> pl.DataFrame: ...

    def sizes(self) -> pl.DataFrame: ...


def by_sketch(every: Sharing, came: pl.Series, gone: pl.Series) -> tuple[pl.Series, pl.DataFrame]:
    """Find the candidate pairs by sketch that a change of the set of texts makes.

    Args:
        every: the sketches of the texts that there are, and of those that are gone.
        came: the texts that are there now and were not before: all of them where there was nothing before.
        gone: the texts that were there before and are not now.

    Returns:
        The texts whose partners were looked for again (UInt32: those that came, and those for which the change may have
        altered the candidates), and all pairs that these texts are in (schema PAIRS).
    """
    hashes = every.sharing(pl.concat([came, gone]))
    other = moved(hashes, came, gone)
    again = pl.concat([came, other])
    if other.len():
        hashes = every.sharing(again)
    hashes = hashes.filter(~pl.col("text").is_in(gone.implode()))
    return again, sketch_pairs(again, hashes, every.sizes())


def moved(hashes: pl.DataFrame, came: pl.Series, gone: pl.Series) -> pl.Series:
    """The texts that stay, and became a head of some hash or ceased to be one: UInt32.

    Args:
        hashes: the hashes that the texts of now and of before share with those that came or are gone
            (:meth:`Sketches.sharing`).
        came: the texts that are there now and were not before.
        gone: the texts that were there before and are not now.
    """
    rows = _Ranked.of(hashes)
    is_new, is_old = _marked(came, rows.texts), _marked(gone, rows.texts)
    was_head, is_head = rows.places(~is_new) < LIMIT, rows.places(~is_old) < LIMIT
    return pl.Series(rows.texts[(was_head != is_head) & ~is_new & ~is_old], dtype=pl.UInt32).unique()


def sketch_pairs(wanted: pl.Series, hashes: pl.DataFrame, sizes: pl.DataFrame) -> pl.DataFrame:
    """The candidate pairs by sketch that a wanted text is in.

    Two texts are a pair if the earlier of them is a head of a hash that both have, and if they share enough hashes.

    Args:
        wanted: the texts to find partners for.
        hashes: all hashes that the wanted texts share with others (:meth:`Sketches.sharing`).
        sizes: the sizes of all sketches (:meth:`Sketches.sizes`).

    Returns:
        Schema PAIRS, left < right, each pair once.
    """
    rows = _Ranked.of(hashes)
    rank = rows.places(np.ones(len(rows.texts), np.bool_))
    least = np.zeros(1 + int(sizes["text"].max() or 0))  # pyright: ignore[reportArgumentType]
    least[sizes["text"].to_numpy()] = sizes["size"].to_numpy() * _MIN_SHARED
    is_hidden = rank >= LIMIT
    hidden = _Hidden.of(rows.texts[is_hidden], rows.hashes[is_hidden], len(least))
    # First each wanted text is paired with the heads before it, then each wanted head with the texts behind it that
    # are not wanted.
    is_wanted = _marked(wanted, rows.texts)
    at = np.flatnonzero(is_wanted)
    found = [pl.DataFrame(schema=PAIRS)]
    for mine, heads in _expanded(rows.texts[at], rows.starts[at], np.minimum(rank[at], LIMIT), rows.texts):
        found.append(_sharing_enough(heads, mine, hidden, least))
    at = at[rank[at] < LIMIT]
    before = np.concatenate([[0], np.cumsum(~is_wanted)])
    number = before[rows.ends[at]] - before[at]
    for mine, others in _expanded(rows.texts[at], before[at], number, rows.texts[~is_wanted]):
        found.append(_sharing_enough(mine, others, hidden, least))
    return pl.concat(found)


def _marked(wanted: pl.Series, texts: np.ndarray) -> np.ndarray:
    """Whether each of these texts (uint32) is wanted: bool."""
    marks = np.zeros(1 + max(int(texts.max(initial=0)), int(wanted.max() or 0)), np.bool_)  # pyright: ignore[reportArgumentType]
    marks[wanted.to_numpy()] = True
    return marks[texts]


def _expanded(
    mine: np.ndarray, first: np.ndarray, number: np.ndarray, texts: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pair each text of `mine` with `number` texts of `texts`, from row `first` on.

    A text may stand in `mine` several times. Yields two arrays, of the texts of `mine` and of their partners, for about
    _ROWS pairs at a time; all pairs of a text are in one block.
    """
    at = np.flatnonzero(number)
    at = at[np.argsort(mine[at], kind="stable")]
    mine, first, number = mine[at], first[at], number[at]
    ends = np.cumsum(number)
    of_text = np.searchsorted(mine, mine)  # of each row, the first row of its text
    blocks = (ends - number)[of_text] // _ROWS
    for part in np.split(np.arange(len(mine)), np.flatnonzero(np.diff(blocks)) + 1):
        yield np.repeat(mine[part], number[part]), texts[_rows_from(first[part], number[part])]


@dataclass(frozen=True)
class _Hidden:
    """The hidden hashes: a hash is hidden in a text that has it and is none of its heads.

    They make no pair, but count towards what two texts share.
    """

    keys: np.ndarray
    """Text and hash as one number (:func:`_keys`), sorted."""
    starts: np.ndarray
    """Of each text, by its number, the first of its rows in `keys`."""
    number: np.ndarray
    """Of each text, by its number, how many rows it has there."""

    @classmethod
    def of(cls, texts: np.ndarray, hashes: np.ndarray, end: int) -> _Hidden:
        """Sort rows of a text and its hidden hash; all numbers of texts are below `end`."""
        keys = np.sort(_keys(texts, hashes))
        starts = np.searchsorted(keys, np.arange(end + 1, dtype=np.uint64) << np.uint64(32))
        return cls(keys, starts[:-1], np.diff(starts))

    def most(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """The number of hidden hashes that each pair of texts shares at most."""
        return np.minimum(self.number[left], self.number[right])

    def shared(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """The number of hidden hashes that each pair of texts shares: int64."""
        is_fewer = self.number[left] < self.number[right]  # the hashes of one text are looked up among the other's
        few, many = np.where(is_fewer, left, right), np.where(is_fewer, right, left)
        found = np.empty(len(few), np.int64)
        blocks = np.cumsum(self.number[few]) // _ROWS
        for part in np.split(np.arange(len(few)), np.flatnonzero(np.diff(blocks)) + 1):
            found[part] = self._shared(few[part], many[part])
        return found

    def _shared(self, few: np.ndarray, many: np.ndarray) -> np.ndarray:
        number = self.number[few]
        pair = np.repeat(np.arange(len(few)), number)
        hashes = self.keys[_rows_from(self.starts[few], number)].astype(np.uint32)
        theirs = _keys(many[pair], hashes)
        is_shared = self.keys.take(np.searchsorted(self.keys, theirs), mode="clip") == theirs
        return np.bincount(pair[is_shared], minlength=len(few))


def _rows_from(first: np.ndarray, number: np.ndarray) -> np.ndarray:
    """The rows of runs, concatenated: int64. Run i has `number[i]` rows, from `first[i]` on."""
    return np.arange(number.sum()) + np.repeat(first - (np.cumsum(number) - number), number)


def _keys(high: np.ndarray, low: np.ndarray) -> np.ndarray:
    """Two uint32 as one uint64, ordered by `high` and then by `low`."""
    return high.astype(np.uint64) << np.uint64(32) | low


def _sharing_enough(left: np.ndarray, right: np.ndarray, hidden: _Hidden, least: np.ndarray) -> pl.DataFrame:
    """The pairs that share enough hashes: schema PAIRS, each once.

    Args:
        left: the earlier texts of the pairs; a pair stands there once for each hash that makes it one.
        right: the later texts.
        hidden: the hashes that count too.
        least: by the number of a text, how many common hashes are enough for it; of a pair, the smaller counts.
    """
    keys = np.sort(_keys(left, right))
    first = np.flatnonzero(np.diff(keys, prepend=~keys[:1]))
    shared = np.diff(first, append=len(keys))
    left, right = (keys[first] >> np.uint64(32)).astype(np.uint32), keys[first].astype(np.uint32)
    enough = np.minimum(least[left], least[right])
    perhaps = np.flatnonzero((shared < enough) & (shared + hidden.most(left, right) >= enough))
    shared[perhaps] += hidden.shared(left[perhaps], right[perhaps])
    is_enough = shared >= enough
    return pl.DataFrame({"left": left[is_enough], "right": right[is_enough]}, PAIRS)


def near_any(vectors: np.ndarray, outlines: np.ndarray, directions: np.ndarray, threshold: float) -> np.ndarray:
    """Whether each outlined vector may be in a pair by vector with one of `vectors`: bool of shape (n,).

    A vector for which it is False is in none. For the arguments see :func:`quarry_dagster.index.may_reach`.
    """
    return may_reach(vectors, outlines, directions, _before_rounding(threshold))


def is_close(threshold: float) -> pl.Expr:
    """Whether a pair is one by vector: its cosine, rounded as it is stored, reaches the threshold."""
    return pl.col("cosine") >= threshold


def _before_rounding(threshold: float) -> float:
    """What a cosine is at least, before it is rounded, if it reaches the threshold then."""
    return threshold - _ROUNDING


def vector_pairs(
    new: Vectors, others: Iterable[Vectors], threshold: float, kernel: MakeKernel = Float32
) -> pl.DataFrame:
    """The candidate pairs by vector that a new text is in.

    A pair is one if :func:`is_close`; of the pairs of a right text the :func:`first_neighbours` are returned.

    Args:
        new: the new texts.
        others: the other texts, in blocks that fit in memory.
        threshold: the least cosine.
        kernel: what compares the vectors; the pairs are the same.

    Returns:
        Schema COSINES, left < right, each pair once.
    """
    order = np.argsort(new[0])
    texts, vectors = new[0][order], new[1][order]
    join = ThresholdJoin(vectors, _before_rounding(threshold), kernel)
    inside = ((texts[p.a], texts[p.b], p.cosine) for p in join.within(LIMIT, lambda c: rounded(c) >= threshold))
    outside = ((texts[p.a], block[0][p.b], p.cosine) for block in others for p in join.against(block[1]))
    found = pl.DataFrame(schema=COSINES)
    for pairs in _batches(chain(inside, outside)):
        a, b, cosine = (np.concatenate(column) for column in zip(*pairs, strict=True))
        columns = {"left": np.minimum(a, b), "right": np.maximum(a, b), "cosine": rounded(cosine)}
        close = pl.DataFrame(columns, schema=COSINES).filter(is_close(threshold))
        found = first_neighbours(pl.concat([found, _not_behind(found, close)]))
    return found


def _not_behind(found: pl.DataFrame, pairs: pl.DataFrame) -> pl.DataFrame:
    """The pairs that may still be among the first neighbours of their right text, after those that were found."""
    last = found.group_by("right").agg(last=pl.col("left").max(), number=pl.len()).filter(pl.col("number") >= LIMIT)
    beside = pairs.join(last, on="right", how="left")
    return beside.filter(pl.col("last").is_null() | (pl.col("left") < pl.col("last"))).select(COSINES.names())


_Found = tuple[np.ndarray, np.ndarray, np.ndarray]


def _batches(found: Iterable[_Found]) -> Iterator[list[_Found]]:
    """Collect blocks of pairs into batches of about _ROWS pairs."""
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
    """The pairs (schema PAIRS) with their cosines, schema COSINES.

    `texts` are numbers of texts (uint32, shape (n,)), `vectors` their unit vectors (float32, shape (n, dim)).
    """
    order = np.argsort(texts)
    left, right = (order[np.searchsorted(texts, pairs[side], sorter=order)] for side in ("left", "right"))
    found = np.empty(pairs.height)
    for start in range(0, pairs.height, _PAIRS):
        part = slice(start, start + _PAIRS)
        found[part] = cosines(vectors[left[part]], vectors[right[part]])
    return pairs.with_columns(pl.Series("cosine", found))


def first_neighbours(pairs: pl.DataFrame) -> pl.DataFrame:
    """The pairs of each right text with its first LIMIT left texts; columns left < right, and others, which stay."""
    return pairs.unique(["left", "right"]).filter(pl.col("left").rank("ordinal").over("right") <= LIMIT)
