"""Which language a text is in, by py3langid."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

_SAMPLE = 600
"""Characters that are looked at; more are seldom surer and cost as much again."""
_LINES = 1_000
"""Lines among which the longest are looked for."""
_MIN_LETTERS = 20


def detect_language(text: str) -> str | None:
    """ISO 639-1 code of the language of a text's longest lines, which are prose; None where it is too short to tell."""
    sample = _sample(text)
    return likeliest_language(sample)[0] if sum(map(str.isalpha, sample)) >= _MIN_LETTERS else None


def language_score(text: str, language: str) -> float:
    """The probability of a language, by what tells :func:`detect_language`: 0 where another one is likelier."""
    likeliest, score = likeliest_language(_sample(text))
    return score if likeliest == language else 0.0


def _sample(text: str) -> str:
    """What is looked at of a text: its longest lines."""
    return "\n".join(sorted(text.split("\n", _LINES)[:_LINES], key=len, reverse=True))[:_SAMPLE]


def likeliest_language(text: str) -> tuple[str, float]:
    """ISO 639-1 code of the likeliest language, and its probability."""
    return _identifier().classify(text)


@cache
def _identifier() -> LanguageIdentifier:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    # The model also has languages without a two-letter code, and "zxx" (no language).
    identifier.set_languages([code for code in identifier.labels if len(code) == 2])
    return identifier
