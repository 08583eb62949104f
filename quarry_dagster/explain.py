"""What became of one document, read from the tables."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from quarry_dagster.crawl.addresses import remedy
from quarry_dagster.dedup import near, verify
from quarry_dagster.dedup.reasons import Reason, reasons
from quarry_dagster.naming import own_id_of, seed_of
from quarry_dagster.plural import plural
from quarry_dagster.problems import told
from quarry_dagster.reader import scan
from quarry_dagster.stages.corpus.filtering import Ruling
from quarry_dagster.store import Store
from quarry_dagster.store.schemas import CAME_OF_IT, EXTRACTED, WITH_BODY
from quarry_dagster.urls import host_of

_PLACES = 5
"""So many places of personal data are named."""


@dataclass
class History:
    """The steps of one document, in order, and its witness if it was removed."""

    doc_id: str
    url: str
    own_id: str | None = None  # that its seed gave it
    steps: list[tuple[str, str]] = field(default_factory=list)  # (step, what happened)
    text: str | None = None
    page: dict[str, Any] | None = None  # the row of page_metadata
    personal: pl.DataFrame | None = None  # the rows of personal_data
    failed: list[dict[str, Any]] = field(default_factory=list)  # the rules of the policy that keep it out
    decision: dict[str, Any] | None = None  # the row of dedup_decisions that removed it
    witness_url: str | None = None
    witness_text: str | None = None
    removed: pl.DataFrame | None = None  # decisions in favour of this document


def history(data: str, document: str) -> History | None:
    """The history of a document named by URL, URN, doc_id or the id of its seed; None where no table knows it.

    Raises:
        ConfigError: an id names several documents.
        StoreError: there is no such data root, or a file in it is damaged.
    """
    store = Store.existing(data)
    seed = seed_of(store, document)
    if seed is None:
        return None
    id_ = seed["doc_id"]
    found = History(id_, seed["url"], own_id_of(seed["own_columns"]))
    found.steps.append(("seed", f"{seed['seed']}, line {seed['line']}"))
    page = _row(scan("raw_pages", data).drop("body").with_columns(CAME_OF_IT.alias("came_of_it")), id_)
    if page is None:
        found.steps.append(("raw_pages", "waits to be fetched: materialize raw_pages"))
        return found
    found.steps.append(("raw_pages", _page(page)))
    named = pl.col("url").is_in([page["url"], page["final_url"], host_of(page["url"])])
    problems = scan("problems", data).filter((pl.col("source") != "seed") & named).sort("url", "kind").collect()
    found.steps += [("problems", told(row)) for row in problems.iter_rows(named=True)]
    text = _row(scan("extracted_text", data), id_)
    if text is None:
        found.steps.append(("extracted_text", "waits: materialize extracted_text"))
        return found
    found.text = text["text"]
    found.steps.append(("extracted_text", _text(text)))
    absent = "not a document: it was not accepted"
    if text["outcome"] == EXTRACTED:
        found.page = _row(scan("page_metadata", data), id_)
        found.steps.append(("page_metadata", _said(found.page) if found.page else "waits: materialize page_metadata"))
        found.personal = scan("personal_data", data).filter(pl.col("doc_id") == id_).sort("start").collect()
        found.steps.append(("personal_data", _personal(store, text["partition"], found.personal)))
        rated = _row(store.quality_signals.scan([text["partition"]]), id_)
        found.steps.append(("quality_signals", _rated(store, rated) if rated else "waits: materialize quality_signals"))
        vector = _row(store.embeddings.scan([text["partition"]]).drop("embedding"), id_)
        found.steps.append(("embeddings", vector["model"] if vector else "waits: materialize embeddings"))
        absent = f"waits: materialize {'' if rated else 'quality_signals, '}faiss_index and deduped_corpus"
    what = _in_corpus(data, found) + _later(store, text["partition"]) if _is_decided(data, id_) else absent
    found.steps.append(("deduped_corpus", what))
    if reason := store.forgotten().reason(seed["url"]):
        ends = "; the next corpus that is published ends it" if what != absent else ""
        found.steps.append(("takedown", f"{reason}{ends}"))
    return found


@dataclass
class Compared:
    """Two documents side by side: what the texts say of removing either one for the other."""

    first: History
    second: History
    against_first: list[Reason]
    """What speaks against removing the first for the second; empty: it may go for it."""
    against_second: list[Reason]
    containment: tuple[float, float]
    """Of the first's word 3-grams in the second's text, and the other way round."""


def compared(data: str, document: str, other: str) -> Compared | None:
    """Compare the texts of two documents as deduplication does; None where one is not known, or has no text.

    Raises: as :func:`history`.
    """
    first, second = history(data, document), history(data, other)
    if first is None or second is None or not first.text or not second.text:
        return None
    (scores,) = verify.scores(near.Text.of([first.text, second.text]), np.array([0]), np.array([1])).rows(named=True)
    against = reasons(first.text, second.text), reasons(second.text, first.text)
    return Compared(first, second, *against, (scores["left_in_right"], scores["right_in_left"]))


def _later(store: Store, partition: str) -> str:
    """What is to be said of the published corpus where the texts of a partition are others than it was made from."""
    corpus, texts = store.deduped_corpus.current(), store.extracted_text.segment(partition)
    is_same = corpus and texts and corpus.inputs.texts.get(partition) == texts.path
    return "" if is_same else "; this corpus is of before, and the next is not published"


def _is_decided(data: str, id_: str) -> bool:
    """Whether the published corpus keeps a document, removes it or keeps it out."""
    ids = (
        scan("deduped_corpus", data).select("doc_id"),
        scan("dedup_decisions", data).select(doc_id="removed_id"),
        scan("filter_decisions", data).select("doc_id"),
    )
    return not pl.concat(ids).filter(pl.col("doc_id") == id_).collect().is_empty()


def _in_corpus(data: str, found: History) -> str:
    """What the published corpus does with a document, in a sentence; notes its witness, or what it stands for."""
    decisions = scan("dedup_decisions", data)
    decision = decisions.filter(pl.col("removed_id") == found.doc_id).collect()
    kept = scan("deduped_corpus", data).filter(pl.col("doc_id") == found.doc_id).collect()
    if not decision.is_empty():
        row = found.decision = decision.row(0, named=True)
        found.witness_url = row["kept_url"]
        witness = scan("deduped_corpus", data).filter(pl.col("doc_id") == row["kept_id"]).select("text").collect()
        found.witness_text = witness.item()
        return ("removed: " if kept.is_empty() else "kept, though ") + _decision(row)
    found.failed = scan("filter_decisions", data).filter(pl.col("doc_id") == found.doc_id).collect().rows(named=True)
    if found.failed:
        rules = ", ".join(f"{row['rule']} ({row['value']:g}, threshold {row['threshold']:g})" for row in found.failed)
        return f"kept out by policy {found.failed[0]['policy']}: {rules}"
    found.removed = decisions.filter(pl.col("kept_id") == found.doc_id).collect().sort("removed_url")
    n = kept["duplicates"].item()
    rules = kept["failed_rules"].item()
    fails = f"; fails {', '.join(rules)}" if rules is not None and len(rules) else ""
    stands = f"stands for {plural(n, 'duplicate')}" if n else "no duplicates"
    return f"kept; {stands}{fails}"


def _row(table: pl.LazyFrame, id_: str) -> dict[str, Any] | None:
    rows = table.filter(pl.col("doc_id") == id_).collect()
    return None if rows.is_empty() else rows.row(0, named=True)


def _page(row: dict[str, Any]) -> str:
    parts = [str(row["outcome"])]
    parts += [f"HTTP {row['status']}"] if row["status"] else []
    parts += [f"at {row['fetched_at']:%Y-%m-%d %H:%M:%S} UTC"] if row["outcome"] in WITH_BODY else []
    parts += [str(row["content_type"])] if row["content_type"] else []
    parts += [f"redirected to {row['final_url']}"] if row["final_url"] not in (None, row["url"]) else []
    parts += [str(row["detail"])] if row["detail"] else []
    todo = remedy(row["detail"]) if row["came_of_it"] == "blocked_address" else None
    return ", ".join(parts) + (f"; {todo}" if todo else "")


def _text(row: dict[str, Any]) -> str:
    parts = [str(row["outcome"])]
    parts += [str(row["detail"])] if row["detail"] else []
    if row["outcome"] == EXTRACTED:
        parts += [plural(row["word_count"], "word"), f"language {row['language']}", f"by {row['extractor']}"]
        parts += [f"title {row['title']!r}"] if row["title"] else []
    return ", ".join(parts)


def _said(row: dict[str, Any]) -> str:
    """What a document's page says of itself."""
    parts = [f"{row['page_type']}, told by {row['page_type_source'] or 'nothing'}"] if row["page_type"] else []
    if row["license"]:
        parts.append(f"licence {row['license']} ({row['license_source']})")
    elif row["license_source"]:
        parts.append("licences that differ, so none")
    parts += [f"{name} {row[name]}" for name in ("published", "modified", "site_name") if row[name]]
    parts += ["for those who pay"] if row["paywalled"] else []
    fields = json.loads(row["fields"] or "{}")
    parts += [f"{domain}: {', '.join(names)}" for domain, names in fields.items()]
    parts += [str(row["detail"])] if row["detail"] else []
    return "; ".join(parts) or "says nothing of itself"


