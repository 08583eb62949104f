"""The public summary of training content, as the EU asks for it of who provides a general-purpose model.

After the template of the AI Office for Article 53(1)(d) of Regulation (EU) 2024/1689: what the tables know is filled
in, and what only the provider knows is left to them, and marked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

import quarry_dagster
from quarry_dagster.errors import ConfigError
from quarry_dagster.exports.card import Count, template
from quarry_dagster.exports.place import MADE_BY
from quarry_dagster.exports.sides import domains
from quarry_dagster.profiles.settings import HardwareProfile
from quarry_dagster.reader import scan
from quarry_dagster.stages.corpus.filtering import Ruling
from quarry_dagster.store import Store
from quarry_dagster.store.disk import Disk
from quarry_dagster.store.schemas import HOST

_MARK = "<!-- quarry export training-summary -->"
_MOST_DOMAINS = 1000
_SHARE_OF_DOMAINS = 10
"""One in so many domains is named, those with the most words."""


@dataclass(frozen=True)
class Source:
    """Documents that came in one way."""

    documents: int
    words: int
    first: str | None
    """Month of the first one, ISO 8601."""
    last: str | None


@dataclass(frozen=True)
class Summary:
    """What the summary says."""

    made_by: str
    corpus: int
    documents: int
    words: int
    bytes: int
    sources: dict[str, Source]
    languages: Sequence[Count]
    licenses: Sequence[Count]
    domains: Sequence[tuple[str, int, int]]
    """The largest: domain, documents, words."""
    all_domains: int
    user_agent: str
    contact: str | None
    delay: float
    obeys: bool
    """Whether reservations are obeyed, besides robots.txt, which always is."""
    signals: Sequence[str]
    refused: Sequence[Count]
    """Pages that were not taken, by outcome."""
    opt_outs: Sequence[tuple[str, str, int]]
    """What says it, what was done, and of how many hosts."""
    duplicates: int
    rules: Sequence[str]
    policy: str | None
    filtered: int


def training_summary(store: Store, profile: HardwareProfile, to: str) -> Summary:
    """Write the summary of the published corpus to a file, in Markdown; `profile` says how the crawler was set.

    Raises:
        ConfigError: there is no corpus, or another file is there.
        StoreError: a table is damaged, or the file cannot be written.
    """
    summary = _summary(store, profile)
    folder, _, name = to.rpartition("/")
    disk = Disk(folder or "/")
    if disk.is_local and Path(to).is_dir():
        raise ConfigError(f"{to} is a folder: name a file")
    if disk.exists(name) and not disk.read(name).startswith(_MARK.encode()):
        raise ConfigError(f"{to} is another file: name a new one")
    rendered = template("training_summary.md.jinja").render(facts=summary)
    text = f"{_MARK}\n{rendered}".encode()
    with disk.told("write", name):
        if not disk.is_local:
            disk.put(name, text)
            return summary
        target = Path(to)
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".{target.name}.part")
        part.write_bytes(text)
        part.replace(target)
    return summary


def _summary(store: Store, profile: HardwareProfile) -> Summary:
    corpus = store.deduped_corpus.current()
    if corpus is None:
        raise ConfigError(f"there is no corpus in {store.files.root}: quarry run makes one")
    root, commit = store.files.root, store.commit_of(corpus.number)
    size = pl.col("text").str.len_bytes().alias("bytes")
    facts = corpus.texts().select("doc_id", "url", "language", "word_count", "fetched_at", size)
    kept = facts.join(corpus.kept().select("doc_id"), on="doc_id").with_columns(host=HOST)
    came = store.files.scan(list(store.raw_pages.segments(commit).paths().values()), store.raw_pages.schema)
    rows = kept.join(came.select("doc_id", "outcome"), on="doc_id", how="left").collect(engine="streaming")
    pages = scan("page_metadata", root, snapshot=corpus.number).select("doc_id", "license").collect(engine="streaming")
    licenses = rows.select("doc_id").join(pages, on="doc_id", how="left")
    outcomes = _counts(came.select("outcome").collect(engine="streaming")["outcome"])
    consent = scan("consent", root, snapshot=corpus.number).select("host", "source", "done").collect()
    by_domain = (
        rows.with_columns(domain=domains(rows["host"]))
        .group_by("domain")
        .agg(documents=pl.len(), words=pl.col("word_count").sum())
        .drop_nulls("domain")
        .sort("words", "domain", descending=[True, False])
    )
    named = by_domain.head(min(_MOST_DOMAINS, -(-by_domain.height // _SHARE_OF_DOMAINS)))
    ruling = Ruling.of(corpus.inputs.policy)
    said = consent.group_by("source", "done").agg(pl.col("host").n_unique()).sort("source", "done")
    return Summary(
        made_by=f"{MADE_BY} {quarry_dagster.__version__}",
        corpus=corpus.number,
        documents=rows.height,
        words=int(rows["word_count"].sum()),
        bytes=int(rows["bytes"].sum()),
        sources={
            name: _source(rows.filter(pl.col("outcome").is_in(outcomes_)))
            for name, outcomes_ in (
                ("crawled", ["fetched", "not_modified"]),
                ("from web archives", ["archived"]),
                ("given", ["given"]),
            )
        },
        languages=_counts(rows["language"].fill_null("unknown")),
        licenses=_counts(licenses["license"].fill_null("none stated")),
        domains=list(named.iter_rows()),
        all_domains=by_domain.height,
        user_agent=profile.crawl.user_agent,
        contact=profile.crawl.contact,
        delay=profile.crawl.delay_per_host,
        obeys=profile.crawl.obey_consent,
        signals=profile.crawl.obey_signals,
        refused=[each for each in outcomes if each.value in ("opted_out", "robots_disallowed")],
        opt_outs=list(said.iter_rows()),
        duplicates=sum(n for level, n in corpus.outcomes.items() if level not in ("kept", "filtered")),
        rules=list(corpus.inputs.rules),
        policy=ruling.policy.stamp if ruling and ruling.policy.rules and ruling.drops else None,
        filtered=corpus.outcomes.get("filtered", 0),
    )


def _source(rows: pl.DataFrame) -> Source:
    times = rows["fetched_at"].drop_nulls()
    months = [f"{t:%Y-%m}" if t else None for t in (times.min(), times.max())]  # pyright: ignore
    return Source(rows.height, int(rows["word_count"].sum()), *months)


def _counts(values: pl.Series) -> list[Count]:
    counted = values.alias("value").value_counts().sort("count", "value", descending=[True, False])
    return [Count(*row) for row in counted.iter_rows()]
