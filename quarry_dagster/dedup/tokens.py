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
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import xxhash

from quarry_dagster.extract import normal_form
from quarry_dagster.extract.words import ALPHABETIC, IDEOGRAPHIC

VERSION = "tokens-1"
"""Changes whenever the same text would give other tokens."""

WORD = 4
"""A word, in the unit that lengths are measured in: quarters of a word, so that sums are exact."""

_UNSPACED = f"{IDEOGRAPHIC}{ALPHABETIC}"
_SENTENCE_END = r"[.!?](?:\s|$)|[。।॥؟۔።།༎]"
_TOKEN = rf"[{_UNSPACED}]|[[\p{{L}}\p{{N}}\p{{M}}]--[{_UNSPACED}]]+|{_SENTENCE_END}"
_UNSEEN = r"\p{Cf}+"
_RUNS = ((IDEOGRAPHIC, 3, 2), (ALPHABETIC, 6, 1))
"""Scripts without spaces: how many characters are a token, and how long one is in quarters of a word."""
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)

_ARABIC = re.compile("[\u0610-\u06ff\u08ca-\u08ff]")
_UNWRITTEN = (*range(0x610, 0x61B), 0x640, *range(0x64B, 0x660), 0x670, *range(0x6D6, 0x6EE), *range(0x8CA, 0x900))
"""Vowel signs, Koranic marks and the stroke that lengthens a word."""
_WRITTEN_IN_TWO_WAYS = {"أ": "ا", "إ": "ا", "آ": "ا", "ٱ": "ا", "ؤ": "و", "ئ": "ي", "ى": "ي", "ة": "ه"}
_AS_COMPARED = {**dict.fromkeys(_UNWRITTEN), **{ord(k): v for k, v in _WRITTEN_IN_TWO_WAYS.items()}}
_FOREIGN_DIGIT = re.compile(r"(?![0-9])\d")


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
    found, owner = _found(texts)
    if found.is_empty():
        empty = np.empty(0, np.bool_)
        return Tokens(np.empty(0, np.uint64), np.empty(0, np.uint8), empty, empty), np.zeros(len(texts), np.int64)
    # Each distinct token is looked at once; a text repeats its words, a language even more so.
    codes = found.cast(pl.Categorical).to_physical().to_numpy()
    used = np.zeros(int(codes.max()) + 1, np.int64)
    used[codes] = np.arange(len(codes))
    present = np.zeros(len(used), np.bool_)
    present[codes] = True
    at = np.flatnonzero(present)
    distinct = found.gather(used[at])
    table = np.zeros(len(used), np.uint64)
    table[at] = [xxhash.xxh3_64_intdigest(word) for word in distinct.cast(pl.Binary).to_list()]

    def marked(pattern: str) -> np.ndarray:
        marks = np.zeros(len(used), np.bool_)
        marks[at] = distinct.str.contains(pattern).to_numpy()
        return marks[codes]

    is_end = marked(rf"^(?:{_SENTENCE_END})")
    is_word = ~is_end
    ends = np.zeros(len(codes), np.bool_)
    ends[:-1] = is_end[1:]
    hashes, owner = table[codes][is_word], owner[is_word]
    sizes = np.full(len(hashes), WORD, np.uint8)
    for script, length, size in _RUNS:
        in_run = marked(rf"^[{script}]$")[is_word]
        if in_run.any():
            hashes = _runs(hashes, in_run, owner, length)
            sizes[in_run] = size
    counts = np.bincount(owner, minlength=len(texts))
    return Tokens(hashes, sizes, marked(r"^\p{Nd}")[is_word], ends[is_word]), counts


def spelled(text: str) -> list[str]:
    """The tokens of one text in the form in which they are compared, one by one as :func:`tokens` counts them."""
    found, _ = _found([text])
    words = found.filter(~found.str.contains(rf"^(?:{_SENTENCE_END})"))
    out = words.to_list()
    for script, length, _ in _RUNS:
        in_run = words.str.contains(rf"^[{script}]$").to_list()
        for i, is_one in enumerate(in_run):
            if is_one:
                out[i] = "".join(words[i : i + length].to_list())
    return out


def _found(texts: Sequence[str]) -> tuple[pl.Series, np.ndarray]:
    """The tokens and the ends of sentences in all texts, in order, and the number of the text of each (int64)."""
    seen = pl.Series("word", [_compared(t) for t in texts], dtype=pl.String).str.replace_all(_UNSEEN, "")
    found = seen.str.extract_all(_TOKEN)
    owner = np.repeat(np.arange(len(texts)), found.list.len().cast(pl.Int64).to_numpy())
    return found.explode().drop_nulls(), owner


def _compared(text: str) -> str:
    """The text in the form whose tokens are compared."""
    text = normal_form(text)
    if text.isascii():
        return text
    if _ARABIC.search(text):
        text = text.translate(_AS_COMPARED)
    return _FOREIGN_DIGIT.sub(lambda digit: str(unicodedata.decimal(digit[0])), text)


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
        out = mix(out + hashes[i : len(hashes) - n + 1 + i] + _GOLDEN)
    return out


def mix(x: np.ndarray) -> np.ndarray:
    """The finalizer of SplitMix64 (Steele et al. 2014)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
