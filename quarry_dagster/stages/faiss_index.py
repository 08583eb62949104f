"""`faiss_index`: one vector for every distinct text of all current partitions, plus a manifest of what is in it.

The published index is compared with the partitions that exist now, so new, changed and vanished partitions are
all handled, whatever triggered the run and whatever was missed before. What left is removed and what came is
added; the index is built anew only when its type changes or it has outgrown itself.
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import polars as pl

from quarry_dagster.embed import vector_id
from quarry_dagster.errors import QuarryError
from quarry_dagster.index import VectorIndex, choose_type, vector_keys
from quarry_dagster.profiles import HardwareProfile, Index
from quarry_dagster.progress import track
from quarry_dagster.stages.embeddings import stack
from quarry_dagster.stages.report import StageReport
from quarry_dagster.store import Segment, Snapshot, Store
from quarry_dagster.store.schemas import embeddings_schema

_INDEX = "index.faiss"
_MEMBERS = "members.parquet"
_BLOCK = 8192


class StalePartitionsError(QuarryError):
    """Some partitions were embedded under another model than the profile names."""


def refresh(
    store: Store,
    partitions: Sequence[str],
    profile: HardwareProfile,
    *,
    compact: bool = False,
    anew: bool = False,
) -> StageReport:
    """Bring the index in line with the embeddings of `partitions` (all that exist).

    `compact` builds it from nothing where removals or growth left something in it that a new one would not have.
    `anew` does so in any case and keeps no earlier snapshot, so that nothing of a removed vector is left.

    Raises:
        StalePartitionsError: a partition's vectors are of another model; the message names the partitions.
        IndexCorruptError: the published index is damaged.
        StoreError: the store cannot be written.
    """
    with store.files.lock("corpus"):
        return _refresh(store, partitions, profile, compact, anew)


def _refresh(
    store: Store, partitions: Sequence[str], profile: HardwareProfile, compact: bool, anew: bool
) -> StageReport:
    start = time.monotonic()
    model = vector_id(profile.embedding)
    existing = set(partitions)
    segments = {p: s for p, s in store.embeddings.segments().items() if p in existing and s.metadata["rows"]}
    stale = [p for p, s in segments.items() if s.metadata["model"] != model]
    if stale:
        raise StalePartitionsError(
            f"{len(stale)} partitions hold vectors of another model than {model!r}: materialize embeddings for "
            f"{', '.join(stale[:5])}{' ...' if len(stale) > 5 else ''}"
        )
    paths = {p: s.path for p, s in segments.items()}
    published = store.faiss_index.current()
    manifest = published.manifest if published else {}
    anew_or_compact = anew or (compact and _has_leftovers(manifest))
    wanted_type = choose_type(profile.index, manifest.get("vectors", 0))
    if published and not anew_or_compact and manifest["partitions"] == paths and manifest["kind"] == wanted_type:
        report = StageReport(rows=manifest["vectors"], outcomes=Counter({"unchanged": manifest["vectors"]}))
        report.seconds = time.monotonic() - start
        return report

    want = texts_of(store, list(segments.values()))
    kind = choose_type(profile.index, want.height)
    have = pl.DataFrame(schema={"text_digest": pl.String})
    index = None
    if published and not anew_or_compact and manifest["model"] == model and manifest["vectors"] and want.height:
        index = load(published)
        if index.outgrown(kind, want.height):
            index = None
        else:
            have = members(published)
    gone = have.join(want, on="text_digest", how="anti")
    fresh = want.join(have, on="text_digest", how="anti")
    if index is None and want.height:
        index = VectorIndex.create(kind, _training(store, segments, kind, want), want.height)
    if index is not None:
        index.remove(vector_keys(gone["text_digest"]))
        with track("faiss_index", fresh.height, "vectors") as advance:
            # What is new stands in segments that the published index has not seen: look there first.
            seen = set(manifest.get("partitions", {}).values())
            for digests, vectors in vectors_of(store, sorted(segments.values(), key=lambda s: s.path in seen), fresh):
                index.add(vector_keys(digests), vectors)
                advance(len(vectors))
    with store.faiss_index.publish(keep_previous=not anew) as (snapshot, new):
        data = index.to_bytes() if index is not None else np.empty(0, np.uint8)
        with store.files.create(snapshot.path(_INDEX)) as f:
            f.write(data.data)
        store.files.write_frame(snapshot.path(_MEMBERS), want)
        new |= {
            "kind": kind,
            "model": model,
            "dim": index.dim if index is not None else 0,
            "vectors": want.height,
            "documents": sum(int(s.metadata["rows"]) for s in segments.values()),
            "trained_on": index.trained_on if index is not None else 0,
            "dead": sorted(index.dead) if index is not None else [],
            "sha256": hashlib.sha256(data.data).hexdigest(),
            "bytes": len(data),
            "partitions": paths,
        }
    report = StageReport(rows=want.height, worked=fresh.height + gone.height, written=1)
    report.outcomes = Counter({"added": fresh.height, "removed": gone.height})
    report.seconds = time.monotonic() - start
    return report


def _has_leftovers(manifest: dict[str, Any]) -> bool:
    """Whether a published index holds removed vectors, or was trained on fewer than a new one would be."""
    if not manifest:
        return False
    return (
        bool(manifest["dead"])
        or VectorIndex.training_size(manifest["kind"], manifest["vectors"]) > manifest["trained_on"]
    )


def behind(store: Store) -> bool:
    """Whether the published index is not made from the embeddings as they are now."""
    batches = store.batches.segments()
    current = {p: s.path for p, s in store.embeddings.segments().items() if p in batches and s.metadata["rows"]}
    published = store.faiss_index.current()
    return current != (published.manifest["partitions"] if published else {})


def load(snapshot: Snapshot) -> VectorIndex:
    """The published index, checked against its manifest.

    Raises:
        IndexCorruptError: the file is not the one that was published.
    """
    manifest = snapshot.manifest
    with snapshot.files.open(snapshot.path(_INDEX)) as f:
        data = np.frombuffer(f.read(), np.uint8)
    return VectorIndex.from_bytes(
        data,
        kind=manifest["kind"],
        dim=manifest["dim"],
        trained_on=manifest["trained_on"],
        dead=set(manifest["dead"]),
        sha256=manifest["sha256"],
    )


def members(snapshot: Snapshot) -> pl.DataFrame:
    """The texts in a published index: column text_digest, sorted."""
    with snapshot.files.open(snapshot.path(_MEMBERS)) as f:
        return pl.read_parquet(f)


def search(store: Store, query: np.ndarray, k: int, settings: Index) -> list[tuple[str, float]]:
    """The k nearest texts to a unit vector (float32, shape (dim,)): ``(text_digest, cosine)``, best first."""
    snapshot = store.faiss_index.current()
    if snapshot is None or not snapshot.manifest["vectors"]:
        return []
    ids, cosines = load(snapshot).search(query[None], k, settings)
    digests = members(snapshot)["text_digest"]
    digest_of = dict(zip(vector_keys(digests).tolist(), digests, strict=True))
    return [(digest_of[i], float(c)) for i, c in zip(ids[0].tolist(), cosines[0].tolist(), strict=True) if i >= 0]


def texts_of(store: Store, segments: list[Segment]) -> pl.DataFrame:
    """The distinct text digests of these segments, sorted."""
    frames = [store.files.scan([s.path], embeddings_schema(s.metadata["dim"])).select("text_digest") for s in segments]
    empty = pl.LazyFrame(schema={"text_digest": pl.String})
    return pl.concat([empty, *frames]).unique().sort("text_digest").collect()


def vectors_of(store: Store, segments: list[Segment], wanted: pl.DataFrame) -> Iterator[tuple[pl.Series, np.ndarray]]:
    """Each wanted text once with its vector, in blocks."""
    left = wanted
    for segment in segments:
        if left.is_empty():
            return
        found = (
            store.files.scan([segment.path], embeddings_schema(segment.metadata["dim"]))
            .select("text_digest", "embedding")
            .join(left.lazy(), on="text_digest", how="semi")
            .unique("text_digest", keep="any")
            .collect()
            .sort("text_digest")
        )
        left = left.join(found, on="text_digest", how="anti")
        for block in found.iter_slices(_BLOCK):
            yield block["text_digest"], stack(block["embedding"])


def _training(store: Store, segments: dict[str, Segment], kind: str, want: pl.DataFrame) -> np.ndarray:
    """Vectors to train on: those of evenly spaced digests, which is a random sample that never changes."""
    size = VectorIndex.training_size(kind, want.height)  # pyright: ignore[reportArgumentType]
    if not size:
        return np.empty((0, int(next(iter(segments.values())).metadata["dim"])), np.float32)
    sample = want.gather_every(max(1, want.height // size))
    return np.concatenate([v for _, v in vectors_of(store, list(segments.values()), sample)])
