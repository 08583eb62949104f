"""The answer to one question about a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

_SHOWN = 20


@dataclass(frozen=True)
class Finding:
    """Whether what was asked holds, what was found in a sentence, and the figures behind it."""

    passed: bool
    summary: str
    facts: Mapping[str, int | float | str] = field(default_factory=dict)

    @classmethod
    def of_breaches(cls, breaches: Sequence[str], looked_at: str, **facts: int | float | str) -> Finding:
        """Passed where nothing is breached; `looked_at` says what was looked at, as in "1,000 rows"."""
        if not breaches:
            return cls(True, f"{looked_at}: as promised", facts)
        more = f" ... and {len(breaches) - _SHOWN} more" if len(breaches) > _SHOWN else ""
        return cls(False, "; ".join(breaches[:_SHOWN]) + more, dict(facts) | {"breaches": len(breaches)})
