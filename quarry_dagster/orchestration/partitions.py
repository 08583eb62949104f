"""The dynamic partitions `crawl_batches`: telling Dagster which batches the data root has.

The data root is the truth: a Dagster instance that is new, or was lost, learns its partitions from there. A
partition that this instance has materialized as it is now, and no longer lists, was deleted by its user: its documents
go. One that was written since (the instance is an older copy, or the data root came from elsewhere) is listed again.

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
_ASKED = 500
"""Partitions that are asked for at once."""


def sync_partitions(instance: dg.DagsterInstance, store: Store) -> list[str]:
    """Reconcile the instance's partitions with the batches there are; returns the partitions that exist, in order."""
    batches = set(store.batches.segments())
    unlisted = batches - set(instance.get_dynamic_partitions(CRAWL_BATCHES))
    deleted = _materialized_since(instance, store, unlisted)
    if deleted:  # their files stay until no corpus that is kept reads them
        store.delete_partitions(deleted)
    added = sorted(unlisted - deleted)
    for start in range(0, len(added), _CHUNK):
        instance.add_dynamic_partitions(CRAWL_BATCHES, added[start : start + _CHUNK])
    return sorted(batches - deleted)


def deleted_partitions(instance: dg.DagsterInstance, store: Store) -> set[str]:
    """The partitions whose documents the next run takes out, because this instance's user deleted them."""
    listed = set(instance.get_dynamic_partitions(CRAWL_BATCHES))
    return _materialized_since(instance, store, set(store.batches.segments()) - listed)


def _materialized_since(instance: dg.DagsterInstance, store: Store, partitions: set[str]) -> set[str]:
    """Those of these partitions whose raw pages this instance materialized after they were last written."""
    there = instance.get_materialized_partitions(RAW_PAGES) & partitions if partitions else set[str]()
    written = {
        partition: segment.entry.at.timestamp()
        for partition in there
        if (segment := store.raw_pages.segment(partition)) and segment.entry
    }
    found: set[str] = set()
    names = sorted(written)
    for start in range(0, len(names), _ASKED):
        asked = names[start : start + _ASKED]
        since = min(written[name] for name in asked)
        recent = dg.AssetRecordsFilter(RAW_PAGES, asset_partitions=asked, after_timestamp=since - 1)
        cursor, more = None, True
        while more:
            page = instance.fetch_materializations(recent, limit=1000, cursor=cursor)
            found |= {
                r.partition_key for r in page.records if r.partition_key and r.timestamp >= written[r.partition_key]
            }
            cursor, more = page.cursor, page.has_more
    return found


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
