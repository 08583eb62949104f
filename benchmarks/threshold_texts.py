"""Invented texts that stand close to the thresholds of Gopher's, C4's and FineWeb's rules, on both sides.

Each rule has three texts below its threshold and three above; some more stand where rules meet. Words are made of
syllables, but for English stop words: nobody wrote these texts.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

Rng = random.Random
_STOP = ("the", "be", "to", "of", "and", "that", "have", "with")
_SYLLABLES = [a + b for a in "bdfgklmnprstvz" for b in ("a", "e", "i", "o", "u")]


def threshold_texts() -> Iterator[tuple[str, str, int]]:
    """The rule that a text was made for, a text, and how many times it stands one behind the other."""
    rng = random.Random(20)
    for rule, texts in _by_rule(rng).items():
        for text in texts:
            yield rule, text, 1
    for words in (99_998, 99_999, 100_000, 100_001, 100_002, 100_003):
        yield "gopher_long_doc", "lima ", words
    for text in _odd(rng):
        yield "several", text, 1


def _by_rule(rng: Rng) -> dict[str, list[str]]:
    made = {
        "dup_para_frac": [_repeated_parts(rng, 20, n, "\n\n") for n in (4, 5, 6, 7, 8, 9)],
        "dup_para_char_frac": [_one_again(rng, n, "\n\n") for n in (13, 16, 18, 23, 27, 33)],
        "dup_line_frac": [_repeated_parts(rng, 20, n, "\n") for n in (4, 5, 6, 7, 8, 9)],
        "dup_line_char_frac": [_one_again(rng, n, "\n") for n in (13, 16, 18, 23, 27, 33)],
        "gopher_short_doc": [_prose(rng, n) for n in (47, 48, 49, 50, 51, 52)],
        "gopher_below_avg_threshold": [_of_length(rng, 2, 4, n) for n in (38, 42, 44, 46, 50, 60)],
        "gopher_above_avg_threshold": [_of_length(rng, 8, 12, n) for n in (38, 42, 44, 46, 50, 60)],
        "gopher_too_many_hashes": [_with_signs(rng, "#", n) for n in (6, 7, 8, 10, 12, 18)],
        "gopher_too_many_ellipsis": [_with_signs(rng, "…", n) for n in (6, 7, 8, 10, 12, 18)],
        "gopher_too_many_bullets": [_lines(rng, 30, n, "- {}", "{}") for n in (25, 26, 27, 28, 29, 30)],
        "gopher_too_many_end_ellipsis": [_lines(rng, 30, n, "{}...", "{}.") for n in (7, 8, 9, 10, 11, 13)],
        "gopher_below_alpha_threshold": [_with_signs(rng, "77", n) for n in (12, 16, 18, 26, 28, 36)],
        "gopher_enough_stop_words": [_prose(rng, 70, _STOP[:n]) for n in (0, 1, 1, 2, 3, 4)],
        "too_few_sentences": [_sentences(rng, n) for n in (1, 2, 3, 4, 5, 6, 7, 8)],
        "lorem_ipsum": [_with_line(rng, line) for line in (*_LOREM, *_NO_LOREM)],
        "curly_bracket": [_with_line(rng, line) for line in (*_BRACES, *_NO_BRACES)],
        "line_punct_ratio": [_lines(rng, 25, n, "{}.", "{}") for n in (0, 1, 2, 3, 4, 6)],
        "short_line_ratio": [_short_lines(rng, n) for n in (15, 18, 20, 21, 23, 26)],
        "char_dup_ratio": [_small_line_again(rng, n) for n in (12, 14, 16, 24, 44, 60)],
        "list_ratio": [_word_lines(rng, n) for n in (40, 45, 50, 54, 57, 60)],
        "empty": [" \n \n", "\n\n\n", "\t\r\n ", "one", "a b\n\n", "\n.\n"],
    }
    for n, counts in ((2, (4, 6, 7, 10, 12, 15)), (3, (2, 3, 3, 6, 7, 8)), (4, (1, 2, 2, 4, 5, 6))):
        made[f"top_{n}_gram"] = [_frequent(rng, n, count) for count in counts]
    for n, threshold in ((5, 0.15), (6, 0.14), (7, 0.13), (8, 0.12), (9, 0.11), (10, 0.1)):
        shares = [threshold + d for d in (-0.02, -0.01, -0.004, 0.015, 0.025, 0.035)]
        made[f"duplicated_{n}_n_grams"] = [_passage_again(rng, share) for share in shares]
    return made


_LOREM = (
    "Here stands Lorem Ipsum dolor again.",
    "LOREM IPSUM and more of it.",
    "Before it, lorem ipsum and a { in one line.",
)
_NO_LOREM = (
    "lorem ipsum",
    "Lorem and ipsum stand apart here.",
    "Lorem, ipsum and more stand here.",
)
_BRACES = (
    "There is a { in this line.",
    "Two { of { them, and lorem in it.",
    "It ends with a {quoted} word here.",
)
_NO_BRACES = (
    "{ only",
    "There is JavaScript and a { in this line.",
    "There is a } and no other sign here.",
)


def _odd(rng: Rng) -> Iterator[str]:
    """Texts at which two readings of the rules could differ."""
    lines = [_prose(rng, 12) for _ in range(9)]
    yield "\r\n".join(lines)
    yield "\n\n\n".join(lines)
    yield "\n" + "\n".join(lines) + "\n\n"
    yield "\u2028".join(lines)
    yield "\x0b".join(lines) + "\x1c"
    yield "  " + "\n\t".join(lines) + "  "
    yield "\n".join(f"{line}  [1]" for line in lines)
    yield "\n".join(f"{line} [{i}] [edit] Then  ! it goes on.  [citation needed]" for i, line in enumerate(lines))
    yield "\n".join(f"[{i}] {line}" for i, line in enumerate(lines))
    yield "\n".join(["[1] [2] [3]", *lines, "[4] [5] [6]"])
    yield "\n".join(line.replace(" ", "  ") for line in lines)
    yield "\n".join(line.replace(". ", "... ") for line in lines)
    yield "\n".join(line.replace(".", "?!") for line in lines)
    yield "\n".join(f'"{line}" (so {i}.5 of it) e.g. this.' for i, line in enumerate(lines))
    yield "\n".join([*lines, "x" * 1000 + " and so on.", "y" * 1001 + " and so on."])
    yield "\n".join([*lines, "We use cookies on this site.", "Read the Privacy Policy of it.", "Two words."])
    yield "\n".join(line.replace("the", "l’été").replace("of", "не") for line in lines)
    yield "\n".join([*lines, "Lore[1]m ipsum is cut by a citation, and is here."])
    yield "これは文です。次の文です。" * 12
    yield "🙂 " * 60
    yield "#hash ... " * 40 + "\n- • …"
    yield " ".join(["a", "bc", "ab", "c"] * 20 + lines)


def _word(rng: Rng, syllables: int = 0) -> str:
    return "".join(rng.choices(_SYLLABLES, k=syllables or rng.choice((2, 2, 2, 3))))


def _prose(rng: Rng, words: int, stop: tuple[str, ...] = _STOP) -> str:
    """So many words in sentences, of which every fourth is a stop word."""
    made = [stop[i // 4 % len(stop)] if stop and i % 4 == 1 else _word(rng) for i in range(words)]
    for begin in range(0, words, 9):
        made[begin] = made[begin].capitalize()
    for end in (*range(8, words, 9), words - 1):
        made[end] = made[end].rstrip(".") + "."
    return " ".join(made)


def _repeated_parts(rng: Rng, parts: int, again: int, between: str) -> str:
    """Parts of which so many are the first one again."""
    different = [_prose(rng, 5) for _ in range(parts - again)]
    return between.join([*different, *[different[0]] * again])


def _one_again(rng: Rng, words: int, between: str) -> str:
    """Ten parts and so many words that stand there twice."""
    part = _prose(rng, words)
    return between.join([part, *(_prose(rng, 7) for _ in range(9)), part])


def _of_length(rng: Rng, first: int, second: int, seconds: int) -> str:
    """90 words of two lengths."""
    lengths = [second] * seconds + [first] * (90 - seconds)
    rng.shuffle(lengths)
    return " ".join(_word(rng, 6)[:length] for length in lengths)


def _with_signs(rng: Rng, sign: str, signs: int) -> str:
    """80 words and so many signs between them."""
    words = _prose(rng, 80).replace(".", "").split()
    for at in sorted(rng.sample(range(80), signs), reverse=True):
        words.insert(at, sign)
    return " ".join(words)


def _lines(rng: Rng, lines: int, first: int, form: str, other: str) -> str:
    """Lines of which so many have the first form."""
    forms = [form] * first + [other] * (lines - first)
    rng.shuffle(forms)
    return "\n".join(each.format(_prose(rng, 6).rstrip(".")) for each in forms)


def _sentences(rng: Rng, sentences: int) -> str:
    lines = [_prose(rng, 9) for _ in range(sentences)]
    return " ".join(lines[:2]) + "\n" + "\n".join(lines[2:]) + "\nTwo words.\n" + _prose(rng, 50).replace(".", ",")[:-1]


def _with_line(rng: Rng, line: str) -> str:
    lines = [_prose(rng, 9) for _ in range(8)]
    return "\n".join([*lines[:5], line, *lines[5:]])


def _short_lines(rng: Rng, short: int) -> str:
    """31 lines, of which so many are of 30 characters or fewer."""
    lines = [" ".join(_word(rng, 3) for _ in range(3)) + "." for _ in range(short)]
    return "\n".join([*lines, *(_prose(rng, 9) for _ in range(31 - short))])


def _small_line_again(rng: Rng, characters: int) -> str:
    """A long text with one line of so many characters twice."""
    line = "so it " + _word(rng, 30)[: characters - 7] + "."
    return "\n".join([line, *(_prose(rng, 40) for _ in range(8)), line])


def _word_lines(rng: Rng, threes: int) -> str:
    """60 lines of words of ten letters, so many of them of three words and the others of four."""
    lines = [[_word(rng, 5) for _ in range(3 + (i >= threes))] for i in range(60)]
    for i, line in enumerate(lines[:8]):
        line[1] = _STOP[i].ljust(10, "x") if i > 2 else _STOP[i]
        line[-1] = line[-1][:9] + "."
    return "\n".join(map(" ".join, lines))


def _frequent(rng: Rng, n: int, times: int) -> str:
    """So many times the same words in a row between others."""
    phrase = " ".join(_word(rng, 3) for _ in range(n))
    parts = [f"{phrase} {_word(rng)} {_word(rng)}" for _ in range(times)]
    return _prose(rng, 60) + " " + " ".join(parts) + "."


def _passage_again(rng: Rng, share: float) -> str:
    """400 words of which a passage at the end was there before."""
    whole = _prose(rng, 400)
    size = int(len(whole) * share / (1 - share) * 1.2)
    return whole + " " + whole[whole.index(" ", 20) + 1 :][: size + 20].rsplit(" ", 1)[0]
