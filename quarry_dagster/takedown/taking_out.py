"""Taking what is on the list out of every table, and noting when nothing of it is left.

How a document leaves a table is said where that is declared (:data:`quarry_dagster.store.tables.Forgetting`), and how
it leaves other files, in :data:`KINDS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import polars as pl

from quarry_dagster.checks.standing import INPUTS, refuse_while_failed
from quarry_dagster.crawl.journal import forget_journals
from quarry_dagster.embed import vector_id
from quarry_dagster.errors import ChecksFailedError, ConfigError, CorpusShrankError
from quarry_dagster.extract import Extractor
from quarry_dagster.intake import Ledger
from quarry_dagster.profiles.settings import HardwareProfile
from quarry_dagster.stages import corpus_export, corpus_report, embeddings, extracted_text, faiss_index
from quarry_dagster.stages.backlog import describes
from quarry_dagster.stages.corpus import deduped_corpus
from quarry_dagster.stages.pages.crawling import journals
from quarry_dagster.stages.pages.findings import forget_in_findings
from quarry_dagster.stages.pages.further_seeds import forget_found
from quarry_dagster.stages.pages.raw_pages import CONTENT
from quarry_dagster.stages.pages.warc_files import forget_in_warcs
from quarry_dagster.stages.quality_signals import ruling_of
from quarry_dagster.stages.sweep import sweep
from quarry_dagster.store import (
    Acceptance,
    FactNotes,
    Fingerprint,
    Forgotten,
    Segment,
    Store,
    Table,
    TextSegment,
    again,
    digest_rows,
)
from quarry_dagster.store.schemas import ACCEPTED, EXTRACTED
from quarry_dagster.takedown.listing import Plan, plan

_BEFORE = "takedown"
"""A value that versions before this one kept in the log while a takedown was under way."""
_MADE_AGAIN: Mapping[str, Callable[[Store, str, HardwareProfile, Extractor], object]] = {
    "extracted_text": lambda store, partition, _, extractor: extracted_text.refresh(store, partition, extractor),
    "embeddings": lambda store, partition, profile, _: embeddings.refresh(store, partition, profile),
}
"""What makes a partition of these tables again from the table above it, in their order."""
KINDS: Mapping[str, str] = {
    "batches": "rows are emptied",
    "raw_pages": "rows are emptied",
    "problems": "rows are taken out",
    "consent": "rows are taken out",
    "extracted_text": "made again from raw pages",
    "page_metadata": "rows are taken out",
    "personal_data": "rows are taken out",
    "quality_signals": "rows are taken out",
    "embeddings": "made again from texts",
    "sketches": "made again with the corpus",
    "faiss_index": "published anew, from vectors alone",
    "deduped_corpus": "published anew, and no publish of before is kept",
    "corpus_report": "made again",
    "exports": "made again; those that lie elsewhere are named",
    "warc": "rewritten without the records",
    "crawling": "journals of killed crawls are deleted; a crawl under way writes no forgotten page",
    "seeds": "lists of pages that pages named are rewritten; what a user put there is the user's, and is named",
    "log": "commits of before are deleted, and what is noted of seeds names no such page",
    ".dagster": "is told nothing that a page wrote",
    ".locks": "empty files",
    ".writers": "processes that write",
}
"""How each kind of file below a data root is rid of what is forgotten; a test holds it complete."""
_EMPTIED = ("body", "body_digest", "etag", "last_modified", "content_type", "own_columns", "consent_headers")
"""The columns of `batches` and `raw_pages` that are emptied; what stays says where a page was, and why it went."""


def forget(
    store: Store,
    profile: HardwareProfile,
    named: str | Plan,
    *,
    who: str = "",
    why: str = "",
    accepted: Sequence[Acceptance] = (),
) -> int:
    """Keep out for good a URL, a document by its id, a host, or what a plan names; returns how many pages went.

    `accepted` is what somebody said to publish although it was to be refused.

    Raises:
        CorpusShrankError, ChecksFailedError: as :func:`take_out`.
        ConfigError: as :func:`quarry_dagster.takedown.plan`; or the corpus was made under another model than the
            profile's.
        StoreError: the store cannot be written.
    """
    index = store.faiss_index.current()
    if index and index.model != vector_id(profile.embedding):
        raise ConfigError(
            f"the corpus was made under another profile (vectors of {index.model!r}): name that one with --profile"
        )
    planned = plan(store, named) if isinstance(named, str) else named
    Forgotten.put(store.files, planned.takedowns(who, why))
    return take_out(store, profile, accepted)


def is_unfinished(store: Store) -> bool:
    """Whether a takedown is under way, or could not end: then index and corpus are to be published anew."""
    return bool(store.forgotten().open) or store.files.log.value(_BEFORE) is not None


def resume(store: Store, profile: HardwareProfile) -> None:
    """End the takedowns that were listed and have not ended, where there are any: every run does so first.

    Raises:
        CorpusShrankError, ChecksFailedError: as :func:`take_out`.
        StoreError: the store cannot be written.
    """
    if is_unfinished(store):
        take_out(store, profile)


def take_out(store: Store, profile: HardwareProfile, accepted: Sequence[Acceptance] = ()) -> int:
    """Take all that is on the list out of every table; returns how many pages with a body went.

    Raises:
        CorpusShrankError, ChecksFailedError: index and corpus are not to be published, by what else the tables hold;
            the next that are published end the takedown.
        StoreError: the store cannot be written.
    """
    taken = empty(store, store.forgotten())
    with Extractor(profile.extraction, profile.hardware.worker_count) as extractor:
        for partition in store.raw_pages.segments():
            for table in store.tables():
                if table.forgets == "its partition is made again" and table.segment(partition):
                    _MADE_AGAIN[table.name](store, partition, profile, extractor)
                if table.forgets == "its rows are taken out with its text":
                    again(lambda: _without_texts(table, partition, store))  # noqa: B023
    try:
        _publish(store, profile, accepted)
    except (CorpusShrankError, ChecksFailedError) as e:
        raise type(e)(
            "what is forgotten is out of every table, but not yet out of the corpus that is published, for more would "
            f"change in it: {e}. Whatever publishes the next corpus ends the takedown"
        ) from e
    finally:
        finish(store)
    if store.files.exists(corpus_report.PATH):
        corpus_report.refresh(store, profile)
    return taken


def empty(store: Store, forgotten: Forgotten) -> int:
    """Empty batches, raw pages, journals and WARC files of what is on the list; returns how many pages had a body.

    Raises:
        StoreError: the store cannot be written.
    """
    forget_journals(journals(store))
    forget_found(store, forgotten)
    before = {partition: segment.version for partition, segment in store.batches.segments().items()}
    with store.files.lock("intake"):
        for partition in store.batches.segments():
            again(lambda: _empty_batch(store, partition, forgotten))  # noqa: B023
    after = {partition: segment.version for partition, segment in store.batches.segments().items()}
    taken = 0
    for partition in store.raw_pages.segments():
        with store.raw_pages.lock(partition):
            taken += again(
                lambda: _empty_pages(store, partition, forgotten, before[partition], after[partition])  # noqa: B023
            )
    forget_in_findings(store, forgotten)
    forget_in_warcs(store, forgotten)  # after that: a crawl under way may have written one until then
    return taken


def finish(store: Store) -> None:
    """Delete what only earlier versions hold; where none of what is forgotten is left, its takedown has ended.

    Raises:
        StoreError: the store cannot be written.
    """
    forgotten = store.forgotten()
    sweep(store, at_once=True)
    if _something_is_left(store, forgotten):
        return
    corpus_export.make_again(store)
    with store.files.lock("intake"):
        Ledger.read(store).forget(store, forgotten)
    store.files.log.forget_past()
    Forgotten.note_applied(store.files, [each.key for each in forgotten.takedowns])
    store.files.log.set(_BEFORE, lambda _: None)
    store.files.log.checkpoint()  # so that there are two again


def _without_texts(table: Table[FactNotes], partition: str, store: Store) -> None:
    """Take out of a partition the rows of documents that have no text any more; the others stay as they are."""
    with table.lock(partition):
        segment, texts = table.segment(partition), store.extracted_text.segment(partition)
        if segment is None or texts is None or describes(segment, texts):
            return
        accepted = pl.concat(list(texts.batches(["doc_id", "outcome"], rows=4096))).filter(ACCEPTED)
        with table.write(partition, segment.schema) as writer:
            for frame in segment.batches():
                writer.append(frame.join(accepted, on="doc_id", how="semi"))
            made_from = Fingerprint((texts.path,), segment.notes.input.maker)
            writer.note(replace(segment.notes, input=made_from, rows=writer.rows))


def _something_is_left(store: Store, forgotten: Forgotten) -> bool:
    """Whether a table, or the published corpus, still has what is on the list."""
    corpus = store.deduped_corpus.current()
    texts = [*store.extracted_text.segments().values()]
    if corpus:
        there = {segment.path for segment in texts}
        published = store.extracted_text.segments_at(corpus.inputs.texts).values()
        texts += [segment for segment in published if segment.path not in there]
    tables = (segment for table in (store.batches, store.raw_pages) for segment in table.segments().values())
    return any(_with_body(segment, forgotten) for segment in tables) or any(
        _with_text(segment, forgotten) for segment in texts
    )


def _publish(store: Store, profile: HardwareProfile, accepted: Sequence[Acceptance]) -> None:
    """Publish index and corpus anew, where there are any."""
    if store.faiss_index.current():
        refuse_while_failed(store, INPUTS, [])
        faiss_index.refresh(store, list(store.batches.segments()), profile, anew=True)
    if store.deduped_corpus.current():
        deduped_corpus.refresh(
            store,
            profile.deduplication,
            "forget",
            quality=ruling_of(profile.quality),
            checks=profile.checks,
            accepted=accepted,
            anew=True,
        )


def _empty_batch(store: Store, partition: str, forgotten: Forgotten) -> None:
    """Write a batch again without what the forgotten seeds carry."""
    segment = store.batches.segment(partition)
    if segment and (ids := _with_body(segment, forgotten)):
        with store.batches.write(segment.partition, over=segment) as writer:
            for frame in segment.batches():
                writer.append(_emptied(frame, ids, forgotten))


def _empty_pages(store: Store, partition: str, forgotten: Forgotten, before: int, after: int) -> int:
    """Write raw pages again without what the forgotten ones hold; returns how many these are.

    `before` and `after` are the versions of the partition's batch before and after it was emptied.
    """
    segment = store.raw_pages.segment(partition)
    if segment is None or not (ids := _with_body(segment, forgotten)):
        return 0
    facts: list[pl.DataFrame] = []
    with store.raw_pages.write(partition, over=segment) as writer:
        for frame in segment.batches():
            rows = _emptied(frame, ids, forgotten)
            writer.append(rows)
            facts.append(rows.select(CONTENT))
        content = digest_rows(pl.concat(facts))
        is_behind = segment.notes.batch != before  # a partition that is behind its batch stays so
        writer.note(replace(segment.notes, content=content, batch=segment.notes.batch if is_behind else after))
    return len(ids)


def _with_body(segment: Segment, forgotten: Forgotten) -> list[str]:
    """The doc_ids of the forgotten rows of a segment that have a body, or columns of their user's."""
    carried = pl.col("body_digest").is_not_null() | pl.col("own_columns").is_not_null()
    return [
        doc_id
        for frame in segment.batches(["doc_id", "url", "final_url", "body_digest", "own_columns"], rows=4096)
        for doc_id, url, final_url in frame.filter(carried).select("doc_id", "url", "final_url").iter_rows()
        if forgotten.reason(url) or forgotten.reason(final_url)
    ]


def _with_text(segment: TextSegment, forgotten: Forgotten) -> bool:
    """Whether a segment has the text of a forgotten page."""
    columns = ["url", "final_url", "outcome"]
    rows = (row for frame in segment.batches(columns, rows=4096) for row in frame.iter_rows())
    return any(
        outcome == EXTRACTED and (forgotten.reason(url) or forgotten.reason(final_url))
        for url, final_url, outcome in rows
    )


def _emptied(frame: pl.DataFrame, ids: list[str], forgotten: Forgotten) -> pl.DataFrame:
    """The rows (of `batches` or `raw_pages`), those of these doc_ids without a body and with the reason."""
    gone = pl.col("doc_id").is_in(ids)
    urls = frame.select("url", "final_url").iter_rows()
    reasons = pl.Series([forgotten.reason(url) or forgotten.reason(final) for url, final in urls], dtype=pl.String)
    return frame.with_columns(
        *(pl.when(~gone).then(pl.col(c)).alias(c) for c in _EMPTIED if c in frame.columns),
        outcome=pl.when(gone).then(pl.lit("opted_out")).otherwise("outcome"),
        detail=pl.when(gone).then(reasons).otherwise("detail"),
    )
