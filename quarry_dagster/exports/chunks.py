"""Passages of documents for retrieval: cut at headings and paragraphs, of at most so many tokens, with overlap."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from quarry_dagster.digests import digest
from quarry_dagster.exports.rows import WRITTEN
from quarry_dagster.exports.tokenizer import Tokenizer

_OF_DOCUMENT = ("url", "title", "author", "date", "language", "page_type", "license", "fetched_at", "metadata")
CHUNKS = pl.Schema(
    {
        "chunk_id": pl.String,
        "doc_id": pl.String,
        "number": pl.Int64,
        "text": pl.String,
        "start": pl.Int64,
        "end": pl.Int64,
        "headings": pl.List(pl.String),
        "tokens": pl.Int64,
        **{name: WRITTEN[name] for name in _OF_DOCUMENT},
    }
)
"""`start` and `end` are characters of the document's text; `headings` are those that a passage stands under."""
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|(?<=[。！？])|\n")
_HEADING = re.compile(r"(#{1,6})\s+(.*)")
_FENCE = ("```", "~~~")


@dataclass(frozen=True)
class _Unit:
    """A piece of a text that stays whole."""

    start: int
    end: int
    headings: tuple[str, ...]
    is_heading: bool


def chunked(documents: pl.DataFrame, tokenizer: Tokenizer, most: int, overlap: int) -> pl.DataFrame:
    """The passages of documents, in order, schema CHUNKS.

    Args:
        documents: schema WRITTEN.
        most: tokens that a passage has at most, in the tokens of the whole text.
        overlap: tokens at the end of a passage that the next one may repeat, as whole paragraphs or sentences.
    """
    rows: list[dict[str, Any]] = []
    each_bounds = tokenizer.bounds(documents["text"].to_list())
    for row, bounds in zip(documents.iter_rows(named=True), each_bounds, strict=True):
        text = row["text"]
        shared = {name: row[name] for name in ("doc_id", *_OF_DOCUMENT)}
        made_from = f"{row['doc_id']}\n{digest(text.encode('utf-8', 'surrogatepass'))}"
        found = _passages(text, bounds, most, overlap)
        for number, (start, end, headings, tokens) in enumerate(found):
            own = {"chunk_id": digest(f"{made_from}\n{number}".encode()), "number": number, "text": text[start:end]}
            rows.append(shared | own | {"start": start, "end": end, "headings": headings, "tokens": tokens})
    return pl.DataFrame(rows, CHUNKS)


def _passages(
    text: str, bounds: np.ndarray, most: int, overlap: int
) -> Iterator[tuple[int, int, tuple[str, ...], int]]:
    """Start, end, headings and number of tokens of each passage; none of a text without tokens."""
    if not len(bounds):
        return
    starts = bounds[:, 0]

    def count(start: int, end: int) -> int:
        return int(np.searchsorted(starts, end) - np.searchsorted(starts, start))

    units = list(_units(text, starts, most, overlap))
    first = 0
    while first < len(units):
        last = _last_of(units, first, most, count)
        unit, start, end = units[first], units[first].start, units[last].end
        yield start, end, unit.headings, count(start, end)
        after = last + 1
        if after < len(units) and not units[after].is_heading:
            before = after
            while (
                before - 1 > first
                and count(units[before - 1].start, end) <= overlap
                and count(units[before - 1].start, units[after].end) <= most
            ):
                before -= 1
            after = before
        first = after


def _last_of(units: list[_Unit], first: int, most: int, count: Callable[[int, int], int]) -> int:
    """The last unit of the passage that begins with one."""
    last = first
    start = units[first].start
    while last + 1 < len(units):
        following = units[last + 1]
        ends_a_section = following.is_heading and 2 * count(start, units[last].end) >= most
        if ends_a_section or count(start, following.end) > most:
            break
        last += 1
    while last > first and units[last].is_heading and last + 1 < len(units):  # it goes with what it is above
        last -= 1
    return last


def _units(text: str, starts: np.ndarray, most: int, overlap: int) -> Iterator[_Unit]:
    """The paragraphs of a text; those that are too long by sentences, and these by tokens."""
    above: list[tuple[int, str]] = []
    is_code = False
    for span in _paragraphs(text):
        lines = text[slice(*span)].splitlines()
        heading = _HEADING.match(lines[0]) if not is_code else None
        if heading:
            level = len(heading[1])
            above = [each for each in above if each[0] < level] + [(level, heading[2].strip())]
        headings = tuple(title for _, title in above)
        begin, end = _stripped(text, *span)
        for start, stop in _cut(text, begin, end, starts, most, overlap):
            yield _Unit(start, stop, headings, heading is not None and len(lines) == 1)
        is_code ^= sum(line.lstrip().startswith(_FENCE) for line in lines) % 2 == 1


def _paragraphs(text: str) -> Iterator[tuple[int, int]]:
    """Runs of lines that are not blank."""
    begin = at = 0
    for line in text.splitlines(keepends=True):
        if not line.strip():
            if begin < at:
                yield begin, at
            begin = at + len(line)
        at += len(line)
    if begin < at:
        yield begin, at


def _cut(text: str, start: int, end: int, starts: np.ndarray, most: int, overlap: int) -> Iterator[tuple[int, int]]:
    """The span as it is, or its sentences, or pieces of these, where it has more tokens than a passage may."""
    low, high = map(int, np.searchsorted(starts, (start, end)))
    if high - low <= most:
        yield start, end
        return
    begin = start
    for match in [*_SENTENCE_END.finditer(text, start, end), None]:
        stop = match.end() if match else end
        low, high = map(int, np.searchsorted(starts, (begin, stop)))
        step = most if high - low <= most else min(most, overlap or most)
        for at in range(low, high, step):
            piece = begin if at == low else int(starts[at]), stop if at + step >= high else int(starts[at + step])
            piece = _stripped(text, *piece)
            if piece[0] < piece[1]:
                yield piece
        begin = stop


def _stripped(text: str, start: int, end: int) -> tuple[int, int]:
    """The span without white space at its ends."""
    piece = text[start:end]
    return start + len(piece) - len(piece.lstrip()), end - (len(piece) - len(piece.rstrip()))
