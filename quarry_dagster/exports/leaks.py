"""Held-out documents that share text with another side: a model that was trained there has seen them.

Pairs come from the sketches of all documents that were decided on, duplicates and filtered ones among them. So what is
left out once stays out while the corpus grows, whichever of two copies is kept then.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl

from quarry_dagster.dedup.candidates import Sketches
from quarry_dagster.store import Corpus, Store
from quarry_dagster.store.schemas import SKETCHES

CONTAINED = 0.3
"""The share of the smaller sketch from which two documents share text: containment, either way."""
_ROWS = 20_000_000
"""Common hashes that are counted at once."""


@dataclass(frozen=True)
class SketchFrames:
    """The sketches of all documents that were decided on: frames of doc_id, text_digest and hashes, a partition each.

    They can be gone through several times, are read anew each time, and are never all in memory. Of equal texts in a
    partition the first one alone has hashes, exported or not: so no row is left out.
    """

    store: Store
    corpus: Corpus

    def __iter__(self) -> Iterator[pl.DataFrame]:
        for path in self.corpus.sketches.values():
            yield self.store.files.scan([path], SKETCHES).select("doc_id", "text_digest", "hashes").collect()


def conflicts(held: pl.DataFrame, ranks: pl.DataFrame, sketches: Iterable[pl.DataFrame]) -> pl.Series:
    """The ids of held-out documents that share text with a document of a lower rank.

    Args:
        held: the held-out documents, column doc_id.
        ranks: all documents: doc_id, text_digest, and `rank` of its side (0: train).
        sketches: frames of all documents with a sketch: text_digest, `hashes` (Binary, uint64). Read twice.
    """
    lowest = ranks.group_by("text_digest").agg(lowest=pl.col("rank").min())
    mine = held.select("doc_id").join(ranks, on="doc_id").join(lowest, on="text_digest")
    wanted = mine["text_digest"].unique().sort()
    number = pl.DataFrame({"text_digest": wanted, "held": pl.Series(range(len(wanted)), dtype=pl.UInt32)})
    theirs = pl.concat(
        [pl.DataFrame(schema={"held": pl.UInt32, "hash": pl.UInt64, "size": pl.Int64})]
        + [
            _hashes(frame.join(number, on="text_digest")).select("held", "hash", "size")
            for frame in _distinct(sketches, set(wanted))
        ]
    )
    sizes = dict(theirs.select("held", "size").unique().iter_rows())
    least = np.zeros(len(wanted), np.int64)
    least[list(sizes)] = list(sizes.values())
    worst = np.full(len(wanted), np.iinfo(np.int64).max)
    table = theirs.select("hash", "held")
    for frame in sketches:
        rows = frame.join(lowest, on="text_digest").with_columns(other=pl.int_range(pl.len(), dtype=pl.UInt32))
        ranks_of, digests = rows["lowest"].to_numpy(), rows["text_digest"].to_list()
        for pairs in _sharing(_hashes(rows).select("other", "hash", "size"), table):
            mine_, other, shared, size = (pairs[c].to_numpy() for c in ("held", "other", "len", "size"))
            enough = shared >= CONTAINED * np.minimum(least[mine_], size)
            mine_, other = mine_[enough], other[enough]
            pairs_of = zip(mine_.tolist(), other.tolist(), strict=True)
            others = np.fromiter((wanted[h] != digests[o] for h, o in pairs_of), np.bool_, len(mine_))
            h, o = mine_[others], other[others]
            np.minimum.at(worst, h, ranks_of[o])
    found = mine.join(number, on="text_digest")
    nearest = np.minimum(worst[found["held"].to_numpy()], found["lowest"].to_numpy())
    return found["doc_id"].filter(pl.Series(found["rank"].to_numpy() > nearest, dtype=pl.Boolean)).sort()


def _distinct(sketches: Iterable[pl.DataFrame], wanted: set[str]) -> Iterator[pl.DataFrame]:
    """The rows of wanted texts, each text once."""
    seen: set[str] = set()
    for frame in sketches:
        rows = frame.filter(pl.col("text_digest").is_in(list(wanted - seen))).unique("text_digest")
        seen.update(rows["text_digest"])
        yield rows


def _hashes(rows: pl.DataFrame) -> pl.DataFrame:
    """A row for each hash of each row: its other columns, `hash` (UInt64), and `size` of its sketch (Int64)."""
    rows = rows.filter(pl.col("hashes").is_not_null())
    values = [np.frombuffer(each, np.uint64) for each in rows["hashes"]]
    counts = np.array([len(each) for each in values], np.int64)
    every = np.concatenate([np.empty(0, np.uint64), *values])
    size = Sketches(np.arange(rows.height, dtype=np.uint32), np.cumsum(counts), every).sizes()["size"]
    at = np.repeat(np.arange(rows.height), counts)
    return rows.drop("hashes").with_columns(size=size.cast(pl.Int64))[at].with_columns(hash=pl.Series(every))


def _sharing(hashes: pl.DataFrame, held: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """The common hashes of each pair: columns held, other, size (of the other) and len."""
    many = held.group_by("hash").len("many")
    rows = hashes.join(many, on="hash").sort("other")
    blocks = rows["many"].cum_sum() // _ROWS if rows.height else rows["many"]
    first = rows.with_columns(block=blocks).with_columns(block=pl.col("block").first().over("other"))
    for _, block in first.group_by("block", maintain_order=True):
        yield block.join(held, on="hash").group_by("held", "other", "size").len()
