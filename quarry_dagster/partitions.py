"""The dynamic partitions `crawl_batches`: telling Dagster which batches the data root has.

The data root is the truth: a Dagster instance that is new, or was lost, learns its partitions from there. A
partition that this instance has materialized and no longer lists was deleted by its user: its documents go.
"""

from __future__ import annotations

import dagster as dg

from quarry_dagster.store import Store

RAW_PAGES = dg.AssetKey("raw_pages")

crawl_batches = dg.DynamicPartitionsDefinition(name="crawl_batches")

_CHUNK = 10_000


def sync_partitions(instance: dg.DagsterInstance, store: Store) -> list[str]:
    """Reconcile the instance's partitions with the batches there are; returns the partitions that exist, in order."""
    batches = set(store.batches.segments())
    listed = set(instance.get_dynamic_partitions("crawl_batches"))
    unlisted = batches - listed
    deleted = unlisted & instance.get_materialized_partitions(RAW_PAGES) if unlisted else set()
    for partition in sorted(deleted):
        # Texts and vectors stay until the corpus that is published no longer reads them.
        store.raw_pages.delete(partition)
        store.batches.delete(partition)
    added = sorted(unlisted - deleted)
    for start in range(0, len(added), _CHUNK):
        instance.add_dynamic_partitions("crawl_batches", added[start : start + _CHUNK])
    return sorted(batches - deleted)
