"""Taking in: every seed file that waits is read, and what it brings gets a batch.

A seed file is read again only when its bytes or its settings change, and then adds its new URLs; a document that it
carries itself (`text`, `html`, an archived capture) and that changed replaces the earlier one in the batch it already
has. What the file of a mirror no longer names is withdrawn.

Why so: "A seed file that was not read in time goes on at its place" in docs/decisions.md.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from ipaddress import IPv4Network, IPv6Network
from typing import Any, BinaryIO, cast

import polars as pl

from quarry_dagster import seeds
from quarry_dagster.crawl import fetch_one
from quarry_dagster.crawl.answers import Answers
from quarry_dagster.intake.batches import BODIES_IN_MEMORY, CHUNK, Batcher, Seen, frame_of, row_of
from quarry_dagster.intake.inbox import Source, Waiting, source_in, waiting
from quarry_dagster.intake.ledger import Entry, Ledger, SeedReport, entry_of
from quarry_dagster.intake.problems import Problems
from quarry_dagster.intake.whole import unended_line
from quarry_dagster.plural import plural
from quarry_dagster.profiles.settings import HardwareProfile
from quarry_dagster.progress import counted
from quarry_dagster.store import Forgotten, Store, again
from quarry_dagster.urls import UrlForm, doc_id
from quarry_dagster.urns import parts_of, urn_of


def take_in_seeds(
    store: Store,
    profile: HardwareProfile,
    allow_addresses: Sequence[IPv4Network | IPv6Network],
    *,
    min_age: float = 0.0,
    at_once: Collection[str] | None = None,
    seconds: float = math.inf,
) -> list[SeedReport]:
    """Cut what is new in the inbox into batches, under the profile's limits.

    `min_age` seconds let copies finish; of files that changed just now only those `at_once` need not
    be whole by their end (None: no file need be). It stops after about so many
    `seconds`, as :func:`take_in` says.

    Raises:
        StoreError: the data root cannot be written.
    """
    return take_in(
        store,
        pages_per_partition=profile.partitions.pages_per_partition,
        max_body=int(profile.crawl.max_body_mb * 2**20),
        answers=Answers(profile.crawl),
        fetch=partial(fetch_one, settings=profile.crawl, allow_addresses=allow_addresses),
        min_age=min_age,
        at_once=at_once,
        seconds=seconds,
    )


def take_in(
    store: Store,
    *,
    pages_per_partition: int,
    max_body: int,
    answers: Answers | None = None,
    fetch: Callable[[str], bytes] | None = None,
    min_age: float = 0.0,
    at_once: Collection[str] | None = None,
    seconds: float = math.inf,
    chunk_rows: int = CHUNK,
) -> list[SeedReport]:
    """Read every seed file that is new or changed, and write batches for what it brings; reports the files read.

    `max_body` is in bytes; `answers` judges what the seeds carry, by default as a crawl does by default; `fetch`
    downloads sitemaps that a seed names; `min_age` and `at_once` are those of :func:`waiting`. A kill at any moment
    loses nothing: the seed file is read again, and the URLs that have a batch by then are known.

    It stops after about so many `seconds`, but never before it has read on by one place. What was read
    by then has its batches, and the next call goes on from there. `chunk_rows` are held in memory at once.

    Raises:
        StoreError: the data root cannot be written.
    """
    deadline = time.monotonic() + seconds
    found = waiting(store, Ledger.read(store), min_age, at_once)
    if not found.ready:
        return _held(found)
    with store.files.lock("intake"):
        return again(
            lambda: _take_in(
                store, pages_per_partition, max_body, answers, fetch, min_age, at_once, deadline, chunk_rows
            )
        )


def _held(found: Waiting) -> list[SeedReport]:
    """A report of each file that is not read now."""
    reports = [SeedReport(seeds.shown(name)) for name in found.held]
    for report, why in zip(reports, found.held.values(), strict=True):
        report.hold(why)
    return reports


def _take_in(
    store: Store,
    pages_per_partition: int,
    max_body: int,
    answers: Answers | None,
    fetch: Callable[[str], bytes] | None,
    min_age: float,
    at_once: Collection[str] | None,
    deadline: float,
    chunk_rows: int,
) -> list[SeedReport]:
    ledger = Ledger.read(store)
    found = waiting(store, ledger, min_age, at_once)
    reports = _held(found)
    forgotten, form = store.forgotten(), store.root().urls
    batcher = Batcher(store, pages_per_partition)
    unnoted: dict[str, Entry] = {}

    def note() -> None:
        """Write what waits, then, and only then, that its seed files were read."""
        batcher.finish()
        ledger.put(store, unnoted)
        unnoted.clear()

    for name, state in found.ready.items():
        report, place = ledger.begun(name, state)
        reports.append(report)
        is_whole, seen = place == seeds.Place(), Seen()
        before = _Beginning(ledger.entries[name].unended if name in ledger.entries else "")
        try:
            reading = Reading(source_in(store, name), forgotten, form, max_body, fetch, chunk_rows, answers)
            items = until(deadline, reading.items(place), place, report)
            for chunk in reading.chunks(counted(items, "seeds", None, "rows"), report):
                if is_whole and not len(seen):
                    reading.compare_names(chunk, batcher.known, ledger, report)
                batcher.add(chunk, report, seen)
                before.compare(chunk)
            if before.goes_on:
                report.withdrawn += batcher.withdraw_beginning(report.name, before.line)
            is_edition = reading.settings.mirror and report.done and name in ledger.entries
            if is_edition and (named := reading.named(seen if is_whole else None, report)) is not None:
                report.withdrawn += batcher.withdraw(report.name, named)
        except Unreadable as e:
            report.fail(f"{report.name}: cannot be read, will be tried again: {e}")
        else:
            unended = reading.unended() if report.done else before.line
            unnoted[name] = entry_of(state, report, place, reading.settings, unended)
        if report.urls >= pages_per_partition:
            note()
        if time.monotonic() > deadline:
            break
    note()
    return reports


_COMPARED = 1000
"""So many of a file's first ids are looked for under other names."""
_NAMES_COMPARED = 100


