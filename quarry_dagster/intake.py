"""From seed files in the inbox to crawl batches.

Here belongs what is new in the inbox and which partition it goes to. How a seed file is read belongs to
:mod:`quarry_dagster.seeds`; telling Dagster of the partitions belongs to :mod:`quarry_dagster.partitions`.

A URL is taken in once and keeps its batch for good. A seed file is read again only when its bytes change, and
then adds its new URLs; a document that it carries itself (`text`, `html`, an archived capture) and that changed
replaces the earlier one in the batch it already has.
"""

from __future__ import annotations

import hashlib
import math
import re
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import polars as pl

from quarry_dagster import seeds
from quarry_dagster.forget import Forgotten, read_forgotten
from quarry_dagster.store import Store
from quarry_dagster.store.schemas import BATCHES
from quarry_dagster.store.store import SEEDS
from quarry_dagster.urls import InvalidUrl, doc_id

LEDGER = "intake/ledger.json"
_PROBLEMS_KEPT = 100
_BODIES_IN_MEMORY = 128 << 20
_CHUNK = 2000


@dataclass
class SeedReport:
    """What became of one seed file."""

    name: str
    urls: int = 0  # lines that name a URL or carry a document
    added: int = 0  # URLs not known before
    replaced: int = 0  # documents carried by the seed that changed
    problem_count: int = 0
    problems: list[str] = field(default_factory=list)  # the first hundred, as "file:line: reason"

    def report(self, line: int | None, reason: str, text: str) -> None:
        self.problem_count += 1
        if len(self.problems) < _PROBLEMS_KEPT:
            where = self.name if line is None else f"{self.name}:{line}"
            self.problems.append(f"{where}: {reason}" + (f" [{text}]" if text else ""))


def pending(store: Store, min_age: float = 0.0) -> list[str]:
    """Seed files that are new or changed since they were last taken in, by name, the one changed first first.

    One that changed less than `min_age` seconds ago may be half copied, and waits.
    """
    ledger = _read_ledger(store)
    inbox = _inbox(store, time.time() - min_age)
    return [name for name, state in inbox.items() if ledger.get(name, {}).get("state") != state]


def take_in(
    store: Store,
    *,
    pages_per_partition: int,
    max_body: int,
    fetch: Callable[[str], bytes] | None = None,
    min_age: float = 0.0,
) -> list[SeedReport]:
    """Read every seed file that is new or changed, and write batches for what it brings; reports the files read.

    `max_body` is in bytes; `fetch` downloads sitemaps that a seed names; `min_age` as in :func:`pending`. A kill at
    any moment loses nothing: the seed file is read again, and the URLs that have a batch by then are known.

    Raises:
        StoreError: the data root cannot be written.
    """
    reports: list[SeedReport] = []
    if not pending(store, min_age):
        return reports
    with store.files.lock("intake"):
        inbox = _inbox(store)
        known = _Known(store)
        forgotten = read_forgotten(store)
        for name in pending(store, min_age):
            report = SeedReport(name)
            reports.append(report)
            batcher = _Batcher(store, known, report, pages_per_partition)
            try:
                items = _read(store, name, max_body=max_body, fetch=fetch)
                for chunk in _chunks(items, report, forgotten):
                    batcher.add(chunk)
            except _Unreadable as e:
                report.report(None, f"cannot be read, will be tried again: {e}", "")
                batcher.finish()
                continue
            batcher.finish()
            _note(store, name, inbox[name], report)
    return reports


def _read(
    store: Store, name: str, *, max_body: int, fetch: Callable[[str], bytes] | None
) -> Iterator[seeds.Seed | seeds.Problem]:
    try:
        with store.files.open(f"{SEEDS}/{name}") as file:
            yield from seeds.read_seeds(file, name, max_body=max_body, fetch=fetch)
    except OSError as e:
        raise _Unreadable(str(e)) from e


class _Unreadable(Exception):
    """The seed file cannot be read; unlike an OSError of the store, that costs only this file."""


