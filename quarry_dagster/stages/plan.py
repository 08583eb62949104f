"""What a run would do, counted before it begins: what it asks for, how long that takes, what it makes anew.

Nothing is written, and no site is asked. Figures are those of this data root: bytes of its pages, and seconds that a
sample of its pages and texts takes on this machine.

Why so: "A plan asks the code that does it" in docs/decisions.md.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from quarry_dagster.crawl.answers import Answers
from quarry_dagster.crawl.origins import crawl_delays
from quarry_dagster.embed import is_at_hand, vector_id
from quarry_dagster.extract import extractor_version, plain_version
from quarry_dagster.intake import SeedReport
from quarry_dagster.intake.batches import CHUNK
from quarry_dagster.intake.plan import by_host, plan_seeds, urls_by_host
from quarry_dagster.profiles.settings import HardwareProfile
from quarry_dagster.stages.failed import failed_partitions
from quarry_dagster.stages.pages.crawling import origins_file
from quarry_dagster.stages.pages.raw_pages import CONDITIONAL, conditional, failed_pages, policy_of
from quarry_dagster.stages.redo import redo, seconds_a_page, seconds_a_text
from quarry_dagster.store import Notes, PagesSegment, Segment, Store
from quarry_dagster.store.schemas import EXTRACT_FAILURES


@dataclass(frozen=True)
class Work:
    """Rows of a table that a run makes anew, at most, and those that it uses as they are."""

    anew: int
    reused: int
    seconds: float | None
    """What making them takes on this machine; None: this data root has none yet to tell by."""


@dataclass(frozen=True)
class Plan:
    """What a run would do."""

    reports: Sequence[SeedReport]
    """What would become of each seed file that waits."""
    hosts: pl.DataFrame
    """The hosts that are asked, the largest first: host, URLs `new` and `again`, `delay`, `seconds` by it alone."""
    conditionally: int
    """Of the URLs asked again, those that only send a page that changed."""
    carried: int
    """Documents that the seeds bring themselves."""
    texts: Work
    vectors: Work
    download: int | None
    """Bytes of pages that come whole, packed as they are stored; None: there is no page yet to tell by."""
    disk: int | None
    """Bytes that the tables and the inbox grow by; None: there is no page yet to tell by."""
    free: int | None
    """Bytes free where the data root lies; None: it is no local disk."""
    is_to_be_confirmed: bool
    """Whether the run asks first, or for `--yes`, because other settings make so much anew."""

    def facts(self) -> dict[str, Any]:
        """The plan as JSON values."""
        values = asdict(replace(self, hosts=pl.DataFrame()))
        counts = {"urls": self.urls, "new": self.new, "again": self.again, "politeness_seconds": self.politeness}
        return values | counts | {"hosts": self.hosts.rows(named=True)}

    @property
    def new(self) -> int:
        """URLs that are asked for the first time."""
        return int(self.hosts["new"].sum())

    @property
    def again(self) -> int:
        """URLs that were asked for before."""
        return int(self.hosts["again"].sum())

    @property
    def urls(self) -> int:
        """URLs that are asked for."""
        return self.new + self.again

    @property
    def politeness(self) -> float:
        """Seconds that the crawl takes at least, because hosts are not asked faster."""
        return self.hosts["seconds"].max() or 0.0  # pyright: ignore[reportReturnType]


def plan(
    store: Store,
    profile: HardwareProfile,
    seed_files: Sequence[str] = (),
    *,
    force: bool = False,
    refetch: bool = False,
    only_failed: bool = False,
) -> Plan:
    """What a run with these seed files, and these words, would do.

    Raises:
        ConfigError: a seed file is not there, or is none.
        StoreError: the data root is damaged.
    """
    seeds = plan_seeds(store, [] if only_failed else seed_files, Answers(profile.crawl))
    there = _There(store, profile, force=force, refetch=refetch, only_failed=only_failed)
    counts = [there.hosts] if only_failed else [there.hosts, seeds.hosts]
    carried = 0 if only_failed else seeds.carried
    hosts = _paced(by_host(counts).filter(pl.col("new") + pl.col("again") > 0), store, profile)
    new, again = (int(hosts[name].sum()) for name in ("new", "again"))
    conditionally, had = min(again, there.conditionally), min(again, there.had)
    whole, unknown = new + again - conditionally, new + again - had  # if all come
    page_bytes, row_bytes = _bytes_a_page(store)
    grows = 0 if only_failed else seeds.copied_bytes
    return Plan(
        reports=[] if only_failed else seeds.reports,
        hosts=hosts,
        conditionally=conditionally,
        carried=carried,
        texts=_texts(store, profile, unknown + carried + there.texts_anew, there.texts_reused),
        vectors=_vectors(store, profile, unknown + carried + there.vectors_anew, there.vectors_reused),
        download=None if page_bytes is None and whole else int(whole * (page_bytes or 0)),
        disk=None if row_bytes is None and new + carried else int((new + carried) * (row_bytes or 0)) + grows,
        free=_free(store),
        is_to_be_confirmed=redo(store, profile).is_to_be_confirmed,
    )


class _There:
    """What a run does about the documents that have a batch."""

    def __init__(
        self, store: Store, profile: HardwareProfile, *, force: bool, refetch: bool, only_failed: bool
    ) -> None:
        self._forgotten, self._policy = store.forgotten(), policy_of(profile.crawl)
        self._refetch, self._only_failed = refetch, only_failed
        self.had = self.conditionally = self.texts_anew = self.texts_reused = self.vectors_anew = (
            self.vectors_reused
        ) = 0
        batches = store.batches.segments()
        run = set(failed_partitions(store)) if only_failed else set(batches)
        pages, texts, vectors = store.raw_pages.segments(), store.extracted_text.segments(), store.embeddings.segments()
        version, model = extractor_version(profile.extraction), vector_id(profile.embedding)
        counts: list[pl.DataFrame] = []
        for partition, batch in batches.items():
            is_run, raw = partition in run, pages.get(partition)
            if is_run:
                counts = [by_host([*counts, *self._asked(batch, raw)])]
            text, made = texts.get(partition), vectors.get(partition)
            if text:
                extracted = text.notes.rows - text.notes.outcomes.get("not_fetched", 0)
                failed = sum(text.notes.outcomes.get(outcome, 0) for outcome in EXTRACT_FAILURES)
                outdated = text.notes.outdated(version, plain_version(profile.extraction))
                again = extracted if force else outdated or failed * only_failed
                self.texts_anew += again * is_run
                self.texts_reused += extracted - again * is_run
                is_embedded = made is not None and made.notes.model == model and not force
                self.vectors_anew += text.notes.documents * (is_run and not is_embedded)
                self.vectors_reused += text.notes.documents * (is_embedded or not is_run)
            elif raw and is_run:
                self.texts_anew += raw.notes.rows
                self.vectors_anew += raw.notes.rows
        self.hosts = by_host(counts)

    def _asked(self, batch: Segment[Notes], raw: PagesSegment | None) -> list[pl.DataFrame]:
        """The hosts of the URLs of a partition that are asked for."""
        failed = pl.Series(list(failed_pages(raw))) if raw and self._only_failed else None
        held = None
        if raw:
            outcomes = () if self._refetch else conditional(raw.notes.policy, self._policy)
            held = pl.concat(raw.batches(["doc_id", "outcome"], CHUNK)).filter(pl.col("outcome").is_in(CONDITIONAL))
            held = held.with_columns(is_conditional=pl.col("outcome").is_in(outcomes))
        found: list[pl.DataFrame] = []
        for rows in batch.batches(["doc_id", "url", "outcome"], rows=CHUNK):
            asked = rows.filter(pl.col("outcome").is_null())
            if failed is not None:
                asked = asked.filter(pl.col("doc_id").is_in(failed.implode()))
            if self._forgotten.takedowns:
                asked = asked.filter(
                    pl.Series([self._forgotten.reason(url) is None for url in asked["url"]], dtype=pl.Boolean)
                )
            if held is not None:
                had = held.join(asked, on="doc_id", how="semi")
                self.had += had.height
                self.conditionally += int(had["is_conditional"].sum())
            found.append(urls_by_host(asked, pl.lit(raw is not None)))
        return found


def _paced(hosts: pl.DataFrame, store: Store, profile: HardwareProfile) -> pl.DataFrame:
    """The hosts with their delays: the profile's, or a longer one that their robots.txt asked for lately."""
    delays = crawl_delays(origins_file(store), profile.crawl.user_agent)
    asked = pl.DataFrame(
        {"host": list(delays), "theirs": list(delays.values())}, {"host": pl.String, "theirs": pl.Float64}
    )
    delay = pl.max_horizontal(pl.lit(profile.crawl.delay_per_host), "theirs")
    paced = hosts.join(asked, on="host", how="left").with_columns(delay=delay).drop("theirs")
    urls = pl.col("new") + pl.col("again")
    return paced.with_columns(seconds=urls * pl.col("delay")).sort(urls, "host", descending=[True, False])


