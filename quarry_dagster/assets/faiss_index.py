"""The asset `faiss_index`."""

import dagster as dg

from quarry_dagster.assets.embeddings import embeddings
from quarry_dagster.assets.reporting import describe
from quarry_dagster.partitions import sync_partitions
from quarry_dagster.resources import Quarry
from quarry_dagster.stages import faiss_index as stage


@dg.asset(deps=[embeddings], group_name="corpus", kinds={"python", "faiss"}, pool="corpus")
def faiss_index(context: dg.AssetExecutionContext, quarry: Quarry) -> dg.MaterializeResult:
    """The FAISS index over the vector of every distinct text, plus a manifest of what is in it."""
    store = quarry.store()
    report = stage.refresh(store, sync_partitions(context.instance, store), quarry.hardware_profile())
    snapshot = store.faiss_index.current()
    assert snapshot is not None
    facts = {k: snapshot.manifest[k] for k in ("kind", "dim", "documents", "bytes", "model")}
    return dg.MaterializeResult(
        metadata=describe(report) | facts | {"partitions": len(snapshot.manifest["partitions"])}
    )
