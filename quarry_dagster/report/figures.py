"""Everything the report shows, read from the tables.

Bounded: aggregates are streamed over the columns they need, lists are cut to their first few, and whole texts are
read only of the few documents that are shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import polars as pl

import quarry_dagster
from quarry_dagster.dedup import decide
from quarry_dagster.intake import Ledger
from quarry_dagster.intake.ledger import Entry
from quarry_dagster.intake.problems import grouped
from quarry_dagster.problems import told
from quarry_dagster.profiles.settings import Deduplication, HardwareProfile
from quarry_dagster.reader import TableName, scan
from quarry_dagster.report.charts import LENGTHS, SCORES, Count, histogram
from quarry_dagster.report.families import Family, families
from quarry_dagster.report.of_pages import OfPages, of_pages
from quarry_dagster.report.of_quality import OfQuality, of_quality
from quarry_dagster.report.passages import Passage, compare
from quarry_dagster.store import Corpus, Store
from quarry_dagster.store.schemas import ACCEPTED, EXTRACTED, LEVELS, SCORED_LEVELS, WITH_BODY
from quarry_dagster.urls import host_of
from quarry_dagster.urns import URN_PREFIX

UNKNOWN = "unknown"
TOP_HOSTS = 20
TOP_LANGUAGES = 20
TOP = 10  # of every other list
LAST_YEARS = 20
_TEXT_COMPARED = 100_000  # characters


@dataclass(frozen=True)
class RuleCount:
    """Documents that one rule found to be duplicates."""

    level: str
    rule: str
    n: int


@dataclass(frozen=True)
class Host:
    """What one host gave; a document is counted under the host of its own URL, before redirects."""

    name: str
    pages: int  # with a body
    accepted: int
    kept: int
    duplicates: int


@dataclass(frozen=True)
class FailingHost:
    """A host many of whose seeds gave no page."""

    name: str
    seeds: int
    failed: int
    outcomes: list[Count]  # the most frequent


@dataclass(frozen=True)
class Seed:
    """A seed file with lines that could not be used as they are."""

    name: str
    urls: int
    problem_count: int
    problems: list[str]  # the first of each kind, and how many more there are


@dataclass(frozen=True)
class Document:
    """A document as the report names it."""

    url: str
    title: str | None
    language: str | None
    words: int


@dataclass(frozen=True)
class Cluster:
    """A kept document and the duplicates it stands for."""

    kept: Document
    duplicates: int
    removed: list[tuple[str, str]]  # the first: (url, rule)


@dataclass(frozen=True)
class Removal:
    """One decision with what a person needs to judge it."""

    level: str
    rule: str
    scores: list[tuple[str, float]]  # those that the decision has, by name
    removed: Document
    kept: Document
    removed_text: Passage
    kept_text: Passage


@dataclass(frozen=True)
class Apart:
    """A kept document, and others that a guard keeps apart from it."""

    document: Document
    others: int
    members: list[tuple[str, str]]  # the first: (url, guard)
    text: Passage
    first_text: Passage  # of the first of the others


@dataclass(frozen=True)
class Facts:
    """The report's contents: plain values, in the order of the page."""

    annotate: bool  # duplicates are marked and stay
    kept: int
    words: int
    hosts: int  # of kept documents
    languages: int  # of kept documents
    levels: list[Count]  # duplicates by level
    duplicates: int
    funnel: list[Count]
    decided: int  # documents that the corpus was decided on
    fetch_outcomes: list[Count]
    extract_outcomes: list[Count]
    rules: list[RuleCount]
    containments: list[Count]  # near duplicates by containment
    cosines: list[Count]  # near and semantic duplicates by cosine
    top_hosts: list[Host]
    given: list[Count]  # kept documents that have an id in place of a URL, by seed
    top_languages: list[Count]
    lengths: list[Count]  # kept documents by words
    length_quantiles: list[tuple[str, int]]
    years: list[Count]  # kept documents by the year they state
    fetched: list[tuple[str, datetime]]  # when bodies were obtained
    of_pages: OfPages
    of_quality: OfQuality | None
    clusters: list[Cluster]
    sample: list[Removal]
    guards: list[Count]  # pairs of kept documents by the guard that keeps them apart
    families: list[Apart]
    failed: int  # seeds without a page
    failing_hosts: list[FailingHost]
    seed_problems: int
    seeds: list[Seed]
    unused: int  # kinds of what was found and could not be used, each at its source
    unused_first: list[str]
    made_with: list[tuple[str, str]]


