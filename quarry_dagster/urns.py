"""URNs: the address of a document that has an id of its own and no URL.

It is `urn:quarry:<namespace>:<id>` (RFC 8141, with an informal namespace identifier), percent-encoded, so that it is
one word of printable ASCII in every table, list and command line. The namespace is the seed's: ids of two seeds that
name themselves differently are two documents.

Why so: "A document without a URL is addressed by the seed's name and its own id" in docs/decisions.md.
"""

from __future__ import annotations

import math
import re
from urllib.parse import quote, unquote

from quarry_dagster.errors import InvalidId

MAX_ID_BYTES = 1000
"""Bytes of UTF-8 that an id may have."""

URN_PREFIX = "urn:quarry:"
"""How every such address begins."""
_URN = re.compile(rf"{URN_PREFIX}(?P<namespace>[^:/?#\s]+):(?P<id>[^?#\s]+)", re.IGNORECASE)


def urn_of(namespace: str, own_id: str) -> str:
    """The address of the document with this id in this namespace."""
    return f"{URN_PREFIX}{quote(namespace, safe='')}:{quote(own_id, safe='/:@')}"


def parts_of(address: str) -> tuple[str, str] | None:
    """The namespace and the id that an address names; None where it is none of :func:`urn_of`."""
    found = _URN.fullmatch(address.strip())
    return (unquote(found["namespace"]), unquote(found["id"])) if found else None


def normal_urn(address: str) -> str | None:
    """The address as :func:`urn_of` writes it; None where it is none of these."""
    parts = parts_of(address)
    return urn_of(*parts) if parts else None


def own_id(value: object) -> str | None:
    """The id that a value of a table is; None where it has none (null, NaN, or blank).

    A whole number is the same id as integer, float and text: a column of integers with one null is often stored as
    floats.

    Raises:
        InvalidId: the value is no text and no number, or is too long.
    """
    match value:
        case None:
            return None
        case bool():
            raise InvalidId("the id is true or false; write a text or a number")
        case float():
            if math.isnan(value):
                return None
            text = str(int(value)) if value.is_integer() else repr(value)
        case int() | str():
            text = str(value)
        case bytes():
            try:
                text = value.decode()
            except UnicodeDecodeError as e:
                raise InvalidId("the id is no UTF-8; write it as text") from e
        case _:
            raise InvalidId(f"the id is a {type(value).__name__}; write a text or a number")
    if not text.strip():
        return None
    try:
        size = len(text.encode())
    except UnicodeEncodeError as e:
        raise InvalidId("the id has half a character (a lone surrogate); write it anew") from e
    if size > MAX_ID_BYTES:
        raise InvalidId(f"the id has {size:,} bytes, more than {MAX_ID_BYTES:,}; give a shorter one")
    return text
