"""Whether a text may be removed for another one: the rule `near/1`, a pure function of two texts.

A text A is removed for a text B when nothing that B lacks is worth keeping. Eight guards look at what B lacks, each at
another kind of it; A is removed only if none of them speaks. Edits, typos, cuts and chrome are scattered, occur once,
or stand at an end; what tells one filled-in form from another is said again and again in the holes of a common text.

Terms, of A as seen from B: a token is *covered* if it stands in a 3-token shingle that B has as well; a *passage* is an
unbroken run of tokens that are not, *short* up to SHORT words, *inner* if the text neither begins nor ends with it; `c`
is the share of A's distinct shingles that B has, `n` the words of A, `r` the share `n / words of B`, 1 at most.

Why so: "One rule for near duplicates, and eight guards" in docs/decisions.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from quarry_dagster.dedup.tokens import WORD, Tokens, grams, tokens

VERSION = "near-1"
"""Changes whenever the same two texts would give another answer."""

SHINGLE = 3
"""Tokens in a shingle that texts are compared by."""


@dataclass(frozen=True)
class Bounds:
    """The constants of the guards; another value of one is for benchmarks alone."""

    lost: float = 0.45
    long_passages: float = 0.2
    short: int = 8
    shorter: float = 1 / 3
    repeated: float = 0.02
    repeated_below_head: float = 0.04
    more_often: float = 3
    long_text: int = 4000
    head: int = 16
    head_times: int = 4
    head_share: float = 0.005
    numbers: int = 3
    numbers_share: float = 0.5
    numbers_of_other: int = 2
    block: int = 12
    block_share: float = 0.06
    short_text: int = 100
    short_text_kept: float = 0.9
    equal_length: float = 0.9
    chrome: int = 8
    chrome_at_ends: float = 0.75
    chrome_sentence: int = 40
    chrome_lacks: float = 0.1


BOUNDS = Bounds()

MIN_SHINGLES = 8
"""A text with fewer shingles says too little to be compared by them: it is compared exactly only."""
NOT_COMPARED = 255
"""In place of guards, of a text that is too short to be compared by its shingles."""


@dataclass(frozen=True)
class Text:
    """A text as its tokens and shingles."""

    distinct: np.ndarray
    """Its distinct shingles, sorted: uint64."""
    order: np.ndarray
    """The place in `distinct` of each shingle in order of the text: int32."""
    words: np.ndarray
    """Its distinct tokens, sorted: uint64."""
    word_at: np.ndarray
    """The place in `words` of each token in order of the text: int32, shape (t,)."""
    times: np.ndarray
    """How often each of `words` stands in the text: int64."""
    is_number: np.ndarray
    """Of each of `words`, whether it is a number: bool."""
    ends: np.ndarray
    """Where each token ends, in quarters of a word: int64, shape (t + 1,), beginning with 0."""
    ends_sentence: np.ndarray
    """Whether a sentence ends behind each token: bool, shape (t,)."""

    @classmethod
    def of(cls, texts: Sequence[str]) -> list[Text]:
        """Each of these texts."""
        found, counts = tokens(texts)
        ends = np.cumsum(counts)
        return [cls._of(found, slice(end - count, end)) for end, count in zip(ends, counts, strict=True)]

    @classmethod
    def _of(cls, found: Tokens, at: slice) -> Text:
        hashes = found.hashes[at]
        distinct, order = _numbered(grams(hashes, SHINGLE))
        words, word_at = _numbered(hashes)
        is_number = np.zeros(len(words), np.bool_)
        is_number[word_at] = found.is_number[at]
        times = np.bincount(word_at, minlength=len(words))
        ends = np.concatenate([[0], np.cumsum(found.sizes[at], dtype=np.int64)])
        return cls(distinct, order, words, word_at, times, is_number, ends, found.ends_sentence[at])

    @property
    def length(self) -> int:
        """In quarters of a word."""
        return int(self.ends[-1])


def _numbered(hashes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distinct hashes, sorted, and the place there of each: int32."""
    places = np.argsort(hashes)
    ordered = hashes[places]
    is_first = np.ones(len(ordered), np.bool_)
    np.not_equal(ordered[1:], ordered[:-1], out=is_first[1:])
    order = np.empty(len(hashes), np.int32)
    order[places] = np.cumsum(is_first) - 1
    return ordered[is_first], order


