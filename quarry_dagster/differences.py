"""What changed between two published corpora: documents that came, went or differ, each with one cause.

All of it is read from the log, from the layers that corpora name and from the segments that they were made from; no
text is compared but by its digest.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import polars as pl

from quarry_dagster.errors import ConfigError
from quarry_dagster.reader import root_of
from quarry_dagster.stages.corpus import causes as why
from quarry_dagster.store import Corpus, Store
from quarry_dagster.store.schemas import ACCEPTED, EXTRACTED_TEXT, HOST
from quarry_dagster.store.state import CORPUS

CAUSES = (
    "seed added",
    "page came",
    "page changed",
    "page gone",
    "opted out",
    "no longer in a mirror",
    "takedown",
    "partition deleted",
    "witness came",
    "witness went",
    "settings changed",
)
"""Why a document came, went or differs."""

CHANGES = pl.Schema(
    {
        "doc_id": pl.String,
        "url": pl.String,
        "host": pl.String,
        "language": pl.String,
        "change": pl.String,  # added, changed or removed
        "cause": pl.String,  # one of CAUSES
        "detail": pl.String,
    }
)
_COMPARED = ("title", "author", "date", "language", "text_digest", "metadata")
_FACTS = ("doc_id", "url", "page_digest", "outcome", *_COMPARED)


def changes(
    data: str | os.PathLike[str] | None = None, *, since: int | str, until: int | str | None = None
) -> pl.DataFrame:
    """The documents that were added, changed or removed between two published corpora.

    Args:
        data: the data root; `$QUARRY_DATA` where it is not given.
        since: number or tag of the earlier corpus (`quarry tag` lists those that are kept).
        until: of the later one; by default the current one.

    Returns:
        A row a document, schema CHANGES, sorted by change and URL.

    Raises:
        ConfigError: no data root is named, or a corpus is not kept.
        StoreError: there is no such folder, or a file in it is damaged.
    """
    store = Store.existing(root_of(data))
    later = store.files.state().currents.get(CORPUS) if until is None else until
    if later is None:
        raise ConfigError(f"there is no corpus in {store.files.root}: quarry run makes one")
    return between(store, store.corpus(since), store.corpus(later))


def between(store: Store, before: Corpus, after: Corpus) -> pl.DataFrame:
    """As :func:`changes`, of two corpora that are there."""
    kept_before, kept_after = (corpus.kept().select("doc_id", "partition").collect() for corpus in (before, after))
    gone = kept_before.join(kept_after, on="doc_id", how="anti")
    came = kept_after.join(kept_before, on="doc_id", how="anti")
    stayed = kept_after.join(kept_before, on="doc_id", how="semi")
    paths = before.inputs.texts
    touched = [p for p, path in after.inputs.texts.items() if paths.get(p) != path]
    stayed = stayed.filter(pl.col("partition").is_in(touched))
    is_redrawn = _is_redrawn(before, after)
    found = [
        _removed(store, before, after, gone, is_redrawn=is_redrawn),
        _added(store, before, after, came, is_redrawn=is_redrawn),
        _changed(store, before, after, stayed),
    ]
    return pl.concat(frame.select(CHANGES.names()).cast(dict(CHANGES.items())) for frame in found).sort("change", "url")


def _is_redrawn(before: Corpus, after: Corpus) -> bool:
    """Whether the later corpus was decided by other rules or settings."""
    was, now = before.inputs, after.inputs
    decided = [(each.settings, each.rules, each.evidence, each.policy) for each in (was, now)]
    return decided[0] != decided[1]


def _first_rules(corpus: Corpus) -> pl.DataFrame:
    """The documents that the quality policy of a corpus keeps out: columns doc_id and rule, the first that it fails."""
    rules = corpus.filtered().select("doc_id", "rule").collect()
    return rules.unique("doc_id", keep="first", maintain_order=True)


def _facts(store: Store, paths: Mapping[str, str], rows: pl.DataFrame) -> pl.DataFrame:
    """The rows of `extracted_text` of these documents, as segments of these paths by partition have them."""
    named = [paths[p] for p in rows["partition"].unique().sort() if p in paths]
    table = store.files.scan(named, EXTRACTED_TEXT).select(*_FACTS, host=HOST)
    return table.join(rows.lazy().select("doc_id"), on="doc_id", how="semi").collect()


def _removed(store: Store, before: Corpus, after: Corpus, gone: pl.DataFrame, *, is_redrawn: bool) -> pl.DataFrame:
    facts = _facts(store, before.inputs.texts, gone)
    commit = store.commit_of(after.number)
    batches = store.batches.segments(commit).paths()
    existing = [p for p in gone["partition"].unique().sort() if p in batches]
    pages, texts = (table.segments(commit).paths() for table in (store.raw_pages, store.extracted_text))
    decisions = after.decisions().select("removed_id", "kept_id", "kept_url", "level").collect()
    rows = gone.join(facts, on="doc_id", how="left")
    found = why.causes(
        rows.select("doc_id", "partition", "url"),
        decisions.select("level", doc_id="removed_id"),
        _first_rules(after),
        store.files.scan([pages[p] for p in existing if p in pages], store.raw_pages.schema),
        store.files.scan([texts[p] for p in existing if p in texts], EXTRACTED_TEXT),
        existing,
        store.forgotten(),
    )
    now = _facts(store, texts, gone).select("doc_id", now_text="text_digest", now_page="page_digest")
    rows = rows.join(found.select("doc_id", "is_gone", said="cause"), on="doc_id", how="left").join(
        now, on="doc_id", how="left"
    )
    rows = rows.join(decisions, left_on="doc_id", right_on="removed_id", how="left")
    said = pl.col("said")
    is_other_text = pl.col("now_text").ne_missing(pl.col("text_digest"))
    is_other_page = pl.col("now_page").ne_missing(pl.col("page_digest"))
    as_duplicate = _one_of(is_redrawn, is_other_text, "witness came")
    cause = (
        pl.when(said == why.DELETED)
        .then(pl.lit("partition deleted"))
        .when(said == why.FORGOTTEN)
        .then(pl.lit("takedown"))
        .when(said == why.OPTED_OUT)
        .then(pl.lit("opted out"))
        .when(said == why.UNNAMED)
        .then(pl.lit("no longer in a mirror"))
        .when(said.str.starts_with(why.DUPLICATE))
        .then(as_duplicate)
        .when(pl.col("is_gone"))
        .then(pl.lit("page gone"))
        .when(is_other_page)
        .then(pl.lit("page changed"))
        .otherwise(pl.lit("settings changed"))
    )
    of = pl.when(pl.col("kept_url").is_not_null()).then(pl.format("{} of {}", said, "kept_url")).otherwise(said)
    return rows.with_columns(change=pl.lit("removed"), cause=cause, detail=of)


def _added(store: Store, before: Corpus, after: Corpus, came: pl.DataFrame, *, is_redrawn: bool) -> pl.DataFrame:
    facts = _facts(store, after.inputs.texts, came)
    commit = store.commit_of(before.number)
    batches = store.batches.segments(commit).paths()
    seeds = store.files.scan(
        [batches[p] for p in came["partition"].unique().sort() if p in batches], store.batches.schema
    )
    named = seeds.select("doc_id", was_named=pl.lit(True)).join(came.lazy(), on="doc_id", how="semi").collect()
    texts = store.extracted_text.segments(commit).paths()
    was = _facts(store, texts, came).select(
        "doc_id", was_text="text_digest", was_page="page_digest", was_outcome="outcome", was_accepted=ACCEPTED
    )
    decisions = before.decisions().select("removed_id", "level", was_kept_url="kept_url").collect()
    rows = came.join(facts, on="doc_id", how="left").join(named.unique("doc_id"), on="doc_id", how="left")
    rows = rows.join(was, on="doc_id", how="left").join(decisions, left_on="doc_id", right_on="removed_id", how="left")
    rows = rows.join(_first_rules(before), on="doc_id", how="left")
    is_other_text = pl.col("was_text").ne_missing(pl.col("text_digest"))
    is_other_page = pl.col("was_page").ne_missing(pl.col("page_digest"))
    cause = (
        pl.when(pl.col("was_named").is_null())
        .then(pl.lit("seed added"))
        .when(pl.col("level").is_not_null())
        .then(_one_of(is_redrawn, is_other_text, "witness went"))
        .when(pl.col("was_outcome").is_null() | (pl.col("was_outcome") == "not_fetched"))
        .then(pl.lit("page came"))
        .when(is_other_page)
        .then(pl.lit("page changed"))
        .otherwise(pl.lit("settings changed"))
    )
    detail = (
        pl.when(pl.col("was_named").is_null())
        .then(pl.lit(None, pl.String))
        .when(pl.col("level").is_not_null())
        .then(pl.format("was a duplicate by level {} of {}", "level", "was_kept_url"))
        .when(pl.col("rule").is_not_null())
        .then(pl.format("was kept out by rule {}", "rule"))
        .when(~pl.col("was_accepted"))
        .then(pl.format("was {}", "was_outcome"))
    )
    return rows.with_columns(change=pl.lit("added"), cause=cause, detail=detail)


def _changed(store: Store, before: Corpus, after: Corpus, stayed: pl.DataFrame) -> pl.DataFrame:
    was = _facts(store, before.inputs.texts, stayed)
    rows = _facts(store, after.inputs.texts, stayed).join(was, on="doc_id", suffix="_before")
    differs = [pl.col(name).ne_missing(pl.col(f"{name}_before")) for name in _COMPARED]
    rows = rows.filter(pl.any_horizontal(differs))
    is_other_page = pl.col("page_digest").ne_missing(pl.col("page_digest_before"))
    names = ["text" if name == "text_digest" else name for name in _COMPARED]
    said = [pl.when(differs[i]).then(pl.lit(name)) for i, name in enumerate(names)]
    return rows.with_columns(
        change=pl.lit("changed"),
        cause=pl.when(is_other_page).then(pl.lit("page changed")).otherwise(pl.lit("settings changed")),
        detail=pl.concat_str(said, separator=", ", ignore_nulls=True),
    )


def _one_of(is_redrawn: bool, is_other_text: pl.Expr, otherwise: str) -> pl.Expr:
    """The cause of what became of a duplicate: its own text, the rules, or a document that it is compared with."""
    rest = "settings changed" if is_redrawn else otherwise
    return pl.when(is_other_text).then(pl.lit("page changed")).otherwise(pl.lit(rest))


def counted(found: pl.DataFrame, by: Sequence[str] = ("change", "cause")) -> pl.DataFrame:
    """How many documents there are of each kind: the columns `by` and `documents`, the most first."""
    return found.group_by(by).agg(documents=pl.len()).sort("documents", *by, descending=[True, *[False] * len(by)])
