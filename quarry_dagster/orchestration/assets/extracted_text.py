"""The asset `extracted_text`."""

from collections import Counter

import dagster as dg
import polars as pl

from quarry_dagster.extract import Extractor
from quarry_dagster.orchestration.assets.raw_pages import raw_pages
from quarry_dagster.orchestration.assets.reporting import (
    Metadata,
    column_lineage,
    column_schema,
    count_table,
    counts_of,
    histogram,
    materialize_each,
)
from quarry_dagster.orchestration.partitions import crawl_batches
from quarry_dagster.orchestration.resources import Quarry
from quarry_dagster.orchestration.run_config import RetryConfig
from quarry_dagster.report.charts import LENGTHS
from quarry_dagster.stages import extracted_text as stage
from quarry_dagster.stages.report import StageReport
from quarry_dagster.store.schemas import ACCEPTED, EXTRACTED_TEXT, JAVASCRIPT_ONLY
from quarry_dagster.urls import host_of

_HOSTS = 20
"""So many hosts are shown."""
_COPIED = ("doc_id", "url", "final_url", "fetched_at", "partition")
_FROM_BODY = (
    "title",
    "author",
    "author_source",
    "date",
    "date_source",
    "language",
    "text",
    "text_format",
    "word_count",
    "text_digest",
    "page_type",
    "page_type_source",
    "page_digest",
)
_LINEAGE = column_lineage(
    {
        "raw_pages": {c: c for c in _COPIED}
        | dict.fromkeys(_FROM_BODY, "body")
        | {"outcome": "outcome", "metadata": "own_columns"}
    }
)


@dg.asset(
    partitions_def=crawl_batches,
    deps=[raw_pages],
    group_name="corpus",
    kinds={"python", "parquet"},
    pool="extracted_text",
    metadata=column_schema(EXTRACTED_TEXT),
)
def extracted_text(context: dg.AssetExecutionContext, config: RetryConfig, quarry: Quarry) -> dg.MaterializeResult:
    """The main text and metadata of every page, or why there is none."""
    with quarry.materializing(context) as (store, profile):

        def show(partition: str) -> Metadata:
            rows = store.extracted_text.scan([partition])
            accepted = rows.filter(ACCEPTED)
            segment = store.extracted_text.segment(partition)
            languages = Counter(segment.notes.languages) if segment else Counter()
            return _LINEAGE | {
                "words": int(accepted.select(pl.col("word_count").sum()).collect().item()),
                "text_length": histogram(accepted, "word_count", LENGTHS, "{:,}"),
                "languages": count_table("language", dict(languages.most_common())),
                "page_types": count_table("page_type", counts_of(accepted, "page_type")),
                "javascript_only": count_table("host", _hosts_without_text(rows)),
            }

        with Extractor(profile.extraction, profile.hardware.worker_count) as extractor:

            def refresh(partition: str, force: bool) -> StageReport:
                return stage.refresh(store, partition, extractor, force=force, retry=config.only_failed)

            return materialize_each(context, config, store, store.extracted_text, refresh, show)


def _hosts_without_text(rows: pl.LazyFrame) -> dict[str, int]:
    """How many pages that are a script alone each host has; the hosts that have most."""
    urls = rows.filter(pl.col("outcome") == JAVASCRIPT_ONLY).select("url").collect()["url"]
    return dict(Counter(host_of(url) or "no host" for url in urls).most_common(_HOSTS))
