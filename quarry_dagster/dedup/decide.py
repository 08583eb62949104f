"""Which documents are kept, and by which rule the others are removed.

Documents are taken in one total order. A document that satisfies a rule against a document already kept is
removed, with that one as its witness; any other is kept. So clusters are stars around kept documents (never
chains), and the result depends on the documents alone, not on the order in which they were crawled.

All rules look from the removed document to the kept one: what is lost is what the kept one does not contain.

Why so: "Containment, and how evenly it is spread" and "`even-containment` asks for .60" in docs/decisions.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from quarry_dagster.profiles.settings import Deduplication

URL_RULE = "same-page-url/1"
EXACT_RULE = "text-digest/1"
CONTAINED_RULE = "contained/1"
NEAR_RULE = "containment/1"
EVEN_RULE = "even-containment/2"
COSINE_RULE = "cosine/1"

RULES = (URL_RULE, EXACT_RULE, CONTAINED_RULE, NEAR_RULE, EVEN_RULE, COSINE_RULE)

CONTAINED = 0.99
"""contained: so much of the removed text's shingles stand in the kept text."""
CONTAINMENT = 0.7
"""containment: the same at this share, wherever they stand."""
EVEN_CONTAINMENT = 0.6
EVEN_PART = 0.3
"""even-containment: a share of EVEN_CONTAINMENT is enough where of each eighth of the removed text at least EVEN_PART
stands in the kept one: edits all over a text, as opposed to one page template around two bodies."""


@dataclass(frozen=True)
class Rule:
    """One rule: it names the level of a removal, and the least that each score must be."""

    level: str
    name: str
    least: Mapping[str, float]

    @property
    def holds(self) -> pl.Expr:
        """Whether a pair's scores, seen from the text that would be removed, satisfy the rule."""
        return pl.all_horizontal(pl.col(score) >= bound for score, bound in self.least.items())


def rules(settings: Deduplication) -> list[Rule]:
    """The rules of a mode that compare two texts, the surest first."""
    found = [Rule("near", CONTAINED_RULE, {"containment": CONTAINED})]
    if settings.mode != "strict":
        found.append(Rule("near", NEAR_RULE, {"containment": CONTAINMENT}))
        found.append(Rule("near", EVEN_RULE, {"containment": EVEN_CONTAINMENT, "worst_part": EVEN_PART}))
    if settings.mode == "aggressive":
        found.append(Rule("semantic", COSINE_RULE, {"cosine": settings.similarity_threshold}))
    return found


def verdicts(scores: pl.DataFrame, settings: Deduplication) -> pl.DataFrame:
    """The level and the rule by which each pair removes a text, both null where no rule holds and both stay.

    All that is removed for its scores is removed by this function: nowhere else are scores compared with the bounds
    of a rule.

    Args:
        scores: columns cosine, jaccard, containment, worst_part (Float64), as seen from the text that would be
            removed; others stay.

    Returns:
        The same rows with the columns `level` and `rule` (String).
    """
    level, rule = pl.lit(None, pl.String), pl.lit(None, pl.String)
    for each in reversed(rules(settings)):
        level = pl.when(each.holds).then(pl.lit(each.level)).otherwise(level)
        rule = pl.when(each.holds).then(pl.lit(each.name)).otherwise(rule)
    return scores.with_columns(level=level, rule=rule)


