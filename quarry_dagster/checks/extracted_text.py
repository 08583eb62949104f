"""`extracted_text`: a row for every raw page, a text where one was extracted, and pages that give text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import polars as pl

from quarry_dagster.checks.contract import breaches, missing, wrong_columns
from quarry_dagster.checks.finding import Finding
from quarry_dagster.extract import text_digest
from quarry_dagster.profiles.settings import HardwareProfile
from quarry_dagster.stages.backlog import follows
from quarry_dagster.store import Segment, Store
from quarry_dagster.store.schemas import ACCEPTED, EXTRACT_OUTCOMES, EXTRACTED_TEXT

_WORTH_COMPARING = 50
"""Texts on each side from which a difference of languages says something."""


def contract(store: Store, profile: HardwareProfile, partitions: Sequence[str]) -> Finding:
    """One row for every raw page; known outcomes; a text, with its digest, where one was extracted."""
    found: list[str] = []
    rows = 0
    for partition in partitions:
        segment, raw = store.extracted_text.segment(partition), store.raw_pages.segment(partition)
        if segment is None or raw is None:
            continue
        rows += segment.rows
        if wrong := wrong_columns(segment, EXTRACTED_TEXT):
            found += wrong
            continue
        table = store.files.scan([segment.path], EXTRACTED_TEXT)
        problems = breaches(
            partition,
            table,
            "doc_id",
            {
                "with an unknown outcome": ~pl.col("outcome").is_in(EXTRACT_OUTCOMES),
                "extracted without text": ACCEPTED & (pl.col("text").fill_null("") == ""),
                "extracted without digest": ACCEPTED & pl.col("text_digest").is_null(),
                "not extracted but with a digest": ~ACCEPTED & pl.col("text_digest").is_not_null(),
                "with fewer than no words": pl.col("word_count") < 0,
                "that name another partition": pl.col("partition").ne_missing(pl.lit(partition)),
            },
        )
        found += problems or _wrong_digests(segment)
        if follows(segment, raw):  # else it waits to be materialized again
            expected = pl.concat(list(raw.batches(["doc_id"], rows=4096)))
            found += missing(partition, expected, table.select("doc_id").collect(), "doc_id")
    return Finding.of_breaches(found, f"{rows:,} rows", rows=rows)


def _wrong_digests(segment: Segment) -> list[str]:
    wrong = [
        doc_id
        for frame in segment.batches(["doc_id", "text", "text_digest"], rows=1024)
        for doc_id, text, digest in frame.drop_nulls("text_digest").iter_rows()
        if text_digest(text or "") != digest
    ]
    if not wrong:
        return []
    return [f"{segment.partition}: {len(wrong):,} rows whose text is not the one of text_digest (first: {wrong[0]})"]


def extraction_yield(store: Store, profile: HardwareProfile, partitions: Sequence[str]) -> Finding:
    """The share of accepted texts, of the pages that came."""
    outcomes = store.extracted_text.scan(partitions).group_by("outcome").len().collect()
    pages = outcomes.filter(pl.col("outcome") != "not_fetched")
    total = int(pages["len"].sum())
    if not total:
        return Finding(True, "no page came")
    accepted = int(pages.filter(ACCEPTED)["len"].sum())
    rest = pages.filter(~ACCEPTED).sort("len", descending=True)
    reasons = ", ".join(f"{n:,} {outcome}" for outcome, n in rest.iter_rows())
    return Finding(
        accepted / total >= profile.checks.min_extraction_yield,
        f"{accepted:,} of {total:,} pages gave a text" + (f"; {reasons}" if reasons else ""),
        {"share": round(accepted / total, 4), "bound": profile.checks.min_extraction_yield, "pages": total},
    )


def language_drift(store: Store, profile: HardwareProfile, partitions: Sequence[str]) -> Finding:
    """How far the languages of these partitions are from all others': total variation distance, 0 to 1."""
    others = sorted(store.batches.segments().keys() - set(partitions))
    here, there = _languages(store, partitions), _languages(store, others)
    n, m = int(here["n"].sum()), int(there["n"].sum())
    if min(n, m) < _WORTH_COMPARING:
        return Finding(True, f"too few texts to compare: {n:,} here, {m:,} in other partitions", {"texts": n})
    both = here.join(there, on="language", how="full", coalesce=True, suffix="_there").fill_null(0)
    change = both.select("language", change=pl.col("n") / n - pl.col("n_there") / m).sort("change")
    distance = float(change["change"].abs().sum()) / 2
    more, less = change.row(-1, named=True), change.row(0, named=True)
    return Finding(
        distance <= profile.checks.max_language_drift,
        f"{n:,} texts here against {m:,} elsewhere: {more['language']} {more['change']:+.1%}, "
        f"{less['language']} {less['change']:+.1%}",
        {"distance": round(distance, 4), "bound": profile.checks.max_language_drift, "texts": n},
    )


def _languages(store: Store, partitions: Sequence[str]) -> pl.DataFrame:
    """Columns language ("unknown" where it could not be told), n (texts); from the notes of the segments."""
    segments = store.extracted_text.segments()
    counts: Counter[str] = Counter()
    for partition in partitions:
        if partition in segments:
            counts.update(segments[partition].notes.languages)  # none in those of earlier versions
    return pl.DataFrame(list(counts.items()), schema={"language": pl.String, "n": pl.Int64}, orient="row")
