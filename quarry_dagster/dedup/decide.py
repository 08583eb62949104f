"""Which documents are kept, and by which rule the others are removed.

Documents are taken in one total order. A document that satisfies a rule against a document already kept is
removed, with that one as its witness; any other is kept. So clusters are stars around kept documents (never
chains), and the result depends on the documents alone, not on the order in which they were crawled.

All rules look from the removed document to the kept one: what is lost is what the kept one does not contain.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import polars as pl

from quarry_dagster.profiles import Deduplication

URL_RULE = "same-page-url/1"
EXACT_RULE = "text-digest/1"
CONTAINED_RULE = "contained/1"
NEAR_RULE = "containment/1"
EVEN_RULE = "even-containment/1"
COSINE_RULE = "cosine/1"

RULES = (URL_RULE, EXACT_RULE, CONTAINED_RULE, NEAR_RULE, EVEN_RULE, COSINE_RULE)

CONTAINED = 0.99
"""contained: so much of the removed text's shingles stand in the kept text."""
CONTAINMENT = 0.7
"""containment: the same at this share, wherever they stand."""
EVEN_CONTAINMENT = 0.55
EVEN_PART = 0.3
"""even-containment: fewer are enough where every eighth of the removed text has at least EVEN_PART of its own:
edits all over a text, as opposed to one page template around two bodies."""

DOCUMENTS = pl.Schema(
    {
        "doc_id": pl.String,
        "url": pl.String,
        "page_url": pl.String,  # same_page_url of the final URL
        "text_digest": pl.String,
        "word_count": pl.Int64,
        "date": pl.String,  # of publication, ISO 8601, as the page states it
    }
)

PAIRS = pl.Schema(
    {
        "left": pl.String,  # text digests, left < right
        "right": pl.String,
        "cosine": pl.Float64,
        "jaccard": pl.Float64,
        "left_in_right": pl.Float64,
        "right_in_left": pl.Float64,
        "left_worst_part": pl.Float64,
        "right_worst_part": pl.Float64,
    }
)
"""Scores of two distinct texts, see :mod:`quarry_dagster.dedup.verify`."""

DECISIONS = pl.Schema(
    {
        "removed_id": pl.String,
        "kept_id": pl.String,
        "level": pl.String,
        "rule": pl.String,
        "cosine": pl.Float64,
        "jaccard": pl.Float64,
        "containment": pl.Float64,
        "removed_url": pl.String,
        "kept_url": pl.String,
    }
)


@dataclass(frozen=True, slots=True)
class Evidence:
    """Scores of a pair as seen from the document that would be removed."""

    cosine: float
    jaccard: float
    containment: float  # of its shingles in the other text
    worst_part: float


Rule = Callable[[Evidence], tuple[str, str] | None]


def rule_for(settings: Deduplication) -> Rule:
    """The rule of a mode: from evidence to ``(level, rule)``, or None where both documents stay."""

    def decide(e: Evidence) -> tuple[str, str] | None:
        if e.containment >= CONTAINED:
            return "near", CONTAINED_RULE
        if settings.mode == "strict":
            return None
        if e.containment >= CONTAINMENT:
            return "near", NEAR_RULE
        if e.containment >= EVEN_CONTAINMENT and e.worst_part >= EVEN_PART:
            return "near", EVEN_RULE
        if settings.mode == "aggressive" and e.cosine >= settings.similarity_threshold:
            return "semantic", COSINE_RULE
        return None

    return decide


def decide(documents: pl.DataFrame, pairs: pl.DataFrame, settings: Deduplication) -> pl.DataFrame:
    """Decisions (schema DECISIONS), a row a removed document; all other documents are kept.

    Args:
        documents: schema DOCUMENTS, a row a document.
        pairs: schema PAIRS; pairs of texts that no document has are ignored.
    """
    partners = _partners(pairs, rule_for(settings))
    by_page: dict[str, tuple[str, str, str]] = {}  # of the kept documents: (doc_id, url, text digest)
    by_text: dict[str, tuple[str, str, str]] = {}
    rank: dict[str, int] = {}  # of the kept texts in the total order
    out: list[tuple[object, ...]] = []
    columns = ("doc_id", "url", "page_url", "text_digest")
    for i, (doc_id, url, page, text) in enumerate(_in_order(documents, settings).select(columns).iter_rows()):
        found = partners.get(text, {})
        if page in by_page:
            kept = by_page[page]
            scores = (1.0, 1.0, 1.0) if kept[2] == text else _scores(found.get(kept[2]))
            out.append((doc_id, kept[0], "url", URL_RULE, *scores, url, kept[1]))
        elif text in by_text:
            kept = by_text[text]
            out.append((doc_id, kept[0], "exact", EXACT_RULE, 1.0, 1.0, 1.0, url, kept[1]))
        elif witness := _best(found, rank):
            kept, (evidence, verdict) = by_text[witness], found[witness]
            assert verdict is not None
            out.append((doc_id, kept[0], *verdict, *_scores((evidence, verdict)), url, kept[1]))
        else:
            by_page[page] = by_text[text] = (doc_id, url, text)
            rank[text] = i
    return pl.DataFrame(out, schema=DECISIONS, orient="row")


_Partners = dict[str, dict[str, tuple[Evidence, tuple[str, str] | None]]]


def _partners(pairs: pl.DataFrame, rule: Rule) -> _Partners:
    """For each text its partners, with the evidence and verdict for removing the text in their favour."""
    out: _Partners = {}
    for left, right, cosine, jaccard, l_in_r, r_in_l, l_worst, r_worst in pairs.select(PAIRS.names()).iter_rows():
        for text, other, evidence in (
            (left, right, Evidence(cosine, jaccard, l_in_r, l_worst)),
            (right, left, Evidence(cosine, jaccard, r_in_l, r_worst)),
        ):
            out.setdefault(text, {})[other] = (evidence, rule(evidence))
    return out


def _in_order(documents: pl.DataFrame, settings: Deduplication) -> pl.DataFrame:
    """Documents in the total order of `settings.keep`; doc_id always comes last, so that there are no ties."""
    keys = {"longest": -pl.col("word_count"), "earliest": pl.col("date"), "doc_id": pl.col("doc_id")}
    return documents.sort(*(keys[k] for k in settings.keep), "doc_id", nulls_last=True)


def _best(partners: dict[str, tuple[Evidence, tuple[str, str] | None]], rank: dict[str, int]) -> str | None:
    """The kept text that the rules name as witness: lexical before semantic, then first in the total order."""
    kept: Iterable[str] = (t for t, (_, verdict) in partners.items() if verdict and t in rank)
    return min(kept, key=lambda t: (partners[t][1][0] != "near", rank[t]), default=None)  # pyright: ignore[reportOptionalSubscript]


def _scores(
    found: tuple[Evidence, tuple[str, str] | None] | None,
) -> tuple[float | None, float | None, float | None]:
    if found is None:
        return (None, None, None)
    evidence = found[0]
    return evidence.cosine, evidence.jaccard, evidence.containment
