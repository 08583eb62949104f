"""Scoring very many pairs of texts, some at a time, wherever the texts are: in tables or in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import polars as pl

from quarry_dagster.dedup import near, verify

ReadTexts = Callable[[pl.Series], pl.DataFrame]
"""Gives the texts of these digests: columns text_digest, text; each once, in any order."""

WORTH_KEEPING = pl.max_horizontal("left_in_right", "right_in_left") >= 0.3
"""Whether the scores of a pair are worth keeping: whether they would be in any mode, and by bounds somewhat lower."""

_WORDS_IN_MEMORY = 1_000_000
"""Words of the texts that are cut into shingles at once."""
_SHINGLES_IN_MEMORY = 8_000_000
"""Shingles, of 12 bytes each, that are kept for the pairs to come."""


def scored(pairs: pl.DataFrame, texts: pl.DataFrame, read: ReadTexts) -> Iterator[pl.DataFrame]:
    """Score pairs, some at a time.

    Args:
        pairs: columns left, right (text digests), and others, which stay. Pairs that share a text should stand near
            each other: its shingles are kept for a while.
        texts: columns text_digest, word_count.
        read: reads texts.

    Returns:
        The pairs in their order, with the columns verify.SCORES.
    """
    shingled = _Shingles(read)
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
    """The shingles of texts. Those asked for last are kept, since many pairs share a text."""

    def __init__(self, read: ReadTexts) -> None:
        self._read_texts = read
        self._kept: dict[str, near.Text] = {}

    def texts(self, digests: pl.Series) -> list[near.Text]:
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

    def _read(self, digests: pl.Series) -> dict[str, near.Text]:
        """Read and shingle the texts with these digests; returns the shingles by digest."""
        if digests.is_empty():
            return {}
        bodies = self._read_texts(digests)
        texts = near.Text.of(bodies["text"].to_list())
        return dict(zip(bodies["text_digest"].to_list(), texts, strict=True))
