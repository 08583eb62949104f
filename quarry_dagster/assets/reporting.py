"""What assets show in the UI: counts, outcomes, throughput, a preview."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dagster as dg
import polars as pl

from quarry_dagster.stages.report import StageReport

PREVIEW_ROWS = 8


def describe(report: StageReport) -> dict[str, Any]:
    """Metadata of a stage's report; numbers become time series in the asset's page."""
    return {
        "dagster/row_count": report.rows,
        "worked": report.worked,
        "files_written": report.written,
        "seconds": round(report.seconds, 2),
        "rows_per_second": round(report.worked / report.seconds, 1) if report.worked and report.seconds else 0.0,
        "outcomes": dg.MetadataValue.md(_outcomes(report)),
    }


def preview(rows: pl.LazyFrame) -> dg.MarkdownMetadataValue:
    """The first rows as a Markdown table."""
    with pl.Config(
        tbl_formatting="ASCII_MARKDOWN",
        tbl_hide_column_data_types=True,
        tbl_hide_dataframe_shape=True,
        tbl_rows=PREVIEW_ROWS,
        tbl_cols=-1,
        tbl_width_chars=-1,
        fmt_str_lengths=80,
    ):
        return dg.MetadataValue.md(str(rows.head(PREVIEW_ROWS).collect()))


def materialize_each(
    context: dg.AssetExecutionContext,
    refresh: Callable[[str], StageReport],
    show: Callable[[str], pl.LazyFrame],
) -> dg.MaterializeResult:
    """Refresh every partition of the run, one after the other, each with its own metadata.

    `show` gives the rows to preview of a partition.
    """
    for partition in context.partition_keys:
        report = refresh(partition)
        context.log.info(
            f"{partition}: {report.rows} rows, {report.worked} worked on, {report.written} files written, "
            + ", ".join(f"{n} {outcome}" for outcome, n in report.outcomes.most_common())
        )
        context.add_asset_metadata(describe(report) | {"preview": preview(show(partition))}, partition_key=partition)
    return dg.MaterializeResult()


def _outcomes(report: StageReport) -> str:
    lines = [f"| {outcome} | {n:,} |" for outcome, n in report.outcomes.most_common()]
    return "\n".join(["| outcome | count |", "| --- | ---: |", *lines])
