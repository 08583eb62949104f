"""Taking in: every seed file that waits is read, and what it brings gets a batch.

A seed file is read again only when its bytes change, and then adds its new URLs; a document that it carries itself
(`text`, `html`, an archived capture) and that changed replaces the earlier one in the batch it already has.

Why so: "A seed file that was not read in time goes on at its place" in docs/decisions.md.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from ipaddress import IPv4Network, IPv6Network
from typing import Any

import polars as pl

from quarry_dagster import seeds
from quarry_dagster.crawl import fetch_one
from quarry_dagster.intake.batches import BODIES_IN_MEMORY, CHUNK, Batcher, frame_of, row_of
from quarry_dagster.intake.inbox import SEEDS, pending, settled
from quarry_dagster.intake.ledger import Entry, Ledger, SeedReport, entry_of
from quarry_dagster.profiles.settings import HardwareProfile
from quarry_dagster.store import Forgotten, Store
from quarry_dagster.urls import UrlForm


def take_in_seeds(
    store: Store,
    profile: HardwareProfile,
    allow_addresses: Sequence[IPv4Network | IPv6Network],
    *,
    min_age: float = 0.0,
    seconds: float = math.inf,
) -> list[SeedReport]:
    """Cut what is new in the inbox into batches, under the profile's limits.

    `min_age` seconds let copies finish; it stops after about so many `seconds`, as :func:`take_in` says.

    Raises:
        StoreError: the data root cannot be written.
    """
    return take_in(
        store,
        pages_per_partition=profile.partitions.pages_per_partition,
        max_body=int(profile.crawl.max_body_mb * 2**20),
        fetch=partial(fetch_one, settings=profile.crawl, allow_addresses=allow_addresses),
        min_age=min_age,
        seconds=seconds,
    )


def take_in(
    store: Store,
    *,
    pages_per_partition: int,
    max_body: int,
    fetch: Callable[[str], bytes] | None = None,
    min_age: float = 0.0,
    seconds: float = math.inf,
    chunk_rows: int = CHUNK,
) -> list[SeedReport]:
    """Read every seed file that is new or changed, and write batches for what it brings; reports the files read.

    `max_body` is in bytes; `fetch` downloads sitemaps that a seed names; `min_age` as in :func:`pending`. A kill at
    any moment loses nothing: the seed file is read again, and the URLs that have a batch by then are known.

    It stops after about so many `seconds`, but never before it has read on by one place. What was read
    by then has its batches, and the next call goes on from there. `chunk_rows` are held in memory at once.

    Raises:
        StoreError: the data root cannot be written.
    """
    deadline = time.monotonic() + seconds
    reports: list[SeedReport] = []
    if not pending(store, min_age):
        return reports
    with store.files.lock("intake"):
        ledger = Ledger.read(store)
        forgotten, form = store.forgotten(), store.root().urls
        batcher = Batcher(store, pages_per_partition)
        unnoted: dict[str, Entry] = {}

        def note() -> None:
            """Write what waits, then, and only then, that its seed files were read."""
            batcher.finish()
            ledger.entries.update(unnoted)
            if unnoted:
                ledger.write(store)
            unnoted.clear()

        for name, state in ledger.waiting(settled(store, min_age)).items():
            report, place = ledger.begun(name, state)
            reports.append(report)
            items = _read(store, name, place, max_body=max_body, fetch=fetch)
            try:
                items = _until(deadline, items, place, report)
                for chunk in _chunks(items, report, forgotten, form, chunk_rows):
                    batcher.add(chunk, report)
            except _Unreadable as e:
                report.error = f"{report.name}: cannot be read, will be tried again: {e}"
                report.problems.append(report.error)
                report.problem_count += 1
            else:
                unnoted[name] = entry_of(state, report, place)
            if report.urls >= pages_per_partition:
                note()
            if time.monotonic() > deadline:
                break
        note()
    return reports


class _Unreadable(Exception):
    """The seed file cannot be read; unlike an error of the store, that costs only this file."""


def _read(
    store: Store, name: str, place: seeds.Place, *, max_body: int, fetch: Callable[[str], bytes] | None
) -> Iterator[seeds.Seed | seeds.Problem]:
    try:
        with store.files.open(f"{SEEDS}/{name}") as file:
            yield from seeds.read_seeds(file, name, max_body=max_body, fetch=fetch, place=place)
    except OSError as e:
        raise _Unreadable(str(e)) from e
    except Exception as e:  # our mistake, or a library's, about this file: the others must not wait for its correction
        raise _Unreadable(f"{type(e).__name__}: {e}") from e


def _until(
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


def _chunks(
    items: Iterator[seeds.Seed | seeds.Problem], report: SeedReport, forgotten: Forgotten, form: UrlForm, most: int
) -> Iterator[pl.DataFrame]:
    """Rows of schema BATCHES, at most so many at a time."""
    rows: list[tuple[Any, ...]] = []
    size = 0
    for item in items:
        if isinstance(item, seeds.Problem):
            report.report(item.line, item.reason, item.text)
            continue
        if item.outcome == "invalid_url":
            report.report(item.line, item.detail or "no URL", item.url)
            report.invalid += 1
        report.urls += 1
        if reason := forgotten.reason(item.url):
            item = seeds.Seed(item.url, item.line, outcome="opted_out", detail=reason)
        rows.append(row_of(item, report.name, form))
        size += len(item.body or b"")
        if len(rows) == most or size > BODIES_IN_MEMORY:
            yield frame_of(rows)
            rows, size = [], 0
    if rows:
        yield frame_of(rows)
