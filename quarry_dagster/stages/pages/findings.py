"""What the crawl of a partition found besides pages: rows of the tables `problems` and `consent`.

A row stays as it is while what it tells of does, so that a crawl with nothing new writes nothing.

Why so: "What is found and not used is a row" in docs/decisions.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
from yarl import URL

from quarry_dagster.crawl.consent import obeyed
from quarry_dagster.crawl.origins import Origins, Statement
from quarry_dagster.crawl.signals import unwanted, written
from quarry_dagster.errors import StoreError
from quarry_dagster.plural import plural
from quarry_dagster.profiles.settings import Crawl
from quarry_dagster.progress import log
from quarry_dagster.store import Forgotten, Notes, Store
from quarry_dagster.store.tables import Table
from quarry_dagster.urls import host_of
from quarry_dagster.wire import without_credentials

Row = dict[str, Any]
OBEYED = "obeyed"
"""What is done about what a host says, where nothing is to be said besides."""
_OF_PAGES_BY = {"header": "header", "meta": "tag"}
"""The source of what a page says, by how the detail of its row begins."""
_OF_PAGES = ("header", "tag")
_SHOWN = 10


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
        return row["source"] not in _OF_PAGES and row["host"] not in hosts and not _is_forgotten(row, forgotten)

    new = [row for row in found if not _is_forgotten(row, forgotten)]
    return _merge(store.consent, partition, new, stays, ("host", "source", "says", "done"), "seen_at")


def said_by_hosts(
    rows: Iterable[Row], urls: Iterable[str], origins: Path, settings: Crawl
) -> tuple[list[Row], set[str]]:
    """What hosts say of the use of their pages, rows for :func:`write_consent`, and the hosts that were heard.

    Args:
        rows: those of the partition in `raw_pages`, for what pages say.
        urls: that were asked for, with those that redirected.
        origins: the file in which the crawl kept what origins say.
    """
    found: dict[tuple[str, ...], Row] = {}

    def note(host: str, source: str, says: str, done: str, digest: str | None = None) -> None:
        found[host, source, says] = {"host": host, "source": source, "says": says, "digest": digest, "done": done}

    for row in rows:
        source = _OF_PAGES_BY.get((row["detail"] or "").partition(" ")[0])
        if row["outcome"] == "opted_out" and source:
            note(host_of(row["final_url"] or row["url"]), source, row["detail"], OBEYED)
    heard: set[str] = set()
    if not origins.exists():
        return list(found.values()), heard
    with closing(Origins(origins, settings.user_agent)) as known:
        for origin in dict.fromkeys(map(_origin, urls)):
            if origin is None or (said := known.get(origin)) is None:
                continue
            host = host_of(str(origin))
            heard.add(host)
            for source, says, done, digest in _said(said, settings):
                note(host, source, says, done, digest)
    return list(found.values()), heard


def _origin(url: str) -> URL | None:
    try:
        return URL(url, encoded=True).origin()
    except ValueError:
        return None


def _said(said: Statement, settings: Crawl) -> Iterator[tuple[str, str, str, str | None]]:
    """Source, what it says, what is done, and the file's digest, of what one origin says."""
    rules, counted = said.rules, obeyed(settings)
    off = "" if settings.obey_consent else "recorded alone: crawl.obey_consent is off"
    lines = [line for line in rules.lines if re.match(r"\s*dis", line, re.IGNORECASE)]
    if rules.refusal:
        says = rules.refusal.detail
    elif rules.no_file:
        says = f"no robots.txt: {rules.no_file}"
    else:
        says = f"{plural(len(lines), 'line')} for us that disallow" if lines else "allows all"
    yield "robots", says, OBEYED, rules.digest
    for path, signals in rules.signals.items():
        refused = [name for name, wanted in signals.items() if not wanted]
        left = [name for name in refused if name not in counted]
        done = off or (f"recorded alone: crawl.obey_signals does not name {', '.join(left)}" if left else "")
        done = OBEYED if unwanted(signals, counted) or not refused else done
        yield "content-signal", f"{path} {written(signals)}".strip(), done, rules.digest
    for url in rules.licenses:
        is_obeyed = "license" in counted
        done = OBEYED if is_obeyed else off or "recorded alone: crawl.obey_signals does not name license"
        yield "rsl", without_credentials(url), done, rules.digest
    if said.reservations and (reserved := said.reservations.reserved):
        more = f" and {len(reserved) - _SHOWN:,} more" if len(reserved) > _SHOWN else ""
        yield "tdmrep", f"reserves {', '.join(reserved[:_SHOWN])}{more}", off or OBEYED, said.reservations.digest


def _is_forgotten(row: Row, forgotten: Forgotten) -> bool:
    """Whether a row is of, or names, a page or host that is kept out: then it is in these tables no longer."""
    said = f"{row.get('url') or ''} {row.get('detail') or ''} {row.get('says') or ''}"
    return forgotten.is_named_in(f"{said} http://{row.get('host') or row.get('url')}/")


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
    try:
        before = [row for frame in old.batches() for row in frame.iter_rows(named=True)] if old else []
    except StoreError as e:
        log.warning("%s; its rows are found anew", e)
        before = []
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
