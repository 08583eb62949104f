"""Which documents a quality policy keeps out of the corpus, and which stay although they fail a rule.

Only `quality_signals` is read: another policy costs a look at numbers, and no text is extracted or embedded for it.

Where failing documents are dropped, one without signals waits, as one without a vector does: it is no document of the
corpus yet. A document that is kept out keeps its vector, its sketch and the scores of its pairs, so that it comes back
with the policy that lets it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from quarry_dagster.errors import StoreError
from quarry_dagster.quality.policy import DROP, Action, Policy
from quarry_dagster.store import Store
from quarry_dagster.store.schemas import FILTER_DECISIONS, HOST, quality_signals_schema

FILTERED = "filtered"
"""The outcome of a document that a policy keeps out."""
WAITING = "waiting"
"""The outcome of a document that has no signals yet, where failing ones are dropped."""


@dataclass(frozen=True)
class Ruling:
    """A policy, and what becomes of the documents that fail it."""

    policy: Policy
    action: Action

    @property
    def drops(self) -> bool:
        """Whether a document that fails is kept out of the corpus."""
        return self.action == DROP

    def stored(self) -> dict[str, Any]:
        """What decides, as JSON values: with the same, the same documents stay."""
        rules = [rule.model_dump(mode="json", exclude_defaults=True) for rule in self.policy.rules]
        facts = {"name": self.policy.name, "version": self.policy.version, "rules": rules}
        return {"policy": facts, "action": self.action}

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> Ruling | None:
        """The ruling that :meth:`stored` gave; None where nothing was asked of the documents."""
        return cls(Policy.model_validate(stored["policy"]), stored["action"]) if stored else None


@dataclass(frozen=True)
class Judged:
    """What a policy says of the documents of a corpus."""

    candidates: pl.DataFrame
    """The documents that may be kept, with the column `failed`: the rules they fail, by blanks, and null without
    signals."""
    filtered: pl.DataFrame
    """The rules that keep the others out, schema FILTER_DECISIONS."""
    failing: pl.Series
    """The ids of candidates that fail a rule."""
    waiting: pl.Series
    """The ids of documents that have no signals yet."""


def signals_of(store: Store, texts: Mapping[str, object], ruling: Ruling | None) -> dict[str, str]:
    """The paths of the segments of `quality_signals` of these partitions, of those that have one.

    Raises:
        StoreError: failing documents are dropped, and a partition has none.
    """
    if ruling is None:
        return {}
    current = store.quality_signals.segments().paths()
    if ruling.drops and (missing := next((p for p in texts if p not in current), None)):
        raise StoreError(f"partition {missing!r} has no quality_signals yet: materialize quality_signals first")
    return {partition: current[partition] for partition in texts if partition in current}


def judge(store: Store, documents: pl.DataFrame, signals: Mapping[str, str], ruling: Ruling | None) -> Judged:
    """What a policy says of documents; without one every document may be kept, and nothing is said.

    Args:
        documents: columns doc_id, url, text_digest, partition, and others that stay.
        signals: as :func:`signals_of` gives them.

    Raises:
        StoreError: a signal that a rule names is in no segment of a partition.
    """
    if ruling is None:
        nobody = pl.Series("doc_id", [], dtype=pl.String)
        plain = documents.with_columns(failed=pl.lit(None, pl.String))
        return Judged(plain, pl.DataFrame(schema=FILTER_DECISIONS), nobody, nobody)
    facts = documents.select("doc_id", "url", "text_digest", "partition").partition_by("partition", as_dict=True)
    rated, failed = [], []
    for (partition,), mine in facts.items():
        if path := signals.get(str(partition)):
            rows = _rows(store, path, ruling.policy).join(mine, on=["doc_id", "text_digest"])
            rated.append(rows.select("doc_id"))
            found = ruling.policy.failures(rows.with_columns(HOST.alias("host")))
            named = rows.select("doc_id", "url").with_row_index("row")
            failed.append(found.join(named, on="row", maintain_order="left").drop("row"))
    ids = pl.concat([documents.select("doc_id").clear(), *rated])
    failures = pl.concat([pl.DataFrame(schema=FILTER_DECISIONS).drop("policy"), *map(_as_decisions, failed)])
    failures = failures.with_columns(policy=pl.lit(ruling.policy.stamp)).select(FILTER_DECISIONS.names())
    by_document = failures.group_by("doc_id").agg(failed=pl.col("rule").str.join(" "))
    passed = ids.join(by_document, on="doc_id", how="left").with_columns(pl.col("failed").fill_null(""))
    all_of_them = documents.join(passed, on="doc_id", how="left", maintain_order="left")
    if not ruling.drops:
        nothing = failures.clear()
        return Judged(all_of_them, nothing, by_document["doc_id"], all_of_them["doc_id"].clear())
    stays, waits = pl.col("failed").fill_null("-") == "", pl.col("failed").is_null()
    return Judged(
        all_of_them.filter(stays),
        failures,
        by_document["doc_id"].clear(),
        all_of_them.filter(waits)["doc_id"],
    )


def _rows(store: Store, path: str, policy: Policy) -> pl.DataFrame:
    """What a policy asks of the documents of a segment."""
    segment = store.quality_signals.at(path)
    if lacking := [name for name in policy.signals if name not in segment.notes.names]:
        raise StoreError(
            f"partition {segment.partition!r} has no signal {lacking[0]!r}, which {policy.title} asks for: "
            "materialize quality_signals again"
        )
    columns = ("doc_id", "text_digest", "language", "page_type", *policy.signals)
    return store.files.scan([path], quality_signals_schema(policy.signals)).select(columns).collect()


def _as_decisions(failures: pl.DataFrame) -> pl.DataFrame:
    return failures.select(name for name in FILTER_DECISIONS if name != "policy")
