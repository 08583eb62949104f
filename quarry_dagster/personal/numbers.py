"""Numbers of cards, accounts and people, told from other numbers by their check digits; python-stdnum checks them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache
from importlib import import_module

from quarry_dagster.personal.finding import OTHER_NUMBER, Finding

_CARD = re.compile(
    r"(?<![\w.,/-])[2-6]\d{3}(?:([ -]?)\d{4}\1\d{4}\1\d{1,7}|([ -])\d{6}\2\d{5}|\d{11})(?![\w/-]|[.,]\d)", re.ASCII
)
_ISSUERS = re.compile(
    r"4(?:\d{12}|\d{15}|\d{18})|5[1-5]\d{14}|2(?:22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720)\d{12}|3[47]\d{13}|"
    r"6(?:011|5\d\d|4[4-9]\d)\d{12}|35(?:2[89]|[3-8]\d)\d{12}|3(?:0[0-5]|[68]\d)\d{11}|62\d{14,17}|220[0-4]\d{12}|50\d{14}"
)
"""Numbers that issuers give out: https://en.wikipedia.org/wiki/Payment_card_number."""
_OF_CARD = re.compile(
    r"card|credit|visa|master|amex|cvv|cvc|karte|carte|tarjeta|cartão|карт|卡|カード|payment|debit", re.IGNORECASE
)

_BLANKS = " \u00a0\u202f"
_IBAN = re.compile(
    rf"(?<![a-z0-9])[a-z]{{2}}\d{{2}}(?:[{_BLANKS}]?[a-z0-9]{{4}}){{2,7}}(?:[{_BLANKS}]?[a-z0-9]{{1,3}})?(?![a-z0-9])",
    re.ASCII | re.IGNORECASE,
)
_SHORTEST_IBAN = 15

_ID_RULES: tuple[tuple[str, str, str | None, float], ...] = (
    ("us.ssn", r"\d{3}-\d{2}-\d{4}", None, 0.7),
    ("us.ssn", r"\d{9}", r"\bssn\b|social security", 0.8),
    ("es.dni", r"\d{8}-?[A-HJ-NP-TV-Z]", None, 0.85),
    ("es.nie", r"[XYZ]-?\d{7}-?[A-HJ-NP-TV-Z]", None, 0.9),
    ("it.codicefiscale", r"[A-Z]{6}\d{2}[A-EHLMPRST]\d{2}[A-Z]\d{3}[A-Z]", None, 0.97),
    ("fr.nir", r"[12]( ?)\d{2}\1\d{2}\1(?:\d{2}|2[AB])\1\d{3}\1\d{3}\1\d{2}", None, 0.9),
    ("de.idnr", r"\d{2} ?\d{3} ?\d{3} ?\d{3}", r"steuer|idnr|tax id|tin\b", 0.9),
    ("gb.nhs", r"\d{3}[ -]?\d{3}[ -]?\d{4}", r"\bNHS\b", 0.9),
    ("nl.bsn", r"\d{4}[. ]?\d{2}[. ]?\d{3}", r"\bbsn\b|burgerservice|sofinummer", 0.9),
    ("be.nn", r"\d{2}\.\d{2}\.\d{2}-\d{3}\.\d{2}", None, 0.95),
    ("be.nn", r"\d{11}", r"rijksregister|registre national|\bINSZ\b|\bNISS\b", 0.9),
    ("gr.amka", r"\d{11}", r"ΑΜΚΑ|\bAMKA\b", 0.9),
    ("il.idnr", r"\d{9}", r"teudat|ת[\"״]ז|תעודת", 0.9),
    ("ie.pps", r"\d{7}[A-W][A-IW]?", r"\bPPS", 0.9),
    ("pl.pesel", r"\d{11}", r"pesel", 0.95),
    ("se.personnummer", r"\d{6}[-+]\d{4}", None, 0.85),
    ("se.personnummer", r"(?:19|20)\d{6}[-+]\d{4}", r"person-?n(?:ummer|r)|samordningsn|\bpnr\b", 0.95),
    ("fi.hetu", r"\d{6}[-+A]\d{3}[0-9A-Y]", None, 0.9),
    ("no.fodselsnummer", r"\d{6} ?\d{5}", r"f[øo]dsels|personnummer|fnr\b", 0.9),
    ("dk.cpr", r"\d{6}-?\d{4}", r"\bcpr\b", 0.9),
    ("br.cpf", r"\d{3}\.\d{3}\.\d{3}-\d{2}", None, 0.97),
    ("br.cpf", r"\d{11}", r"\bcpf\b", 0.9),
    ("in_.aadhaar", r"[2-9]\d{3}[ -]?\d{4}[ -]?\d{4}", r"aadh?aar|आधार|uidai", 0.95),
    ("in_.pan", r"[A-Z]{3}[ABCFGHLJPTF][A-Z]\d{4}[A-Z]", r"\bPAN\b", 0.9),
    ("cn.ric", r"\d{17}[\dX]", None, 0.95),
    ("kr.rrn", r"\d{6}-[1-8]\d{6}", None, 0.95),
    ("tr.tckimlik", r"[1-9]\d{10}", r"t\.?c\.?|kimlik", 0.9),
    ("ca.sin", r"\d{3}[ -]?\d{3}[ -]?\d{3}", r"\bSIN\b|social insurance|assurance sociale", 0.9),
    ("au.tfn", r"\d{3} ?\d{3} ?\d{2,3}", r"\bTFN\b|tax file", 0.9),
    ("mx.curp", r"[A-Z]{4}\d{6}[HM][A-Z]{5}[0-9A-Z]\d", None, 0.97),
    ("cl.rut", r"\d{1,2}\.\d{3}\.\d{3}-[\dKk]", None, 0.9),
    ("ar.cuit", r"(?:20|23|24|27)-\d{8}-\d", None, 0.9),
    ("za.idnr", r"\d{6} ?\d{4} ?\d{3}", r"\bID\b|identity|south afric", 0.8),
    ("pt.nif", r"[123]\d{8}", r"\bNIF\b|contribuinte", 0.9),
    ("ro.cnp", r"[1-8]\d{12}", r"\bCNP\b|cod numeric", 0.9),
    ("bg.egn", r"\d{10}", r"\bЕГН\b|\bEGN\b", 0.9),
    ("cz.rc", r"\d{6}/\d{3,4}", r"rodn|r\.\s?č", 0.95),
    ("ch.ssn", r"756\.\d{4}\.\d{4}\.\d{2}", None, 0.98),
)
"""Ids of people: the module of python-stdnum, the form, what has to stand near it, and how sure it is then.

A number without a form of its own passes a check digit once in ten times, so its name has to stand beside it; so has
that of a number with the form of a date and a time."""
_IDS = tuple(
    (
        rule,
        re.compile(rf"(?<![\w.,/+-]){form}(?![\w/-]|[.,]\d)", re.ASCII),
        near and re.compile(near, re.IGNORECASE),
        sure,
    )
    for rule, form, near, sure in _ID_RULES
)
_OF_ID = re.compile(r"\bssn\b|social security|\bDNI\b|\bNIE\b|\bNIF\b", re.IGNORECASE)
_AROUND = 50
"""Characters around a number that are looked at for its name."""
_DIGITS = re.compile(r"\d[\d ./+-]{4,30}[\dA-Z]|\d{6}|\d\d[A-Z]\d\d[A-Z]\d|[A-Z]\d{4}[A-Z]")
_BESIDE = 12
"""Characters beside a run of digits that may be of the same id, such as letters before it."""


