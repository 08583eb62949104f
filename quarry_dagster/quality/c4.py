"""What C4's rules leave of a text, line by line, with and without the rule on the punctuation at a line's end.

The rules of Raffel et al. 2020 as datatrove 0.10 walks through a text: a line is passed over, or kept, or ends the
walk and the document with it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from quarry_dagster.quality.code_points import (
    ALNUM,
    ASCII_END,
    BRACE,
    END,
    LINE_BREAK,
    NEWLINE,
    QUOTE,
    SENTENCE_END,
    SPACE,
    Batch,
    Bools,
    Ints,
    table,
)
from quarry_dagster.quality.lines import (
    Spans,
    Values,
    by_fineweb,
    ends_in_dots,
    newline_lines_of,
    ratio,
    stripped,
    tokens_of,
)
from quarry_dagster.quality.spans import Hasher
from quarry_dagster.quality.words import Words, sentence_marks

_CITATION = re.compile(r"\[\d*]|\[edit]|\[citation needed]")
_POLICIES = ("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies")
_BOILERPLATE = (
    "privacy overview",
    "accept all cookies",
    "cookie settings",
    "cookie preferences",
    "terms of service",
    "terms and conditions",
)
"""Further phrases of what a site says of itself; C4 has none of them."""
_FILLER = (
    "lorem ipsum",
    "dolor sit amet",
    "consectetur adipi",
    "sed do eiusmod",
    "ut labore et dolore",
    "quis nostrud",
    "duis aute irure",
    "fugiat nulla pariatur",
)
"""Phrases of the text that stands where a text is to come."""
_LOREM, _SCRIPT = "lorem ipsum", "javascript"
_MIN_WORDS = 3
_LONG_WORD = 1_000


@dataclass(frozen=True)
class Lines:
    """The texts with their lines stripped and without citations, and what C4's rules see in each line."""

    batch: Batch
    hasher: Hasher
    lines: Spans
    kept_before: npt.NDArray[np.int32]
    """int32 [characters of the texts + texts + 1]: how many of them came over before each."""
    enough: Bools
    """Whether a line has words enough, none of which is too long."""
    ends_well: Bools
    """Whether a line ends in punctuation."""
    lorem: Bools
    script: Bools
    brace: Bools
    policy: Bools
    sentences: Ints
    """int64 [lines]."""
    boilerplate: Ints
    """int64: where phrases of boilerplate begin in the texts as they were."""
    filler: Ints
    """int64 [texts]: how many different phrases of filler each has."""


def read_lines(batch: Batch, texts: list[str], tokens: Spans, lines: Spans, words: Words) -> Lines:
    """The lines as C4's rules see them; `lines` as `str.splitlines` has them, an empty one for an empty text."""
    inner = stripped(lines, tokens)
    kept = _kept(batch, texts, lines, inner)
    kept_before = np.zeros(len(kept) + 1, np.int32)
    np.cumsum(kept, out=kept_before[1:])
    points = batch.points[kept]
    ends = kept_before[batch.ends].astype(np.int64)
    points[kept_before[lines.ends[_is_inner(lines)]]] = ord("\n")
    points[ends] = END
    cut = Batch(points, ends)
    new = newline_lines_of(cut)
    low = table().lower.take(points)
    low[ends] = ord("\n")
    low = low.tobytes().decode("utf-32-le", "surrogatepass")

    def having(*phrases: str) -> Bools:
        return _lines_at(new, np.array([at for phrase in phrases for at in _all(low, phrase)], np.int64))

    first, last = np.searchsorted(tokens.begins, lines.begins), np.searchsorted(tokens.begins, lines.ends)
    long = _lines_at(lines, tokens.begins[tokens.lengths > _LONG_WORD])
    final = np.maximum(new.ends - 1, 0)
    places = sorted(at for phrase in (*_POLICIES, *_BOILERPLATE) for at in _all(low, phrase))
    return Lines(
        batch=cut,
        hasher=Hasher(cut),
        lines=new,
        kept_before=kept_before,
        enough=(last - first >= _MIN_WORDS) & ~long,
        ends_well=(new.lengths > 0) & cut.have(final, ASCII_END | QUOTE) & ~ends_in_dots(cut, new),
        lorem=having(_LOREM),
        script=having(_SCRIPT),
        brace=_lines_at(new, cut.where(BRACE)),
        policy=having(*_POLICIES),
        sentences=_sentences(new, _marks(cut, words, kept_before)),
        filler=_different(ends, low, _FILLER),
        boilerplate=np.flatnonzero(kept)[np.array(places, np.int64)],
    )


