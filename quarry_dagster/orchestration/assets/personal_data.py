"""The asset `personal_data`."""

import dagster as dg

from quarry_dagster.orchestration.assets.extracted_text import extracted_text
from quarry_dagster.orchestration.assets.reporting import (
    Metadata,
    column_lineage,
    column_schema,
    count_table,
    counts_of,
    materialize_each,
)
from quarry_dagster.orchestration.partitions import crawl_batches
from quarry_dagster.orchestration.resources import Quarry
from quarry_dagster.orchestration.run_config import WorkConfig
from quarry_dagster.stages import personal_data as stage
from quarry_dagster.stages.report import StageReport
from quarry_dagster.store.schemas import PERSONAL_DATA

_LINEAGE = column_lineage(
    {
        "extracted_text": {column: column for column in ("doc_id", "partition")}
        | dict.fromkeys(("type", "rule", "confidence", "start", "end"), "text")
    }
)


@dg.asset(
    partitions_def=crawl_batches,
    deps=[extracted_text],
    group_name="corpus",
    kinds={"python", "parquet"},
    pool="personal_data",
    metadata=column_schema(PERSONAL_DATA),
)
def personal_data(context: dg.AssetExecutionContext, config: WorkConfig, quarry: Quarry) -> dg.MaterializeResult:
    """Where each document has e-mail addresses, phones, cards, ids or secrets: never what they are."""
    with quarry.materializing(context) as (store, _):

        def refresh(partition: str, force: bool) -> StageReport:
            return stage.refresh(store, partition, force=force)

        def show(partition: str) -> Metadata:
            found = store.personal_data.scan([partition]).explode("found").unnest("found").drop_nulls("type")
            counts = counts_of(found, "type")
            return _LINEAGE | {"dagster/row_count": sum(counts.values()), "types": count_table("type", counts)}

        return materialize_each(context, config, store, store.personal_data, refresh, show)
