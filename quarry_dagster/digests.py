"""The digest by which bodies, texts, pages and tables are told apart: SHA-256, cut."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

_HEX_DIGITS = 32  # 128 bits: among a billion values the chance of two alike is below 1 in 10**20


def digest(content: bytes) -> str:
    """The first 32 hex digits of the SHA-256 of some bytes."""
    return hashlib.sha256(content).hexdigest()[:_HEX_DIGITS]


def digest_of(parts: Iterable[bytes]) -> str:
    """The same of many parts, one behind the other."""
    total = hashlib.sha256()
    for part in parts:
        total.update(part)
    return total.hexdigest()[:_HEX_DIGITS]