def _note(store: Store, name: str, state: str, report: SeedReport) -> None:
    ledger = _read_ledger(store)
    ledger[name] = {
        "state": state,
        "taken_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "urls": report.urls,
        "added": report.added,
        "replaced": report.replaced,
        "problem_count": report.problem_count,
        "problems": report.problems,
    }
    store.files.write_json(LEDGER, ledger)


def _inbox(store: Store, before: float = math.inf) -> dict[str, str]:
    """Seed files by name, first the one changed first, with a state that changes when the file does."""
    found: list[tuple[float, str, str]] = []
    for path, info in store.files.list(SEEDS).items():
        name = path.removeprefix(f"{SEEDS}/")
        if seeds.is_seed_name(name):
            changed = next((info[k] for k in ("mtime", "LastModified", "last_modified", "created") if k in info), 0.0)
            at = changed.timestamp() if isinstance(changed, datetime) else float(changed)
            found.append((at, name, f"{info['size']} {at} {info.get('ETag', '')}".strip()))
    return {name: state for at, name, state in sorted(found) if at <= before}


def _read_ledger(store: Store) -> dict[str, dict[str, Any]]:
    return store.files.read_json(LEDGER) if store.files.exists(LEDGER) else {}


def _chunks(
    items: Iterator[seeds.Seed | seeds.Problem], report: SeedReport, forgotten: Forgotten
) -> Iterator[pl.DataFrame]:
    rows: list[dict[str, Any]] = []
    size = 0
    for item in items:
        if isinstance(item, seeds.Problem):
            report.report(item.line, item.reason, item.text)
            continue
        if item.outcome == "invalid_url":
            report.report(item.line, item.detail or "no URL", item.url)
        report.urls += 1
        if reason := forgotten.reason(item.url):
            item = seeds.Seed(item.url, item.line, outcome="opted_out", detail=reason)
        rows.append(_row(item, report.name))
        size += len(item.body or b"")
        if len(rows) == _CHUNK or size > _BODIES_IN_MEMORY:
            yield pl.DataFrame(rows, schema=BATCHES)
            rows, size = [], 0
    if rows:
        yield pl.DataFrame(rows, schema=BATCHES)


def _row(seed: seeds.Seed, name: str) -> dict[str, Any]:
    try:
        id_ = doc_id(seed.url)
    except InvalidUrl:  # such a line has a row too, which says so
        id_ = hashlib.sha256(seed.url.encode()).hexdigest()[:20]
    return {
        "doc_id": id_,
        "url": seed.url,
        "seed": name,
        "line": seed.line,
        "outcome": seed.outcome,
        "detail": seed.detail,
        "final_url": seed.final_url,
        "status": seed.status,
        "fetched_at": seed.fetched_at,
        "content_type": seed.content_type,
        "etag": seed.etag,
        "last_modified": seed.last_modified,
        "body": seed.body,
        "body_digest": None if seed.body is None else hashlib.sha256(seed.body).hexdigest()[:32],
    }


class _Known:
    """Which partition each known document has, and what the seed carried of it."""

    columns = ("doc_id", "partition", "body_digest", "fetched_at")

    def __init__(self, store: Store) -> None:
        frames = [
            store.files.scan([s.path], BATCHES)
            .select("doc_id", pl.lit(p).alias("partition"), "body_digest", "fetched_at")
            .collect()
            for p, s in store.batches.segments().items()
        ]
        empty = BATCHES | {"partition": pl.String()}
        self.rows = pl.concat(frames) if frames else pl.DataFrame(schema={c: empty[c] for c in self.columns})

    def update(self, rows: pl.DataFrame, partition: pl.Expr) -> None:
        fresh = rows.select("doc_id", partition.alias("partition"), "body_digest", "fetched_at")
        self.rows = pl.concat([self.rows.join(fresh, on="doc_id", how="anti"), fresh])


