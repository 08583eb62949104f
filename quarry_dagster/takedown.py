"""Taking forgotten documents out of every table, without the network.

What is forgotten is deleted: the versions and snapshots that still hold it go too.
"""

from __future__ import annotations

import polars as pl

from quarry_dagster.crawl.journal import forget_journals
from quarry_dagster.extract import Extractor
from quarry_dagster.store.forgotten import Forgotten
from quarry_dagster.profiles.settings import HardwareProfile
from quarry_dagster.stages import corpus_report, embeddings, extracted_text, faiss_index
from quarry_dagster.stages.corpus import deduped_corpus
from quarry_dagster.stages.pages.crawling import journals
from quarry_dagster.stages.pages.raw_pages import CONTENT
from quarry_dagster.stages.pages.warc_files import forget_in_warcs
from quarry_dagster.store import Segment, Store, Table, digest_rows

_EMPTIED = ("body", "body_digest", "etag", "last_modified", "content_type")


def apply(store: Store, profile: HardwareProfile, forgotten: Forgotten) -> int:
    """Take out what is on the list; returns how many pages that had a body were taken out.

    Killed half-way, it goes on where it stopped when it is called again.

    Raises:
        StoreError: the store cannot be written.
    """
    forget_journals(journals(store))
    before = {p: s.version for p, s in store.batches.segments().items()}
    with store.files.lock("intake"):
        for segment in store.batches.segments().values():
            _rewrite(store.batches, segment, forgotten)
    after = {p: s.version for p, s in store.batches.segments().items()}
    taken = 0
    for partition in store.raw_pages.segments():
        with store.raw_pages.lock(partition):
            segment = store.raw_pages.segment(partition)
            if segment is None:
                continue
            made_from = segment.metadata["batch"]  # a partition that is behind its batch stays so
            batch = after[partition] if made_from == before[partition] else made_from
            taken += _rewrite(store.raw_pages, segment, forgotten, batch=batch)
    forget_in_warcs(store, forgotten)  # after that: a crawl under way may have written one until then
    with Extractor(profile.extraction, profile.hardware.worker_count) as extractor:
        for partition in store.raw_pages.segments():
            if store.extracted_text.segment(partition):
                extracted_text.refresh(store, partition, extractor)
            if store.embeddings.segment(partition):
                embeddings.refresh(store, partition, profile)
    if store.faiss_index.current():
        faiss_index.refresh(store, list(store.batches.segments()), profile, anew=True)
    if store.deduped_corpus.current():
        deduped_corpus.refresh(store, profile.deduplication, "forget", anew=True)
    if store.files.exists(corpus_report.PATH):
        corpus_report.refresh(store, profile)
    for table in (store.batches, store.raw_pages):
        table.prune(previous=False)
    deduped_corpus.prune(store, previous=False)
    return taken


def _rewrite(table: Table, segment: Segment, forgotten: Forgotten, **notes: int) -> int:
    """Empty the forgotten rows of a segment and add to its notes; returns how many rows had a body."""
    ids = [
        doc_id
        for frame in segment.batches(["doc_id", "url", "final_url", "body_digest"], rows=4096)
        for doc_id, url, final_url, digest in frame.iter_rows()
        if digest is not None and (forgotten.reason(url) or forgotten.reason(final_url))
    ]
    if not ids:
        return 0
    gone = pl.col("doc_id").is_in(ids)
    facts: list[pl.DataFrame] = []
    with table.write(segment.partition) as writer:
        for frame in segment.batches():
            urls = frame.select("url", "final_url").iter_rows()
            reasons = pl.Series([forgotten.reason(u) or forgotten.reason(f) for u, f in urls], dtype=pl.String)
            kept = frame.with_columns(
                *(pl.when(~gone).then(pl.col(c)).alias(c) for c in _EMPTIED),
                outcome=pl.when(gone).then(pl.lit("opted_out")).otherwise("outcome"),
                detail=pl.when(gone).then(reasons).otherwise("detail"),
            )
            writer.append(kept)
            facts.append(kept.select(CONTENT))
        content = digest_rows(pl.concat(facts))
        writer.note(**segment.metadata | notes | {"content": content})
    return len(ids)
