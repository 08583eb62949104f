"""`faiss_index`: holds every current text once, and finds what an exact search finds.

Why so: "Recall is judged by cosine, not by name" in docs/decisions.md.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl

from quarry_dagster.checks.contract import missing
from quarry_dagster.checks.finding import Finding
from quarry_dagster.errors import IndexCorruptError
from quarry_dagster.index import nearest
from quarry_dagster.profiles.settings import HardwareProfile
from quarry_dagster.search import Searcher
from quarry_dagster.search.published import load, members
from quarry_dagster.stages import faiss_index as stage
from quarry_dagster.stages.vectors import texts_of, vectors_of
from quarry_dagster.store import Index, Store

_K = 10
_TIES = 1e-5
_EXACT_BOUND, _BOUND = 0.99, 0.9
"""recall@10 below which an index is broken: an exact one, any other"""
_SEED = 0


def contract(store: Store, profile: HardwareProfile) -> Finding:
    """The files are those that were published, and hold a vector for every distinct text of the embeddings."""
    index = store.faiss_index.current()
    if index is None:
        return Finding(False, "there is no index yet: materialize faiss_index")
    segments = store.embeddings.segments_at(index.partitions).values()
    found: list[str] = []
    held = 0
    try:
        listed = members(index)
        found += missing("faiss_index", texts_of(store, segments).to_frame(), listed, "text_digest")
        held = len(load(index))
    except IndexCorruptError as e:
        found.append(str(e))
    else:
        if held != listed.height or held != index.vectors:
            found.append(
                f"faiss_index: holds {held:,} vectors, its manifest says {index.vectors:,}, "
                f"its list of texts {listed.height:,}"
            )
    waiting = stage.behind(store)
    return Finding.of_breaches(found, f"{held:,} vectors", vectors=held, behind_embeddings=int(waiting))


def recall_at_10(store: Store, profile: HardwareProfile) -> Finding:
    """recall@10 of the index on sampled texts: the share of each text's ten exact nearest that the index finds."""
    index = store.faiss_index.current()
    if index is None or index.vectors < 2:
        return Finding(True, "fewer than two texts")
    try:
        on_cpu = profile.index.model_copy(update={"use_gpu_faiss": False})  # the same index, on any machine
        return _recall(store, profile, Searcher(store, profile.model_copy(update={"index": on_cpu}), newest=True))
    except IndexCorruptError as e:
        return Finding(False, str(e))


def _recall(store: Store, profile: HardwareProfile, searcher: Searcher) -> Finding:
    index, listed = searcher.index, searcher.texts
    sample = listed.sample(min(profile.checks.sample, listed.height), seed=_SEED)["text_digest"].sort()
    segments = store.embeddings.segments_at(index.partitions).values()
    blocks = list(vectors_of(store, segments, sample))
    own, queries = pl.concat([d for d, _ in blocks]), np.concatenate([v for _, v in blocks])
    # A text is its own nearest neighbour: that says nothing. Whatever ties with the tenth is as good as the tenth.
    k = min(_K, listed.height - 1)
    found = [[digest for digest, _ in neighbours] for neighbours in searcher.nearest(queries, k + 1)]
    vectors = dict.fromkeys((d for f in found for d in f), np.zeros(queries.shape[1], np.float32))
    number_of = dict(zip(listed["text_digest"], range(listed.height), strict=True))
    exact, cosines = nearest(queries, _everything(store, index, number_of, vectors), k + 1)
    recalls = []
    for query, text, want, cosine, got in zip(queries, own, exact, cosines, found, strict=True):
        tenth = cosine[want != number_of[text]][k - 1]
        hits = [d for d in got if d != text][:k]
        recalls.append(sum(float(query @ vectors[d]) >= tenth - _TIES for d in hits) / k)
    recall = float(np.mean(recalls))
    set_bound = profile.checks.min_recall_at_10
    bound = (_EXACT_BOUND if index.kind == "IndexFlatIP" else _BOUND) if set_bound is None else set_bound
    return Finding(
        recall >= bound,
        f"recall@10 {recall:.3f} over {len(recalls):,} sampled texts ({index.kind})",
        {"recall_at_10": round(recall, 4), "bound": bound, "queries": len(recalls)},
    )


def _everything(
    store: Store, index: Index, number_of: dict[str, int], kept: dict[str, np.ndarray]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """All vectors in blocks, by number; on the way those of the texts in `kept` are put there."""
    segments = store.embeddings.segments_at(index.partitions).values()
    for digests, vectors in vectors_of(store, segments, pl.Series(list(number_of), dtype=pl.String)):
        # Copies: a row that is a part of its block would keep all of it in memory.
        kept |= {d: vectors[at].copy() for at, d in enumerate(digests) if d in kept}
        yield np.array([number_of[d] for d in digests], np.int64), vectors
