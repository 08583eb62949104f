"""Each signal is what a slow, plain reading of it gives; with datatrove's words its verdicts and reasons follow."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
import unicodedata
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.junk import KINDS, SHARES, planted
from benchmarks.quality import first_reasons, policy, rules_of
from quarry_dagster.extract import count_words, plain_form
from quarry_dagster.extract.markdown import lines_of
from quarry_dagster.extract.words import UNSPACED as UNSPACED_CLASS
from quarry_dagster.quality import SIGNALS, Signal, Text, signals
from quarry_dagster.quality.code_points import (
    _NO_SENTENCE_END,  # pyright: ignore[reportPrivateUsage]
    _PUNCTUATION,  # pyright: ignore[reportPrivateUsage]
    _TERMINAL,  # pyright: ignore[reportPrivateUsage]
)
from quarry_dagster.quality.policy import read_policy, shipped
from quarry_dagster_tests.corpus import words as english

HERE = Path(__file__).parent
FIXTURE = [json.loads(line) for line in (HERE / "datatrove_verdicts.jsonl").read_text(encoding="utf-8").splitlines()]
CITATION = r"\[\d*]|\[edit]|\[citation needed]"
STOP = {"the", "be", "to", "of", "and", "that", "have", "with"}


def _characters(ranges: str) -> set[str]:
    bounds = [part.partition("-") for part in ranges.split()]
    return {chr(c) for first, _, last in bounds for c in range(int(first, 16), int(last or first, 16) + 1)}


TERMINAL = _characters(_TERMINAL)
SENTENCE_END = TERMINAL - _characters(_NO_SENTENCE_END)
PUNCTUATION = TERMINAL | _characters(_PUNCTUATION)
UNSPACED = re.compile(f"[{UNSPACED_CLASS}]")


def share(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def words_at(text: str) -> list[tuple[int, int, str]]:
    """The words by the rule that `count_words` counts by: where each begins and ends (a pair of letters: the first)."""
    letters = [i for i, c in enumerate(text) if UNSPACED.match(c) and c.isalpha()]
    pairs = [letters[k : k + 2] for k in range(0, len(letters), 2)]
    found = [(pair[0], pair[0] + 1, "".join(text[i] for i in pair)) for pair in pairs]
    spaced = UNSPACED.sub(" ", text) if letters else text
    spaced = re.sub("[\u0f0b-\u0f14\u1361-\u1368]", " ", spaced)
    at = 0
    for token in spaced.split():
        at = spaced.index(token, at)
        if any(map(str.isalnum, token)):
            found.append((at, at + len(token), token))
        at += len(token)
    return sorted(found)


def duplicates(parts: Sequence[str]) -> tuple[int, int]:
    seen: set[str] = set()
    again = [part for part in parts if part in seen or seen.add(part)]
    return len(again), sum(map(len, again))


def of_words(text: str, words: Sequence[str], given: bool) -> Iterator[tuple[str, float | None]]:
    real = [w for w in words if not given or set(w) - PUNCTUATION]
    yield "words", len(real)
    yield "mean_word_length", share(sum(map(len, real)), len(real))
    yield "longest_word", max((len(w) for w in real if "://" not in w), default=0) if real else None
    yield "letter_words", share(sum(any(map(str.isalpha, w)) for w in words), len(words))
    yield "hashes_per_word", share(text.count("#"), len(words))
    yield "ellipses_per_word", share(text.count("...") + text.count("…"), len(words))
    yield "stop_words", len(STOP & set(words))
    yield "stop_words_per_word", share(sum(w in STOP for w in words), len(real))
    windows = [words[i : i + 100] for i in range(0, len(words) - 99, 100)]
    yield "distinct_words", share(sum(len(set(window)) for window in windows), 100 * len(windows))
    for n in (2, 3, 4):
        grams = [" ".join(words[i : i + n]) for i in range(len(words) - n + 1)]
        (top, count), *_ = Counter(grams).most_common(1) or [("", 0)]
        yield f"top_{n}_grams", share(len(top) * count, len(text)) if grams else None
    for n in range(5, 11):
        seen: set[str] = set()
        at = again = 0
        while at + n <= len(words):
            gram = "".join(words[at : at + n])
            if gram in seen:
                again += len(gram)
                at += n
            else:
                seen.add(gram)
                at += 1
        yield f"duplicate_{n}_grams", share(again, len(text))


def of_lines(text: str) -> Iterator[tuple[str, float | None]]:
    lines = text.splitlines() or ([""] if not text else [])
    yield "bullet_lines", share(sum(line.lstrip().startswith(("•", "-")) for line in lines), len(lines))
    yield "ellipsis_lines", share(sum(line.rstrip().endswith(("...", "…")) for line in lines), len(lines))
    for name, parts in (("line", re.split("\n+", text)), ("paragraph", re.split("\n{2,}", text.strip()))):
        again, characters = duplicates(parts)
        yield f"duplicate_{name}s", share(again, len(parts))
        yield f"duplicate_{name}_characters", share(characters, len(text))


def by_fineweb(text: str, words: int, prefix: str = "") -> Iterator[tuple[str, float | None]]:
    lines = [line for line in text.split("\n") if line.strip()]
    yield f"{prefix}lines", len(lines)
    yield f"{prefix}end_punctuation_lines", share(sum(line[-1] in TERMINAL for line in lines), len(lines))
    yield f"{prefix}short_lines", share(sum(len(line) <= 30 for line in lines), len(lines))
    yield f"{prefix}duplicate_filled_line_characters", share(duplicates(lines)[1], len(text.replace("\n", "")))
    yield f"{prefix}new_lines_per_word", share(text.count("\n"), words)


def sentences(line: str) -> int:
    """One, and one for each letter or digit behind a mark that ends a sentence, with none between them."""
    found, ended = 1, False
    for i, c in enumerate(line):
        if c in SENTENCE_END:
            token = line[i:].split(None, 1)[0] if not c.isspace() else ""
            ended |= c not in ".!?" or not any(map(str.isalnum, token))
        elif c.isalnum():
            found += ended
            ended = False
    return found


def by_c4(text: str, prefix: str, end_marks: bool) -> tuple[dict[str, float | None], str, set[int]]:
    """What the walk comes to, the lines that are kept, and where their characters are in the text."""
    kept, count, reason, at, places = [], 0, "", 0, set[int]()
    for line in text.splitlines(keepends=True):
        stripped = line.strip()
        words = stripped.split()
        begin = at + len(line) - len(line.lstrip())
        at += len(line)
        cited = [found.span() for found in re.finditer(CITATION, stripped)]
        left = re.sub(CITATION, "", stripped)
        small = left.lower()
        if (
            any(len(word) > 1000 for word in words)
            or (end_marks and (not left.endswith((".", "?", "!", '"', "'")) or left.endswith("...")))
            or len(words) < 3
        ):
            continue
        if "lorem ipsum" in small:
            reason = reason or "lorem_ipsum"
        elif "javascript" in small:
            pass
        elif "{" in left:
            reason = reason or "curly_bracket"
        elif not re.search("terms of use|privacy policy|cookie policy|uses cookies|use of cookies|use cookies", small):
            kept.append(left)
            count += sentences(left)
            places |= {begin + i for i in range(len(stripped)) if not any(a <= i < b for a, b in cited)}
    values = {f"{prefix}{name}": float(name == reason) for name in ("lorem_ipsum", "curly_bracket")}
    return values | {f"{prefix}sentences": count}, "\n".join(kept).strip(), places


def of_characters(text: str) -> Iterator[tuple[str, float | None]]:
    ink = [c for c in text if not c.isspace()]
    categories = Counter(map(unicodedata.category, text))
    yield "characters", len(text)
    yield "symbols", share(sum(n for c, n in categories.items() if c[0] in "PS"), len(ink))
    yield "digits", share(categories["Nd"], len(ink))
    yield "url_characters", share(sum(map(len, re.findall(r"https?://\S+", text))), len(text))
    yield "white_space", share(len(text) - len(ink), len(text))
    yield "parentheses", share(sum(c in "()[]{}⟨⟩" for c in text), len(text))
    broken = sum(c == "\ufffd" or (unicodedata.category(c) in ("Cc", "Cs", "Co") and not c.isspace()) for c in text)
    yield "broken_characters", share(broken, len(text))
    yield "mojibake", share(mojibake(text), len(text))
    yield "upper_case", share(categories["Lu"], sum(map(str.isalpha, text)))
    behind = [b[0] for a, b in pairwise(text.split()) if a[-1] in SENTENCE_END and len(a) >= 4 and cased(a[-4:-1])]
    yield (
        "small_after_end",
        share(sum(unicodedata.category(c) == "Ll" for c in behind if cased(c)), sum(map(cased, behind))),
    )
    counts = Counter(text).values()
    yield "entropy", -sum(n / len(text) * math.log2(n / len(text)) for n in counts) if text else None
    encoded = text.encode("utf-8", "surrogatepass")
    yield "compression", share(len(zlib.compress(encoded, 1)), len(encoded))


def cased(letters: str) -> bool:
    return all(unicodedata.category(c) in ("Lu", "Ll") for c in letters)


def mojibake(text: str) -> int:
    def byte(c: str) -> set[int]:
        read = {ord(c)} if 0x80 <= ord(c) < 0x100 else set()
        return read | set(c.encode("cp1252", "ignore")) - set(range(0x80))

    found = 0
    for i, c in enumerate(text):
        for first, last, size in ((0xC2, 0xE0, 2), (0xE0, 0xF0, 3), (0xF0, 0xF5, 4)):
            rest = text[i + 1 : i + size]
            leads = any(first <= b < last for b in byte(c))
            if leads and len(rest) == size - 1 and all(any(0x80 <= b < 0xC0 for b in byte(r)) for r in rest):
                found += size
    return found


def of_marks(text: str) -> Iterator[tuple[str, float | None]]:
    kinds = [(line, kind) for line, kind in lines_of(text) if line.strip()]
    prose = [line for line, kind in kinds if kind == "prose"]
    yield "code_lines", share(sum(kind != "prose" for _, kind in kinds), len(kinds))
    yield "heading_lines", share(sum(bool(re.match("#{1,6} ", line)) for line in prose), len(kinds))
    yield "table_lines", share(sum(bool(re.fullmatch(r"\|.*\|\s*", line)) for line in prose), len(kinds))
    yield "item_lines", share(sum(bool(re.match(r"\s*([-*+]|\d+[.)]) ", line)) for line in prose), len(kinds))


def plainly(text: Text) -> dict[str, float | None]:
    """Every signal but the language's, without their versions."""
    plain = plain_form(text.text, text.text_format)
    spans = words_at(plain)
    words = [word for *_, word in spans]
    values = dict(of_words(plain, words, False)) | dict(of_lines(plain)) | dict(of_characters(plain))
    values |= dict(by_fineweb(plain, len(words)))
    values |= by_c4(plain, "c4_", True)[0]
    by_walk, left, places = by_c4(plain, "fineweb_", False)
    words_left = sum(any(i in places for i in range(begin, end)) for begin, end, _ in spans)
    values |= by_walk | dict(by_fineweb(left, words_left, "fineweb_"))
    phrases = (
        "terms of use|privacy policy|cookie policy|uses cookies|use of cookies|use cookies|privacy overview|"
        "accept all cookies|cookie settings|cookie preferences|"
        "terms of service|terms and conditions"
    )
    filled = [line for line in plain.split("\n") if line.strip()]
    values["boilerplate_lines"] = share(sum(bool(re.search(phrases, line.lower())) for line in filled), len(filled))
    uncited = re.sub(CITATION, "", plain.lower())
    filler = "lorem ipsum|dolor sit amet|consectetur adipi|sed do eiusmod|ut labore et dolore|quis nostrud|"
    filler += "duis aute irure|fugiat nulla pariatur"
    values["filler_phrases"] = sum(phrase in uncited for phrase in filler.split("|"))
    marks = dict(of_marks(text.text if text.text_format == "markdown" else ""))
    return values | (marks if text.text_format == "markdown" else dict.fromkeys(marks))


