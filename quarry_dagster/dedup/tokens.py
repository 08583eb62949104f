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

from quarry_dagster.extract.words import ALPHABETIC, IDEOGRAPHIC, folded, without_marks

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
_INSIDE = _LETTER | _IDEOGRAPHIC | _ALPHABETIC
"""The kinds of characters that tokens are made of."""
_BETWEEN = ord(" ")
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
    parts, rows, owner = _found(texts)
    kinds = parts.kinds[rows]
    is_token = kinds & _INSIDE != 0
    ends = np.zeros(len(rows), np.bool_)
    ends[:-1] = ~is_token[1:] & (owner[1:] == owner[:-1])
    kinds, owner = kinds[is_token], owner[is_token]
    hashes = _hashes(parts.spelled)[rows[is_token]]
    sizes = np.full(len(hashes), WORD, np.uint8)
    for script, length, size in _RUNS:
        in_run = kinds & script != 0
        if in_run.any():
            hashes = _runs(hashes, in_run, owner, length)
            sizes[in_run] = size
    found = Tokens(hashes, sizes, kinds & _DIGIT != 0, ends[is_token])
    return found, np.bincount(owner, minlength=len(texts))


def spelled(text: str) -> list[str]:
    """The tokens of one text in the form in which they are compared, one by one as :func:`tokens` counts them."""
    parts, rows, _ = _found([text])
    rows = rows[parts.kinds[rows] & _INSIDE != 0]
    single, kinds = parts.spelled.gather(rows).to_list(), parts.kinds[rows]
    out = single.copy()
    for script, length, _ in _RUNS:
        for i in np.flatnonzero(kinds & script).tolist():
            out[i] = "".join(single[i : i + length])
    return out


@dataclass(frozen=True)
class _Parts:
    """What words with blanks around them are cut into: tokens, single characters of scripts without spaces, and ends of
    sentences."""

    spelled: pl.Series
    """Each of them: String."""
    kinds: np.ndarray
    """The kind of its first character: uint8."""
    counts: np.ndarray
    """How many each word has: int64."""


def _found(texts: Sequence[str]) -> tuple[_Parts, np.ndarray, np.ndarray]:
    """The parts of all distinct words, the part that stands at each place of all texts, and the number of its text.

    What a word is cut into depends on it alone, and a text repeats its words, a language even more so: each distinct
    word is looked at once.
    """
    whole = [folded(text) for text in texts]
    words = pl.Series("word", [" ".join(filter(None, whole))], pl.String).str.split(" ").explode()
    words_in = np.array([text.count(" ") + 1 if text else 0 for text in whole], np.int64)
    distinct, codes = _numbered(words.filter(words != ""))
    parts = _cut(distinct.to_list())
    counts = parts.counts[codes]
    ends = np.cumsum(counts)
    rows = np.arange(counts.sum()) + np.repeat(np.cumsum(parts.counts)[codes] - ends, counts)
    return parts, rows, np.repeat(np.repeat(np.arange(len(texts)), words_in), counts)


def _cut(words: Sequence[str]) -> _Parts:
    """Cut words of folded texts: all at once, as one array of bytes."""
    encoded = _compared(f"{without_marks(words)} ").encode()
    data, kinds = np.frombuffer(encoded, np.uint8), _kinds_of_bytes(encoded)
    is_seen = kinds & _UNSEEN == 0
    if not is_seen.all():
        data, kinds = data[is_seen], kinds[is_seen]
    begins_character = data & 0xC0 != 0x80
    is_letter = kinds & _LETTER != 0
    is_inside = kinds & (_INSIDE | _END) != 0
    is_inside[:-1] |= (kinds[:-1] & _STOP != 0) & (kinds[1:] & _BLANK != 0)
    begins = is_inside & begins_character
    begins[1:] &= ~(is_letter[1:] & is_letter[:-1])
    first = np.flatnonzero(begins)
    counts = np.diff(np.searchsorted(first, np.flatnonzero(data == _BETWEEN)))
    return _Parts(_spelled(data, is_inside, begins), kinds[first], counts)


def _spelled(data: np.ndarray, is_inside: np.ndarray, begins: np.ndarray) -> pl.Series:
    """The parts, given all bytes (uint8), which of them are inside of parts, and which begin one (bool)."""
    is_kept = is_inside.copy()
    is_kept[:-1] |= begins[1:]  # before a part one byte is kept, which becomes a blank
    kept = np.where(is_inside, data, np.uint8(_BETWEEN))[is_kept]
    glued = np.flatnonzero(begins[is_kept][1:] & (kept[:-1] != _BETWEEN)) + 1
    if len(glued):
        kept = np.insert(kept, glued, _BETWEEN)
    found = kept[1:].tobytes().decode()
    return pl.Series("part", [found] if found else [], pl.String).str.split(" ").explode()


def _numbered(words: pl.Series) -> tuple[pl.Series, np.ndarray]:
    """The distinct words, and the place there of each (uint32)."""
    # Categories of this call alone are few; those that polars has by itself are of all that the process holds.
    codes = words.cast(pl.Categorical(pl.Categories.random())).to_physical().to_numpy()
    place = np.empty(int(codes.max()) + 1 if len(codes) else 0, np.int64)
    place[codes] = np.arange(len(codes))
    return words.gather(place), codes


def _hashes(words: pl.Series) -> np.ndarray:
    """The hash of each word: uint64."""
    distinct, codes = _numbered(words)
    hashes = [xxhash.xxh3_64_intdigest(word) for word in distinct.cast(pl.Binary).to_list()]
    return np.array(hashes, np.uint64)[codes]


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
