"""From seed files in the inbox to crawl batches.

Here belongs what is new in the inbox and which partition it goes to. How a seed file is read belongs to
:mod:`quarry_dagster.seeds`; telling Dagster of the partitions belongs to :mod:`quarry_dagster.orchestration.partitions`.

A URL is taken in once and keeps its batch for good. A seed file is read again only when its bytes change, and
then adds its new URLs; a document that it carries itself (`text`, `html`, an archived capture) and that changed
replaces the earlier one in the batch it already has. A large seed has partitions of its own, small ones share.
"""

from __future__ import annotations

import hashlib
import math
import re
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import polars as pl

from quarry_dagster import seeds
from quarry_dagster.store.forgotten import Forgotten, read_forgotten
from quarry_dagster.store import Segment, Store
from quarry_dagster.store.schemas import BATCHES
from quarry_dagster.store.store import SEEDS
from quarry_dagster.urls import InvalidUrl, canonical_url

LEDGER = "intake/ledger.json"
_PROBLEMS_KEPT = 100
_BODIES_IN_MEMORY = 128 << 20
_CHUNK = 50_000


@dataclass
class SeedReport:
    """What became of one seed file, in all the readings it took."""

    name: str
    urls: int = 0  # lines that name a URL or carry a document
    added: int = 0  # URLs not known before
    replaced: int = 0  # documents carried by the seed that changed
    problem_count: int = 0
    problems: list[str] = field(default_factory=list)  # the first hundred, as "file:line: reason"
    done: bool = False  # else it stays pending: its time was up, or it could not be read
    error: str = ""  # why it could not be read

    def report(self, line: int | None, reason: str, text: str) -> None:
        self.problem_count += 1
        if len(self.problems) < _PROBLEMS_KEPT:
            where = self.name if line is None else f"{self.name}:{line}"
            self.problems.append(f"{where}: {reason}" + (f" [{text}]" if text else ""))


def pending(store: Store, min_age: float = 0.0) -> list[str]:
    """Seed files that are new or changed since they were last taken in, by name, the one changed first first.

    One that changed less than `min_age` seconds ago may be half copied, and waits.
    """
    return [seeds.shown(name) for name in _pending(_inbox(store, min_age), _read_ledger(store))]


def take_in(
    store: Store,
    *,
    pages_per_partition: int,
    max_body: int,
    fetch: Callable[[str], bytes] | None = None,
    min_age: float = 0.0,
    seconds: float = math.inf,
    chunk_rows: int = _CHUNK,
) -> list[SeedReport]:
    """Read every seed file that is new or changed, and write batches for what it brings; reports the files read.

    `max_body` is in bytes; `fetch` downloads sitemaps that a seed names; `min_age` as in :func:`pending`. A kill at
    any moment loses nothing: the seed file is read again, and the URLs that have a batch by then are known.

    After about so many `seconds` it stops, however far it came, but not before it got any further. What was read
    by then has its batches, and the next call goes on from there. `chunk_rows` are held in memory at once.

    Raises:
        StoreError: the data root cannot be written.
    """
    deadline = time.monotonic() + seconds
    reports: list[SeedReport] = []
    if not pending(store, min_age):
        return reports
    with store.files.lock("intake"):
        ledger = _read_ledger(store)
        forgotten = read_forgotten(store)
        batcher = _Batcher(store, pages_per_partition)
        unnoted: dict[str, dict[str, Any]] = {}

        def note() -> None:
            """Write what waits, then, and only then, that its seed files were read."""
            batcher.finish()
            ledger.update(unnoted)
            if unnoted:
                store.files.write_json(LEDGER, ledger)
            unnoted.clear()

        for name, state in _pending(_inbox(store, min_age), ledger).items():
            report, place = _begun(name, state, ledger)
            reports.append(report)
            items = _read(store, name, place, max_body=max_body, fetch=fetch)
            try:
                for chunk in _chunks(_until(deadline, items, place, report), report, forgotten, chunk_rows):
                    batcher.add(chunk, report)
            except _Unreadable as e:
                report.error = f"{report.name}: cannot be read, will be tried again: {e}"
                report.problems.append(report.error)
                report.problem_count += 1
            else:
                unnoted[name] = _entry(state, report, place)
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


