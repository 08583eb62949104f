"""Words of many texts, and what rules read from them and from n-grams of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from quarry_dagster.quality.code_points import (
    ALNUM,
    ALPHA,
    BETWEEN_WORDS,
    ELLIPSIS,
    HASH,
    NOT_CATEGORY_P,
    NOT_PUNCTUATION,
    SENTENCE_END,
    SPACE,
    UNSPACED,
    Batch,
    Bools,
    Hashes,
    Ints,
    table,
)
from quarry_dagster.quality.lines import Spans, Values, ratio
from quarry_dagster.quality.spans import Groups, Hasher, groups, hash_of, repeated, run_bounds

STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")
"""Gopher's English stop words."""
_WINDOW = 100
"""Words in a row of which those that differ are counted, so that the length of a text does not matter."""


@dataclass(frozen=True)
class Words:
    """The words of the texts of a batch, in order. All arrays are [words]."""

    spans: Spans
    """Where each is; of a pair of letters, the first of them."""
    lengths: Ints
    """int64: characters of each."""
    hashes: Hashes
    """uint64."""
    flags: npt.NDArray[np.uint32]
    """uint32: the properties that any of its characters has."""
    given: bool
    """Whether somebody else cut them."""

    @property
    def texts(self) -> Ints:
        return self.spans.texts

    def having(self, flags: int) -> Bools:
        """bool [words]: which have a character with one of some properties."""
        return (self.flags & np.uint32(flags)) != 0

    @property
    def are_words(self) -> Bools:
        """bool [words]: which are not punctuation alone; those that are cut here never are."""
        return self.having(NOT_PUNCTUATION) if self.given else np.ones(len(self.lengths), np.bool_)


def cut_words(batch: Batch, hasher: Hasher) -> Words:
    """The words as :func:`quarry_dagster.extract.count_words` counts them.

    White space cuts tokens; those with a letter or digit are words. Each two letters of scripts that put nothing
    between words are a word, the last letter of an odd number too.
    """
    between = batch.having(SPACE | BETWEEN_WORDS).copy()
    unspaced = batch.where(UNSPACED)
    letters = unspaced[batch.have(unspaced, ALPHA)]
    if len(letters):
        between[unspaced[batch.count(letters)[batch.texts_of(unspaced)] > 0]] = True
    begins, ends = run_bounds(~between)
    flags = _flags(batch, begins, ends)
    is_word = (flags & np.uint32(ALNUM)) != 0
    begins, ends, flags = begins[is_word], ends[is_word], flags[is_word]
    spaced = Words(
        Spans(begins, ends, batch.texts_of(begins)), ends - begins, hasher.of_spans(begins, ends), flags, False
    )
    return _merged(spaced, _pairs(batch, hasher, letters)) if len(letters) else spaced


def _flags(batch: Batch, begins: Ints, ends: Ints) -> npt.NDArray[np.uint32]:
    """uint32 [spans]: the properties that any character of a span has; no span is empty."""
    if not len(begins):
        return np.zeros(0, np.uint32)
    bounds = np.column_stack((begins, ends)).ravel()
    return np.bitwise_or.reduceat(table().flags.take(batch.kinds), bounds)[::2]


def _pairs(batch: Batch, hasher: Hasher, letters: Ints) -> Words:
    """Each two letters of each text as a word."""
    texts, counts = batch.texts_of(letters), batch.count(letters)
    ranks = np.arange(len(letters)) - (np.cumsum(counts) - counts)[texts]
    firsts = np.flatnonzero(ranks % 2 == 0)
    has_second = ranks[firsts] + 1 < counts[texts[firsts]]
    begins, points = letters[firsts], batch.points[letters]
    seconds = np.minimum(firsts + 1, len(letters) - 1)
    both = hasher.of_pairs(points[firsts], points[seconds])
    hashes = np.where(has_second, both, hasher.of_spans(begins, begins + 1))
    flags = table().flags[batch.kinds[begins]]
    return Words(Spans(begins, begins + 1, texts[firsts]), 1 + has_second.astype(np.int64), hashes, flags, False)


