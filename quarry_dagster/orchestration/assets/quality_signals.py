"""The asset `quality_signals`."""

from collections.abc import Sequence

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
_BARS = 10
_HEIGHTS = "▁▂▃▄▅▆▇█"
_MEANINGS = {signal.name: f"{signal.formula} Source: {signal.source}" for signal in SIGNALS}


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
            names = [*stage.NAMES, *scorers]
            failures = ruling.policy.failures(rows.with_columns(host=pl.lit(None, pl.String)))
            rules = dict(failures["rule"].value_counts(sort=True).iter_rows())
            return _LINEAGE | {
                "policy": ruling.policy.stamp,
                "failed_rules": count_table("rule", rules),
                "signals": _spreads(rows, names),
            }

        scorers = stage.scorers_of(quarry.classifiers())
        ruling = stage.ruling_of(profile.quality)
        return materialize_each(context, config, store, store.quality_signals, refresh, show)


def _spreads(rows: pl.DataFrame, names: Sequence[str]) -> dg.MarkdownMetadataValue:
    """A line a signal: how its values spread, and a histogram of ten bars from the 5th to the 95th percentile."""
    lines = ["| signal | 5 % | median | 95 % | histogram | null |", "| --- | ---: | ---: | ---: | --- | ---: |"]
    for name in names:
        values = rows[name].drop_nulls()
        low, middle, high = (values.quantile(share) for share in (0.05, 0.5, 0.95))
        if low is None or middle is None or high is None:
            lines.append(f"| {name} | | | | | {rows.height:,} |")
            continue
        bins = ((values - low) / ((high - low) or 1.0) * _BARS).floor().clip(0, _BARS - 1).cast(pl.Int64)
        counts = dict(bins.value_counts().iter_rows())
        most = max(counts.values())
        bars = "".join(_HEIGHTS[round((len(_HEIGHTS) - 1) * counts.get(i, 0) / most)] for i in range(_BARS))
        lines.append(f"| {name} | {low:.3g} | {middle:.3g} | {high:.3g} | {bars} | {rows.height - values.len():,} |")
    return dg.MetadataValue.md("\n".join(lines))