def assert_same(row: dict[str, Any], plain: dict[str, float | None]) -> None:
    assert set(row) == {f"{name}_v1" for name in plain}
    for name, value in plain.items():
        found = row[f"{name}_v1"]
        if name == "entropy" and value is not None:
            assert found == pytest.approx(value, abs=1e-5), name
        else:
            assert found == (None if value is None else float(np.float32(value))), name


# fmt: off
PIECES = [
    "the", "of", "word", "Word", "again", "b", "c", "ab", "12", "3.5", "x9", "e.g.", "end.", "Next!", "Why?",
    "你好", "世界。", "ไทย", "ខ្មែរ", "བོད་ཡིག", "ሰላም፡", "слово", "мир.", "Été", "l’été", "naÃ¯ve", "â€™", "don't",
    "#", "###", "...", "…", "", "…..", "•", "-", "--", "*", "(", "[", "]", "{", "}", "[1]", "[edit]", "[12]",
    "http://a.test/b", "\ufffd", "\x00", "\ufffd", "\ue000", "🙂", "مرحبا", "ＡＢ", "１", "\u202e", "\xad", "İ",
    "K",
]
# fmt: on
BETWEEN = (" ", " ", " ", "  ", "\n", "\n", "\n\n", "\n\n\n", "\r\n", "\t", "\u2028", "\xa0", "", "\x0b", "\x85", " \n")
PHRASES = (
    "lorem ipsum",
    "Lorem Ipsum dolor sit.",
    "We use cookies, see it.",
    "No JavaScript { here.",
    "one {of two} lines.",
    "Accept all cookies",
    "Dolor sit amet, sed do eiusmod",
    "[citation needed]",
    "the same line again.",
    "```\ncode = {}\n```",
    "| a | b |\n|---|---|",
    "# Head of it",
    "1. item **bold** one",
    "y" * 1001,
)
some_text = st.lists(
    st.tuples(st.sampled_from([*PIECES, *PHRASES]) | st.text(max_size=4), st.sampled_from(BETWEEN)), max_size=60
).map(lambda parts: "".join(a + b for a, b in parts))
some_format = st.sampled_from(["markdown", "plain", None])


