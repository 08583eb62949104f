"""`raw_pages` of one partition: fetch what its batch names, keep what the batch carries.

A page that was fetched before is asked for conditionally. Where its body did not change, nor anything else of the
partition, no file is written. A failure that says nothing about the page (timeout, network, HTTP 429 or 5xx, a
robots.txt that cannot be read, an address that this machine may not connect to) keeps the earlier body and says so in
`detail`: one bad night must not empty a corpus. A page that is refused now (robots.txt, HTTP 401 and 403) keeps what
was fetched while it was allowed, for `crawl.refused_days`. Any other failure replaces the row.

Rows are decided on without their bodies, which go from where they are (the journal of the crawl, the batch, the
version before) to the table once all are there: memory holds a few of them.

Why so: "A new ETag for the same body does not rewrite a partition", "A crawl policy that changed sees every page
again", "A crawl of what failed leaves the others as they were crawled" and "What is held stays when a page is
refused" in docs/decisions.md.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, TypeVar

import polars as pl

from quarry_dagster.crawl import Request, Response
from quarry_dagster.crawl.addresses import Network
from quarry_dagster.crawl.answers import RULES, Answers, headers_of
from quarry_dagster.crawl.consent import headers_in
from quarry_dagster.crawl.journal import Journal
from quarry_dagster.digests import digest
from quarry_dagster.errors import StoreError
from quarry_dagster.profiles.settings import Crawl
from quarry_dagster.progress import log
from quarry_dagster.stages.pages.crawling import fetch, open_journal, origins_file
from quarry_dagster.stages.pages.findings import said_by_hosts, write_consent, write_problems
from quarry_dagster.stages.pages.further_seeds import FurtherSeeds
from quarry_dagster.stages.pages.warc_files import write_warc
from quarry_dagster.stages.report import StageReport
from quarry_dagster.store import Forgotten, LostRace, Notes, PagesSegment, RawPagesNotes, Segment, Store, digest_rows
from quarry_dagster.store.schemas import CAME, FAILED, FETCH_OUTCOMES, KEPT_BODY, RAW_PAGES, WITH_BODY

CONTENT = ("doc_id", "url", "final_url", "content_type", "body_digest", "fetched_at", "own_columns")
"""What later stages depend on; its digest is a segment's `content`."""
_FACTS = [name for name in RAW_PAGES.names() if name not in ("body", "partition", "refused_since")]
CONDITIONAL = (*WITH_BODY, "opted_out", "unsupported_type", "too_large")
"""Outcomes of pages that are asked for conditionally: those that we have, and those that were refused."""
_BY = ", "
"""In the notes of a segment, between the settings of a crawl and the rules that answers were judged by."""
_GONE = (404, 410)
_NOT_FOR_US = (401, 403)

Row = dict[str, Any]
N = TypeVar("N", bound=Notes)


def refresh(
    store: Store,
    partition: str,
    settings: Crawl,
    allow_addresses: Sequence[Network],
    *,
    force: bool = False,
    refetch: bool = False,
    only_failed: bool = False,
) -> StageReport:
    """Bring one partition of `raw_pages` up to date; memory holds a few bodies at a time, not the partition.

    `force` writes it although nothing changed, and takes over no row that breaks the contract. `refetch` asks for each
    page unconditionally. `only_failed` asks for no page that came when it was last asked for: its row stays.

    Raises:
        StoreError: the partition has no batch, or the store cannot be written.
    """
    start = time.monotonic()
    how = _How(settings, force, refetch, only_failed)
    state = _State(store, partition, how)
    report = StageReport()
    with open_journal(store, partition, state.old.segment, settings, allow_addresses, anew=refetch) as journal:
        while True:
            asked = state.asked()
            requests = map(state.request, asked)
            carried, total = len(state.rows), len(state.rows) + len(asked)
            report.worked += fetch(store, requests, journal, settings, allow_addresses, total=total, carried=carried)
            with store.raw_pages.lock(partition):
                crawled = state
                if not state.holds(store):  # seeds and takedowns may have come meanwhile
                    state = _State(store, partition, how)
                if state.batch.segment == crawled.batch.segment:
                    try:
                        report.written = _bring_in(store, state, journal, how)
                        break
                    except LostRace:  # to another machine: what was fetched is in the journal
                        state = _State(store, partition, how)
    journal.delete()
    report.rows = len(state.rows)
    report.outcomes = Counter("held" if _is_held(row) else row["outcome"] for row in state.rows.values())
    report.seconds = time.monotonic() - start
    return report


