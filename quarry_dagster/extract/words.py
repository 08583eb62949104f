"""The form a text is kept in, counting its words, and the digest that makes two texts one.

Why so: "One normal form for what is compared" in docs/decisions.md.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache

from quarry_dagster.digests import digest
from quarry_dagster.plural import plural

VERSION = "words-2"
"""Changes whenever the same text would have another number of words, or another digest."""

UNSPACED = (
    "\u0e00-\u0eff"  # Thai, Lao
    "\u1000-\u109f\ua9e0-\ua9ff\uaa60-\uaa7f"  # Myanmar
    "\u1780-\u17ff"  # Khmer
    "\u3040-\u30ff\u31f0-\u31ff\uff66-\uff9f"  # kana
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Han
    "\ua000-\ua4cf"  # Yi
)
"""Code points of the scripts that put nothing between words, for a character class of Python's `re`, which knows no
scripts by name."""

ALPHABETIC = r"\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
"""Those of them whose characters are letters, for a character class of polars' regular expressions."""
IDEOGRAPHIC = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Yi}"
"""Those of them whose characters are words or syllables, for the same."""
_MAX_EXPANSION = 18
"""Characters that NFKC makes of one at most (U+FDFA): https://unicode.org/faq/normalization.html."""
_UNSPACED = re.compile(f"[{UNSPACED}]")
_MARKS_BETWEEN_WORDS = re.compile("[\u0f0b-\u0f14\u1361-\u1368]")
"""What stands between words in place of a blank, or with it: in Tibetan, in Ethiopic script."""

_MARKDOWN = [
    ("`~", re.compile(r"(?:```+|~~~+)(?:[^\s`]*(?!\S))?"), ""),  # fences, and the language of what is in them
    ("\\", re.compile(r"\\([\\`*_{}\[\]()#+\-.!|>~])"), r"\1"),  # signs that are meant as such
    # Code and emphasis, not snake_case.
    ("`*_~", re.compile(r"`+|\*\*+|~~+|(?<![^\W_])[*_]+|[*_]+(?![^\W_])"), ""),
    ("|", re.compile(r"\|"), " "),  # bars between cells
    # Headings, bullets, rules, quotes.
    ("-+:*#=~•>", re.compile(r"(?<!\S)(?:[-+*#=~•>]+|:?-+:?)(?!\S)|(?<!\S)>+"), ""),
]
"""Marks that say how a text is to be shown, in the order in which they are taken out: signs, one of which each has, how
it is found, and what stays in its place.

They are looked for in each word by itself, so where lines end does not make a text another one. None looks at a
character more often than a few times, whatever the text."""
_SIGN = re.compile(r"[`*_~|#>\\=•\-+:](?:(?<![-+:])|(?<= .))[^ ]*")
"""Where a mark may be, and the word from there on; three signs are marks only where a word begins."""


def kept_form(text: str) -> str:
    """The text as it is kept: in NFC, without blanks around it."""
    return unicodedata.normalize("NFC", text).strip()


def of_plain_text(text: str) -> str:
    """A plain text as it is kept: as :func:`kept_form`, and each line ends in a newline character alone."""
    return kept_form("\n".join(text.splitlines()))


def count_words(text: str) -> int:
    """Number of words; scripts that put nothing between words count two letters as one."""
    letters = sum(c.isalpha() for c in _UNSPACED.findall(text))
    spaced = _MARKS_BETWEEN_WORDS.sub(" ", _UNSPACED.sub(" ", text) if letters else text)
    # Not \w+: in Python it ends at the vowel signs inside Hindi or Tamil words.
    tokens = spaced.split()
    others = (token for token in tokens if not token.isalnum())
    return (letters + 1) // 2 + sum(map(str.isalnum, tokens)) + sum(any(map(str.isalnum, token)) for token in others)


def by_length(words: int, min_words: int) -> str | None:
    """Why a text of so many words is no document; None where it is one."""
    return f"{plural(words, 'word')}, less than min_words {min_words}" if words < min_words else None


def normal_form(text: str) -> str:
    """The text NFKC-normalised, casefolded, without Markdown's marks, its whitespace collapsed.

    So a text with its marks and the same text without them are one, and so are two that are set in other columns or
    indented otherwise. Whatever is computed for a `text_digest` (shingles, vectors) is computed from this form: texts
    that share a digest must share it, whichever of them comes first.
    """
    return _in_form(f" {folded(text)}", _unmarked_again)[1:]


def folded(text: str) -> str:
    """The text NFKC-normalised and casefolded, its whitespace collapsed: its normal form, but for Markdown's marks."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def without_marks(words: Sequence[str]) -> str:
    """Words of :func:`folded` without Markdown's marks: a blank before each, and line ends within where it became
    several; what is left of a word may be nothing."""
    return _in_form(" ".join(("", *words)), lambda word: " " + _unmarked(word)[1:].replace(" ", "\n"))


def _in_form(plain: str, form: Callable[[str], str]) -> str:
    """A text in which a blank stands before each word, with `form` of each word that may have marks in place of it and
    of the blank before it."""
    parts: list[str] = []
    at = 0
    for sign in _SIGN.finditer(plain):
        begin = plain.rfind(" ", 0, sign.start())
        parts += (plain[at:begin], form(plain[begin + 1 : sign.end()]))
        at = sign.end()
    return "".join((*parts, plain[at:])) if parts else plain


def _unmarked(word: str) -> str:
    """A word without Markdown's marks: the words that are left, a blank before each."""
    for signs, mark, instead in _MARKDOWN:
        for sign in signs:
            if sign in word:
                word = mark.sub(instead, word)
                break
    word = " ".join(word.split())
    return f" {word}" if word else ""


_remembered = lru_cache(maxsize=8192)(_unmarked)


def _unmarked_again(word: str) -> str:
    """As :func:`_unmarked`; of a short word it is remembered: marks stand alone, or at words that come again."""
    return _remembered(word) if len(word) <= 40 else _unmarked(word)


def is_longer_than(text: str, limit: int) -> bool:
    """Whether the normal form may have more characters than a limit, told without making it.

    NFKC makes up to 18 characters of one: four megabytes of such a ligature were 17 GB of words.
    """
    if len(text) * _MAX_EXPANSION <= limit:
        return False
    sizes = Counter(text)
    return sum(n * len(unicodedata.normalize("NFKC", c).casefold()) for c, n in sizes.items()) > limit


def text_digest(text: str) -> str:
    """The digest of the text's normal form.

    Two documents of one digest are one text: dedup level `exact`.
    """
    return digest(normal_form(text).encode("utf-8", "surrogatepass"))
