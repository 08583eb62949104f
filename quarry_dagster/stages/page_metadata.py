"""`page_metadata` of one partition: what the page of every accepted document says of itself.

A page keeps its row while neither it nor what extraction found on it changes.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict
from typing import Any

import polars as pl

from quarry_dagster.digests import digest
from quarry_dagster.domains import Describer, Describing, version
from quarry_dagster.errors import StoreError
from quarry_dagster.extract import Page
from quarry_dagster.progress import track
from quarry_dagster.stages.extracted_text import page_of
from quarry_dagster.stages.report import StageReport
from quarry_dagster.store import FactNotes, FactSegment, Fingerprint, PagesSegment, Store, again
from quarry_dagster.store.schemas import ACCEPTED, PAGE_METADATA

Row = dict[str, Any]

_OF_TEXT = ("page_type", "page_type_source", "canonical_url", "title", "author", "date", "text_format")
_COLUMNS = ("doc_id", "outcome", "page_digest", "text", *_OF_TEXT)
_OF_PAGE = ("doc_id", "url", "final_url", "body", "content_type", "fetched_at")
_AT_ONCE = 128
"""Texts that are held at once."""


def refresh(store: Store, partition: str, describer: Describer, *, force: bool = False) -> StageReport:
    """Bring one partition of `page_metadata` up to date with its texts.

    `force` describes its pages anew although nothing changed.

    Raises:
        ConfigError: a processor of the user's own is not there.
        StoreError: the partition has no texts, or the store cannot be written.
    """
    with store.page_metadata.lock(partition):
        return again(lambda: _refresh(store, partition, describer, force))


def _refresh(store: Store, partition: str, describer: Describer, force: bool) -> StageReport:
    start = time.monotonic()
    texts, raw = store.extracted_text.segment(partition), store.raw_pages.segment(partition)
    if texts is None or raw is None:
        raise StoreError(f"partition {partition!r} has no extracted_text yet: materialize extracted_text first")
    fingerprint = Fingerprint((texts.path,), version(describer.own))
    old = store.page_metadata.segment(partition)
    report = StageReport(rows=texts.notes.documents)
    if old is not None and old.notes.input == fingerprint and not force:
        report.outcomes = Counter({"unchanged": report.rows})
        report.seconds = time.monotonic() - start
        return report
    earlier = _earlier(old, fingerprint.maker) if not force else {}
    with store.page_metadata.write(partition) as writer, track("page_metadata", report.rows, "pages") as advance:
        reused: list[Row] = []
        facts: dict[str, Row] = {}  # of the pages that the workers have in hand

        def to_describe() -> Iterator[Describing]:
            for frame in texts.batches(_COLUMNS, rows=_AT_ONCE):
                waiting: dict[str, Row] = {}
                for row in frame.filter(ACCEPTED).iter_rows(named=True):
                    made_from = _made_from(row)
                    if made_from in earlier:
                        reused.append(earlier[made_from] | {"doc_id": row["doc_id"]})
                    else:
                        waiting[row["doc_id"]] = row
                        facts[row["doc_id"]] = {
                            "doc_id": row["doc_id"],
                            "published": row["date"],
                            "made_from": made_from,
                            "partition": partition,
                        }
                for page in _pages(raw, set(waiting)):
                    yield describer.job(page, waiting.pop(page.key))
                for doc_id, row in waiting.items():  # the page is gone meanwhile: what extraction found is left
                    yield describer.job(Page(doc_id, "", b"", "text/plain"), row)

        def write(rows: list[Row]) -> None:
            writer.append(rows)
            advance(len(rows))
            rows.clear()

        fresh: list[Row] = []
        for found in describer.do(to_describe()):
            row = asdict(found)
            fresh.append(row | facts.pop(row.pop("key")))
            report.worked += 1
            report.outcomes["described" if found.detail is None else "described in part"] += 1
            for rows in (fresh, reused):
                if len(rows) >= _AT_ONCE:
                    report.outcomes["reused"] += len(rows) if rows is reused else 0
                    write(rows)
        report.outcomes["reused"] += len(reused)
        write(fresh)
        write(reused)
        writer.note(FactNotes(input=fingerprint, rows=writer.rows))
    report.written = 1
    report.outcomes = +report.outcomes
    report.seconds = time.monotonic() - start
    return report


def _pages(raw: PagesSegment, ids: Collection[str]) -> Iterator[Page]:
    """The pages of these documents that have a body."""
    for frame in raw.matching(ids, _OF_PAGE):
        yield from map(page_of, frame.filter(pl.col("body").is_not_null()).iter_rows(named=True))


def _made_from(row: Mapping[str, Any]) -> str:
    """What a row depends on besides the rules: the page, and what extraction found on it."""
    said = [row["page_digest"], digest((row["text"] or "").encode("utf-8", "surrogatepass"))]
    return digest("\x1f".join(map(str, (*said, *(row[name] for name in _OF_TEXT)))).encode("utf-8", "surrogatepass"))


def _earlier(old: FactSegment | None, maker: str) -> dict[str, Row]:
    """Rows of the earlier version that are still valid, by what they were made from."""
    if old is None or old.notes.input.maker != maker:
        return {}
    rows = (row for frame in old.batches(PAGE_METADATA.names(), rows=4096) for row in frame.iter_rows(named=True))
    return {row["made_from"]: row for row in rows}