def failed_pages(pages: PagesSegment) -> set[str]:
    """The documents of a partition whose newest answer is a failure, by doc_id."""
    frames = pages.batches(["doc_id", "outcome", "detail"], rows=4096)
    return {i for frame in frames for i in frame.filter(FAILED)["doc_id"]}


@dataclass(frozen=True)
class _How:
    """How a partition is crawled."""

    settings: Crawl
    force: bool
    refetch: bool
    only_failed: bool


class _State:
    """A partition as it is before its crawl: its batch, the version before, and the rows that follow from both."""

    def __init__(self, store: Store, partition: str, how: _How) -> None:
        self.partition = partition
        self._refetch, self._only_failed = how.refetch, how.only_failed
        self.forgotten = store.forgotten()
        self.batch = _Version(store.batches.segment(partition))
        segment = store.raw_pages.segment(partition)
        self.old = _sound(segment) if how.force else _Version(segment)
        if self.batch.segment is None:
            raise StoreError(f"partition {partition!r} has no batch under {store.files.url('batches')}")
        self.batch_version, self.policy = self.batch.segment.version, policy_of(how.settings)
        before = self.old.segment.notes if self.old.segment else None
        self.is_same_batch = before is not None and before.batch == self.batch_version
        """Whether the version before was made from the same batch."""
        self._before_policy = before.policy if before else ""
        is_judged = self.is_same_batch and self._before_policy == self.policy and not how.force
        refused = self.old.refusals() if is_judged else _refusals(self.batch, Answers(how.settings))
        self.rows: dict[str, Row] = {}
        for i, seed in self.batch.rows.items():
            if row := _carried(
                seed, self.old.rows.get(i), self.forgotten, refused.get(i) if seed["body_digest"] else None
            ):
                self.rows[i] = row
        self.waiting = {seed["url"]: seed for i, seed in self.batch.rows.items() if i not in self.rows}
        """Seeds that need a request, by URL."""
        self.made_of = self.batch_version, self.policy
        """The version of the batch, and the rules, that all rows follow from when the requests are answered."""
        if how.only_failed and before is not None:
            self.made_of = before.batch, before.policy  # pages that are not asked for have not seen the later ones

    def asked(self) -> list[Row]:
        """Of the seeds that need a request, those that this crawl asks for."""
        waiting = list(self.waiting.values())
        if not self._only_failed or self.old.segment is None:
            return waiting
        failed = failed_pages(self.old.segment)
        return [seed for seed in waiting if seed["doc_id"] in failed or seed["doc_id"] not in self.old.rows]

    def holds(self, store: Store) -> bool:
        """Whether the store still has what this state was made from."""
        segments = store.batches.segment(self.partition), store.raw_pages.segment(self.partition)
        return (store.forgotten(), *segments) == (self.forgotten, self.batch.segment, self.old.segment)

    def request(self, seed: Row) -> Request:
        if self._refetch:
            return Request(seed["url"], lists=bool(seed["discover"]))
        before = self.old.rows.get(seed["doc_id"])
        return _request(seed, before, conditional(self._before_policy, self.policy), is_same_batch=self.is_same_batch)


