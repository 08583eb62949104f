"""`deduped_corpus`: which documents are kept, and for every other one the decision that removed it.

The documents are those whose vectors the published index holds, without those that the quality policy keeps out
(:mod:`quarry_dagster.stages.corpus.filtering`). Only what changed since the last corpus is compared
with the rest (:mod:`quarry_dagster.stages.corpus.pairs`); the decisions are then drawn anew from all scores.

A corpus that would lose too many of its documents is not published (:mod:`quarry_dagster.stages.corpus.shrinkage`).

A corpus holds no copy of the texts: it names the kept documents and the `extracted_text` segments that they are read
from. It names the layers of its tables as well, which share what did not change with those of the corpus before. What
a corpus that is kept names is not deleted.

Why so: "The corpus snapshot holds no text" in docs/decisions.md.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import polars as pl

from quarry_dagster.dedup import candidates, decide, verify
from quarry_dagster.errors import CorpusShrankError, StoreError
from quarry_dagster.profiles.settings import Checks, Deduplication
from quarry_dagster.stages.corpus import directions, pairs, sketches
from quarry_dagster.stages.corpus.filtering import FILTERED, WAITING, Ruling, judge, signals_of
from quarry_dagster.stages.corpus.shrinkage import Shrinkage, compare, remembered
from quarry_dagster.stages.report import StageReport
from quarry_dagster.store import Acceptance, Corpus, CorpusInputs, CorpusLayers, Index, Store, again
from quarry_dagster.store.failed_checks import WHOLE_TABLE, FailedChecks
from quarry_dagster.store.schemas import DEDUP_DECISIONS, KEPT
from quarry_dagster.store.state import Line

SHRINK = "shrink"
"""What an acceptance of a loss is of."""
REFUSED = "deduped_corpus.corpus_shrank"
"""The check that stands failed while the newest corpus is refused."""


@dataclass
class CorpusReport(StageReport):
    """What was done, and what the corpus lost."""

    shrinkage: Shrinkage = field(default_factory=Shrinkage)


def refresh(
    store: Store,
    settings: Deduplication,
    run_id: str,
    *,
    quality: Ruling | None = None,
    checks: Checks | None = None,
    accepted: Sequence[Acceptance] = (),
    force: bool = False,
    anew: bool = False,
    gpu: bool = False,
    keep: int = 5,
) -> CorpusReport:
    """Bring the corpus in line with the published index; returns what was done, which is nothing while one is held.

    `quality` says which documents are good enough; without it nobody asks. `checks` bound what it may lose; `accepted`
    is what somebody said to publish nevertheless: what was made while a check stood failed is made anew. `force` scores
    and decides anew although nothing changed. `anew` decides anew and keeps no earlier corpus, so that nothing of a
    removed document is left; else `keep` corpora stay readable, this one among them. `gpu` lets a GPU compare vectors,
    where there is one and they are many; the result is the same.

    Raises:
        CorpusShrankError: too many documents would leave; the corpus of before stands.
        StoreError: there is no index yet, or the store cannot be written.
    """
    with store.files.lock("corpus"):
        return again(
            lambda: _refresh(store, settings, run_id, quality, checks or Checks(), accepted, force, anew, gpu, keep)
        )


def _refresh(
    store: Store,
    settings: Deduplication,
    run_id: str,
    quality: Ruling | None,
    checks: Checks,
    accepted: Sequence[Acceptance],
    force: bool,
    anew: bool,
    gpu: bool,
    keep: int,
) -> CorpusReport:
    start = time.monotonic()
    hold = store.files.state().hold
    if hold and not anew and (held := store.deduped_corpus.current()):
        stands = Shrinkage(held.kept_documents, datetime.now(UTC).date().isoformat())
        return CorpusReport(rows=held.kept_documents, outcomes=Counter(held=held.kept_documents), shrinkage=stands)
    index = store.faiss_index.current()
    if index is None:
        raise StoreError("there is no faiss_index yet: materialize faiss_index first")
    vectors = store.embeddings.segments_at(index.partitions)
    current = store.extracted_text.segments()
    texts = {partition: current[partition] for partition in vectors if partition in current}
    inputs = CorpusInputs(
        texts={partition: segment.path for partition, segment in texts.items()},
        vectors=index.partitions,
        signals=signals_of(store, texts, quality),
        policy=quality.stored() if quality else {},
        settings=settings.model_dump(mode="json"),
        rules=list(decide.RULES),
        evidence=_evidence_version(settings, index),
    )
    over = store.deduped_corpus.number()
    published = store.deduped_corpus.whole() if force else store.deduped_corpus.current()
    is_distrusted = published is not None and any(each.what != SHRINK for each in published.accepted)
    base = None if anew or force or is_distrusted else published
    if base and base.inputs == inputs:
        FailedChecks.note(store.files, REFUSED, [WHOLE_TABLE], [], datetime.now(UTC))
        unchanged = Shrinkage(base.kept_documents, datetime.now(UTC).date().isoformat())
        report = CorpusReport(rows=base.kept_documents, shrinkage=unchanged)
        if base.index != index.number:  # the same texts, in an index that was built anew
            store.deduped_corpus.amend(replace(base, index=index.number), keep=store.keeping(keep + 1))
        report.outcomes = Counter(base.outcomes)
        report.seconds = time.monotonic() - start
        return report

    # Outlines tell which vectors are worth comparing.
    along = directions.current(store, base, vectors, index.model) if settings.by_vector else None
    tables = pairs.Tables(texts, vectors, sketches.refresh(store, texts, vectors, along, anew=force), along)
    documents = sketches.documents(store, tables.sketches.values())
    known = _known(store, None if force or is_distrusted else published, inputs)
    scored, compared = pairs.refresh(store, tables, documents, known, settings, gpu=gpu)
    judged = judge(store, documents, inputs.signals, quality)
    decisions = decide.decide(judged.candidates, scored, settings, judged.failing)
    kept = _kept(judged.candidates, decisions, settings)
    shrinkage = compare(store, published, kept, decisions, judged, checks.max_shrink)
    now = datetime.now(UTC)
    is_refused = shrinkage.is_too_much and SHRINK not in (each.what for each in accepted)
    FailedChecks.note(store.files, REFUSED, [WHOLE_TABLE], [WHOLE_TABLE] if is_refused else [], now)
    if is_refused:
        raise CorpusShrankError(shrinkage.refusal)
    signed = _signed(decisions, published, run_id)
    filtered = judged.filtered["doc_id"].n_unique()
    outcomes = Counter(kept=kept.height, **dict(decisions["level"].value_counts().iter_rows()))
    outcomes += Counter({FILTERED: filtered, WAITING: judged.waiting.len()})
    before = base.layers if base else CorpusLayers()
    corpus = Corpus(
        snapshot=store.deduped_corpus.begin(),
        index=index.number,
        published_at=now.isoformat(timespec="seconds"),
        made_with=store.root().made_with,
        larger=[] if shrinkage.is_too_much else remembered(store, published, kept.height, now),
        accepted=[each for each in accepted if each.what != SHRINK or shrinkage.is_too_much],
        inputs=inputs,
        layers=CorpusLayers(
            kept=store.kept.extend(before.kept, kept),
            decisions=store.decisions.extend(before.decisions, signed),
            pairs=store.pairs.extend(before.pairs, scored),
            filtered=store.filtered.extend(before.filtered, judged.filtered) if quality else (),
        ),
        sketches={partition: segment.path for partition, segment in tables.sketches.items()},
        directions=along.file if along else None,
        decided=documents.height,
        kept_documents=kept.height,
        outcomes=dict(outcomes),
    )
    is_over: list[Line] = [{"release": {}}] if hold else []  # a takedown publishes whatever is held
    store.deduped_corpus.publish(corpus, keep=[] if anew else store.keeping(keep), over=over, lines=is_over)
    report = CorpusReport(rows=kept.height, worked=compared, written=1, outcomes=outcomes, shrinkage=shrinkage)
    report.seconds = time.monotonic() - start
    return report


def behind(store: Store) -> bool:
    """Whether the published corpus is not made from the published index and the texts as they are now."""
    index, published = store.faiss_index.current(), store.deduped_corpus.current()
    if index is None:
        return False
    if published is None:
        return True
    current = store.extracted_text.segments().paths()
    texts = {partition: current[partition] for partition in index.partitions if partition in current}
    made_from = (published.index, published.inputs.vectors, published.inputs.texts)
    return made_from != (index.number, index.partitions, texts)


def _evidence_version(settings: Deduplication, index: Index) -> list[Any]:
    """Everything that pairs and their scores depend on besides the documents, as JSON values."""
    versions = [sketches.VERSION, candidates.VERSION, verify.VERSION]
    compared = settings.similarity_threshold if settings.by_vector else None
    return [*versions, index.model, compared, list(settings.keep)]


def _of_texts(evidence: Sequence[Any]) -> list[Any]:
    """What of the evidence's version pairs depend on: they are of texts, whatever the URLs of their pages are."""
    version, *others = evidence
    return [sketches.of_texts(version), *others]


