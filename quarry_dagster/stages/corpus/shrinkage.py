"""What a corpus would lose: a corpus that shrinks beyond a bound is not published until somebody says that it is meant.

A new corpus is compared with the one that stands, and with the largest of the last thirty days from which nobody
accepted a loss, so that erosion in small steps is seen as well. Every document that would not be kept has a cause.
Some causes are meant: a takedown, an opt-out, a deleted partition, a setting that its user changed and confirmed. A
document whose place another one takes that was not there before is no loss. All others count.

Why so: "A corpus that shrinks is not published until it is meant" in docs/decisions.md.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import polars as pl

from quarry_dagster.plural import plural
from quarry_dagster.stages.corpus import causes as why
from quarry_dagster.stages.corpus.filtering import Judged
from quarry_dagster.store import Corpus, Past, Root, Store
from quarry_dagster.store.corpus import kept_layers
from quarry_dagster.store.schemas import HOST

REMEMBERED = timedelta(days=30)
"""So long a corpus is remembered that losses are counted against."""
FEW = 20
"""So many documents may leave, as long as half of the corpus stays."""
FEWER = 9
"""So many documents may leave, whatever their share."""
LARGE_HOST = 50
"""A host with so many documents must not vanish."""
_SHOWN = 5

_LOST = pl.Schema({"doc_id": pl.String, "host": pl.String, "cause": pl.String, "is_meant": pl.Boolean})


@dataclass(frozen=True)
class Shrinkage:
    """What a corpus would lose of the one that it is compared with."""

    before: int = 0
    """Documents of the corpus that it is compared with."""
    of: str = ""
    """The last day on which that one stood, ISO 8601, UTC."""
    lost: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=_LOST))
    """A row a document that would leave and counts, or that leaves as it is meant: doc_id, host, cause, is_meant."""
    vanishing: Sequence[str] = ()
    """Large hosts of which no document would be left, and whose loss is not meant."""
    bound: float = 1.0
    """The share of documents that may leave."""
    is_empty: bool = False
    """Whether no document would be left."""
    unconfirmed: frozenset[str] = frozenset()
    """Sections of the settings that differ from those that corpus was made with, and that nobody confirmed."""

    @property
    def counted(self) -> pl.DataFrame:
        """The rows of `lost` that nobody meant."""
        return self.lost.filter(~pl.col("is_meant"))

    @property
    def is_too_much(self) -> bool:
        """Whether the corpus is to be refused."""
        counted = self.counted.height
        others = self.before - (self.lost.height - counted)  # what is meant makes no room for what is not
        is_large = counted > FEW and counted > self.bound * others
        is_most = counted > FEWER and counted > others / 2
        return counted > 0 and (is_large or is_most or bool(self.vanishing) or self.is_empty)

    def causes(self, *, meant: bool) -> Counter[str]:
        """How many documents leave by each cause."""
        return Counter(self.lost.filter(is_meant=meant)["cause"].to_list())

    @property
    def refusal(self) -> str:
        """What is said where the corpus is refused, with the one way to say that it is meant, and the way back."""
        sections = " and ".join(sorted(self.unconfirmed))
        back = (
            f" The settings in {sections} are others than it was made with: to go back, name the profile of before "
            "(--profile); if they are meant, --yes says so."
            if sections
            else ""
        )
        return (
            f"not published, the corpus of before stands: {self.summary}. If it is meant, say so: quarry run "
            "--accept-shrink (with --dedup-only no page is asked for, so that nothing more is lost by then), or in "
            f"the UI's launchpad ops: {{deduped_corpus: {{config: {{accept_shrink: true}}}}}}.{back}"
        )

    @property
    def summary(self) -> str:
        """The loss in a sentence or two, with causes and hosts."""
        counted, meant = self.counted, self.causes(meant=True)
        if not self.before:
            return "there is no corpus of before to compare with"
        of = f"of {plural(self.before, 'document')} leave that the corpus of {self.of} had"
        if meant and not counted.height:
            return f"{sum(meant.values()):,} {of}, as it was meant: {_listed(meant)}"
        parts = [f"{counted.height:,} {of}"]
        if counted.height:
            hosts = Counter(counted["host"].fill_null("no host").to_list())
            parts.append(f"causes: {_listed(self.causes(meant=False))}; hosts: {_listed(hosts)}")
        if self.vanishing:
            parts.append(f"nothing is left of {', '.join(self.vanishing[:_SHOWN])}")
        if self.is_empty and counted.height:
            parts.append("the corpus is left empty")
        if meant:
            parts.append(f"besides, {sum(meant.values()):,} leave as it was meant: {_listed(meant)}")
        return "; ".join(parts)


def compare(
    store: Store, published: Corpus | None, kept: pl.DataFrame, decisions: pl.DataFrame, judged: Judged, bound: float
) -> Shrinkage:
    """What a new corpus would lose.

    Args:
        published: the corpus that stands.
        kept: the documents that the new one would keep, schema KEPT.
        decisions: those that it would remove, schema DECISIONS.
        judged: what its policy says.
        bound: the share of documents that may leave.
    """
    if published is None:
        return Shrinkage()
    now = datetime.now(UTC)
    largest = [past for past in published.larger if _is_remembered(past, now)][:1]
    pasts = [*largest, past_of(published, now)]
    found = [_lost(store, past, kept, decisions, _kept_out(judged), bound) for past in pasts]
    return next((shrinkage for shrinkage in found if shrinkage.is_too_much), found[0])


def remembered(store: Store, published: Corpus | None, documents: int, now: datetime) -> list[Past]:
    """What a new corpus of so many documents remembers of those before: each larger than all after it, one a day.

    One that was made with settings that somebody changed since, and confirmed, is remembered no longer: what it lost by
    them was meant once.
    """
    if published is None:
        return []
    standing, root = past_of(published, now), store.root()
    is_todays = any(past.stood_until[:10] == standing.stood_until[:10] for past in published.larger)
    earlier = [*published.larger, *([] if is_todays else [standing])]
    larger = (past for past in earlier if past.documents > documents and _is_remembered(past, now))
    return [past for past in larger if not changed(past, root)]


def past_of(published: Corpus, now: datetime) -> Past:
    """What is remembered of the corpus that stands until now."""
    return Past(
        stood_until=now.isoformat(timespec="seconds"),
        documents=published.kept_documents,
        kept=published.layers.kept,
        made_with=published.made_with,
    )


def changed(past: Past, root: Root) -> set[str]:
    """The sections of the settings that their user changed since, and confirmed."""
    return _others(past, root) & {*root.confirmed}


def _others(past: Past, root: Root) -> set[str]:
    """The sections of the settings that are others than a corpus was made with."""
    now = root.made_with
    return {section for section, was in past.made_with.items() if was != now.get(section)}


def _kept_out(judged: Judged) -> pl.DataFrame:
    """The documents that the policy keeps out: doc_id, and the first rule, null where it waits for signals."""
    filtered = judged.filtered.select("doc_id", "rule").unique("doc_id", keep="first", maintain_order=True)
    return pl.concat([filtered, judged.waiting.to_frame("doc_id").with_columns(rule=pl.lit(None, pl.String))])


def _lost(
    store: Store, past: Past, kept: pl.DataFrame, decisions: pl.DataFrame, kept_out: pl.DataFrame, bound: float
) -> Shrinkage:
    """What a new corpus would lose of one before it."""
    before = kept_layers(store.files).read(past.kept).select("doc_id", "partition").collect()
    gone = before.join(kept, on="doc_id", how="anti")
    root = store.root()
    meant = changed(past, root)
    found = Shrinkage(
        past.documents,
        past.stood_until[:10],
        bound=bound,
        is_empty=kept.is_empty(),
        unconfirmed=frozenset(_others(past, root) - meant),
    )
    if gone.is_empty():
        return found
    urls = store.batches.scan(gone["partition"].unique()).select("doc_id", "url", HOST.alias("host"))
    hosts = urls.join(gone.lazy().select("doc_id"), on="doc_id", how="semi").collect()
    causes = _causes(store, gone.join(hosts, on="doc_id", how="left"), before, decisions, kept_out, meant)
    lost = causes.filter(pl.col("cause").is_not_null()).select(_LOST.names())
    return replace(found, lost=lost, vanishing=_vanishing(store, lost, kept))


def _is_remembered(past: Past, now: datetime) -> bool:
    return now - datetime.fromisoformat(past.stood_until) < REMEMBERED


def _causes(
    store: Store,
    gone: pl.DataFrame,
    before: pl.DataFrame,
    decisions: pl.DataFrame,
    kept_out: pl.DataFrame,
    meant_sections: set[str],
) -> pl.DataFrame:
    """The documents that would leave (doc_id, partition, url, host), each with its cause and whether it is meant.

    The cause is null for a document whose place a new one takes.
    """
    batches = store.batches.segments()
    existing = [partition for partition in gone["partition"].unique() if partition in batches]
    removed = _as_duplicates(decisions, before)
    found = why.causes(
        gone,
        removed,
        kept_out,
        store.raw_pages.scan(existing),
        store.extracted_text.scan(existing),
        existing,
        store.forgotten(),
    ).join(removed.select("doc_id", "is_replaced"), on="doc_id", how="left")

    def setting(section: str) -> pl.Expr:
        return pl.lit(section in meant_sections)

    cause = pl.col("cause")
    is_refused = pl.col("page").is_in(["too_large", "unsupported_type"]).fill_null(False)
    is_meant = (
        cause.is_in([why.DELETED, why.FORGOTTEN, why.OPTED_OUT, why.UNNAMED])
        | (cause.str.starts_with(why.DUPLICATE) & (setting("deduplication") | setting("embedding")))
        | (cause.str.starts_with(why.FAILED) & setting("quality"))
        | (pl.col("is_gone") & is_refused & setting("crawl"))
        | (cause.str.starts_with(why.TEXT) & (cause != why.NOT_EMBEDDED) & setting("extraction"))
    )
    is_replaced = cause.str.starts_with(why.DUPLICATE) & pl.col("is_replaced").fill_null(False)
    return found.select(
        "doc_id",
        "host",
        cause=pl.when(~is_replaced).then(cause),
        is_meant=is_meant | is_replaced,
    )


def _as_duplicates(decisions: pl.DataFrame, before: pl.DataFrame) -> pl.DataFrame:
    """The removed documents: doc_id, level, and `is_replaced`: it is the first in whose place a new one is kept.

    A new document takes the place of one: where it removes many, the others are lost.
    """
    removed = decisions.select(doc_id="removed_id", level="level", kept_id="kept_id").sort("doc_id")
    removed = removed.join(before.select("doc_id"), on="doc_id", how="semi")
    is_new = ~pl.col("kept_id").is_in(before["doc_id"].implode())
    return removed.select("doc_id", "level", is_replaced=is_new & pl.col("kept_id").is_first_distinct())


def _vanishing(store: Store, lost: pl.DataFrame, kept: pl.DataFrame) -> list[str]:
    """The hosts that lose so many documents that nobody meant, and of which none would be left."""
    counted = lost.filter(~pl.col("is_meant")).group_by("host").len()
    large = counted.filter(pl.col("len") >= LARGE_HOST)["host"].drop_nulls()
    if large.is_empty():
        return []
    urls = store.batches.scan().select("doc_id", HOST.alias("host")).filter(pl.col("host").is_in(large.implode()))
    left = urls.join(kept.lazy().select("doc_id"), on="doc_id", how="semi").select("host").unique().collect()
    return sorted(set(large) - set(left["host"]))


def _listed(counts: Mapping[str, int]) -> str:
    shown = Counter(counts).most_common(_SHOWN)
    more = f" and {len(counts) - len(shown):,} more" if len(counts) > len(shown) else ""
    return ", ".join(f"{n:,} {name}" for name, n in shown) + more