def facts(store: Store, profile: HardwareProfile) -> Facts:
    """What the tables hold now; a store without a corpus gives zeros and empty lists.

    Raises:
        StoreError: the store cannot be read.
    """

    def table(name: TableName) -> pl.LazyFrame:
        return scan(name, store.files.root)

    published = store.deduped_corpus.current()
    settings = Deduplication.model_validate(published.inputs.settings) if published else profile.deduplication
    pages, texts = table("raw_pages"), table("extracted_text")
    corpus, decisions = table("deduped_corpus"), table("dedup_decisions")
    with_body = pages.filter(pl.col("outcome").is_in(WITH_BODY))
    accepted = texts.filter(ACCEPTED)
    fetch_outcomes = _counts(pages, "outcome")
    extract_outcomes = _counts(texts, "outcome")
    n_pages = sum(c.n for c in fetch_outcomes if c.label in WITH_BODY)
    n_accepted = sum(c.n for c in extract_outcomes if c.label == EXTRACTED)
    totals = _row(corpus.select(kept=pl.len(), words=pl.col("word_count").sum()))
    rules = _collect(decisions.group_by("level", "rule").agg(n=pl.len())).sort("n", "rule", descending=[True, False])
    by_level = dict(rules.group_by("level").agg(pl.col("n").sum()).iter_rows())
    kept_hosts, languages = _by_host(corpus, "url"), _counts(corpus, "language")
    hosts = (
        _by_host(with_body, "url", "pages")
        .join(_by_host(accepted, "url", "accepted"), on="host", how="full", coalesce=True)
        .join(kept_hosts.rename({"n": "kept"}), on="host", how="full", coalesce=True)
        .join(_by_host(decisions, "removed_url", "duplicates"), on="host", how="full", coalesce=True)
        .fill_null(0)
        .sort("accepted", "pages", "host", descending=[True, True, False])
    )
    ledger = Ledger.read(store).entries
    apart = families(published, corpus, TOP)
    unused = _collect(table("problems").filter(pl.col("source") != "seed")).sort("url", "kind")
    quality = of_quality(store, published)
    return Facts(
        annotate=settings.mode == "annotate",
        kept=totals["kept"],
        words=totals["words"],
        hosts=kept_hosts.filter(pl.col("host") != "").height,
        languages=sum(c.label != UNKNOWN for c in languages),
        levels=[Count(level, by_level[level]) for level in LEVELS if level in by_level],
        duplicates=sum(by_level.values()),
        funnel=[
            Count("seeds", _row(store.batches.scan().select(n=pl.len()))["n"]),
            Count("pages with a body", n_pages),
            Count("accepted texts", n_accepted),
            *([Count("pass the quality policy", n_accepted - quality.failing)] if quality and quality.drops else []),
            Count("kept documents", totals["kept"]),
        ],
        decided=published.decided if published else 0,
        fetch_outcomes=fetch_outcomes,
        extract_outcomes=extract_outcomes,
        rules=[RuleCount(*r) for r in rules.iter_rows()],
        containments=histogram(decisions.filter(pl.col("level") == "near"), "containment", SCORES, "{:.2f}"),
        cosines=histogram(decisions.filter(pl.col("level").is_in(SCORED_LEVELS)), "cosine", SCORES, "{:.2f}"),
        top_hosts=[Host(*r) for r in hosts.filter(pl.col("host") != "").head(TOP_HOSTS).iter_rows()],
        given=_first(_given(store, corpus), TOP),
        top_languages=_first(languages, TOP_LANGUAGES),
        lengths=histogram(corpus, "word_count", LENGTHS, "{:,}"),
        length_quantiles=_quantiles(
            corpus, "word_count", {"10th percentile": 0.1, "median": 0.5, "90th percentile": 0.9}
        ),
        years=_years(corpus),
        fetched=_times(with_body),
        of_pages=of_pages(corpus, table("page_metadata"), table("personal_data"), profile.page_metadata.processors),
        of_quality=quality,
        clusters=_clusters(published, corpus, decisions),
        sample=_sample(published, decisions),
        guards=apart.pairs,
        families=_families(published, apart.largest),
        failed=sum(c.n for c in fetch_outcomes) - n_pages,
        failing_hosts=_failing_hosts(pages),
        seed_problems=sum(entry.problem_count for entry in ledger.values()),
        seeds=_seeds(ledger),
        unused=unused.height,
        unused_first=[told(row) for row in unused.head(TOP).iter_rows(named=True)],
        made_with=_made_with(store, profile, settings, texts),
    )