class Unreadable(Exception):
    """The seed file cannot be read; unlike an error of the store, that costs only this file."""


class _Beginning:
    """The last line of a seed file as it was read before, which no line feed ended: perhaps the beginning of one."""

    def __init__(self, line: str) -> None:
        self.line = line
        self._is_there = self._goes_on = False

    def compare(self, chunk: pl.DataFrame) -> None:
        """Look for the line, and for one that goes on where it ended, among URLs that were read."""
        if self.line:
            rest = chunk.filter(pl.col("url").str.starts_with(self.line))["url"].str.slice(len(self.line))
            self._is_there |= (rest == "").any()
            self._goes_on |= (~rest.str.contains(r"^$|://|\s")).any()

    @property
    def goes_on(self) -> bool:
        """Whether the file has a longer line in its place now."""
        return self._goes_on and not self._is_there


class Reading:
    """The reading of one seed file, by its settings.

    Raises:
        Unreadable: its settings are wrong.
    """

    def __init__(
        self,
        source: Source,
        forgotten: Forgotten,
        form: UrlForm,
        max_body: int,
        fetch: Callable[[str], bytes] | None,
        chunk_rows: int,
        answers: Answers | None = None,
    ) -> None:
        self._source, self._forgotten = source, forgotten
        self._form: UrlForm = form
        self._answers = answers
        self._max_body, self._fetch, self._chunk_rows = max_body, fetch, chunk_rows
        try:
            self.settings = source.settings()
        except seeds.InvalidSettings as e:
            raise Unreadable(f"in its settings {seeds.shown(seeds.sidecar_of(source.name))}: {e}") from e

    def unended(self) -> str:
        """The last line of a list of URLs where no line feed ends it, else ""."""
        with self._source.open() as file:
            return unended_line(self._source.name, cast(BinaryIO, file))

    def items(self, place: seeds.Place) -> Iterator[seeds.Seed | seeds.Problem]:
        """What is in the file from this place on; the place moves along.

        Raises:
            Unreadable: the file cannot be read.
        """
        settings, max_body = self.settings, self._max_body
        try:
            with self._source.open() as file:
                yield from seeds.read_seeds(
                    cast(BinaryIO, file),
                    self._source.name,
                    max_body=max_body,
                    answers=self._answers,
                    settings=settings,
                    fetch=self._fetch,
                    place=place,
                )
        except OSError as e:
            raise Unreadable(str(e)) from e
        except (
            Exception
        ) as e:  # our mistake, or a library's, about this file: the others must not wait for its correction
            raise Unreadable(f"{type(e).__name__}: {e}") from e

    def chunks(self, items: Iterator[seeds.Seed | seeds.Problem], report: SeedReport) -> Iterator[pl.DataFrame]:
        """Rows of schema BATCHES, some at a time; problems go to the report."""
        rows: list[tuple[Any, ...]] = []
        size = 0
        problems = Problems(report)
        for item in items:
            if isinstance(item, seeds.Problem):
                problems.add(item)
                continue
            if item.outcome == "invalid_url":
                problems.add(seeds.Problem(item.line, item.detail or "no URL", item.url))
                report.invalid += 1
            report.urls += 1
            if reason := self._forgotten.reason(item.url):
                item = seeds.Seed(item.url, item.line, outcome="opted_out", detail=reason)
            rows.append(row_of(item, report.name, self._form))
            size += len(item.body or b"") + len(item.own_columns or "")
            if len(rows) == self._chunk_rows or size > BODIES_IN_MEMORY:
                yield frame_of(rows)
                rows, size = [], 0
        problems.end()
        if rows:
            yield frame_of(rows)

    def compare_names(
        self, first: pl.DataFrame, known: Callable[[Sequence[str]], int], ledger: Ledger, report: SeedReport
    ) -> None:
        """Say where the ids in the file's first rows are known under the name of another seed.

        `known` tells how many of some doc_ids have a batch.
        """
        ids = [parts[1] for url in first["url"].head(_COMPARED) if (parts := parts_of(url))]
        sidecar = seeds.shown(seeds.sidecar_of(self._source.name))
        others = {e.name: seed for seed, e in ledger.entries.items() if e.name not in ("", self.settings.name)}
        for other, seed in sorted(others.items())[:_NAMES_COMPARED]:
            count = known([doc_id(urn_of(other, own), self._form) for own in ids]) if ids else 0
            if count:
                said = (
                    f"{count:,} of its first {plural(len(ids), 'id')} known under the name {other!r}, of "
                    f"{seeds.shown(seed)}, as other documents; where this is an edition of that, write `name: {other}` "
                    f"in {sidecar}"
                )
                report.report(None, said, costs_row=False)

    def named(self, seen: Seen | None, report: SeedReport) -> Seen | None:
        """All documents that this file, a mirror, names now; `seen` is None where it was read in parts.

        None where a row could not be read: then nothing leaves, for it may have named any document.
        """
        if report.lost:
            what = "not all of it could be read" if report.urls else "it names no document, as one that was cut off"
            report.report(None, f"it is a mirror, and {what}: no document leaves by it", costs_row=False)
            return None
        if seen is None:
            seen = Seen()
            for chunk in self.chunks(self.items(seeds.Place()), SeedReport(report.name)):
                seen.add(chunk)
        return seen


def until(
    deadline: float, items: Iterator[seeds.Seed | seeds.Problem], place: seeds.Place, report: SeedReport
) -> Iterator[seeds.Seed | seeds.Problem]:
    """Yield items until the deadline, and then up to the next place where reading can go on.

    Where the last item was reached, the report says that the seed is done.
    """
    before = place.line, place.at, len(place.sitemaps)
    for item in items:
        yield item
        after = place.line, place.at, len(place.sitemaps)
        if after != before and time.monotonic() > deadline:
            return
        before = after
    report.done = True
