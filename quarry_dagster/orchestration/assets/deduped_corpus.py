"""The asset `deduped_corpus`."""

from collections.abc import Iterator, Sequence

import dagster as dg
import polars as pl

from quarry_dagster import takedown
from quarry_dagster.checks.standing import INPUTS, refuse_while_failed
from quarry_dagster.errors import CorpusShrankError
from quarry_dagster.orchestration.assets.faiss_index import faiss_index
from quarry_dagster.orchestration.assets.quality_signals import quality_signals
from quarry_dagster.orchestration.assets.reporting import (
    Metadata,
    column_lineage,
    column_schema,
    count_table,
    counts_of,
    describe,
    histogram,
    preview,
    table,
)
from quarry_dagster.orchestration.resources import Quarry
from quarry_dagster.orchestration.run_config import CorpusConfig, acceptances, accepted_here
from quarry_dagster.reader import scan
from quarry_dagster.report.charts import LENGTHS, SCORES
from quarry_dagster.stages.corpus import deduped_corpus as stage
from quarry_dagster.stages.corpus.shrinkage import Shrinkage
from quarry_dagster.stages.quality_signals import ruling_of
from quarry_dagster.stages.sweep import sweep
from quarry_dagster.store.schemas import DEDUPED_CORPUS, EXTRACTED_TEXT, HOST, SCORED_LEVELS

_HOSTS_SHOWN = 10
SHRANK = dg.AssetCheckKey(dg.AssetKey("deduped_corpus"), stage.REFUSED.partition(".")[2])
_LINEAGE = column_lineage(
    {
        "extracted_text": {c: c for c in DEDUPED_CORPUS if c in EXTRACTED_TEXT} | {"duplicates": "text"},
        "embeddings": {"duplicates": "embedding"},
        "quality_signals": {"failed_rules": "signals"},
    }
)


@dg.asset(
    deps=[faiss_index, quality_signals],
    group_name="corpus",
    kinds={"python", "parquet"},
    pool="corpus",
    metadata=column_schema(DEDUPED_CORPUS),
    check_specs=[
        dg.AssetCheckSpec(
            SHRANK.name,
            asset=SHRANK.asset_key,
            blocking=True,
            description="No more documents leave the corpus than the bounds allow; else it is not published.",
        )
    ],
)
def deduped_corpus(
    context: dg.AssetExecutionContext, config: CorpusConfig, quarry: Quarry
) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult]:
    """The kept documents, and for every removed one the decision: which kept one it duplicates, by which rule."""
    with quarry.materializing(context) as (store, profile):
        if said := profile.deduplication.without_effect:
            context.log.warning(said)
        checks = accepted_here(context, config.accept_check)
        passed_over = refuse_while_failed(store, (*INPUTS, "faiss_index"), checks)
        accepted = accepted_here(context, [stage.SHRINK] if config.accept_shrink else [])
        accepted += [f"check {name}" for name in passed_over]
        is_takedown = takedown.is_unfinished(store)
        try:
            report = stage.refresh(
                store,
                profile.deduplication,
                context.run.run_id,
                quality=ruling_of(profile.quality),
                checks=profile.checks,
                accepted=acceptances(context.run.run_id, accepted),
                force=config.force or bool(store.failed_checks().of_asset("deduped_corpus").keys() - {SHRANK.name}),
                anew=is_takedown,
                gpu=profile.embedding.device != "cpu",
                keep=profile.store.keep_publishes,
            )
        except CorpusShrankError as e:
            yield dg.AssetCheckResult(check_name=SHRANK.name, passed=False, description=str(e))
            raise
        if is_takedown:
            takedown.finish(store)
        else:
            sweep(store)
        yield _shrank(report.shrinkage)
        yield dg.MaterializeResult(metadata=describe(report) | _LINEAGE | _show(store.files.root) | _accepted(accepted))


def _shrank(shrinkage: Shrinkage) -> dg.AssetCheckResult:
    lost = {f"lost/{cause}": n for cause, n in shrinkage.causes(meant=False).items()}
    meant = {f"meant/{cause}": n for cause, n in shrinkage.causes(meant=True).items()}
    said = f"accepted: {shrinkage.summary}" if shrinkage.is_too_much else shrinkage.summary
    return dg.AssetCheckResult(
        check_name=SHRANK.name, passed=True, description=said, metadata={"left": shrinkage.lost.height} | lost | meant
    )


def _accepted(accepted: Sequence[str]) -> Metadata:
    return {"accepted": ", ".join(accepted)} if accepted else {}


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
    columns = ("doc_id", host, "language", "word_count", "duplicates")
    filtered = scan("filter_decisions", root)
    failed = corpus.select(rule="failed_rules").explode("rule").drop_nulls()
    return facts | {
        "filtered": filtered.select(pl.col("doc_id").n_unique()).collect().item(),
        "filtered_by_rule": count_table("rule", counts_of(filtered, "rule")),
        "failed_rules_of_kept": count_table("rule", counts_of(failed, "rule")),
        "removed": int(levels["removed"].sum()),
        "removed_by_rule": table(levels),
        "removed_by_host": table(hosts.head(_HOSTS_SHOWN).collect()),
        "containment_of_removed": histogram(near, "containment", SCORES, "{:.2f}"),
        "cosine_of_removed": histogram(near, "cosine", SCORES, "{:.2f}"),
        "text_length": histogram(corpus, "word_count", LENGTHS, "{:,}"),
        "preview": preview(corpus.select(columns)),
        "decisions": preview(decisions.select("removed_id", "kept_id", "level", "rule", "cosine", "containment")),
    }
