"""`extracted_text` of one partition: main text and metadata of every page, or why there is none.

A page whose bytes were extracted before under the same extractor and settings keeps its row. One that failed
keeps it only while nothing else of its partition changes: then it is tried again.

Why so: "Failed extractions are not retried while nothing changes" in docs/decisions.md.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

import polars as pl

from quarry_dagster.digests import digest
from quarry_dagster.errors import StoreError
from quarry_dagster.extract import PLAIN_TEXT, Extractor, Page, by_length, extractor_version, plain_version, text_digest
from quarry_dagster.extract.published import LATER
from quarry_dagster.progress import track
from quarry_dagster.seeds.own_columns import split
from quarry_dagster.stages.report import StageReport
from quarry_dagster.store import Fingerprint, PagesSegment, Store, TextNotes, TextSegment, again, digest_rows
from quarry_dagster.store.schemas import EXTRACT_FAILURES, EXTRACTED, EXTRACTED_TEXT, TOO_SHORT

Row = dict[str, Any]

_FROM_PAGE = ("doc_id", "url", "final_url", "fetched_at", "partition")


def refresh(
    store: Store, partition: str, extractor: Extractor, *, force: bool = False, retry: bool = False
) -> StageReport:
    """Bring one partition of `extracted_text` up to date with its raw pages.

    `force` extracts every page anew although nothing changed, `retry` those whose extraction failed.

    Raises:
        StoreError: the partition has no raw pages, or the store cannot be written.
    """
    with store.extracted_text.lock(partition):
        return again(lambda: _refresh(store, partition, extractor, force, retry))


def _refresh(store: Store, partition: str, extractor: Extractor, force: bool, retry: bool) -> StageReport:
    start = time.monotonic()
    raw = store.raw_pages.segment(partition)
    if raw is None:
        raise StoreError(f"partition {partition!r} has no raw_pages yet: materialize raw_pages first")
    old = store.extracted_text.segment(partition)
    settings = extractor.settings
    version = extractor_version(settings)
    # Limits do not change a text, but with others a page that failed deserves another try.
    maker = f"{version} {settings.page_timeout} s {settings.worker_memory_mb} MB min_words {settings.min_words}"
    fingerprint = Fingerprint((raw.notes.content,), maker)
    report = StageReport(rows=raw.rows)
    if (
        old is not None
        and not force
        and not (retry and has_failures(old))
        and _holds(old, fingerprint, version, settings.min_words)
    ):
        report.outcomes = Counter(old.notes.outcomes)
        report.seconds = time.monotonic() - start
        return report
    earlier = {} if force else _earlier(old, version, plain_version(settings), settings.min_words)
    documents: list[tuple[str, str, str]] = []
    languages: Counter[str] = Counter()
    plain = 0
    with store.extracted_text.write(partition) as writer, track("extracted_text", raw.rows, "pages") as advance:
        pages: dict[str, Row] = {}  # facts of the pages that the workers have in hand
        reused: list[Row] = []

        def to_extract() -> Iterator[Page]:
            for row in _raw_rows(raw):
                fills, metadata = split(row["own_columns"])
                digest = _page_digest(row, fills)
                facts = {k: row[k] for k in _FROM_PAGE} | {"page_digest": digest, "metadata": metadata} | fills
                if row["body"] is None:
                    reason = row["outcome"] + (f": {row['detail']}" if row["detail"] else "")
                    reused.append(facts | {"outcome": "not_fetched", "detail": reason, "word_count": 0})
                elif digest in earlier:
                    reused.append(earlier[digest] | facts)
                else:
                    pages[row["doc_id"]] = facts
                    yield page_of(row)

        def write(rows: list[Row]) -> None:
            nonlocal plain
            plain += sum(r["extractor"] == PLAIN_TEXT for r in rows if "extractor" in r)
            writer.append(rows)
            advance(len(rows))
            report.outcomes.update(r["outcome"] for r in rows)
            accepted = [r for r in rows if r["outcome"] == EXTRACTED]
            documents.extend((r["doc_id"], r["text_digest"], r["url"]) for r in accepted)
            languages.update(r["language"] or "unknown" for r in accepted)
            rows.clear()

        fresh: list[Row] = []
        for extraction in extractor.extract(to_extract()):
            row = asdict(extraction)
            fresh.append(row | pages.pop(row.pop("key")))
            report.worked += 1
            if len(fresh) >= 50:
                write(fresh)
            if len(reused) >= 50:
                write(reused)
        write(fresh)
        write(reused)
        content = digest_rows(pl.DataFrame(documents, schema=["doc_id", "text_digest", "url"], orient="row"))
        writer.note(
            TextNotes(
                content=content,
                input=fingerprint,
                extractor_version=version,
                rows=writer.rows,
                documents=len(documents),
                outcomes=dict(report.outcomes),
                languages=dict(languages),
                plain_version=plain_version(settings),
                plain=plain,
                min_words=settings.min_words,
            )
        )
    report.written = 1
    report.seconds = time.monotonic() - start
    return report


def has_failures(texts: TextSegment) -> bool:
    """Whether the extraction of a page failed."""
    return any(texts.notes.outcomes.get(outcome) for outcome in EXTRACT_FAILURES)


def _holds(old: TextSegment, fingerprint: Fingerprint, version: str, min_words: int) -> bool:
    """Whether a segment is what would be made now; other limits change nothing where no page failed."""
    notes = old.notes
    is_same = (notes.input.inputs, notes.extractor_version, notes.min_words) == (fingerprint.inputs, version, min_words)
    return old.notes.input == fingerprint or (is_same and not has_failures(old))


def page_of(row: Row) -> Page:
    """The page of a row of `raw_pages` that has a body."""
    day = row["fetched_at"].date().isoformat()
    return Page(row["doc_id"], row["final_url"] or row["url"], row["body"], row["content_type"], day)


def _raw_rows(raw: PagesSegment) -> Iterator[Row]:
    for frame in raw.batches():
        yield from frame.iter_rows(named=True)


def _page_digest(row: Row, fills: Mapping[str, str]) -> str:
    """What a row depends on besides the extractor: the bytes, their declared type, the address, what its seed fills."""
    facts = [str(row[k]) for k in ("body_digest", "content_type", "final_url")]
    return digest("\x1f".join([*facts, *(f"{name}={value}" for name, value in fills.items())]).encode())


def _earlier(old: TextSegment | None, version: str, plain_version: str, min_words: int) -> dict[str, Row]:
    """Rows of the earlier version that are still valid, by page digest: all of them, or those of plain texts."""
    if old is None:
        return {}
    is_valid = ~pl.col("outcome").is_in(["not_fetched", *EXTRACT_FAILURES])
    # It may no longer be later than the day of the fetch, where the page was fetched again since.
    is_valid &= pl.col("date_source").ne_missing(LATER)
    if old.notes.extractor_version != version:
        if old.notes.plain_version != plain_version:
            return {}
        is_valid &= pl.col("extractor") == PLAIN_TEXT
    rows = pl.concat(list(old.batches(EXTRACTED_TEXT.names(), rows=4096))).filter(is_valid)
    return {r["page_digest"]: _by_length(r, min_words) for r in rows.iter_rows(named=True)}


def _by_length(row: Row, min_words: int) -> Row:
    """The row as it is where so many words make a text a document."""
    short = by_length(row["word_count"], min_words)
    if row["outcome"] == EXTRACTED and short:
        return row | {"outcome": TOO_SHORT, "detail": short, "text_digest": None}
    if row["outcome"] == TOO_SHORT:
        as_document = {"outcome": EXTRACTED, "detail": None, "text_digest": text_digest(row["text"])}
        return row | ({"detail": short} if short else as_document)
    return row
