"""What the crawl of a partition found besides pages: rows of the tables `problems` and `consent`.

A row stays as it is while what it tells of does, so that a crawl with nothing new writes nothing.

Why so: "What is found and not used is a row" in docs/decisions.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from datetime import UTC, datetime
from typing import Any

import polars as pl

from quarry_dagster.store import Forgotten, Notes, Store
from quarry_dagster.store.tables import Table

Row = dict[str, Any]
_URL = re.compile(r"https?://[^\s'\"<>]+")


def write_problems(
    store: Store, partition: str, found: Iterable[Row], looked_at: Collection[str], forgotten: Forgotten
) -> None:
    """Write what is wrong with what a partition's pages, feeds, sitemaps and hosts name.

    `found` are rows of the schema PROBLEMS but for `first_seen` and `partition`; `looked_at` the URLs (and hosts) that
    this crawl looked at: what was found of others before stays.

    Raises:
        StoreError: the table cannot be written.
    """

    def stays(row: Row) -> bool:
        return row["url"] not in looked_at and not _is_forgotten(row, forgotten)

    new = [row for row in found if not _is_forgotten(row, forgotten)]
    _merge(store.problems, partition, new, stays, ("source", "url", "place", "kind"), "first_seen")


def write_consent(
    store: Store, partition: str, found: Iterable[Row], hosts: Collection[str], forgotten: Forgotten
) -> list[Row]:
    """Write what the hosts of a partition say; returns the rows that are new.

    `found` are rows of the schema CONSENT but for `seen_at` and `partition`; `hosts` those that this crawl heard.

    Raises:
        StoreError: the table cannot be written.
    """

    def stays(row: Row) -> bool:
        return row["host"] not in hosts and not _is_forgotten(row, forgotten)

    new = [row for row in found if not _is_forgotten(row, forgotten)]
    return _merge(store.consent, partition, new, stays, ("host", "source", "says", "done"), "seen_at")


def _is_forgotten(row: Row, forgotten: Forgotten) -> bool:
    """Whether a row is of, or names, a page or host that is kept out: then it is in these tables no longer."""
    said = f"{row.get('url') or ''} {row.get('detail') or ''} {row.get('says') or ''}"
    urls = [*_URL.findall(said), f"http://{row.get('host') or row.get('url')}/"]
    return any(forgotten.reason(url) for url in urls)


def forget_in_findings(store: Store, forgotten: Forgotten) -> None:
    """Take out of both tables what is of forgotten pages and hosts.

    Raises:
        StoreError: the store cannot be written.
    """
    for partition in store.problems.segments():
        write_problems(store, partition, (), (), forgotten)
    for partition in store.consent.segments():
        write_consent(store, partition, (), (), forgotten)


def _merge(
    table: Table[Notes],
    partition: str,
    new: list[Row],
    stays: Callable[[Row], bool],
    key: tuple[str, ...],
    since: str,
) -> list[Row]:
    """Put rows in the place of those that do not stay, and write the partition where that changes it.

    A row whose key was there keeps its time (column `since`). Returns the rows whose key was not.
    """
    old = table.segment(partition)
    before = [row for frame in old.batches() for row in frame.iter_rows(named=True)] if old else []
    times = {tuple(row[k] for k in key): row[since] for row in before}
    now = datetime.now(UTC)
    rows = [row for row in before if stays(row)]
    fresh: list[Row] = []
    for row in new:
        at = times.get(tuple(row[k] for k in key))
        fresh += [row] if at is None else []
        rows.append(row | {since: at or now, "partition": partition})
    frame = pl.DataFrame(rows, table.schema).unique(key, keep="last").sort(key)
    if not frame.equals(pl.DataFrame(before, table.schema).sort(key)):
        with table.write(partition, over=old) as writer:
            writer.append(frame)
            writer.note(Notes())
    return fresh
