"""Checks of `deduped_corpus`: nothing is lost, and every removal has a witness in the corpus."""

import dagster as dg
import polars as pl

from quarry_dagster.assets import deduped_corpus
from quarry_dagster.reader import scan
from quarry_dagster.resources import Quarry
from quarry_dagster.store import Segment, Store
from quarry_dagster.store.schemas import EXTRACTED_TEXT, embeddings_schema


@dg.asset_check(asset=deduped_corpus, blocking=True)
def conservation(quarry: Quarry) -> dg.AssetCheckResult:
    """Every document whose vector the index holds is either kept or removed by exactly one decision."""
    store = quarry.store()
    snapshot = store.deduped_corpus.current()
    assert snapshot is not None
    inputs = snapshot.manifest["inputs"]
    same_text = ["doc_id", "text_digest"]
    embedded = [s for p in inputs["embeddings"].values() if (s := store.embeddings.at(p)).rows]
    texts = store.files.scan(list(inputs["extracted_text"].values()), EXTRACTED_TEXT).select(same_text)
    vectors = pl.concat([pl.LazyFrame(schema=dict.fromkeys(same_text, pl.String)), *(_ids(store, s) for s in embedded)])
    expected = texts.join(vectors, on=same_text, how="semi").select("doc_id").collect()
    kept = scan("deduped_corpus", store.files.root).select("doc_id")
    removed = scan("dedup_decisions", store.files.root).select(doc_id="removed_id")
    found = pl.concat([kept, removed]).collect()
    twice = 0 if inputs["settings"]["mode"] == "annotate" else int(found["doc_id"].is_duplicated().sum())
    missing = expected.join(found, on="doc_id", how="anti").height
    unknown = found.join(expected, on="doc_id", how="anti").height
    return dg.AssetCheckResult(
        passed=twice == missing == unknown == 0,
        severity=dg.AssetCheckSeverity.ERROR,
        metadata={"documents": expected.height, "in_both": twice, "missing": missing, "unknown": unknown},
    )


def _ids(store: Store, segment: Segment) -> pl.LazyFrame:
    schema = embeddings_schema(segment.metadata["dim"])
    return store.files.scan([segment.path], schema).select("doc_id", "text_digest")


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
