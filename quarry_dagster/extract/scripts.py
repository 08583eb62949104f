"""The scripts that put no spaces between words, for Python's regular expressions and for those of polars."""

from __future__ import annotations

UNSPACED = (
    "\u0e00-\u0eff"  # Thai, Lao
    "\u1000-\u109f"  # Myanmar
    "\u1780-\u17ff"  # Khmer
    "\u3040-\u30ff\u31f0-\u31ff\uff66-\uff9f"  # kana
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Han
)
"""Their code points, for a character class of Python's `re`, which knows no scripts by name."""

ALPHABETIC = r"\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
"""Those whose characters are letters, for a character class of polars' regular expressions."""
IDEOGRAPHIC = r"\p{Han}\p{Hiragana}\p{Katakana}"
"""Those whose characters are words or syllables, for the same."""
