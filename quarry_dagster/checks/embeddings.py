"""`embeddings`: a vector for every accepted document, finite and of unit length."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import polars as pl

from quarry_dagster.checks.contract import breaches, missing, wrong_columns
from quarry_dagster.checks.finding import Finding
from quarry_dagster.profiles.settings import HardwareProfile
from quarry_dagster.stages.backlog import follows
from quarry_dagster.store import Store
from quarry_dagster.store.schemas import ACCEPTED, EXTRACTED_TEXT, embeddings_schema

_NORM_TOLERANCE = 1e-3


def contract(store: Store, profile: HardwareProfile, partitions: Sequence[str]) -> Finding:
    """One row for every accepted document, with its text's digest and the model that made the vector."""
    found: list[str] = []
    rows = 0
    for partition in partitions:
        segment, texts = store.embeddings.segment(partition), store.extracted_text.segment(partition)
        if segment is None or texts is None:
            continue
        rows += segment.rows
        schema = embeddings_schema(segment.notes.dim)
        if wrong := wrong_columns(segment, schema):
            found += wrong
            continue
        table = store.files.scan([segment.path], schema)
        problems = breaches(
            partition,
            table,
            "doc_id",
            {
                "without vector": pl.col("embedding").is_null(),
                "of another model than the partition's": pl.col("model").ne_missing(pl.lit(segment.notes.model)),
                "that name another partition": pl.col("partition").ne_missing(pl.lit(partition)),
            },
        )
        found += problems
        if not problems and follows(segment, texts):
            accepted = store.files.scan([texts.path], EXTRACTED_TEXT).filter(ACCEPTED)
            document = pl.concat_str("doc_id", pl.lit(" with text "), "text_digest").alias("document")
            found += missing(
                partition, accepted.select(document).collect(), table.select(document).collect(), "document"
            )
    return Finding.of_breaches(found, f"{rows:,} rows", rows=rows)


def vectors(store: Store, profile: HardwareProfile, partitions: Sequence[str]) -> Finding:
    """Every vector is finite and of unit length, and equal texts have equal vectors."""
    found: list[str] = []
    rows = 0
    for partition in partitions:
        segment = store.embeddings.segment(partition)
        if segment is None or not segment.rows:
            continue
        # What follows too: what was made of a bad vector knows the text, and would not look again.
        again = "make it, faiss_index and deduped_corpus again: quarry run --force"
        seen: list[pl.DataFrame] = []
        for frame in segment.batches(["doc_id", "text_digest", "embedding"], rows=4096):
            rows += frame.height
            array = frame["embedding"].to_numpy().astype(np.float32)
            norms = np.linalg.norm(array, axis=1)
            bad = ~(np.abs(norms - 1) <= _NORM_TOLERANCE)  # NaN is bad too
            if bad.any():
                first = int(np.flatnonzero(bad)[0])
                found.append(
                    f"{partition}: {int(bad.sum()):,} vectors are not finite or not of unit length "
                    f"(first: {frame['doc_id'][first]}, length {norms[first]:.4f}); {again}"
                )
            # A digest of each vector: a partition's are small beside the frame, and equal texts lie anywhere in it.
            digests = [hashlib.blake2b(vector, digest_size=16).digest() for vector in array]
            seen.append(frame.select("text_digest").with_columns(vector=pl.Series(digests, dtype=pl.Binary)))
        shared = pl.concat(seen).unique()["text_digest"]
        several = shared.filter(shared.is_duplicated()).n_unique()
        if several:
            found.append(f"{partition}: {several:,} texts have more than one vector; {again}")
    return Finding.of_breaches(found, f"{rows:,} vectors", vectors=rows)
