"""Where lines, paragraphs and tokens between white space are, and what published rules read from lines."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from quarry_dagster.quality.code_points import (
    BULLET,
    CARRIAGE_RETURN,
    ELLIPSIS,
    LINE_BREAK,
    NEWLINE,
    SPACE,
    TERMINAL,
    Batch,
    Bools,
    Ints,
)
from quarry_dagster.quality.spans import Hasher, repeated, run_bounds

Values = dict[str, npt.NDArray[np.float64]]
"""Signals by name: float64 [texts], NaN where a value has no meaning."""

_SHORT_LINE = 30
"""Characters up to which FineWeb calls a line short."""


class Spans(NamedTuple):
    """Parts of the texts of a batch, in order."""

    begins: Ints
    ends: Ints
    texts: Ints
    """int64 [parts]: the text of each."""

    @property
    def lengths(self) -> Ints:
        return self.ends - self.begins

    def where(self, mask: Bools) -> Spans:
        """Those of them that are meant."""
        return Spans(self.begins[mask], self.ends[mask], self.texts[mask])


def ratio(part: npt.ArrayLike, whole: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """float64: part by whole; NaN where there is no whole."""
    whole = np.asarray(whole, np.float64)
    return np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)


def tokens_of(batch: Batch) -> Spans:
    """What stands between white space, as Python's `str.split` has it."""
    begins, ends = run_bounds(~batch.having(SPACE))
    return Spans(begins, ends, batch.texts_of(begins))


def lines_of(batch: Batch) -> Spans:
    """Lines as Python's `str.splitlines` has them; an empty text has an empty one."""
    breaks = batch.where(LINE_BREAK)
    after_return = batch.have(breaks - 1, CARRIAGE_RETURN) & batch.have(breaks, NEWLINE)
    begins = np.concatenate(([0], breaks[:-1] + 1))
    texts = batch.texts_of(breaks)
    is_line = ~after_return & ((begins < batch.ends[texts]) | (batch.lengths[texts] == 0))
    return Spans(begins, breaks, texts).where(is_line)


def newline_lines_of(batch: Batch) -> Spans:
    """Lines as Python's `str.split` with a newline character has them."""
    ends = np.sort(np.concatenate((batch.where(NEWLINE), batch.ends)))
    return Spans(np.concatenate(([0], ends[:-1] + 1)), ends, batch.texts_of(ends))


def stripped(spans: Spans, tokens: Spans) -> Spans:
    """Spans without the white space around what is in them; a blank one is empty, where it began."""
    first = np.searchsorted(tokens.begins, spans.begins)
    last = np.searchsorted(tokens.begins, spans.ends)
    blank = first == last
    begins, ends = spans.begins.copy(), spans.begins.copy()
    begins[~blank], ends[~blank] = tokens.begins[first[~blank]], tokens.ends[last[~blank] - 1]
    return Spans(begins, ends, spans.texts)


def parts_between(batch: Batch, bounds: tuple[Ints, Ints], newlines: int) -> Spans:
    """What stands between so many newline characters or more, within the bounds of each text (begins, ends)."""
    begins, ends = run_bounds(batch.having(NEWLINE))
    texts = batch.texts_of(begins)
    inside = (ends - begins >= newlines) & (begins >= bounds[0][texts]) & (ends <= bounds[1][texts])
    begins, ends, texts = begins[inside], ends[inside], texts[inside]
    every = np.concatenate((np.arange(len(batch)), texts))
    part_begins = np.concatenate((bounds[0], ends))
    order = np.lexsort((part_begins, every))
    # A text's parts end where its next run begins, the last one at its bound.
    part_ends = np.sort(np.concatenate((bounds[1] + np.arange(len(batch)), begins + texts)))
    return Spans(part_begins[order], part_ends - every[order], every[order])


def ends_in_ellipsis(batch: Batch, spans: Spans) -> Bools:
    """bool [spans]: whether a span ends in three dots or in the sign for them."""
    last = np.maximum(spans.ends - 1, 0)
    return (spans.lengths > 0) & (batch.have(last, ELLIPSIS) | ends_in_dots(batch, spans))


def ends_in_dots(batch: Batch, spans: Spans) -> Bools:
    """bool [spans]: whether a span ends in three dots."""
    found = spans.lengths >= 3
    for back in (1, 2, 3):
        found &= batch.points[np.maximum(spans.ends - back, 0)] == ord(".")
    return found


def of_lines(batch: Batch, hasher: Hasher, tokens: Spans, lines: Spans) -> Values:
    """What Gopher's rules read from lines and paragraphs."""
    n, inner = len(batch), stripped(lines, tokens)
    bullets = (inner.lengths > 0) & batch.have(inner.begins, BULLET)
    counts = np.bincount(lines.texts, minlength=n)
    whole = stripped(Spans(batch.begins, batch.ends, np.arange(n)), tokens)
    paragraphs = parts_between(batch, (whole.begins, whole.ends), 2)
    parts = parts_between(batch, (batch.begins, batch.ends), 1)
    values: Values = {
        "bullet_lines_v1": ratio(np.bincount(lines.texts, bullets, n), counts),
        "ellipsis_lines_v1": ratio(np.bincount(lines.texts, ends_in_ellipsis(batch, inner), n), counts),
    }
    for name, spans in (("line", parts), ("paragraph", paragraphs)):
        hashes = hasher.of_spans(spans.begins, spans.ends)
        again, characters = repeated(hashes, spans.lengths, spans.texts, n)
        values[f"duplicate_{name}s_v1"] = ratio(again, np.bincount(spans.texts, minlength=n))
        values[f"duplicate_{name}_characters_v1"] = ratio(characters, batch.lengths)
    return values


def by_fineweb(
    batch: Batch, hasher: Hasher, lines: Spans, newlines: Ints, characters: Ints, words: Ints, prefix: str = ""
) -> Values:
    """What FineWeb's rules read from lines that are not blank.

    int64 [texts]: newline characters, characters without them, and words of the texts that the lines are of.
    """
    n = len(batch)
    counts = np.bincount(lines.texts, minlength=n)
    terminal = (lines.lengths > 0) & batch.have(np.maximum(lines.ends - 1, 0), TERMINAL)
    _, again = repeated(hasher.of_spans(lines.begins, lines.ends), lines.lengths, lines.texts, n)
    return {
        f"{prefix}lines_v1": counts.astype(np.float64),
        f"{prefix}end_punctuation_lines_v1": ratio(np.bincount(lines.texts, terminal, n), counts),
        f"{prefix}short_lines_v1": ratio(np.bincount(lines.texts, lines.lengths <= _SHORT_LINE, n), counts),
        f"{prefix}duplicate_filled_line_characters_v1": ratio(np.where(counts > 0, again, 0), characters),
        f"{prefix}new_lines_per_word_v1": ratio(newlines, words),
    }