def _collect(rows: pl.LazyFrame) -> pl.DataFrame:
    return rows.collect(engine="streaming")


def _row(rows: pl.LazyFrame) -> dict[str, Any]:
    return _collect(rows).row(0, named=True)


def _counts(rows: pl.LazyFrame, column: str) -> list[Count]:
    """Rows by value, the most frequent first."""
    found = _collect(rows.group_by(pl.col(column).fill_null(UNKNOWN)).agg(n=pl.len()))
    return [Count(*r) for r in found.sort("n", column, descending=[True, False]).iter_rows()]


def _given(store: Store, corpus: pl.LazyFrame) -> list[Count]:
    """Kept documents without a URL by their seed."""
    given = corpus.filter(pl.col("url").str.starts_with(URN_PREFIX)).select("doc_id")
    return _counts(store.batches.scan().select("doc_id", "seed").join(given, on="doc_id", how="semi"), "seed")


def _first(counts: list[Count], n: int) -> list[Count]:
    """The first n counts, and one for the sum of the others."""
    if len(counts) <= n + 1:
        return counts
    rest = counts[n:]
    return [*counts[:n], Count(f"{len(rest)} others", sum(c.n for c in rest))]


def _by_host(rows: pl.LazyFrame, url: str, count: str = "n", by: Sequence[str] = ()) -> pl.DataFrame:
    """Rows by host, and by further columns; host "" is of those whose URL has none."""
    origin = pl.col(url).str.extract(r"^\s*([^/?#]*//[^/?#\\]*)", 1).fill_null("")
    found = _collect(rows.group_by(origin.alias("host"), *by).agg(pl.len().cast(pl.Int64).alias(count)))
    hosts = found.with_columns(pl.Series("host", [host_of(o) for o in found["host"]], dtype=pl.String))
    return hosts.group_by("host", *by).agg(pl.col(count).sum())


def _quantiles(rows: pl.LazyFrame, column: str, wanted: dict[str, float]) -> list[tuple[str, int]]:
    found = _row(rows.select(pl.col(column).quantile(q, "nearest").alias(name) for name, q in wanted.items()))
    return [(name, int(value)) for name, value in found.items() if value is not None]


