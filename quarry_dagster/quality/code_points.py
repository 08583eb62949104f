"""Many texts as one array of code points, and what each code point is.

A code point's properties are a number of bits. There are a few dozen sets of properties that occur together, its
`kind`: one byte a character says all, and one histogram of texts by kinds counts every property at once.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from quarry_dagster.extract.words import UNSPACED as _UNSPACED_CLASS

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Hashes = npt.NDArray[np.uint64]

SPACE, NEWLINE, LINE_BREAK = 1 << 0, 1 << 1, 1 << 2
ALPHA, ALNUM, UPPER, LOWER, DIGIT = 1 << 3, 1 << 4, 1 << 5, 1 << 6, 1 << 7
UNSPACED, BETWEEN_WORDS = 1 << 8, 1 << 9
NOT_PUNCTUATION, NOT_CATEGORY_P, TERMINAL, SENTENCE_END = 1 << 10, 1 << 11, 1 << 12, 1 << 13
ASCII_END, PAREN, BROKEN, SYMBOL = 1 << 14, 1 << 15, 1 << 16, 1 << 17
LEAD_2, LEAD_3, LEAD_4, CONTINUATION = 1 << 18, 1 << 19, 1 << 20, 1 << 21
HASH, BRACE, ELLIPSIS, BULLET, QUOTE, CARRIAGE_RETURN = 1 << 22, 1 << 23, 1 << 24, 1 << 25, 1 << 26, 1 << 27

END = 0x110000
"""What stands behind each text: no code point, white space and the end of a line."""

_COUNTED = 1 << 18
"""Characters that are counted at once: each is eight bytes while it is."""
_KEPT = 1_000_000
"""Characters up to which a batch remembers which of them have a property."""
_ASSIGNED = (range(0x40000), range(0xE0000, 0xE1000))
"""Where characters are; elsewhere are code points for private use, and some that will never be characters."""

_TERMINAL = """21 2E 3F 589 61D-61F 6D4 700-702 7F9 837 839 83D-83E 964-965 104A-104B 1362 1367-1368 166E 1735-1736
17D4-17D6 17D9-17DA 1803 1809 1944-1945 1AA8-1AAB 1B5A-1B5B 1B5E-1B5F 1B7D-1B7E 1C3B-1C3C 1C7E-1C7F 203C-203D
2047-2049 2E2E 2E3C 2E53-2E54 3002 A4FF A60E-A60F A6F3 A6F7 A876-A877 A8CE-A8CF A92F A9C8-A9C9 AA5D-AA5F AAF0-AAF1
ABEB FE52 FE56-FE57 FF01 FF0E FF1F FF61 10A56-10A57 10F55-10F59 10F86-10F89 11047-11048 110BE-110C1 11141-11143
111C5-111C6 111CD 111DE-111DF 11238-11239 1123B-1123C 112A9 1144B-1144C 115C2-115C3 115C9-115D7 11641-11642
1173C-1173E 11944 11946 11A42-11A43 11A9B-11A9C 11C41-11C42 11EF7-11EF8 11F43-11F44 16A6E-16A6F 16AF5 16B37-16B38
16B44 16E98 1BC9F 1DA88"""
"""Code points that end a sentence in some script, as datatrove 0.10 takes them."""
_NO_SENTENCE_END = """61D-61E 837 839 83D-83E 17D4-17D6 17D9-17DA 1B7D-1B7E 2E53-2E54 10F55-10F59 10F86-10F89 11944
11946 11EF7-11EF8 11F43-11F44 16E98"""
"""Those of them at which the sentencizer of spaCy 3.8 ends none."""
_PUNCTUATION = """0-8 B-1F 22-2D 2F 3A-3E 40 5B-60 7B-9F AB B4 BB 2013-2014 2019 201C-201E 2026 2236 2501 25BA 3001
3008-300D 3010-3011 FF05 FF08-FF09 FF0C FF11 FF1A-FF1B FF5E"""
"""Further code points of which no word is made alone, as datatrove 0.10 takes them."""


class Table(NamedTuple):
    """What code points are."""

    kinds: npt.NDArray[np.uint8]
    """uint8 [END + 1]: the kind of each code point."""
    flags: npt.NDArray[np.uint32]
    """uint32 [kinds]: the properties of a kind."""
    lower: npt.NDArray[np.uint32]
    """uint32 [END + 1]: the small letter of each code point that has one of one code point, or itself."""

    def having(self, flags: int) -> Bools:
        """bool [kinds]: whether a kind has one of some properties."""
        return (self.flags & np.uint32(flags)) != 0


@cache
def table() -> Table:
    """The table, made from Python's Unicode data when it is first asked for."""
    flags = np.zeros(END + 1, np.uint32)
    lower = np.arange(END + 1, dtype=np.uint32)
    for points in _ASSIGNED:
        characters = [chr(c) for c in points]
        flags[points.start : points.stop] = _flags_of(characters)
        small = [ord(c) if len(c) == 1 else 0 for c in map(str.lower, characters)]
        lower[points.start : points.stop] = np.where(np.array(small) > 0, small, np.array(points))
    private = np.r_[0xE000:0xF900, 0xF0000:END]
    flags[private] = BROKEN
    flags[0xD800:0xE000] = BROKEN
    flags |= NOT_PUNCTUATION
    flags[:END] |= np.where(_is_category_p(flags), 0, NOT_CATEGORY_P).astype(np.uint32)
    for text, gained, lost in (
        (_TERMINAL, TERMINAL | SENTENCE_END, NOT_PUNCTUATION),
        (_NO_SENTENCE_END, 0, SENTENCE_END),
        (_PUNCTUATION, 0, NOT_PUNCTUATION),
    ):
        for part in text.split():
            first, _, last = part.partition("-")
            span = slice(int(first, 16), int(last or first, 16) + 1)
            flags[span] = flags[span] & ~np.uint32(lost) | np.uint32(gained)
    for characters, gained in (
        ("\n", NEWLINE),
        ("\r", CARRIAGE_RETURN),
        ("\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029", LINE_BREAK),
        (".!?", ASCII_END),
        ("()[]{}⟨⟩", PAREN),
        ("\ufffd", BROKEN),
        ("#", HASH),
        ("{", BRACE),
        ("…", ELLIPSIS),
        ("•-", BULLET),
        ("\"'", QUOTE),
        (_bytes_read_as_latin(0xC2, 0xE0), LEAD_2),
        (_bytes_read_as_latin(0xE0, 0xF0), LEAD_3),
        (_bytes_read_as_latin(0xF0, 0xF5), LEAD_4),
        (_bytes_read_as_latin(0x80, 0xC0), CONTINUATION),
    ):
        flags[[ord(c) for c in characters]] |= np.uint32(gained)
    flags[END] = SPACE | LINE_BREAK
    kinds_flags, kinds = np.unique(flags, return_inverse=True)
    return Table(kinds.astype(np.uint8), kinds_flags, lower)


