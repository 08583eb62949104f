"""Hashes of spans, and which of many are alike.

The hash of a span of codes c is the polynomial sum of (c + 1) * B**i modulo 2**64 over its places i, so that the hash
of any span comes from one prefix sum (Karp and Rabin 1987). B is odd and has an inverse: hashes begin at place 0
wherever the span is. Two spans of one text that differ have one hash with a chance of about 2**-64, unless somebody
builds them to: what they would win is a signal that counts a repetition too many.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from quarry_dagster.quality.code_points import Batch, Bools, Hashes, Ints

_BASE = 0x9E3779B97F4A7C15
_INVERSE = pow(_BASE, -1, 1 << 64)
_OF_TEXT = np.uint64(0xD6E8FEB86659FD93)
"""Odd: a text's number times it is added to its hashes, so that texts share none."""


_BITS = 16
"""First bits of a hash by which those that are alone are told from most others."""
_STEP = 1 << 14
"""Powers of which there is a table: of each place below it, and of each multiple of it."""


@cache
def _powers(base: int, n: int) -> Hashes:
    """uint64 [n]: base to the power of 0, 1, 2 ... modulo 2**64."""
    powers = np.full(n, base, np.uint64)
    powers[:1] = 1
    return np.multiply.accumulate(powers)


class _Powers:
    """Powers of a base by their exponents."""

    def __init__(self, base: int, n: int) -> None:
        self.low = _powers(base, _STEP)
        self.high = _powers(pow(base, _STEP, 1 << 64), _STEP)[: n // _STEP + 1]

    def __call__(self, exponents: Ints) -> Hashes:
        return self.low[exponents & (_STEP - 1)] * self.high[exponents >> (_STEP.bit_length() - 1)]


class Hasher:
    """Hashes of spans of a batch's characters, and of words one behind the other."""

    def __init__(self, batch: Batch) -> None:
        n = len(batch.points)
        self._up, self._down = _Powers(_BASE, n), _Powers(_INVERSE, n)
        self._sums = np.zeros(n + 1, np.uint64)
        for step, factor in enumerate(self._up.high):
            begin, end = step * _STEP, min((step + 1) * _STEP, n)
            part = np.cumsum((batch.points[begin:end] + np.uint64(1)) * self._up.low[: end - begin])
            self._sums[begin + 1 : end + 1] = part * factor + self._sums[begin]

    def of_spans(self, begins: Ints, ends: Ints) -> Hashes:
        """uint64: the hash of each span."""
        return (self._sums[ends] - self._sums[begins]) * self._down(begins)

    def of_pairs(self, first: npt.NDArray[np.uint32], second: npt.NDArray[np.uint32]) -> Hashes:
        """uint64: the hash of each two code points."""
        return (first + np.uint64(1)) + (second + np.uint64(1)) * np.uint64(_BASE)

    def joined(self, hashes: Hashes, lengths: Ints) -> tuple[Hashes, Hashes]:
        """uint64 [parts + 1], uint64 [parts]: sums, factors. Parts i to j - 1 joined have the hash
        (sums[j] - sums[i]) * factors[i]."""
        places = np.cumsum(lengths) - lengths
        sums = np.zeros(len(hashes) + 1, np.uint64)
        np.cumsum(hashes * self._up(places), out=sums[1:])
        return sums, self._down(places)


def hash_of(text: str) -> int:
    """The hash that a text's span has."""
    return sum((ord(c) + 1) * pow(_BASE, i, 1 << 64) for i, c in enumerate(text)) % (1 << 64)


class Groups(NamedTuple):
    """Things of which others are like."""

    members: Ints
    """int64: the things that another is like, group by group."""
    begins: Ints
    """int64 [groups]: where each group begins among them."""
    sizes: Ints
    """int64 [groups]."""

    @property
    def numbers(self) -> Ints:
        """int64: the group of each member."""
        return np.repeat(np.arange(len(self.sizes)), self.sizes)


def groups(hashes: Hashes, texts: Ints) -> Groups:
    """Which things have the same hash in the same text (int64 `texts`: the text of each)."""
    keys = hashes + (texts.astype(np.uint64) + np.uint64(1)) * _OF_TEXT
    candidates = _candidates(keys)
    keys = keys[candidates]
    order = np.argsort(keys)
    keys = keys[order]
    same = keys[1:] == keys[:-1]
    like, first = np.zeros(len(keys), np.bool_), np.zeros(len(keys), np.bool_)
    like[1:], first[:-1] = same, same
    first &= ~like
    members = np.flatnonzero(like | first)
    begins = np.flatnonzero(first[members])
    return Groups(candidates[order[members]], begins, np.diff(begins, append=len(members)))


def _candidates(keys: Hashes) -> Ints:
    """int64: the keys that another may be like: all those that are, and few others.

    Sorting keys alone takes a third of the time of sorting and knowing where each was, and most keys are alone.
    """
    ordered = np.sort(keys)
    shift = np.uint64(64 - _BITS)
    marked = np.zeros(1 << _BITS, np.bool_)
    marked[ordered[1:][ordered[1:] == ordered[:-1]] >> shift] = True
    return np.flatnonzero(marked[keys >> shift])


def repeated(hashes: Hashes, lengths: Ints, texts: Ints, n_texts: int) -> tuple[Ints, Ints]:
    """int64 [texts], int64 [texts]: of the things in each text, those that came before, and their characters."""
    found = groups(hashes, texts)
    first = found.members[found.begins]
    again = found.sizes - 1
    count = np.bincount(texts[first], again, n_texts)
    return count.astype(np.int64), np.bincount(texts[first], again * lengths[first], n_texts).astype(np.int64)


def run_bounds(mask: Bools) -> tuple[Ints, Ints]:
    """int64, int64: where each run of True begins, and where it has ended."""
    edges = np.diff(mask.view(np.int8), prepend=0, append=0)
    return np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
