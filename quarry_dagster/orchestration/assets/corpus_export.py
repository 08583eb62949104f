"""The asset `corpus_export`."""

import dagster as dg

from quarry_dagster.orchestration.assets.deduped_corpus import deduped_corpus
from quarry_dagster.orchestration.assets.page_metadata import page_metadata
from quarry_dagster.orchestration.assets.personal_data import personal_data
from quarry_dagster.orchestration.assets.quality_signals import quality_signals
from quarry_dagster.orchestration.resources import Quarry
from quarry_dagster.orchestration.run_config import WorkConfig
from quarry_dagster.stages import corpus_export as stage


@dg.asset(
    deps=[deduped_corpus, page_metadata, personal_data, quality_signals],
    group_name="corpus",
    kinds={"parquet"},
    pool="corpus",
)
def corpus_export(context: dg.AssetExecutionContext, config: WorkConfig, quarry: Quarry) -> dg.MaterializeResult:
    """The corpus as files to publish, as `exports` of the profile asks for: shards, a card, splits, a manifest."""
    with quarry.materializing(context) as (store, profile):
        report, done = stage.refresh(store, profile, force=config.force)
    table = [
        dg.TableRecord(
            {
                "to": each.to,
                "documents": sum(each.splits.values()),
                "splits": ", ".join(f"{name} {n:,}" for name, n in each.splits.items()),
                "left_out": ", ".join(f"{reason} {n:,}" for reason, n in each.left_out.items()),
                "bytes": each.bytes,
                "written": each.is_new,
            }
        )
        for each in done
    ]
    return dg.MaterializeResult(
        metadata={
            "exports": dg.MetadataValue.table(table)
            if table
            else "none: the profile names none in its section exports",
            "documents": report.rows,
            "files_written": report.written,
            "seconds": round(report.seconds, 2),
        }
    )
