"""Exact nearest neighbours of a few queries: what an approximate index is measured against."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

Block = tuple[np.ndarray, np.ndarray]


def nearest(queries: np.ndarray, blocks: Iterable[Block], k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest by cosine: ``(ids, cosines)``, int64 and float32 of shape (n, k), best first; id -1 where fewer.

    `queries` are unit vectors, float32 of shape (n, dim); each block is ``(ids, vectors)``, int64 of shape (m,) and
    float32 of shape (m, dim). Holds one block's similarities at a time.
    """
    best = np.full((len(queries), k), -np.inf, np.float32)
    ids = np.full((len(queries), k), -1, np.int64)
    for block_ids, vectors in blocks:
        cosines = queries @ vectors.T
        if len(block_ids) > k:
            top = np.argpartition(cosines, -k, axis=1)[:, -k:]
            cosines, top_ids = np.take_along_axis(cosines, top, axis=1), block_ids[top]
        else:
            top_ids = np.broadcast_to(block_ids, cosines.shape)
        ids, best = merge(ids, best, top_ids, cosines)
    return ids, best


def merge(
    ids: np.ndarray, cosines: np.ndarray, more_ids: np.ndarray, more: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The best of two lists of neighbours for each query, as many as the first has: ``(ids, cosines)``, best first."""
    both_ids, both = np.concatenate([ids, more_ids], axis=1), np.concatenate([cosines, more], axis=1)
    order = np.argsort(-both, axis=1, kind="stable")[:, : ids.shape[1]]
    return np.take_along_axis(both_ids, order, axis=1), np.take_along_axis(both, order, axis=1)