def _is_inner(lines: Spans) -> Bools:
    """bool [lines]: which are not the last of their text."""
    return np.append(lines.texts[1:] == lines.texts[:-1], False)


def _kept(batch: Batch, texts: list[str], lines: Spans, inner: Spans) -> Bools:
    """bool [characters + texts]: the characters of stripped lines that are no citation, an end for each line."""
    steps = np.zeros(len(batch.points) + 1, np.int8)
    filled = inner.lengths > 0
    steps[inner.begins[filled]] += 1
    steps[inner.ends[filled]] -= 1
    kept = np.cumsum(steps[:-1], dtype=np.int8).view(np.bool_)
    for begin, text in zip(batch.begins.tolist(), texts, strict=True):
        if "[" in text:
            for found in _CITATION.finditer(text):
                kept[begin + found.start() : begin + found.end()] = False
    kept[lines.ends[_is_inner(lines)]] = True
    kept[batch.ends] = True
    return kept


def _all(text: str, phrase: str) -> list[int]:
    """Where a phrase begins in a text."""
    places: list[int] = []
    at = text.find(phrase)
    while at >= 0:
        places.append(at)
        at = text.find(phrase, at + len(phrase))
    return places


def _different(ends: Ints, text: str, phrases: tuple[str, ...]) -> Ints:
    """int64 [texts]: how many different ones of some phrases there are before the end of each text."""
    counts = np.zeros(len(ends), np.int64)
    for phrase in phrases:
        counts[np.unique(np.searchsorted(ends, _all(text, phrase)))] += 1
    return counts


def _lines_at(lines: Spans, positions: Ints) -> Bools:
    """bool [lines]: in which of them is one of some positions."""
    found = np.zeros(len(lines.begins), np.bool_)
    found[np.searchsorted(lines.ends, positions)] = True
    return found


def _marks(cut: Batch, words: Words, kept_before: npt.NDArray[np.int32]) -> tuple[Ints, Ints]:
    """int64, int64: where something ends a sentence in the lines, and where there is something that may begin one."""
    return _marks_of_tokens(cut, words, kept_before) if words.given else _marks_of_characters(cut)


def _marks_of_characters(cut: Batch) -> tuple[Ints, Ints]:
    """The same by characters: a full stop, a question or exclamation mark of ASCII ends a sentence where no letter or
    digit is between it and the next white space, a mark of another script wherever it stands; letters and digits begin
    one."""
    begins = cut.where(ALNUM)
    marks = cut.where(SENTENCE_END)
    both = cut.where(ALNUM | SPACE)
    before_space = cut.have(both[np.searchsorted(both, marks)], SPACE)
    return marks[before_space | ~cut.have(marks, ASCII_END)], begins


def _marks_of_tokens(cut: Batch, words: Words, kept_before: npt.NDArray[np.int32]) -> tuple[Ints, Ints]:
    """The same as the sentencizer of spaCy 3.8 reads its tokens, of which white space beyond one blank is one."""
    begins = kept_before[words.spans.begins].astype(np.int64)
    ends = kept_before[words.spans.ends].astype(np.int64)
    left = ends > begins
    is_end, is_begin = (mask[left] for mask in sentence_marks(words))
    begins, ends = begins[left], ends[left]
    line_ends = cut.where(NEWLINE | LINE_BREAK)
    gap_ends = np.minimum(np.append(begins[1:], len(cut.points)), line_ends[np.searchsorted(line_ends, ends)])
    after_blank = (cut.points[ends] == ord(" ")).astype(np.int64)
    is_gap = gap_ends - ends > after_blank
    return begins[is_end], np.sort(np.concatenate((begins[is_begin], (ends + after_blank)[is_gap])))


