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

from quarry_dagster.dedup.shingles import SAMPLED, SKETCH_MIN
from quarry_dagster.dedup.verify import cosines, rounded
from quarry_dagster.index import Float32, MakeKernel, ThresholdJoin, may_reach

VERSION = "candidates-3"

LIMIT = 16
"""Of the texts with one hash, and of the earlier neighbours of a vector, the first so many count."""
_MIN_SHARED = 0.2
"""Share of the smaller sample that must be common; near duplicates have twice that."""
_ROWS = 1_000_000
"""Rows of the join of sketches, and pairs by vector, that are held at once."""
_LOOKED_UP = 65_536
"""Hashes that are looked up at once: what fits in a core's cache."""
_PAIRS = 1024
"""Pairs of vectors that are held side by side."""
_ROUNDING = 1e-4
"""More than a cosine changes when it is rounded."""

PAIRS = pl.Schema({"left": pl.UInt32, "right": pl.UInt32})
HASHES = pl.Schema({"text": pl.UInt32, "hash": pl.UInt32})
COSINES = pl.Schema({**PAIRS, "cosine": pl.Float64})
Vectors = tuple[np.ndarray, np.ndarray]
"""Numbers of texts (uint32, shape (n,)), and their unit vectors (float32, shape (n, dim))."""


