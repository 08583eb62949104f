"""The asset `extracted_text`."""

import dagster as dg
import polars as pl

from quarry_dagster.assets.raw_pages import raw_pages
from quarry_dagster.assets.reporting import materialize_each
from quarry_dagster.extract import Extractor
from quarry_dagster.partitions import crawl_batches
from quarry_dagster.resources import Quarry
from quarry_dagster.stages import extracted_text as stage
from quarry_dagster.stages.report import StageReport


@dg.asset(partitions_def=crawl_batches, deps=[raw_pages], group_name="corpus", kinds={"python", "parquet"})
def extracted_text(context: dg.AssetExecutionContext, quarry: Quarry) -> dg.MaterializeResult:
    """The main text and metadata of every page, or why there is none."""
    store, profile = quarry.store(), quarry.hardware_profile()

    def show(partition: str) -> pl.LazyFrame:
        start = pl.col("text").str.slice(0, 60).str.replace_all(r"\s+", " ").alias("text")
        columns = ("url", "outcome", "title", "language", "word_count")
        return store.extracted_text.scan([partition]).select(*columns, start)

    with Extractor(profile.extraction, profile.hardware.worker_count) as extractor:

        def refresh(partition: str) -> StageReport:
            return stage.refresh(store, partition, extractor)

        return materialize_each(context, refresh, show)