def decide(documents: pl.DataFrame, pairs: pl.DataFrame, settings: Deduplication) -> pl.DataFrame:
    """Decisions (schema DECISIONS), a row a removed document; all other documents are kept.

    Args:
        documents: schema DOCUMENTS, a row a document.
        pairs: schema PAIRS; pairs of texts that no document has are ignored.
    """
    sides = _sides(pairs, settings)
    rivals = sides.filter(pl.col("rule").is_not_null())
    # Most documents share neither page nor text with another and are in no pair: they are kept, whatever the rest.
    named = pl.concat([rivals["text"], rivals["other"]]).unique().to_frame("text_digest")
    contested = documents.filter(
        pl.col("page_url").is_duplicated()
        | pl.col("text_digest").is_duplicated()
        | pl.col("text_digest").is_in(named["text_digest"].implode())
    )
    ordered = in_order(contested, settings).with_columns(
        text=pl.col("text_digest").rank("dense"), page=pl.col("page_url").rank("dense")
    )
    removed, kept = _walk(ordered, rivals)
    columns = ordered.select("doc_id", "url", "page_url", "text_digest", "own_id")
    scores = ("cosine", "jaccard", "containment")
    found = pl.concat([columns[removed], columns[kept].select(pl.all().name.suffix("_kept"))], how="horizontal").join(
        sides, left_on=["text_digest", "text_digest_kept"], right_on=["text", "other"], how="left"
    )
    same_page = pl.col("page_url") == pl.col("page_url_kept")
    same_text = pl.col("text_digest") == pl.col("text_digest_kept")
    return found.select(
        removed_id="doc_id",
        kept_id="doc_id_kept",
        level=pl.when(same_page).then(pl.lit("url")).when(same_text).then(pl.lit("exact")).otherwise("level"),
        rule=pl.when(same_page).then(pl.lit(URL_RULE)).when(same_text).then(pl.lit(EXACT_RULE)).otherwise("rule"),
        **{s: pl.when(same_text).then(1.0).otherwise(s) for s in scores},
        removed_url="url",
        kept_url="url_kept",
        removed_own_id="own_id",
        kept_own_id="own_id_kept",
    )


def _sides(pairs: pl.DataFrame, settings: Deduplication) -> pl.DataFrame:
    """Each pair (schema PAIRS) from both sides: columns text, other, the scores for removing `text`, level, rule."""
    sides = [
        pairs.select(
            "cosine",
            "jaccard",
            text=text,
            other=other,
            containment=f"{text}_in_{other}",
            worst_part=f"{text}_worst_part",
        )
        for text, other in (("left", "right"), ("right", "left"))
    ]
    return verdicts(pl.concat(sides), settings)


def _walk(ordered: pl.DataFrame, rivals: pl.DataFrame) -> tuple[list[int], list[int]]:
    """Walk the documents in the total order; returns the rows of the removed ones, and of those they are removed for.

    Args:
        ordered: documents in that order, with the columns `text` and `page`: equal numbers for equal ones.
        rivals: pairs from both sides (see :func:`_sides`) that a rule holds for.
    """
    rows = ordered.select("text_digest", "text").with_row_index("row")
    texts = rows.group_by("text_digest", "text").agg(first=pl.col("row").min(), last=pl.col("row").max())
    partners = (
        rivals.join(texts, left_on="text", right_on="text_digest", suffix="_number")
        .join(texts, left_on="other", right_on="text_digest", suffix="_of_other")
        .filter(pl.col("first_of_other") < pl.col("last"))  # one that comes behind all of a text removes none of it
        .group_by("text_number")
        .agg("text_of_other", is_semantic=pl.col("level") != "near")
    )
    partners_of = {text: (others, semantic) for text, others, semantic in partners.iter_rows()}
    by_page: dict[int, int] = {}  # rows of the kept documents
    by_text: dict[int, int] = {}
    removed, kept = [], []
    for row, (page, text) in enumerate(zip(ordered["page"].to_list(), ordered["text"].to_list(), strict=True)):
        witness = by_page.get(page)
        if witness is None:
            witness = by_text.get(text)
        if witness is None and text in partners_of:
            # Of the kept texts that a rule names, the first in the total order; lexical before semantic.
            found = [(semantic, by_text[t]) for t, semantic in zip(*partners_of[text], strict=True) if t in by_text]
            witness = min(found)[1] if found else None
        if witness is None:
            by_page[page] = by_text[text] = row
        else:
            removed.append(row)
            kept.append(witness)
    return removed, kept


def in_order(documents: pl.DataFrame, settings: Deduplication) -> pl.DataFrame:
    """Documents in the total order of `settings.keep`; doc_id always comes last, so that there are no ties."""
    keys = {"longest": -pl.col("word_count"), "earliest": pl.col("date"), "doc_id": pl.col("doc_id")}
    return documents.sort(*(keys[k] for k in settings.keep), "doc_id", nulls_last=True)
