"""Documents that share most of their text and are all kept, because a guard of near/1 tells them apart.

Read from the pairs that the corpus was decided on. Bounded: pairs are streamed, and of the documents only those that
are shown are read.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from quarry_dagster.dedup import near
from quarry_dagster.report.charts import Count
from quarry_dagster.store import Corpus
from quarry_dagster.store.schemas import ACCEPTED

TELLING_APART = ("form", "head word", "numbers", "block", "short")
"""The guards that speak of texts of which most is common: what is `lost`, or of another `length`, is not near."""
MEMBERS = 10
"""So many documents of a family are named."""
_LOOKED_AT = 20
"""For one family so many documents are looked at, since most of those with many neighbours are of one family."""


@dataclass(frozen=True)
class Family:
    """The document that most others are near to, and these others."""

    doc_id: str
    others: int
    members: list[tuple[str, str]]
    """The first of the others: doc_id, and the guard that tells it apart."""


@dataclass(frozen=True)
class Families:
    """What the guards keep apart."""

    pairs: list[Count]
    """Pairs of kept texts by the guard that spoke first, the most frequent first."""
    largest: list[Family]
    """The document in the middle of one is in none of the others."""


def families(published: Corpus | None, corpus: pl.LazyFrame, n: int) -> Families:
    """The pairs of kept texts that guards tell apart, and the `n` largest families of them."""
    if published is None:
        return Families([], [])
    texts = published.texts().filter(ACCEPTED).select("doc_id", "text_digest")
    kept = texts.join(corpus.select("doc_id"), on="doc_id", how="semi").select("text_digest", "doc_id")
    spoke = pl.coalesce(_guard("left_guards"), _guard("right_guards"))
    documents = kept.group_by("text_digest").agg(pl.col("doc_id").min())  # mode annotate keeps equal texts
    apart = (
        published.pairs()
        .filter(pl.col("left_guards") != 0, pl.col("right_guards") != 0)
        .select("left", "right", guard=spoke)
        .filter(pl.col("guard").is_not_null())
        .join(documents.rename({"doc_id": "left_id"}), left_on="left", right_on="text_digest")
        .join(documents.rename({"doc_id": "right_id"}), left_on="right", right_on="text_digest")
    )
    counts = apart.group_by("guard").agg(n=pl.len()).collect(engine="streaming")
    ends = (("left_id", "right_id"), ("right_id", "left_id"))
    sides = pl.concat([apart.select("guard", doc_id=one, other=two) for one, two in ends])
    sizes = sides.group_by("doc_id").agg(n=pl.len()).collect(engine="streaming")
    sizes = sizes.sort("n", "doc_id", descending=[True, False]).head(n * _LOOKED_AT)
    largest = _unrelated(sizes["doc_id"], sides)[:n]
    members = (
        sides.filter(pl.col("doc_id").is_in(largest))
        .group_by("doc_id")
        .agg(pl.col("other", "guard").bottom_k_by("other", MEMBERS))
        .collect(engine="streaming")
    )
    named = {doc_id: sorted(zip(others, guards, strict=True)) for doc_id, others, guards in members.iter_rows()}
    others = dict(sizes.iter_rows())
    counted = counts.sort("n", "guard", descending=[True, False])
    return Families([Count(*row) for row in counted.iter_rows()], [Family(i, others[i], named[i]) for i in largest])


def _unrelated(doc_ids: pl.Series, sides: pl.LazyFrame) -> list[str]:
    """Of these documents, in order, those that are not near an earlier one: they are the middles of other families."""
    is_there = pl.col("doc_id").is_in(doc_ids.implode()) & pl.col("other").is_in(doc_ids.implode())
    near_to: dict[str, set[str]] = {}
    for doc_id, other in sides.filter(is_there).select("doc_id", "other").collect(engine="streaming").iter_rows():
        near_to.setdefault(doc_id, set()).add(other)
    found: list[str] = []
    for doc_id in doc_ids:
        if near_to.get(doc_id, set()).isdisjoint(found):
            found.append(doc_id)
    return found


def _guard(bits: str) -> pl.Expr:
    """The guard of these bits, null unless it tells near texts apart."""
    return pl.col(bits).replace_strict({near.BITS[g]: g for g in TELLING_APART}, default=None, return_dtype=pl.String)
