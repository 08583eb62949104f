"""Batches: which partition a new document goes to, and what replaces a document that has one.

A document keeps its batch for good. A large seed has partitions of its own, small ones share.

Why so: "Small seeds share partitions" and "The last version taken in counts" in docs/decisions.md.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import polars as pl

from quarry_dagster.digests import digest
from quarry_dagster.errors import InvalidUrl
from quarry_dagster.intake.ledger import SeedReport
from quarry_dagster.seeds import Seed
from quarry_dagster.store import Segment, Store
from quarry_dagster.store.schemas import BATCHES, WITHDRAWN
from quarry_dagster.urls import UrlForm, doc_id, id_of
from quarry_dagster.urns import URN_PREFIX

BODIES_IN_MEMORY = 128 << 20
"""At most so many bytes of bodies wait in memory to be written."""
CHUNK = 50_000
"""Rows that are handled at once."""


def row_of(seed: Seed, name: str, form: UrlForm) -> tuple[Any, ...]:
    """The row of a seed that stands in the file of this name: its values in order of the schema BATCHES.

    `form` is the normal form of URLs of the data root.
    """
    return (
        _doc_id(seed.url, form),
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
        None if seed.body is None else digest(seed.body),
        seed.own_columns,
        seed.consent_headers,
    )


def frame_of(rows: Sequence[tuple[Any, ...]]) -> pl.DataFrame:
    """Rows of :func:`row_of`, schema BATCHES."""
    columns = zip(BATCHES.items(), zip(*rows, strict=True), strict=True)
    return pl.DataFrame([pl.Series(name, values, dtype) for (name, dtype), values in columns])


def _doc_id(url: str, form: UrlForm) -> str:
    """As :func:`doc_id`, but a line that is no URL gets an id too, because it has a row."""
    try:
        return doc_id(url, form)
    except InvalidUrl:
        return id_of(url)


_STORED = ("doc_id", "outcome", "discover", "body_digest", "fetched_at", "own_columns")
_KNOWN = ("doc_id", "partition", "outcome", "discover", "body_digest", "fetched_at", "own")
_OWN = pl.when(pl.col("own_columns").is_not_null()).then(pl.col("own_columns").hash()).alias("own")
"""What the own columns of a document are compared by, within one process: they may be long, and all are in memory."""
_KEYS = 16
"""Hex digits of a doc_id, 64 bits, by which the documents of one reading are told apart in memory."""
_REPEATED = "its document stands in this file before: of such rows the latest fetched_at counts, without one the last"
_WAITS = pl.lit("", dtype=pl.String).alias("partition")


def known_documents(segments: Mapping[str, Segment]) -> pl.DataFrame:
    """The documents that have a batch, each with its partition and what the seed carried."""
    frames = [as_known(pl.DataFrame(schema=BATCHES))]
    for partition, segment in segments.items():
        for rows in segment.batches(_STORED, rows=CHUNK):
            frames.append(rows.with_columns(_OWN, partition=pl.lit(partition)).select(_KNOWN))
    return pl.concat(frames, rechunk=True)


def as_known(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows of schema BATCHES as those of :func:`known_documents`; they wait for a partition."""
    return rows.with_columns(_WAITS, _OWN).select(_KNOWN)


def learned(known: pl.DataFrame, changed: pl.DataFrame) -> pl.DataFrame:
    """What is known, with these rows (schema BATCHES and their partition) in the place of those that they replace."""
    others = known.join(changed, on="doc_id", how="anti")
    return pl.concat([others, changed.with_columns(_OWN).select(_KNOWN)])


