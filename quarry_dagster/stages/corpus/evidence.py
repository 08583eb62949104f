"""Reads what it takes to find and to judge pairs of texts: sketches, vectors and full texts, from the tables.

The tables name a text by its digest; where very many texts are compared, a number stands for each.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa

from quarry_dagster.dedup import candidates, scoring
from quarry_dagster.stages.vectors import read_vectors
from quarry_dagster.store import SketchSegment, Store, TextSegment, VectorSegment
from quarry_dagster.store.schemas import EXTRACTED_TEXT, SKETCHES

_BODIES = pl.Schema({"text_digest": pl.String, "text": pl.String})


@dataclass(frozen=True)
class Outlines:
    """The outlines of texts, in the order of the rows of their segments."""

    rows: np.ndarray
    """float16 of shape (n, width)."""
    texts: np.ndarray
    """The number of the text that each row outlines: int64 of shape (n,); -1 for a text that was not asked for."""


def read_sketches(
    store: Store, segments: list[SketchSegment], texts: pl.DataFrame, width: int
) -> tuple[candidates.Sketches, Outlines | None]:
    """Read the sketches of texts, and their outlines.

    Args:
        segments: the segments of `sketches` to read.
        texts: columns `text` (a number), `text_digest`, and `row`: the row of a document with that text, counted
            through all segments in their order.
        width: the numbers in an outline; 0: outlines are not read, and None is returned for them.

    Raises:
        StoreError: a segment is damaged.
    """
    starts, rows, sizes, hashes, outlines = [0], [], [], [], []
    for segment in segments:
        with store.files.parquet(segment.path) as f:
            table = f.read(["hashes", "outline"] if width else ["hashes"], use_threads=False)
        is_there = table["hashes"].is_valid().to_numpy()
        size, values = _unpacked(table["hashes"], np.uint64)
        rows.append(starts[-1] + np.flatnonzero(is_there))
        starts.append(starts[-1] + len(table))
        sizes.append(size[is_there])
        hashes.append(values)
        if width:
            outlines.append(_unpacked(table["outline"], np.float16)[1])
    numbers = _numbers(store, segments, texts, np.array(starts), np.concatenate(rows))
    size, every, has_text = np.concatenate(sizes), np.concatenate(hashes), numbers >= 0
    if not has_text.all():
        size, every = size[has_text], every[np.repeat(has_text, size)]
    sketches = candidates.Sketches(numbers[has_text].astype(np.uint32), np.cumsum(size), every)
    return sketches, Outlines(np.concatenate(outlines).reshape(-1, width), numbers) if width else None


def _unpacked(column: pa.ChunkedArray, dtype: type) -> tuple[np.ndarray, np.ndarray]:
    """Unpack a column of arrays, stored as large_binary.

    Returns the number of values in each row (int64; 0 for a null), and the values of all rows in one array.
    """
    array = column.combine_chunks()
    _, offsets, content = array.buffers()
    ends = np.frombuffer(offsets, np.int64)[array.offset : array.offset + len(array) + 1] // np.dtype(dtype).itemsize
    return np.diff(ends), np.frombuffer(content, dtype)[ends[0] : ends[-1]]


def _numbers(
    store: Store, segments: list[SketchSegment], texts: pl.DataFrame, starts: np.ndarray, rows: np.ndarray
) -> np.ndarray:
    """For each of `rows`, the number of the text whose sketch it holds: int64; -1 where it is none of `texts`.

    Args:
        texts: as :func:`read_sketches` takes them.
        starts: the first row of each segment, and behind them the number of all rows.
        rows: the rows that hold a sketch.
    """
    numbers = np.full(starts[-1], -1)
    numbers[texts["row"].to_numpy()] = texts["text"].to_numpy()
    is_sketched = np.zeros(starts[-1], np.bool_)
    is_sketched[rows] = True
    twins = texts.filter(pl.Series(~is_sketched[texts["row"].to_numpy()]))
    if twins.height:  # of equal texts in one segment the first document alone has the sketch
        digests = store.files.scan([s.path for s in segments], SKETCHES).select("text_digest").with_row_index("row")
        named = digests.filter(pl.col("text_digest").is_in(twins["text_digest"].implode())).collect()
        named = named.filter(pl.Series(is_sketched[named["row"].to_numpy()]))
        segment = [np.searchsorted(starts, frame["row"], "right") for frame in (named, twins)]
        of = twins.with_columns(segment=segment[1]).select("segment", "text_digest", "text")
        both = named.with_columns(segment=segment[0]).join(of, on=["segment", "text_digest"])
        numbers[both["row"].to_numpy()] = both["text"].to_numpy()
    return numbers[rows]


def vectors(store: Store, segments: Mapping[str, VectorSegment], texts: pl.DataFrame) -> Iterator[candidates.Vectors]:
    """Read the vectors of texts, a block for each partition.

    `texts` has the columns `text` (a number), `text_digest`, and `partition`: where to read the vector.
    """
    for home in texts.partition_by("partition"):
        wanted = home["text_digest"].to_list()
        digests, array = read_vectors(store, segments[home["partition"][0]], wanted)
        row = {digest: i for i, digest in enumerate(digests.to_list())}
        yield home["text"].to_numpy(), array[[row[digest] for digest in wanted]]


def joined(blocks: Iterable[candidates.Vectors]) -> candidates.Vectors:
    """All blocks (at least one) as one block."""
    numbers, arrays = zip(*blocks, strict=True)
    return np.concatenate(numbers), np.concatenate(arrays)


def scored(
    store: Store, segments: Mapping[str, TextSegment], texts: pl.DataFrame, pairs: pl.DataFrame
) -> Iterator[pl.DataFrame]:
    """Score pairs from the stored texts, as :func:`quarry_dagster.dedup.scoring.scored` does.

    Args:
        texts: columns text_digest, word_count, and `partition`: where to read the text.
        pairs: columns left, right (text digests), and others, which stay.
    """
    home = texts.select("text_digest", "partition")

    def read(digests: pl.Series) -> pl.DataFrame:
        found = [pl.DataFrame(schema=_BODIES)]
        homes = home.filter(pl.col("text_digest").is_in(digests.implode()))["partition"].unique().sort()
        for partition in homes:
            rows = store.files.scan([segments[partition].path], EXTRACTED_TEXT).select(_BODIES.names())
            mine = rows.filter(pl.col("text_digest").is_in(digests.implode())).collect()
            # Made anew: rows that were filtered keep all that was read in memory.
            found.append(pl.DataFrame(mine.to_dict(as_series=False), _BODIES))
        return pl.concat(found).unique("text_digest", keep="any")

    return scoring.scored(pairs, texts, read)


def with_cosines(
    store: Store, segments: Mapping[str, VectorSegment], home: pl.DataFrame, pairs: pl.DataFrame
) -> pl.DataFrame:
    """The pairs with the column `cosine`, computed from the stored vectors.

    Args:
        home: columns text_digest, and `partition`: where to read the vector of the text.
        pairs: columns left, right (text digests), and others, which stay as they are, in their order.
    """
    digests = pl.concat([pairs["left"], pairs["right"]]).unique().sort()
    homes = home.select("text_digest", "partition").filter(pl.col("text_digest").is_in(digests.implode()))
    texts = homes.unique("text_digest").sort("text_digest")
    numbered = pairs.select(digests.search_sorted(pairs[side]).alias(side) for side in ("left", "right"))
    found = candidates.cosines_of(numbered, *joined(vectors(store, segments, texts.with_row_index("text"))))
    return pairs.with_columns(found["cosine"])
