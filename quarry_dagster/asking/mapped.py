"""Arrays in a folder of their own, mapped into memory: processes share them, and the system may take them out of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import polars as pl

from quarry_dagster.dedup.shingles import BITS

_SORTED_AT_ONCE = 8_000_000
"""Hashes that are in memory at once while they are sorted."""


def write(folder: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays under their names."""
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array, allow_pickle=False)


def read(folder: Path, name: str) -> np.ndarray:
    """The array of a name, mapped."""
    return np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)


def write_frame(path: Path, frame: pl.DataFrame) -> None:
    """Write a frame so that it can be mapped."""
    frame.rechunk().write_ipc(path, compression="uncompressed", compat_level=pl.CompatLevel.newest())


def frame(path: Path) -> pl.DataFrame:
    """The frame of a file, mapped."""
    import pyarrow as pa

    found = pl.from_arrow(pa.ipc.open_file(pa.memory_map(str(path))).read_all(), rechunk=False)
    assert isinstance(found, pl.DataFrame)
    return found


@dataclass(frozen=True)
class ByNumber:
    """Rows by a number that several may have: those of number i are `rows[starts[i] : starts[i + 1]]`, ascending."""

    starts: np.ndarray
    rows: np.ndarray

    @classmethod
    def write(cls, folder: Path, name: str, numbers: np.ndarray, count: int) -> None:
        """Write which rows of `numbers` have each of the numbers below `count`."""
        starts = np.zeros(count + 1, np.int64)
        np.cumsum(np.bincount(numbers, minlength=count), out=starts[1:])
        rows = np.argsort(numbers, kind="stable").astype(np.uint32)
        write(folder, {f"{name}_starts": starts, f"{name}_rows": rows})

    @classmethod
    def read(cls, folder: Path, name: str) -> Self:
        """What :meth:`write` wrote."""
        return cls(read(folder, f"{name}_starts"), read(folder, f"{name}_rows"))

    def of(self, number: int) -> np.ndarray:
        """The rows of a number."""
        return self.rows[self.starts[number] : self.starts[number + 1]]


@dataclass(frozen=True)
class ByText:
    """Rows by a text: the hashes of the texts, sorted, and the row of each. Two texts may have one hash."""

    hashes: np.ndarray
    rows: np.ndarray

    @classmethod
    def write(cls, folder: Path, name: str, texts: pl.Series) -> None:
        """Write where each text stands; nulls stand nowhere."""
        there = np.flatnonzero(texts.is_not_null().to_numpy())
        hashes = texts.hash().to_numpy()[there]
        order = np.argsort(hashes, kind="stable")
        write(folder, {f"{name}_hashes": hashes[order], f"{name}_rows": there[order].astype(np.uint32)})

    @classmethod
    def read(cls, folder: Path, name: str) -> Self:
        """What :meth:`write` wrote."""
        return cls(read(folder, f"{name}_hashes"), read(folder, f"{name}_rows"))

    def of(self, text: str) -> list[int]:
        """The rows that may have this text, ascending: who asks compares."""
        wanted = np.uint64(pl.Series([text]).hash()[0])
        first, last = (int(np.searchsorted(self.hashes, wanted, side)) for side in ("left", "right"))
        return self.rows[first:last].tolist()


def write_by_hash(folder: Path, hashes: np.ndarray, texts: np.ndarray) -> None:
    """Write the hashes of sketches (uint64) sorted, each with its text (uint32); of one hash the texts ascend."""
    parts = max(1, -(-len(hashes) // _SORTED_AT_ONCE))
    part_of = (hashes >> np.uint64(BITS - 16)).astype(np.uint32) * parts >> 16 if parts > 1 else None
    shape = (len(hashes),)
    sorted_hashes = np.lib.format.open_memmap(folder / "by_hash_hashes.npy", "w+", np.uint64, shape)
    sorted_texts = np.lib.format.open_memmap(folder / "by_hash_texts.npy", "w+", np.uint32, shape)
    end = 0
    for part in range(parts):
        mine = slice(None) if part_of is None else np.flatnonzero(part_of == part)
        some, of = hashes[mine], texts[mine]
        order = np.lexsort((of, some))
        start, end = end, end + len(some)
        sorted_hashes[start:end], sorted_texts[start:end] = some[order], of[order]
    sorted_hashes.flush()
    sorted_texts.flush()
