"""`deduped_corpus`: nothing lost, every removal justified again from the texts, no duplicate left.

Why so: "`witnesses` scores new removals again, and a sample of the old" in docs/decisions.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl

from quarry_dagster.checks.contract import breaches, missing
from quarry_dagster.checks.finding import Finding
from quarry_dagster.dedup import decide
from quarry_dagster.index import nearest
from quarry_dagster.profiles.settings import Deduplication, HardwareProfile
from quarry_dagster.stages import faiss_index
from quarry_dagster.stages.backlog import backlog
from quarry_dagster.stages.corpus import deduped_corpus as stage
from quarry_dagster.stages.corpus import evidence, sketches
from quarry_dagster.stages.corpus.filtering import WAITING, Ruling
from quarry_dagster.stages.vectors import vectors_of
from quarry_dagster.store import Corpus, Store, TextSegment, VectorSegment
from quarry_dagster.store.schemas import HOST, LEVELS, PAIRS, SCORED_LEVELS

_SEED = 0
_NEIGHBOURS = 10
_FEW = 2
"""So many duplicates left are no error in the smallest corpus: no way of finding candidates finds all."""
_WORTH_COMPARING = 20
"""Documents of a host in both snapshots from which a change of its removals says something."""
_NONE = Finding(False, "there is no corpus yet: materialize deduped_corpus")


def contract(store: Store, profile: HardwareProfile) -> Finding:
    """Kept documents once each, with a text; decisions once for each removed document, by known levels and rules; of
    what the policy keeps out, rules of the policy that its values fail."""
    corpus = store.deduped_corpus.current()
    if corpus is None:
        return _NONE
    kept, decisions = corpus.kept(), corpus.decisions()
    found = breaches("deduped_corpus", kept, "doc_id", {})
    found += breaches(
        "dedup_decisions",
        decisions,
        "removed_id",
        {
            "of an unknown level": ~pl.col("level").is_in(LEVELS),
            "by an unknown rule": ~pl.col("rule").is_in(decide.RULES),
            "that remove a document in favour of itself": pl.col("removed_id") == pl.col("kept_id"),
            "without run": pl.col("run_id").is_null(),
        },
    )
    found += _groundless(corpus)
    if not found:
        found += missing(
            "deduped_corpus, texts of kept documents",
            kept.select("doc_id", "partition").collect(),
            corpus.texts()
            .filter(pl.col("text").is_not_null())
            .select("doc_id", "partition")
            .join(kept, on=["doc_id", "partition"], how="semi")
            .collect(),
            "doc_id",
        )
        counted = decisions.group_by("kept_id").agg(n=pl.len().cast(pl.Int64))
        wrong = kept.join(counted, left_on="doc_id", right_on="kept_id", how="left").filter(
            pl.col("duplicates") != pl.col("n").fill_null(0)
        )
        miscounted = wrong.collect()
        if miscounted.height:
            example = miscounted["doc_id"][0]
            found.append(f"deduped_corpus: {miscounted.height:,} rows miscount their duplicates (first: {example})")
    rows = corpus.kept_documents
    return Finding.of_breaches(found, f"{rows:,} kept documents", kept=rows)


def _groundless(corpus: Corpus) -> list[str]:
    """A sentence where documents are kept out by what is no rule of the policy, or by a value that satisfies it."""
    ruling, filtered = Ruling.of(corpus.inputs.policy), corpus.filtered().collect()
    rules = {rule.name: rule for rule in ruling.policy.rules} if ruling and ruling.drops else {}
    wrong: list[str] = []
    for (name,), rows in filtered.group_by("rule", maintain_order=True):
        rule = rules.get(str(name))
        groundless = rows if rule is None else rows.filter(~rule.compared("value"))
        wrong += groundless["doc_id"].to_list()
    return [f"filter_decisions: {len(wrong):,} rows without ground (first: {wrong[0]})"] if wrong else []


def conservation(store: Store, profile: HardwareProfile) -> Finding:
    """Every document whose text is in the index is kept, removed by exactly one decision, or kept out by the policy."""
    corpus = store.deduped_corpus.current()
    if corpus is None:
        return _NONE
    expected = _documents(store, corpus).select("doc_id", "text_digest")
    kept, decisions = corpus.kept().collect(), corpus.decisions().collect()
    filtered = corpus.filtered().select("doc_id").unique().collect()
    decided = pl.concat([kept.select("doc_id"), decisions.select(doc_id="removed_id")])
    if _settings(corpus).mode == "annotate":  # decides, and removes nothing
        decided = decided.unique()
    found = pl.concat([decided, filtered])
    if waiting := corpus.outcomes.get(WAITING, 0):  # they have no signals yet, and failing documents are dropped
        rated = store.quality_signals.rows(list(store.quality_signals.segments_at(corpus.inputs.signals).values()))
        of_text = ["doc_id", "text_digest"]
        expected = expected.join(rated.select(of_text).collect(), on=of_text, how="semi")
    twice = int(found["doc_id"].is_duplicated().sum())
    problems = missing("deduped_corpus", expected.select("doc_id"), found, "doc_id")
    if twice:
        problems.append(
            f"deduped_corpus: {twice:,} documents are kept and removed, or removed twice, or kept out as well"
        )
    facts = {"documents": expected.height, "filtered": filtered.height, "waiting": waiting}
    return Finding.of_breaches(problems, f"{expected.height:,} documents", **facts)


def witnesses(store: Store, profile: HardwareProfile) -> Finding:
    """Every removal names a document that is kept, and a witness whose text satisfies its rule: the kept document, or
    one that was itself removed for it.

    Removals that are new since the snapshot before are all scored again from the stored texts and vectors, and a
    sample of the others.
    """
    corpus = store.deduped_corpus.current()
    if corpus is None:
        return _NONE
    kept, decisions = corpus.kept().collect(), corpus.decisions().collect()
    dangling = decisions.join(kept, left_on="kept_id", right_on="doc_id", how="anti")
    problems = []
    if dangling.height:
        problems.append(
            f"{dangling.height:,} removals name a document that is not kept (first: {dangling['removed_id'][0]})"
        )
    problems += _astray(decisions)
    live = store.deduped_corpus.latest(2)
    before = live[1].decisions().collect() if len(live) > 1 else decisions.clear()
    same = ["removed_id", "kept_id", "witness_id", "rule", "containment", "cosine"]
    old = decisions.join(before, on=same, how="semi", nulls_equal=True)
    new = decisions.join(old, on="removed_id", how="anti")
    sample = pl.concat([new, old.sample(min(profile.checks.sample, old.height), seed=_SEED)])
    unjustified = _unjustified(store, corpus, sample)
    problems += unjustified
    facts = {"removals": decisions.height, "scored_again": sample.height, "unjustified": len(unjustified)}
    return Finding.of_breaches(problems, f"{decisions.height:,} removals, {sample.height:,} scored again", **facts)


def _astray(decisions: pl.DataFrame) -> list[str]:
    """A sentence where witnesses are neither what is kept nor were themselves removed for it."""
    centres = decisions.filter(pl.col("witness_id") == pl.col("kept_id")).select(
        witness_id="removed_id", kept_id="kept_id"
    )
    astray = decisions.filter(pl.col("witness_id") != pl.col("kept_id")).join(
        centres, on=["witness_id", "kept_id"], how="anti"
    )
    if astray.is_empty():
        return []
    first = astray["removed_id"][0]
    return [f"{astray.height:,} removals have a witness that was not itself removed for the kept one (first: {first})"]


def _unjustified(store: Store, corpus: Corpus, decisions: pl.DataFrame) -> list[str]:
    """Score decisions again from the tables; returns a sentence for each that its rule does not justify."""
    documents = _documents(store, corpus)
    named = pl.concat([decisions["removed_id"], decisions["witness_id"]]).unique().to_frame("doc_id")
    facts = sketches.with_page_urls(documents.join(named, on="doc_id", how="semi")).select(
        "doc_id", "page_url", "text_digest", "url"
    )
    both = decisions.join(facts, left_on="removed_id", right_on="doc_id").join(
        facts, left_on="witness_id", right_on="doc_id", suffix="_witness"
    )
    wrong = both.filter(
        ((pl.col("level") == "url") & (pl.col("page_url") != pl.col("page_url_witness")))
        | ((pl.col("level") == "exact") & (pl.col("text_digest") != pl.col("text_digest_witness")))
    )
    out = [_sentence(row) for row in wrong.iter_rows(named=True)]
    scored = both.filter(pl.col("level").is_in(SCORED_LEVELS))
    if scored.is_empty():
        return out
    wanted = scored.select(left="text_digest_witness", right="text_digest").unique()
    found = decide.seen_from_both(_scores(store, corpus, documents, wanted), _settings(corpus))
    again = decide.rules_again(scored.rename({"text_digest": "text", "text_digest_witness": "other"}), found)
    for row in again.filter(pl.col("rule").ne_missing(pl.col("rule_now"))).iter_rows(named=True):
        out.append(f"{_sentence(row)}: now containment {row['containment_now']}, cosine {row['cosine_now']}")
    return out


def _sentence(row: dict[str, Any]) -> str:
    return f"{row['removed_id']} does not satisfy {row['rule']} with {row['witness_id']}"


def _scores(store: Store, corpus: Corpus, documents: pl.DataFrame, wanted: pl.DataFrame) -> pl.DataFrame:
    """Scores (schema PAIRS) of pairs of text digests, columns left and right, read anew from the tables."""
    texts, vectors = _segments(store, corpus)
    scored = [pl.DataFrame(schema=PAIRS)]
    for block in evidence.scored(store, texts, documents, wanted):
        rows = evidence.with_cosines(store, vectors, documents, block)
        scored.append(rows.select(PAIRS.names()))
    return pl.concat(scored)


def no_duplicates_left(store: Store, profile: HardwareProfile) -> Finding:
    """No sampled kept document would be removed in favour of one of its ten exact nearest kept neighbours."""
    corpus = store.deduped_corpus.current()
    if corpus is None:
        return _NONE
    settings = _settings(corpus)
    if settings.mode == "annotate":
        return Finding(True, "mode annotate removes nothing")
    kept = corpus.kept().collect()
    documents = _documents(store, corpus).join(kept, on="doc_id", how="semi")
    sample = documents.sample(min(profile.checks.sample, documents.height), seed=_SEED).sort("doc_id")
    near = _neighbours(store, corpus, documents, sample)
    scores = _scores(store, corpus, documents, near)
    involved = pl.concat([scores["left"], scores["right"], sample["text_digest"]]).unique().to_frame("text_digest")
    candidates = sketches.with_page_urls(documents.join(involved, on="text_digest", how="semi"))
    removed = decide.decide(candidates, scores, settings)
    left = removed.join(sample, left_on="removed_id", right_on="doc_id", how="semi")
    share = left.height / max(1, sample.height)
    examples = "; ".join(f"{r} of {k}" for r, k in left.select("removed_id", "kept_id").head(5).iter_rows())
    return Finding(
        left.height <= _FEW or share <= profile.checks.max_duplicates_left,
        f"{left.height:,} duplicates found among {sample.height:,} sampled of {documents.height:,} kept documents"
        + (f": {examples}" if examples else ""),
        {"share": round(share, 4), "bound": profile.checks.max_duplicates_left, "sampled": sample.height},
    )


def _neighbours(store: Store, corpus: Corpus, documents: pl.DataFrame, sample: pl.DataFrame) -> pl.DataFrame:
    """Pairs (text digests, left < right) of each sampled text and the nearest other texts of `documents`."""
    numbered = documents.select("text_digest").unique().sort("text_digest").with_row_index("text")
    _, vectors = _segments(store, corpus)

    def blocks(wanted: pl.DataFrame) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for digests, array in vectors_of(store, vectors.values(), wanted["text_digest"]):
            numbers = digests.to_frame().join(numbered, on="text_digest", maintain_order="left")["text"]
            yield numbers.cast(pl.Int64).to_numpy(), array

    mine = numbered.join(sample, on="text_digest", how="semi")
    found = list(blocks(mine))
    if not found:
        return pl.DataFrame(schema={"left": pl.String, "right": pl.String})
    own = np.concatenate([i for i, _ in found])
    near, _ = nearest(np.concatenate([v for _, v in found]), blocks(numbered), _NEIGHBOURS + 1)
    digests = numbered["text_digest"].to_numpy()
    rows = {
        (min(digests[a], digests[b]), max(digests[a], digests[b]))
        for a, others in zip(own.tolist(), near.tolist(), strict=True)
        for b in others
        if b not in (a, -1)
    }
    return pl.DataFrame(sorted(rows), schema={"left": pl.String, "right": pl.String}, orient="row")


def removal_rate(store: Store, profile: HardwareProfile) -> Finding:
    """How the share removed changed since the snapshot before, by level and on each host."""
    live = store.deduped_corpus.latest(2)
    if len(live) < 2:
        return Finding(True, "no snapshot before to compare with")
    if _settings(live[0]) != _settings(live[1]):
        return Finding(True, "decided with other settings than the snapshot before")
    now, before = (_removals(store, corpus) for corpus in live)
    total, total_before = int(now["documents"].sum()), int(before["documents"].sum())
    if min(total, total_before) < _WORTH_COMPARING:
        return Finding(True, f"too few documents to compare: {total_before:,} before, {total:,} now")
    changes: dict[str, float] = {}
    facts: dict[str, int | float | str] = {"bound": profile.checks.max_removal_change}
    for level in LEVELS:
        share = float(now[level].sum()) / total
        changes[f"level {level}"] = share - float(before[level].sum()) / total_before
        facts[f"removed_{level}"] = round(share, 4)
    hosts = now.join(before, on="host", suffix="_before").filter(
        pl.min_horizontal("documents", "documents_before") >= _WORTH_COMPARING
    )
    for row in hosts.iter_rows(named=True):
        share, share_before = (
            sum(row[level + suffix] for level in LEVELS) / row["documents" + suffix] for suffix in ("", "_before")
        )
        changes[f"host {row['host']}"] = share - share_before
    over = {k: v for k, v in changes.items() if abs(v) > profile.checks.max_removal_change}
    most = max(changes, key=lambda k: abs(changes[k]))
    return Finding(
        not over,
        "; ".join(f"{k}: {v:+.1%} removed" for k, v in over.items()) or f"at most {changes[most]:+.1%} ({most})",
        facts | {"largest_change": round(abs(changes[most]), 4), "hosts_compared": hosts.height},
    )


def large_clusters(store: Store, profile: HardwareProfile) -> Finding:
    """No document stands for very many near duplicates: such a cluster is worth a person's look."""
    corpus = store.deduped_corpus.current()
    if corpus is None:
        return _NONE
    decisions = corpus.decisions().collect()
    near = decisions.filter(pl.col("level").is_in(SCORED_LEVELS))
    sizes = near.group_by("kept_id").len().sort("len", "kept_id", descending=[True, False])
    large = sizes.filter(pl.col("len") > profile.checks.max_cluster)
    largest = int(sizes["len"][0]) if sizes.height else 0
    named = ", ".join(f"{doc_id} stands for {n:,}" for doc_id, n in large.head(5).iter_rows())
    return Finding(
        large.is_empty(),
        named or f"the largest cluster has {largest:,} near duplicates",
        {"largest": largest, "bound": profile.checks.max_cluster, "large": large.height},
    )


