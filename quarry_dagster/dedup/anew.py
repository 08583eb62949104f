"""Decisions on a set of documents from their texts alone: nothing was known before, and there are no vectors.

A run does the same step by step on what changed (:mod:`quarry_dagster.stages.corpus.pairs`), by the same functions;
where it is set to, it looks for candidates by vector as well.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from quarry_dagster.dedup import candidates, decide, scoring, verify
from quarry_dagster.profiles.settings import Deduplication

_SCORED = pl.Schema({"left": pl.String, "right": pl.String, "cosine": pl.Float64, **verify.SCORES})


@dataclass(frozen=True)
class TextSketches:
    """The sketches of distinct texts (:func:`quarry_dagster.dedup.shingles.sketches`), concatenated."""

    digests: pl.Series
    """The digests of the texts, each once."""
    sizes: np.ndarray
    """How many hashes each has: int64."""
    hashes: np.ndarray
    """The hashes of all, uint64."""


def decide_anew(
    documents: pl.DataFrame, sketches: TextSketches, read: scoring.ReadTexts, settings: Deduplication
) -> pl.DataFrame:
    """Decisions (schema DECISIONS), a row a removed document; all other documents are kept.

    Args:
        documents: schema DOCUMENTS, a row a document.
        sketches: the sketches of all their texts.
        read: reads texts, some at a time.
        settings: not mode `aggressive`, whose rule for cosines would never hold.
    """
    # Texts are numbered in the order of keeping: of a pair, the left text is the one that may be kept.
    texts = decide.in_order(documents, settings).unique("text_digest", keep="first", maintain_order=True)
    texts = texts.select("text_digest", "word_count").with_row_index("text")
    numbered = sketches.digests.alias("text_digest").to_frame().join(texts, on="text_digest", maintain_order="left")
    every = candidates.Sketches(numbered["text"].to_numpy(), np.cumsum(sketches.sizes), sketches.hashes)
    _, found = candidates.by_sketch(every, texts["text"], pl.Series(dtype=pl.UInt32))
    # Sorted by the right text: in a crowd of near copies the left texts are the same few, which stay in memory.
    found = found.sort("right", "left")
    named = found.select(texts["text_digest"].gather(found[side]).alias(side) for side in ("left", "right"))
    blocks = scoring.scored(named, texts, read)
    return decide.decide(documents, pl.concat([pl.DataFrame(schema=_SCORED), *map(_without_cosine, blocks)]), settings)


def _without_cosine(scored: pl.DataFrame) -> pl.DataFrame:
    """The pairs whose scores may matter, with a null in the column `cosine`."""
    return scored.filter(scoring.WORTH_KEEPING).with_columns(cosine=pl.lit(None, pl.Float64)).select(_SCORED.names())
