"""The asset `faiss_index`."""

import dagster as dg

from quarry_dagster.orchestration.assets.embeddings import embeddings
from quarry_dagster.orchestration.assets.reporting import describe
from quarry_dagster.orchestration.partitions import sync_partitions
from quarry_dagster.orchestration.resources import Quarry
from quarry_dagster.stages import faiss_index as stage


class IndexConfig(dg.Config):
    """How this materialization treats the index that is there."""

    compact: bool = False
    """Build it anew, as few shards as memory allows, without the vectors that it passes over: if it is not so now."""


@dg.asset(deps=[embeddings], group_name="corpus", kinds={"python", "faiss"}, pool="corpus")
def faiss_index(context: dg.AssetExecutionContext, config: IndexConfig, quarry: Quarry) -> dg.MaterializeResult:
    """The FAISS index over the vector of every distinct text, plus a manifest of what is in it."""
    store = quarry.store()
    partitions = sync_partitions(context.instance, store)
    report = stage.refresh(store, partitions, quarry.hardware_profile(), compact=config.compact)
    snapshot = store.faiss_index.current()
    assert snapshot is not None
    facts = {k: snapshot.manifest[k] for k in ("kind", "dim", "vectors", "documents", "bytes", "model")}
    counts = {
        "shards": len(snapshot.manifest["shards"]),
        "removed_but_kept_in_file": snapshot.manifest["removed"],
        "partitions": len(snapshot.manifest["partitions"]),
    }
    return dg.MaterializeResult(metadata=describe(report) | facts | counts)
