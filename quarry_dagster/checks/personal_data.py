"""`personal_data`: every document was looked at, and what was found lies within its text."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from quarry_dagster.checks.contract import breaches, missing, wrong_columns
from quarry_dagster.checks.finding import Finding
from quarry_dagster.personal import TYPES
from quarry_dagster.profiles.settings import HardwareProfile
from quarry_dagster.stages.backlog import describes
from quarry_dagster.store import Store
from quarry_dagster.store.schemas import ACCEPTED, PERSONAL_DATA_BY_DOCUMENT


def contract(store: Store, profile: HardwareProfile, partitions: Sequence[str]) -> Finding:
    """One row for every accepted document; known types; each place within the document's text, none over another."""
    found: list[str] = []
    rows = documents = 0
    for partition in partitions:
        segment, texts = store.personal_data.segment(partition), store.extracted_text.segment(partition)
        if segment is None or texts is None:
            continue
        documents += segment.rows
        if wrong := wrong_columns(segment, PERSONAL_DATA_BY_DOCUMENT):
            found += wrong
            continue
        table = store.files.scan([segment.path], PERSONAL_DATA_BY_DOCUMENT)
        other = {"that name another partition": pl.col("partition").ne_missing(pl.lit(partition))}
        found += breaches(partition, table, "doc_id", other)
        places = table.explode("found").unnest("found").drop_nulls("type")
        if describes(segment, texts):  # else it waits to be materialized again
            accepted = pl.concat(list(texts.batches(["doc_id", "outcome"], rows=4096))).filter(ACCEPTED)
            found += missing(partition, accepted.select("doc_id"), table.select("doc_id").collect(), "doc_id")
            lengths = store.files.scan([texts.path], store.extracted_text.schema).select(
                "doc_id", length=pl.col("text").str.len_chars()
            )
            places = places.join(lengths, on="doc_id", how="left")
        else:
            places = places.with_columns(length=pl.lit(None, pl.Int64))
        wrong_places = {
            "of an unknown type": ~pl.col("type").is_in(TYPES),
            "without a place in the text": (pl.col("start") < 0)
            | (pl.col("end") <= pl.col("start"))
            | (pl.col("end") > pl.col("length")).fill_null(False),
            "with a confidence that is none": ~pl.col("confidence").is_between(0, 1),
            "over another one": pl.col("start") < pl.col("end").shift(1).over("doc_id", order_by="start"),
        }
        rows += places.select(pl.len()).collect().item()
        counts = places.select(test.fill_null(False).sum().alias(name) for name, test in wrong_places.items()).collect()
        found += [f"{partition}: {n:,} places {name}" for name, n in counts.row(0, named=True).items() if n]
    return Finding.of_breaches(found, f"{rows:,} rows of {documents:,} documents", rows=rows, documents=documents)
