"""The asset `deduped_corpus`."""

import dagster as dg
import polars as pl

from quarry_dagster.orchestration.assets.faiss_index import faiss_index
from quarry_dagster.orchestration.assets.reporting import (
    Metadata,
    column_lineage,
    column_schema,
    describe,
    histogram,
    preview,
    table,
)
from quarry_dagster.orchestration.resources import Quarry
from quarry_dagster.reader import scan
from quarry_dagster.report.charts import LENGTHS, SCORES
from quarry_dagster.stages.corpus import deduped_corpus as stage
from quarry_dagster.store.schemas import DEDUPED_CORPUS, HOST, SCORED_LEVELS

_HOSTS_SHOWN = 10
_LINEAGE = column_lineage(
    {
        "extracted_text": {c: c for c in DEDUPED_CORPUS if c != "duplicates"} | {"duplicates": "text"},
        "embeddings": {"duplicates": "embedding"},
    }
)


@dg.asset(
    deps=[faiss_index],
    group_name="corpus",
    kinds={"python", "parquet"},
    pool="corpus",
    metadata=column_schema(DEDUPED_CORPUS),
)
def deduped_corpus(context: dg.AssetExecutionContext, quarry: Quarry) -> dg.MaterializeResult:
    """The kept documents, and for every removed one the decision: which kept one it duplicates, by which rule."""
    store, profile = quarry.store(), quarry.hardware_profile()
    gpu = profile.embedding.device != "cpu"
    report = stage.refresh(store, profile.deduplication, context.run.run_id, gpu=gpu)
    return dg.MaterializeResult(metadata=describe(report) | _LINEAGE | _show(store.files.root))


def _show(root: str) -> Metadata:
    corpus, decisions = scan("deduped_corpus", root), scan("dedup_decisions", root)
    facts = corpus.select(documents=pl.len(), words=pl.col("word_count").sum()).collect().row(0, named=True)
    levels = decisions.group_by("level", "rule").agg(removed=pl.len()).sort("level", "rule").collect()
    near = decisions.filter(pl.col("level").is_in(SCORED_LEVELS))
    host = HOST.alias("host")
    removed = decisions.select(url="removed_url").group_by(host).agg(removed=pl.len())
    hosts = (
        corpus.group_by(host)
        .agg(kept=pl.len())
        .join(removed, on="host", how="full", coalesce=True)
        .with_columns(pl.col("kept", "removed").fill_null(0))
        .sort("removed", "kept", "host", descending=[True, True, False])
    )
    columns = ("url", "title", "language", "word_count", "duplicates")
    return facts | {
        "removed": int(levels["removed"].sum()),
        "removed_by_rule": table(levels),
        "removed_by_host": table(hosts.head(_HOSTS_SHOWN).collect()),
        "containment_of_removed": histogram(near, "containment", SCORES, "{:.2f}"),
        "cosine_of_removed": histogram(near, "cosine", SCORES, "{:.2f}"),
        "text_length": histogram(corpus, "word_count", LENGTHS, "{:,}"),
        "preview": preview(corpus.select(columns)),
        "decisions": preview(decisions.select("removed_url", "kept_url", "level", "rule", "cosine", "containment")),
    }
