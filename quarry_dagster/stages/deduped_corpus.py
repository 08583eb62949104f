"""`deduped_corpus`: which documents are kept, and for every other one the decision that removed it.

The documents are those whose vectors the published index holds. Only texts that were not there at the last
snapshot are compared with the rest; the scores of a pair are a function of its two texts, so they are kept from
snapshot to snapshot, and the decisions are then drawn from them anew.

A snapshot holds no copy of the texts: it lists the kept documents and the `extracted_text` segments that they
are read from, and those segments are not deleted while a snapshot names them.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl

from quarry_dagster.dedup import candidates, decide, shingles, verify
from quarry_dagster.errors import StoreError
from quarry_dagster.profiles import Deduplication
from quarry_dagster.progress import track
from quarry_dagster.stages.embeddings import stack
from quarry_dagster.stages.report import StageReport
from quarry_dagster.store import Segment, Snapshot, Store
from quarry_dagster.store.schemas import DEDUP_DECISIONS, EXTRACTED_TEXT, SKETCHES, embeddings_schema
from quarry_dagster.urls import same_page_url

KEPT = "kept.parquet"
DECISIONS = "decisions.parquet"
_PAIRS = "pairs.parquet"
_TEXTS = "texts.parquet"

KEPT_SCHEMA = pl.Schema({"doc_id": pl.String, "partition": pl.String, "duplicates": pl.Int64})

_WORTH_KEEPING = 0.3
"""Containment from which a pair's scores are kept, so that other thresholds can be tried without comparing again."""
_TEXTS_IN_MEMORY = 20_000
_SKETCH_BLOCK = 20_000
_VECTOR_BLOCK = 16_384


def refresh(store: Store, settings: Deduplication, run_id: str, *, anew: bool = False) -> StageReport:
    """Bring the corpus in line with the published index.

    `anew` keeps no earlier snapshot, so that nothing of a removed document is left.

    Raises:
        StoreError: there is no index yet, or the store cannot be written.
    """
    with store.files.lock("corpus"):
        return _refresh(store, settings, run_id, anew)


def _refresh(store: Store, settings: Deduplication, run_id: str, anew: bool) -> StageReport:
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

    documents = with_page_urls(documents_of(store, texts, vectors))
    _refresh_sketches(store, texts)
    pairs, compared = _pairs(store, texts, vectors, documents, published, inputs["evidence"], settings)
    decisions = decide.decide(documents, pairs, settings)
    kept = _kept(documents, decisions, settings)
    outcomes = Counter(kept=kept.height, **dict(decisions["level"].value_counts().iter_rows()))
    with store.deduped_corpus.publish(keep_previous=not anew) as (snapshot, manifest):
        store.files.write_frame(snapshot.path(KEPT), kept)
        store.files.write_frame(snapshot.path(DECISIONS), _sign(store, decisions, published, run_id))
        store.files.write_frame(snapshot.path(_PAIRS), pairs)
        store.files.write_frame(snapshot.path(_TEXTS), documents.select("text_digest").unique().sort("text_digest"))
        manifest |= {
            "inputs": inputs,
            "documents": documents.height,
            "kept": kept.height,
            "outcomes": dict(outcomes),
        }
    prune(store)
    report = StageReport(rows=kept.height, worked=compared, written=1, outcomes=outcomes)
    report.seconds = time.monotonic() - start
    return report


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
    corpora = [s.manifest["inputs"] for s in store.deduped_corpus.live()]
    indexes = [s.manifest["partitions"] for s in store.faiss_index.live()]
    vectors = [*indexes, *(c["embeddings"] for c in corpora)]
    texts = (p for c in corpora for p in c["extracted_text"].values())
    batches = store.batches.segments()
    store.extracted_text.prune(texts, existing=batches, previous=previous)
    store.embeddings.prune((p for paths in vectors for p in paths.values()), existing=batches, previous=previous)
    store.sketches.prune(previous=False)


def _evidence_version(settings: Deduplication, index: Snapshot) -> list[Any]:
    """What the scores of pairs depend on besides the texts; with another version all are compared anew."""
    versions = [shingles.VERSION, candidates.VERSION, verify.VERSION]
    return [*versions, index.manifest["model"], settings.similarity_threshold]


def documents_of(store: Store, texts: dict[str, Segment], vectors: dict[str, Segment]) -> pl.DataFrame:
    """Documents to decide on, sorted by doc_id: doc_id, url, final_url, text_digest, word_count, date, partition.

    A document whose text changed after its partition was last embedded waits for the next embedding.
    """
    columns = ("doc_id", "url", "final_url", "text_digest", "word_count", "date", "partition")
    frames = [pl.DataFrame(schema={c: EXTRACTED_TEXT[c] for c in columns})]
    for partition, segment in texts.items():
        schema = embeddings_schema(vectors[partition].metadata["dim"])
        embedded = store.files.scan([vectors[partition].path], schema).select("doc_id", "text_digest")
        frames.append(
            store.files.scan([segment.path], EXTRACTED_TEXT)
            .select(columns)
            .join(embedded, on=["doc_id", "text_digest"], how="semi")
            .collect()
        )
    return pl.concat(frames).sort("doc_id")


