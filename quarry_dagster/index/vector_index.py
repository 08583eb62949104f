"""The index over all vectors: shards that never change, searched as one.

What is new becomes a shard of its own and what left is passed over, so that a change costs what it is; now and then
small shards and those with much passed over are built anew as one, as in a log-structured merge tree (O'Neil et al.
1996). So every type can remove, and none is trained on a corpus that has become another.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import reduce

import numpy as np

from quarry_dagster.gpu import faiss_gpus
from quarry_dagster.index.exact import merge
from quarry_dagster.index.shard import LOSSY, IndexType, Shard, choose_type
from quarry_dagster.profiles.settings import Index

_GONE_SHARE = 0.2
"""A shard is built anew when more than this share of it is passed over."""


@dataclass(frozen=True)
class Size:
    """A shard as planning sees it: its type, the vectors it was built with, and how many of them are still wanted."""

    kind: IndexType
    built: int
    wanted: int


def plan(shards: Sequence[Size], fresh: int, settings: Index, capacity: int) -> list[int]:
    """Which shards stay as they are (their positions) when `fresh` vectors come; the others are built anew with them.

    One that stays is of the type for its size, mostly wanted, and more than twice what is built beside it: so a vector
    is built again only a few times, and shards are few. None is to become larger than `capacity` vectors.
    """
    stay, pending = [], fresh
    for i, shard in enumerate(shards):
        sound = shard.kind == choose_type(settings, shard.built) and shard.wanted >= (1 - _GONE_SHARE) * shard.built
        if sound:
            stay.append(i)
        else:
            pending += shard.wanted
    while stay and pending > 0 and shards[stay[-1]].built <= 2 * pending and shards[stay[-1]].built < capacity:
        pending += shards[stay.pop()].wanted
    return stay


def spread(shards: Sequence[Shard]) -> list[Shard]:
    """The same shards, in their order, over all GPUs that FAISS can use: the largest first, each where least is.

    Raises:
        ConfigError: as :meth:`Shard.on_gpu`.
    """
    held = [0] * max(1, faiss_gpus())
    placed: dict[int, Shard] = {}
    for i in sorted(range(len(shards)), key=lambda i: -len(shards[i])):
        gpu = held.index(min(held))
        placed[i] = shards[i].on_gpu(gpu)
        held[gpu] += len(shards[i])
    return [placed[i] for i in range(len(shards))]


class VectorIndex:
    """Shards searched as one: a vector's position is its row, counted through the shards in their order.

    Args:
        shards: in the order of their positions.
        removed: positions that are not found, int64.
    """

    def __init__(self, shards: Sequence[Shard], removed: np.ndarray) -> None:
        self._shards = list(shards)
        self._starts = np.cumsum([0, *(len(s) for s in shards)])
        self._passed_over = removed = np.sort(removed)
        cuts = np.searchsorted(removed, self._starts)
        self._removed = [removed[a:b] - start for a, b, start in zip(cuts, cuts[1:], self._starts, strict=False)]

    def __len__(self) -> int:
        """Vectors that can be found."""
        return int(self._starts[-1]) - sum(map(len, self._removed))

    def without(self, more: np.ndarray) -> VectorIndex:
        """The same shards, of which these positions (int64) are not found either."""
        return VectorIndex(self._shards, np.union1d(self._passed_over, more))

    @property
    def is_lossy(self) -> bool:
        """Whether some vectors are held rounded, so that what is found is worth ranking again."""
        return any(s.kind in LOSSY for s in self._shards)

    def search(self, queries: np.ndarray, k: int, settings: Index) -> tuple[np.ndarray, np.ndarray]:
        """The k nearest: ``(positions, cosines)``, int64 and float32 of shape (n, k), best first; -1 where fewer are.

        `queries` are unit vectors, float32 of shape (n, dim).
        """
        each = list(zip(self._shards, self._starts, self._removed, strict=False))
        places = {shard.gpu for shard in self._shards}
        parts = [[one for one in each if one[0].gpu == place] for place in places] or [[]]

        def search(part: list[tuple[Shard, np.int64, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
            best = np.full((len(queries), k), -np.inf, np.float32)
            positions = np.full((len(queries), k), -1, np.int64)
            for shard, start, removed in part:
                rows, cosines = shard.search(queries, k, settings, removed)
                there = rows >= 0
                found = np.where(there, rows + start, -1), np.where(there, cosines, -np.inf)
                positions, best = merge(positions, best, *found)
            return positions, best

        if len(parts) == 1:
            return search(parts[0])
        with ThreadPoolExecutor(len(parts)) as threads:  # GPUs search at the same time
            return reduce(lambda a, b: merge(*a, *b), threads.map(search, parts))
