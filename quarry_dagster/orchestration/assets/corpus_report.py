"""The asset `corpus_report`."""

import dagster as dg

from quarry_dagster.orchestration.assets.deduped_corpus import deduped_corpus
from quarry_dagster.orchestration.assets.page_metadata import page_metadata
from quarry_dagster.orchestration.assets.personal_data import personal_data
from quarry_dagster.orchestration.resources import Quarry
from quarry_dagster.stages import corpus_report as stage


@dg.asset(deps=[deduped_corpus, page_metadata, personal_data], group_name="corpus", kinds={"html"}, pool="corpus")
def corpus_report(context: dg.AssetExecutionContext, quarry: Quarry) -> dg.MaterializeResult:
    """The corpus as one HTML page for people: what it holds, what was left out and why, and removals to judge."""
    with quarry.materializing(context) as (store, profile):
        report = stage.refresh(store, profile)
    where = store.files.url(stage.PATH)
    return dg.MaterializeResult(
        metadata={
            "report": dg.MetadataValue.path(where) if store.files.is_local else dg.MetadataValue.url(where),
            "documents": report.rows,
            "bytes": store.files.size(stage.PATH),
            "files_written": report.written,
            "seconds": round(report.seconds, 2),
        }
    )
