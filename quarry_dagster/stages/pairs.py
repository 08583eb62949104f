"""The scores of all pairs of texts that `deduped_corpus` is decided on, brought up to date with what changed.

Which pairs are candidates is a function of the set of texts (:mod:`quarry_dagster.dedup.candidates`), and a pair's
scores are one of its two texts. So only texts that came are looked for, and those whose candidates may be others for
it, and only pairs without scores are scored.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa

from quarry_dagster.dedup import candidates, decide, verify
from quarry_dagster.profiles import Deduplication
from quarry_dagster.progress import track
from quarry_dagster.stages import sketches
from quarry_dagster.store import Segment, Store
from quarry_dagster.store.schemas import EXTRACTED_TEXT, SCORED_PAIRS, SKETCHES

_WORTH_KEEPING = 0.3
"""Containment from which a pair's scores are kept, so that other thresholds can be tried without comparing again."""
_WORDS_IN_MEMORY = 1_000_000
_VECTORS_IN_MEMORY = 16_384
_PLACE = ("text_digest", "word_count", "date", "doc_id")
"""A text, and its place in the order of keeping, which its first document gives it."""


@dataclass(frozen=True)
class Tables:
    """The segments that a corpus is made from, by partition."""

    texts: dict[str, Segment]
    vectors: dict[str, Segment]
    sketches: dict[str, Segment]


@dataclass(frozen=True)
class Known:
    """What an earlier corpus was made from, and the pairs that it had (schema SCORED_PAIRS)."""

    sketches: dict[str, Segment]
    pairs: pl.DataFrame


NOTHING_KNOWN = Known({}, pl.DataFrame(schema=SCORED_PAIRS))


def refresh(
    store: Store, tables: Tables, documents: pl.DataFrame, known: Known, settings: Deduplication
) -> tuple[pl.DataFrame, int]:
    """All pairs of current texts that are worth keeping (schema SCORED_PAIRS), and how many were scored now.

    `documents` are those of `tables` (schema decide.DOCUMENTS plus `partition`).
    """
    # Numbered in the order of keeping: the left text of a pair is the one that may be kept.
    texts = decide.in_order(_changes(store, tables, documents, known, settings), settings).with_row_index("text")
    if not texts.select((pl.col("came") | pl.col("gone")).any()).item():
        return known.pairs, 0
    current = texts.filter(~pl.col("gone")).select("text", "text_digest", "partition")
    standing = _numbered(known.pairs, texts.filter(~pl.col("came"), ~pl.col("gone")))
    wanted = _candidates(store, tables, known, texts, standing, settings)
    stays = standing.drop("by_sketch").join(wanted, on=["left", "right"])
    # By the right text: what is left of many is among the first of a crowd, and stays in memory.
    fresh = _named(wanted.join(standing, on=["left", "right"], how="anti").sort("right", "left"), current)
    pairs = [_named(stays, current).select(SCORED_PAIRS.names())]
    words = dict(documents.select("text_digest", "word_count").iter_rows()) if fresh.height else {}
    with track("deduped_corpus", fresh.height, "pairs") as advance:
        for block in blocks(fresh, words):
            rows = score(store, tables, current, block).with_columns(block["by_sketch"])
            contained = pl.max_horizontal("left_in_right", "right_in_left") >= _WORTH_KEEPING
            pairs.append(rows.filter(contained | _is_close(settings)).select(SCORED_PAIRS.names()))
            advance(block.height)
    return pl.concat(pairs).sort("left", "right"), fresh.height


def _is_close(settings: Deduplication) -> pl.Expr:
    return pl.col("cosine") >= settings.similarity_threshold


def _candidates(
    store: Store,
    tables: Tables,
    known: Known,
    texts: pl.DataFrame,
    standing: pl.DataFrame,
    settings: Deduplication,
) -> pl.DataFrame:
    """All candidate pairs of current texts: columns left, right, by_sketch; of those without scores worth keeping
    only such with a text that was looked for again.

    `texts` are numbered, with what :func:`_changes` says of them; `standing` are the known pairs of those that stay.
    """
    current = texts.filter(~pl.col("gone"))
    again, by_sketch = _by_sketch(store, tables, known, texts)
    is_again = pl.col("left").is_in(again.implode()) | pl.col("right").is_in(again.implode())
    by_sketch = pl.concat([by_sketch, standing.filter("by_sketch", ~is_again).select("left", "right")])

    # Where a text had as many candidates by vector as count, others count in place of those that are gone.
    changed = texts.filter(pl.col("came") | pl.col("gone"))["text_digest"].implode()
    full = known.pairs.filter(_is_close(settings)).filter(pl.len().over("right") >= candidates.LIMIT)
    lacking = full.filter(pl.col("left").is_in(changed))["right"].implode()
    wanted = current.filter(pl.col("came") | pl.col("text_digest").is_in(lacking))["text"]
    found = _by_vector(store, tables, current, wanted, settings.similarity_threshold)
    close = standing.filter(_is_close(settings)).select("left", "right")
    by_vector = candidates.first_neighbours(pl.concat([close, found]))

    both = by_sketch.with_columns(by_sketch=True).join(by_vector, on=["left", "right"], how="full", coalesce=True)
    return both.with_columns(pl.col("by_sketch").fill_null(False))


