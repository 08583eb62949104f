"""The asset `embeddings`."""

import dagster as dg
import polars as pl

from quarry_dagster.assets.extracted_text import extracted_text
from quarry_dagster.assets.reporting import materialize_each
from quarry_dagster.partitions import crawl_batches
from quarry_dagster.resources import Quarry
from quarry_dagster.stages import embeddings as stage
from quarry_dagster.stages.report import StageReport


@dg.asset(partitions_def=crawl_batches, deps=[extracted_text], group_name="corpus", kinds={"pytorch", "parquet"})
def embeddings(context: dg.AssetExecutionContext, quarry: Quarry) -> dg.MaterializeResult:
    """A vector for every accepted document; equal texts are embedded once and share it."""
    store, profile = quarry.store(), quarry.hardware_profile()

    def refresh(partition: str) -> StageReport:
        return stage.refresh(store, partition, profile)

    def show(partition: str) -> pl.LazyFrame:
        return store.embeddings.scan([partition]).select("doc_id", "text_digest", "model")

    return materialize_each(context, refresh, show)