@given(st.lists(st.tuples(some_text, some_format), min_size=1, max_size=4))
def test_each_signal_is_what_a_plain_reading_of_it_gives(parts: list[tuple[str, str | None]]) -> None:
    texts = [Text(text, form, None) for text, form in parts]
    table = signals(texts).drop("language_score_v1")
    for text, row in zip(texts, table.iter_rows(named=True), strict=True):
        assert_same(row, plainly(text))


@given(st.lists(st.sampled_from(["a", "bc", "ab", "c", "abc", "the"]), max_size=150), st.sampled_from([" ", "\n"]))
def test_repetition_is_what_a_plain_reading_of_it_gives(words: list[str], between: str) -> None:
    text = Text(between.join(words), None, None)
    (row,) = signals([text]).drop("language_score_v1").iter_rows(named=True)
    assert_same(row, plainly(text))


@given(st.lists(some_text, min_size=1, max_size=6))
def test_words_are_as_many_as_the_product_counts(texts: list[str]) -> None:
    assert signals([Text(text, None, None) for text in texts])["words_v1"].to_list() == list(map(count_words, texts))


@given(st.lists(some_text, min_size=2, max_size=6))
def test_a_row_depends_on_its_text_alone(texts: list[str]) -> None:
    many = [Text(text, "markdown", "en") for text in texts]
    assert signals(many).equals(pl.concat([signals([text]) for text in many]))