def _inbox(store: Store, min_age: float) -> dict[str, str]:
    """Settled files by name, first the one changed first, with a state that changes when the file does.

    One of another suffix is among them, so that it is reported once that it is no seed.
    """
    now = time.time()
    found: list[tuple[float, str, str]] = []
    for path, info in store.files.details(SEEDS).items():
        name = path.removeprefix(f"{SEEDS}/")
        if seeds.is_whole(name):
            changed = next((info[k] for k in ("mtime", "LastModified", "last_modified", "created") if k in info), 0.0)
            at = changed.timestamp() if isinstance(changed, datetime) else float(changed)
            if abs(now - at) >= min_age:  # one from the future was copied by a machine whose clock is ahead
                found.append((at, name, f"{info['size']} {at} {info.get('ETag', '')}".strip()))
    return {name: state for _, name, state in sorted(found)}


def _read_ledger(store: Store) -> dict[str, dict[str, Any]]:
    return store.files.read_json(LEDGER) if store.files.exists(LEDGER) else {}


def _pending(inbox: dict[str, str], ledger: dict[str, dict[str, Any]]) -> dict[str, str]:
    def is_done(name: str, state: str) -> bool:
        entry = ledger.get(name, {})
        return entry.get("state") == state and "place" not in entry

    return {name: state for name, state in inbox.items() if not is_done(name, state)}


def _begun(name: str, state: str, ledger: dict[str, dict[str, Any]]) -> tuple[SeedReport, seeds.Place]:
    """The report and the place of an earlier reading of the same bytes that stopped half-way; else new ones."""
    entry = ledger.get(name, {})
    text = seeds.shown(name)  # a name that is no UTF-8 is no text that a table takes
    if entry.get("state") != state or "place" not in entry:
        return SeedReport(text), seeds.Place()
    counts = {k: entry[k] for k in ("urls", "added", "replaced", "problem_count", "problems")}
    return SeedReport(text, **counts), seeds.Place(**entry["place"])


def _entry(state: str, report: SeedReport, place: seeds.Place) -> dict[str, Any]:
    entry = asdict(report) | {"state": state, "taken_at": datetime.now(UTC).isoformat(timespec="seconds")}
    del entry["name"], entry["error"]
    return entry if entry.pop("done") else entry | {"place": asdict(place)}


def _until(
    deadline: float, items: Iterator[seeds.Seed | seeds.Problem], place: seeds.Place, report: SeedReport
) -> Iterator[seeds.Seed | seeds.Problem]:
    """The items up to the deadline, or a little later: to where reading can go on. With the last the seed is done."""
    before = place.line, place.at, len(place.sitemaps)
    for item in items:
        yield item
        after = place.line, place.at, len(place.sitemaps)
        if after != before and time.monotonic() > deadline:
            return
        before = after
    report.done = True


