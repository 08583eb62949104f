"""The asset `deduped_corpus`."""

import dagster as dg
import polars as pl

from quarry_dagster.assets.faiss_index import faiss_index
from quarry_dagster.assets.reporting import describe, preview
from quarry_dagster.reader import scan
from quarry_dagster.resources import Quarry
from quarry_dagster.stages import deduped_corpus as stage


@dg.asset(deps=[faiss_index], group_name="corpus", kinds={"python", "parquet"}, pool="corpus")
def deduped_corpus(context: dg.AssetExecutionContext, quarry: Quarry) -> dg.MaterializeResult:
    """The kept documents, and for every removed one the decision: which kept one it duplicates, by which rule."""
    store = quarry.store()
    report = stage.refresh(store, quarry.hardware_profile().deduplication, context.run.run_id)
    decisions = scan("dedup_decisions", store.files.root)
    columns = ("url", "title", "language", "word_count", "duplicates")
    return dg.MaterializeResult(
        metadata={
            "documents": report.rows,
            "removed": decisions.select(pl.len()).collect().item(),
            "preview": preview(scan("deduped_corpus", store.files.root).select(columns)),
            "decisions": preview(decisions.select("removed_url", "kept_url", "level", "rule", "cosine", "containment")),
        }
        | describe(report)
    )