def _bring_in(store: Store, state: _State, journal: Journal, how: _How) -> int:
    """Turn responses into rows, and write the partition where one changed; returns the versions written: 0 or 1."""
    further, settings = FurtherSeeds(), how.settings
    urls: dict[str, None] = {}
    for response in journal.responses():
        if seed := state.waiting.pop(response.url, None):  # else it was forgotten since, or the batch replaced
            response = further.look(_unless_forgotten(response, state.forgotten), seed["discover"])
            urls |= dict.fromkeys([*response.hops, response.final_url or response.url])
            doc_id = seed["doc_id"]
            is_forgotten = bool(state.forgotten.reason(response.final_url))
            own = {"own_columns": None if is_forgotten else seed["own_columns"]}
            state.rows[doc_id] = _row(doc_id, response, state.old.rows.get(doc_id), settings) | own
    # Those that were not asked for: a page came, and this crawl is for what failed.
    state.rows |= {i: row for s in state.waiting.values() if (row := state.old.rows.get(i := s["doc_id"]))}
    further.drop(store, state.partition, settings.found_per_host, state.forgotten)
    write_problems(store, state.partition, further.problems, further.looked_at, state.forgotten)
    said, hosts = said_by_hosts(state.rows.values(), urls, origins_file(store), settings)
    write_consent(store, state.partition, said, hosts, state.forgotten)
    before = state.old.segment.notes if state.old.segment else None
    is_as_made = before is not None and (before.batch, before.policy) == state.made_of
    is_same = is_as_made and _states(state.rows) == _states(state.old.rows)
    if is_same and not how.force:
        return 0
    _write(store, state, journal, warc=settings.write_warc)
    return 1


class _Version(Generic[N]):
    """One version of a partition of a table: its rows without bodies; :meth:`bodies` reads the bodies."""

    def __init__(self, segment: Segment[N] | None) -> None:
        self.segment = segment
        self.rows: dict[str, Row] = {}  # by doc_id
        if segment:
            columns = [name for name in segment.schema.names() if name != "body"]
            frames = segment.batches(columns, rows=4096)
            self.rows = {row["doc_id"]: row for frame in frames for row in frame.iter_rows(named=True)}

    def refusals(self) -> dict[str, tuple[str, str]]:
        """Outcome and detail, by doc_id, of the rows without a body that are not to be asked for again."""
        refused = ("opted_out", "unsupported_type")
        rows = self.rows.items()
        return {i: (row["outcome"], row["detail"]) for i, row in rows if row["outcome"] in refused}

    def drop_unsound(self) -> None:
        """Forget the rows that break the contract: they are made anew, and their bodies are not taken over."""
        sound = {i for i, row in self.rows.items() if row["outcome"] in FETCH_OUTCOMES and row["body_digest"] is None}
        sound = {i for i in sound if self.rows[i]["outcome"] not in WITH_BODY}
        for i, body in self.bodies(self.rows):
            row = self.rows[i]
            if row["outcome"] in WITH_BODY and body is not None and digest(body) == row["body_digest"]:
                sound.add(i)
        self.rows = {i: row for i, row in self.rows.items() if i in sound}

    def bodies(self, ids: Collection[str]) -> Iterator[tuple[str, bytes]]:
        """The bodies of these documents, by doc_id."""
        if self.segment and ids:
            for frame in self.segment.batches(["doc_id", "body"]):
                yield from frame.filter(pl.col("doc_id").is_in(list(ids))).iter_rows()


def _sound(segment: PagesSegment | None) -> _Version[RawPagesNotes]:
    """A version without the rows that break the contract; without any where its file is damaged."""
    try:
        version = _Version(segment)
        version.drop_unsound()
    except StoreError as e:
        log.warning("%s; its pages are asked for again", e)
        version = _Version[RawPagesNotes](None)
        version.segment = segment
    return version


def policy_of(settings: Crawl) -> str:
    """The settings and rules of a crawl, as the notes of a segment keep them; the earliest versions kept no rules."""
    return f"{Answers(settings).policy}{_BY}{RULES}"


