"""Which documents are kept, and by which rule the others are removed.

Documents are taken in one total order. A document that satisfies a rule against a document already taken is removed,
with that one as its witness; any other is taken. So clusters are stars around centres (never chains), and the result
depends on the documents alone, not on the order in which they were crawled.

Then each star chooses which of its documents is kept: the centre, or a copy of it that is cleaner, or that passes the
quality policy where the centre does not; for that copy the centre itself is removed. So what a document is removed for
and what is kept in its place may be two: its `witness_id`, with which it satisfies the rule, and its `kept_id`, which
is the witness or what the witness was removed for.

All rules look from the removed document to its witness: what is lost is what the witness does not contain.

Why so: "One rule for near duplicates, and eight guards" and "The cleanest copy stays" in docs/decisions.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from quarry_dagster.dedup import near
from quarry_dagster.profiles.settings import Deduplication
from quarry_dagster.urls import is_clean

URL_RULE = "same-page-url/1"
EXACT_RULE = "text-digest/1"
NEAR_RULE = "near/1"
WHOLE_RULE = "near-whole/1"
CLEANER_RULE = "cleaner-copy/1"
PASSING_RULE = "passing-copy/1"
CONTAINED_RULE = "contained-in-longer/1"
COSINE_RULE = "cosine/1"

RULES = (URL_RULE, EXACT_RULE, NEAR_RULE, WHOLE_RULE, CLEANER_RULE, PASSING_RULE, CONTAINED_RULE, COSINE_RULE)

WHOLE = 0.99
"""near-whole, the rule of mode `strict`: so much of the removed text's shingles stand in the witness."""


@dataclass(frozen=True)
class Rule:
    """One rule: the level of a removal, its name, and what it asks."""

    level: str
    name: str
    holds: pl.Expr
    """Whether a pair's scores, seen from the text that would be removed, satisfy the rule."""


def rules(settings: Deduplication) -> list[Rule]:
    """The rules of a mode that compare two texts, the surest first."""
    guards, is_long_enough = pl.col("guards"), (pl.col("guards") & near.LENGTH) == 0
    if settings.mode == "strict":
        found = [Rule("near", WHOLE_RULE, (pl.col("containment") >= WHOLE) & is_long_enough)]
    else:
        found = [Rule("near", NEAR_RULE, guards == 0)]
    if settings.contained == "remove":
        found.append(Rule("contained", CONTAINED_RULE, guards == near.LENGTH))
    if settings.mode == "aggressive":
        found.append(Rule("semantic", COSINE_RULE, pl.col("cosine") >= settings.similarity_threshold))
    return found


def verdicts(scores: pl.DataFrame, settings: Deduplication) -> pl.DataFrame:
    """The level and the rule by which each pair removes a text, both null where no rule holds and both stay.

    All that is removed for its scores is removed by this function: nowhere else are scores compared with the bounds
    of a rule.

    Args:
        scores: columns cosine, containment (Float64), guards (UInt8), as seen from the text that would be removed;
            others stay.

    Returns:
        The same rows with the columns `level` and `rule` (String).
    """
    level, rule = pl.lit(None, pl.String), pl.lit(None, pl.String)
    for each in reversed(rules(settings)):
        level = pl.when(each.holds).then(pl.lit(each.level)).otherwise(level)
        rule = pl.when(each.holds).then(pl.lit(each.name)).otherwise(rule)
    return scores.with_columns(level=level, rule=rule)


def decide(
    documents: pl.DataFrame, pairs: pl.DataFrame, settings: Deduplication, failing: pl.Series | None = None
) -> pl.DataFrame:
    """Decisions (schema DECISIONS), a row a removed document; all other documents are kept.

    Args:
        documents: schema DOCUMENTS, a row a document.
        pairs: schema PAIRS; pairs of texts that no document has are ignored.
        failing: the ids of documents that fail the quality policy: of copies one that passes is kept before them.
    """
    sides = seen_from_both(pairs, settings)
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
    removed, witness = _walk(ordered, rivals)
    kept = dict(zip(removed, witness, strict=True))
    fails = [False] * ordered.height if failing is None else ordered["doc_id"].is_in(failing.implode()).to_list()
    survivors = _survivors(ordered, rivals, kept, fails, choose_cleanest=settings.keep[0] == "longest")
    kept = {row: survivors.get(centre, centre) for row, centre in kept.items()} | survivors
    for survivor in survivors.values():
        del kept[survivor]
    return _described(ordered, sides, removed, witness, kept)


