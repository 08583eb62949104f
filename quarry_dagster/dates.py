"""Dates as users write them."""

from __future__ import annotations

import re
from datetime import date, datetime

_DATE = re.compile(r"\d{4}(?:-\d{2}(?:-\d{2})?)?")


def day_of(text: str) -> str | None:
    """The day (or month, or year) of an ISO 8601 date or time; None where it is none."""
    try:
        if _DATE.fullmatch(text):
            date.fromisoformat(f"{text}-01-01"[: len("2026-01-01")] if len(text) < len("2026-01-01") else text)
            return text
        return datetime.fromisoformat(text).date().isoformat()
    except ValueError:
        return None
