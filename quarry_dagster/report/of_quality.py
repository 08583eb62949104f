"""What the quality policy says of the documents: rules, hosts, signals with their thresholds, samples of what fails."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from quarry_dagster.quality.policy import Policy
from quarry_dagster.quality.signals import SIGNALS
from quarry_dagster.report.charts import Count
from quarry_dagster.stages.corpus.filtering import Ruling
from quarry_dagster.store import Corpus, Store
from quarry_dagster.store.schemas import EXTRACTED_TEXT, HOST

_BINS = 32
_HOSTS = 10
_RULES = 6
_SAMPLE = 12
_SEED = 0
_OPENING = 600
_FORMULAS = {signal.name: signal.formula for signal in SIGNALS}


@dataclass(frozen=True)
class Threshold:
    """Where a rule's threshold stands in a chart, in percent of its width, and what it asks."""

    at: float
    label: str


@dataclass(frozen=True)
class SignalChart:
    """How many documents have which value of a signal."""

    name: str
    formula: str
    low: float
    high: float
    heights: Sequence[float]
    """Of the bars, in percent of the highest; values outside are in the first or the last."""
    documents: int
    thresholds: Sequence[Threshold]


@dataclass(frozen=True)
class HostRules:
    """What the documents of a host fail."""

    host: str
    documents: int
    rules: Sequence[Count]


@dataclass(frozen=True)
class Failing:
    """A document that fails, and how its text begins."""

    doc_id: str
    url: str
    rules: Sequence[str]
    opening: str
    is_cut: bool


@dataclass(frozen=True)
class OfQuality:
    """What a policy says of the documents of a corpus."""

    policy: str
    drops: bool
    rated: int
    failing: int
    rules: Sequence[Count]
    hosts: Sequence[HostRules]
    signals: Sequence[SignalChart]
    sample: Sequence[Failing]


def of_quality(store: Store, corpus: Corpus | None) -> OfQuality | None:
    """What the policy of a published corpus says; None where there is none, or no document is rated."""
    ruling = Ruling.of(corpus.inputs.policy) if corpus else None
    if corpus is None or ruling is None or not corpus.inputs.signals:
        return None
    segments = list(store.quality_signals.segments_at(corpus.inputs.signals).values())
    rows = store.quality_signals.rows(segments)
    failures = _failures(corpus, ruling)
    by_rule = failures.group_by("rule").len().sort("len", "rule", descending=[True, False])
    return OfQuality(
        policy=ruling.policy.stamp,
        drops=ruling.drops,
        rated=sum(segment.rows for segment in segments),
        failing=failures["doc_id"].n_unique(),
        rules=[Count(*row) for row in by_rule.iter_rows()],
        hosts=list(_hosts(failures)),
        signals=[chart for name in ruling.policy.signals if (chart := _chart(rows, name, ruling.policy))],
        sample=_sample(corpus, failures),
    )


def _failures(corpus: Corpus, ruling: Ruling) -> pl.DataFrame:
    """A row a failed rule of a document that is kept out, or kept although it fails: columns doc_id, url, rule."""
    if ruling.drops:
        return corpus.filtered().select("doc_id", "url", "rule").collect()
    failed = corpus.kept().filter(pl.col("failed").fill_null("") != "")
    rules = failed.select("doc_id", "partition", rule=pl.col("failed").str.split(" "))
    urls = corpus.texts().select("doc_id", "partition", "url")
    return rules.join(urls, on=["doc_id", "partition"]).explode("rule").select("doc_id", "url", "rule").collect()


def _hosts(failures: pl.DataFrame) -> Sequence[HostRules]:
    rows = failures.with_columns(host=HOST).drop_nulls("host")
    top = rows.group_by("host").agg(n=pl.col("doc_id").n_unique()).sort("n", "host", descending=[True, False])
    found: list[HostRules] = []
    for host, n in top.head(_HOSTS).iter_rows():
        rules = rows.filter(host=host).group_by("rule").len().sort("len", "rule", descending=[True, False])
        found.append(HostRules(host, n, [Count(*row) for row in rules.head(_RULES).iter_rows()]))
    return found


def _chart(rows: pl.LazyFrame, name: str, policy: Policy) -> SignalChart | None:
    """The histogram of a signal; None where no document has a value."""
    rules = [rule for rule in policy.rules if rule.signal == name]
    value = pl.col(name)
    ends = rows.select(n=value.count(), low=value.quantile(0.01, "higher"), high=value.quantile(0.99, "lower"))
    n, low, high = ends.collect(engine="streaming").row(0)
    if not n:
        return None
    marks = sorted({rule.threshold for rule in rules})
    reach = 1.15 if len(marks) <= len({rule.op for rule in rules}) + 1 else 1.0
    low, high = min(low, *marks), max(high, *(mark * reach for mark in marks))
    width = (high - low) or 1.0
    number = ((value - low) / width * _BINS).floor().clip(0, _BINS - 1).cast(pl.Int64)
    counts = rows.drop_nulls(name).group_by(bin=number).len().collect(engine="streaming")
    by_bin: Mapping[int, int] = dict(counts.iter_rows())
    most = max(by_bin.values())
    thresholds = sorted({(rule.threshold, rule.op) for rule in rules})
    return SignalChart(
        name,
        _FORMULAS.get(name, "the score of a model"),
        low,
        high,
        [round(100 * by_bin.get(i, 0) / most, 2) for i in range(_BINS)],
        n,
        [Threshold(round(100 * (at - low) / width, 2), f"{op} {at:g}") for at, op in thresholds],
    )


def _sample(corpus: Corpus, failures: pl.DataFrame) -> list[Failing]:
    """A few documents that fail, drawn evenly from the rules."""
    shuffled = failures.sample(fraction=1, shuffle=True, seed=_SEED)
    drawn = shuffled.with_columns(turn=pl.int_range(pl.len()).over("rule")).sort("turn", "rule", maintain_order=True)
    ids = drawn["doc_id"].unique(maintain_order=True).head(_SAMPLE)
    paths = list(corpus.inputs.texts.values())
    table = corpus.snapshot.files.scan(paths, EXTRACTED_TEXT).filter(pl.col("doc_id").is_in(ids.implode()))
    facts = table.select("doc_id", pl.col("text").str.head(_OPENING + 1)).collect(engine="streaming")
    texts: Mapping[str, str | None] = dict(facts.iter_rows())
    by_document = failures.filter(pl.col("doc_id").is_in(ids.implode())).group_by("doc_id", "url").agg("rule")
    found = {doc_id: (url, sorted(rules)) for doc_id, url, rules in by_document.iter_rows()}
    return [
        Failing(doc_id, *found[doc_id], (text := texts.get(doc_id) or "")[:_OPENING], len(text) > _OPENING)
        for doc_id in ids
    ]
