"""`page_metadata`: a row for every document, and values of the lists that are documented."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from quarry_dagster.checks.contract import breaches, missing, wrong_columns
from quarry_dagster.checks.finding import Finding
from quarry_dagster.domains import IDENTIFIERS
from quarry_dagster.page import PAGE_TYPE_SOURCES, PAGE_TYPES
from quarry_dagster.page.license import SOURCES
from quarry_dagster.profiles.settings import HardwareProfile
from quarry_dagster.stages.backlog import describes
from quarry_dagster.store import Store
from quarry_dagster.store.schemas import ACCEPTED, PAGE_METADATA

_TYPES = (*PAGE_TYPES, "legal", "medical")


def contract(store: Store, profile: HardwareProfile, partitions: Sequence[str]) -> Finding:
    """One row for every accepted document; known types and sources; a licence where its source is no conflict."""
    found: list[str] = []
    rows = 0
    for partition in partitions:
        segment, texts = store.page_metadata.segment(partition), store.extracted_text.segment(partition)
        if segment is None or texts is None:
            continue
        rows += segment.rows
        if wrong := wrong_columns(segment, PAGE_METADATA):
            found += wrong
            continue
        table = store.files.scan([segment.path], PAGE_METADATA)
        has_source = pl.col("license_source").is_not_null() & (pl.col("license_source") != "conflict")
        found += breaches(
            partition,
            table,
            "doc_id",
            {
                "of an unknown page_type": _is_none_of("page_type", _TYPES),
                "of an unknown page_type_source": _is_none_of("page_type_source", (*PAGE_TYPE_SOURCES, IDENTIFIERS)),
                "of an unknown license_source": _is_none_of("license_source", SOURCES),
                "with a licence and no source, or a source and none": pl.col("license").is_not_null() != has_source,
                "that name another partition": pl.col("partition").ne_missing(pl.lit(partition)),
            },
        )
        if describes(segment, texts):  # else it waits to be materialized again
            expected = pl.concat(list(texts.batches(["doc_id", "outcome"], rows=4096))).filter(ACCEPTED)
            found += missing(partition, expected.select("doc_id"), table.select("doc_id").collect(), "doc_id")
    return Finding.of_breaches(found, f"{rows:,} rows", rows=rows)


def _is_none_of(column: str, known: Sequence[str]) -> pl.Expr:
    return pl.col(column).is_not_null() & ~pl.col(column).is_in(list(known)).fill_null(False)