def _merged(some: Words, others: Words) -> Words:
    """The words of both, in order."""
    order = np.argsort(np.concatenate((some.spans.begins, others.spans.begins)), kind="stable")

    def both(a: npt.NDArray[np.generic], b: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        return np.concatenate((a, b))[order]

    spans = Spans(*(both(a, b) for a, b in zip(some.spans, others.spans, strict=True)))  # pyright: ignore
    return Words(
        spans,
        np.concatenate((some.lengths, others.lengths))[order],
        np.concatenate((some.hashes, others.hashes))[order],
        np.concatenate((some.flags, others.flags))[order],
        False,
    )


def located(batch: Batch, hasher: Hasher, texts: Sequence[str], words: Sequence[Sequence[str]]) -> Words:
    """Words that somebody else cut, where they stand in the texts. ValueError for one that is not there."""
    begins: list[int] = []
    lengths: list[int] = []
    for offset, text, cut in zip(batch.begins.tolist(), texts, words, strict=True):
        at = 0
        for word in cut:
            found = text.find(word, at) if word else -1
            if found < 0:
                raise ValueError(f"the word {word!r} is not in its text from character {at} on")
            begins.append(offset + found)
            lengths.append(len(word))
            at = found + len(word)
    first, sizes = np.array(begins, np.int64), np.array(lengths, np.int64)
    spans = Spans(first, first + sizes, batch.texts_of(first))
    return Words(spans, sizes, hasher.of_spans(first, spans.ends), _flags(batch, first, spans.ends), True)


def of_words(batch: Batch, words: Words) -> Values:
    """What Gopher's and the Curator's rules read from words."""
    n = len(batch)
    every = np.bincount(words.texts, minlength=n)
    is_word = words.are_words
    texts, lengths = words.texts[is_word], words.lengths[is_word]
    count = np.bincount(texts, minlength=n)
    no_urls = np.where(is_word & ~_with_addresses(batch, words), words.lengths, 0)
    stop = _stop_words(words)
    distinct = np.unique(words.texts[stop >= 0] * len(STOP_WORDS) + stop[stop >= 0]) // len(STOP_WORDS)
    windows, differing = _distinct(words, every)
    return {
        "words_v1": count.astype(np.float64),
        "mean_word_length_v1": ratio(np.bincount(texts, lengths, n), count),
        "longest_word_v1": np.where(count > 0, _most(no_urls, words.texts, n), np.nan),
        "letter_words_v1": ratio(np.bincount(words.texts, words.having(ALPHA), n), every),
        "hashes_per_word_v1": ratio(batch.count(batch.where(HASH)), every),
        "ellipses_per_word_v1": ratio(_ellipses(batch), every),
        "stop_words_v1": np.bincount(distinct, minlength=n).astype(np.float64),
        "stop_words_per_word_v1": ratio(np.bincount(words.texts, stop >= 0, n), count),
        "distinct_words_v1": ratio(differing, windows * _WINDOW),
    }


def _most(values: Ints, texts: Ints, n: int) -> Ints:
    """int64 [n]: the largest of the values of each text, which are in order; 0 where there is none."""
    most = np.zeros(n, np.int64)
    begins = np.flatnonzero(np.diff(texts, prepend=-1))
    if len(begins):
        most[texts[begins]] = np.maximum.reduceat(values, begins)
    return most


def _with_addresses(batch: Batch, words: Words) -> Bools:
    """bool [words]: which have the colon and slashes of a URL in them."""
    colons = np.flatnonzero(batch.points == ord(":"))
    for k in (1, 2):
        colons = colons[batch.points[np.minimum(colons + k, len(batch.points) - 1)] == ord("/")]
    return np.searchsorted(colons, words.spans.ends) > np.searchsorted(colons, words.spans.begins)


def _ellipses(batch: Batch) -> npt.NDArray[np.float64]:
    """float64 [texts]: signs for three dots, and three dots, of which none belongs to two."""
    begins, ends = run_bounds(batch.points == ord("."))
    threes = np.bincount(batch.texts_of(begins), (ends - begins) // 3, len(batch))
    return (threes + batch.count(batch.where(ELLIPSIS))).astype(np.float64)


def _stop_words(words: Words) -> Ints:
    """int64 [words]: which stop word each is, -1 for none."""
    hashes = np.array([hash_of(word) for word in STOP_WORDS], np.uint64)
    order = np.argsort(hashes)
    found = np.full(len(words.lengths), -1)
    short = np.flatnonzero(words.lengths <= max(map(len, STOP_WORDS)))
    places = np.minimum(np.searchsorted(hashes[order], words.hashes[short]), len(hashes) - 1)
    same = hashes[order][places] == words.hashes[short]
    found[short[same]] = order[places[same]]
    return found


def _distinct(words: Words, counts: Ints) -> tuple[Ints, Ints]:
    """int64 [texts], int64 [texts]: whole windows of words in a row, and the words that differ inside of one."""
    n, windows = len(counts), counts // _WINDOW
    ranks = np.arange(len(words.lengths)) - (np.cumsum(counts) - counts)[words.texts]
    inside = ranks < windows[words.texts] * _WINDOW
    window = (np.cumsum(windows) - windows)[words.texts[inside]] + ranks[inside] // _WINDOW
    again, _ = repeated(words.hashes[inside], words.lengths[inside], window, int(windows.sum()))
    owners = np.repeat(np.arange(n), windows)
    return windows, windows * _WINDOW - np.bincount(owners, again, n).astype(np.int64)


def of_n_grams(batch: Batch, hasher: Hasher, words: Words) -> Values:
    """What Gopher's rules read from n-grams of words."""
    values: Values = {}
    text_begins = np.searchsorted(words.texts, np.arange(len(batch)))
    places = np.concatenate(([0], np.cumsum(words.lengths)))
    with_blanks = words.hashes
    for n in (2, 3, 4):
        # Words have no blank in them: n-grams joined with one are alike where their words are.
        with_blanks = with_blanks[:-1] * np.uint64(0x2545F4914F6CDD1D) + words.hashes[n - 1 :]
        first = _begins_of_n_grams(words, n)
        characters = places[first + n] - places[first] + n - 1
        top = _top(groups(with_blanks[first], words.texts[first]), first, words.texts, characters, len(batch))
        has_any = np.bincount(words.texts[first], minlength=len(batch)) > 0
        # No n-gram more than once: the first of all.
        alone = places[np.minimum(text_begins + n, len(places) - 1)] - places[text_begins] + n - 1
        values[f"top_{n}_grams_v1"] = ratio(np.where(has_any, np.where(top > 0, top, alone), np.nan), batch.lengths)
    sums, factors = hasher.joined(words.hashes, words.lengths)
    for n in range(5, 11):
        first = _begins_of_n_grams(words, n)
        hashes = (sums[first + n] - sums[first]) * factors[first]
        again = _greedy(groups(hashes, words.texts[first]), first, words.texts, places, n, len(batch))
        values[f"duplicate_{n}_grams_v1"] = ratio(again, batch.lengths)
    return values


def _begins_of_n_grams(words: Words, n: int) -> Ints:
    """int64: the words with which n words of one text begin."""
    last = max(len(words.lengths) - n + 1, 0)
    return np.flatnonzero(words.texts[:last] == words.texts[n - 1 :][:last])


def _top(found: Groups, first: Ints, texts: Ints, characters: Ints, n_texts: int) -> Ints:
    """int64 [texts]: characters of the n-gram that is there most often, the earliest of several, times its count.

    0 where none is there twice.
    """
    top = np.zeros(n_texts, np.int64)
    if not len(found.sizes):
        return top
    earliest = np.minimum.reduceat(found.members, found.begins)
    text = texts[first[earliest]]
    order = np.lexsort((-earliest, found.sizes, text))
    is_last = np.append(text[order][1:] != text[order][:-1], True)
    best = order[is_last]
    top[text[best]] = found.sizes[best] * characters[earliest[best]]
    return top


def _greedy(found: Groups, first: Ints, texts: Ints, places: Ints, n: int, n_texts: int) -> npt.NDArray[np.float64]:
    """float64 [texts]: characters of n-grams that came before, of which none overlaps another that was counted.

    The walk of datatrove's `find_all_duplicate`, over those n-grams alone that are there more than once.
    """
    order = np.argsort(found.members)
    begins = first[found.members[order]]
    seen = bytearray(len(found.sizes))
    taken: list[int] = []
    free = 0
    for begin, group in zip(begins.tolist(), found.numbers[order].tolist(), strict=True):
        if begin < free:
            continue
        if seen[group]:
            taken.append(begin)
            free = begin + n
        else:
            seen[group] = 1
    again = np.array(taken, np.int64)
    return np.bincount(texts[again], places[again + n] - places[again], n_texts).astype(np.float64)


def sentence_marks(words: Words) -> tuple[Bools, Bools]:
    """bool [words], bool [words]: of given words, which end a sentence, and which begin one behind such.

    As the sentencizer of spaCy 3.8 reads its tokens.
    """
    ends = (words.lengths == 1) & words.having(SENTENCE_END)
    return ends, ~ends & words.having(NOT_CATEGORY_P)
