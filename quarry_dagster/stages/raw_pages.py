"""`raw_pages` of one partition: fetch what its batch names, keep what the batch carries.

A page that was fetched before is asked for conditionally. Where its body did not change, nor anything else of the
partition, no file is written. A transient failure (timeout, network, HTTP 429 or 5xx) keeps the earlier body and
says so in `detail`: one bad night must not empty a corpus. Any other failure replaces the row.

Responses go to a journal on disk as they come, and from there to the table once all are there: memory holds a few
bodies, and a crawl that was killed asks only for what it had not got.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any

import polars as pl

from quarry_dagster.crawl import Request, Response, crawl
from quarry_dagster.crawl.journal import Journal
from quarry_dagster.errors import StoreError
from quarry_dagster.forget import Forgotten
from quarry_dagster.profiles import Crawl
from quarry_dagster.progress import track
from quarry_dagster.stages.report import StageReport
from quarry_dagster.store import Segment, SegmentWriter, Store, digest_rows
from quarry_dagster.store.schemas import RAW_PAGES, WITH_BODY

_FACTS = [name for name in RAW_PAGES.names() if name != "body"]
CONTENT = ("doc_id", "url", "final_url", "content_type", "body_digest", "fetched_at")
"""What later stages depend on; its digest is a segment's `content`."""
_REFUSED = ("opted_out", "unsupported_type", "too_large")

Row = dict[str, Any]


def refresh(
    store: Store,
    partition: str,
    settings: Crawl,
    allow_addresses: Sequence[IPv4Network | IPv6Network],
    forgotten: Forgotten,
) -> StageReport:
    """Bring one partition of `raw_pages` up to date; memory holds a few bodies at a time, not the partition.

    Raises:
        StoreError: the partition has no batch, or the store cannot be written.
    """
    start = time.monotonic()
    batch = store.batches.segment(partition)
    if batch is None:
        raise StoreError(f"partition {partition!r} has no batch under {store.files.url('batches')}")
    old = store.raw_pages.segment(partition)
    earlier = _facts(old)
    policy = f"consent {settings.obey_consent} noindex {settings.obey_noindex} up to {settings.max_body_mb} MiB"
    same_policy = old is not None and old.metadata["policy"] == policy
    report = StageReport()
    rows: list[Row] = []  # facts of every row, without bodies
    keep: dict[str, Row] = {}  # rows whose earlier body stays, by doc_id
    with _journal(store, partition, old, settings, allow_addresses) as journal:
        waiting = _waiting(batch, forgotten)
        requests = _requests(waiting, earlier, same_policy=same_policy)
        origins = journals(store) / "origins.sqlite"
        report.worked = _fetch(requests, journal, settings, allow_addresses, origins, total=len(waiting))
        with store.raw_pages.write(partition) as writer:
            for row in _carried(batch, earlier, forgotten):
                _take(row | {"partition": partition}, rows, keep, writer)
            for response in journal.responses():
                doc_id = waiting.pop(response.url, None)
                if doc_id is None:  # of a batch that was replaced since, or forgotten
                    continue
                if reason := forgotten.reason(response.final_url):
                    response = replace(response, outcome="opted_out", detail=reason, body=None)
                row = _row(doc_id, response, earlier.get(doc_id))
                _take(row | {"partition": partition}, rows, keep, writer)
            facts = pl.DataFrame(rows, schema={k: RAW_PAGES[k] for k in _FACTS})
            same_batch = old is not None and old.metadata["batch"] == batch.version
            if (
                same_policy
                and same_batch
                and {r["doc_id"]: _state(r) for r in rows} == {k: _state(r) for k, r in earlier.items()}
            ):
                writer.discard()
            else:
                if old is not None and keep:
                    _copy_bodies(writer, old, keep)
                writer.note(
                    content=digest_rows(facts.select(CONTENT)), rows=facts.height, policy=policy, batch=batch.version
                )
                report.written = 1
    journal.delete()
    store.raw_pages.prune(partition=partition)
    report.rows = facts.height
    report.outcomes = Counter(facts["outcome"].to_list())
    report.seconds = time.monotonic() - start
    return report


def journals(store: Store) -> Path:
    """The folder of the journals of crawls under way: beside the tables, or on this machine for an object store."""
    if store.files.is_local:
        return Path(store.files.full("crawling"))
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "quarry" / "crawling" / hashlib.sha256(store.files.root.encode()).hexdigest()[:16]


def _journal(
    store: Store,
    partition: str,
    old: Segment | None,
    settings: Crawl,
    allow_addresses: Sequence[IPv4Network | IPv6Network],
) -> Journal:
    version = old.version if old else 0  # a 304 says that the body of this version stays
    allowed = " ".join(map(str, allow_addresses))
    try:
        return Journal(journals(store) / partition, f"{version} {settings.model_dump_json()} {allowed}")
    except OSError as e:
        raise StoreError(f"cannot write {journals(store)}: {e.strerror or e}; make it writable") from e


def _fetch(
    requests: Iterable[Request],
    journal: Journal,
    settings: Crawl,
    allow_addresses: Sequence[IPv4Network | IPv6Network],
    origins: Path,
    *,
    total: int,
) -> int:
    """Put into the journal the responses it has not got; returns how many that were."""
    done = journal.done()
    fetched = 0
    with track("raw_pages", total, "pages") as advance:
        advance(len(done))
        missing = (request for request in requests if request.url not in done)
        for response in crawl(missing, settings, allow_addresses=allow_addresses, origins=origins):
            journal.append(response)
            fetched += 1
            advance(1)
    return fetched


