"""What the marks of Markdown say of a text's lines."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from quarry_dagster.extract.markdown import MARKDOWN, lines_of
from quarry_dagster.quality.lines import Values, ratio

_MARKS = re.compile(r"(?P<heading>#{1,6} )|(?P<table>\|.*\|\s*$)|(?P<item>\s*(?:[-*+]|\d+[.)]) )")


def of_marks(texts: Sequence[str], formats: Sequence[str | None]) -> Values:
    """Shares of the lines that are not blank; no value for plain texts."""
    names = ("code", "table", "item", "heading")
    counts = np.array([_counts(text) if f == MARKDOWN else [0] * 5 for text, f in zip(texts, formats, strict=True)])
    return {f"{name}_lines_v1": ratio(counts[:, i], counts[:, 4]) for i, name in enumerate(names)}


def _counts(text: str) -> list[int]:
    """Lines of code, of tables, of lists, of headings, and all that are not blank."""
    counts = {"code": 0, "table": 0, "item": 0, "heading": 0}
    every = 0
    for line, kind in lines_of(text):
        if not line or line.isspace():
            continue
        every += 1
        if kind != "prose":
            counts["code"] += 1
        elif found := _MARKS.match(line):
            counts[found.lastgroup or ""] += 1
    return [*counts.values(), every]
