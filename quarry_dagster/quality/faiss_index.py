"""`faiss_index`: holds every current text once, and finds what an exact search finds."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl

from quarry_dagster.errors import IndexCorruptError
from quarry_dagster.index import nearest, vector_keys
from quarry_dagster.profiles import HardwareProfile
from quarry_dagster.quality.contract import missing
from quarry_dagster.quality.finding import Finding
from quarry_dagster.stages import faiss_index as stage
from quarry_dagster.store import Snapshot, Store

_K = 10
_TIES = 1e-5
_BOUNDS = {
    "IndexFlatIP": 0.99,
    "IndexHNSWFlat": 0.9,
    "IndexIVFFlat": 0.9,
    "IndexIVFScalarQuantizer": 0.9,
    "IndexIVFPQ": 0.4,
}
"""recall@10 below which an index of this type is broken"""
_SEED = 0


def contract(store: Store, profile: HardwareProfile) -> Finding:
    """The file is the one that was published, and holds a vector for every distinct text of the embeddings."""
    snapshot = store.faiss_index.current()
    if snapshot is None:
        return Finding(False, "there is no index yet: materialize faiss_index")
    manifest = snapshot.manifest
    members = stage.members(snapshot)
    segments = [store.embeddings.at(p) for p in manifest["partitions"].values()]
    found = missing("faiss_index", stage.texts_of(store, segments), members, "text_digest")
    held = 0
    try:
        held = len(stage.load(snapshot)) if manifest["vectors"] else 0
    except IndexCorruptError as e:
        found.append(str(e))
    else:
        if held != members.height or held != manifest["vectors"]:
            found.append(
                f"faiss_index: holds {held:,} vectors, its manifest says {manifest['vectors']:,}, "
                f"its list of texts {members.height:,}"
            )
    waiting = stage.behind(store)
    return Finding.of_breaches(found, f"{held:,} vectors", vectors=held, behind_embeddings=int(waiting))


def recall_at_10(store: Store, profile: HardwareProfile) -> Finding:
    """recall@10 of the index on sampled texts: the share of each text's ten exact nearest that the index finds."""
    snapshot = store.faiss_index.current()
    if snapshot is None or snapshot.manifest["vectors"] < 2:
        return Finding(True, "fewer than two texts")
    members = stage.members(snapshot)
    sample = members.sample(min(profile.checks.sample, members.height), seed=_SEED).sort("text_digest")
    segments = [store.embeddings.at(p) for p in snapshot.manifest["partitions"].values()]
    blocks = [(vector_keys(digests), vectors) for digests, vectors in stage.vectors_of(store, segments, sample)]
    ids = np.concatenate([i for i, _ in blocks])
    queries = np.concatenate([v for _, v in blocks])
    # A text is its own nearest neighbour: that says nothing. Whatever ties with the tenth is as good as the tenth.
    k = min(_K, members.height - 1)
    on_cpu = profile.index.model_copy(update={"use_gpu_faiss": False})  # the same index, on any machine
    found, _ = stage.load(snapshot).search(queries, k + 1, on_cpu)
    vectors: dict[int, np.ndarray] = {}  # of what was found
    exact, cosines = nearest(queries, _everything(store, snapshot, members, set(found.flat), vectors), k + 1)
    recalls = []
    for query, own, want, cosine, got in zip(queries, ids.tolist(), exact, cosines, found, strict=True):
        tenth = cosine[want != own][k - 1]
        hits = [i for i in got.tolist() if i != own and i in vectors][:k]
        recalls.append(sum(float(query @ vectors[i]) >= tenth - _TIES for i in hits) / k)
    recall = float(np.mean(recalls))
    set_bound = profile.checks.min_recall_at_10
    bound = _BOUNDS[snapshot.manifest["kind"]] if set_bound is None else set_bound
    return Finding(
        recall >= bound,
        f"recall@10 {recall:.3f} over {len(recalls):,} sampled texts ({snapshot.manifest['kind']})",
        {"recall_at_10": round(recall, 4), "bound": bound, "queries": len(recalls)},
    )


def _everything(
    store: Store, snapshot: Snapshot, members: pl.DataFrame, wanted: set[int], kept: dict[int, np.ndarray]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """All vectors in blocks, by id; on the way those of the wanted ids are put into `kept`."""
    segments = [store.embeddings.at(p) for p in snapshot.manifest["partitions"].values()]
    for digests, vectors in stage.vectors_of(store, segments, members):
        ids = vector_keys(digests)
        kept |= {i: vectors[at] for at, i in enumerate(ids.tolist()) if i in wanted}
        yield ids, vectors
