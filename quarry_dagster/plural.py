"""How many of something there are, as a person says it."""

from __future__ import annotations


def plural(n: int, one: str, many: str | None = None) -> str:
    """The count with its noun, such as "1 page" and "2,000 pages"; `many` where that is more than an s behind `one`."""
    return f"{n:,} {one if n == 1 else many or f'{one}s'}"
