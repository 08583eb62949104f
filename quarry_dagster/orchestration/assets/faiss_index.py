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
    index = store.faiss_index.current()
    assert index is not None
    facts = {
        "kind": index.kind,
        "dim": index.dim,
        "vectors": index.vectors,
        "documents": index.documents,
        "bytes": index.bytes,
        "model": index.model,
        "shards": len(index.shards),
        "removed_but_kept_in_file": index.removed,
        "partitions": len(index.partitions),
    }
    return dg.MaterializeResult(metadata=describe(report) | facts)
