"""Numbers and prices, as pages of all countries write them."""

from __future__ import annotations

import re
from decimal import Decimal
from itertools import pairwise
from typing import NamedTuple
from unicodedata import decimal

_EXPONENT = re.compile(r"\d(?:\.\d+)?[eE]\+?\d{1,2}")
_POINTS = {"٫": ".", "٬": ",", "．": ".", "，": ",", "−": "-", "–": "-", "—": "-", "～": "-", "~": "-", "￥": "¥"}
_LONGEST = 40
"""Digits of a number that are kept."""
_NUMBER = r"(?:(?:\d{1,3}(?:[ '’]\d{3})+(?!\d)|\d+)(?:[.,]\d+)*|(?<![\d.,])[.,]\d+)"
_FIRST = re.compile(_NUMBER)
_SIGNS = {
    **{"US$": "USD", "CA$": "CAD", "C$": "CAD", "AU$": "AUD", "A$": "AUD", "NZ$": "NZD", "HK$": "HKD", "NT$": "TWD"},
    **{"MX$": "MXN", "S$": "SGD", "R$": "BRL", "$": "USD", "€": "EUR", "£": "GBP", "¥": "JPY", "円": "JPY"},
    **{"₹": "INR", "₽": "RUB", "₩": "KRW", "₫": "VND", "₺": "TRY", "₴": "UAH", "₪": "ILS", "฿": "THB", "₱": "PHP"},
    **{"₦": "NGN", "zł": "PLN", "Kč": "CZK", "Rp": "IDR"},
}
_CODES = (
    "AED|ARS|AUD|BGN|BHD|BRL|CAD|CHF|CLP|CNY|COP|CZK|DKK|EGP|EUR|GBP|HKD|HUF|IDR|ILS|INR|IQD|ISK|JOD|JPY|KRW|KWD|LYD|"
    "MXN|MYR|NGN|NOK|NZD|OMR|PEN|PHP|PKR|PLN|QAR|RON|RUB|SAR|SEK|SGD|THB|TND|TRY|TWD|UAH|USD|VND|ZAR"
)
"""Codes that may stand beside a price, in ISO 4217."""
_THREE_DECIMALS = frozenset({"BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"})
_CURRENCY = "|".join(
    [
        # A sign behind other letters is another one: "TT$" is no "$".
        rf"(?<![A-Za-z])(?:{'|'.join(map(re.escape, sorted(_SIGNS, key=len, reverse=True)))})(?![A-Za-z$])",
        rf"(?<![A-Za-z])(?:{_CODES})(?![A-Za-z])",
    ]
)
_AMOUNT = re.compile(
    rf"(?P<minus>(?<![^\s(])-)?(?:(?P<before>{_CURRENCY}) ?)?(?P<negative>(?<!\d)-)?"
    rf"(?P<number>{_NUMBER})(?P<whole>[.,:]-+(?! ?\d))?(?: ?(?P<after>{_CURRENCY}))?(?P<percent> ?%)?"
)
_RANGE = re.compile(r" ?(?:-+|\bto\b|\bbis\b|\bà\b|\ba\b) ?", re.IGNORECASE)
_OR = re.compile(r" ?[/|] ?")
_FOR_SEVERAL = re.compile(r"\b\d+ ?(?:for|x|×|pour|für|por) ?\D{0,4}\d", re.IGNORECASE)
_ISO = re.compile(r"[A-Z]{3}")
_COUNT = re.compile(rf"((?>{_NUMBER}))(?! ?[kKmM]\b)")


class Price(NamedTuple):
    """What is asked for something: an amount, or the lowest and highest of a range; decimals as text."""

    amount: str | None = None
    highest: str | None = None
    currency: str | None = None


