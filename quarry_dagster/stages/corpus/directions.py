"""The directions along which the vectors of a corpus are outlined (:mod:`quarry_dagster.index.outlines`).

Outlines tell which vectors are read, never which pairs are found. So directions need not follow every change: they are
made from a sample of the vectors, and stay until the corpus has outgrown it. Then all outlines are made anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from quarry_dagster.digests import digest
from quarry_dagster.index import OUTLINE_WIDTH, SAMPLE, directions
from quarry_dagster.stages.vectors import read_vectors
from quarry_dagster.store import Corpus, DirectionsFile, Store, VectorSegment

FOLDER = "deduped_corpus/directions"
_OUTGROWN = 4
"""A corpus has outgrown its directions when it has so many times the vectors that they were made from."""


@dataclass(frozen=True)
class Directions:
    """Directions in the vectors of a model: float32 of shape (dim, OUTLINE_WIDTH), and the file that holds them."""

    file: DirectionsFile
    array: np.ndarray


def current(
    store: Store, published: Corpus | None, vectors: Mapping[str, VectorSegment], model: str
) -> Directions | None:
    """The directions to outline the vectors of the next corpus along; None where there is no vector.

    They are those of the published corpus, or new ones where that has none for this model, or has outgrown them.
    `vectors` are the segments that the next corpus is made from.

    Raises:
        StoreError: the file of the published directions is damaged.
    """
    known = published.directions if published else None
    if published and known and known.model == model:
        new = (segment.notes.rows for partition, segment in vectors.items() if partition not in published.sketches)
        if min(published.decided + sum(new), SAMPLE) < _OUTGROWN * known.made_of:
            return Directions(known, _read(store, known))
    return _made(store, vectors, model)


def _made(store: Store, vectors: Mapping[str, VectorSegment], model: str) -> Directions | None:
    """New directions, from a sample of the vectors."""
    segments = [segment for segment in vectors.values() if segment.notes.rows]
    if not segments:
        return None
    rows = sum(segment.notes.rows for segment in segments)
    step = -(-rows // SAMPLE)
    array = directions(np.concatenate([read_vectors(store, s)[1][::step].copy() for s in segments]), OUTLINE_WIDTH)
    path = _path(array.tobytes())
    with store.files.create(path) as f:
        f.write(array.tobytes())
    return Directions(DirectionsFile(path, model, min(rows, SAMPLE), len(array)), array)


def _read(store: Store, file: DirectionsFile) -> np.ndarray:
    content = store.files.content(file.path)
    if _path(content) != file.path:  # outlines along other directions would not tell what is near
        raise store.files.damaged(file.path, "its content is not what its name says")
    return np.frombuffer(content, np.float32).reshape(file.dim, -1)


def _path(content: bytes) -> str:
    return f"{FOLDER}/{digest(content)}"
