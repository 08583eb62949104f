"""`raw_pages` of one partition: fetch what its batch names, keep what the batch carries.

A page that was fetched before is asked for conditionally. Where its body did not change, nor anything else of the
partition, no file is written. A transient failure (timeout, network, HTTP 429 or 5xx) keeps the earlier body and
says so in `detail`: one bad night must not empty a corpus. Any other failure replaces the row.

Responses go to a journal on disk as they come, and from there to the table once all are there: memory holds a few
bodies, and a crawl that was killed asks only for what it had not got.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any

import polars as pl

from quarry_dagster import __version__
from quarry_dagster.crawl import Request, Response, crawl
from quarry_dagster.crawl.journal import Journal
from quarry_dagster.crawl.media_types import is_list
from quarry_dagster.crawl.warc import WarcWriter
from quarry_dagster.environment import cache_folder
from quarry_dagster.errors import StoreError
from quarry_dagster.forget import Forgotten
from quarry_dagster.profiles import Crawl
from quarry_dagster.progress import track
from quarry_dagster.seeds import Discovery, discover, parse_discovery
from quarry_dagster.stages.report import StageReport
from quarry_dagster.store import Segment, SegmentWriter, Store, digest_rows
from quarry_dagster.store.schemas import HOST, RAW_PAGES, WITH_BODY
from quarry_dagster.store.store import SEEDS
from quarry_dagster.urls import doc_id as id_of
from quarry_dagster.urls import host_of

_FACTS = [name for name in RAW_PAGES.names() if name != "body"]
_GONE = (404, 410)
CONTENT = ("doc_id", "url", "final_url", "content_type", "body_digest", "fetched_at")
"""What later stages depend on; its digest is a segment's `content`."""
_FOUND = "found/"
"""Folder of the inbox for seeds that pages named."""
WARC = "warc"
"""Folder of the data root for WARC files."""
_REFUSED = ("opted_out", "unsupported_type", "too_large")

Row = dict[str, Any]

log = logging.getLogger("quarry_dagster")


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
        same_batch = old is not None and old.metadata["batch"] == batch.version
        waiting = _waiting(batch, forgotten)
        wanted = _wanted(batch)
        requests = _requests(waiting, earlier, wanted, same_policy=same_policy, same_batch=same_batch)
        origins = journals(store) / "origins.sqlite"
        report.worked = _fetch(requests, journal, settings, allow_addresses, origins, total=len(waiting))
        with store.raw_pages.write(partition) as writer:
            for row in _carried(batch, earlier, forgotten):
                _take(row | {"partition": partition}, rows, keep, writer)
            found: dict[str, Discovery] = {}
            came: dict[str, datetime | None] = {}  # pages that came, by URL, and when they last came before
            for response in journal.responses():
                doc_id = waiting.pop(response.url, None)
                if doc_id is None:  # of a batch that was replaced since, or forgotten
                    continue
                if reason := forgotten.reason(response.final_url):
                    response = replace(response, outcome="opted_out", detail=reason, body=None)
                if response.url in wanted:
                    response = _discover(response, wanted[response.url], found)
                before = earlier.get(doc_id)
                row = _row(doc_id, response, before, keep_gone=settings.keep_gone)
                if response.outcome in ("fetched", "not_modified") and row["body_digest"]:
                    came[response.url] = before["fetched_at"] if before else None
                _take(row | {"partition": partition}, rows, keep, writer)
            _drop_seeds(store, partition, found, settings.found_per_host, forgotten)
            facts = pl.DataFrame(rows, schema={k: RAW_PAGES[k] for k in _FACTS})
            if (
                same_policy
                and same_batch
                and {r["doc_id"]: _state(r) for r in rows} == {k: _state(r) for k, r in earlier.items()}
            ):
                writer.discard()
            else:
                if old is not None and keep:
                    _copy_bodies(writer, old, keep)
                if settings.write_warc and came:
                    _write_warc(store, writer.segment, journal, came)
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
    return cache_folder() / "crawling" / hashlib.sha256(store.files.root.encode()).hexdigest()[:16]


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