def cards(text: str) -> Iterator[Finding]:
    """The numbers of payment cards: of an issuer's form, and right by Luhn (ISO/IEC 7812-1)."""
    for found in _CARD.finditer(text):
        digits = re.sub(r"\D", "", found[0])
        if not _ISSUERS.fullmatch(digits) or len(set(digits)) < 2 or not _is_valid("luhn", digits):
            continue
        if OTHER_NUMBER.search(text[max(0, found.start() - _AROUND) : found.start()]):
            continue
        is_grouped = len(digits) != len(found[0])
        is_told = bool(_OF_CARD.search(_around(text, *found.span())))
        yield Finding("card", "luhn", 0.97 if is_told else 0.85 if is_grouped else 0.5, *found.span())


def ibans(text: str) -> Iterator[Finding]:
    """The numbers of bank accounts: ISO 13616, right by the remainder of 97 and of their country's form."""
    for found in _IBAN.finditer(text):
        end = found.end()
        while end - found.start() >= _SHORTEST_IBAN:  # words may follow
            if _is_valid("iban", re.sub(rf"[{_BLANKS}]", "", text[found.start() : end])):
                yield Finding("iban", "mod97", 0.99, found.start(), end)
                break
            end = max(text.rfind(blank, found.start(), end) for blank in _BLANKS)


def national_ids(text: str) -> Iterator[Finding]:
    """The numbers that states give people, right by their check digits.

    What stands around a number is looked at for each number, and never more than `_AROUND` characters of it: a list of
    them takes linear time.
    """
    for start, end in _windows(text):
        beside = _around(text, start, end)
        for rule, form, near, sure in _IDS:
            if near is not None and not near.search(beside):
                continue
            for found in form.finditer(text, start, end):
                if (confidence := _sure_of_id(text, found, near, sure)) and _is_valid(rule, found[0]):
                    yield Finding("national_id", rule, confidence, *found.span())


def _sure_of_id(text: str, found: re.Match[str], near: re.Pattern[str] | None, sure: float) -> float | None:
    """How sure it is that a number is an id, by what stands around it; None where that speaks against it."""
    around = _around(text, *found.span())
    if near is not None:
        return sure if near.search(around) else None
    if OTHER_NUMBER.search(text[max(0, found.start() - _AROUND) : found.start()]):
        return None
    return 0.97 if _OF_ID.search(around) else sure


def _windows(text: str) -> Iterator[tuple[int, int]]:
    """Where digits stand that may be of an id, with what is beside them; none overlaps another one."""
    start = end = 0
    for found in _DIGITS.finditer(text):
        if found.start() - _BESIDE > end:
            if end:
                yield start, end
            start = max(0, found.start() - _BESIDE)
        end = min(len(text), found.end() + _BESIDE)
    if end:
        yield start, end


def _around(text: str, start: int, end: int) -> str:
    return text[max(0, start - _AROUND) : end + _AROUND]


@cache
def _check(rule: str) -> Callable[[str], bool]:
    return import_module(f"stdnum.{rule}").is_valid


def _is_valid(rule: str, number: str) -> bool:
    return bool(_check(rule)(number))
