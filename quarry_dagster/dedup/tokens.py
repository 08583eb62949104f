"""Text to tokens: the words that texts are compared by, as hashes that are the same on every machine.

Tokens are runs of letters, digits and marks in the text's normal form. Scripts that do not separate words give one
token a character, the run of several that begins with it: three of Han, kana and Yi, where one character is less than a
word, and six of Thai, Lao, Khmer and Myanmar, whose characters are letters. Characters that are not seen (soft hyphens,
joiners, marks of direction) are not there: some pages have them, and others the same text without. Digits of all
scripts are those of the Latin one, and Arabic script is compared without what is left out or written in two ways.

Why so: "Tokens: what is compared as a word" in docs/decisions.md.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import polars as pl
import xxhash

from quarry_dagster.extract import normal_form
from quarry_dagster.extract.words import ALPHABETIC, IDEOGRAPHIC

VERSION = "tokens-1"
"""Changes whenever the same text would give other tokens."""

WORD = 4
"""A word, in the unit that lengths are measured in: quarters of a word, so that sums are exact."""

_LETTER, _IDEOGRAPHIC, _ALPHABETIC, _DIGIT, _END, _STOP, _BLANK, _UNSEEN = (1 << bit for bit in range(8))
_KINDS = {
    _LETTER: rf"[[\p{{L}}\p{{N}}\p{{M}}]--[{IDEOGRAPHIC}{ALPHABETIC}]]",
    _IDEOGRAPHIC: f"[{IDEOGRAPHIC}]",
    _ALPHABETIC: f"[{ALPHABETIC}]",
    _DIGIT: r"\p{Nd}",
    _END: "[。।॥؟۔።།༎]",
    _STOP: "[.!?]",
    _BLANK: r"\s",
    _UNSEEN: r"\p{Cf}",
}
"""Kinds of characters, as bits, for a character may be of two: a letter of a word, one of the scripts without spaces, a
digit, what ends a sentence always or with a blank behind it, a blank, what is not seen."""
_RUNS = ((_IDEOGRAPHIC, 3, 2), (_ALPHABETIC, 6, 1))
"""Scripts without spaces: how many characters are a token, and how long one is in quarters of a word."""
_LINE_END = ord("\n")
"""Ends a text where several stand in a row: no normal form has one."""
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)

_UNWRITTEN = (*range(0x610, 0x61B), 0x640, *range(0x64B, 0x660), 0x670, *range(0x6D6, 0x6EE), *range(0x8CA, 0x900))
"""Vowel signs, Koranic marks and the stroke that lengthens a word."""
_WRITTEN_IN_TWO_WAYS = {"أ": "ا", "إ": "ا", "آ": "ا", "ٱ": "ا", "ؤ": "و", "ئ": "ي", "ى": "ي", "ة": "ه"}
_AS_COMPARED = {**dict.fromkeys(map(chr, _UNWRITTEN), ""), **_WRITTEN_IN_TWO_WAYS}
"""By a character of Arabic script, what stands in its place where texts are compared."""


@dataclass(frozen=True)
class Tokens:
    """The tokens of texts, concatenated; all arrays are as long as there are tokens."""

    hashes: np.ndarray
    """uint64."""
    sizes: np.ndarray
    """How long each is: quarters of a word, uint8."""
    is_number: np.ndarray
    """Whether it begins with a digit: bool."""
    ends_sentence: np.ndarray
    """Whether a sentence ends behind it: bool."""


def tokens(texts: Sequence[str]) -> tuple[Tokens, np.ndarray]:
    """The tokens of all texts, and how many each text has (int64)."""
    cut = _Cut.of(texts)
    hashes = _hashes(cut.words)
    owner = np.repeat(np.arange(len(texts)), cut.counts)
    sizes = np.full(len(hashes), WORD, np.uint8)
    for script, length, size in _RUNS:
        in_run = cut.kinds & script != 0
        if in_run.any():
            hashes = _runs(hashes, in_run, owner, length)
            sizes[in_run] = size
    return Tokens(hashes, sizes, cut.kinds & _DIGIT != 0, cut.ends_sentence), cut.counts


def spelled(text: str) -> list[str]:
    """The tokens of one text in the form in which they are compared, one by one as :func:`tokens` counts them."""
    cut = _Cut.of([text])
    words = cut.words.to_list()
    out = words.copy()
    for script, length, _ in _RUNS:
        for i in np.flatnonzero(cut.kinds & script).tolist():
            out[i] = "".join(words[i : i + length])
    return out


@dataclass(frozen=True)
class _Cut:
    """Texts cut into words and, in scripts without spaces, characters; all but `counts` is as long as there are."""

    words: pl.Series
    """Each of them: String."""
    kinds: np.ndarray
    """The kind of the first character of each: uint8."""
    ends_sentence: np.ndarray
    """Whether a sentence ends behind it: bool."""
    counts: np.ndarray
    """How many each text has: int64."""

    @classmethod
    def of(cls, texts: Sequence[str]) -> _Cut:
        """Cut these texts: all at once, as one array of bytes, in which a line end stands before and behind each."""
        encoded = _compared("".join(("\n", *(f"{normal_form(text)}\n" for text in texts)))).encode()
        data, kinds = np.frombuffer(encoded, np.uint8), _kinds_of_bytes(encoded)
        is_seen = kinds & _UNSEEN == 0
        if not is_seen.all():
            data, kinds = data[is_seen], kinds[is_seen]
        is_inside = kinds & (_LETTER | _IDEOGRAPHIC | _ALPHABETIC) != 0
        is_letter = kinds & _LETTER != 0
        begins = is_inside & _begins_character(data)
        begins[1:] &= ~(is_letter[1:] & is_letter[:-1])
        first, line_ends = np.flatnonzero(begins), np.flatnonzero(data == _LINE_END)
        counts = np.diff(np.searchsorted(first, line_ends))
        return cls(_words(data, is_inside, begins), kinds[first], _ends_sentence(kinds, first, line_ends), counts)


def _words(data: np.ndarray, is_inside: np.ndarray, begins: np.ndarray) -> pl.Series:
    """The words, given all bytes (uint8), which of them are inside of words, and which begin one (bool)."""
    is_kept = is_inside.copy()
    is_kept[:-1] |= begins[1:]  # before a word one byte is kept, which becomes a line end
    lines = np.where(is_inside, data, np.uint8(_LINE_END))[is_kept]
    glued = np.flatnonzero(begins[is_kept][1:] & (lines[:-1] != _LINE_END)) + 1
    if len(glued):
        lines = np.insert(lines, glued, _LINE_END)
    found = lines[1:].tobytes().decode()
    return pl.Series("word", [found] if found else [], pl.String).str.split("\n").explode()


def _hashes(words: pl.Series) -> np.ndarray:
    """The hash of each word: uint64. A text repeats its words, a language even more so: each is hashed once."""
    # Categories of this call alone are few; those that polars has by itself are of all that the process holds.
    codes = words.cast(pl.Categorical(pl.Categories.random())).to_physical().to_numpy()
    place = np.empty(int(codes.max()) + 1 if len(codes) else 0, np.int64)
    place[codes] = np.arange(len(codes))
    distinct = words.gather(place).cast(pl.Binary).to_list()
    return np.array([xxhash.xxh3_64_intdigest(word) for word in distinct], np.uint64)[codes]


def _compared(text: str) -> str:
    """A normal form in the form whose words are compared."""
    if text.isascii():
        return text
    others = map(chr, _distinct(_other_characters(np.frombuffer(text.encode(), np.uint8))).tolist())
    instead = {c: _AS_COMPARED.get(c, str(unicodedata.decimal(c, c))) for c in others}
    instead = {c: other for c, other in instead.items() if c != other}
    return re.sub(f"[{''.join(instead)}]", lambda found: instead[found[0]], text) if instead else text


def _kinds_of_bytes(encoded: bytes) -> np.ndarray:
    """The kind of the character that each byte of a text in UTF-8 belongs to: uint8."""
    kinds = np.frombuffer(encoded.translate(_kinds_of_ascii()), np.uint8)
    if encoded.isascii():
        return kinds
    data, kinds = np.frombuffer(encoded, np.uint8), kinds.copy()
    characters = _other_characters(data)
    distinct = _distinct(characters)  # each is looked at once
    table = np.zeros(sys.maxunicode + 1, np.uint8)
    table[distinct] = _kinds(distinct)
    bytes_each = 2 + (characters >= 0x800) + (characters >= 0x10000)
    kinds[data >= 128] = np.repeat(table[characters], bytes_each)
    return kinds


@cache
def _kinds_of_ascii() -> bytes:
    """A table for `bytes.translate`: the kind of each character of ASCII, 0 for every other byte."""
    return _kinds(np.arange(128)).tobytes() + bytes(128)


def _other_characters(data: np.ndarray) -> np.ndarray:
    """The characters of a text in UTF-8 that are not of ASCII, as code points in their order: uint32."""
    return np.frombuffer(data[data >= 128].tobytes().decode().encode("utf-32-le"), np.uint32)


def _distinct(characters: np.ndarray) -> np.ndarray:
    """Each code point once: int64."""
    is_there = np.zeros(sys.maxunicode + 1, np.bool_)
    is_there[characters] = True
    return np.flatnonzero(is_there)


def _kinds(characters: np.ndarray) -> np.ndarray:
    """The kinds of characters, given as code points: uint8."""
    each = pl.Series([chr(c) for c in characters.tolist()], dtype=pl.String)
    found = np.zeros(len(each), np.uint8)
    for kind, pattern in _KINDS.items():
        found[each.str.contains(pattern).to_numpy()] |= kind
    return found


def _begins_character(data: np.ndarray) -> np.ndarray:
    """Whether each byte of a text in UTF-8 is the first one of a character: bool."""
    return data & 0xC0 != 0x80


def _ends_sentence(kinds: np.ndarray, first: np.ndarray, line_ends: np.ndarray) -> np.ndarray:
    """Whether a sentence ends behind each word, before the next one and in the same text: bool.

    Args:
        kinds: the kinds of the bytes of all texts.
        first: the first byte of each word.
        line_ends: the line ends before and behind each text.
    """
    stops = np.flatnonzero(kinds & _STOP)
    ends = np.concatenate([np.flatnonzero(kinds & _END), stops[kinds[stops + 1] & _BLANK != 0]])
    words_before = np.searchsorted(first, ends)
    before_text = np.searchsorted(first, line_ends)[np.searchsorted(line_ends, ends) - 1]
    found = np.zeros(len(first), np.bool_)
    found[words_before[words_before > before_text] - 1] = True
    return found


def _runs(hashes: np.ndarray, in_run: np.ndarray, owner: np.ndarray, length: int) -> np.ndarray:
    """Each token of a script without spaces with those that follow it in its text, as one hash."""
    out = hashes.copy()
    for i in range(1, length):
        follows = in_run[:-i] & (owner[:-i] == owner[i:])
        out[:-i][follows] = mix(out[:-i][follows] + hashes[i:][follows] + _GOLDEN)
    return out


def grams(hashes: np.ndarray, n: int) -> np.ndarray:
    """The hashes of all n tokens in a row: uint64 of shape (tokens - n + 1,), empty below n tokens."""
    if len(hashes) < n:
        return np.empty(0, np.uint64)
    out = np.zeros(len(hashes) - n + 1, np.uint64)
    for i in range(n):
        out += hashes[i : len(hashes) - n + 1 + i]
        out += _GOLDEN
        out = mix(out)
    return out


def mix(x: np.ndarray) -> np.ndarray:
    """The finalizer of SplitMix64 (Steele et al. 2014)."""
    x = x ^ (x >> np.uint64(30))
    x *= np.uint64(0xBF58476D1CE4E5B9)
    x ^= x >> np.uint64(27)
    x *= np.uint64(0x94D049BB133111EB)
    x ^= x >> np.uint64(31)
    return x