def _changes(
    store: Store, tables: Tables, documents: pl.DataFrame, known: Known, settings: Deduplication
) -> pl.DataFrame:
    """The texts there are and there were: _PLACE, `partition` to read each in, and whether it `came` or is `gone`.

    A text whose place changed is gone from the old one and came to the new.
    """

    def placed(rows: pl.DataFrame) -> pl.DataFrame:
        first = decide.in_order(rows, settings).unique("text_digest", keep="first", maintain_order=True)
        return first.select(*_PLACE, "partition")

    changed = {p for p in tables.sketches | known.sketches if tables.sketches.get(p) != known.sketches.get(p)}
    was = sketches.documents(store, [s for p, s in known.sketches.items() if p in changed])
    is_changed = pl.col("partition").is_in(list(changed))
    touched = pl.concat([documents.filter(is_changed)["text_digest"], was["text_digest"]]).unique().implode()
    before = placed(pl.concat([documents.filter(~is_changed), was]).filter(pl.col("text_digest").is_in(touched)))
    now = placed(documents)
    key = list(_PLACE)
    gone = before.join(now, on=key, how="anti", nulls_equal=True)
    is_old = ~pl.col("text_digest").is_in(touched)
    kept = now.filter(~is_old).join(before, on=key, how="semi", nulls_equal=True)
    came = now.filter(~is_old).join(before, on=key, how="anti", nulls_equal=True)
    stays = pl.concat([now.filter(is_old), kept])
    return pl.concat(
        [
            stays.with_columns(came=False, gone=False),
            came.with_columns(came=True, gone=False),
            gone.with_columns(came=False, gone=True),
        ]
    )


def _numbered(pairs: pl.DataFrame, texts: pl.DataFrame) -> pl.DataFrame:
    """Pairs of text digests as pairs of numbers."""
    for side in ("left", "right"):
        numbers = texts.select(pl.col("text_digest").alias(side), "text")
        pairs = pairs.join(numbers, on=side).drop(side).rename({"text": side})
    return pairs


def _named(pairs: pl.DataFrame, texts: pl.DataFrame) -> pl.DataFrame:
    """Pairs of numbers as pairs of text digests, in the same order."""
    for side in ("left", "right"):
        names = texts.select(pl.col("text").alias(side), "text_digest")
        pairs = pairs.join(names, on=side, how="left", maintain_order="left").drop(side).rename({"text_digest": side})
    return pairs


def _by_sketch(store: Store, tables: Tables, known: Known, texts: pl.DataFrame) -> tuple[pl.Series, pl.DataFrame]:
    """The texts whose partners were looked for again, and all pairs that they are in by their sketches."""
    before = [s for p, s in known.sketches.items() if s != tables.sketches.get(p)]
    hashes = _hashes(store, [*tables.sketches.values(), *before], texts)
    sizes = candidates.sketch_sizes(hashes)
    came, gone = (texts.filter(status)["text"] for status in ("came", "gone"))

    def sharing(wanted: pl.Series) -> pl.DataFrame:
        mine = hashes.filter(pl.col("text").is_in(wanted.implode()))["hash"].unique()
        return hashes.filter(pl.col("hash").is_in(mine.implode()))

    again = pl.concat([came, candidates.moved(sharing(pl.concat([came, gone])), came, gone)])
    hashes = hashes.filter(~pl.col("text").is_in(gone.implode()))
    return again, candidates.sketch_pairs(again, sharing(again), sizes)


def _hashes(store: Store, segments: list[Segment], texts: pl.DataFrame) -> pl.DataFrame:
    """The sketches of numbered texts, schema candidates.HASHES, the rows of a text together."""
    rows = (
        store.files.scan([s.path for s in segments], SKETCHES)
        .filter(pl.col("hashes").list.len() > 0)
        .select("text_digest", "hashes")
        .collect()
    )
    digests = rows.select("text_digest").with_row_index("row")
    found = digests.join(texts.select("text", "text_digest"), on="text_digest").unique("text", keep="any").sort("row")
    lengths = rows["hashes"].list.len().to_numpy()
    values = rows["hashes"].explode().to_numpy()
    # A text whose place changed has two numbers, one that was not asked for has none.
    if found["row"].n_unique() < found.height or found.height < rows.height:
        picked = rows["hashes"].gather(found["row"])
        lengths, values = picked.list.len().to_numpy(), picked.explode().to_numpy()
    return pl.DataFrame({"text": np.repeat(found["text"].to_numpy(), lengths), "hash": values}, candidates.HASHES)