class _Batcher:
    """Cuts the new documents of one seed file into partitions, and replaces the changed ones."""

    def __init__(self, store: Store, known: _Known, report: SeedReport, pages: int) -> None:
        self._store = store
        self._known = known
        self._report = report
        self._pages = pages
        self._fresh: list[pl.DataFrame] = []
        self._changed: list[pl.DataFrame] = []
        self._count = len(store.batches.segments())

    def add(self, chunk: pl.DataFrame) -> None:
        """Take in rows of schema BATCHES; of several with one doc_id the latest capture counts."""
        chunk = _latest(chunk)
        waiting = (
            pl.concat([f.select("doc_id") for f in self._fresh]) if self._fresh else chunk.select("doc_id").clear()
        )
        again = chunk.join(waiting, on="doc_id", how="semi")
        if again["body"].is_not_null().any():
            self._flush(everything=True)  # a document met again must have its batch before it can be replaced
        elif not again.is_empty():
            chunk = chunk.join(again.select("doc_id"), on="doc_id", how="anti")
        joined = chunk.join(self._known.rows, on="doc_id", how="left", suffix="_known")
        known = pl.col("partition").is_not_null()
        fresh = joined.filter(~known).select(BATCHES.names())
        changed = joined.filter(
            known
            & pl.col("body_digest").is_not_null()
            & pl.col("body_digest").ne_missing(pl.col("body_digest_known"))
            & (pl.col("fetched_at").is_null() | (pl.col("fetched_at") >= pl.col("fetched_at_known")).fill_null(False))
        )
        if not fresh.is_empty():
            self._fresh.append(fresh)
        if not changed.is_empty():
            self._changed.append(changed.select(*BATCHES.names(), "partition"))
        self._report.added += fresh.height
        self._report.replaced += changed.height
        self._flush(everything=False)

    def finish(self) -> None:
        self._flush(everything=True)

    def _flush(self, everything: bool) -> None:
        if self._fresh:
            rows = pl.concat(self._fresh)
            while (
                rows.height >= self._pages
                or (everything and not rows.is_empty())
                or _body_bytes(rows) > _BODIES_IN_MEMORY
            ):
                size = _rows_that_fit(rows, self._pages)
                self._write(rows.head(size))
                rows = rows.slice(size)
            self._fresh = [rows] if not rows.is_empty() else []
        if self._changed and (everything or sum(_body_bytes(f) for f in self._changed) > _BODIES_IN_MEMORY):
            rows = _latest(pl.concat(self._changed))
            self._changed = []
            for (partition,), part in rows.group_by("partition"):
                self._replace(str(partition), part.drop("partition"))

    def _write(self, rows: pl.DataFrame) -> None:
        self._count += 1
        # Never a name that was used before: to Dagster that would be the old partition come back.
        partition = f"{self._count:05d}-{_slug(self._report.name)}-{uuid.uuid4().hex[:6]}"
        with self._store.batches.write(partition) as writer:
            writer.append(rows)
        self._known.update(rows, pl.lit(partition))

    def _replace(self, partition: str, rows: pl.DataFrame) -> None:
        old = self._store.batches.segment(partition)
        assert old is not None
        with self._store.batches.write(partition) as writer:
            for batch in old.batches():
                writer.append(batch.join(rows, on="doc_id", how="anti"))
            writer.append(rows)
        self._store.batches.prune(partition=partition, previous=False)
        self._known.update(rows, pl.lit(partition))


def _latest(rows: pl.DataFrame) -> pl.DataFrame:
    """Each document once: a body before none, then the later capture (an undated one is from now), the later line."""
    order = (pl.col("body").is_not_null(), "fetched_at", "line")
    return rows.sort(*order, nulls_last=True).unique("doc_id", keep="last", maintain_order=True).sort("line")


def _body_bytes(rows: pl.DataFrame) -> int:
    return int(rows["body"].bin.size().sum() or 0)


def _rows_that_fit(rows: pl.DataFrame, pages: int) -> int:
    """How many of the first rows make one partition: at most `pages`, and at most the bodies memory can hold."""
    size = rows["body"].bin.size().fill_null(0).cum_sum()
    return max(1, min(pages, int((size <= _BODIES_IN_MEMORY).sum())))


def _slug(name: str) -> str:
    stem = name.rsplit("/", 1)[-1].split(".", 1)[0].lower()
    return re.sub(r"[^a-z0-9]+", "-", stem).strip("-")[:32] or "seeds"