def conditional(before: str, policy: str) -> tuple[str, ...]:
    """The outcomes of pages that are asked for conditionally, under this policy and that of the version before.

    Under other settings these are none, by other rules no refusals: what a 304 is of was not judged by them.
    """
    if before == policy:
        return CONDITIONAL
    return WITH_BODY if before.partition(_BY)[0] == policy.partition(_BY)[0] else ()


def _refusals(batch: _Version, answers: Answers) -> dict[str, tuple[str, str]]:
    """Outcome and detail, by doc_id, of the documents of a batch that a crawl would not take.

    Archives were read by earlier versions, and under other settings: what they carry is judged as what is fetched.
    """
    found: dict[str, tuple[str, str]] = {}
    for i, body in batch.bodies([i for i, seed in batch.rows.items() if seed["body_digest"]]):
        seed = batch.rows[i]
        headers = headers_of(headers_in(seed["consent_headers"]))
        is_served = seed["outcome"] != "given"
        if refused := answers.refused(headers, body, seed["content_type"], is_served=is_served):
            found[i] = refused.outcome, refused.detail
    return found


def _carried(seed: Row, before: Row | None, forgotten: Forgotten, refused: tuple[str, str] | None) -> Row | None:
    """The row of a seed that needs no request, since it is given, archived or forgotten; None where it needs one.

    `refused` is why what it carries is not taken, where it is not: outcome and detail.
    """
    row = {k: seed[k] for k in _FACTS} | {"final_url": seed["final_url"] or seed["url"], "refused_since": None}
    if reason := forgotten.reason(seed["url"]):
        row |= {"outcome": "opted_out", "detail": reason, "body_digest": None, "own_columns": None}
    elif seed["outcome"] is None:
        return None
    elif refused:
        row |= {"outcome": refused[0], "detail": refused[1], "body_digest": None}
    if row["fetched_at"] is None:  # the moment this text first came to us
        same = before is not None and before["body_digest"] == row["body_digest"]
        row["fetched_at"] = before["fetched_at"] if before and same else datetime.now(UTC)
    return row


def _request(seed: Row, before: Row | None, outcomes: Collection[str], *, is_same_batch: bool) -> Request:
    """The request for a seed.

    It is conditional for a page of one of these outcomes; but not where the seed may ask for further pages that it did
    not ask for before.
    """
    lists = bool(seed["discover"])
    if before is None or before["outcome"] not in outcomes or (lists and not is_same_batch):
        return Request(seed["url"], lists=lists)
    known = (before["etag"], before["last_modified"], before["fetched_at"], before["final_url"])
    return Request(seed["url"], *known, lists=lists)


def _unless_forgotten(response: Response, forgotten: Forgotten) -> Response:
    """The response; where it led to a forgotten page, one that is `opted_out` and has no body."""
    reason = forgotten.reason(response.final_url)
    return replace(response, outcome="opted_out", detail=reason, body=None) if reason else response


def _row(doc_id: str, response: Response, before: Row | None, settings: Crawl) -> Row:
    """The row that follows from the row before and a response; its `body_digest` says which body it has."""
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
        "refused_since": None,
        "own_columns": None,
    }
    if response.body is not None:
        row["body_digest"] = digest(response.body)
    if before is None or before["body_digest"] is None:
        if before is not None and response.outcome == "not_modified":
            return before  # refused as before
        if before is not None and (before["outcome"], before["status"]) == (row["outcome"], row["status"]):
            return before  # failed as before: since when is the truth worth keeping
        return row
    validators = {k: row[k] or before[k] for k in ("etag", "last_modified")}
    if response.outcome == "not_modified":
        came = {"outcome": "not_modified", "status": response.status, "detail": None, "refused_since": None}
        return before | validators | came
    if row["body_digest"] == before["body_digest"]:
        return row | {"fetched_at": before["fetched_at"]} | validators
    return _held(before, response, settings) or row


