"""The directions that a corpus' vectors are outlined in (:mod:`quarry_dagster.index.outlines`).

They say what is read, never what is found, so they may be of any age: they are made of a sample of the vectors, and
kept until the corpus has outgrown it. Then all outlines are made anew.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from quarry_dagster.index import OUTLINE_WIDTH, SAMPLE, directions
from quarry_dagster.stages.vectors import read_vectors
from quarry_dagster.store import Segment, Snapshot, Store

FOLDER = "deduped_corpus/directions"
_OUTGROWN = 4
"""So many times the vectors that there were when the directions were made, up to a full sample."""


@dataclass(frozen=True)
class Directions:
    """Directions in the vectors of a model, float32 of shape (dim, directions), and how many vectors there were."""

    path: str
    model: str
    made_of: int
    array: np.ndarray

    @property
    def record(self) -> dict[str, Any]:
        """What a snapshot's manifest says of them."""
        return {"path": self.path, "model": self.model, "made_of": self.made_of, "dim": len(self.array)}


def current(store: Store, published: Snapshot | None, vectors: dict[str, Segment], model: str) -> Directions | None:
    """The directions of the published corpus, or others where it has none for this model, or has outgrown them.

    `vectors` are the segments that the next snapshot is made from; without a vector in them there are no directions.

    Raises:
        StoreError: their file is damaged.
    """
    known = published.manifest.get("directions") if published else None
    if published and known and known["model"] == model and store.files.exists(known["path"]):
        new = (s.metadata["rows"] for p, s in vectors.items() if p not in published.manifest["sketches"])
        if min(published.manifest["documents"] + sum(new), SAMPLE) < _OUTGROWN * known["made_of"]:
            return Directions(known["path"], model, known["made_of"], _read(store, known["path"], known["dim"]))
    return _made(store, vectors, model)


def prune(store: Store, snapshots: list[Snapshot]) -> None:
    """Delete all that these snapshots do not name."""
    named = {known["path"] for s in snapshots if (known := s.manifest.get("directions"))}
    store.files.delete(sorted({*store.files.list(FOLDER)} - named))


def _made(store: Store, vectors: dict[str, Segment], model: str) -> Directions | None:
    segments = [s for s in vectors.values() if s.metadata["rows"]]
    if not segments:
        return None
    rows = sum(s.metadata["rows"] for s in segments)
    step = -(-rows // SAMPLE)
    array = directions(np.concatenate([read_vectors(store, s)[1][::step].copy() for s in segments]), OUTLINE_WIDTH)
    path = _path(array.tobytes())
    with store.files.create(path) as f:
        f.write(array.tobytes())
    return Directions(path, model, min(rows, SAMPLE), array)


def _read(store: Store, path: str, dim: int) -> np.ndarray:
    with store.files.open(path) as f:
        content = f.read()
    if _path(content) != path:  # outlines along other directions would not tell what is near
        raise store.files.damaged(path, "its content is not what its name says")
    return np.frombuffer(content, np.float32).reshape(dim, -1)


def _path(content: bytes) -> str:
    return f"{FOLDER}/{hashlib.sha256(content).hexdigest()[:32]}"