def with_page_urls(documents: pl.DataFrame) -> pl.DataFrame:
    """These documents with what the rules ask for, schema decide.DOCUMENTS plus `partition`."""
    urls = documents.select("final_url", "url").iter_rows()
    pages = pl.Series("page_url", [same_page_url(f or u) for f, u in urls], dtype=pl.String)
    return documents.with_columns(pages).select(*decide.DOCUMENTS.names(), "partition")


def _pairs(
    store: Store,
    texts: dict[str, Segment],
    vectors: dict[str, Segment],
    documents: pl.DataFrame,
    published: Snapshot | None,
    evidence: list[Any],
    settings: Deduplication,
) -> tuple[pl.DataFrame, int]:
    """Scores of all pairs of current texts worth keeping (schema decide.PAIRS), and how many were compared now."""
    known = pl.DataFrame(schema=decide.PAIRS)
    covered = pl.DataFrame(schema={"text_digest": pl.String})
    if published and published.manifest["inputs"]["evidence"] == evidence:
        known = _read(published, _PAIRS)
        covered = _read(published, _TEXTS)
    # Texts are numbered by digest: a number is smaller than a digest, and left < right means the same for both.
    numbered = number_texts(documents)
    new = numbered.join(covered, on="text_digest", how="anti")
    digests = numbered.select("text_digest")
    for side in ("left", "right"):  # pairs of texts that are gone are forgotten with them
        known = known.join(digests.rename({"text_digest": side}), on=side, how="semi")
    if new.is_empty():
        return known.sort("left", "right"), 0
    home = homes(documents, numbered)
    found = pl.concat(
        [
            _sketch_candidates(store, texts, numbered, new),
            _vector_candidates(store, vectors, numbered, new, settings.similarity_threshold),
        ]
    ).unique()
    scored = [known]
    with track("deduped_corpus", found.height, "pairs") as advance:
        for block in blocks(found.sort("left", "right")):
            rows = score(store, texts, vectors, home, block)
            contained = pl.max_horizontal("left_in_right", "right_in_left") >= _WORTH_KEEPING
            scored.append(rows.filter(contained | (pl.col("cosine") >= settings.similarity_threshold)))
            advance(block.height)
    return pl.concat(scored).sort("left", "right"), found.height


def number_texts(documents: pl.DataFrame) -> pl.DataFrame:
    """The distinct texts of documents in order of digest: columns text (number, from 0), text_digest."""
    return documents.select("text_digest").unique().sort("text_digest").with_row_index("text")


def homes(documents: pl.DataFrame, numbered: pl.DataFrame) -> pl.DataFrame:
    """One partition that has each text, so that only those with texts to read are read: see :func:`score`."""
    first = documents.unique("text_digest", keep="first").select("text_digest", "partition")
    return numbered.join(first, on="text_digest")


def _refresh_sketches(store: Store, texts: dict[str, Segment]) -> None:
    """Sketch every partition whose texts changed. A sketch depends on the text alone, so it needs no snapshot."""
    existing = store.sketches.segments()
    for partition, segment in texts.items():
        fingerprint = f"{segment.metadata['content']} {shingles.VERSION}"
        old = existing.get(partition)
        if old is not None and old.metadata["input"] == fingerprint:
            continue
        with store.sketches.write(partition) as writer:
            for frame in segment.batches(["text_digest", "text"], rows=1024):
                rows = frame.filter(pl.col("text_digest").is_not_null()).unique("text_digest", keep="any")
                hashes = [h.tolist() for h in shingles.sketches(rows["text"].to_list())]
                writer.append(pl.DataFrame({"text_digest": rows["text_digest"], "hashes": hashes}, schema=SKETCHES))
            writer.note(input=fingerprint, rows=writer.rows)
    for partition in existing.keys() - texts.keys():
        store.sketches.delete(partition)


def _sketch_candidates(
    store: Store, texts: dict[str, Segment], numbered: pl.DataFrame, new: pl.DataFrame
) -> pl.DataFrame:
    hashes = (
        store.sketches.scan(texts)
        .join(numbered.lazy(), on="text_digest")
        .unique("text")
        .select("text", hash="hashes")
        .explode("hash")
        .filter(pl.col("hash").is_not_null())
    )
    found = [candidates.sketch_pairs(block.select("text"), hashes) for block in new.iter_slices(_SKETCH_BLOCK)]
    return pl.concat(found)