def _is_category_p(flags: npt.NDArray[np.uint32]) -> Bools:
    """bool [END]: whether a code point is of one of Unicode's categories of punctuation."""
    found = np.zeros(END, np.bool_)
    for points in _ASSIGNED:
        found[points.start : points.stop] = [unicodedata.category(chr(c))[0] == "P" for c in points]
    return found


def _flags_of(characters: list[str]) -> npt.NDArray[np.uint32]:
    """What Python and Unicode say of some characters."""
    categories = [unicodedata.category(c) for c in characters]
    unspaced, between = re.compile(f"[{_UNSPACED_CLASS}]"), re.compile("[\u0f0b-\u0f14\u1361-\u1368]")
    flags = np.zeros(len(characters), np.uint32)
    for flag, holds in (
        (SPACE, map(str.isspace, characters)),
        (ALPHA, map(str.isalpha, characters)),
        (ALNUM, map(str.isalnum, characters)),
        (UPPER, (c == "Lu" for c in categories)),
        (LOWER, (c == "Ll" for c in categories)),
        (DIGIT, (c == "Nd" for c in categories)),
        (UNSPACED, (bool(unspaced.match(c)) for c in characters)),
        (BETWEEN_WORDS, (bool(between.match(c)) for c in characters)),
        (SYMBOL, (c[0] in "PS" for c in categories)),
        (BROKEN, (c == "Cc" and not s.isspace() for c, s in zip(categories, characters, strict=True))),
    ):
        flags |= np.where(np.fromiter(holds, np.bool_, len(characters)), np.uint32(flag), np.uint32(0))
    return flags