def _chunks(
    items: Iterator[seeds.Seed | seeds.Problem], report: SeedReport, forgotten: Forgotten, most: int
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
        report.urls += 1
        if reason := forgotten.reason(item.url):
            item = seeds.Seed(item.url, item.line, outcome="opted_out", detail=reason)
        rows.append(_row(item, report.name))
        size += len(item.body or b"")
        if len(rows) == most or size > _BODIES_IN_MEMORY:
            yield _frame(rows)
            rows, size = [], 0
    if rows:
        yield _frame(rows)


def _row(seed: seeds.Seed, name: str) -> tuple[Any, ...]:
    return (
        _doc_id(seed.url),
        seed.url,
        name,
        seed.line,
        seed.outcome,
        seed.detail,
        seed.discover,
        seed.final_url,
        seed.status,
        seed.fetched_at,
        seed.content_type,
        seed.etag,
        seed.last_modified,
        seed.body,
        None if seed.body is None else hashlib.sha256(seed.body).hexdigest()[:32],
    )


def _frame(rows: list[tuple[Any, ...]]) -> pl.DataFrame:
    columns = zip(BATCHES.items(), zip(*rows, strict=True), strict=True)
    return pl.DataFrame([pl.Series(name, values, dtype) for (name, dtype), values in columns])


# What canonical_url surely leaves as it is but for the order of parameters (a test holds the two together): it takes
# ten times as long as all else that is done with a seed, and seeds have millions of URLs.
_CANONICAL = re.compile(
    r"(https?://[a-z0-9-]{1,63}(?:\.[a-z0-9-]{1,63})+(?:/(?:[A-Za-z0-9_~-][A-Za-z0-9._~-]*)?)+)"
    r"(?:\?((?:[A-Za-z0-9._~-]+=[A-Za-z0-9._~-]*&)*[A-Za-z0-9._~-]+=[A-Za-z0-9._~-]*))?"
)


def _doc_id(url: str) -> str:
    """As :func:`urls.doc_id`; what is no URL has a row too, which says so, and an id."""
    if plain := _CANONICAL.fullmatch(url):
        base, query = plain.groups()
        if query and "&" in query:
            url = f"{base}?{'&'.join(sorted(query.split('&'), key=_parameter))}"
    else:
        with suppress(InvalidUrl):
            url = canonical_url(url)
    return hashlib.sha256(url.encode()).hexdigest()[:20]


def _parameter(pair: str) -> list[str]:
    return pair.split("=")


_KNOWN = ("doc_id", "partition", "outcome", "discover", "body_digest", "fetched_at")
_WAITS = pl.lit("", dtype=pl.String).alias("partition")


class _Batcher:
    """Cuts new documents into partitions, and replaces those that changed."""

    def __init__(self, store: Store, pages: int) -> None:
        self._store = store
        self._pages = pages
        self._waiting = pl.DataFrame(schema=BATCHES)
        self._changed: list[pl.DataFrame] = []

    @cached_property
    def _segments(self) -> dict[str, Segment]:
        return self._store.batches.segments()

    @cached_property
    def _known(self) -> pl.DataFrame:
        """Which partition each document of a batch has, and what the seed carried of it."""
        frames = [pl.DataFrame(schema=BATCHES).with_columns(_WAITS).select(_KNOWN)]
        for partition, segment in self._segments.items():
            for rows in segment.batches([c for c in _KNOWN if c != "partition"], rows=_CHUNK):
                frames.append(rows.with_columns(partition=pl.lit(partition)).select(_KNOWN))
        return pl.concat(frames, rechunk=True)

    def add(self, chunk: pl.DataFrame, report: SeedReport) -> None:
        """Take in rows of one seed file; of several with one doc_id the latest capture counts."""
        chunk = _latest(chunk)
        ids = chunk.select("doc_id")
        known = [k.join(ids, on="doc_id", how="semi") for k in (self._known, self._waiting.with_columns(_WAITS))]
        joined = chunk.join(pl.concat([k.select(_KNOWN) for k in known]), on="doc_id", how="left", suffix="_known")
        joined = joined.sort("line", maintain_order=True)
        fresh = joined.filter(pl.col("partition").is_null()).select(BATCHES.names())
        # As `_latest` orders them: a body before none, then the later one.
        is_later = pl.col("fetched_at").is_null() | (pl.col("fetched_at") >= pl.col("fetched_at_known"))
        brings = (
            pl.col("body_digest").is_not_null()
            & pl.col("body_digest").ne_missing(pl.col("body_digest_known"))
            & (pl.col("body_digest_known").is_null() | is_later.fill_null(False))
        )
        is_to_be_fetched = pl.col("outcome").is_null()
        asks = is_to_be_fetched & (
            # What had no page in an archive, or another `discover=`:
            (pl.col("outcome_known").is_not_null() & pl.col("body_digest_known").is_null())
            | (
                pl.col("outcome_known").is_null()
                & pl.col("discover").is_not_null()
                & pl.col("discover").ne_missing(pl.col("discover_known"))
            )
        )
        changed = joined.filter(pl.col("partition").is_not_null() & (brings | asks)).select(
            *BATCHES.names(), "partition"
        )
        report.added += fresh.height
        report.replaced += changed.height
        again = changed.filter(partition="").select(BATCHES.names())
        changed = changed.filter(pl.col("partition") != "")
        if not changed.is_empty():
            self._changed.append(changed)
            self._known = pl.concat([self._known.join(changed, on="doc_id", how="anti"), changed.select(_KNOWN)])
        if not again.is_empty():
            self._waiting = self._waiting.join(again, on="doc_id", how="anti")
        self._waiting = pl.concat([self._waiting, again, fresh])
        self._write_full()
        if sum(_body_bytes(rows) for rows in self._changed) > _BODIES_IN_MEMORY:
            self._replace_changed()

    def finish(self) -> None:
        """Write all that waits."""
        self._write_full()
        if not self._waiting.is_empty():
            self._write([self._waiting])
            self._waiting = self._waiting.clear()
        self._replace_changed()

    def _write_full(self) -> None:
        """Write the partitions that waiting rows fill."""
        full: list[pl.DataFrame] = []
        while (size := _full(self._waiting, self._pages)) is not None:
            full.append(self._waiting.head(size))
            self._waiting = self._waiting.slice(size)
        self._write(full)

    def _write(self, partitions: list[pl.DataFrame]) -> None:
        if not partitions:
            return
        names: list[str] = []
        for rows in partitions:
            name = self._new_name(rows["seed"].unique(maintain_order=True))
            with self._store.batches.write(name) as writer:
                writer.append(rows)
            self._segments[name] = writer.segment
            names += [name] * rows.height
        written = pl.concat(partitions).with_columns(partition=pl.Series(names))
        self._known = pl.concat([self._known, written.select(_KNOWN)])

    def _new_name(self, names: pl.Series) -> str:
        """Never one that was used before: to Dagster that would be the old partition come back."""
        more = f"-and-{len(names) - 1}-more" if len(names) > 1 else ""
        return f"{len(self._segments) + 1:05d}-{_slug(names[0])}{more}-{uuid.uuid4().hex[:6]}"

    def _replace_changed(self) -> None:
        if not self._changed:
            return
        rows = _latest(pl.concat(self._changed))
        self._changed = []
        for (partition,), part in rows.group_by("partition"):
            self._replace(self._segments[str(partition)], part.drop("partition"))

    def _replace(self, old: Segment, rows: pl.DataFrame) -> None:
        # A seed that has two versions of a document, read again, gives the earlier one and then what is there.
        same = ["doc_id", "outcome", "discover", "body_digest"]
        there = pl.concat(old.batches(same, rows=_CHUNK))
        rows = rows.join(there, on=same, how="anti", nulls_equal=True)
        if rows.is_empty():
            return
        with self._store.batches.write(old.partition) as writer:
            for batch in old.batches():
                writer.append(batch.join(rows, on="doc_id", how="anti"))
            writer.append(rows)
        self._store.batches.prune(partition=old.partition, previous=False)
        self._segments[old.partition] = writer.segment


def _latest(rows: pl.DataFrame) -> pl.DataFrame:
    """Each document once: a body before none, then the later capture (an undated one is from now), the later row."""
    if rows["doc_id"].is_unique().all():
        return rows
    order = (pl.col("body").is_not_null(), "fetched_at")
    rows = rows.with_row_index("row").sort(*order, nulls_last=True, maintain_order=True)
    return rows.unique("doc_id", keep="last", maintain_order=True).sort("row").drop("row")


def _body_bytes(rows: pl.DataFrame) -> int:
    return int(rows["body"].bin.size().sum() or 0)


def _full(rows: pl.DataFrame, pages: int) -> int | None:
    """How many of the first rows make one partition: at most `pages`, and at most the bodies memory can hold.

    None: all of them together do not fill it.
    """
    size = rows["body"].head(pages).bin.size().fill_null(0).cum_sum()
    fit = int((size <= _BODIES_IN_MEMORY).sum())
    return max(1, fit) if fit < len(size) or len(size) == pages else None


def _slug(name: str) -> str:
    stem = name.rsplit("/", 1)[-1].split(".", 1)[0].lower()
    return re.sub(r"[^a-z0-9]+", "-", stem).strip("-")[:32] or "seeds"
