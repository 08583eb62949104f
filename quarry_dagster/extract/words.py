"""The form a text is kept in, counting its words, and the digest that makes two texts one.

Why so: "One normal form for what is compared" in docs/decisions.md.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter

from quarry_dagster.digests import digest

UNSPACED = (
    "\u0e00-\u0eff"  # Thai, Lao
    "\u1000-\u109f"  # Myanmar
    "\u1780-\u17ff"  # Khmer
    "\u3040-\u30ff\u31f0-\u31ff\uff66-\uff9f"  # kana
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Han
)
"""Code points of the scripts that put no spaces between words, for a character class of Python's `re`, which knows no
scripts by name."""

ALPHABETIC = r"\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
"""Those of them whose characters are letters, for a character class of polars' regular expressions."""
IDEOGRAPHIC = r"\p{Han}\p{Hiragana}\p{Katakana}"
"""Those of them whose characters are words or syllables, for the same."""
_MAX_EXPANSION = 18
"""Characters that NFKC makes of one at most (U+FDFA): https://unicode.org/faq/normalization.html."""
_UNSPACED = re.compile(f"[{UNSPACED}]")


def kept_form(text: str) -> str:
    """The text as it is kept: in NFC, without blanks around it."""
    return unicodedata.normalize("NFC", text).strip()


def of_plain_text(text: str) -> str:
    """A plain text as it is kept: as :func:`kept_form`, and each line ends in a newline character alone."""
    return kept_form("\n".join(text.splitlines()))


def count_words(text: str) -> int:
    """Number of words; scripts without spaces between words count two letters as one."""
    letters = sum(c.isalpha() for c in _UNSPACED.findall(text))
    spaced = _UNSPACED.sub(" ", text) if letters else text
    # Not \w+: in Python it ends at the vowel signs inside Hindi or Tamil words.
    return (letters + 1) // 2 + sum(token.isalnum() or any(map(str.isalnum, token)) for token in spaced.split())


def normal_form(text: str) -> str:
    """The text NFKC-normalised, casefolded, its whitespace collapsed.

    Whatever is computed for a `text_digest` (shingles, vectors) is computed from this form: texts that share a
    digest must share it, whichever of them comes first.
    """
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


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
