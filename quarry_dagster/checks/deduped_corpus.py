"""Checks of `deduped_corpus`: nothing is lost, and every removal has a witness in the corpus."""

import dagster as dg
import polars as pl

from quarry_dagster.assets import deduped_corpus
from quarry_dagster.reader import scan
from quarry_dagster.resources import Quarry


@dg.asset_check(asset=deduped_corpus, blocking=True)
def conservation(quarry: Quarry) -> dg.AssetCheckResult:
    """Every document in the corpus' snapshot is either kept or removed by exactly one decision."""
    root = quarry.store().files.root
    snapshot = quarry.store().deduped_corpus.current()
    assert snapshot is not None
    kept = scan("deduped_corpus", root).select("doc_id")
    removed = scan("dedup_decisions", root).select(doc_id="removed_id")
    ids = pl.concat([kept, removed]).collect()
    annotated = snapshot.manifest["inputs"]["settings"]["mode"] == "annotate"
    twice = 0 if annotated else int(ids["doc_id"].is_duplicated().sum())
    missing = int(snapshot.manifest["documents"]) - ids["doc_id"].n_unique()
    return dg.AssetCheckResult(
        passed=twice == 0 and missing == 0,
        severity=dg.AssetCheckSeverity.ERROR,
        metadata={"documents": snapshot.manifest["documents"], "in_both": twice, "missing": missing},
    )


@dg.asset_check(asset=deduped_corpus, blocking=True)
def witnesses(quarry: Quarry) -> dg.AssetCheckResult:
    """Every decision names a kept document that is in the corpus: no chains, no dangling witnesses."""
    root = quarry.store().files.root
    kept = scan("deduped_corpus", root).select(kept_id="doc_id")
    dangling = scan("dedup_decisions", root).join(kept, on="kept_id", how="anti").collect()
    return dg.AssetCheckResult(
        passed=dangling.is_empty(),
        severity=dg.AssetCheckSeverity.ERROR,
        metadata={"without_witness": dangling.height},
    )
