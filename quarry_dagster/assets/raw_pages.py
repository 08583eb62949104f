"""The asset `raw_pages`."""

import dagster as dg
import polars as pl

from quarry_dagster.assets.reporting import materialize_each
from quarry_dagster.forget import read_forgotten
from quarry_dagster.partitions import crawl_batches
from quarry_dagster.resources import Quarry
from quarry_dagster.stages import raw_pages as stage
from quarry_dagster.stages.report import StageReport


@dg.asset(partitions_def=crawl_batches, group_name="corpus", kinds={"python", "parquet"}, pool="raw_pages")
def raw_pages(context: dg.AssetExecutionContext, quarry: Quarry) -> dg.MaterializeResult:
    """One row for every seed URL (or archived record) and what fetching it gave; a page that failed is a row too."""
    store, profile = quarry.store(), quarry.hardware_profile()
    forgotten = read_forgotten(store)

    def refresh(partition: str) -> StageReport:
        return stage.refresh(store, partition, profile.crawl, quarry.allow_addresses(), forgotten)

    def show(partition: str) -> pl.LazyFrame:
        size = pl.col("body").bin.size().alias("bytes")
        return store.raw_pages.scan([partition]).select("url", "outcome", "status", "content_type", size, "detail")

    return materialize_each(context, refresh, show)
