"""Signals of texts: what published rules and ours ask of them, as numbers that decide nothing.

A signal's definition does not change: another one gets another name, which ends in its version. Policies compare
signals with thresholds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from quarry_dagster.extract.language import language_score
from quarry_dagster.extract.markdown import plain_form
from quarry_dagster.quality.c4 import left_by_c4, of_boilerplate, of_walk, read_lines
from quarry_dagster.quality.characters import of_characters
from quarry_dagster.quality.code_points import NEWLINE, Batch
from quarry_dagster.quality.definitions import SIGNALS, Signal
from quarry_dagster.quality.lines import (
    Values,
    by_fineweb,
    lines_of,
    newline_lines_of,
    of_lines,
    stripped,
    tokens_of,
)
from quarry_dagster.quality.marks import of_marks
from quarry_dagster.quality.spans import Hasher
from quarry_dagster.quality.words import cut_words, located, of_n_grams, of_words

__all__ = ["SIGNALS", "VERSION", "Signal", "Text", "signals"]

VERSION = "signals-1"
"""Changes whenever the same text would have another value of a signal."""

_CHARACTERS_A_ROUND = 250_000
_TEXTS_A_ROUND = 256
"""Texts are read in rounds of so much, for which memory is needed; a longer text is a round of its own."""


class Text(NamedTuple):
    """A text, and what is known of it."""

    text: str
    text_format: str | None
    """`markdown` or `plain`; null is plain."""
    language: str | None
    """ISO 639-1."""


def signals(texts: Sequence[Text], words: Sequence[Sequence[str]] | None = None) -> pl.DataFrame:
    """The signals of some texts: a row a text, a Float32 column a signal, in the order of SIGNALS.

    A value that has no meaning, such as a share of no words, is null; none is NaN or infinite. A row depends on its
    text alone. `words` are those of each text's plain form where somebody else cut them, in order; without them they
    are cut as :func:`quarry_dagster.extract.count_words` counts them. ValueError for a word that is not in its text.
    """
    rounds = [_of_round(*each) for each in _rounds(texts, words)]
    columns = {s.name: np.concatenate([[], *(values[s.name] for values in rounds)]) for s in SIGNALS}
    return pl.DataFrame(
        [pl.Series(name, values.astype(np.float32), nan_to_null=True) for name, values in columns.items()]
    )


def _rounds(
    texts: Sequence[Text], words: Sequence[Sequence[str]] | None
) -> Iterator[tuple[list[Text], list[str], list[Sequence[str]] | None]]:
    """Texts, their plain forms and given words, in rounds."""
    begin = size = 0
    plain: list[str] = []
    for i, text in enumerate(texts):
        form = plain_form(text.text, text.text_format)
        if plain and (size + len(form) > _CHARACTERS_A_ROUND or len(plain) == _TEXTS_A_ROUND):
            yield list(texts[begin:i]), plain, None if words is None else list(words[begin:i])
            begin, size, plain = i, 0, []
        plain.append(form)
        size += len(form)
    if plain:
        yield list(texts[begin:]), plain, None if words is None else list(words[begin:])


def _of_round(texts: list[Text], plain: list[str], given: list[Sequence[str]] | None) -> Values:
    """The signals of texts of which memory for all at once is there."""
    batch = Batch.of(plain)
    hasher = Hasher(batch)
    tokens, lines = tokens_of(batch), lines_of(batch)
    words = cut_words(batch, hasher) if given is None else located(batch, hasher, plain, given)
    values = of_characters(batch, plain, tokens)
    values |= of_words(batch, words) | of_n_grams(batch, hasher, words) | of_lines(batch, hasher, tokens, lines)
    newlines = batch.count(batch.where(NEWLINE))
    every = newline_lines_of(batch)
    filled = every.where(stripped(every, tokens).lengths > 0)
    counts = np.bincount(words.texts, minlength=len(batch))
    values |= by_fineweb(batch, hasher, filled, newlines, batch.lengths - newlines, counts)
    read = read_lines(batch, plain, tokens, lines, words)
    values |= of_walk(read, "c4_", end_marks=True)[0]
    by_walk, kept = of_walk(read, "fineweb_", end_marks=False)
    values |= by_walk | left_by_c4(read, words, kept) | of_boilerplate(batch, read, filled)
    values |= of_marks([t.text for t in texts], [t.text_format for t in texts])
    told = [(form, text.language) for form, text in zip(plain, texts, strict=True)]
    scores = [language_score(form, language) if language else np.nan for form, language in told]
    values["language_score_v1"] = np.array(scores)
    return values
