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
    ordered = shingles(texts, SHINGLE)
    sets = [np.unique(s) for s in ordered]
    rows = np.zeros((len(left), len(SCORES)))
    for i, (a, b) in enumerate(zip(left.tolist(), right.tolist(), strict=True)):
        if min(len(ordered[a]), len(ordered[b])) < MIN_SHINGLES:
            continue
        both = len(np.intersect1d(sets[a], sets[b], assume_unique=True))
        rows[i] = (
            both / (len(sets[a]) + len(sets[b]) - both),
            both / len(sets[a]),
            both / len(sets[b]),
            _worst_part(ordered[a], sets[b]),
            _worst_part(ordered[b], sets[a]),
        )
    return pl.DataFrame(rows.round(4), schema=SCORES, orient="row")


def _worst_part(grams: np.ndarray, other: np.ndarray) -> float:
    at = np.searchsorted(other, grams)
    at[at == len(other)] = 0
    found = other[at] == grams
    return min(float(part.mean()) for part in np.array_split(found, PARTS))
