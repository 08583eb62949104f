"""Texts without the personal data in them, as they are given away."""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Any, Literal, get_args

from quarry_dagster.personal.finding import TYPES, Finding

How = Literal["keep", "placeholder", "pseudonym"]
"""What becomes of personal data: it stays, or a word for its type or a name by a secret key takes its place."""

_PSEUDONYM = 12
"""Hex digits of a pseudonym: of a million values two meet once in 280 times."""


def redact(
    text: str,
    found: Iterable[Finding | Mapping[str, Any]],
    how: Mapping[str, How],
    *,
    key: bytes = b"",
    min_confidence: float = 0.0,
) -> str:
    """The text with what was found in it replaced, by a rule for each type; a type without one stays.

    A placeholder is `<EMAIL>`, a pseudonym `<EMAIL:1f3a52b0c9de>`: HMAC-SHA-256 (RFC 2104) of the value under the key,
    so equal values keep one name, and nobody without the key can tell which.

    Args:
        text: as it was when it was looked through.
        found: what :func:`quarry_dagster.personal.personal_data` found in it, or rows of the table `personal_data`.
        how: `keep`, `placeholder` or `pseudonym` by type (one of :data:`quarry_dagster.personal.TYPES`).
        key: for pseudonyms.
        min_confidence: what is less sure stays.

    Raises:
        ValueError: there is no such type or rule; a pseudonym is asked for, and there is no key; or something was found
            past the end of the text, or over another one.
    """
    for name, rule in how.items():
        if name not in TYPES or rule not in get_args(How):
            raise ValueError(f"{name}: {rule}: a type is one of {', '.join(TYPES)}, a rule {', '.join(get_args(How))}")
    if "pseudonym" in how.values() and not key:
        raise ValueError("pseudonyms need a key: without one anybody could try all numbers of telephones")
    places = [each if isinstance(each, Finding) else Finding(*map(each.__getitem__, Finding._fields)) for each in found]
    parts: list[str] = []
    at = 0
    for each in sorted(places, key=lambda place: place.start):
        rule = how.get(each.type, "keep")
        if rule == "keep" or each.confidence < min_confidence:
            continue
        if not at <= each.start < each.end <= len(text):
            place = f"{each.start} to {each.end}"
            raise ValueError(f"{each.type} at {place} is not in this text of {len(text)} characters")
        value = text[each.start : each.end]
        name = each.type.upper()
        if rule == "pseudonym":
            name += f":{hmac.new(key, _as_compared(each.type, value).encode(), sha256).hexdigest()[:_PSEUDONYM]}"
        parts += (text[at : each.start], f"<{name}>")
        at = each.end
    return "".join((*parts, text[at:]))


def _as_compared(type_: str, value: str) -> str:
    """A value as it is compared: however it is written, it keeps one pseudonym."""
    if type_ in ("phone", "card", "iban", "national_id"):
        return "".join(filter(str.isalnum, value)).upper()
    return value.casefold() if type_ in ("email", "ip") else value
