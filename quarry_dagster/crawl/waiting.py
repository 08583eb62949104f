"""How long to wait before asking a host again, when it asks for patience or a try went wrong."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

LONGEST_WAIT = 60.0
"""Seconds. A host that asks for more (Retry-After, Crawl-delay) is left alone in this crawl: it is never asked
sooner than it wishes, and one host does not hold up a run for hours."""

_FIRST_BACKOFF = 1.0


def retry_after(header: str | None) -> float | None:
    """Seconds a `Retry-After` asks to wait (RFC 9110 10.2.3: seconds or an HTTP-date); None: it says nothing."""
    if header is None:
        return None
    header = header.strip()
    if header.isascii() and header.isdigit():
        return float(header[:12])
    try:
        when = parsedate_to_datetime(header)
    except (ValueError, OverflowError):
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return max(0.0, (when - datetime.now(UTC)).total_seconds())


def backoff(tries: int) -> float:
    """Seconds before the try after `tries` failed ones: doubling, with jitter so that pages do not return in step."""
    return _FIRST_BACKOFF * 2 ** (tries - 1) * random.uniform(0.5, 1.0)
