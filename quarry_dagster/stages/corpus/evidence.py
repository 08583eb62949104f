"""Reads what it takes to find and to judge pairs of texts: sketches, vectors and full texts, from the tables.

The tables name a text by its digest; where very many texts are compared, a number stands for each.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa

from quarry_dagster.dedup import candidates, verify
from quarry_dagster.stages.vectors import read_vectors
from quarry_dagster.store import SketchSegment, Store, TextSegment, VectorSegment
from quarry_dagster.store.schemas import EXTRACTED_TEXT, SKETCHES

_WORDS_IN_MEMORY = 1_000_000
"""Words of the texts that are cut into shingles at once."""
_SHINGLES_IN_MEMORY = 8_000_000
"""Shingles, of 12 bytes each, that are kept for the pairs to come."""


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
        size, values = _unpacked(table["hashes"], np.uint32)
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
    """Score pairs from the stored texts, some pairs at a time.

    Args:
        texts: columns text_digest, word_count, and `partition`: where to read the text.
        pairs: columns left, right (text digests), and others, which stay.

    Returns:
        The pairs in their order, with the columns verify.SCORES.
    """
    shingled = _Shingles(store, segments, texts)
    for block in _blocks(pairs, texts):
        digests = pl.concat([block["left"], block["right"]]).unique().sort()
        left, right = (digests.search_sorted(block[side]).to_numpy() for side in ("left", "right"))
        yield block.hstack(verify.scores(shingled.texts(digests), left, right))


def _blocks(pairs: pl.DataFrame, texts: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Cut pairs into runs whose texts have at most about _WORDS_IN_MEMORY words together."""
    digests = pl.concat([pairs["left"], pairs["right"]]).unique()
    mine = texts.filter(pl.col("text_digest").is_in(digests.implode()))
    words = dict(mine.select("text_digest", "word_count").iter_rows())
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


class _Shingles:
    """The shingles of stored texts. Those asked for last are kept, since many pairs share a text."""

    def __init__(self, store: Store, segments: Mapping[str, TextSegment], texts: pl.DataFrame) -> None:
        self._store = store
        self._segments = segments
        self._home = texts.select("text_digest", "partition")
        self._kept: dict[str, verify.Shingled] = {}

    def texts(self, digests: pl.Series) -> list[verify.Shingled]:
        """The shingles of the texts with these digests, in their order."""
        wanted = digests.to_list()
        read = self._read(pl.Series([d for d in wanted if d not in self._kept], dtype=pl.String))
        asked = {digest: read[digest] if digest in read else self._kept.pop(digest) for digest in wanted}
        self._kept |= asked
        size = sum(len(text.order) for text in self._kept.values())
        for digest in list(self._kept):  # in the order in which they were asked for
            if size <= _SHINGLES_IN_MEMORY:
                break
            size -= len(self._kept.pop(digest).order)
        return list(asked.values())

    def _read(self, digests: pl.Series) -> dict[str, verify.Shingled]:
        """Read and shingle the texts with these digests; returns the shingles by digest."""
        if digests.is_empty():
            return {}
        homes = self._home.filter(pl.col("text_digest").is_in(digests.implode()))["partition"].unique()
        # A filter, not a join: polars then reads no page of a file without a text that is wanted.
        bodies = (
            self._store.files.scan([self._segments[p].path for p in homes], EXTRACTED_TEXT)
            .filter(pl.col("text_digest").is_in(digests.implode()))
            .select("text_digest", "text")
            .collect()
            .unique("text_digest", keep="any")
        )
        texts = verify.Shingled.of(bodies["text"].to_list())
        return dict(zip(bodies["text_digest"].to_list(), texts, strict=True))


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
