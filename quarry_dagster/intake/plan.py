"""What taking in would bring: the seed files are read as a run reads them, and nothing is written."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import polars as pl

from quarry_dagster import seeds
from quarry_dagster.crawl.answers import Answers
from quarry_dagster.intake.batches import CHUNK, Seen, as_known, classify, known_documents, learned, leaving
from quarry_dagster.intake.inbox import Source, files_of, not_there_yet, source_in, waiting
from quarry_dagster.intake.ledger import Ledger, SeedReport
from quarry_dagster.intake.take_in import Reading, Unreadable, until
from quarry_dagster.store import Store
from quarry_dagster.store.schemas import HOST
from quarry_dagster.urls import UrlForm

URLS_BY_HOST = pl.Schema({"host": pl.String, "new": pl.Int64, "again": pl.Int64})
"""URLs to be asked for, by host: for the first time, and again."""


@dataclass(frozen=True)
class SeedsPlan:
    """What the seeds that wait would bring."""

    reports: Sequence[SeedReport]
    """What would become of each file."""
    hosts: pl.DataFrame
    """What comes to the URLs that are asked for, schema URLS_BY_HOST; less than none where URLs go."""
    carried: int
    """Documents, new ones or other versions, that need no request."""
    copied_bytes: int
    """What the inbox grows by."""


def plan_seeds(store: Store, paths: Sequence[str], answers: Answers) -> SeedsPlan:
    """What a run that is given these seed files would take in, with what waits in the inbox.

    `answers` judges what the seeds carry. Sitemaps are not downloaded. Memory holds what :class:`Batcher` holds: the
    documents that are known, and a chunk.

    Raises:
        ConfigError: as :func:`put`.
    """
    ledger = Ledger.read(store)
    given = not_there_yet(store, paths)
    named = {source.name for source in given}
    planned = _Plan(store, ledger, answers)
    for name, state in waiting(store, ledger, at_once=[name for name, _ in files_of(paths)]).ready.items():
        if name not in named:
            planned.read(source_in(store, name), state)
    for source in given:
        planned.read(source, "")
    return SeedsPlan(planned.reports, by_host(planned.hosts), planned.carried, sum(g.size for g in given))


def by_host(counts: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """Counts of the schema URLS_BY_HOST, a row a host."""
    every = pl.concat([pl.DataFrame(schema=URLS_BY_HOST), *counts])
    return every.group_by("host").sum().select(URLS_BY_HOST.names())


def urls_by_host(urls: pl.DataFrame, is_again: pl.Expr) -> pl.DataFrame:
    """The hosts of these URLs (column `url`), schema URLS_BY_HOST; `is_again` tells those asked for before."""
    again = is_again.cast(pl.Int64)
    rows = urls.select(HOST.fill_null("").alias("host"), (1 - again).alias("new"), again.alias("again"))
    return by_host([rows])


class _Plan:
    """Takes in as `take_in` does, and writes nothing."""

    def __init__(self, store: Store, ledger: Ledger, answers: Answers) -> None:
        self._ledger, self._answers = ledger, answers
        self._forgotten = store.forgotten()
        self._form: UrlForm = store.root().urls
        self._segments = store.batches.segments()
        self._asked_before = pl.col("partition").is_in(list(store.raw_pages.segments()))
        self._known = known_documents(self._segments)
        self.reports: list[SeedReport] = []
        self.hosts: list[pl.DataFrame] = []
        self.carried = 0

    def read(self, source: Source, state: str) -> None:
        report, place = self._ledger.begun(source.name, state)
        self.reports.append(report)
        is_whole, seen = place == seeds.Place(), Seen()
        try:
            reading = Reading(source, self._forgotten, self._form, self._answers.limit, None, CHUNK, self._answers)
            items = until(math.inf, reading.items(place), place, report)
            for chunk in reading.chunks(items, report):
                if is_whole and not len(seen):
                    reading.compare_names(chunk, self._count_known, self._ledger, report)
                self._add(chunk, report, seen)
            is_edition = reading.settings.mirror and source.name in self._ledger.entries
            if is_edition and (named := reading.named(seen if is_whole else None, report)) is not None:
                self._withdraw(report, named)
        except Unreadable as e:
            report.fail(f"{report.name}: cannot be read: {e}")

    def _count_known(self, ids: Sequence[str]) -> int:
        return self._known.select(pl.col("doc_id").is_in(ids).sum()).item()

    def _add(self, chunk: pl.DataFrame, report: SeedReport, seen: Seen) -> None:
        seen.report_repeated(chunk, report)
        fresh, changed = classify(chunk, (self._known,))
        report.added += fresh.height
        report.replaced += changed.height
        carried = pl.concat([rows.select("body") for rows in (fresh, changed)]).filter(pl.col("body").is_not_null())
        self.carried += carried.height
        fetched = pl.col("outcome").is_null()
        before = self._known.join(changed, on="doc_id", how="semi").select("doc_id", was_fetched=fetched)
        moved = changed.join(before, on="doc_id")
        self._count(fresh.filter(fetched).with_columns(partition=pl.lit("")), 1)
        self._count(moved.filter(fetched & ~pl.col("was_fetched")).with_columns(partition=pl.lit("")), 1)
        self._count(moved.filter(~fetched & pl.col("was_fetched")), -1)
        if not changed.is_empty():
            self._known = learned(self._known, changed)
        self._known = pl.concat([self._known, as_known(fresh)])

    def _withdraw(self, report: SeedReport, named: Seen) -> None:
        for partition, rows in leaving(self._segments, report.name, named):
            report.withdrawn += rows.height
            self._count(rows.filter(pl.col("outcome").is_null()).with_columns(partition=pl.lit(partition)), -1)

    def _count(self, rows: pl.DataFrame, sign: int) -> None:
        """Count these rows (with their partition) to the URLs that are asked for, or off them."""
        counts = urls_by_host(rows, self._asked_before)
        counts = counts.with_columns(pl.col("new", "again") * sign)
        self.hosts = [by_host([*self.hosts, counts])]
