"""The scores of a pair of texts, from the full texts: pure functions of the two."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from quarry_dagster.dedup import near
from quarry_dagster.index import dots

VERSION = f"verify-2/{near.VERSION}"

SCORES = {
    "jaccard": pl.Float64,
    "left_in_right": pl.Float64,
    "right_in_left": pl.Float64,
    "left_guards": pl.UInt8,
    "right_guards": pl.UInt8,
    "right_is_cleaner": pl.Boolean,
}


def scores(texts: Sequence[near.Text], left: np.ndarray, right: np.ndarray) -> pl.DataFrame:
    """Score the pairs `(texts[left[i]], texts[right[i]])`; one row a pair, columns SCORES.

    `left_in_right` is the containment |L & R| / |L| of the sets of shingles (Broder 1997), `left_guards` what speaks
    against removing the left text for the right one (:func:`quarry_dagster.dedup.near.compare`), `right_is_cleaner`
    which of two near duplicates is to stay (:func:`quarry_dagster.dedup.near.is_cleaner`), null where that is not asked
    for, or they are alike.
    """
    rows: list[tuple[float, float, float, int, int, bool | None]] = []
    for a, b in zip(left.tolist(), right.tolist(), strict=True):
        if min(len(texts[a].order), len(texts[b].order)) < near.MIN_SHINGLES:
            rows.append((0.0, 0.0, 0.0, near.NOT_COMPARED, near.NOT_COMPARED, None))
            continue
        mine, theirs = near.views(texts[a], texts[b])
        both, n, m = mine.common, len(texts[a].distinct), len(texts[b].distinct)
        guards = (near.compare(mine), near.compare(theirs))
        cleaner = near.is_cleaner(theirs) if 0 in guards else None
        rows.append((round(both / (n + m - both), 4), round(both / n, 4), round(both / m, 4), *guards, cleaner))
    return pl.DataFrame(rows, schema=SCORES, orient="row")


def cosines(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Of pairs of unit vectors (float32, shape (n, dim) each), :func:`rounded`."""
    return rounded(dots(left, right).astype(np.float32))


def rounded(cosine: np.ndarray) -> np.ndarray:
    """Cosines (float32) as they are stored and decided on: float64, 4 digits."""
    return cosine.astype(np.float64).round(4)
