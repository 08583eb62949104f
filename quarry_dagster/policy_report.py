"""What a policy would take of the documents that are rated: by rule, host, language and page type. Nothing is changed.

All of it is read from `quality_signals`, a partition at a time; texts are read only of documents that are shown.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from quarry_dagster.errors import ConfigError
from quarry_dagster.naming import id_named
from quarry_dagster.quality.policy import Policy, Rule, read_policy, shipped
from quarry_dagster.quality.signals import SIGNALS
from quarry_dagster.store import SignalSegment, Store
from quarry_dagster.store.schemas import HOST, quality_signals_schema

_OPENING = 160
"""Characters of a text that are shown."""
_NO_PAGE = "none"


@dataclass(frozen=True)
class Near:
    """A document near the threshold of a rule."""

    doc_id: str
    url: str
    value: float
    fails: bool
    opening: str


@dataclass(frozen=True)
class OfRule:
    """What one rule would take."""

    rule: Rule
    documents: int
    alone: int
    """Documents that fail no other rule of the policy."""
    without_value: int
    """Documents whose signal is null, of those that the rule is for and the others: these fail nothing."""
    nearest: Sequence[Near]
    """Of those that just fail and of those that just pass, the nearest to the threshold."""


@dataclass(frozen=True)
class Labelled:
    """What somebody says of documents, and what the policy would do with them."""

    good: int
    good_taken: int
    bad: int
    bad_taken: int
    unknown: int
    """Labels of documents that have no signals here."""


@dataclass(frozen=True)
class PolicyReport:
    """What a policy would take."""

    policy: Policy
    documents: int
    taken: int
    kept_now: int
    """Of the taken, those that the published corpus keeps."""
    rules: Sequence[OfRule]
    hosts: pl.DataFrame
    """Columns value, documents, taken; the most taken first. The same of the two below."""
    languages: pl.DataFrame
    page_types: pl.DataFrame
    overlaps: Mapping[str, tuple[int, int, int]]
    """By the name of another policy, one of those with the same rules: documents that both would take, this one alone,
    the other alone."""
    labelled: Labelled | None


def policy_report(store: Store, name_or_path: str, *, labels: str | None = None, texts: int = 20) -> PolicyReport:
    """What the policy of a name or a file would take of all documents that have signals.

    Args:
        labels: path of a JSONL: `doc_id` or `url`, and `keep` (true or false), a line a document.
        texts: so many documents on each side of a rule's threshold are named.

    Raises:
        ConfigError: there is no such policy, or it or the labels are not as they should be.
        StoreError: the store is damaged.
    """
    segments = list(store.quality_signals.segments().values())
    names = dict.fromkeys([*(s.name for s in SIGNALS), *(n for segment in segments for n in segment.notes.names)])
    policy = read_policy(name_or_path, names)
    by_digest = {other.digest: (name, other) for name in shipped() for other in [read_policy(name, names)]}
    others = dict(each for digest, each in by_digest.items() if digest != policy.digest)
    kept = _kept(store)
    said = _labels(store, labels) if labels else None
    counts = _Counts(policy, others, said, kept)
    asked = list(dict.fromkeys([*policy.signals, *(signal for other in others.values() for signal in other.signals)]))
    near: dict[str, list[pl.DataFrame]] = {rule.name: [] for rule in policy.rules}
    for segment in segments:
        rows = _rows(store, segment, asked)
        counts.add(rows)
        for rule in policy.rules:
            near[rule.name] = [_nearest(pl.concat([*near[rule.name], _beside(rule, rows)]), texts)]
    shown = {name: found[0] if found else None for name, found in near.items()}
    openings = _openings(store, shown.values())
    return counts.report(
        {name: [] if rows is None else list(_near(rows, openings)) for name, rows in shown.items()},
    )


class _Counts:
    """What is added up over partitions."""

    def __init__(
        self, policy: Policy, others: Mapping[str, Policy], labels: Mapping[str, bool] | None, kept: pl.Series
    ) -> None:
        self._policy, self._others, self._labels, self._kept = policy, others, labels, kept
        self._documents: list[pl.DataFrame] = []
        self._of_rule: dict[str, list[int]] = {rule.name: [0, 0, 0] for rule in policy.rules}
        self._overlaps = {title: [0, 0, 0] for title in others}
        self._labelled = [0, 0, 0, 0]
        self._known = 0
        self._kept_now = 0

    def add(self, rows: pl.DataFrame) -> None:
        failures = self._policy.failures(rows)
        taken = set(failures["row"])
        by_row = failures.group_by("row").agg("rule")
        alone = by_row.filter(pl.col("rule").list.len() == 1).explode("rule")["rule"].value_counts()
        for rule, n in failures["rule"].value_counts().iter_rows():
            self._of_rule[rule][0] += n
        for rule, n in alone.iter_rows():
            self._of_rule[rule][1] += n
        for rule in self._policy.rules:
            self._of_rule[rule.name][2] += rows[rule.signal].null_count()
        for title, other in self._others.items():
            theirs = set(other.failures(rows)["row"])
            for i, n in enumerate((len(taken & theirs), len(taken - theirs), len(theirs - taken))):
                self._overlaps[title][i] += n
        is_taken = pl.Series("is_taken", [i in taken for i in range(rows.height)], dtype=pl.Boolean)
        facts = rows.select("doc_id", "host", "language", "page_type").with_columns(is_taken)
        self._kept_now += facts.filter("is_taken").select(pl.col("doc_id").is_in(self._kept.implode()).sum()).item()
        groups = [
            facts.group_by(value=pl.col(by).fill_null(_NO_PAGE)).agg(
                by=pl.lit(by), documents=pl.len(), taken=pl.col("is_taken").sum()
            )
            for by in ("host", "language", "page_type")
        ]
        self._documents.append(pl.concat(groups))
        if self._labels is not None:
            for doc_id, goes in facts.select("doc_id", "is_taken").iter_rows():
                if (keep := self._labels.get(doc_id)) is not None:
                    self._known += 1
                    self._labelled[0 if keep else 2] += 1
                    self._labelled[1 if keep else 3] += goes

    def report(self, nearest: Mapping[str, Sequence[Near]]) -> PolicyReport:
        empty = {"value": pl.String, "by": pl.String, "documents": pl.UInt32, "taken": pl.UInt32}
        found = pl.concat([pl.DataFrame(schema=empty), *self._documents], how="vertical_relaxed")
        summed = found.group_by("by", "value").agg(pl.col("documents", "taken").sum().cast(pl.Int64))
        by = {
            name: summed.filter(by=name).drop("by").sort("taken", "documents", "value", descending=[True, True, False])
            for name in ("host", "language", "page_type")
        }
        labelled = None
        if self._labels is not None:
            good, good_taken, bad, bad_taken = self._labelled
            unknown = len(self._labels) - self._known
            labelled = Labelled(good, good_taken, bad, bad_taken, unknown)
        return PolicyReport(
            policy=self._policy,
            documents=int(by["language"]["documents"].sum()),
            taken=int(by["language"]["taken"].sum()),
            kept_now=self._kept_now,
            rules=[
                OfRule(rule, documents, alone, without, nearest[rule.name])
                for rule in self._policy.rules
                for documents, alone, without in [self._of_rule[rule.name]]
            ],
            hosts=by["host"],
            languages=by["language"],
            page_types=by["page_type"],
            overlaps={title: (both, mine, theirs) for title, (both, mine, theirs) in self._overlaps.items()},
            labelled=labelled,
        )


def _rows(store: Store, segment: SignalSegment, signals: Sequence[str]) -> pl.DataFrame:
    """What policies ask of the documents of a segment, and their URLs."""
    columns = ("doc_id", "language", "page_type", *signals)
    rows = store.files.scan([segment.path], quality_signals_schema(signals)).select(columns).collect()
    urls = store.batches.scan([segment.partition]).select("doc_id", "url").unique("doc_id").collect()
    return rows.join(urls, on="doc_id", how="left").with_columns(HOST.alias("host"))


def _beside(rule: Rule, rows: pl.DataFrame) -> pl.DataFrame:
    """The documents that a rule is for and that have a value: how far they are from its threshold."""
    value = pl.col(rule.signal)
    found = rows.filter(value.is_not_null()).select(
        "doc_id",
        "url",
        value=value,
        fails=rule.holds,
        is_for=rule.is_for,
        distance=(value - rule.threshold).abs(),
    )
    return found.filter("is_for").drop("is_for")


def _nearest(rows: pl.DataFrame, n: int) -> pl.DataFrame:
    """The rows nearest to the threshold on each of its sides."""
    rows = rows.sort("distance", "doc_id")
    return pl.concat([rows.filter("fails").head(n), rows.filter(~pl.col("fails")).head(n)])


def _openings(store: Store, shown: Iterator[Any] | Any) -> dict[str, str]:
    """How the texts of these documents begin, by doc_id."""
    ids = {doc_id for rows in shown if rows is not None for doc_id in rows["doc_id"]}
    found: dict[str, str] = {}
    for segment in store.extracted_text.segments().values():
        for frame in segment.matching(ids - found.keys(), ("doc_id", "text")):
            found |= {doc_id: " ".join((text or "")[:_OPENING].split()) for doc_id, text in frame.iter_rows()}
        if len(found) == len(ids):
            break
    return found


def _near(rows: pl.DataFrame, openings: Mapping[str, str]) -> Iterator[Near]:
    for doc_id, url, value, fails in rows.select("doc_id", "url", "value", "fails").iter_rows():
        yield Near(doc_id, url, value, fails, openings.get(doc_id, ""))


def _kept(store: Store) -> pl.Series:
    corpus = store.deduped_corpus.current()
    return corpus.kept().select("doc_id").collect()["doc_id"] if corpus else pl.Series("doc_id", [], dtype=pl.String)


def _labels(store: Store, path: str) -> dict[str, bool]:
    """What a file of labels says of documents, by doc_id.

    Raises:
        ConfigError: a line is none; the message names it.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as e:
        raise ConfigError(f"{path}: cannot be read as labels: {e}") from e
    found: dict[str, bool] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as e:
            raise ConfigError(f"{path}, line {number}: not JSON: {e.msg}") from e
        named = isinstance(row, dict) and (row.get("doc_id") or row.get("url"))
        if not isinstance(named, str) or not isinstance(row.get("keep"), bool):
            raise ConfigError(f"{path}, line {number}: a label has doc_id or url, and keep: true or false")
        id_ = str(row.get("doc_id") or id_named(store, named))
        if found.setdefault(id_, row["keep"]) != row["keep"]:
            raise ConfigError(f"{path}, line {number}: an earlier line says the contrary of {named[:200]!r}")
    if not found:
        raise ConfigError(f"{path}: there is no label in it")
    return found
