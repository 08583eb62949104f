"""Numbers of telephones; with the extra `research` phonenumbers says which can be."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec

from quarry_dagster.personal.finding import Finding

_NUMBER = re.compile(
    r"(?<![\w.,/=#@+(-])(?:\(?\+|00|\()?\d{1,5}\)?(?:[ \u00a0./()–-]{1,3}\d{1,7}){1,7}(?![\w/]|[.,:]\d|-\w)"
    r"|(?<![\w.,/=#@-])\+\d{8,15}(?!\w)",
    re.ASCII,
)
_NORTH_AMERICA = re.compile(r"(?:\+?1[ .-]?)?(?:\([2-9]\d{2}\) ?|[2-9]\d{2}([ .-]))[2-9]\d{2}(?:\1|[ .-])\d{4}")
_NO_NUMBER = re.compile(
    r"555\D{0,2}01\d\d$|^\D*(?:1\D?)?123\D*456\D*7890$|^\D*(\d)(?:\D*\1)+$|^\d{1,3}(?:\.\d{1,3}){3}$"
)
"""Numbers of films, of manuals, of one digit alone, and addresses of hosts."""
_NAME = re.compile(
    r"(?:\btel\b|\btele\w*|\bt[ée]l[ée]?\w*|\bfono?s?\b|\bphone|phone:|\bcall\b|\bcalling|\bmobile|\bcell|\bfax|"
    r"\bwhats ?app|\bhandy\b|\bmobil\b|\brufnummer|\bhotline|\btext us|\bsms|\bmóvil|\bcelular|"
    r"тел|電話|电话|手机|الهاتف|전화)[^\d\n]{0,25}$",
    re.IGNORECASE,
)
_NO_PHONE = re.compile(
    r"(?:\bISBN|\bISSN|\bDOI|\border|\binvoice|\bpart|\bmodel|\bSKU|\bserial|\bpages?|\bpp?\.|\bpatent|\bversion|"
    r"\bno\.|\bRFC|\bzip|\bcase)[^\d\n]{0,12}$",
    re.IGNORECASE,
)
_DATE = re.compile(
    r"(?:19|20)\d\d[ ./-]\d{1,2}[ ./-]\d{1,2}|\d{1,2}[ ./-]\d{1,2}[ ./-](?:19|20)\d\d"
    r"|(?:19|20)\d\d ?[–-] ?(?:19|20)\d\d"
)
_BEFORE = 40
"""Characters before a number that are looked at for its name."""


def phones(text: str) -> Iterator[Finding]:
    """The numbers of telephones: with the code of a country, of North America's form, or named as such."""
    for found in _NUMBER.finditer(text):
        said = found[0]
        digits = sum(map(str.isdigit, said))
        if not 7 <= digits <= 15 or _NO_NUMBER.search(said) or _DATE.search(said):
            continue
        before = text[max(0, found.start() - _BEFORE) : found.start()]
        if _NO_PHONE.search(before):
            continue
        is_named = bool(_NAME.search(before))
        if said.lstrip("(").startswith("+") and digits >= 8:
            sure = 0.95
        elif _NORTH_AMERICA.fullmatch(said):
            sure = 0.9
        elif is_named:
            sure = 0.85
        else:
            continue
        if has_phonenumbers() and not _can_be(said):
            if not is_named:
                continue
            sure = 0.5
        yield Finding("phone", "named" if is_named else "form", sure, *found.span())


def _can_be(said: str) -> bool:
    """Whether a number can be one: of the country that it names, else of any, which its digits do not tell."""
    import phonenumbers

    if "+" not in said and not _NORTH_AMERICA.fullmatch(said):
        return True
    try:
        number = phonenumbers.parse(said, None if "+" in said else "US")
    except phonenumbers.NumberParseException:
        return False
    return phonenumbers.is_valid_number(number)


@cache
def has_phonenumbers() -> bool:
    """Whether the extra `research` is installed."""
    return find_spec("phonenumbers") is not None