def _described(
    ordered: pl.DataFrame, sides: pl.DataFrame, removed: list[int], witness: list[int], kept: dict[int, int]
) -> pl.DataFrame:
    """Decisions (schema DECISIONS).

    Args:
        ordered: documents, as :func:`_walk` takes them.
        sides: all pairs from both sides.
        removed, witness: the rows of what :func:`_walk` removed, and of what for.
        kept: by the row of each removed document, the row of the one that is kept for it.
    """
    witness_of = dict(zip(removed, witness, strict=True))
    rows = sorted(kept)
    text_of = ordered["text"].to_list()
    for row in rows:
        if text_of[row] == text_of[kept[row]]:  # a cleaner copy was chosen, and this one equals it
            witness_of[row] = kept[row]
    columns = ordered.select("doc_id", "url", "page_url", "text_digest", "own_id")
    three = {"": rows, "_witness": [witness_of.get(row, kept[row]) for row in rows], "_kept": [*map(kept.get, rows)]}
    beside = [columns[at].select(pl.all().name.suffix(suffix)) for suffix, at in three.items()]
    was_removed = set(removed)
    is_centre = pl.Series("is_centre", [row not in was_removed for row in rows], dtype=pl.Boolean)
    found = pl.concat([*beside, is_centre.to_frame()], how="horizontal").join(
        sides, left_on=["text_digest", "text_digest_witness"], right_on=["text", "other"], how="left"
    )
    same_page = pl.col("page_url") == pl.col("page_url_witness")
    same_text = pl.col("text_digest") == pl.col("text_digest_witness")
    level = pl.when("is_centre").then(pl.lit("near")).otherwise("level")
    # A copy that is not the cleaner one took the place of its centre because it alone passes the policy.
    cleaner = sides.filter("is_cleaner", level="near").select(text_digest="other", text_digest_witness="text")
    of_text = ["text_digest", "text_digest_witness"]
    found = found.join(cleaner.with_columns(witness_is_cleaner=True), on=of_text, how="left")
    of_centre = pl.when("witness_is_cleaner").then(pl.lit(CLEANER_RULE)).otherwise(pl.lit(PASSING_RULE))
    rule = pl.when("is_centre").then(of_centre).otherwise("rule")
    return found.select(
        removed_id="doc_id",
        kept_id="doc_id_kept",
        witness_id="doc_id_witness",
        level=pl.when(same_page).then(pl.lit("url")).when(same_text).then(pl.lit("exact")).otherwise(level),
        rule=pl.when(same_page).then(pl.lit(URL_RULE)).when(same_text).then(pl.lit(EXACT_RULE)).otherwise(rule),
        **{s: pl.when(same_text).then(1.0).otherwise(s) for s in ("cosine", "jaccard", "containment")},
        removed_url="url",
        kept_url="url_kept",
        removed_own_id="own_id",
        kept_own_id="own_id_kept",
    )


def seen_from_both(pairs: pl.DataFrame, settings: Deduplication) -> pl.DataFrame:
    """Each pair (schema PAIRS) from both sides.

    Returns:
        Columns text, other, the scores for removing `text` (cosine, jaccard, containment, guards), `is_cleaner`
        (whether `text` is the cleaner one), level, rule.
    """
    sides = [
        pairs.select(
            "cosine",
            "jaccard",
            text=text,
            other=other,
            containment=f"{text}_in_{other}",
            guards=f"{text}_guards",
            is_cleaner=pl.col("right_is_cleaner").eq(text == "right").fill_null(False),
        )
        for text, other in (("left", "right"), ("right", "left"))
    ]
    return verdicts(pl.concat(sides), settings)


def rules_again(decisions: pl.DataFrame, sides: pl.DataFrame) -> pl.DataFrame:
    """What the texts of removals say now.

    Args:
        decisions: columns rule, and `text` and `other`: the text digests of the removed document and of its witness.
        sides: :func:`seen_from_both` of pairs of these texts.

    Returns:
        `decisions` with the columns `rule_now`, `containment_now`, `cosine_now`: the rule that the removed document
        satisfies with its witness, null where it satisfies none, and its scores.
    """
    now = sides.select("text", "other", rule_now="rule", containment_now="containment", cosine_now="cosine")
    is_near = (pl.col("level") == "near").fill_null(False)
    back = sides.select(
        text="other", other="text", is_near_copy=is_near, is_cleaner_copy=is_near & pl.col("is_cleaner")
    )
    cleaner = pl.when("is_cleaner_copy").then(pl.lit(CLEANER_RULE))
    passing = pl.when("is_near_copy").then(pl.lit(PASSING_RULE))
    by_rule = {CLEANER_RULE: cleaner, PASSING_RULE: passing}
    rule = pl.col("rule_now")
    for name, holds in by_rule.items():
        rule = pl.when(pl.col("rule") == name).then(holds).otherwise(rule)
    both = decisions.join(now, on=["text", "other"], how="left").join(back, on=["text", "other"], how="left")
    return both.with_columns(rule_now=rule)


