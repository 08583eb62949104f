"""The scores of a pair of texts, from the full texts: pure functions of the two."""

from __future__ import annotations

from collections.abc import Sequence

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


def scores(texts: Sequence[str], left: np.ndarray, right: np.ndarray) -> pl.DataFrame:
    """Score the pairs `(texts[left[i]], texts[right[i]])`; one row a pair, columns SCORES, all in [0, 1].

    `left_in_right` is the containment |L & R| / |L| of the sets of shingles (Broder 1997), `left_worst_part` the
    smallest containment in the right text of any of eight equal parts of the left: near 0 where a text is a shared
    page template around another body, near the containment where edits are spread over a whole text.
    """
    return scores_of(shingles(texts, SHINGLE), left, right)


def scores_of(ordered: Sequence[np.ndarray], left: np.ndarray, right: np.ndarray) -> pl.DataFrame:
    """:func:`scores`, from the texts' shingles in order of the text (uint64, shape (shingles,) each)."""
    # Shingles are numbered, so that those of one text can be looked up among the other's in an array of flags.
    numbers = pl.Series(np.concatenate([np.empty(0, np.uint64), *ordered])).rank("dense").to_numpy()
    ends = np.cumsum([len(s) for s in ordered])
    of = [numbers[end - len(s) : end] for end, s in zip(ends, ordered, strict=True)]
    sets = [np.unique(s) for s in of]
    parts = [_parts(len(s)) for s in of]
    flags = np.zeros(numbers.max(initial=0) + 1, np.bool_)
    rows = np.zeros((len(left), len(SCORES)))
    for i, (a, b) in enumerate(zip(left.tolist(), right.tolist(), strict=True)):
        if min(len(of[a]), len(of[b])) < MIN_SHINGLES:
            continue
        flags[sets[b]] = True
        both = np.count_nonzero(flags[sets[a]])
        worst_a = _worst_part(flags[of[a]], *parts[a])
        flags[sets[b]] = False
        flags[sets[a]] = True
        worst_b = _worst_part(flags[of[b]], *parts[b])
        flags[sets[a]] = False
        n, m = len(sets[a]), len(sets[b])
        rows[i] = (both / (n + m - both), both / n, both / m, worst_a, worst_b)
    return pl.DataFrame(rows.round(4), schema=SCORES, orient="row")


def cosines(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Of pairs of unit vectors (float32, shape (n, dim) each), :func:`rounded`.

    Products of two float32 are exact in float64, so a pair has one cosine, whatever it is computed beside.
    """
    return rounded(np.einsum("ij,ij->i", left, right, dtype=np.float64).astype(np.float32))


def rounded(cosine: np.ndarray) -> np.ndarray:
    """Cosines (float32) as they are stored and decided on: float64, 4 digits."""
    return cosine.astype(np.float64).round(4)


def _parts(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Where each of PARTS equal parts of n shingles starts, and how many it has; the first take what is left over."""
    sizes = n // PARTS + (np.arange(PARTS) < n % PARTS)
    return np.cumsum(sizes) - sizes, sizes


def _worst_part(found: np.ndarray, starts: np.ndarray, sizes: np.ndarray) -> float:
    return float((np.add.reduceat(found, starts, dtype=np.int64) / sizes).min())
