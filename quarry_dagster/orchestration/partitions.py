"""The dynamic partitions `crawl_batches`: telling Dagster which batches the data root has.

The data root is the truth: a Dagster instance that is new, or was lost, learns its partitions from there. A
partition that this instance has materialized and no longer lists was deleted by its user: its documents go.

Why so: "Deleting a partition in Dagster deletes its documents" in docs/decisions.md.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

import dagster as dg

from quarry_dagster.store import Store

RAW_PAGES = dg.AssetKey("raw_pages")

CRAWL_BATCHES = "crawl_batches"
crawl_batches = dg.DynamicPartitionsDefinition(name=CRAWL_BATCHES)

_CHUNK = 10_000


def sync_partitions(instance: dg.DagsterInstance, store: Store) -> list[str]:
    """Reconcile the instance's partitions with the batches there are; returns the partitions that exist, in order."""
    batches = set(store.batches.segments())
    listed = set(instance.get_dynamic_partitions(CRAWL_BATCHES))
    unlisted = batches - listed
    deleted = unlisted & instance.get_materialized_partitions(RAW_PAGES) if unlisted else set()
    if deleted:  # their files stay until no corpus that is kept reads them
        store.delete_partitions(deleted)
    added = sorted(unlisted - deleted)
    for start in range(0, len(added), _CHUNK):
        instance.add_dynamic_partitions(CRAWL_BATCHES, added[start : start + _CHUNK])
    return sorted(batches - deleted)


def crawled_since(instance: dg.DagsterInstance, moment: datetime) -> set[str]:
    """Partitions whose raw pages were materialized after this moment, as this instance knows.

    The data root cannot tell: a crawl that finds nothing new writes nothing.
    """
    found: set[str] = set()
    recent = dg.AssetRecordsFilter(RAW_PAGES, after_timestamp=moment.timestamp())
    cursor, more = None, True
    while more:
        page = instance.fetch_materializations(recent, limit=1000, cursor=cursor)
        found |= {r.partition_key for r in page.records if r.partition_key}
        cursor, more = page.cursor, page.has_more
    return found


def consecutive(listed: Sequence[str], wanted: Collection[str], size: int) -> list[list[str]]:
    """The wanted partitions in runs of at most `size` that follow each other as Dagster lists them.

    A run's range stands for all that Dagster lists between its ends, so an unwanted partition ends it.
    """
    runs: list[list[str]] = [[]]
    for partition in listed:
        if partition not in wanted or len(runs[-1]) == size:
            runs.append([])
        if partition in wanted:
            runs[-1].append(partition)
    return [run for run in runs if run]


def range_tags(run: Sequence[str]) -> dict[str, str]:
    """The tags of a Dagster run that takes these consecutive partitions."""
    return {"dagster/asset_partition_range_start": run[0], "dagster/asset_partition_range_end": run[-1]}