def _sentences(lines: Spans, marks: tuple[Ints, Ints]) -> Ints:
    """int64 [lines]: one and the number of times that something begins a sentence behind what ended one."""
    ends, begins = marks
    following = np.searchsorted(begins, ends)
    ends, following = ends[following < len(begins)], following[following < len(begins)]
    line = np.searchsorted(lines.ends, ends)
    same = np.searchsorted(lines.ends, begins[following]) == line
    begun, at = np.unique(following[same], return_index=True)
    return 1 + np.bincount(line[same][at], minlength=len(lines.ends)) if len(begun) else np.ones_like(lines.ends)


def of_walk(read: Lines, prefix: str, *, end_marks: bool) -> tuple[Values, Bools]:
    """What C4's walk comes to, and which lines it keeps; with the rule on end punctuation or without."""
    n, lines = len(read.batch), read.lines
    seen = read.enough & (read.ends_well | (not end_marks))
    last = np.full(n, len(lines.ends))
    stops = np.flatnonzero(seen & (read.lorem | (read.brace & ~read.script)))
    np.minimum.at(last, lines.texts[stops], stops)
    stopped = last < len(lines.ends)
    by_lorem = np.append(read.lorem, False)[last]
    kept = seen & ~(read.lorem | read.script | read.brace | read.policy)
    values: Values = {
        f"{prefix}lorem_ipsum_v1": (stopped & by_lorem).astype(np.float64),
        f"{prefix}curly_bracket_v1": (stopped & ~by_lorem).astype(np.float64),
        f"{prefix}sentences_v1": np.bincount(lines.texts, read.sentences * kept, n).astype(np.float64),
    }
    return values, kept


def left_by_c4(read: Lines, words: Words, kept: Bools) -> Values:
    """What FineWeb's rules read from the lines that C4 keeps, of which it makes a text without blanks around it."""
    n = len(read.batch)
    tokens = tokens_of(read.batch)
    lines = read.lines.where(kept)
    inner = stripped(lines, tokens)
    filled = np.flatnonzero(inner.lengths > 0)
    begins, ends = np.full(n, len(read.batch.points)), np.zeros(n, np.int64)
    np.minimum.at(begins, lines.texts[filled], inner.begins[filled])
    np.maximum.at(ends, lines.texts[filled], inner.ends[filled])
    lines = lines.where((lines.ends > begins[lines.texts]) & (lines.begins < ends[lines.texts]))
    lines = Spans(np.maximum(lines.begins, begins[lines.texts]), np.minimum(lines.ends, ends[lines.texts]), lines.texts)
    newlines = np.maximum(np.bincount(lines.texts, minlength=n) - 1, 0)
    characters = np.bincount(lines.texts, lines.lengths, n).astype(np.int64)
    is_filled = stripped(lines, tokens).lengths > 0
    counts = _words_in(read, words, kept)
    return by_fineweb(read.batch, read.hasher, lines.where(is_filled), newlines, characters, counts, "fineweb_")


def _words_in(read: Lines, words: Words, kept: Bools) -> Ints:
    """int64 [texts]: how many words are in the lines that are kept, and not in a citation."""
    begins = read.kept_before[words.spans.begins]
    left = (read.kept_before[words.spans.ends] > begins) & kept[np.searchsorted(read.lines.ends, begins)]
    return np.bincount(words.texts[left], minlength=len(read.batch))


def of_boilerplate(batch: Batch, read: Lines, lines: Spans) -> Values:
    """How many of the lines that are not blank speak of the site."""
    found = np.unique(np.searchsorted(lines.ends, read.boilerplate))
    n = len(batch)
    spoken = np.bincount(lines.texts[found], minlength=n)
    return {
        "boilerplate_lines_v1": ratio(spoken, np.bincount(lines.texts, minlength=n)),
        "filler_phrases_v1": read.filler.astype(np.float64),
    }
