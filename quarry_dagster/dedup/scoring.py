"""Scoring very many pairs of texts, some at a time, wherever the texts are: in tables or in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import polars as pl

from quarry_dagster.dedup import near, verify

ReadTexts = Callable[[pl.Series], pl.DataFrame]
"""Gives the texts of these digests: columns text_digest, text; each once, in any order."""

WORTH_KEEPING = pl.max_horizontal("left_in_right", "right_in_left") >= 0.3
"""Whether the scores of a pair are worth keeping: whether they would be in any mode, and by bounds somewhat lower."""

_WORDS_READ = 8_000_000
"""Words of the texts that are read at once: to read a few texts of a partition costs as much as to read them all."""
_WORDS_IN_MEMORY = 1_000_000
"""Words of the texts that are cut into shingles at once."""
_SHINGLES_IN_MEMORY = 8_000_000
"""Shingles that are kept for the pairs to come."""


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
    shingled = _Shingles()
    for run in _blocks(pairs, texts, _WORDS_READ):
        bodies = read(_digests(run))
        for block in _blocks(run, texts, _WORDS_IN_MEMORY):
            digests = _digests(block)
            left, right = (digests.search_sorted(block[side]).to_numpy() for side in ("left", "right"))
            yield block.hstack(verify.scores(shingled.texts(digests, bodies), left, right))


def _digests(pairs: pl.DataFrame) -> pl.Series:
    """The digests of the texts of pairs, sorted, each once."""
    return pl.concat([pairs["left"], pairs["right"]]).unique().sort()


def _blocks(pairs: pl.DataFrame, texts: pl.DataFrame, limit: int) -> Iterator[pl.DataFrame]:
    """Cut pairs into runs whose texts have at most about so many words together."""
    mine = texts.filter(pl.col("text_digest").is_in(_digests(pairs).implode()))
    words = dict(mine.select("text_digest", "word_count").iter_rows())
    start, seen, total = 0, set(), 0
    for i, pair in enumerate(pairs.select("left", "right").iter_rows()):
        fresh = [digest for digest in pair if digest not in seen]
        seen.update(fresh)
        total += sum(words[digest] for digest in fresh)
        if total >= limit:
            yield pairs.slice(start, i + 1 - start)
            start, seen, total = i + 1, set(), 0
    if start < pairs.height:
        yield pairs.slice(start)


class _Shingles:
    """The shingles of texts. Those asked for last are kept, since many pairs share a text."""

    def __init__(self) -> None:
        self._kept: dict[str, near.Text] = {}

    def texts(self, digests: pl.Series, bodies: pl.DataFrame) -> list[near.Text]:
        """The shingles of the texts with these digests, in their order.

        `bodies` has these texts, and may have others: columns text_digest, text.
        """
        fresh = bodies.filter(pl.col("text_digest").is_in([d for d in digests.to_list() if d not in self._kept]))
        made = dict(zip(fresh["text_digest"].to_list(), near.Text.of(fresh["text"].to_list()), strict=True))
        asked = {digest: made[digest] if digest in made else self._kept.pop(digest) for digest in digests.to_list()}
        self._kept |= asked
        size = sum(len(text.order) for text in self._kept.values())
        for digest in list(self._kept):  # in the order in which they were asked for
            if size <= _SHINGLES_IN_MEMORY:
                break
            size -= len(self._kept.pop(digest).order)
        return list(asked.values())