def _write_warc(store: Store, segment: Segment, journal: Journal, came: dict[str, datetime | None]) -> None:
    """The pages that came for this version of the partition, beside it."""
    with store.files.create(f"{WARC}/{segment.partition}/{segment.version:06d}.warc.gz") as file:
        writer = WarcWriter(file, f"QuarryCore/{__version__}")
        for response in journal.responses():
            if response.url in came:
                writer.write(response, came.pop(response.url))


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
            advance(1, None if response.outcome in ("fetched", "not_modified") else response.outcome)
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


def _wanted(batch: Segment) -> dict[str, Discovery]:
    """What to look for beside the page itself, by URL."""
    asked = pl.coalesce("discover", "detail")  # batches of before there was `discover` have it in `detail`
    frames = batch.batches(["url", "outcome", "detail", "discover"], rows=4096)
    wanted = (f.filter(pl.col("outcome").is_null() & asked.is_not_null()).select("url", asked) for f in frames)
    return {url: parse_discovery(discover) for f in wanted for url, discover in f.iter_rows()}


def _requests(
    waiting: dict[str, str],
    earlier: dict[str, Row],
    wanted: dict[str, Discovery],
    *,
    same_policy: bool,
    same_batch: bool,
) -> Iterator[Request]:
    """Pages that we have, or that were refused, are asked for conditionally, unless the policy is another one now:
    then it has to see each page again. So has a discovery that may be new."""
    conditional = (*WITH_BODY, *_REFUSED) if same_policy else ()
    for url, doc_id in waiting.items():
        before = earlier.get(doc_id)
        lists = url in wanted
        if before is None or before["outcome"] not in conditional or (lists and not same_batch):
            yield Request(url, lists=lists)
        else:
            known = (before["etag"], before["last_modified"], before["fetched_at"], before["final_url"])
            yield Request(url, *known, lists=lists)


def _discover(response: Response, wanted: Discovery, found: dict[str, Discovery]) -> Response:
    """Add what a response names to `found`; a list of pages is no page itself."""
    if response.body is None or response.final_url is None:
        return response
    there = discover(response.final_url, response.body, response.content_type, wanted)
    for url, further in there.seeds.items():
        found[url] = max(found.get(url, further), further, key=lambda d: (d.links, d.feeds, d.sitemaps))
    kind = there.kind or ("a list" if is_list(response.content_type) else None)
    if kind is None:
        return response
    detail = f"{kind}: its pages are seeds, it is none"
    return replace(response, outcome="unsupported_type", detail=detail, body=None)


def _drop_seeds(store: Store, partition: str, found: dict[str, Discovery], per_host: int, forgotten: Forgotten) -> None:
    """Put what was found, and is no seed yet, into the inbox; of each host at most so many in all.

    That happens before the partition is written: killed in between, it happens again, and adds nothing twice.
    """
    if not found:
        return
    known = store.batches.scan().select("doc_id", "url", "seed")
    ids = {id_of(url): url for url in found if not forgotten.reason(url)}
    old = known.select("doc_id").filter(pl.col("doc_id").is_in(list(ids))).collect()
    fresh = sorted(url for i, url in ids.items() if i not in set(old["doc_id"]))
    found_before = known.filter(pl.col("seed").str.starts_with(_FOUND)).group_by(HOST.alias("host")).len().collect()
    counts = Counter(dict(found_before.drop_nulls().iter_rows()))
    lines: list[str] = []
    for url in fresh:
        host = host_of(url)
        counts[host] += 1
        if counts[host] <= per_host:
            lines.append(f"{url} discover={found[url]}\n" if found[url] else f"{url}\n")
    if not lines:
        return
    content = "".join(lines).encode()
    name = f"{_FOUND}{partition}-{hashlib.sha256(content).hexdigest()[:12]}.txt"
    with store.files.create(f"{SEEDS}/{name}") as file:
        file.write(content)
    log.info("%s: %d further pages found; they wait in the inbox as %s", partition, len(lines), name)


def _row(doc_id: str, response: Response, before: Row | None, *, keep_gone: bool) -> Row:
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
    if _may_pass(response) or (keep_gone and response.status in _GONE):
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