def _facts(segment: Segment | None) -> dict[str, Row]:
    """Rows of the earlier version without bodies, by doc_id."""
    if segment is None:
        return {}
    return {row["doc_id"]: row for batch in segment.batches(_FACTS, rows=4096) for row in batch.iter_rows(named=True)}


def _carried(batch: Segment, earlier: dict[str, Row], forgotten: Forgotten) -> Iterator[Row]:
    """Rows that need no request: given, archived, or forgotten. `body` is absent where the earlier one stays."""
    for frame in batch.batches():
        for seed in frame.iter_rows(named=True):
            row: Row = {k: seed.get(k) for k in _FACTS} | {"final_url": seed["final_url"] or seed["url"]}
            before = earlier.get(seed["doc_id"], {})
            if reason := forgotten.reason(seed["url"]):
                row |= {"outcome": "opted_out", "detail": reason, "body_digest": None, "body": None}
            elif seed["outcome"] is None:
                continue
            elif seed["body"] is None or before.get("body_digest") != seed["body_digest"]:
                row["body"] = seed["body"]
            if row["fetched_at"] is None:  # the moment this text first came to us
                same = before.get("body_digest") == row["body_digest"]
                row["fetched_at"] = before["fetched_at"] if before and same else datetime.now(UTC)
            yield row


def _waiting(batch: Segment, forgotten: Forgotten) -> dict[str, str]:
    """What the batch names without carrying it: doc_id by URL."""
    ids: dict[str, str] = {}
    for frame in batch.batches(["doc_id", "url", "outcome"], rows=4096):
        named = frame.filter(pl.col("outcome").is_null())
        ids |= {url: i for i, url in named.select("doc_id", "url").iter_rows() if not forgotten.reason(url)}
    return ids


def _requests(waiting: dict[str, str], earlier: dict[str, Row], *, same_policy: bool) -> Iterator[Request]:
    """Pages that we have, or that were refused, are asked for conditionally, unless the policy is another one now:
    then it has to see each page again."""
    conditional = (*WITH_BODY, *_REFUSED) if same_policy else ()
    for url, doc_id in waiting.items():
        before = earlier.get(doc_id)
        if before is None or before["outcome"] not in conditional:
            yield Request(url)
        else:
            yield Request(url, before["etag"], before["last_modified"], before["fetched_at"], before["final_url"])


def _row(doc_id: str, response: Response, before: Row | None) -> Row:
    """The row of a response; `body` is absent where the earlier one stays."""
    row: Row = {
        "doc_id": doc_id,
        "url": response.url,
        "final_url": response.final_url,
        "outcome": response.outcome,
        "detail": response.detail,
        "status": response.status,
        "fetched_at": response.fetched_at,
        "content_type": response.content_type,
        "etag": response.etag,
        "last_modified": response.last_modified,
        "body_digest": None,
    }
    if response.body is not None:
        row["body_digest"] = hashlib.sha256(response.body).hexdigest()[:32]
    if before is None or before["body_digest"] is None:
        if before is not None and response.outcome == "not_modified":
            return before | {"body": None}  # refused as before
        if before is not None and (before["outcome"], before["status"]) == (row["outcome"], row["status"]):
            return before | {"body": None}  # failed as before: since when is the truth worth keeping
        return row | {"body": response.body}
    validators = {k: row[k] or before[k] for k in ("etag", "last_modified")}
    if response.outcome == "not_modified":
        return before | validators | {"outcome": "not_modified", "status": response.status, "detail": None}
    if row["body_digest"] == before["body_digest"]:
        return row | {"fetched_at": before["fetched_at"]} | validators
    if _may_pass(response):
        since = before["fetched_at"].isoformat(timespec="seconds")
        detail = f"kept the body of {since}: {response.outcome}" + (f" {response.status}" if response.status else "")
        return before | {"detail": detail}
    return row | {"body": response.body}


def _may_pass(response: Response) -> bool:
    """Whether a failure says nothing about the page: it may be there tomorrow."""
    status = response.status or 0
    return response.transient or response.outcome in ("timeout", "network_error") or status == 429 or status >= 500


def _take(row: Row, rows: list[Row], keep: dict[str, Row], writer: SegmentWriter) -> None:
    rows.append({k: row[k] for k in _FACTS})
    if "body" in row:
        writer.append([row])
    else:
        keep[row["doc_id"]] = rows[-1]


def _state(row: Row) -> tuple[Any, ...]:
    """What makes a row another one. A 304 in place of a 200, or a new validator for the same body, does not."""
    outcome = "page" if row["outcome"] in WITH_BODY else row["outcome"]
    return (outcome, row["detail"], *(row[k] for k in CONTENT))


def _copy_bodies(writer: SegmentWriter, old: Segment, keep: dict[str, Row]) -> None:
    for frame in old.batches(["doc_id", "body"]):
        for doc_id, body in frame.filter(pl.col("doc_id").is_in(list(keep))).iter_rows():
            writer.append([keep[doc_id] | {"body": body}])
