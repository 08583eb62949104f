"""Text to shingles: hashed word n-grams, the same on every machine.

Words are runs of letters, digits and marks in the text's normal form. Scripts that do not separate words give one
token a character: Han and kana the character itself, Thai, Lao, Khmer and Myanmar the run of six that begins with it,
for there three characters are less than a word, and any two long texts share most of them. Characters that are not
seen (soft hyphens, joiners, marks of direction) are not there: some pages have them, and others the same text without.

Why so: "Thai, Lao, Khmer and Myanmar are compared by runs of six characters" in docs/decisions.md.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
import xxhash

from quarry_dagster.extract import normal_form
from quarry_dagster.extract.words import ALPHABETIC, IDEOGRAPHIC

VERSION = "shingles-3"
"""Changes whenever the same text would give other hashes."""

SHINGLE = 3
"""Words in a shingle that texts are compared by."""
SKETCH_SHINGLE = 5
"""Words in a shingle of the sketch: longer, so that stock phrases do not join unrelated texts."""
SAMPLE_RATE = 16
"""One of so many shingles is sampled (FracMinHash, Irber et al. 2022): about 64 of a 1,000-word text."""
SKETCH_MIN = 24
"""A short text's sketch is filled up with its smallest hashes to this many."""

SAMPLED = 2**31
"""Numbers in a sketch below this are of sampled shingles, others fill it up."""
_LIMIT = np.uint64(2**64 // SAMPLE_RATE)
_UNSHARED = np.uint64(64 - 31 - (SAMPLE_RATE - 1).bit_length())
"""Bits that are dropped: 31 are left below those that are 0 in every sampled hash."""

_UNSPACED = f"{IDEOGRAPHIC}{ALPHABETIC}"
_TOKEN = rf"[{_UNSPACED}]|[[\p{{L}}\p{{N}}\p{{M}}]--[{_UNSPACED}]]+"
_UNSEEN = r"\p{Cf}+"
_RUN = 6
"""Characters of a token in the alphabetic scripts without spaces."""
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def shingles(texts: Sequence[str], n: int) -> list[np.ndarray]:
    """The shingles of each text in order of the text: uint64 of shape (tokens - n + 1,), empty below n tokens."""
    words, counts = _word_hashes(texts)
    if len(words) < n:
        return [np.empty(0, np.uint64) for _ in texts]
    grams = np.zeros(len(words) - n + 1, np.uint64)
    for i in range(n):
        grams = _mix(grams + words[i : len(words) - n + 1 + i] + _GOLDEN)
    ends = np.cumsum(counts)
    return [grams[end - count : max(end - count, end - n + 1)] for end, count in zip(ends, counts, strict=True)]


def sketches(texts: Sequence[str]) -> list[np.ndarray]:
    """Each text's sample of distinct shingles: sorted uint32, the same whatever other texts there are.

    A shingle is in the sample if its hash is below 2**64 / SAMPLE_RATE, so that a part of a text shares its samples
    with the whole; texts with fewer than SKETCH_MIN such hashes are filled up with the next. Of a hash 31 bits are
    kept, and one that says which of the two it is (SAMPLED); where two shingles are alike in them, two texts are
    candidates for nothing, and no more.
    """
    grams = shingles(texts, SKETCH_SHINGLE)
    every = np.concatenate([np.empty(0, np.uint64), *grams])
    at = np.flatnonzero(every < _LIMIT)
    of_text = np.repeat(np.arange(len(texts), dtype=np.uint64), [len(g) for g in grams])[at]
    keys = _distinct(of_text << np.uint64(32) | _numbers(every[at]))  # of all texts at once: they are many and short
    ends = np.searchsorted(keys >> np.uint64(32), np.arange(len(texts)), "right")
    sampled = np.split(keys.astype(np.uint32), ends[:-1]) if grams else []
    return [
        mine if len(mine) >= SKETCH_MIN else _distinct(_numbers(_distinct(all_)[:SKETCH_MIN]))
        for mine, all_ in zip(sampled, grams, strict=True)
    ]


def _numbers(hashes: np.ndarray) -> np.ndarray:
    """What is kept of hashes: uint32."""
    short = (hashes >> _UNSHARED).astype(np.uint32) & np.uint32(SAMPLED - 1)
    return short | np.where(hashes < _LIMIT, np.uint32(0), np.uint32(SAMPLED))


def _distinct(hashes: np.ndarray) -> np.ndarray:
    """Each once, sorted: np.unique, which puts them in a hash table first, takes many times as long."""
    ordered = np.sort(hashes)
    return ordered[np.flatnonzero(np.diff(ordered, prepend=~ordered[:1]))]


def _word_hashes(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Hash of every token of all texts, and the number of tokens of each (int64)."""
    seen = pl.Series("word", [normal_form(t) for t in texts], dtype=pl.String).str.replace_all(_UNSEEN, "")
    tokens = seen.str.extract_all(_TOKEN)
    counts = tokens.list.len().cast(pl.Int64).to_numpy()
    words = tokens.explode().drop_nulls()
    if words.is_empty():
        return np.empty(0, np.uint64), counts
    # Each distinct word is hashed once; a text repeats its words, a language even more so.
    codes = words.cast(pl.Categorical).to_physical().to_numpy()
    place = np.full(int(codes.max()) + 1, -1)
    place[codes] = np.arange(len(codes))
    used = np.flatnonzero(place >= 0)
    distinct = words.gather(place[used])
    table = np.zeros(len(place), np.uint64)
    table[used] = [xxhash.xxh3_64_intdigest(word) for word in distinct.cast(pl.Binary).to_list()]
    begins_run = np.zeros(len(place), np.bool_)
    begins_run[used] = distinct.str.contains(rf"^[{ALPHABETIC}]$").to_numpy()
    hashes, in_run = table[codes], begins_run[codes]
    return (_runs(hashes, in_run, counts) if in_run.any() else hashes), counts


def _runs(hashes: np.ndarray, in_run: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Each token of an alphabetic script without spaces with those that follow it in its text, as one hash."""
    owner = np.repeat(np.arange(len(counts)), counts)
    out = hashes.copy()
    for i in range(1, _RUN):
        follows = in_run[:-i] & (owner[:-i] == owner[i:])
        out[:-i][follows] = _mix(out[:-i][follows] + hashes[i:][follows] + _GOLDEN)
    return out


def _mix(x: np.ndarray) -> np.ndarray:
    """The finalizer of SplitMix64 (Steele et al. 2014)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
