"""What is read from characters alone: shares of them, how they are spread, how well they can be compressed."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from quarry_dagster.quality.code_points import (
    ALPHA,
    BROKEN,
    CONTINUATION,
    DIGIT,
    LEAD_2,
    LEAD_3,
    LEAD_4,
    LOWER,
    PAREN,
    SENTENCE_END,
    SPACE,
    SYMBOL,
    UPPER,
    Batch,
    table,
)
from quarry_dagster.quality.lines import Spans, Values, ratio

_LETTERS = 3
"""Letters that a word has before a sign, for the sign to end a sentence."""
_URL = re.compile(r"https?://\S+")


def of_characters(batch: Batch, texts: Sequence[str], tokens: Spans) -> Values:
    """Shares of the characters of the texts."""
    counts = batch.histogram()

    def having(flags: int) -> npt.NDArray[np.float64]:
        return counts @ table().having(flags).astype(np.float64)

    whole = batch.lengths
    urls = [sum(map(len, _URL.findall(text))) if "://" in text else 0 for text in texts]
    return {
        "characters_v1": whole.astype(np.float64),
        "symbols_v1": ratio(having(SYMBOL), whole - having(SPACE)),
        "digits_v1": ratio(having(DIGIT), whole - having(SPACE)),
        "url_characters_v1": ratio(urls, whole),
        "white_space_v1": ratio(having(SPACE), whole),
        "parentheses_v1": ratio(having(PAREN), whole),
        "broken_characters_v1": ratio(having(BROKEN), whole),
        "mojibake_v1": ratio(_mojibake(batch), whole),
        "upper_case_v1": ratio(having(UPPER), having(ALPHA)),
        "small_after_end_v1": _small_after_end(batch, tokens),
        "entropy_v1": _entropy(batch),
        "compression_v1": ratio(*_compressed(texts)),
    }


def _mojibake(batch: Batch) -> npt.NDArray[np.float64]:
    """float64 [texts]: characters that are the bytes of one in UTF-8, read as Latin-1 or Windows-1252."""
    found = np.zeros(len(batch))
    for lead, size in ((LEAD_2, 2), (LEAD_3, 3), (LEAD_4, 4)):
        begins = batch.where(lead)
        for k in range(1, size):
            # A text's END stands behind what it has, and continues nothing.
            begins = begins[batch.have(begins + k, CONTINUATION)]
        found += size * batch.count(begins)
    return found


def _small_after_end(batch: Batch, tokens: Spans) -> npt.NDArray[np.float64]:
    """float64 [texts]: of the words behind one that ended a sentence, those that begin with a small letter."""
    same = tokens.texts[1:] == tokens.texts[:-1]
    pairs = np.flatnonzero(same & batch.have(tokens.ends[:-1] - 1, SENTENCE_END) & (tokens.lengths[:-1] > _LETTERS))
    # "e.g.", "3." and initials end nothing that is sure.
    for back in range(_LETTERS):
        pairs = pairs[batch.have(tokens.ends[pairs] - 2 - back, UPPER | LOWER)]
    after = tokens.begins[pairs + 1]
    cased = after[batch.have(after, UPPER | LOWER)]
    small = cased[batch.have(cased, LOWER)]
    return ratio(batch.count(small), batch.count(cased))


def _entropy(batch: Batch) -> npt.NDArray[np.float64]:
    """float64 [texts]: bits a character, by how often each character is in the text."""
    present = np.zeros(len(table().kinds), np.bool_)
    present[batch.points] = True
    points = np.flatnonzero(present)
    numbers = np.zeros(len(present), np.uint32)
    numbers[points] = np.arange(len(points))
    counts = batch.count_each(numbers.take(batch.points), len(points))
    wholes = np.maximum(batch.lengths, 1)
    logs = np.log2(np.maximum(counts, 1)) * counts
    return np.where(batch.lengths > 0, np.log2(wholes) - logs.sum(axis=1) / wholes, np.nan)


def _compressed(texts: Sequence[str]) -> tuple[list[int], list[int]]:
    """Bytes that zlib makes of each text at level 1, and bytes of it in UTF-8."""
    encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
    return [len(zlib.compress(each, 1)) if each else 0 for each in encoded], list(map(len, encoded))
