"""The asset `page_metadata`."""

from collections import Counter

import dagster as dg
import polars as pl

from quarry_dagster.domains import PROCESSORS, Describer
from quarry_dagster.orchestration.assets.extracted_text import extracted_text
from quarry_dagster.orchestration.assets.raw_pages import raw_pages
from quarry_dagster.orchestration.assets.reporting import (
    Metadata,
    column_lineage,
    column_schema,
    count_table,
    counts_of,
    materialize_each,
)
from quarry_dagster.orchestration.partitions import crawl_batches
from quarry_dagster.orchestration.resources import Quarry
from quarry_dagster.orchestration.run_config import WorkConfig
from quarry_dagster.page.license import shown
from quarry_dagster.stages import page_metadata as stage
from quarry_dagster.stages.report import StageReport
from quarry_dagster.store.schemas import PAGE_METADATA

_FROM_TEXT = ("doc_id", "page_type", "page_type_source", "canonical_url", "partition")
_FROM_BODY = ("schema_types", "site_name", "modified", "paywalled", "license", "license_source", "fields")
_LINEAGE = column_lineage(
    {
        "extracted_text": {column: column for column in _FROM_TEXT} | {"published": "date"},
        "raw_pages": dict.fromkeys(_FROM_BODY, "body"),
    }
)


def _licenses(rows: pl.LazyFrame) -> dict[str, int]:
    """How many rows have each licence that we name; no URL that a page wrote is told to Dagster."""
    counts: Counter[str] = Counter()
    for license_, n in counts_of(rows, "license").items():
        counts[shown(license_)] += n
    return dict(counts.most_common())


@dg.asset(
    partitions_def=crawl_batches,
    deps=[raw_pages, extracted_text],
    group_name="corpus",
    kinds={"python", "parquet"},
    pool="page_metadata",
    metadata=column_schema(PAGE_METADATA, {"detail": "what could not be described, and why; null where all could"}),
)
def page_metadata(context: dg.AssetExecutionContext, config: WorkConfig, quarry: Quarry) -> dg.MaterializeResult:
    """What each document's page says of itself: its kind, its licence, the fields of its domain."""
    with quarry.materializing(context) as (store, profile):

        def show(partition: str) -> Metadata:
            rows = store.page_metadata.scan([partition])
            domains = rows.select(
                pl.col("fields").str.json_path_match(f"$.{name}").is_not_null().sum().alias(name)
                for name in {**PROCESSORS, **own}
            ).collect()
            found = {name: n for name, n in domains.row(0, named=True).items() if n}
            return _LINEAGE | {
                "page_types": count_table("page_type", counts_of(rows, "page_type")),
                "licenses": count_table("license", _licenses(rows)),
                "domains": count_table("domain", dict(sorted(found.items(), key=lambda each: -each[1]))),
            }

        own = quarry.processors()
        with Describer(own, profile.extraction, profile.hardware.worker_count) as describer:

            def refresh(partition: str, force: bool) -> StageReport:
                return stage.refresh(store, partition, describer, force=force)

            return materialize_each(context, config, store, store.page_metadata, refresh, show)
