"""`deduped_corpus`: which documents are kept, and for every other one the decision that removed it.

The documents are those whose vectors the published index holds. Only what changed since the last snapshot is compared
with the rest (:mod:`quarry_dagster.stages.corpus.pairs`); the decisions are then drawn anew from all scores.

A snapshot holds no copy of the texts: it names the kept documents and the `extracted_text` segments that they are read
from. It names the layers of its tables as well, which share what did not change with those of the snapshot before.
What a live snapshot names is not deleted.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import polars as pl

from quarry_dagster.dedup import candidates, decide, verify
from quarry_dagster.errors import StoreError
from quarry_dagster.profiles.settings import Deduplication
from quarry_dagster.stages.corpus import directions, pairs, sketches
from quarry_dagster.stages.report import StageReport
from quarry_dagster.store import Snapshot, Store
from quarry_dagster.store.schemas import DEDUP_DECISIONS, KEPT


def refresh(
    store: Store, settings: Deduplication, run_id: str, *, anew: bool = False, gpu: bool = False
) -> StageReport:
    """Bring the corpus in line with the published index.

    `anew` keeps no earlier snapshot, so that nothing of a removed document is left. `gpu` lets a GPU compare vectors,
    where there is one and they are many; the result is the same.

    Raises:
        StoreError: there is no index yet, or the store cannot be written.
    """
    with store.files.lock("corpus"):
        return _refresh(store, settings, run_id, anew, gpu)


def _refresh(store: Store, settings: Deduplication, run_id: str, anew: bool, gpu: bool) -> StageReport:
    start = time.monotonic()
    index = store.faiss_index.current()
    if index is None:
        raise StoreError("there is no faiss_index yet: materialize faiss_index first")
    vectors = {p: store.embeddings.at(path) for p, path in index.manifest["partitions"].items()}
    current = store.extracted_text.segments()
    texts = {p: current[p] for p in vectors if p in current}
    inputs = {
        "extracted_text": {p: s.path for p, s in texts.items()},
        "embeddings": index.manifest["partitions"],
        "settings": settings.model_dump(mode="json"),
        "code": list(decide.RULES),
        "evidence": _evidence_version(settings, index),
    }
    published = store.deduped_corpus.current()
    if published and not anew and published.manifest["inputs"] == inputs:
        report = StageReport(rows=published.manifest["kept"])
        report.outcomes = Counter(published.manifest["outcomes"])
        report.seconds = time.monotonic() - start
        return report

    along = directions.current(store, None if anew else published, vectors, index.manifest["model"])
    tables = pairs.Tables(texts, vectors, sketches.refresh(store, texts, vectors, along), along)
    documents = sketches.documents(store, tables.sketches.values())
    known = _known(store, published, inputs["evidence"])
    scored, compared = pairs.refresh(store, tables, documents, known, settings, gpu=gpu)
    decisions = decide.decide(documents, scored, settings)
    kept = _kept(documents, decisions, settings)
    outcomes = Counter(kept=kept.height, **dict(decisions["level"].value_counts().iter_rows()))
    before = layers(published) if published and not anew else layers(None)
    with store.deduped_corpus.publish(keep_previous=not anew) as (_, manifest):
        manifest |= {
            "inputs": inputs,
            "sketches": {p: s.path for p, s in tables.sketches.items()},
            "directions": along and along.record,
            "layers": {
                "kept": store.kept.extend(before["kept"], kept),
                "decisions": store.decisions.extend(before["decisions"], _signed(store, decisions, published, run_id)),
                "pairs": store.pairs.extend(before["pairs"], scored),
            },
            "documents": documents.height,
            "kept": kept.height,
            "outcomes": dict(outcomes),
        }
    prune(store)
    report = StageReport(rows=kept.height, worked=compared, written=1, outcomes=outcomes)
    report.seconds = time.monotonic() - start
    return report


def layers(snapshot: Snapshot | None) -> dict[str, list[str]]:
    """The layers of a snapshot's tables `kept`, `decisions` and `pairs`; none before the first snapshot.

    Nor of a snapshot that was published before there were layers: the next refresh decides on all anew.
    """
    none: dict[str, list[str]] = {"kept": [], "decisions": [], "pairs": []}
    return snapshot.manifest.get("layers", none) if snapshot else none


def behind(store: Store) -> bool:
    """Whether the published corpus is not made from the published index and the texts as they are now."""
    index, published = store.faiss_index.current(), store.deduped_corpus.current()
    if index is None:
        return False
    current = store.extracted_text.segments()
    texts = {p: current[p].path for p in index.manifest["partitions"] if p in current}
    made_from = published.manifest["inputs"] if published else {}
    return (made_from.get("embeddings"), made_from.get("extracted_text")) != (index.manifest["partitions"], texts)


def prune(store: Store, *, previous: bool = True) -> None:
    """Delete versions of tables that no live snapshot reads any more; see :meth:`Table.prune`."""
    snapshots = store.deduped_corpus.live()
    corpora = [s.manifest for s in snapshots]
    indexes = [s.manifest["partitions"] for s in store.faiss_index.live()]
    texts = [c["inputs"]["extracted_text"] for c in corpora]
    vectors = [*indexes, *(c["inputs"]["embeddings"] for c in corpora)]
    batches = store.batches.segments()
    store.extracted_text.prune((p for of in texts for p in of.values()), existing=batches, previous=previous)
    store.embeddings.prune((p for of in vectors for p in of.values()), existing=batches, previous=previous)
    store.sketches.prune((p for c in corpora for p in c.get("sketches", {}).values()), existing=batches, previous=False)
    directions.prune(store, snapshots)
    for name, table in {"kept": store.kept, "decisions": store.decisions, "pairs": store.pairs}.items():
        table.prune(path for s in snapshots for path in layers(s)[name])


def _evidence_version(settings: Deduplication, index: Snapshot) -> list[Any]:
    """What pairs and their scores depend on besides the documents; with another version all are compared anew."""
    versions = [sketches.VERSION, candidates.VERSION, verify.VERSION]
    return [*versions, index.manifest["model"], settings.similarity_threshold, list(settings.keep)]


def _known(store: Store, published: Snapshot | None, evidence: list[Any]) -> pairs.Known:
    if published is None or published.manifest["inputs"]["evidence"] != evidence:
        return pairs.NOTHING_KNOWN
    made_from = {p: store.sketches.at(path) for p, path in published.manifest["sketches"].items()}
    return pairs.Known(made_from, store.pairs.read(layers(published)["pairs"]).collect())


def _kept(documents: pl.DataFrame, decisions: pl.DataFrame, settings: Deduplication) -> pl.DataFrame:
    """The kept documents, schema KEPT; in mode annotate all of them."""
    counts = decisions.group_by("kept_id").agg(duplicates=pl.len().cast(pl.Int64))
    kept = documents
    if settings.mode != "annotate":
        kept = kept.join(decisions, left_on="doc_id", right_on="removed_id", how="anti")
    return (
        kept.join(counts, left_on="doc_id", right_on="kept_id", how="left")
        .with_columns(pl.col("duplicates").fill_null(0))
        .select(KEPT.names())
    )


def _signed(store: Store, decisions: pl.DataFrame, published: Snapshot | None, run_id: str) -> pl.DataFrame:
    """Decisions with the run that made each: one that stands from an earlier snapshot keeps its run."""
    same = ["removed_id", "kept_id", "rule", "containment", "cosine"]
    old = store.decisions.read(layers(published)["decisions"]).select(*same, "run_id").collect()
    return (
        decisions.join(old, on=same, how="left", nulls_equal=True)
        .with_columns(pl.col("run_id").fill_null(run_id))
        .select(DEDUP_DECISIONS.names())
    )
