"""The asset `faiss_index`."""

import dagster as dg

from quarry_dagster import takedown
from quarry_dagster.checks.standing import INPUTS, refuse_while_failed
from quarry_dagster.orchestration.assets.embeddings import embeddings
from quarry_dagster.orchestration.assets.reporting import describe
from quarry_dagster.orchestration.partitions import sync_partitions
from quarry_dagster.orchestration.resources import Quarry
from quarry_dagster.orchestration.run_config import IndexConfig, acceptances, accepted_here
from quarry_dagster.stages import faiss_index as stage


@dg.asset(deps=[embeddings], group_name="corpus", kinds={"python", "faiss"}, pool="corpus")
def faiss_index(context: dg.AssetExecutionContext, config: IndexConfig, quarry: Quarry) -> dg.MaterializeResult:
    """The FAISS index over the vector of every distinct text, plus a manifest of what is in it."""
    with quarry.materializing(context) as (store, profile):
        partitions = sync_partitions(context.instance, store)
        passed_over = refuse_while_failed(store, INPUTS, accepted_here(context, config.accept_check))
        report = stage.refresh(
            store,
            partitions,
            profile,
            accepted=acceptances(context.run.run_id, (f"check {name}" for name in passed_over)),
            compact=config.compact,
            force=config.force or bool(store.failed_checks().of_asset("faiss_index")),
            anew=takedown.is_unfinished(store),
        )
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
            "accepted": ", ".join(each.what for each in index.accepted),
        }
        return dg.MaterializeResult(metadata=describe(report) | facts)
