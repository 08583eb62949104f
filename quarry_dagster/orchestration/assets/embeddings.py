"""The asset `embeddings`."""

import dagster as dg

from quarry_dagster import gpu
from quarry_dagster.embed import Work, work_done
from quarry_dagster.orchestration.assets.extracted_text import extracted_text
from quarry_dagster.orchestration.assets.reporting import (
    Metadata,
    column_lineage,
    column_schema,
    materialize_each,
)
from quarry_dagster.orchestration.partitions import crawl_batches
from quarry_dagster.orchestration.resources import Quarry
from quarry_dagster.orchestration.run_config import WorkConfig
from quarry_dagster.stages import embeddings as stage
from quarry_dagster.stages.report import StageReport
from quarry_dagster.store.schemas import embeddings_schema

_LINEAGE = column_lineage(
    {"extracted_text": {c: c for c in ("doc_id", "text_digest", "partition")} | {"embedding": "text"}}
)


@dg.asset(
    partitions_def=crawl_batches,
    deps=[extracted_text],
    group_name="corpus",
    kinds={"pytorch", "parquet"},
    pool="embeddings",
)
def embeddings(context: dg.AssetExecutionContext, config: WorkConfig, quarry: Quarry) -> dg.MaterializeResult:
    """A vector for every accepted document; equal texts are embedded once and share it."""
    with quarry.materializing(context) as (store, profile):
        use, made = gpu.Use(), Work()

        def refresh(partition: str, force: bool) -> StageReport:
            nonlocal use, made
            before = work_done()
            with gpu.watch() as use:
                report = stage.refresh(store, partition, profile, force=force)
            made = work_done() - before
            return report

        def show(partition: str) -> Metadata:
            segment = store.embeddings.segment(partition)
            assert segment is not None
            # Here and not with the definition: the model sets the dimension.
            shown = column_schema(embeddings_schema(segment.notes.dim)) | {"model": segment.notes.model}
            if made.texts:  # plots, here and below
                shown["embeddings_per_second"] = round(made.texts_per_second, 1)
                shown["tokens_per_second"] = round(made.tokens_per_second)
            if use.samples:  # there is a GPU
                shown |= {
                    "gpu_utilization_percent": round(use.utilization, 1),
                    "gpu_utilization_max_percent": use.utilization_max,
                    "gpu_memory_mb": use.memory_used_mb,
                }
            return _LINEAGE | shown

        return materialize_each(context, config, store, store.embeddings, refresh, show)
