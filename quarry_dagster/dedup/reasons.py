"""Why one text is not removed for another, in words that name what the guards saw."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from quarry_dagster.dedup import near
from quarry_dagster.dedup.near import View
from quarry_dagster.dedup.tokens import WORD, spelled
from quarry_dagster.plural import plural

_NAMED = 3
"""So many words or numbers are named."""


@dataclass(frozen=True)
class Reason:
    """A guard that speaks against removing a text for another one."""

    guard: str
    sentence: str


def reasons(text: str, other: str) -> list[Reason]:
    """All that speaks against removing `text` for `other`, each in a sentence; nothing where it would be removed.

    A text that is too short to be compared by its shingles has one reason, which no guard gives.
    """
    mine, theirs = near.Text.of([text, other])
    if min(len(mine.order), len(theirs.order)) < near.MIN_SHINGLES:
        few = f"one of the two has less than {near.MIN_SHINGLES + near.SHINGLE - 1} words: it is compared exactly only"
        return [Reason("few words", few)]
    view, _ = near.views(mine, theirs)
    words: list[str] = [""] * len(mine.words)
    for place, word in zip(mine.word_at.tolist(), spelled(text), strict=True):
        words[place] = word
    theirs_words: list[str] = [""] * len(theirs.words)
    for place, word in zip(theirs.word_at.tolist(), spelled(other), strict=True):
        theirs_words[place] = word
    return [
        Reason(name, _SENTENCES[name](view, words, theirs_words))
        for name, speaks in near.GUARDS.items()
        if speaks(view)
    ]


def _words(quarters: int) -> str:
    return plural(round(quarters / WORD), "word")


def _length(v: View, mine: list[str], theirs: list[str]) -> str:
    return f"it has {_words(v.text.length)}, less than a third of the other's {_words(v.other.length)}"


def _lost(v: View, mine: list[str], theirs: list[str]) -> str:
    least = 1 - v.bounds.lost * v.r
    return (
        f"{v.c:.0%} of its word 3-grams stand in the other one, and beside one of that length {least:.0%} would have to"
    )


def _passages(v: View, mine: list[str], theirs: list[str]) -> str:
    missing = int(v.lengths[~v.is_short].sum())
    return f"passages that the other one lacks hold {_words(missing)} of its {_words(v.text.length)}"


def _form(v: View, mine: list[str], theirs: list[str]) -> str:
    found = near.repeated(v)
    return _often(v, mine, found[np.argsort(-v.text.times[found], kind="stable")])


def _head_word(v: View, mine: list[str], theirs: list[str]) -> str:
    return "of the words that it begins with, " + _often(v, mine, np.unique(near.head_words(v)))


def _often(v: View, mine: list[str], found: np.ndarray) -> str:
    said = [_times(mine[i], int(v.text.times[i]), int(v.times_in_other[i])) for i in found[:_NAMED].tolist()]
    return "; ".join(said)


def _times(word: str, here: int, there: int) -> str:
    other = plural(there, "time") if there else "not once"
    return f"the word *{word}* stands {plural(here, 'time')} and {other} in the other one"


def _numbers(v: View, mine: list[str], theirs: list[str]) -> str:
    own = ", ".join(mine[i] for i in v.missing_numbers[:_NAMED].tolist())
    others = ", ".join(theirs[i] for i in v.back.missing_numbers[:_NAMED].tolist())
    return f"most of its numbers ({own}) are not in the other one, which has others ({others})"


def _block(v: View, mine: list[str], theirs: list[str]) -> str:
    return f"inside it {_words(v.inner)} in a row are its own, and {_words(v.back.inner)} inside the other one"


def _short(v: View, mine: list[str], theirs: list[str]) -> str:
    said = f"it has {_words(v.text.length)}, of which each counts"
    if v.c < v.bounds.short_text_kept:
        return f"{said}, and {1 - v.c:.0%} of its word 3-grams are not in the other one"
    if len(own := near.missing_head(v)):
        return f"{said}, and the other one has nowhere the word *{mine[int(own[0])]}*, with which it begins"
    first = theirs[int(near.missing_head(v.back)[0])]
    return f"{said}, and it has nowhere the word *{first}*, with which the other one begins"


_SENTENCES: dict[str, Callable[[View, list[str], list[str]], str]] = {
    "length": _length,
    "lost": _lost,
    "passages": _passages,
    "form": _form,
    "head word": _head_word,
    "numbers": _numbers,
    "block": _block,
    "short": _short,
}
