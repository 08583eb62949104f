"""The asset `raw_pages`."""

import dagster as dg
import polars as pl

from quarry_dagster.embed import check_ready
from quarry_dagster.orchestration.assets.reporting import Metadata, column_schema, materialize_each, table
from quarry_dagster.orchestration.partitions import crawl_batches
from quarry_dagster.orchestration.resources import Quarry
from quarry_dagster.orchestration.run_config import CrawlConfig
from quarry_dagster.stages.pages import raw_pages as stage
from quarry_dagster.stages.report import StageReport
from quarry_dagster.store.schemas import HOST, RAW_PAGES, WITH_BODY

_SHOWN = 10


@dg.asset(
    partitions_def=crawl_batches,
    group_name="corpus",
    kinds={"python", "parquet"},
    pool="raw_pages",
    metadata=column_schema(RAW_PAGES),
)
def raw_pages(context: dg.AssetExecutionContext, config: CrawlConfig, quarry: Quarry) -> dg.MaterializeResult:
    """One row for every seed URL (or archived record) and what fetching it gave; a page that failed is a row too."""
    with quarry.materializing(context) as (store, profile):
        if "embeddings" in {node.name for node in context.job_def.nodes}:
            check_ready(profile)  # not after hours of crawling

        def refresh(partition: str, force: bool) -> StageReport:
            return stage.refresh(
                store,
                partition,
                profile.crawl,
                quarry.allow_addresses(),
                force=force,
                refetch=config.refetch,
                only_failed=config.only_failed,
            )

        def show(partition: str) -> Metadata:
            rows = store.raw_pages.scan([partition])
            came = pl.col("outcome").is_in(WITH_BODY)
            hosts = rows.group_by(host=HOST).agg(seeds=pl.len(), pages=came.sum(), failed=(~came).sum())
            size = pl.col("body").bin.size().sum().alias("bytes")
            answers = rows.group_by("outcome", "status").agg(pages=pl.len(), bytes=size)
            return {
                "hosts": table(hosts.sort("seeds", "host", descending=[True, False]).head(_SHOWN).collect()),
                "answers": table(answers.sort("pages", "outcome", "status", descending=[True, False, False]).collect()),
            }

        return materialize_each(context, config, store, store.raw_pages, refresh, show)
