"""A text's sketch: a sample of its hashed shingles, by which texts that share much find each other.

Shingles are runs of tokens (:mod:`quarry_dagster.dedup.tokens`), hashed the same on every machine.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from quarry_dagster.dedup import tokens

VERSION = f"sketches-4/{tokens.VERSION}"
"""Changes whenever the same text would give another sketch."""

SKETCH_SHINGLE = 5
"""Tokens in a shingle of the sketch: more than where texts are compared, so that stock phrases join no two texts."""
SAMPLE_RATE = 16
"""One of so many shingles is sampled (FracMinHash, Irber et al. 2022): about 64 of a 1,000-word text."""
SKETCH_MIN = 24
"""A short text's sketch is filled up with its smallest hashes to this many."""

BITS = 48
"""Bits of a number in a sketch."""
SAMPLED = 2 ** (BITS - 1)
"""Numbers in a sketch below this are of sampled shingles, others fill it up."""
_LIMIT = np.uint64(2**64 // SAMPLE_RATE)
_UNSHARED = np.uint64(64 - (BITS - 1) - (SAMPLE_RATE - 1).bit_length())
"""Bits that are dropped: those that are left stand below the ones that are 0 in every sampled hash."""


def shingles(texts: Sequence[str], n: int) -> list[np.ndarray]:
    """The shingles of each text in order of the text: uint64 of shape (tokens - n + 1,), empty below n tokens."""
    found, counts = tokens.tokens(texts)
    grams, ends = tokens.grams(found.hashes, n), np.cumsum(counts)
    spans = zip(ends.tolist(), counts.tolist(), strict=True)
    return [grams[end - count : max(end - count, end - n + 1)] for end, count in spans]


def sketches(texts: Sequence[str]) -> list[np.ndarray]:
    """Each text's sample of distinct shingles: sorted uint64 below 2**BITS, the same whatever other texts there are.

    A shingle is in the sample if its hash is below 2**64 / SAMPLE_RATE, so that a part of a text shares its samples
    with the whole; texts with fewer than SKETCH_MIN such hashes are filled up with the next. Of a hash 47 bits are
    kept, and one that says which of the two it is (SAMPLED): at a billion texts with a hundred hashes each, fewer than
    one in a thousand hashes is taken for another one.
    """
    return [_sketch(grams) for grams in shingles(texts, SKETCH_SHINGLE)]


def _sketch(grams: np.ndarray) -> np.ndarray:
    """The sketch of a text with these shingles."""
    sampled = _distinct(grams[grams < _LIMIT] >> _UNSHARED)
    return sampled if len(sampled) >= SKETCH_MIN else _distinct(_numbers(_distinct(grams)[:SKETCH_MIN]))


def _numbers(hashes: np.ndarray) -> np.ndarray:
    """What is kept of hashes: uint64."""
    short = (hashes >> _UNSHARED) & np.uint64(SAMPLED - 1)
    return short | np.where(hashes < _LIMIT, np.uint64(0), np.uint64(SAMPLED))


def _distinct(hashes: np.ndarray) -> np.ndarray:
    """Each once, sorted: np.unique, which puts them in a hash table first, takes many times as long."""
    ordered = np.sort(hashes)
    is_first = np.ones(len(ordered), np.bool_)
    np.not_equal(ordered[1:], ordered[:-1], out=is_first[1:])
    return ordered[is_first]