def _times(pages: pl.LazyFrame) -> list[tuple[str, datetime]]:
    stamps = pages.select(us=pl.col("fetched_at").dt.epoch("us"))
    found = _quantiles(stamps, "us", {"first": 0.0, "median": 0.5, "last": 1.0})
    return [(name, datetime.fromtimestamp(us // 1_000_000, UTC)) for name, us in found]


def _years(corpus: pl.LazyFrame) -> list[Count]:
    """Kept documents by the year they state, in order; the years before the last ones that occur are one row."""
    year = pl.col("date").str.extract(r"^(\d{4})")
    found = _collect(corpus.group_by(year=year).agg(n=pl.len()).filter(pl.col("year").is_not_null())).sort("year")
    counts = [Count(*r) for r in found.iter_rows()]
    early, late = counts[:-LAST_YEARS], counts[-LAST_YEARS:]
    return [Count(f"before {late[0].label}", sum(c.n for c in early)), *late] if early else late


def _documents(published: Corpus, ids: Sequence[str]) -> dict[str, tuple[Document, str]]:
    """The documents of these ids, with the beginning of their texts, as the corpus was decided on them."""
    start = pl.col("text").str.slice(0, _TEXT_COMPARED)
    found = published.texts().filter(pl.col("doc_id").is_in(list(ids)), ACCEPTED)
    columns = ("doc_id", "url", "title", "language", "word_count", start)
    return {id_: (Document(*rest), text) for id_, *rest, text in _collect(found.select(columns)).iter_rows()}


def _clusters(published: Corpus | None, corpus: pl.LazyFrame, decisions: pl.LazyFrame) -> list[Cluster]:
    """The kept documents with the most duplicates."""
    largest = _collect(
        corpus.filter(pl.col("duplicates") > 0)
        .select("doc_id", "duplicates")
        .sort("duplicates", "doc_id", descending=[True, False])
        .head(TOP)
    )
    if published is None or largest.is_empty():
        return []
    members = _collect(
        decisions.filter(pl.col("kept_id").is_in(largest["doc_id"].to_list()))
        .group_by("kept_id")
        .agg(pl.col("removed_url", "rule").bottom_k_by("removed_url", TOP))
    )
    removed = {id_: sorted(zip(urls, rules, strict=True)) for id_, urls, rules in members.iter_rows()}
    documents = _documents(published, largest["doc_id"].to_list())
    return [Cluster(documents[id_][0], n, removed[id_]) for id_, n in largest.iter_rows()]


def _sample(published: Corpus | None, decisions: pl.LazyFrame) -> list[Removal]:
    """A random sample of decisions, drawn evenly from the rules.

    A doc_id is a hash, so the smallest ones are a random sample, and the same one wherever it is drawn.
    """
    if published is None:
        return []
    rules = [decisions.filter(pl.col("rule") == r).bottom_k(TOP, by="removed_id") for r in decide.RULES]
    drawn = _collect(pl.concat([r.sort("removed_id").with_row_index("turn") for r in rules]))
    order = pl.col("rule").replace_strict(list(decide.RULES), list(range(len(decide.RULES))))
    rows = drawn.sort("turn", order).head(TOP).sort(order, "removed_id").to_dicts()
    documents = _documents(published, [r[k] for r in rows for k in ("removed_id", "kept_id")])
    out = []
    for row in rows:
        (removed, text), (kept, witness) = documents[row["removed_id"]], documents[row["kept_id"]]
        scores = [(k, row[k]) for k in ("containment", "jaccard", "cosine") if row[k] is not None]
        out.append(Removal(row["level"], row["rule"], scores, removed, kept, *compare(text, witness)))
    return out


def _families(published: Corpus | None, largest: Sequence[Family]) -> list[Apart]:
    """The families with what a person needs to judge the guards."""
    if published is None:
        return []
    documents = _documents(published, [id_ for f in largest for id_ in (f.doc_id, *(other for other, _ in f.members))])
    out = []
    for family in largest:
        (document, text), (_, first) = documents[family.doc_id], documents[family.members[0][0]]
        members = [(documents[other][0].url, guard) for other, guard in family.members]
        out.append(Apart(document, family.others, members, *_both_marked(text, first)))
    return out


def _both_marked(text: str, other: str) -> tuple[Passage, Passage]:
    """The beginnings of two texts, in each what the other one lacks marked."""
    return compare(text, other)[0], compare(other, text)[0]


def _failing_hosts(pages: pl.LazyFrame) -> list[FailingHost]:
    found = _by_host(pages, "url", by=["outcome"]).with_columns(failed=~pl.col("outcome").is_in(WITH_BODY))
    hosts = (
        found.group_by("host")
        .agg(
            seeds=pl.col("n").sum(),
            failed=pl.col("n").filter("failed").sum(),
            outcomes=pl.struct("n", "outcome").filter("failed"),
        )
        .filter(pl.col("failed") > 0)
        .sort("failed", "host", descending=[True, False])
        .head(TOP)
    )
    return [
        FailingHost(host or "no host", seeds, failed, [Count(o["outcome"], o["n"]) for o in _most_frequent(outcomes)])
        for host, seeds, failed, outcomes in hosts.iter_rows()
    ]


def _most_frequent(outcomes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(outcomes, key=lambda o: (-o["n"], o["outcome"]))[:3]


def _seeds(ledger: Mapping[str, Entry]) -> list[Seed]:
    seeds = [
        Seed(name, e.urls, e.problem_count, grouped(e.problems, e.problem_count, TOP)) for name, e in ledger.items()
    ]
    return sorted((s for s in seeds if s.problem_count), key=lambda s: (-s.problem_count, s.name))[:TOP]


def _made_with(
    store: Store, profile: HardwareProfile, settings: Deduplication, texts: pl.LazyFrame
) -> list[tuple[str, str]]:
    index, _ = store.published()
    extractors = [c.label for c in _counts(texts.filter(pl.col("extractor").is_not_null()), "extractor")]
    rules = ", ".join(rule.name for rule in decide.rules(settings))
    if settings.mode == "aggressive":
        rules += f", cosine from {settings.similarity_threshold}"
    made_with = [
        ("Profile", profile.name),
        ("Deduplication mode", settings.mode),
        ("Rules", rules),
        ("Of a cluster is kept", "first by " + ", ".join(settings.keep)),
        ("Extractor", ", ".join(extractors[:3])),
    ]
    if index is not None:
        made_with += [
            ("Model", index.model),
            ("Index", f"{index.kind}, {index.vectors:,} vectors of {index.dim}"),
        ]
    return [*made_with, ("quarry-dagster", quarry_dagster.__version__)]
