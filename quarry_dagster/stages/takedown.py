"""Taking forgotten documents out of every table, without the network.

What is forgotten is deleted: the versions and snapshots that still hold it go too.
"""

from __future__ import annotations

import polars as pl

from quarry_dagster.extract import Extractor
from quarry_dagster.forget import Forgotten
from quarry_dagster.profiles import HardwareProfile
from quarry_dagster.stages import deduped_corpus, embeddings, extracted_text, faiss_index
from quarry_dagster.stages.raw_pages import CONTENT
from quarry_dagster.store import Segment, Store, Table, digest_rows
from quarry_dagster.store.schemas import BATCHES, RAW_PAGES

_EMPTIED = ("body", "body_digest", "etag", "last_modified", "content_type")


def apply(store: Store, profile: HardwareProfile, forgotten: Forgotten) -> int:
    """Take out what is on the list; returns how many pages that had a body were taken out.

    Raises:
        StoreError: the store cannot be written.
    """
    taken = 0
    for segment in store.batches.segments().values():
        _rewrite(store.batches, segment, BATCHES, forgotten)
    with Extractor(profile.extraction, profile.hardware.worker_count) as extractor:
        for partition, segment in store.raw_pages.segments().items():
            taken_here = _rewrite(store.raw_pages, segment, RAW_PAGES, forgotten)
            if not taken_here:
                continue
            taken += taken_here
            if store.extracted_text.segment(partition):
                extracted_text.refresh(store, partition, extractor)
            if store.embeddings.segment(partition):
                embeddings.refresh(store, partition, profile)
    if taken and store.faiss_index.current():
        faiss_index.refresh(store, list(store.batches.segments()), profile)
        deduped_corpus.refresh(store, profile.deduplication, "forget")
        store.faiss_index.clean(keep=1)
        store.deduped_corpus.clean(keep=1)
    for table in (store.batches, store.raw_pages):
        table.prune((), previous=False)
    deduped_corpus.prune(store, previous=False)
    return taken


def _rewrite(table: Table, segment: Segment, schema: pl.Schema, forgotten: Forgotten) -> int:
    """Empty the forgotten rows of a segment; returns how many rows with a body there were."""
    ids = [
        doc_id
        for frame in segment.batches(["doc_id", "url", "body_digest"], rows=4096)
        for doc_id, url, digest in frame.iter_rows()
        if digest is not None and forgotten.reason(url)
    ]
    if not ids:
        return 0
    gone = pl.col("doc_id").is_in(ids)
    facts: list[pl.DataFrame] = []
    with table.write(segment.partition) as writer:
        for frame in segment.batches():
            reasons = pl.Series("reason", [forgotten.reason(u) for u in frame["url"]], dtype=pl.String)
            kept = frame.with_columns(
                *(pl.when(~gone).then(pl.col(c)).alias(c) for c in _EMPTIED),
                outcome=pl.when(gone).then(pl.lit("opted_out")).otherwise("outcome"),
                detail=pl.when(gone).then(reasons).otherwise("detail"),
            )
            writer.append(kept)
            facts.append(kept.select(CONTENT))
        if schema is RAW_PAGES:
            writer.note(content=digest_rows(pl.concat(facts)), rows=writer.rows, policy=segment.metadata["policy"])
    return len(ids)