def number(text: str | None) -> str | None:
    """A number as digits and one point: "1.299,00 €" is "1299.00". None where there is none, or below 0.

    What could be read either way is read as schema.org writes numbers: "1.299" has three decimals.
    """
    plain = _plain(text)
    if _EXPONENT.fullmatch(plain):
        return f"{Decimal(plain):f}"[:_LONGEST]
    found = _FIRST.search(plain)
    if not found or plain[: found.start()].rstrip().endswith("-"):
        return None
    return _decimal(found[0], has_groups=False)


def count(text: str | None) -> str | None:
    """How many there are: "1.234" and "1,234" are "1234"; None where it is no whole number, such as "2.5k"."""
    found = _COUNT.search(_plain(text))
    whole = _decimal(found[1], has_groups=True) if found else None
    return whole if whole and whole.isdigit() else None


def price(text: str | None, code: str | None = None) -> Price:
    """The price that a text says, in the currency `code` where it says several; none where it is of several things.

    Where a sign or code of a currency stands beside a number, three digits behind its only separator are thousands:
    "1.299 €" is "1299", for shown prices have no three decimals, but in the currencies that have.
    """
    plain = _plain(text)
    if _EXPONENT.fullmatch(plain) or not plain:
        return Price(number(plain))
    if _FOR_SEVERAL.search(plain):
        return Price()
    amounts = [each for each in _AMOUNT.finditer(plain) if not each["percent"]]
    told = [each for each in amounts if _currency_of(each)]
    wanted = [each for each in told if _currency_of(each) == code] or told or amounts
    if not wanted or wanted[0]["minus"] or wanted[0]["negative"]:
        return Price()
    first = wanted[0]
    for low, high in pairwise(amounts):
        if first in (low, high) and _RANGE.fullmatch(plain, low.end(), high.start()):
            return _range(low, high)
    if told and len(wanted) > 1 and not _OR.fullmatch(plain, first.end(), wanted[1].start()):
        return Price()  # such as that of before and that of now
    return Price(_decimal(first["number"], _has_groups(first, _currency_of(first))), None, _currency_of(first))


def currency(said: str | None) -> str | None:
    """The code of a currency that is given by its code or its sign."""
    plain = _plain(said)
    if _ISO.fullmatch(plain.upper()):
        return plain.upper()
    found = re.search(_CURRENCY, plain)
    return _SIGNS.get(found[0], found[0]) if found else None


def _plain(text: str | None) -> str:
    """A text with European digits and points, of one line."""
    plain = "".join(str(decimal(c)) if c.isdecimal() else _POINTS.get(c, c) for c in (text or "")[:100])
    return " ".join(plain.split())


def _currency_of(amount: re.Match[str]) -> str | None:
    sign = amount["before"] or amount["after"]
    return _SIGNS.get(sign, sign)


def _range(low: re.Match[str], high: re.Match[str]) -> Price:
    code = _currency_of(low) or _currency_of(high)
    if _currency_of(high) not in (None, code):
        return Price()
    lowest, highest = (_decimal(each["number"], _has_groups(each, code)) for each in (low, high))
    return Price(lowest, highest if highest != lowest else None, code)


def _has_groups(amount: re.Match[str], code: str | None) -> bool:
    return bool(amount["whole"]) or (code is not None and code not in _THREE_DECIMALS)


def _decimal(written: str, has_groups: bool) -> str:
    """Digits and one point; `has_groups` says that three digits behind the only separator are thousands."""
    digits = re.sub(r"[ '’]", "", written)[:_LONGEST]
    last = max(digits.rfind("."), digits.rfind(","))
    if last < 0:
        return digits
    sign, behind = digits[last], len(digits) - last - 1
    other = "," if sign == "." else "."
    is_alone = behind == 3 and other not in digits and 0 < last <= 3 and not digits.startswith("0")
    whole = re.sub(r"[.,]", "", digits[:last])
    if digits.count(sign) > 1 or (is_alone and (has_groups or sign == ",")):
        return whole + digits[last + 1 :]
    return f"{whole or '0'}.{digits[last + 1 :]}"