def _texts(store: Store, profile: HardwareProfile, anew: int, reused: int) -> Work:
    known = anew and any(
        s.notes.rows > s.notes.outcomes.get("not_fetched", 0) for s in store.extracted_text.segments().values()
    )
    return Work(anew, reused, anew * seconds_a_page(store, profile) if known else None)


def _vectors(store: Store, profile: HardwareProfile, anew: int, reused: int) -> Work:
    known = (
        anew
        and any(s.notes.documents for s in store.extracted_text.segments().values())
        and is_at_hand(profile.embedding)
    )
    return Work(anew, reused, anew * seconds_a_text(store, profile) if known else None)


def _bytes_a_page(store: Store) -> tuple[float | None, float | None]:
    """The bytes of a page as it is stored, and those of its rows in all tables; None where there is no page."""
    pages = store.raw_pages.segments().values()
    if not (rows := sum(s.notes.rows for s in pages)):
        return None, None
    stored = [sum(s.bytes for s in table.segments().values()) for table in store.tables()]
    return sum(s.bytes for s in pages) / rows, sum(stored) / rows


def _free(store: Store) -> int | None:
    if not store.files.is_local:
        return None
    place = Path(store.files.full("")).absolute()
    return shutil.disk_usage(next(p for p in (place, *place.parents) if p.exists())).free