def _walk(ordered: pl.DataFrame, rivals: pl.DataFrame) -> tuple[list[int], list[int]]:
    """Walk the documents in the total order; returns the rows of the removed ones, and of those they are removed for.

    Args:
        ordered: documents in that order, with the columns `text` and `page`: equal numbers for equal ones.
        rivals: pairs from both sides (see :func:`seen_from_both`) that a rule holds for.
    """
    rows = ordered.select("text_digest", "text").with_row_index("row")
    texts = rows.group_by("text_digest", "text").agg(first=pl.col("row").min(), last=pl.col("row").max())
    partners = (
        rivals.join(texts, left_on="text", right_on="text_digest", suffix="_number")
        .join(texts, left_on="other", right_on="text_digest", suffix="_of_other")
        .filter(pl.col("first_of_other") < pl.col("last"))  # one that comes behind all of a text removes none of it
        .group_by("text_number")
        .agg("text_of_other", surety=pl.col("level").replace_strict(_SURETY, return_dtype=pl.Int64))
    )
    partners_of = {text: (others, surety) for text, others, surety in partners.iter_rows()}
    by_page: dict[int, int] = {}  # rows of the centres
    by_text: dict[int, int] = {}
    removed, witnesses = [], []
    for row, (page, text) in enumerate(zip(ordered["page"].to_list(), ordered["text"].to_list(), strict=True)):
        witness = by_page.get(page)
        if witness is None:
            witness = by_text.get(text)
        if witness is None and text in partners_of:
            # Of the texts taken that a rule names, the first in the total order; lexical before semantic.
            found = [(surety, by_text[t]) for t, surety in zip(*partners_of[text], strict=True) if t in by_text]
            witness = min(found)[1] if found else None
        if witness is None:
            by_page[page] = by_text[text] = row
        else:
            removed.append(row)
            witnesses.append(witness)
    return removed, witnesses


_SURETY = {"near": 0, "contained": 1, "semantic": 2}


def _survivors(
    ordered: pl.DataFrame, rivals: pl.DataFrame, kept: dict[int, int], fails: list[bool], *, choose_cleanest: bool
) -> dict[int, int]:
    """By the row of a centre, the row of the document of its star that is kept in its place.

    Of a centre that fails the quality policy, a copy that passes takes the place. Then a cleaner text goes before the
    centre's, and of one text the document with the better URL. A document that another kept one speaks against (it has
    the same page, or a rule holds for the two) is not chosen: of what is kept no two are duplicates.

    Args:
        ordered, rivals: as :func:`_walk` takes them.
        kept: what it found: by the row of each removed document, the row of its centre.
        fails: by row, whether the document fails the quality policy.
        choose_cleanest: whether cleanness and URLs count; else only a copy that passes takes a centre's place.
    """
    facts = ordered.select("text_digest", "page", "url", "page_url", "canonical_page").rows()
    text_of, page_of = [row[0] for row in facts], [row[1] for row in facts]
    rivals_of: dict[str, set[str]] = {}
    near: set[tuple[str, str]] = set()
    cleaner: set[tuple[str, str]] = set()
    columns = ("text", "other", "level", "is_cleaner")
    for text, other, level, is_cleaner in rivals.select(columns).iter_rows():
        rivals_of.setdefault(text, set()).add(other)
        rivals_of.setdefault(other, set()).add(text)
        if level == "near":
            near.add((text, other))
            if is_cleaner:
                cleaner.add((text, other))
    stars: dict[int, list[int]] = {}
    for row, centre in kept.items():
        stars.setdefault(centre, []).append(row)
    stays = set(range(len(facts))) - kept.keys()
    pages, texts = {page_of[row] for row in stays}, {text_of[row] for row in stays}
    found: dict[int, int] = {}
    for centre in sorted(stars):
        members = sorted((centre, *stars[centre]))
        of_centre = text_of[centre]
        pages.discard(page_of[centre])
        texts.discard(of_centre)
        cleanest = [text_of[row] for row in members if choose_cleanest and (text_of[row], of_centre) in cleaner]
        may_be = [*cleanest, of_centre]
        if fails[centre]:
            copies = [text_of[row] for row in members if not fails[row]]
            passing = {text for text in copies if text == of_centre or (text, of_centre) in near}
            may_be = [text for text in (*may_be, *copies) if text in passing] + may_be
        survivor = centre
        for text in dict.fromkeys(may_be):
            if text in texts or rivals_of.get(text, set()) & texts:
                continue
            alike = [row for row in members if text_of[row] == text]
            free = [row for row in alike if page_of[row] not in pages]
            free = [row for row in free if not fails[row]] or (free if fails[centre] else [])
            if free:
                canonical = {page for row in alike if (page := facts[row][4]) is not None}
                order = {row: _url_order(facts[row][2], facts[row][3] in canonical) for row in free}
                survivor = min(free, key=lambda row: (*(order[row] if choose_cleanest else ()), row))
                break
        if survivor != centre:
            found[centre] = survivor
        pages.add(page_of[survivor])
        texts.add(text_of[survivor])
    return found


def _url_order(url: str, is_canonical: bool) -> tuple[bool, bool, int]:
    """The better of the URLs of equal texts comes first: what a page there calls canonical, without parameters that
    follow a visitor, the shortest."""
    return not is_canonical, not is_clean(url), len(url)


def in_order(documents: pl.DataFrame, settings: Deduplication) -> pl.DataFrame:
    """Documents in the total order of `settings.keep`; doc_id always comes last, so that there are no ties."""
    keys = {"longest": -pl.col("word_count"), "earliest": pl.col("date"), "doc_id": pl.col("doc_id")}
    return documents.sort(*(keys[k] for k in settings.keep), "doc_id", nulls_last=True)
