"""What the pages of the kept documents say of themselves, and the personal data in their texts: counts alone."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import polars as pl

from quarry_dagster.domains import PROCESSORS
from quarry_dagster.report.charts import Count

NONE_STATED = "none stated"
CONFLICT = "two that differ"


@dataclass(frozen=True)
class Personal:
    """Personal data of one type."""

    type: str
    n: int
    documents: int


@dataclass(frozen=True)
class OfPages:
    """Of the kept documents that are described; all counts with the most frequent first."""

    described: int
    page_types: list[Count]
    licenses: list[Count]
    domains: list[Count]
    personal: list[Personal]


def of_pages(
    corpus: pl.LazyFrame, metadata: pl.LazyFrame, personal: pl.LazyFrame, own: Collection[str] = ()
) -> OfPages:
    """What the tables `page_metadata` and `personal_data` say of the documents in `deduped_corpus`.

    `own` names domains that the user's own processors are of.
    """
    kept = corpus.select("doc_id")
    described = metadata.join(kept, on="doc_id", how="semi")
    stated = (
        pl.when(pl.col("license_source") == "conflict")
        .then(pl.lit(CONFLICT))
        .otherwise(pl.col("license").fill_null(NONE_STATED))
    )
    names = {**PROCESSORS, **dict.fromkeys(own)}
    in_fields = {name: pl.col("fields").str.json_path_match(f"$.{name}").is_not_null().sum() for name in names}
    domains = described.select(n=pl.len(), **in_fields).collect(engine="streaming").row(0, named=True)
    found = personal.join(kept, on="doc_id", how="semi").group_by("type")
    by_type = found.agg(n=pl.len(), documents=pl.col("doc_id").n_unique()).collect(engine="streaming")
    return OfPages(
        described=domains.pop("n"),
        page_types=_counts(described, pl.col("page_type").fill_null("no page: a given text")),
        licenses=_counts(described, stated),
        domains=sorted((Count(name, n) for name, n in domains.items() if n), key=lambda c: (-c.n, c.label)),
        personal=[Personal(*row) for row in by_type.sort("n", "type", descending=[True, False]).iter_rows()],
    )


def _counts(rows: pl.LazyFrame, value: pl.Expr) -> list[Count]:
    found = rows.group_by(value.alias("value")).agg(n=pl.len()).collect(engine="streaming")
    return [Count(*row) for row in found.sort("n", "value", descending=[True, False]).iter_rows()]