def _bytes_read_as_latin(first: int, last: int) -> str:
    """The characters that bytes are in Latin-1 and in Windows-1252."""
    part = bytes(range(first, last))
    return part.decode("latin-1") + part.decode("cp1252", "ignore")


class Batch:
    """Some texts as one array: their code points, END behind each."""

    def __init__(self, points: npt.NDArray[np.uint32], ends: Ints) -> None:
        self.points = points
        """uint32 [characters + texts]."""
        self.ends = ends
        """int64 [texts]: where the END of each text is."""
        self.begins: Ints = np.concatenate(([0], ends[:-1] + 1)).astype(np.int64)
        """int64 [texts]: where each begins."""
        self.lengths: Ints = self.ends - self.begins
        """int64 [texts]: characters of each."""
        self.kinds: npt.NDArray[np.uint8] = table().kinds.take(points)
        """uint8 [characters + texts]."""
        self._having: dict[int, Bools] = {}

    @classmethod
    def of(cls, texts: Sequence[str]) -> Batch:
        """The batch of some texts, at least one."""
        lengths = np.fromiter(map(len, texts), np.int64, len(texts))
        ends = np.cumsum(lengths + 1) - 1
        points = np.frombuffer("\n".join([*texts, ""]).encode("utf-32-le", "surrogatepass"), np.uint32).copy()
        points[ends] = END
        return cls(points, ends)

    def __len__(self) -> int:
        return len(self.ends)

    def having(self, flags: int) -> Bools:
        """bool [characters + texts]: which have one of some properties. Others may have it: a copy is changed."""
        if flags in self._having:
            return self._having[flags]
        found = table().having(flags).take(self.kinds)
        if len(found) < _KEPT:
            self._having[flags] = found
        return found

    def have(self, positions: Ints, flags: int) -> Bools:
        """bool [positions]: which of some positions have one of some properties."""
        return table().having(flags).take(self.kinds[positions])

    def where(self, flags: int) -> Ints:
        """int64: the positions that have one of some properties, in order."""
        return np.flatnonzero(self.having(flags))

    def texts_of(self, positions: Ints) -> Ints:
        """int64: in which text each of some positions is, which are in order."""
        return np.repeat(np.arange(len(self)), self.count(positions))

    def count(self, positions: Ints) -> Ints:
        """int64 [texts]: how many of some positions, which are in order, are in each text."""
        return np.diff(np.searchsorted(positions, self.ends, side="right"), prepend=0)

    def histogram(self) -> Ints:
        """int64 [texts, kinds]: how many characters of each kind each text has; END is none."""
        return self.count_each(self.kinds, len(table().flags))

    def count_each(self, numbers: npt.NDArray[np.unsignedinteger], different: int) -> Ints:
        """int64 [texts, different]: of a number a character, how often each text has each."""
        counts = np.zeros((len(self), different), np.int64)
        for text, (begin, end) in enumerate(zip(self.begins.tolist(), self.ends.tolist(), strict=True)):
            for at in range(begin, end, _COUNTED):
                counts[text] += np.bincount(numbers[at : min(at + _COUNTED, end)], minlength=different)
        return counts
