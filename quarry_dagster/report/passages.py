"""A removed text's beginning beside the passage of the kept text that it stands in, so that a person can judge."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from itertools import groupby
from statistics import median_low

from quarry_dagster.dedup.near import SHINGLE
from quarry_dagster.extract.words import UNSPACED

LENGTH = 600
"""Characters of a text that are shown."""

_WORD = re.compile(rf"[{UNSPACED}]|[\w\u0300-\u036f\u064b-\u065f\u0900-\u0963\u0966-\u0dff]+")  # as shingles, about


@dataclass(frozen=True)
class Passage:
    """Part of a text; what the other text lacks is marked."""

    parts: tuple[tuple[str, bool], ...]  # (text, marked)
    cut_before: bool
    cut_after: bool


def compare(removed: str, kept: str) -> tuple[Passage, Passage]:
    """The beginning of `removed`, words marked that no word n-gram shared with `kept` covers, and its place in `kept`.

    It is the measure that the near level decides by, so what is marked is what the corpus would lose.
    """
    words, theirs = list(_WORD.finditer(removed)), list(_WORD.finditer(kept))
    places: dict[tuple[str, ...], int] = {}
    for i, gram in enumerate(_grams(theirs)):
        places.setdefault(gram, i)
    shared = {i: places[gram] for i, gram in enumerate(_grams(words)) if gram in places}
    covered = {i + j for i in shared for j in range(SHINGLE)}

    end = _end(removed, 0, words)
    shown = [w for w in words if w.end() <= end]
    runs = [list(run) for _, run in groupby(range(len(shown)), key=covered.__contains__)]
    marks = [(shown[run[0]].start(), shown[run[-1]].end()) for run in runs if run[0] not in covered]
    parts = []
    last = 0
    for first, after in marks:
        parts += [(removed[last:first], False), (removed[first:after], True)]
        last = after
    parts.append((removed[last:end], False))

    # Where most of the shown words' n-grams stand; an n-gram that stands there by chance does not move the median.
    shifts = [place - i for i, place in shared.items() if i < len(shown)]
    shift = max(0, median_low(shifts)) if shifts else 0
    begin = theirs[shift].start() if 0 < shift < len(theirs) else 0
    until = _end(kept, begin, theirs)
    return (
        Passage(tuple(p for p in parts if p[0]), cut_before=False, cut_after=end < len(removed)),
        Passage(((kept[begin:until], False),), cut_before=begin > 0, cut_after=until < len(kept)),
    )


def marked(text: str, other: str) -> str:
    """The whole text, `[` and `]` around the words that no word n-gram shared with `other` covers."""
    words = list(_WORD.finditer(text))
    shared = set(_grams(list(_WORD.finditer(other))))
    covered = {i + j for i, gram in enumerate(_grams(words)) if gram in shared for j in range(SHINGLE)}
    parts, last = [], 0
    for is_covered, run in groupby(range(len(words)), key=covered.__contains__):
        if not is_covered:
            first, *_, end = [*run] * 2
            parts += [text[last : words[first].start()], "[", text[words[first].start() : words[end].end()], "]"]
            last = words[end].end()
    return "".join([*parts, text[last:]])


def _end(text: str, begin: int, words: list[re.Match[str]]) -> int:
    """Where a passage ends: with a whole word, unless a word is longer than a passage."""
    limit = begin + LENGTH
    if limit >= len(text):
        return len(text)
    return max((w.end() for w in words if begin < w.end() <= limit), default=limit)


def _grams(words: list[re.Match[str]]) -> list[tuple[str, ...]]:
    folded = [unicodedata.normalize("NFKC", w.group()).casefold() for w in words]
    return list(zip(*(folded[i:] for i in range(SHINGLE)), strict=False))
