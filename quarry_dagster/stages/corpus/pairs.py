"""The scores of all pairs of texts that `deduped_corpus` is decided on, brought up to date with what changed.

Which pairs are candidates is a function of the set of texts (:mod:`quarry_dagster.dedup.candidates`), and the scores of
a pair are a function of its two texts. So partners are looked for only for texts that are new, and for texts whose
candidates a change may have altered; and only pairs without scores are scored.

Texts are numbered here in the order of keeping: of a pair, the left text is the one that may be kept.

Why so: "Scores belong to pairs of texts, not of documents" and "A pair by sketch gets its cosine when it is worth
keeping" in docs/decisions.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from quarry_dagster.dedup import candidates, decide, scoring
from quarry_dagster.index import fastest
from quarry_dagster.profiles.settings import Deduplication
from quarry_dagster.progress import track
from quarry_dagster.stages.corpus import evidence, sketches
from quarry_dagster.stages.corpus.directions import Directions
from quarry_dagster.store import SketchSegment, Store, TextSegment, VectorSegment
from quarry_dagster.store.schemas import SCORED_PAIRS

_VECTORS_IN_MEMORY = 32_768
_PAIRS = 16_384
"""Pairs whose cosines are computed at once, outside the join of vectors."""
_FEW = 2048
"""Up to so many new texts, outlines tell which other vectors are worth reading. With more new texts most are."""
_PLACE = ["text_digest", "word_count", "date", "doc_id"]
"""Columns of a text and its place in the order of keeping, which its first document gives it."""


@dataclass(frozen=True)
class Tables:
    """The segments that a corpus is made from, by partition."""

    texts: Mapping[str, TextSegment]
    vectors: Mapping[str, VectorSegment]
    sketches: Mapping[str, SketchSegment]
    directions: Directions | None
    """The directions along which the outlines in `sketches` are made; None where there is no vector."""


@dataclass(frozen=True)
class Known:
    """What the corpus before was made from, and the pairs that it had (schema SCORED_PAIRS)."""

    sketches: Mapping[str, SketchSegment]
    pairs: pl.DataFrame


NOTHING_KNOWN = Known({}, pl.DataFrame(schema=SCORED_PAIRS))


def refresh(
    store: Store, tables: Tables, documents: pl.DataFrame, known: Known, settings: Deduplication, *, gpu: bool
) -> tuple[pl.DataFrame, int]:
    """Bring the pairs up to date.

    Args:
        tables: what the corpus is made from now.
        documents: the documents of `tables`, as :func:`sketches.documents` gives them.
        known: what the corpus before was made from.
        gpu: whether a GPU may compare vectors.

    Returns:
        All pairs of current texts that are worth keeping (schema SCORED_PAIRS, sorted by left and right), and the
        number of pairs that were scored now.
    """
    texts = _changes(store, tables, documents, known, settings)
    if not texts.select((pl.col("came") | pl.col("gone")).any()).item():
        return known.pairs, 0
    standing = _numbered(known.pairs, texts.filter(~pl.col("came"), ~pl.col("gone")))
    wanted = _candidates(store, tables, known, texts, standing, settings, gpu)
    stays = standing.drop("by_sketch").join(wanted.drop("cosine"), on=["left", "right"])
    # Sorted by the right text: in a crowd of near copies the left texts are the same few, which stay in memory.
    fresh = _named(wanted.join(standing, on=["left", "right"], how="anti").sort("right", "left"), texts)
    pairs = [_worth_keeping(_named(stays, texts))]
    current = texts.filter(~pl.col("gone"))
    with track("deduped_corpus", fresh.height, "pairs") as advance:
        for rows in evidence.scored(store, tables.texts, current, fresh):
            pairs.append(_worth_keeping(rows))
            advance(rows.height)
    return _with_cosines(store, tables, current, pl.concat(pairs)).sort("left", "right"), fresh.height


def _worth_keeping(pairs: pl.DataFrame) -> pl.DataFrame:
    """The scored pairs that are worth keeping, schema SCORED_PAIRS: so other thresholds can be tried on them."""
    # Any other pair is kept for its vectors alone. Whether its sketches were looked at again, which depends on
    # history, must not show in `by_sketch`.
    worth = scoring.WORTH_KEEPING
    kept = pairs.filter(worth | pl.col("by_vector")).with_columns(by_sketch=pl.col("by_sketch") & worth)
    return kept.select(SCORED_PAIRS.names())


def _with_cosines(store: Store, tables: Tables, texts: pl.DataFrame, pairs: pl.DataFrame) -> pl.DataFrame:
    """The pairs (schema SCORED_PAIRS) with the cosines that the join of vectors did not compute."""
    homes = texts.select("text_digest", "partition")
    far = pairs.filter(pl.col("cosine").is_null())
    for side in ("left", "right"):
        far = far.join(homes.rename({"partition": f"{side}_home"}), left_on=side, right_on="text_digest")
    # Sorted by partition, so that the vectors of a block are read from few partitions.
    far = far.sort("right_home", "left_home").select(SCORED_PAIRS.names())
    found = [evidence.with_cosines(store, tables.vectors, texts, block) for block in far.iter_slices(_PAIRS)]
    return pl.concat([pairs.drop_nulls("cosine"), *found])


def _changes(
    store: Store, tables: Tables, documents: pl.DataFrame, known: Known, settings: Deduplication
) -> pl.DataFrame:
    """The texts that there are, and those that there were and are gone, numbered in the order of keeping.

    A text whose place in that order changed is there twice: gone from the old place, and new in the new one.

    Returns:
        A row a text, with the columns `text` (UInt32, its number), those of _PLACE, `partition` (where to read it),
        `row` (UInt32, its document's row in the sketches of `tables`, followed by the replaced ones), `came` and
        `gone` (Boolean).
    """
    changed = [p for p in {**tables.sketches, **known.sketches} if tables.sketches.get(p) != known.sketches.get(p)]
    was = sketches.documents(store, _replaced(tables, known))
    both = pl.concat([documents.with_columns(is_now=True), was.with_columns(is_now=False)]).with_row_index("row")
    rows = decide.in_order(both.drop("url", "page_url"), settings).with_row_index("at")
    is_changed = pl.col("partition").is_in(changed)
    is_touched = pl.col("text_digest").is_in(rows.filter(is_changed)["text_digest"].unique().implode())
    first = pl.col("text_digest").is_first_distinct()
    now = rows.filter("is_now").filter(first)
    before = rows.filter(is_touched, ~pl.col("is_now") | ~is_changed).filter(first)
    touched = now.filter(is_touched)
    came = touched.join(before, on=_PLACE, how="anti", nulls_equal=True)["at"].implode()
    gone = before.join(touched, on=_PLACE, how="anti", nulls_equal=True)
    return (
        pl.concat([now.with_columns(gone=False), gone.with_columns(gone=True)])
        .sort("at")
        .with_columns(came=pl.col("at").is_in(came) & ~pl.col("gone"))
        .drop("at", "is_now")
        .with_row_index("text")
    )


def _replaced(tables: Tables, known: Known) -> list[SketchSegment]:
    """The segments of sketches of the corpus before that the corpus of now does not have."""
    return [segment for partition, segment in known.sketches.items() if segment != tables.sketches.get(partition)]


def _candidates(
    store: Store,
    tables: Tables,
    known: Known,
    texts: pl.DataFrame,
    standing: pl.DataFrame,
    settings: Deduplication,
    gpu: bool,
) -> pl.DataFrame:
    """The candidate pairs of current texts.

    Args:
        texts: the texts of :func:`_changes`.
        standing: the known pairs of the texts that stay, by number (see :func:`_numbered`).

    Returns:
        Columns left, right (UInt32), by_sketch, by_vector (Boolean), cosine (Float64, null where it is not known yet).
        Every pair with a text that was looked for again is there, and every standing pair that still is a candidate;
        a pair of two other texts whose scores were not worth keeping is not.
    """
    segments = [*tables.sketches.values(), *_replaced(tables, known)]
    along = tables.directions.array if tables.directions else None
    width = 0 if along is None or texts["came"].sum() > _FEW else along.shape[1] + 1
    sketches, outlines = evidence.read_sketches(store, segments, texts, width)
    came, gone = (texts.filter(status)["text"] for status in ("came", "gone"))
    again, by_sketch = candidates.by_sketch(sketches, came, gone)
    del sketches  # the vectors need their memory
    is_again = pl.col("left").is_in(again.implode()) | pl.col("right").is_in(again.implode())
    by_sketch = pl.concat([by_sketch, standing.filter("by_sketch", ~is_again).select("left", "right")])

    by_sketch = by_sketch.with_columns(by_sketch=True)
    if not settings.by_vector:
        return by_sketch.with_columns(by_vector=False, cosine=pl.lit(None, pl.Float64))

    # A text that had as many earlier neighbours as count gets others in the place of those that are gone.
    changed = texts.filter(pl.col("came") | pl.col("gone"))["text_digest"].implode()
    is_close = candidates.is_close(settings.similarity_threshold)
    full = known.pairs.filter(is_close).filter(pl.len().over("right") >= candidates.LIMIT)
    lacking = full.filter(pl.col("left").is_in(changed))["right"].implode()
    current = texts.filter(~pl.col("gone"))
    wanted = current.filter(pl.col("came") | pl.col("text_digest").is_in(lacking))
    found = _by_vector(store, tables, current, wanted, outlines, settings.similarity_threshold, gpu)
    cosines = pl.concat([standing.select(candidates.COSINES.names()), found]).unique(["left", "right"])
    by_vector = candidates.first_neighbours(cosines.filter(is_close))

    by_vector = by_vector.select("left", "right", by_vector=True)
    both = by_sketch.join(by_vector, on=["left", "right"], how="full", coalesce=True)
    both = both.with_columns(pl.col("by_sketch", "by_vector").fill_null(False))
    return both.join(cosines, on=["left", "right"], how="left")


def _numbered(pairs: pl.DataFrame, texts: pl.DataFrame) -> pl.DataFrame:
    """The pairs with the numbers of their texts in place of the digests; a pair with a text that has none goes."""
    for side in ("left", "right"):
        numbers = texts.select(pl.col("text_digest").alias(side), "text")
        pairs = pairs.join(numbers, on=side).drop(side).rename({"text": side})
    return pairs


def _named(pairs: pl.DataFrame, texts: pl.DataFrame) -> pl.DataFrame:
    """The pairs with the digests of their texts in place of the numbers, in the same order."""
    return pairs.with_columns(texts["text_digest"].gather(pairs[side]).alias(side) for side in ("left", "right"))


def _by_vector(
    store: Store,
    tables: Tables,
    current: pl.DataFrame,
    wanted: pl.DataFrame,
    outlines: evidence.Outlines | None,
    threshold: float,
    gpu: bool,
) -> pl.DataFrame:
    """The pairs by vector that a wanted text is in (schema candidates.COSINES).

    Where a text has very many earlier neighbours, only the first of them are returned.

    Args:
        current: the texts of :func:`_changes` that are not gone.
        wanted: those of them to find partners for.
        outlines: they tell which other vectors are worth reading; None: all are read.
    """
    along = tables.directions.array if tables.directions else None
    comparisons = wanted.height * (current.height - wanted.height // 2)
    found = [pl.DataFrame(schema=candidates.COSINES)]
    others = current
    for block in wanted.sort("partition").iter_slices(_VECTORS_IN_MEMORY):  # so a block is read from few partitions
        others = others.join(block, on="text", how="anti")  # the blocks before were compared with all texts
        mine = evidence.joined(evidence.vectors(store, tables.vectors, block))
        near = others
        if along is not None and outlines is not None and wanted.height <= _FEW:
            texts = outlines.texts[candidates.near_any(mine[1], outlines.rows, along, threshold)]
            near = others.filter(pl.col("text").is_in(pl.Series(texts[texts >= 0], dtype=pl.UInt32).implode()))
            comparisons = block.height * (near.height + block.height // 2)
        kernel = fastest(comparisons, gpu=gpu, along=along)
        theirs = evidence.vectors(store, tables.vectors, near)
        found.append(candidates.vector_pairs(mine, theirs, threshold, kernel))
    return pl.concat(found).unique(["left", "right"])
