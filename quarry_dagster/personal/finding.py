"""What was found, and where: never the value itself."""

from __future__ import annotations

import re
from typing import NamedTuple

TYPES = ("secret", "iban", "card", "national_id", "email", "ip", "phone")
"""Types of personal data, the surest first: where two are found at one place, the first of these counts."""

OTHER_NUMBER = re.compile(
    r"(?:\bISBN|\bISSN|\bDOI|\border|\binvoice|\bpart|\barticle|\bart\.|\bitem|\bproduct|\bmodel|\bSKU|\bserial|\bcatalog\w*|"
    r"\bpages?|\bpp?\.|\bpatent|\bversion|\bRFC|\bzip|\bcase|\bref(?:erence)?|\btracking|\bticket|\bbatch|\blot)"
    r"[\s:.#]{0,3}(?:\b(?:no|nr|number|id|code)\b)?[\s:.#]{0,3}$",
    re.IGNORECASE,
)
"""What stands before a number that is nobody's: of an order, a part, a page."""


class Finding(NamedTuple):
    """One piece of personal data in a text."""

    type: str
    """One of `TYPES`."""
    rule: str
    """What found it, such as the vendor of a secret or the country of an id."""
    confidence: float
    """From 0 to 1: how sure the rule is. It is set by hand, not measured: an order, no probability."""
    start: int
    """In code points of the text."""
    end: int
    """Behind its last code point."""