class View:
    """A text as seen from another one, for which it would be removed.

    Everything is worked out when it is asked for: most pairs are told apart by the first two guards.
    """

    def __init__(self, text: Text, other: Text, found: np.ndarray, bounds: Bounds = BOUNDS) -> None:
        """`found`: of each distinct shingle of `text`, whether `other` has it."""
        self.text, self.other, self.bounds = text, other, bounds
        self.common = int(np.count_nonzero(found))
        self.back: View  # the other text as seen from this one
        self._found = found

    @property
    def c(self) -> float:
        """The share of the text's distinct shingles that the other text has."""
        return self.common / len(self._found)

    @property
    def r(self) -> float:
        """The text's length as a share of the other's, 1 at most."""
        return min(1.0, self.text.length / self.other.length)

    @cached_property
    def is_covered(self) -> np.ndarray:
        """Of each token: bool, shape (t,)."""
        found = self._found[self.text.order]
        covered = np.zeros(len(self.text.word_at), np.bool_)
        for i in range(SHINGLE):
            covered[i : len(found) + i] |= found
        return covered

    @cached_property
    def passages(self) -> tuple[np.ndarray, np.ndarray]:
        """Where each passage starts, and where it ends: places of tokens, int64."""
        between = np.ones(
            len(self.is_covered) + 2, np.bool_
        )  # what stands before and behind the text is no part of one
        between[1:-1] = self.is_covered
        edges = np.flatnonzero(between[1:] != between[:-1])
        return edges[::2], edges[1::2]

    @cached_property
    def lengths(self) -> np.ndarray:
        """How long each passage is, in quarters of a word: int64."""
        starts, ends = self.passages
        return self.text.ends[ends] - self.text.ends[starts]

    @cached_property
    def is_short(self) -> np.ndarray:
        """Of each passage: bool."""
        return self.lengths <= self.bounds.short * WORD

    @cached_property
    def in_short(self) -> np.ndarray:
        """How often each of the text's distinct tokens stands in short passages: int64."""
        starts, ends = self.passages
        edges = np.zeros(len(self.is_covered) + 1, np.int8)
        edges[starts[self.is_short]] = 1
        edges[ends[self.is_short]] = -1
        at = np.cumsum(edges[:-1], dtype=np.int8).astype(np.bool_)
        return np.bincount(self.text.word_at[at], minlength=len(self.text.words))

    @cached_property
    def times_in_other(self) -> np.ndarray:
        """How often each of the text's distinct tokens stands in the other text: int64."""
        at = np.searchsorted(self.other.words, self.text.words)
        is_there = self.other.words.take(at, mode="clip") == self.text.words
        return np.where(is_there, self.other.times.take(at, mode="clip"), 0)

    @cached_property
    def head(self) -> np.ndarray:
        """The tokens that the text begins with, as places in its `words`."""
        n = int(np.searchsorted(self.text.ends, self.bounds.head * WORD, "right")) - 1
        return self.text.word_at[: max(n, 1)]

    @property
    def inner(self) -> int:
        """How long the longest inner passage is, in quarters of a word; 0 where there is none."""
        starts, ends = self.passages
        return int(self.lengths[(starts > 0) & (ends < len(self.is_covered))].max(initial=0))

    @property
    def missing_numbers(self) -> np.ndarray:
        """The numbers in short passages that the other text does not have, as places in `words`."""
        return np.flatnonzero(self.text.is_number & (self.times_in_other == 0) & (self.in_short > 0))


def views(a: Text, b: Text, bounds: Bounds = BOUNDS) -> tuple[View, View]:
    """Each of two texts as seen from the other."""
    in_b, in_a = _shared(a.distinct, b.distinct)
    mine, theirs = View(a, b, in_b, bounds), View(b, a, in_a, bounds)
    mine.back, theirs.back = theirs, mine
    return mine, theirs