@given(some_text)
def test_given_words_are_found_where_they_stand(text: str) -> None:
    words = re.findall(r"\w+|[^\w\s]+", text)
    row = signals([Text(text, None, None)], [words]).row(0, named=True)
    plain = dict(of_words(text, words, True)) | dict(by_fineweb(text, len(words)))
    for name, value in plain.items():
        assert row[f"{name}_v1"] == (None if value is None else float(np.float32(value))), name


def test_a_given_word_that_is_not_in_its_text_is_named() -> None:
    with pytest.raises(ValueError, match="'three'"):
        signals([Text("one two", None, None)], [["one", "three"]])


@pytest.fixture(scope="module")
def by_datatrove() -> pl.DataFrame:
    texts = [Text(row["text"] * row["times"], None, None) for row in FIXTURE]
    return signals(texts, [row["words"].split() * row["times"] for row in FIXTURE])


@pytest.mark.parametrize("filtered", ["gopher_repetition", "gopher_quality", "c4", "fineweb_quality", "chain"])
def test_verdicts_and_reasons_are_datatroves(by_datatrove: pl.DataFrame, filtered: str) -> None:
    reasons = first_reasons(by_datatrove, rules_of(filtered))
    assert reasons == [row["reasons"][filtered] for row in FIXTURE]


@pytest.mark.parametrize("filtered", ["gopher_repetition", "gopher_quality", "c4", "fineweb_quality"])
def test_three_texts_stand_on_each_side_of_each_threshold(by_datatrove: pl.DataFrame, filtered: str) -> None:
    for rule in rules_of(filtered):
        made_for = pl.Series([row["for"] == rule.name for row in FIXTURE])
        values = by_datatrove.filter(made_for)
        failing = [reason is not None for reason in first_reasons(values, [rule])]
        assert min(sum(failing), len(failing) - sum(failing)) >= 3, rule.name