@dataclass(frozen=True)
class Sketches:
    """The sketches of texts, one behind the other.

    `texts` are their numbers (uint32, shape (n,)), each once; the sketch of `texts[i]` ends before row `ends[i]`
    (int64, shape (n,)) of `hashes` (uint32).
    """

    texts: np.ndarray
    ends: np.ndarray
    hashes: np.ndarray

    def sizes(self) -> pl.DataFrame:
        """What a share of a text's sketch is taken of: columns text, size. Of very few samples, one is enough."""
        size = np.diff(self.ends, prepend=0)
        filled_up = np.flatnonzero((size > 0) & (size <= SKETCH_MIN))
        if len(filled_up):
            starts = np.cumsum(size[filled_up]) - size[filled_up]
            size[filled_up] = np.add.reduceat(self._of(filled_up) < SAMPLED, starts, dtype=np.int64)
        return pl.DataFrame({"text": self.texts, "size": np.where(size >= 8, size, 1)})

    def sharing(self, wanted: pl.Series) -> pl.DataFrame:
        """All rows, schema HASHES, of the hashes that a wanted text and another have.

        Most hashes are one text's alone. So beside the rows that are returned only a part of the others is held.
        """
        at = np.flatnonzero(_marked(wanted, self.texts))
        mine = self.hashes if len(at) == len(self.texts) else self._of(at)
        number = min(1 + len(mine) // _ROWS, 2**16)
        part_of, part_of_mine = ((h % number).astype(np.uint16) if number > 1 else None for h in (self.hashes, mine))
        found = [pl.DataFrame(schema=HASHES)]
        for part in range(number):
            if part_of is None:
                rows = _among(self.hashes, mine)
            else:
                rows = np.flatnonzero(part_of == part)
                rows = rows[_among(self.hashes[rows], mine[part_of_mine == part])]
            rows = rows[pl.Series(self.hashes[rows]).is_duplicated().to_numpy()]
            texts = self.texts[np.searchsorted(self.ends, rows, "right")]
            found.append(pl.DataFrame({"text": texts, "hash": self.hashes[rows]}, HASHES))
        return pl.concat(found)

    def _of(self, at: np.ndarray) -> np.ndarray:
        """The sketches of `texts[at]`, one behind the other."""
        ends = self.ends[at]
        sizes = ends - np.where(at > 0, self.ends[at - 1], 0)
        return self.hashes[_rows_from(ends - sizes, sizes)]


def _among(hashes: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Rows of those that are among the wanted ones (uint32). Most are dismissed by a table of the wanted first bits."""
    bits = min(24, 6 + len(wanted).bit_length())
    shift = np.uint32(32 - bits)
    table = np.zeros(1 << bits, np.bool_)
    table[wanted >> shift] = True
    parts = [np.empty(0, np.int64)]
    for start in range(0, len(hashes), _LOOKED_UP):
        at = hashes[start : start + _LOOKED_UP] >> shift
        parts.append(start + np.flatnonzero(table.take(at, mode="clip")))  # all are in it; not to check that is faster
    rows = np.concatenate(parts)
    return rows[pl.Series(hashes[rows]).is_in(pl.Series(wanted).unique().implode()).to_numpy()]


@dataclass(frozen=True)
class _Ranked:
    """Rows by hash and text, and of each row where those of its hash start and end."""

    texts: np.ndarray
    hashes: np.ndarray
    starts: np.ndarray
    ends: np.ndarray

    @classmethod
    def of(cls, hashes: pl.DataFrame) -> _Ranked:
        """Of rows with schema HASHES."""
        keys = np.sort(_keys(hashes["hash"].to_numpy(), hashes["text"].to_numpy()))
        values = (keys >> np.uint64(32)).astype(np.uint32)
        starts = np.flatnonzero(np.diff(values, prepend=~values[:1]))
        sizes = np.diff(starts, append=len(values))
        return cls(keys.astype(np.uint32), values, np.repeat(starts, sizes), np.repeat(starts + sizes, sizes))

    def places(self, counted: np.ndarray) -> np.ndarray:
        """How many of the rows that are counted (bool) stand before each row among those of its hash."""
        before = np.cumsum(counted) - counted
        return before - before[self.starts]


def moved(hashes: pl.DataFrame, came: pl.Series, gone: pl.Series) -> pl.Series:
    """The texts that became a head of some hash, or ceased to be one, though they were there before and are now.

    Args:
        hashes: what texts now and before share with those that came or are gone (:meth:`Sketches.sharing`).
        came: texts that were not there before.
        gone: texts that are not there now.
    """
    rows = _Ranked.of(hashes)
    is_new, is_old = _marked(came, rows.texts), _marked(gone, rows.texts)
    was_head, is_head = (rows.places(~other) < LIMIT for other in (is_new, is_old))
    return pl.Series(rows.texts[(was_head != is_head) & ~is_new & ~is_old], dtype=pl.UInt32).unique()


def sketch_pairs(wanted: pl.Series, hashes: pl.DataFrame, sizes: pl.DataFrame) -> pl.DataFrame:
    """Pairs with a wanted text whose earlier text is a head of a hash that both have, if they share enough hashes.

    Args:
        wanted: texts to find partners for.
        hashes: all that texts share with the wanted ones (:meth:`Sketches.sharing`).
        sizes: columns text, size (:meth:`Sketches.sizes`) of all texts.

    Returns:
        Schema PAIRS, left < right, each pair once.
    """
    rows = _Ranked.of(hashes)
    rank = rows.places(np.ones(len(rows.texts), np.bool_))
    least = np.zeros(1 + int(sizes["text"].max() or 0))  # pyright: ignore[reportArgumentType]
    least[sizes["text"].to_numpy()] = sizes["size"].to_numpy() * _MIN_SHARED
    is_hidden = rank >= LIMIT
    hidden = _Hidden.of(rows.texts[is_hidden], rows.hashes[is_hidden], len(least))
    # Each wanted text with the heads before it; each wanted head with the texts after it that are not wanted.
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
    """Which of these texts are wanted: bool."""
    marks = np.zeros(1 + max(int(texts.max(initial=0)), int(wanted.max() or 0)), np.bool_)  # pyright: ignore[reportArgumentType]
    marks[wanted.to_numpy()] = True
    return marks[texts]


def _expanded(
    mine: np.ndarray, first: np.ndarray, number: np.ndarray, texts: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """For each of mine (texts, some more than once) the `number` texts from `first` on, with itself beside each.

    In blocks of about _ROWS, all of a text in one.
    """
    at = np.flatnonzero(number)
    at = at[np.argsort(mine[at], kind="stable")]
    mine, first, number = mine[at], first[at], number[at]
    ends = np.cumsum(number)
    of_text = np.searchsorted(mine, mine)  # the first of each text's rows
    blocks = (ends - number)[of_text] // _ROWS
    for part in np.split(np.arange(len(mine)), np.flatnonzero(np.diff(blocks)) + 1):
        yield np.repeat(mine[part], number[part]), texts[_rows_from(first[part], number[part])]


@dataclass(frozen=True)
class _Hidden:
    """Hashes of texts that are no head of theirs: keys of text and hash, sorted; of each text where its own start, and
    how many they are."""

    keys: np.ndarray
    starts: np.ndarray
    number: np.ndarray

    @classmethod
    def of(cls, texts: np.ndarray, hashes: np.ndarray, end: int) -> _Hidden:
        """Of rows of texts whose numbers are below `end`."""
        keys = np.sort(_keys(texts, hashes))
        starts = np.searchsorted(keys, np.arange(end + 1, dtype=np.uint64) << np.uint64(32))
        return cls(keys, starts[:-1], np.diff(starts))

    def most(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """How many of them pairs of texts share at most."""
        return np.minimum(self.number[left], self.number[right])

    def shared(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """How many of them pairs of texts share."""
        is_fewer = self.number[left] < self.number[right]
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
    """From each `first` row on so many rows, one run behind the other: int64."""
    return np.arange(number.sum()) + np.repeat(first - (np.cumsum(number) - number), number)


def _keys(high: np.ndarray, low: np.ndarray) -> np.ndarray:
    """Two uint32 as one uint64, that is ordered by the first and then the second."""
    return high.astype(np.uint64) << np.uint64(32) | low


def _sharing_enough(left: np.ndarray, right: np.ndarray, hidden: _Hidden, least: np.ndarray) -> pl.DataFrame:
    """Of pairs, once for each hash that makes them one, those that share enough hashes, `hidden` ones counted too.

    `least` is by text the number that is enough; of two texts the smaller counts.
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
    """Which vectors, told by their outlines, may be in a pair by vector with one of these: bool of shape (n,).

    For the arguments see :func:`quarry_dagster.index.may_reach`.
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
    """Pairs of a new text with another whose rounded cosine is at least `threshold`, of those :func:`first_neighbours`.

    `others` are those that are not new, in blocks that fit in memory. Returns schema COSINES, left < right, each once.
    """
    order = np.argsort(new[0])
    texts, vectors = new[0][order], new[1][order]
    join = ThresholdJoin(vectors, _before_rounding(threshold), kernel)
    inside = ((texts[p.a], texts[p.b], p.cosine) for p in join.within(LIMIT))
    outside = ((texts[p.a], block[0][p.b], p.cosine) for block in others for p in join.against(block[1]))
    found = pl.DataFrame(schema=COSINES)
    for pairs in _batches(chain(inside, outside)):
        a, b, cosine = (np.concatenate(column) for column in zip(*pairs, strict=True))
        columns = {"left": np.minimum(a, b), "right": np.maximum(a, b), "cosine": rounded(cosine)}
        close = pl.DataFrame(columns, schema=COSINES).filter(is_close(threshold))
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
