"""The scores of a pair of texts, from the full texts: pure functions of the two."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import polars as pl

from quarry_dagster.dedup.shingles import SHINGLE, shingles

VERSION = "verify-1"

MIN_SHINGLES = 8
"""A text with fewer shingles says too little to be compared by them: it is compared exactly only."""
PARTS = 8
"""Equal parts of a text whose containments are looked at one by one."""

SCORES = {
    "jaccard": pl.Float64,
    "left_in_right": pl.Float64,
    "right_in_left": pl.Float64,
    "left_worst_part": pl.Float64,
    "right_worst_part": pl.Float64,
}


@dataclass(frozen=True)
class Shingled:
    """A text as its shingles: `distinct` ones, sorted (uint64, shape (m,)), and the place there of each in order of
    the text (`order`, int32 of shape (n,))."""

    distinct: np.ndarray
    order: np.ndarray

    @classmethod
    def of(cls, texts: Sequence[str]) -> list[Shingled]:
        """Each of these texts."""
        return [cls._of(hashes) for hashes in shingles(texts, SHINGLE)]

    @classmethod
    def _of(cls, hashes: np.ndarray) -> Shingled:
        places = np.argsort(hashes)
        ordered = hashes[places]
        is_first = np.not_equal(ordered, np.roll(ordered, 1))
        is_first[:1] = True
        order = np.empty(len(hashes), np.int32)
        order[places] = np.cumsum(is_first) - 1
        return cls(ordered[is_first], order)


def scores(texts: Sequence[Shingled], left: np.ndarray, right: np.ndarray) -> pl.DataFrame:
    """Score the pairs `(texts[left[i]], texts[right[i]])`; one row a pair, columns SCORES, all in [0, 1].

    `left_in_right` is the containment |L & R| / |L| of the sets of shingles (Broder 1997), `left_worst_part` the
    smallest containment in the right text of any of eight equal parts of the left: near 0 where a text is a shared
    page template around another body, near the containment where edits are spread over a whole text.
    """
    rows = np.zeros((len(left), len(SCORES)))
    for i, (a, b) in enumerate(zip(left.tolist(), right.tolist(), strict=True)):
        if min(len(texts[a].order), len(texts[b].order)) < MIN_SHINGLES:
            continue
        in_right, in_left = _shared(texts[a].distinct, texts[b].distinct)
        both, n, m = np.count_nonzero(in_right), len(in_right), len(in_left)
        worst = (_worst_part(in_right[texts[a].order]), _worst_part(in_left[texts[b].order]))
        rows[i] = (both / (n + m - both), both / n, both / m, *worst)
    return pl.DataFrame(rows.round(4), schema=SCORES, orient="row")


def _shared(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of two sorted arrays of distinct numbers, which of each are in the other."""
    if len(a) > len(b):
        in_a, in_b = _shared(b, a)
        return in_b, in_a
    at = np.searchsorted(b, a)
    in_b = b.take(at, mode="clip") == a
    in_a = np.zeros(len(b), np.bool_)
    in_a[at[in_b]] = True
    return in_b, in_a


def cosines(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Of pairs of unit vectors (float32, shape (n, dim) each), :func:`rounded`.

    Products of two float32 are exact in float64, so a pair has one cosine, whatever it is computed beside.
    """
    return rounded(np.einsum("ij,ij->i", left, right, dtype=np.float64).astype(np.float32))


def rounded(cosine: np.ndarray) -> np.ndarray:
    """Cosines (float32) as they are stored and decided on: float64, 4 digits."""
    return cosine.astype(np.float64).round(4)


@lru_cache(maxsize=65_536)
def _parts(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Where each of PARTS equal parts of n shingles starts, and how many it has; the first take what is left over."""
    sizes = n // PARTS + (np.arange(PARTS) < n % PARTS)
    return np.cumsum(sizes) - sizes, sizes


def _worst_part(found: np.ndarray) -> float:
    starts, sizes = _parts(len(found))
    return float((np.add.reduceat(found, starts, dtype=np.int64) / sizes).min())