def _held(before: Row, response: Response, settings: Crawl) -> Row | None:
    """The row before, with the reason why its body stays although the page did not come; None where it does not stay.

    The reason is the same as long as the failure is, so that a long one does not rewrite the partition each time.
    """
    since = before["refused_since"]
    why = response.outcome + (f" {response.status}" if response.status else "")
    if _is_refused(response):
        since = since or response.fetched_at
        if response.fetched_at - since >= timedelta(days=settings.refused_days):
            return None
        why += f", refused since {since:%Y-%m-%d}"
    elif not _may_pass(response) and not (settings.keep_gone and response.status in _GONE):
        return None
    at = before["fetched_at"].isoformat(timespec="seconds")
    return before | {"detail": f"{KEPT_BODY} {at}: {why}", "refused_since": since}


def _is_held(row: Row) -> bool:
    """Whether a row carries the body of before because its page did not come."""
    return row["outcome"] in WITH_BODY and (row["detail"] or "").startswith(KEPT_BODY)


def _is_refused(response: Response) -> bool:
    """Whether a site lets us have a page no longer, but says neither that it is gone nor that it must not be used."""
    return not response.transient and (response.outcome == "robots_disallowed" or response.status in _NOT_FOR_US)


def _may_pass(response: Response) -> bool:
    """Whether a failure says nothing about the page: it may be there tomorrow, or for another machine."""
    status = response.status or 0
    passing = ("timeout", "network_error", "blocked_address")
    return response.transient or response.outcome in passing or status == 429 or status >= 500


def _states(rows: dict[str, Row]) -> dict[str, tuple[Any, ...]]:
    """What rows are compared by, by doc_id: a partition is written where it changed.

    A 304 in place of a 200, or a new validator for the same body, changes nothing.
    """
    return {
        i: ("page" if row["outcome"] in WITH_BODY else row["outcome"], row["detail"], *(row[k] for k in CONTENT))
        for i, row in rows.items()
    }


def _write(store: Store, state: _State, journal: Journal, *, warc: bool) -> None:
    """Write the next version of the partition, and its WARC file."""
    rows, found = state.rows, (state.batch, state.old, journal)
    batch_version, policy = state.made_of
    content = pl.DataFrame([{k: row[k] for k in CONTENT} for row in rows.values()], {k: RAW_PAGES[k] for k in CONTENT})
    with store.raw_pages.write(state.partition, over=state.old.segment) as writer:
        for i, body in _bodies(rows, *found):
            writer.append([rows[i] | {"body": body, "partition": state.partition}])
        writer.note(RawPagesNotes(content=digest_rows(content), rows=len(rows), batch=batch_version, policy=policy))
        if warc:
            path = write_warc(store, writer.segment, _pages(rows, *found))
            writer.files += [path] if path else []


def _bodies(
    rows: dict[str, Row], batch: _Version, old: _Version, journal: Journal
) -> Iterator[tuple[str, bytes | None]]:
    """Yield each row's doc_id and body, from the first that has it: the version before, the batch, the journal."""
    yield from ((i, None) for i, row in rows.items() if row["body_digest"] is None)
    missing = {i: row["body_digest"] for i, row in rows.items() if row["body_digest"] is not None}
    for version in (old, batch):
        here = {i for i, digest in missing.items() if i in version.rows and version.rows[i]["body_digest"] == digest}
        yield from version.bodies(here)
        missing = {i: digest for i, digest in missing.items() if i not in here}
    came = {batch.rows[i]["url"]: i for i in missing}
    yield from ((came.pop(r.url), r.body) for r in journal.responses() if r.url in came)


def _pages(
    rows: dict[str, Row], batch: _Version, old: _Version, journal: Journal
) -> Iterator[tuple[Response, datetime | None]]:
    """Yield the responses that gave rows their bodies, each with the time when the body first came."""
    fetched = {seed["url"]: i for i, seed in batch.rows.items() if not seed["outcome"] and rows[i]["body_digest"]}
    for response in journal.responses():
        if response.outcome in CAME and (i := fetched.pop(response.url, None)):
            yield response, old.rows[i]["fetched_at"] if i in old.rows else None
