"""Counts, and the bars that show them: a table with a CSS bar in each row, readable without colour or script."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import polars as pl

LENGTHS = (0, *(d * 10**k for k in range(6) for d in (1, 2, 5)), 1_000_000)
"""Edges of the bins of a text's length, in words."""
SCORES = tuple(i / 20 for i in range(8, 20))
"""Edges of the bins of containments and cosines: .40 to .95."""


@dataclass(frozen=True)
class Count:
    """How many there are of something."""

    label: str
    n: int


@dataclass(frozen=True)
class Bar:
    """One row of a chart."""

    label: str
    n: int
    share: float  # of `of`, see bars
    width: float  # percent of the longest bar


def bars(counts: Sequence[Count], of: int | None = None) -> list[Bar]:
    """Rows of a chart in the order given; shares are of the sum, or of `of`."""
    total = sum(c.n for c in counts) if of is None else of
    longest = max((c.n for c in counts), default=0)
    return [Bar(c.label, c.n, _ratio(c.n, total), round(100 * _ratio(c.n, longest), 2)) for c in counts]


def histogram(rows: pl.LazyFrame, column: str, edges: Sequence[float], unit: str = "{:g}") -> list[Count]:
    """How many values fall between each edge and the next, that one excluded, from the first bin that has any to
    the last; nulls are not counted. `unit` formats an edge.

    What lies outside of the edges is in a bin of its own at either end.
    """
    value = pl.col(column)
    inner = list(pairwise(edges))
    labels = [f"< {unit.format(edges[0])}"]
    labels += [_range(unit, a, b) for a, b in inner]
    labels += [f"≥ {unit.format(edges[-1])}"]
    bins = [value < edges[0], *((value >= a) & (value < b) for a, b in inner), value >= edges[-1]]
    found = rows.select(bin_.sum().alias(label) for label, bin_ in zip(labels, bins, strict=True))
    counts = [Count(label, n or 0) for label, n in found.collect(engine="streaming").row(0, named=True).items()]
    filled = [i for i, c in enumerate(counts) if c.n]
    return counts[filled[0] : filled[-1] + 1] if filled else []


def _range(unit: str, start: float, end: float) -> str:
    last = end - 1 if isinstance(end, int) else end
    return unit.format(start) if last == start else f"{unit.format(start)}–{unit.format(last)}"


def _ratio(n: int, of: int) -> float:
    return n / of if of else 0.0