def classify(chunk: pl.DataFrame, known: Iterable[pl.DataFrame]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rows that are new, and rows that replace known ones, each document once; all others bring nothing.

    `chunk` has schema BATCHES, and so have both results; the second has the `partition` of what it replaces too.
    """
    chunk = _latest(chunk).with_columns(_OWN)
    ids = chunk.select("doc_id")
    found = pl.concat([k.join(ids, on="doc_id", how="semi").select(_KNOWN) for k in known])
    joined = chunk.join(found, on="doc_id", how="left", suffix="_known").sort("line", maintain_order=True)
    fresh = joined.filter(pl.col("partition").is_null()).select(BATCHES.names())
    # As `_latest` orders them: a body before none, then the later one.
    is_later = pl.col("fetched_at").is_null() | (pl.col("fetched_at") >= pl.col("fetched_at_known"))
    opted_out_at = pl.when(pl.col("outcome_known") == "opted_out").then(pl.col("fetched_at_known"))
    brings = (
        pl.col("body_digest").is_not_null()
        & pl.col("body_digest").ne_missing(pl.col("body_digest_known"))
        & ((pl.col("body_digest_known").is_null() & opted_out_at.is_null()) | is_later.fill_null(False))
    )
    # The later capture of a page says that it may not be used: it has no body, and takes back the earlier one.
    takes_back = (
        (pl.col("outcome") == "opted_out").fill_null(False)
        & pl.col("body_digest_known").is_not_null()
        & is_later.fill_null(False)
    )
    # A row that says nothing of a document takes back nothing: another seed may have said it.
    says = pl.col("own").is_not_null() & pl.col("own").ne_missing(pl.col("own_known"))
    has_as_much = pl.col("body_digest").is_not_null() | pl.col("body_digest_known").is_null()
    says &= has_as_much & is_later.fill_null(True)
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
    replaces = pl.col("partition").is_not_null() & (brings | takes_back | asks | says)
    return fresh, joined.filter(replaces).select(*BATCHES.names(), "partition")


def leaving(segments: Mapping[str, Segment], seed: str, seen: Seen) -> Iterator[tuple[str, pl.DataFrame]]:
    """Yield partition and rows (schema BATCHES without `body`) of a seed's documents that are not among the seen."""
    for partition, segment in segments.items():
        for rows in segment.batches([c for c in BATCHES.names() if c != "body"], rows=CHUNK):
            gone = rows.filter((pl.col("seed") == seed) & (pl.col("outcome").ne_missing("opted_out")))
            gone = gone.filter(~seen.has(gone))
            if not gone.is_empty():
                yield partition, gone


class Batcher:
    """Cuts new documents into partitions, and replaces those that changed.

    Its methods raise LostRace where another machine took in seeds meanwhile.
    """

    def __init__(self, store: Store, pages: int) -> None:
        self._store = store
        self._pages = pages
        self._waiting = pl.DataFrame(schema=BATCHES)
        self._changed: list[pl.DataFrame] = []
        self._since = store.batches.changed()
        """The commit that what is known is of; another machine that takes in seeds meanwhile is noticed by it."""

    @cached_property
    def _segments(self) -> dict[str, Segment]:
        return dict(self._store.batches.segments().items())

    @cached_property
    def _known(self) -> pl.DataFrame:
        return known_documents(self._segments)

    def add(self, chunk: pl.DataFrame, report: SeedReport, seen: Seen) -> None:
        """Take in rows of one seed file; of several with one doc_id the latest capture counts.

        `seen` are the documents of this file that were taken in before; those of the chunk are added.
        """
        seen.report_repeated(chunk, report)
        fresh, changed = classify(chunk, (self._known, as_known(self._waiting)))
        report.added += fresh.height
        report.replaced += changed.height
        again = changed.filter(partition="").select(BATCHES.names())
        changed = changed.filter(pl.col("partition") != "")
        if not changed.is_empty():
            self._changed.append(changed)
            self._known = learned(self._known, changed)
        if not again.is_empty():
            self._waiting = self._waiting.join(again, on="doc_id", how="anti")
        self._waiting = pl.concat([self._waiting, again, fresh])
        self._write_full()
        if sum(_body_bytes(rows) for rows in self._changed) > BODIES_IN_MEMORY:
            self._replace_changed()

    def withdraw(self, seed: str, seen: Seen) -> int:
        """Take the documents of a seed file that are not among those it names now out of their batches.

        Each keeps its row, with the reason and without what the seed carried. Returns how many they are.
        """
        self.finish()
        return self._take_out(
            leaving(self._segments, seed, seen), f"its seed {seed} is a mirror, and no longer names it"
        )

    def withdraw_beginning(self, seed: str, url: str) -> int:
        """Take the document out of its batch that a seed file named by a line that was half written, as
        :meth:`withdraw` does."""
        self.finish()
        named = (
            (partition, found)
            for partition, rows in leaving(self._segments, seed, Seen())
            if not (found := rows.filter(pl.col("url") == url)).is_empty()
        )
        return self._take_out(named, f"its line of the seed {seed} was half written, and goes on otherwise")

    def _take_out(self, leaving: Iterable[tuple[str, pl.DataFrame]], why: str) -> int:
        """Take rows out, by partition; each keeps its place, with the reason. Returns how many they are."""
        withdrawn = 0
        emptied = [pl.lit(None, BATCHES[c]).alias(c) for c in ("body", "body_digest", "own_columns", "discover")]
        for partition, rows in leaving:
            withdrawn += rows.height
            gone = rows.with_columns(
                *emptied,
                outcome=pl.lit("opted_out"),
                detail=pl.lit(f"{WITHDRAWN}: {why}"),
                partition=pl.lit(partition),
            )
            gone = gone.select(*BATCHES.names(), "partition")
            self._changed.append(gone)
            self._known = learned(self._known, gone)
        self._replace_changed()
        return withdrawn

    def known(self, ids: Sequence[str]) -> int:
        """How many of these doc_ids have a batch."""
        return self._known.select(pl.col("doc_id").is_in(ids).sum()).item()

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
        if not self._segments:  # before the first batch: a root that has batches and does not say is one of before
            self._store.root().write(self._store.files)
        names: list[str] = []
        for rows in partitions:
            name = self._new_name(rows["seed"].unique(maintain_order=True))
            with self._store.batches.write(name, since=self._since) as writer:
                writer.append(rows)
            self._wrote(writer.segment)
            names += [name] * rows.height
        written = pl.concat(partitions).with_columns(_OWN, partition=pl.Series(names))
        self._known = pl.concat([self._known, written.select(_KNOWN)])

    def _new_name(self, names: pl.Series) -> str:
        """A name that no partition had before: Dagster would take a used one for the old partition come back."""
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
        same = ["doc_id", "outcome", "discover", "body_digest", "own_columns"]
        there = pl.concat(old.batches(same, rows=CHUNK))
        rows = rows.join(there, on=same, how="anti", nulls_equal=True)
        if rows.is_empty():
            return
        with self._store.batches.write(old.partition, since=self._since) as writer:
            for batch in old.batches():
                writer.append(batch.join(rows, on="doc_id", how="anti"))
            writer.append(rows)
        self._wrote(writer.segment)

    def _wrote(self, segment: Segment) -> None:
        self._segments[segment.partition] = segment
        self._since = segment.entry.commit if segment.entry else self._since


class Seen:
    """The documents that one reading of a seed file has named so far; 8 bytes each."""

    def __init__(self) -> None:
        self._keys = [pl.Series(dtype=pl.UInt64)]

    def add(self, rows: pl.DataFrame) -> list[tuple[int, str]]:
        """Add the documents of these rows (schema BATCHES).

        Returns line and URL of each row that gives a document, or names it by its id, and was there before. A list of
        URLs and an archive have a page twice as a matter of course.
        """
        keys = _keys(rows)
        earlier = pl.concat(self._keys)
        earlier = earlier.filter(earlier.is_in(keys.implode()))
        is_again = ~keys.is_first_distinct() | keys.is_in(earlier.implode())
        is_own = pl.col("outcome").eq_missing("given") | pl.col("url").str.starts_with(URN_PREFIX)
        self._keys.append(keys)
        return rows.filter(is_again).filter(is_own).select("line", "url").rows()

    def report_repeated(self, rows: pl.DataFrame, report: SeedReport) -> None:
        """Add the documents of these rows, and report those that were there before."""
        for line, url in self.add(rows):
            report.report(line, _REPEATED, url, costs_row=False)

    def __len__(self) -> int:
        return sum(map(len, self._keys))

    def has(self, rows: pl.DataFrame) -> pl.Series:
        """Whether the document of each row is among them: Boolean."""
        return _keys(rows).is_in(pl.concat(self._keys).implode())


def _keys(rows: pl.DataFrame) -> pl.Series:
    return rows["doc_id"].str.slice(0, _KEYS).str.to_integer(base=16, dtype=pl.UInt64)


def _latest(rows: pl.DataFrame) -> pl.DataFrame:
    """Each document once, in the order of the rows.

    Of several rows of one document, one with a body, or that says that it may not be used, counts before others; then
    the later capture, where one without a date is from now; then the later row.
    """
    if rows["doc_id"].is_unique().all():
        return rows
    is_of_a_page = pl.col("body").is_not_null() | (pl.col("outcome") == "opted_out").fill_null(False)
    order = (is_of_a_page, "fetched_at")
    rows = rows.with_row_index("row").sort(*order, nulls_last=True, maintain_order=True)
    return rows.unique("doc_id", keep="last", maintain_order=True).sort("row").drop("row")


def _body_bytes(rows: pl.DataFrame) -> int:
    return int(rows["body"].bin.size().sum() or 0)


def _full(rows: pl.DataFrame, pages: int) -> int | None:
    """How many of the first rows make one partition; None where all rows together do not fill one.

    A partition has at most `pages` rows, and at most as many bodies as memory can hold.
    """
    size = rows["body"].head(pages).bin.size().fill_null(0).cum_sum()
    fit = int((size <= BODIES_IN_MEMORY).sum())
    return max(1, fit) if fit < len(size) or len(size) == pages else None


def _slug(name: str) -> str:
    stem = name.rsplit("/", 1)[-1].split(".", 1)[0].lower()
    return re.sub(r"[^a-z0-9]+", "-", stem).strip("-")[:32] or "seeds"
