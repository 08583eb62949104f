"""Whether a run came to nothing: no seed line was usable, no page came, or no document was accepted.

Each such failure is a reason with a count and a remedy. A rerun with nothing new is none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import polars as pl

from quarry_dagster.checks.raw_pages import asked_for
from quarry_dagster.crawl.addresses import REMEDY
from quarry_dagster.intake import SeedReport
from quarry_dagster.store import Store
from quarry_dagster.store.schemas import ACCEPTED, CAME

_REMEDIES = {
    "blocked_address": REMEDY,
    "network_error": "look whether this machine reaches the network, and run again",
    "timeout": "look whether this machine reaches the network, and run again",
    "robots_disallowed": "ask the sites' owners, or take these seeds away",
    "opted_out": "these sites do not want it; take these seeds away, or read docs/crawling.md on crawl.obey_consent",
}
_LOOK = "quarry explain URL says of each page why"


def total_failures(store: Store, reports: Sequence[SeedReport], *, crawled: bool) -> list[str]:
    """Why a run came to nothing, each reason in a sentence with its remedy; empty where it did not.

    Args:
        reports: of the seed files that this run took in.
        crawled: whether this run asked for pages.
    """
    found = _no_usable_line(reports)
    if not found and crawled:
        found = _no_page_came(store, is_new=any(r.added or r.replaced for r in reports))
    return found or _none_accepted(store, reports)


def _no_usable_line(reports: Sequence[SeedReport]) -> list[str]:
    usable, problems = sum(r.urls - r.invalid for r in reports), sum(r.problem_count for r in reports)
    if usable or not problems:
        return []
    files = ", ".join(r.name for r in reports)
    example = next((f"; the first: {p}" for r in reports for p in r.problems), "")
    return [f"no line of {files} is usable, of {problems:,}{example}. A seed is an http(s) URL a line: docs/seeds.md"]


def _no_page_came(store: Store, *, is_new: bool) -> list[str]:
    outcomes, held = asked_for(store)
    if not held and not is_new:
        return []  # as it was: a dead link beside given texts fails no run but the first
    total = sum(outcomes.values())
    if not total or any(outcomes[outcome] for outcome in CAME):
        return []
    reasons = ", ".join(f"{n:,} {outcome}" for outcome, n in outcomes.most_common())
    kept = f"; what is held of {held:,} of them stays" if held else ""
    remedy = _REMEDIES.get(outcomes.most_common(1)[0][0], _LOOK)
    return [f"none of {total:,} pages came: {reasons}{kept}. Remedy: {remedy}"]


def _none_accepted(store: Store, reports: Sequence[SeedReport]) -> list[str]:
    names = [r.name for r in reports if r.added or r.replaced]
    if not names:
        return []
    given = store.batches.scan().filter(pl.col("seed").is_in(names)).select("doc_id")
    texts = store.extracted_text.scan().join(given, on="doc_id", how="semi")
    counts = texts.group_by("outcome", is_accepted=ACCEPTED).len().collect()
    if counts.is_empty() or counts["is_accepted"].any():
        return []
    outcomes = Counter(dict(counts.select("outcome", "len").iter_rows()))
    reasons = ", ".join(f"{n:,} {outcome}" for outcome, n in outcomes.most_common())
    return [f"none of the {sum(outcomes.values()):,} documents of this run was accepted: {reasons}. {_LOOK}"]
