"""The scores of all pairs of texts that `deduped_corpus` is decided on, brought up to date with what changed.

Which pairs are candidates is a function of the set of texts (:mod:`quarry_dagster.dedup.candidates`), and a pair's
scores are one of its two texts. So only texts that came are looked for, and those whose candidates may be others for
it, and only pairs without scores are scored.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from quarry_dagster.dedup import candidates, decide
from quarry_dagster.index import fastest
from quarry_dagster.profiles.settings import Deduplication
from quarry_dagster.progress import track
from quarry_dagster.stages.corpus import evidence, sketches
from quarry_dagster.stages.corpus.directions import Directions
from quarry_dagster.store import SketchSegment, Store, TextSegment, VectorSegment
from quarry_dagster.store.schemas import SCORED_PAIRS

_WORTH_KEEPING = 0.3
"""Containment from which a pair's scores are kept, so that other thresholds can be tried without comparing again. Those
of pairs by vector always are."""
_VECTORS_IN_MEMORY = 32_768
_PAIRS = 16_384
"""Pairs whose cosines are computed at once, outside the join."""
_FEW = 2048
"""New texts for which the outlines of the others are asked before their vectors: of more, most others are near one."""
_PLACE = ["text_digest", "word_count", "date", "doc_id"]
"""A text, and its place in the order of keeping, which its first document gives it."""


@dataclass(frozen=True)
class Tables:
    """The segments that a corpus is made from, by partition."""

    texts: Mapping[str, TextSegment]
    vectors: Mapping[str, VectorSegment]
    sketches: Mapping[str, SketchSegment]
    directions: Directions | None
    """That the outlines in `sketches` are made along; None where there is no vector."""


@dataclass(frozen=True)
class Known:
    """What an earlier corpus was made from, and the pairs that it had (schema SCORED_PAIRS)."""

    sketches: Mapping[str, SketchSegment]
    pairs: pl.DataFrame


NOTHING_KNOWN = Known({}, pl.DataFrame(schema=SCORED_PAIRS))


def refresh(
    store: Store, tables: Tables, documents: pl.DataFrame, known: Known, settings: Deduplication, *, gpu: bool
) -> tuple[pl.DataFrame, int]:
    """All pairs of current texts that are worth keeping (schema SCORED_PAIRS), and how many were scored now.

    `documents` are those of `tables`, as :func:`sketches.documents` has them; `gpu` says whether a GPU may compare.
    """
    texts = _changes(store, tables, documents, known, settings)
    if not texts.select((pl.col("came") | pl.col("gone")).any()).item():
        return known.pairs, 0
    standing = _numbered(known.pairs, texts.filter(~pl.col("came"), ~pl.col("gone")))
    wanted = _candidates(store, tables, known, texts, standing, settings, gpu)
    stays = standing.drop("by_sketch").join(wanted.drop("cosine"), on=["left", "right"])
    # By the right text: what is left of many is among the first of a crowd, and stays in memory.
    fresh = _named(wanted.join(standing, on=["left", "right"], how="anti").sort("right", "left"), texts)
    pairs = [_worth_keeping(_named(stays, texts))]
    current = texts.filter(~pl.col("gone"))
    with track("deduped_corpus", fresh.height, "pairs") as advance:
        for rows in evidence.scored(store, tables.texts, current, fresh):
            pairs.append(_worth_keeping(rows))
            advance(rows.height)
    return _with_cosines(store, tables, current, pl.concat(pairs)).sort("left", "right"), fresh.height


def _worth_keeping(pairs: pl.DataFrame) -> pl.DataFrame:
    """Of scored pairs those that are worth keeping, schema SCORED_PAIRS."""
    is_contained = pl.max_horizontal("left_in_right", "right_in_left") >= _WORTH_KEEPING
    # Another pair is kept for its vectors alone: which of its texts was looked for again must not show.
    kept = pairs.filter(is_contained | pl.col("by_vector")).with_columns(by_sketch=pl.col("by_sketch") & is_contained)
    return kept.select(SCORED_PAIRS.names())


def _with_cosines(store: Store, tables: Tables, texts: pl.DataFrame, pairs: pl.DataFrame) -> pl.DataFrame:
    """These pairs (schema SCORED_PAIRS) with the cosines that the join of vectors did not tell."""
    homes = texts.select("text_digest", "partition")
    far = pairs.filter(pl.col("cosine").is_null())
    for side in ("left", "right"):
        far = far.join(homes.rename({"partition": f"{side}_home"}), left_on=side, right_on="text_digest")
    far = far.sort("right_home", "left_home").select(SCORED_PAIRS.names())  # so that a block is read from few
    found = [evidence.with_cosines(store, tables.vectors, texts, block) for block in far.iter_slices(_PAIRS)]
    return pl.concat([pairs.drop_nulls("cosine"), *found])


def _changes(
    store: Store, tables: Tables, documents: pl.DataFrame, known: Known, settings: Deduplication
) -> pl.DataFrame:
    """The texts there are and there were, numbered in the order of keeping: the left one of a pair may be kept.

    Columns text (the number), _PLACE, `partition` to read each in, its `row` in the sketches of `tables` and the
    replaced ones behind them, and whether it `came` or is `gone`. A text whose place changed is gone from the old one
    and came to the new.
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
    """Segments of sketches that there were, and are no more."""
    return [s for p, s in known.sketches.items() if s != tables.sketches.get(p)]


