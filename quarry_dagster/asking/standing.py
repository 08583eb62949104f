"""The sketches of a corpus' texts, ready to be asked by hash: which texts are candidates for one that comes.

Texts are numbered in the order of keeping, as where a corpus is decided on. Which of them make a pair is said by
:mod:`quarry_dagster.dedup.candidates` alone; here are the hashes that it needs, without a look at all others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import polars as pl

from quarry_dagster.asking import mapped
from quarry_dagster.dedup import candidates

STEP = 4
"""Numbers from one standing text to the next in :class:`Changed`: two texts that come find room between any two."""
BEFORE = 2
"""So many of these stand before a standing text."""


@dataclass(frozen=True)
class Standing:
    """The sketches of all texts."""

    hashes: np.ndarray
    """All hashes, sorted: uint64."""
    texts: np.ndarray
    """The text that has each: uint32."""
    own: np.ndarray
    """The hashes of one text after the other, in any order of texts: uint64."""
    starts: np.ndarray
    """By text, where its own begin: int64."""
    lengths: np.ndarray
    """By text, how many they are: int64."""
    sizes: np.ndarray
    """By text, the size by which a share of common hashes is measured: int64."""

    @classmethod
    def write(cls, folder: Path, sketches: candidates.Sketches) -> None:
        """Write the sketches of texts that are numbered from 0 on."""
        count = len(sketches.texts)
        lengths, starts, sizes = (np.zeros(count, np.int64) for _ in range(3))
        each = np.diff(sketches.ends, prepend=0)
        lengths[sketches.texts] = each
        starts[sketches.texts] = sketches.ends - each
        sizes[sketches.texts] = sketches.sizes()["size"].to_numpy()
        mapped.write(folder, {"own": sketches.hashes, "starts": starts, "lengths": lengths, "sizes": sizes})
        mapped.write_by_hash(folder, sketches.hashes, np.repeat(sketches.texts, each))

    @classmethod
    def read(cls, folder: Path) -> Self:
        """What :meth:`write` wrote."""
        names = ("by_hash_hashes", "by_hash_texts", "own", "starts", "lengths", "sizes")
        return cls(*(mapped.read(folder, name) for name in names))

    def sketch(self, text: int) -> np.ndarray:
        """The hashes of a text: uint64, sorted."""
        start = int(self.starts[text])
        return np.array(self.own[start : start + int(self.lengths[text])])

    def holders(self, hashes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The texts that have some of these distinct hashes: ``(places, texts)``, a row for each that a text has.

        `places` (int64, ascending) say where in `hashes` it stands; of one hash the texts (uint32) ascend.
        """
        first = np.searchsorted(self.hashes, hashes, "left")
        number = np.searchsorted(self.hashes, hashes, "right") - first
        rows = np.arange(number.sum()) + np.repeat(first - (np.cumsum(number) - number), number)
        return np.repeat(np.arange(len(hashes)), number), np.array(self.texts[rows])

    def partners(self, sketch: np.ndarray) -> np.ndarray:
        """The texts that are candidates for a text with this sketch which comes behind all: uint32, ascending."""
        places, texts = self.holders(sketch)
        if not len(texts):
            return texts
        is_head = _rank(places) < candidates.LIMIT
        if not is_head.all():  # the others count only where a head of some hash has them as well
            wanted = is_head | np.isin(texts, texts[is_head])
            places, texts = places[wanted], texts[wanted]
        there, numbers = np.unique(texts, return_inverse=True)
        mine = len(there)
        found = {
            "text": np.concatenate([numbers, np.full(len(sketch), mine)]).astype(np.uint32),
            "hash": np.concatenate([places, np.arange(len(sketch))]).astype(np.uint32),
        }
        sizes = {"text": np.arange(mine + 1), "size": np.append(self.sizes[there], size_of(sketch))}
        wanted = pl.Series([mine], dtype=pl.UInt32)
        pairs = candidates.sketch_pairs(wanted, pl.DataFrame(found, candidates.HASHES), pl.DataFrame(sizes))
        return there[np.sort(pairs["left"].to_numpy())]


def size_of(sketch: np.ndarray) -> int:
    """The size of a sketch by which a share of common hashes is measured."""
    one = candidates.Sketches(np.zeros(1, np.uint32), np.array([len(sketch)]), sketch)
    return int(one.sizes()["size"][0])


def _rank(places: np.ndarray) -> np.ndarray:
    """Of ascending numbers, how many equal ones stand before each."""
    return np.arange(len(places)) - np.searchsorted(places, places)


class Changed:
    """The sketches of a corpus' texts and of a few that come, as :func:`candidates.by_sketch` asks for them.

    A standing text has the number ``STEP * text + BEFORE``; those that come have numbers between, in the order of
    keeping.
    """

    def __init__(self, standing: Standing, came: Mapping[int, np.ndarray]) -> None:
        """`came`: the sketches of the texts that come, by their numbers."""
        self._standing = standing
        self._came = came
        self._seen: set[int] = set()

    def sharing(self, wanted: pl.Series) -> pl.DataFrame:
        """As :meth:`candidates.Sketches.sharing`; hashes of one text alone are among them, and make no pair."""
        asked = [np.empty(0, np.uint64), *map(self._sketch, wanted.to_list())]
        hashes = np.unique(np.concatenate(asked))
        places, texts = self._standing.holders(hashes)
        rows = [(places, texts.astype(np.int64) * STEP + BEFORE)]
        for number, sketch in self._came.items():
            at = np.flatnonzero(np.isin(hashes, sketch))
            rows.append((at, np.full(len(at), number)))
        of_hash, of_text = (np.concatenate(each) for each in zip(*rows, strict=True))
        self._seen.update(np.unique(of_text).tolist())
        return pl.DataFrame({"text": of_text.astype(np.uint32), "hash": of_hash.astype(np.uint32)}, candidates.HASHES)

    def sizes(self) -> pl.DataFrame:
        """As :meth:`candidates.Sketches.sizes`, of the texts that share a hash with one that was asked for."""
        numbers = sorted(self._seen | self._came.keys())
        sizes = [size_of(self._came[n]) if n in self._came else int(self._standing.sizes[n // STEP]) for n in numbers]
        return pl.DataFrame({"text": numbers, "size": sizes}, {"text": pl.UInt32, "size": pl.Int64})

    def _sketch(self, number: int) -> np.ndarray:
        return self._came[number] if number in self._came else self._standing.sketch(number // STEP)