def up_to_date(store: Store, profile: HardwareProfile) -> Finding:
    """Every partition is crawled, extracted, embedded, indexed and decided on, as it is now."""
    waiting = backlog(store)
    behind = [name for name, stage_ in (("index", faiss_index), ("corpus", stage)) if stage_.behind(store)]
    parts = [f"{len(waiting):,} partitions wait (first: {next(iter(waiting))})"] if waiting else []
    verb = "is" if len(behind) == 1 else "are"
    parts += [f"the {' and the '.join(behind)} {verb} not made from the tables as they are"] if behind else []
    if store.files.state().hold:
        parts.append("a corpus of before is held: quarry rollback --release lets the next run publish")
    return Finding(not parts, "; ".join(parts) or "all partitions are in the corpus", {"waiting": len(waiting)})


def _removals(store: Store, corpus: Corpus) -> pl.DataFrame:
    """Columns host, documents, and a count of removals for each level."""
    decisions = corpus.decisions().select("removed_id", "level")
    documents = _documents(store, corpus).lazy().join(decisions, left_on="doc_id", right_on="removed_id", how="left")
    levels = {level: (pl.col("level") == level).sum() for level in LEVELS}
    return documents.group_by(host=HOST).agg(documents=pl.len(), **levels).collect()


def _settings(corpus: Corpus) -> Deduplication:
    return Deduplication.model_validate(corpus.inputs.settings)


def _segments(store: Store, corpus: Corpus) -> tuple[dict[str, TextSegment], dict[str, VectorSegment]]:
    """The segments of texts and of vectors that a corpus is made from, by partition."""
    inputs = corpus.inputs
    return store.extracted_text.segments_at(inputs.texts), store.embeddings.segments_at(inputs.vectors)


def _documents(store: Store, corpus: Corpus) -> pl.DataFrame:
    """The documents a corpus decided on, see :func:`quarry_dagster.stages.corpus.sketches.embedded_documents`."""
    return sketches.embedded_documents(store, *_segments(store, corpus))
