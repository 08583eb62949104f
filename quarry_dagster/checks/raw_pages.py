"""`raw_pages`: a row for every seed, a body where there is a page, and pages that come."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import polars as pl

from quarry_dagster.checks.contract import breaches, missing, wrong_columns
from quarry_dagster.checks.finding import Finding
from quarry_dagster.digests import digest
from quarry_dagster.errors import InvalidUrl
from quarry_dagster.profiles.settings import HardwareProfile
from quarry_dagster.store import Segment, Store
from quarry_dagster.store.schemas import CAME, CAME_OF_IT, FETCH_OUTCOMES, HELD, IS_WITHDRAWN, RAW_PAGES, WITH_BODY
from quarry_dagster.urls import UrlForm, doc_id

_NOT_ASKED_FOR = ("given", "archived", "invalid_url")
_FACTS = ("doc_id", "url", "outcome", "body_digest", "partition")


def contract(store: Store, profile: HardwareProfile, partitions: Sequence[str]) -> Finding:
    """One row for every seed of the batch; known outcomes; a body, with its digest, where there is a page."""
    found: list[str] = []
    rows, form = 0, store.root().urls
    for partition in partitions:
        segment, batch = store.raw_pages.segment(partition), store.batches.segment(partition)
        if segment is None or batch is None:
            continue
        if wrong := wrong_columns(segment, RAW_PAGES):
            found += wrong
            continue
        facts = _facts(segment, form)
        rows += facts.height
        found += breaches(
            partition,
            facts.lazy(),
            "url",
            {
                "with an unknown outcome": ~pl.col("outcome").is_in(FETCH_OUTCOMES),
                "with a body where the outcome says none, or without where it promises one": (
                    pl.col("outcome").is_in(WITH_BODY) != pl.col("found_digest").is_not_null()
                ),
                "whose body is not the one of body_digest": (
                    pl.col("body_digest").ne_missing(pl.col("found_digest")) & pl.col("found_digest").is_not_null()
                ),
                "whose doc_id is not their URL's": pl.col("doc_id").ne_missing(pl.col("found_id")),
                "that name another partition": pl.col("partition").ne_missing(pl.lit(partition)),
            },
            named="doc_id",
        )
        if segment.notes.batch == batch.version:  # else it waits to be materialized again
            seeds = pl.concat([*batch.batches(["doc_id"], rows=4096), facts.select("doc_id").clear()])
            found += missing(partition, seeds, facts, "doc_id")
    return Finding.of_breaches(found, f"{rows:,} rows", rows=rows)


def _facts(segment: Segment, form: UrlForm) -> pl.DataFrame:
    """Rows without bodies, with the digest of the body that is there and the id of the URL in this normal form."""
    schema = {name: RAW_PAGES[name] for name in _FACTS} | {"found_digest": pl.String(), "found_id": pl.String()}
    frames = [pl.DataFrame(schema=schema)]
    for frame in segment.batches([*_FACTS, "body"]):
        digests = [None if b is None else digest(b) for b in frame["body"]]
        ids = [_id(form, *row) for row in frame.select("url", "doc_id", "outcome").iter_rows()]
        found = [pl.Series("found_digest", digests, pl.String), pl.Series("found_id", ids, pl.String)]
        frames.append(frame.drop("body").with_columns(found).select(list(schema)))
    return pl.concat(frames)


def _id(form: UrlForm, url: str, stored: str, outcome: str) -> str | None:
    try:
        return doc_id(url, form)
    except InvalidUrl:
        return stored if outcome in ("invalid_url", "opted_out") else None


def fetch_success(store: Store, profile: HardwareProfile, partitions: Sequence[str]) -> Finding:
    """The share of pages that came, of those that were asked for, held ones and refused ones included."""
    outcomes, held = asked_for(store, partitions)
    total, came = sum(outcomes.values()), sum(outcomes[outcome] for outcome in CAME)
    if not total:
        return Finding(True, "no page was asked for")
    share = came / total
    reasons = ", ".join(f"{n:,} {outcome}" for outcome, n in outcomes.most_common() if outcome not in CAME)
    kept = f"{held:,} of these are held from before" if held else ""
    return Finding(
        share >= profile.checks.min_fetch_success,
        "; ".join(filter(None, (f"{came:,} of {total:,} pages came", reasons, kept))),
        {"share": round(share, 4), "bound": profile.checks.min_fetch_success, "asked_for": total, "held": held},
    )


def asked_for(store: Store, partitions: Sequence[str] | None = None) -> tuple[Counter[str], int]:
    """What asking for pages gave: how many by outcome, and how many of those that did not come are held from before.

    Documents that a seed carried are not asked for, nor are forgotten or withdrawn pages, and lines that are no URL.
    """
    rows = store.raw_pages.scan(partitions).filter(~IS_WITHDRAWN)
    counts = rows.group_by(CAME_OF_IT, held=HELD).len().collect()
    outcomes: Counter[str] = Counter()
    for outcome, _, n in counts.iter_rows():
        outcomes[outcome] += n
    for outcome in _NOT_ASKED_FOR:
        outcomes.pop(outcome, None)
    if outcomes["opted_out"]:
        forgotten = store.forgotten()
        urls = rows.filter(pl.col("outcome") == "opted_out").select("url").collect()["url"]
        outcomes["opted_out"] -= sum(forgotten.reason(url) is not None for url in urls)
    return +outcomes, int(counts.filter("held")["len"].sum())
