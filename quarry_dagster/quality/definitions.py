"""The list of signals: what each counts, and who defined it."""

from __future__ import annotations

from typing import NamedTuple


class Signal(NamedTuple):
    """A number that is read from a text by a fixed definition."""

    name: str
    """The column; ends with the version of its definition."""
    formula: str
    """What it counts over what."""
    source: str
    """Who defined it."""


_GOPHER = "Gopher (Rae et al. 2021), as datatrove 0.10 counts it"
_C4 = "C4 (Raffel et al. 2020), as datatrove 0.10 walks through it"
_FINEWEB = "FineWeb (Penedo et al. 2024), as datatrove 0.10 counts it"
_CHAIN = f"{_FINEWEB}, on what its C4 rules leave"
_CURATOR = "NeMo Curator's heuristics, by a definition of ours"
_OURS = "ours"

_FIGURES = ("", "", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def _of_words() -> list[Signal]:
    return [
        Signal("words_v1", "Words that are not punctuation alone.", _GOPHER),
        Signal("mean_word_length_v1", "Characters of these words by their number.", _GOPHER),
        Signal("hashes_per_word_v1", "Signs # by words.", _GOPHER),
        Signal("ellipses_per_word_v1", "Three dots in a row, and signs for them, by words.", _GOPHER),
        Signal("bullet_lines_v1", "Lines that begin with • or - by lines.", _GOPHER),
        Signal("ellipsis_lines_v1", "Lines that end in three dots, or in the sign for them, by lines.", _GOPHER),
        Signal("letter_words_v1", "Words with a letter by words.", _GOPHER),
        Signal("stop_words_v1", "How many of the, be, to, of, and, that, have, with are words of the text.", _GOPHER),
    ]


def _of_repetition() -> list[Signal]:
    again = "that came before"
    return [
        Signal("duplicate_lines_v1", f"Lines {again} by lines, of which several newlines end one.", _GOPHER),
        Signal("duplicate_line_characters_v1", f"Characters of lines {again} by characters.", _GOPHER),
        Signal(
            "duplicate_paragraphs_v1", f"Paragraphs {again} by paragraphs, between which two newlines are.", _GOPHER
        ),
        Signal("duplicate_paragraph_characters_v1", f"Characters of paragraphs {again} by characters.", _GOPHER),
        *(
            Signal(
                f"top_{n}_grams_v1",
                f"Characters of the {_FIGURES[n]} words that are most often in a row, times how often, by characters; "
                "of several the first.",
                _GOPHER,
            )
            for n in (2, 3, 4)
        ),
        *(
            Signal(
                f"duplicate_{n}_grams_v1",
                f"Characters of {_FIGURES[n]} words in a row {again}, none counted twice, by characters.",
                _GOPHER,
            )
            for n in range(5, 11)
        ),
    ]


def _of_lines() -> list[Signal]:
    signals = []
    for prefix, where, source in (("", "", _FINEWEB), ("fineweb_", " of what C4's rules leave", _CHAIN)):
        filled = f"lines that are not blank{where}"
        signals += [
            Signal(f"{prefix}lines_v1", f"Number of {filled}.", source),
            Signal(f"{prefix}end_punctuation_lines_v1", f"Those that end a sentence by {filled}.", source),
            Signal(f"{prefix}short_lines_v1", f"Those of 30 characters or fewer by {filled}.", source),
            Signal(
                f"{prefix}duplicate_filled_line_characters_v1",
                f"Characters of {filled} and came before by all characters that are no newline.",
                source,
            ),
            Signal(f"{prefix}new_lines_per_word_v1", f"Newline characters by words{where}.", source),
        ]
    return signals


def _of_c4() -> list[Signal]:
    signals = []
    for prefix, where in (("c4_", ""), ("fineweb_", " without the rule on punctuation at a line's end")):
        signals += [
            Signal(f"{prefix}lorem_ipsum_v1", f"1 where the walk by C4's rules{where} ends at “lorem ipsum”.", _C4),
            Signal(f"{prefix}curly_bracket_v1", f"1 where the walk by C4's rules{where} ends at a curly bracket.", _C4),
            Signal(f"{prefix}sentences_v1", f"Sentences in the lines that C4's rules{where} keep.", _C4),
        ]
    return signals


def _of_characters() -> list[Signal]:
    return [
        Signal("characters_v1", "Number of characters.", _OURS),
        Signal("longest_word_v1", "Characters of the longest word that has no URL in it.", _CURATOR),
        Signal("symbols_v1", "Punctuation and symbols by characters that are no white space.", _CURATOR),
        Signal("digits_v1", "Decimal digits of any script by characters that are no white space.", _CURATOR),
        Signal("url_characters_v1", "Characters of http and https URLs by characters.", _CURATOR),
        Signal("white_space_v1", "White space by characters.", _CURATOR),
        Signal("parentheses_v1", "Brackets of any kind by characters.", _CURATOR),
        Signal(
            "boilerplate_lines_v1",
            "Lines that speak of cookies, of privacy or of terms of use by lines that are not blank.",
            _CURATOR,
        ),
        Signal("filler_phrases_v1", "How many of eight phrases of “lorem ipsum dolor …” the text has.", _OURS),
        Signal(
            "broken_characters_v1",
            "Control characters, lone surrogates, characters for private use and U+FFFD by characters.",
            _OURS,
        ),
        Signal(
            "mojibake_v1",
            "Characters that are bytes of UTF-8, read as Latin-1 or Windows-1252, by characters.",
            _OURS,
        ),
        Signal("upper_case_v1", "Capital letters by letters.", _OURS),
        Signal(
            "small_after_end_v1",
            "Words behind one that ends a sentence: those with a small letter first by those with that or a capital.",
            _OURS,
        ),
        Signal("entropy_v1", "Bits a character, by how often each is in the text.", _OURS),
        Signal("compression_v1", "Bytes that zlib makes of the text at level 1 by bytes of UTF-8.", _OURS),
        Signal("distinct_words_v1", "Words that differ by words, in windows of 100 words.", _OURS),
        Signal("stop_words_per_word_v1", "Words that are one of Gopher's eight stop words by words.", _OURS),
    ]


def _of_marks() -> list[Signal]:
    filled = "by lines that are not blank, of a text in Markdown"
    return [
        Signal("code_lines_v1", f"Lines of code and its fences {filled}.", _OURS),
        Signal("table_lines_v1", f"Rows of tables {filled}.", _OURS),
        Signal("item_lines_v1", f"Items of lists {filled}.", _OURS),
        Signal("heading_lines_v1", f"Headings {filled}.", _OURS),
        Signal(
            "language_score_v1",
            "Probability of the language of the text where it is the likeliest one, 0 where another is.",
            "py3langid 0.4, on the 600 characters by which the language is told",
        ),
    ]


SIGNALS: tuple[Signal, ...] = (
    *_of_words(),
    *_of_repetition(),
    *_of_lines(),
    *_of_c4(),
    *_of_characters(),
    *_of_marks(),
)
"""Every signal, in the order of the columns."""
