"""What assets show in the UI: counts that become time series, tables, histograms, previews, and column lineage.

Dagster keeps all of it for good. So nothing that a page wrote is shown, nor its URL: a takedown could not reach it
there. `quarry explain` shows a document by its doc_id.

Why so: "Dagster is told nothing of a page's text, title or URL" in docs/decisions.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import dagster as dg
import polars as pl

from quarry_dagster.orchestration.run_config import WorkConfig
from quarry_dagster.progress import parts
from quarry_dagster.report import charts
from quarry_dagster.stages.report import StageReport
from quarry_dagster.store import Store, Table
from quarry_dagster.store.schemas import MEANINGS

PREVIEW_ROWS = 8
_BAR = 24  # characters of a histogram's longest bar

Metadata = dict[str, Any]


def column_schema(schema: pl.Schema, further: Mapping[str, str] | None = None) -> Metadata:
    """Definition metadata: the columns of a table, their types and meanings; `further` has those of other columns."""
    meanings = {**MEANINGS, **(further or {})}
    columns = [dg.TableColumn(name, str(dtype), meanings[name]) for name, dtype in schema.items()]
    return {"dagster/column_schema": dg.TableSchema(columns)}


def column_lineage(sources: Mapping[str, Mapping[str, str]]) -> Metadata:
    """Which columns come from which: for each asset above, its column by the column here."""
    found: dict[str, list[dg.TableColumnDep]] = {}
    for asset, columns in sources.items():
        for here, there in columns.items():
            found.setdefault(here, []).append(dg.TableColumnDep(dg.AssetKey(asset), there))
    return {"dagster/column_lineage": dg.TableColumnLineage(found)}


def describe(report: StageReport) -> Metadata:
    """A stage's report; the numbers become time series in the asset's page."""
    return {
        "dagster/row_count": report.rows,
        "worked": report.worked,
        "files_written": report.written,
        "seconds": round(report.seconds, 2),
        "rows_per_second": round(report.worked / report.seconds, 1) if report.worked and report.seconds else 0.0,
        "outcomes": count_table("outcome", dict(report.outcomes.most_common())),
    } | {f"outcome/{outcome}": n for outcome, n in report.outcomes.items()}


def preview(rows: pl.LazyFrame) -> dg.MarkdownMetadataValue:
    """The first rows as a Markdown table."""
    return table(rows.head(PREVIEW_ROWS).collect())


def table(rows: pl.DataFrame) -> dg.MarkdownMetadataValue:
    """A small table as Markdown."""
    rows = rows.with_columns(pl.col(pl.String).str.replace_all(r"\s+", " ").str.replace_all(r"([\\|])", r"\$1"))
    with pl.Config(
        tbl_formatting="ASCII_MARKDOWN",
        tbl_hide_column_data_types=True,
        tbl_hide_dataframe_shape=True,
        tbl_rows=-1,
        tbl_cols=-1,
        tbl_width_chars=-1,
        fmt_str_lengths=80,
        thousands_separator=True,
    ):
        return dg.MetadataValue.md(str(rows))


def count_table(name: str, counts: Mapping[str, int]) -> dg.MarkdownMetadataValue:
    """Counts by name, as given."""
    lines = [f"| {key} | {n:,} |" for key, n in counts.items()]
    return dg.MetadataValue.md("\n".join([f"| {name} | count |", "| --- | ---: |", *lines]))


def counts_of(rows: pl.LazyFrame, column: str) -> dict[str, int]:
    """How many rows have each value of a column, the most frequent first; null is left out."""
    found = rows.drop_nulls(column).select(pl.col(column).value_counts(sort=True)).unnest(column).collect()
    return dict(found.iter_rows())


def histogram(rows: pl.LazyFrame, column: str, edges: Sequence[float], unit: str = "{:g}") -> dg.MarkdownMetadataValue:
    """How many values lie between the edges, with a bar each; see :func:`quarry_dagster.report.charts.histogram`."""
    counts = charts.histogram(rows, column, edges, unit)
    longest = max((count.n for count in counts), default=1)
    lines = [f"| {count.label} | {count.n:,} | {'█' * round(_BAR * count.n / longest)} |" for count in counts]
    return dg.MetadataValue.md("\n".join([f"| {column} | count | |", "| --- | ---: | --- |", *lines]))


def materialize_each(
    context: dg.AssetExecutionContext,
    config: WorkConfig,
    store: Store,
    table: Table,
    refresh: Callable[[str, bool], StageReport],
    show: Callable[[str], Metadata],
) -> dg.MaterializeResult:
    """Refresh every partition of the run, one after the other, each with its own metadata.

    `refresh` is given a partition, and whether it is to be made anew: where the run says so, and where a check of it
    stands failed, which the same rows would fail again. `show` gives what is worth looking at in a partition.
    """
    if not (context.has_partition_key or context.has_partition_key_range):
        raise dg.Failure(
            "this run names no partition: choose some in the UI, or give --partition or the tags "
            "dagster/asset_partition_range_start and dagster/asset_partition_range_end"
        )
    failed = store.failed_checks().partitions_of(table.name)
    for partition in parts(context.partition_keys):
        report = refresh(partition, config.force or partition in failed)
        context.log.info(
            f"{partition}: {report.rows} rows, {report.worked} worked on, {report.written} files written, "
            + ", ".join(f"{n} {outcome}" for outcome, n in report.outcomes.most_common())
        )
        written = table.segment(partition)
        size = {"bytes": written.bytes} if written else {}
        context.add_asset_metadata(describe(report) | size | show(partition), partition_key=partition)
    return dg.MaterializeResult()