BAD = {
    "empty": "",
    "blank": " \n\t\n ",
    "one character": "x",
    "one sign": ".",
    "one line": "a line",
    "one long word": "x" * 4_000_000,
    "emoji": "🙂👍🏽👩‍👩‍👧" * 300,
    "lone surrogates": "\udcff\ud800" * 500,
    "right to left": "مرحبا بالعالم، هذا نص. " * 200,
    "lines of a dot": ".\n" * 100_000,
    "no end of line": "\r" * 5_000,
    "NUL": "\x00" * 1_000,
    "one letter again": "a " * 50_000,
}


@pytest.fixture(scope="module")
def bad() -> pl.DataFrame:
    return signals([Text(text, form, "en") for form in ("plain", "markdown") for text in BAD.values()])


def test_a_bad_text_has_a_value_or_none(bad: pl.DataFrame) -> None:
    assert bad.columns == [signal.name for signal in SIGNALS]
    assert set(bad.dtypes) == {pl.Float32}
    assert bad.select(pl.all().is_finite().fill_null(True).all()).row(0) == (True,) * len(SIGNALS)


def test_an_empty_text_has_no_shares(bad: pl.DataFrame) -> None:
    row = bad.row(0, named=True)
    assert (row["words_v1"], row["characters_v1"], row["lines_v1"]) == (0, 0, 0)
    assert row["letter_words_v1"] is row["entropy_v1"] is row["white_space_v1"] is None


def test_no_texts_are_a_table_without_rows() -> None:
    assert signals([]).schema == pl.Schema({signal.name: pl.Float32 for signal in SIGNALS})


def test_memory_for_a_long_text_is_bounded() -> None:
    program = (
        "import resource, sys\n"
        "from quarry_dagster.quality import Text, signals\n"
        "signals([Text('warm', None, None)])\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "text = '\\n'.join(f'Some words, {i}, and again others.' for i in range(110_000))\n"
        "signals([Text(text, None, None)])\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=HERE.parent)
    unit = 1 if sys.platform == "darwin" else 1024
    assert int(done.stdout) * unit < 700_000_000


def test_signals_are_named_once_with_a_version_and_said() -> None:
    names = [signal.name for signal in SIGNALS]
    assert len(set(names)) == len(names)
    for name, formula, source in SIGNALS:
        assert re.fullmatch(r"[a-z0-9_]+_v\d+", name)
        assert formula.endswith(".") or source
    assert isinstance(SIGNALS[0], Signal)


def test_a_language_has_a_score_where_it_is_known() -> None:
    text = "This is a text of some length in English, of which the language is told with ease."
    rows = signals([Text(text, None, "en"), Text(text, None, "de"), Text(text, None, None)])
    assert rows["language_score_v1"][0] > 0.9
    assert rows["language_score_v1"][1:].to_list() == [0, None]


@pytest.mark.parametrize("name", shipped())
def test_a_shipped_policy_is_named_as_its_file_and_asks_for_signals_that_there_are(name: str) -> None:
    read = read_policy(name, [signal.name for signal in SIGNALS])
    assert name in (read.title, read.name)
    assert read.description and (read.source or name == "annotate")


@pytest.mark.parametrize("kind", KINDS)
def test_obvious_junk_fails_and_the_text_it_was_made_from_passes(kind: str) -> None:
    inner = sorted(STOP)
    bodies = (english(seed, 9).replace(".", "").split() for seed in range(80))
    sentences = (f"{' '.join([*b[:4], inner[i % 8], *b[4:]]).capitalize()}." for i, b in enumerate(bodies))
    good = "\n".join(" ".join(four) for four in zip(*[sentences] * 4, strict=True))
    texts = [good, *(planted(good, kind, len(SHARES) - 1, seed) for seed in range(3))]
    values = signals([Text(text, None, "en") for text in texts])
    rows = values.with_columns(language=pl.lit("en"), page_type=pl.lit(None, pl.String))
    reasons = first_reasons(rows, policy("quarry").rules)
    assert reasons[0] is None
    assert all(reasons[1:])


def test_junk_is_the_same_for_a_seed() -> None:
    good = english(3, 300)
    for kind in KINDS:
        assert planted(good, kind, 2, 1) == planted(good, kind, 2, 1) != planted(good, kind, 2, 2)
