"""`embeddings` of one partition: a vector for every accepted document.

A text is embedded once: equal texts share a vector, and a text that any partition has under the same model is
not embedded again.
"""

from __future__ import annotations

import time
from collections import Counter

import polars as pl

from quarry_dagster.embed import load_encoder, vector_id, work_done
from quarry_dagster.errors import StoreError
from quarry_dagster.extract import normal_form
from quarry_dagster.profiles.settings import HardwareProfile
from quarry_dagster.progress import log, track
from quarry_dagster.stages.report import StageReport
from quarry_dagster.stages.vectors import vectors_of
from quarry_dagster.store import Fingerprint, Store, VectorNotes, again
from quarry_dagster.store.schemas import ACCEPTED, EXTRACTED_TEXT, embeddings_schema


def refresh(store: Store, partition: str, profile: HardwareProfile, *, force: bool = False) -> StageReport:
    """Bring one partition of `embeddings` up to date with its extracted text.

    `force` makes its vectors anew although nothing changed.

    Raises:
        StoreError: the partition has no extracted text, or the store cannot be written.
        ModelError: the model cannot be loaded.
    """
    with store.embeddings.lock(partition):
        return again(lambda: _refresh(store, partition, profile, force))


def _refresh(store: Store, partition: str, profile: HardwareProfile, force: bool) -> StageReport:
    start = time.monotonic()
    source = store.extracted_text.segment(partition)
    if source is None:
        raise StoreError(f"partition {partition!r} has no extracted_text yet: materialize extracted_text first")
    model = vector_id(profile.embedding)
    fingerprint = Fingerprint((source.notes.content,), model)
    old = store.embeddings.segment(partition)
    report = StageReport(rows=source.notes.documents)
    if old is not None and old.notes.input == fingerprint and not force:
        report.outcomes = Counter({"unchanged": report.rows})
        report.seconds = time.monotonic() - start
        return report
    table = store.files.scan([source.path], EXTRACTED_TEXT).filter(ACCEPTED)
    documents = table.select("doc_id", "text_digest").collect().sort("doc_id")
    distrusted = {partition, *store.failed_checks().partitions_of(store.embeddings.name)} if force else set[str]()
    known = _known_vectors(store, documents["text_digest"].unique(), model, distrusted)
    missing = documents.join(known, on="text_digest", how="anti").select("text_digest").unique()
    fresh = (
        table.join(missing.lazy(), on="text_digest", how="semi")
        .select("text_digest", "text")
        .unique("text_digest")
        .collect()
        .sort("text_digest")
    )
    if fresh.is_empty():
        vectors = known
    else:
        encoder = load_encoder(profile.embedding, profile.hardware.gpu_memory_fraction)
        before = work_done()
        with track("embeddings", fresh.height, "texts") as advance:
            array = encoder.encode([normal_form(t) for t in fresh["text"]], advance)
        done = work_done() - before
        log.debug(
            "embeddings: %d texts, %.0f a second; %d tokens, %.0f a second",
            *(done.texts, done.texts_per_second, done.tokens, done.tokens_per_second),
        )
        made = pl.DataFrame({"text_digest": fresh["text_digest"], "embedding": array})
        vectors = pl.concat([known, made]) if not known.is_empty() else made
    dim = vectors["embedding"].dtype.shape[0] if not vectors.is_empty() else 1  # pyright: ignore[reportAttributeAccessIssue]
    rows = documents.join(vectors, on="text_digest", how="left").with_columns(
        model=pl.lit(model), partition=pl.lit(partition)
    )
    with store.embeddings.write(partition, embeddings_schema(dim)) as writer:
        writer.append(rows)
        writer.note(VectorNotes(input=fingerprint, rows=rows.height, model=model, dim=dim))
    report.worked = fresh.height
    report.written = 1
    report.outcomes = Counter({"embedded": fresh.height, "reused": rows.height - fresh.height})
    report.seconds = time.monotonic() - start
    return report


def _known_vectors(store: Store, digests: pl.Series, model: str, distrusted: set[str]) -> pl.DataFrame:
    """Vectors of these texts under this model, of any partition but the distrusted: columns text_digest, embedding."""
    there = store.embeddings.segments()
    of_model = there.frame().filter(pl.col("input").str.ends_with(f" {model}"))["partition"]
    segments = (there[partition] for partition in of_model if partition not in distrusted)
    blocks = vectors_of(store, segments, digests, pass_over_damage=bool(distrusted))
    found = [pl.DataFrame({"text_digest": d, "embedding": v}) for d, v in blocks]
    if not found:
        return pl.DataFrame(schema={"text_digest": pl.String, "embedding": pl.Array(pl.Float32, 1)})
    return pl.concat(found)
