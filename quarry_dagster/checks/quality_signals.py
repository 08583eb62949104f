"""`quality_signals`: every document has its signals, and each value is a number or null."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from quarry_dagster.checks.contract import breaches, missing, wrong_columns
from quarry_dagster.checks.finding import Finding
from quarry_dagster.profiles.settings import HardwareProfile
from quarry_dagster.stages.backlog import describes
from quarry_dagster.store import Store
from quarry_dagster.store.schemas import ACCEPTED


def contract(store: Store, profile: HardwareProfile, partitions: Sequence[str]) -> Finding:
    """One row for every accepted document; no value that is infinite or no number; the version of the definitions."""
    found: list[str] = []
    rows = 0
    for partition in partitions:
        segment, texts = store.quality_signals.segment(partition), store.extracted_text.segment(partition)
        if segment is None or texts is None:
            continue
        rows += segment.rows
        if wrong := wrong_columns(segment, segment.schema):
            found += wrong
            continue
        table = store.files.scan([segment.path], segment.schema)
        is_number = pl.all_horizontal(pl.col(name).is_finite().fill_null(True) for name in segment.notes.names)
        others = {
            "that name another partition": pl.col("partition").ne_missing(pl.lit(partition)),
            "without a version": pl.col("signals").is_null(),
            "with a value that is no number": ~is_number,
        }
        found += breaches(partition, table, "doc_id", others)
        if describes(segment, texts):  # else it waits to be materialized again
            accepted = pl.concat(list(texts.batches(["doc_id", "outcome"], rows=4096))).filter(ACCEPTED)
            found += missing(partition, accepted.select("doc_id"), table.select("doc_id").collect(), "doc_id")
    return Finding.of_breaches(found, f"{rows:,} rows", rows=rows)