def _candidates(
    store: Store,
    tables: Tables,
    known: Known,
    texts: pl.DataFrame,
    standing: pl.DataFrame,
    settings: Deduplication,
    gpu: bool,
) -> pl.DataFrame:
    """All candidate pairs of current texts: columns left, right, by_sketch, by_vector, and the cosine, null where it is
    not known; of those without scores worth keeping only such with a text that was looked for again.

    `texts` are those of :func:`_changes`; `standing` are the known pairs of those that stay.
    """
    segments = [*tables.sketches.values(), *_replaced(tables, known)]
    along = tables.directions.array if tables.directions else None
    width = 0 if along is None or texts["came"].sum() > _FEW else along.shape[1] + 1
    sketches, outlines = evidence.read_sketches(store, segments, texts, width)
    again, by_sketch = _by_sketch(sketches, texts)
    del sketches  # vectors take their memory
    is_again = pl.col("left").is_in(again.implode()) | pl.col("right").is_in(again.implode())
    by_sketch = pl.concat([by_sketch, standing.filter("by_sketch", ~is_again).select("left", "right")])

    # Where a text had as many candidates by vector as count, others count in place of those that are gone.
    changed = texts.filter(pl.col("came") | pl.col("gone"))["text_digest"].implode()
    is_close = candidates.is_close(settings.similarity_threshold)
    full = known.pairs.filter(is_close).filter(pl.len().over("right") >= candidates.LIMIT)
    lacking = full.filter(pl.col("left").is_in(changed))["right"].implode()
    current = texts.filter(~pl.col("gone"))
    wanted = current.filter(pl.col("came") | pl.col("text_digest").is_in(lacking))
    found = _by_vector(store, tables, current, wanted, outlines, settings.similarity_threshold, gpu)
    cosines = pl.concat([standing.select(candidates.COSINES.names()), found]).unique(["left", "right"])
    by_vector = candidates.first_neighbours(cosines.filter(is_close))

    ways = [by_sketch.with_columns(by_sketch=True), by_vector.select("left", "right", by_vector=True)]
    both = ways[0].join(ways[1], on=["left", "right"], how="full", coalesce=True)
    both = both.with_columns(pl.col("by_sketch", "by_vector").fill_null(False))
    return both.join(cosines, on=["left", "right"], how="left")


def _numbered(pairs: pl.DataFrame, texts: pl.DataFrame) -> pl.DataFrame:
    """Pairs of text digests as pairs of numbers."""
    for side in ("left", "right"):
        numbers = texts.select(pl.col("text_digest").alias(side), "text")
        pairs = pairs.join(numbers, on=side).drop(side).rename({"text": side})
    return pairs


def _named(pairs: pl.DataFrame, texts: pl.DataFrame) -> pl.DataFrame:
    """Pairs of numbers as pairs of text digests, in the same order."""
    return pairs.with_columns(texts["text_digest"].gather(pairs[side]).alias(side) for side in ("left", "right"))


def _by_sketch(every: candidates.Sketches, texts: pl.DataFrame) -> tuple[pl.Series, pl.DataFrame]:
    """The texts whose partners were looked for again, and all pairs that they are in by their sketches."""
    came, gone = (texts.filter(status)["text"] for status in ("came", "gone"))
    hashes = every.sharing(pl.concat([came, gone]))
    moved = candidates.moved(hashes, came, gone)
    again = pl.concat([came, moved])
    if moved.len():
        hashes = every.sharing(again)
    hashes = hashes.filter(~pl.col("text").is_in(gone.implode()))
    return again, candidates.sketch_pairs(again, hashes, every.sizes())


def _by_vector(
    store: Store,
    tables: Tables,
    current: pl.DataFrame,
    wanted: pl.DataFrame,
    outlines: evidence.Outlines | None,
    threshold: float,
    gpu: bool,
) -> pl.DataFrame:
    """The pairs by vector of wanted texts (schema candidates.COSINES), where a text has very many the first of them.

    `current` are the texts of :func:`_changes` that are not gone. Where there are outlines, others are told by them.
    """
    along = tables.directions.array if tables.directions else None
    comparisons = wanted.height * (current.height - wanted.height // 2)
    found = [pl.DataFrame(schema=candidates.COSINES)]
    others = current
    # By partition: each block is read from a few.
    for block in wanted.sort("partition").iter_slices(_VECTORS_IN_MEMORY):
        others = others.join(block, on="text", how="anti")  # earlier blocks were compared with all texts
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
