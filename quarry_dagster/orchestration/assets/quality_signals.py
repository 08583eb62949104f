"""The asset `quality_signals`."""

import dagster as dg
import polars as pl

from quarry_dagster.orchestration.assets.extracted_text import extracted_text
from quarry_dagster.orchestration.assets.reporting import (
    Metadata,
    column_lineage,
    column_schema,
    count_table,
    materialize_each,
)
from quarry_dagster.orchestration.partitions import crawl_batches
from quarry_dagster.orchestration.resources import Quarry
from quarry_dagster.orchestration.run_config import WorkConfig
from quarry_dagster.quality.signals import SIGNALS
from quarry_dagster.stages import quality_signals as stage
from quarry_dagster.stages.report import StageReport
from quarry_dagster.store.schemas import quality_signals_schema

_FROM_TEXT = ("doc_id", "text_digest", "language", "page_type", "partition")
_LINEAGE = column_lineage(
    {"extracted_text": {column: column for column in _FROM_TEXT} | dict.fromkeys(stage.NAMES, "text")}
)
_MEANINGS = {signal.name: f"{signal.formula}; {signal.source}" for signal in SIGNALS}


@dg.asset(
    partitions_def=crawl_batches,
    deps=[extracted_text],
    group_name="corpus",
    kinds={"python", "parquet"},
    pool="quality_signals",
    metadata=column_schema(quality_signals_schema(stage.NAMES), _MEANINGS),
)
def quality_signals(context: dg.AssetExecutionContext, config: WorkConfig, quarry: Quarry) -> dg.MaterializeResult:
    """What each document's text is like, in numbers: words, lines, repetition, symbols, language, scores of models."""
    with quarry.materializing(context) as (store, profile):

        def refresh(partition: str, force: bool) -> StageReport:
            return stage.refresh(store, partition, scorers, force=force)

        def show(partition: str) -> Metadata:
            rows = store.quality_signals.scan([partition]).collect()
            failures = ruling.policy.failures(rows.with_columns(host=pl.lit(None, pl.String)))
            rules = dict(failures["rule"].value_counts(sort=True).iter_rows())
            return _LINEAGE | {"policy": ruling.policy.stamp, "failed_rules": count_table("rule", rules)}

        scorers = stage.scorers_of(quarry.classifiers())
        ruling = stage.ruling_of(profile.quality)
        return materialize_each(context, config, store, store.quality_signals, refresh, show)
