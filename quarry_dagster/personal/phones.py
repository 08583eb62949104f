"""Numbers of telephones; with the extra `research` phonenumbers says which can be."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec

from quarry_dagster.personal.finding import OTHER_NUMBER, Finding

_NUMBER = re.compile(
    r"(?<![\w.,/=#@+(-])(?:\(?\+|00|\()?\d{1,5}\)?(?:[ \u00a0./()–-]{1,3}\d{1,8}){1,7}(?![\w/]|[.,:]\d|-\w)"
    r"|(?<![\w.,/=#@-])(?:\+|00)?\d{8,13}(?![\w/]|[.,:]\d|-\w)",
    re.ASCII,
)
_NORTH_AMERICA = re.compile(r"(?:\+?1[ .-]?)?(?:\([2-9]\d{2}\) ?|[2-9]\d{2}([ .-]))[2-9]\d{2}(?:\1|[ .-])\d{4}")
_NO_NUMBER = re.compile(
    r"555\D{0,2}01\d\d$|^\D*(?:1\D?)?123\D*456\D*7890$|^\D*(\d)(?:\D*\1)+$|^\d{1,3}(?:\.\d{1,3}){3}$"
)
"""Numbers of films, of manuals, of one digit alone, and addresses of hosts."""
_NAME = re.compile(
    r"(?:\btele(?:phone|fon|fono|fone|foon)\w*|\bt[ée]l\b|\bt[ée]l[ée]phone|\btlf\b|\bfono?s?\b|phones?\b|\bcall(?:ing)?\b|"
    r"\bmobile|\bmob\b|\bgsm\b|\bcell(?:phone)?\b|\bfax\b|\bwhats ?app\b|\bhandy\b|\bmobil\b|\brufnummer|\bhotline|"
    r"\btext us|\bsms\b|\bmóvil|\bcelular|\bpuhelin|тел|電話|电话|手机|携帯|الهاتف|هاتف|전화|휴대폰)"
    r"[\s:：.,#*|(-]{0,6}(?:\b(?:no|nr|number|us|me|at|on|today|toll[- ]free|now|is|line|direct)\b"
    r"[\s:：.#*(-]{0,3}){0,3}$",
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
        if OTHER_NUMBER.search(before):
            continue
        is_named = bool(_NAME.search(before)) and _is_grouped(said, digits)
        if said.lstrip("(").startswith("+") and digits >= 8:
            sure = 0.95
        elif _NORTH_AMERICA.fullmatch(said) and (is_named or not said.replace(" ", "").isdigit()):
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


def _is_grouped(said: str, digits: int) -> bool:
    """Whether the digits of a number that is named as one are in groups as a person writes them."""
    groups = re.findall(r"\d+", said)
    has_prefix = said.lstrip("(").startswith(("+", "0"))
    years = sum(len(group) == 4 and group[:2] in ("19", "20") for group in groups)
    return years < 2 and sum(len(group) == 1 for group in groups) < 3 and (has_prefix or digits <= 11)


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
