"""What failed: pages that did not come when they were last asked for, and pages whose extraction failed."""

from __future__ import annotations

import polars as pl

from quarry_dagster.stages.extracted_text import has_failures
from quarry_dagster.stages.pages.raw_pages import failed_pages
from quarry_dagster.store import Store


def failed_partitions(store: Store) -> list[str]:
    """The partitions in which a page failed that another run may get, in order."""
    pages, texts = store.raw_pages.segments(), store.extracted_text.segments()
    found: list[str] = []
    for partition, batch in store.batches.segments().items():
        if partition in texts and has_failures(texts[partition]):
            found.append(partition)
        elif partition in pages and (failed := failed_pages(pages[partition])):
            # What an archive says of a page is no answer of its site.
            rows = batch.batches(["doc_id", "outcome"], rows=4096)
            if any(not failed.isdisjoint(r.filter(pl.col("outcome").is_null())["doc_id"]) for r in rows):
                found.append(partition)
    return found