def _shared(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of two sorted arrays of distinct numbers, which of each are in the other."""
    if len(a) > len(b):
        in_a, in_b = _shared(b, a)
        return in_b, in_a
    at = np.searchsorted(b, a)
    in_b = b.take(at, mode="clip") == a
    in_a = np.zeros(len(b), np.bool_)
    in_a[at[in_b]] = True
    return in_b, in_a


def is_much_shorter(v: View) -> bool:
    """`length`: the text is a small part of the other, whatever the other says of it."""
    return v.text.length < v.bounds.shorter * v.other.length


def is_lost(v: View) -> bool:
    """`lost`: too many of its shingles are missing; the shorter it is beside the other, the fewer may."""
    return v.c < 1 - v.bounds.lost * v.r


def has_passages(v: View) -> bool:
    """`passages`: whole sentences of it are missing."""
    missing = int(v.lengths[~v.is_short].sum())
    return missing > v.bounds.long_passages * v.r * v.text.length


def repeated(v: View) -> np.ndarray:
    """The tokens that fill in a form: those that stand again and again in holes of the common text, and hardly or not
    at all in the other one; as places in `words`."""
    times = v.text.times
    return np.flatnonzero((v.in_short >= 2) & (times > v.bounds.more_often * v.times_in_other))


def is_filled_in(v: View) -> bool:
    """`form`: words that fill in a form make up much of what is common."""
    found, b = repeated(v), v.bounds
    if not len(found):
        return False
    sizes = np.diff(v.text.ends)
    size_of = np.zeros(len(v.text.words), np.int64)
    size_of[v.text.word_at] = sizes
    bound = b.repeated_below_head if v.is_covered[: len(v.head)].all() else b.repeated
    bound *= max(1.0, min(2.0, (v.text.length / WORD / b.long_text) ** 0.5))
    return bool((v.in_short[found] * size_of[found]).sum() > bound * sizes[v.is_covered].sum())


def head_words(v: View) -> np.ndarray:
    """The tokens that the text begins with and goes on about, and the other one does not; as places in `words`."""
    times = v.text.times[v.head]
    is_often = (times >= v.bounds.head_times) & (times >= v.bounds.head_share * len(v.text.word_at))
    return v.head[is_often & (times > v.bounds.more_often * v.times_in_other[v.head])]


def has_head_word(v: View) -> bool:
    """`head word`: it is about what it begins with, and the other one is not."""
    return bool(len(head_words(v)))


def has_numbers(v: View) -> bool:
    """`numbers`: most of its numbers are missing, and others stand in their place."""
    missing, b = len(v.missing_numbers), v.bounds
    if missing < b.numbers or missing < b.numbers_share * int(v.text.is_number.sum()):
        return False
    return len(v.back.missing_numbers) >= b.numbers_of_other


def has_block(v: View) -> bool:
    """`block`: within a common frame, each has a part of its own."""
    b = v.bounds
    if v.inner < b.block * WORD or v.inner < b.block_share * v.text.length:
        return False
    return v.back.inner >= b.block_share * v.other.length


def is_too_short(v: View) -> bool:
    """`short`: a text of few words, of which each counts, most of all those that it or the other one begins with."""
    if v.text.length >= v.bounds.short_text * WORD:
        return False
    return v.c < v.bounds.short_text_kept or any(len(missing_head(each)) for each in (v, v.back))


def missing_head(v: View) -> np.ndarray:
    """The tokens that the text begins with and the other one has nowhere; as places in `words`."""
    return v.head[v.times_in_other[v.head] == 0]


GUARDS: dict[str, Callable[[View], bool]] = {
    "length": is_much_shorter,
    "lost": is_lost,
    "passages": has_passages,
    "form": is_filled_in,
    "head word": has_head_word,
    "numbers": has_numbers,
    "block": has_block,
    "short": is_too_short,
}
"""The guards by name, in the order in which they are asked: what dismisses most pairs at least cost comes first."""

BITS = {name: 1 << i for i, name in enumerate(GUARDS)}
LENGTH = BITS["length"]
_OF_A_PART = ("form", "head word")
"""The guards that are asked of a part of a longer text too."""
PART_KEPT = 0.95
"""contained-in-longer: so much of a part's shingles stand in the longer text."""


def compare(v: View) -> int:
    """What speaks against removing a text for the other one: the bits of the guards that were found to; 0: nothing.

    It is the first guard that speaks. Of a text that is much shorter, LENGTH alone says that it stands in the other one
    as a whole; else another guard stands beside it.
    """
    if not is_much_shorter(v):
        return next((BITS[name] for name, speaks in GUARDS.items() if speaks(v)), 0)
    if v.c < PART_KEPT:
        return LENGTH | BITS["lost"]
    return LENGTH | next((BITS[name] for name in _OF_A_PART if GUARDS[name](v)), 0)


def named(guards: int) -> list[str]:
    """The names of guards by their bits."""
    return [name for name, bit in BITS.items() if guards & bit]


def is_cleaner(v: View) -> bool | None:
    """Whether of two near duplicates the text is the better one to keep; False: the other is; None: they are alike.

    Of about equal length it is the one with fewer words that the other lacks: typos and left-over tags are such words.
    Else it is the longer one, unless what it has more is the chrome of its site.
    """
    shorter, longer = (v, v.back) if v.text.length <= v.other.length else (v.back, v)
    if shorter.text.length >= v.bounds.equal_length * longer.text.length:
        mine, theirs = (int(np.count_nonzero(each.times_in_other == 0)) for each in (v, v.back))
        return None if mine == theirs else mine < theirs
    return (shorter if _is_chrome(longer) else longer) is v


def _is_chrome(v: View) -> bool:
    """Whether what the text has and the other lacks is menus and the like: words without sentences at the two ends of a
    text that is written in sentences. Of one that is not, as code or Thai, the surplus says nothing, and may be a part
    that was cut off."""
    b, (firsts, lasts) = v.bounds, v.passages
    surplus = int(v.lengths.sum())
    at_ends = int(v.lengths[(firsts == 0) | (lasts == len(v.is_covered))].sum())
    if surplus < b.chrome * WORD or at_ends < b.chrome_at_ends * surplus or v.back.c < 1 - b.chrome_lacks:
        return False
    sentence = b.chrome_sentence * WORD
    ends, is_common = v.text.ends_sentence, v.is_covered
    own, common = np.count_nonzero(ends & ~is_common), np.count_nonzero(ends & is_common)
    return bool(own * sentence < surplus and common * sentence >= v.text.length - surplus)