def _vector_candidates(
    store: Store, vectors: dict[str, Segment], numbered: pl.DataFrame, new: pl.DataFrame, threshold: float
) -> pl.DataFrame:
    found = []
    for block in new.iter_slices(_VECTOR_BLOCK):
        mine = pl.concat(list(_embedded(store, vectors, block))).unique("text", keep="any")
        others = ((f["text"].to_numpy(), stack(f["embedding"])) for f in _embedded(store, vectors, numbered))
        ids = mine["text"].to_numpy()
        found.append(candidates.vector_pairs((ids, stack(mine["embedding"])), others, threshold))
    return pl.concat(found)


def _embedded(store: Store, vectors: dict[str, Segment], numbered: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Numbered texts with their vectors, a frame a segment: columns text, embedding."""
    for segment in vectors.values():
        yield (
            store.files.scan([segment.path], embeddings_schema(segment.metadata["dim"]))
            .select("text_digest", "embedding")
            .join(numbered.lazy(), on="text_digest")
            .unique("text")
            .select("text", "embedding")
            .collect()
        )


def blocks(pairs: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Runs of pairs that together name at most about _TEXTS_IN_MEMORY texts."""
    start, seen = 0, set()
    for i, (left, right) in enumerate(pairs.select("left", "right").iter_rows()):
        seen |= {left, right}
        if len(seen) >= _TEXTS_IN_MEMORY:
            yield pairs.slice(start, i + 1 - start)
            start, seen = i + 1, set()
    if start < pairs.height:
        yield pairs.slice(start)


def score(
    store: Store,
    texts: dict[str, Segment],
    vectors: dict[str, Segment],
    home: pl.DataFrame,
    pairs: pl.DataFrame,
) -> pl.DataFrame:
    """Scores of pairs (columns left, right: numbers of texts) from the stored texts and vectors, schema decide.PAIRS.

    `home` names a partition for each text: columns text, text_digest, partition. The order is that of `pairs`.
    """
    both = pl.concat([pairs["left"], pairs["right"]]).unique().sort()
    needed = home.join(pl.DataFrame({"text": both}), on="text", how="semi")
    partitions = needed["partition"].unique().to_list()
    needed = needed.drop("partition")
    text = (
        store.files.scan([texts[p].path for p in partitions], EXTRACTED_TEXT)
        .select("text_digest", body="text")
        .join(needed.lazy(), on="text_digest")
        .unique("text", keep="any")
        .collect()
        .sort("text")
    )
    embedded = (
        pl.concat(list(_embedded(store, {p: vectors[p] for p in partitions}, needed)))
        .unique("text", keep="any")
        .sort("text")
    )
    left = np.searchsorted(text["text"].to_numpy(), pairs["left"].to_numpy())
    right = np.searchsorted(text["text"].to_numpy(), pairs["right"].to_numpy())
    array = stack(embedded["embedding"])
    cosine = np.einsum("ij,ij->i", array[left], array[right], dtype=np.float64).round(4)
    digests = text["text_digest"].to_numpy()
    return (
        verify.scores(text["body"].to_list(), left, right)
        .with_columns(
            left=pl.Series(digests[left], dtype=pl.String),
            right=pl.Series(digests[right], dtype=pl.String),
            cosine=pl.Series(cosine),
        )
        .select(decide.PAIRS.names())
    )


def _kept(documents: pl.DataFrame, decisions: pl.DataFrame, settings: Deduplication) -> pl.DataFrame:
    """The kept documents, schema KEPT_SCHEMA; in mode annotate all of them."""
    counts = decisions.group_by("kept_id").agg(duplicates=pl.len().cast(pl.Int64))
    kept = documents
    if settings.mode != "annotate":
        kept = kept.join(decisions, left_on="doc_id", right_on="removed_id", how="anti")
    return (
        kept.join(counts, left_on="doc_id", right_on="kept_id", how="left")
        .with_columns(pl.col("duplicates").fill_null(0))
        .select(KEPT_SCHEMA.names())
    )


def _sign(store: Store, decisions: pl.DataFrame, published: Snapshot | None, run_id: str) -> pl.DataFrame:
    """Decisions with the run that made each: one that stands from an earlier snapshot keeps its run."""
    same = ["removed_id", "kept_id", "rule", "containment", "cosine"]
    old = _read(published, DECISIONS) if published else pl.DataFrame(schema=DEDUP_DECISIONS)
    return (
        decisions.join(old.select(*same, "run_id"), on=same, how="left", nulls_equal=True)
        .with_columns(pl.col("run_id").fill_null(run_id))
        .select(DEDUP_DECISIONS.names())
        .sort("removed_id")
    )


def _read(snapshot: Snapshot, file: str) -> pl.DataFrame:
    with snapshot.files.open(snapshot.path(file)) as f:
        return pl.read_parquet(f)