def _by_vector(
    store: Store, tables: Tables, current: pl.DataFrame, wanted: pl.Series, threshold: float
) -> pl.DataFrame:
    """Pairs by vector of wanted texts with any; where a text has very many, the first of them."""
    found = [pl.DataFrame(schema=candidates.PAIRS)]
    others = current
    for block in current.filter(pl.col("text").is_in(wanted.implode())).iter_slices(_VECTORS_IN_MEMORY):
        others = others.join(block, on="text", how="anti")  # earlier blocks were compared with all texts
        mine = _all_vectors(store, _of(block, tables.vectors), block)
        theirs = _vectors(store, list(tables.vectors.values()), others)
        found.append(candidates.vector_pairs(mine, theirs, threshold))
    return pl.concat(found)


def _vectors(store: Store, segments: list[Segment], texts: pl.DataFrame) -> Iterator[candidates.Vectors]:
    """Numbered texts with their vectors, in blocks of some size, each text once in a block."""
    numbers = texts.select("text", "text_digest")
    read: list[pa.Table] = []
    for segment in segments:
        with store.files.parquet(segment.path) as f:  # twice as fast as polars with columns of vectors
            read.append(f.read(["text_digest", "embedding"]))
        if sum(t.num_rows for t in read) >= _VECTORS_IN_MEMORY or segment is segments[-1]:
            table = pa.concat_tables(read)
            digests = pl.DataFrame(table.select(["text_digest"])).with_row_index("row")
            rows = digests.join(numbers, on="text_digest").unique("text", keep="any").sort("row")
            column = table["embedding"].combine_chunks()
            array = column.flatten().to_numpy().reshape(len(column), -1)
            # Mostly all rows are asked for: then nothing is copied.
            yield rows["text"].to_numpy(), array if rows.height == len(array) else array[rows["row"].to_numpy()]
            read = []


def _all_vectors(store: Store, segments: list[Segment], texts: pl.DataFrame) -> candidates.Vectors:
    """The same at once, in order, each text once."""
    numbers, arrays = zip(*_vectors(store, segments, texts), strict=True)
    distinct, first = np.unique(np.concatenate(numbers), return_index=True)
    return distinct, np.concatenate(arrays)[first]


def _of(texts: pl.DataFrame, segments: dict[str, Segment]) -> list[Segment]:
    """The segments that these texts are read in, by their `partition`."""
    homes = set(texts["partition"])
    return [s for p, s in segments.items() if p in homes]


def blocks(pairs: pl.DataFrame, words: Mapping[str, int]) -> Iterator[pl.DataFrame]:
    """Runs of pairs (columns left, right: text digests) whose texts have at most about _WORDS_IN_MEMORY words."""
    start, seen, total = 0, set(), 0
    for i, pair in enumerate(pairs.select("left", "right").iter_rows()):
        fresh = [digest for digest in pair if digest not in seen]
        seen.update(fresh)
        total += sum(words[digest] for digest in fresh)
        if total >= _WORDS_IN_MEMORY:
            yield pairs.slice(start, i + 1 - start)
            start, seen, total = i + 1, set(), 0
    if start < pairs.height:
        yield pairs.slice(start)


def score(store: Store, tables: Tables, home: pl.DataFrame, pairs: pl.DataFrame) -> pl.DataFrame:
    """Scores of pairs (columns left, right: text digests) from the stored texts and vectors, schema decide.PAIRS.

    `home` names a partition to read each text in: columns text_digest, partition. The order is that of `pairs`.
    """
    digests = pl.concat([pairs["left"], pairs["right"]]).unique().sort()
    texts = digests.to_frame("text_digest").with_row_index("text")
    home = home.join(texts, on="text_digest", how="semi")
    # A filter, not a join: polars then reads no page of a file without a text that is wanted.
    bodies = (
        store.files.scan([s.path for s in _of(home, tables.texts)], EXTRACTED_TEXT)
        .filter(pl.col("text_digest").is_in(digests.implode()))
        .select("text_digest", "text")
        .collect()
        .unique("text_digest", keep="any")
        .sort("text_digest")
    )
    _, vectors = _all_vectors(store, _of(home, tables.vectors), texts)
    left, right = (digests.search_sorted(pairs[side]).to_numpy() for side in ("left", "right"))
    return (
        verify.scores(bodies["text"].to_list(), left, right)
        .with_columns(pairs["left"], pairs["right"], cosine=verify.cosines(vectors[left], vectors[right]))
        .select(decide.PAIRS.names())
    )