def _personal(store: Store, partition: str, found: pl.DataFrame) -> str:
    """Where a document has personal data."""
    if store.personal_data.segment(partition) is None:
        return "waits: materialize personal_data"
    if found.is_empty():
        return "none found"
    places = [
        f"{row['type']} at {row['start']} to {row['end']} ({row['rule']}, {row['confidence']:g})"
        for row in found.head(_PLACES).iter_rows(named=True)
    ]
    more = found.height - len(places)
    return ", ".join(places) + (f", and {more:,} more" if more else "")


def _rated(store: Store, row: dict[str, Any]) -> str:
    """The signals of a document that the policy of the published corpus asks for, where there is one."""
    corpus = store.deduped_corpus.current()
    ruling = Ruling.of(corpus.inputs.policy) if corpus else None
    asked = ruling.policy.signals if ruling else ()
    values = [f"{name} {row[name]:.4g}" for name in asked if row.get(name) is not None]
    return "; ".join(values) or "rated"


def _decision(row: dict[str, Any]) -> str:
    scores = ", ".join(f"{k} {row[k]:.3f}" for k in ("containment", "jaccard", "cosine") if row[k] is not None)
    way = "" if row["witness_id"] in (None, row["kept_id"]) else f", by way of {row['witness_id']}"
    said = f"duplicate of {row['kept_url']} ({row['kept_id']}{way}), level {row['level']}, rule {row['rule']}"
    return f"{said}; {scores}" if scores else said