def _known(store: Store, published: Corpus | None, inputs: CorpusInputs) -> pairs.Known:
    """The pairs that the published corpus has, as far as they are still worth something."""
    if published is None or _of_texts(published.inputs.evidence) != _of_texts(inputs.evidence):
        return pairs.NOTHING_KNOWN
    return pairs.Known(store.sketches.segments_at(published.sketches), published.pairs().collect())


def _kept(documents: pl.DataFrame, decisions: pl.DataFrame, settings: Deduplication) -> pl.DataFrame:
    """The kept documents, schema KEPT; in mode annotate all of them."""
    counts = decisions.group_by("kept_id").agg(duplicates=pl.len().cast(pl.Int64))
    kept = documents
    if settings.mode != "annotate":
        kept = kept.join(decisions, left_on="doc_id", right_on="removed_id", how="anti")
    return (
        kept.join(counts, left_on="doc_id", right_on="kept_id", how="left")
        .with_columns(pl.col("duplicates").fill_null(0))
        .select(KEPT.names())
    )


def _signed(decisions: pl.DataFrame, published: Corpus | None, run_id: str) -> pl.DataFrame:
    """Decisions (schema DECISIONS) with the run that made each: one that stands from before keeps its run."""
    same = ["removed_id", "kept_id", "witness_id", "rule", "containment", "cosine"]
    old = published.decisions() if published else pl.LazyFrame(schema=DEDUP_DECISIONS)
    return (
        decisions.join(old.select(*same, "run_id").collect(), on=same, how="left", nulls_equal=True)
        .with_columns(pl.col("run_id").fill_null(run_id))
        .select(DEDUP_DECISIONS.names())
    )
