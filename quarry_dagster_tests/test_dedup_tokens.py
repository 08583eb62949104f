"""Tokens are those of a plain reading by regular expressions, text by text, whatever is done to be quicker.

Sketches made from them are stored in users' data: the same text must give the same tokens in every version.
"""

import re
import sys
import unicodedata

import numpy as np
import polars as pl
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from quarry_dagster.dedup.shingles import sketches
from quarry_dagster.dedup.tokens import mix, spelled, tokens
from quarry_dagster.extract import normal_form
from quarry_dagster.extract.words import ALPHABETIC, IDEOGRAPHIC

_TOKEN = (
    rf"[{IDEOGRAPHIC}{ALPHABETIC}]|[[\p{{L}}\p{{N}}\p{{M}}]--[{IDEOGRAPHIC}{ALPHABETIC}]]+|[.!?](?:\s|$)|[。।॥؟۔።།༎]"
)
_END = r"^(?:[.!?](?:\s|$)|[。।॥؟۔።།༎])"
_ARABIC = dict.fromkeys((*range(0x610, 0x61B), 0x640, *range(0x64B, 0x660), 0x670, *range(0x6D6, 0x6EE)), "")
_ARABIC |= dict.fromkeys(range(0x8CA, 0x900), "") | {
    ord(a): b for a, b in zip("أإآٱؤئىة", "اااا" + "وييه", strict=True)
}

ALPHABETS = (
    "abcXYZ019 ",
    "`*_~|#>\\=•-+: ab",
    ".!?。।॥؟۔።།༎ a",
    "äßéﬁ’“”…½² ",
    "漢字かなカナ々〇ｶﾞ",
    "ไทยลาວខ្មែរမြန်မာ๑๓၁",
    "عربيأإآٱؤئىةـًٌٍَ٠١٢۴۵ ",
    "हिन्दी१२तमிழ் ",
    "\u00ad\u200b\u200d\u200e\ufeff\u2060\U000e0041",
    "\x00\x01\x1c\x1f\x85\xa0\u2028\u3000\u1680\u180e\r\n\t",
    "\u0301\u0308\u0345\u05b0\u0e31",
    "ꀀꀁ\U00020000😀🇩🇪ﷺ㍿Ǆẞ",
)
CHARACTERS = st.one_of(*map(st.sampled_from, ALPHABETS), st.characters(exclude_categories=["Cs"]))
TEXTS = st.lists(CHARACTERS, max_size=60).map("".join)
EVERY_CHARACTER = "".join(chr(c) for c in range(sys.maxunicode + 1) if not 0xD800 <= c < 0xE000)


def read(text: str) -> tuple[list[int], list[int], list[bool], list[bool]]:
    """Of each token of a text: hash, size, whether it begins with a digit, whether a sentence ends behind it."""
    compared = normal_form(text).translate(_ARABIC)
    compared = re.sub(r"\d", lambda digit: str(unicodedata.decimal(digit[0])), compared)
    found = pl.Series([compared]).str.replace_all(r"\p{Cf}", "").str.extract_all(_TOKEN).explode().drop_nulls()
    is_end = [*found.str.contains(_END), False]
    at = [i for i in range(len(found)) if not is_end[i]]
    words = found.gather(at)
    hashes = np.array([xxhash.xxh3_64_intdigest(word) for word in words.cast(pl.Binary)], np.uint64)
    sizes = [4] * len(words)
    for script, length, size in ((IDEOGRAPHIC, 3, 2), (ALPHABETIC, 6, 1)):
        alone = hashes.copy()
        for i, in_run in enumerate(words.str.contains(rf"^[{script}]$")):
            if in_run:
                sizes[i] = size
                for following in range(i + 1, min(i + length, len(words))):
                    hashes[i : i + 1] = mix(hashes[i : i + 1] + alone[following] + np.uint64(0x9E3779B97F4A7C15))
    return hashes.tolist(), sizes, words.str.contains(r"^\p{Nd}").to_list(), [is_end[i + 1] for i in at]


def cut(texts: list[str]) -> list[tuple[list[int], list[int], list[bool], list[bool]]]:
    """What :func:`read` says of each text, by `tokens`."""
    found, counts = tokens(texts)
    ends = np.cumsum(counts)[:-1]
    columns = (found.hashes, found.sizes, found.is_number, found.ends_sentence)
    return list(zip(*([part.tolist() for part in np.split(column, ends)] for column in columns), strict=True))


@given(st.lists(TEXTS, min_size=1, max_size=6))
def test_tokens_are_those_of_a_plain_reading_whatever_stands_beside_a_text(texts: list[str]) -> None:
    assert cut(texts) == [read(text) for text in texts]


@pytest.mark.parametrize(
    "text",
    [EVERY_CHARACTER, " ".join(EVERY_CHARACTER), "x" * 4_000_000, "漢" * 100, "\n" * 1000, "1\x002\u00ad3. ", ".", ""],
    ids=["every character", "every character alone", "one word", "one run", "blanks", "unseen", "a stop", "nothing"],
)
def test_tokens_are_those_of_a_plain_reading_of_extreme_texts(text: str) -> None:
    assert cut([text]) == [read(text)]


def test_no_texts_have_no_tokens() -> None:
    found, counts = tokens([])
    assert len(found.hashes) == len(counts) == 0
    assert sketches([]) == []


def test_half_a_character_is_an_error() -> None:
    with pytest.raises(UnicodeEncodeError):
        tokens(["half a \ud83d character"])


def test_a_sentence_that_a_text_begins_with_the_end_of_ends_in_no_other_text() -> None:
    assert cut(["no stop here", ". And then"])[0][3] == [False, False, False]


@given(TEXTS)
def test_words_are_spelled_as_they_are_hashed(text: str) -> None:
    (hashes, sizes, *_), words = read(text), spelled(text)
    assert len(words) == len(hashes)
    whole = [(word, found) for word, found, size in zip(words, hashes, sizes, strict=True) if size == 4]
    assert [xxhash.xxh3_64_intdigest(word.encode()) for word, _ in whole] == [found for _, found in whole]


_MARKS = [
    (r"(?:```+|~~~+)(?:[^\s`]*(?!\S))?", ""),
    (r"\\([\\`*_{}\[\]()#+\-.!|>~])", r"\1"),
    (r"`+|\*\*+|~~+|(?<![^\W_])[*_]+|[*_]+(?![^\W_])", ""),
    (r"\|", " "),
    (r"(?<!\S)(?:[-+*#=~•>]+|:?-+:?)(?!\S)|(?<!\S)>+", ""),
]


@given(TEXTS)
def test_marks_are_taken_out_of_each_word_by_itself(text: str) -> None:
    words = unicodedata.normalize("NFKC", text).casefold().split()
    plain = []
    for word in words:
        if re.search(r"[`*_~|#>\\=•]|^[-+:]", word):
            for mark, instead in _MARKS:
                word = re.sub(mark, instead, word)
        plain += word.split()
    assert normal_form(text) == " ".join(plain)
