"""Bytes to characters, as a browser would, but distrusting a declaration that the bytes contradict.

Order: byte order mark; UTF-16 and UTF-32 by their NULs; UTF-8 where the bytes are UTF-8 but for a byte here and there;
the Content-Type header and the page's own declaration, unless the bytes clearly speak for another encoding; what the
bytes speak for.
"""

from __future__ import annotations

import codecs
import re

from w3lib.encoding import html_body_declared_encoding, http_content_type_encoding, to_unicode

from quarry_dagster.byte_order import wide_encoding
from quarry_dagster.extract.charset import WEB, Evidence

_REPLACEMENT = "\ufffd"
_UNREADABLE = re.compile("[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f\ufffd]")
_SAMPLE = 100_000
_MAX_UNREADABLE = 0.02
_MAX_DAMAGE = 0.25
"""So many undecodable places for each character outside ASCII leave a text in UTF-8 what it is: read as UTF-8, another
encoding has several for each character that happens to be one."""
_CLEARLY = 1.02
"""So many times as likely as a declared encoding another one must be."""
_NOT_ASCII = re.compile(r"[^\x00-\x7f]")
_SHIFTS = re.compile(rb"\x1b\$[@B]|\x1b\(J")
"""What begins characters in ISO-2022-JP, whose bytes are all ASCII."""


class NotText(ValueError):
    """The bytes are no text in any encoding."""


def decode(body: bytes, content_type: str | None, *, is_markup: bool = True) -> str:
    """The page's characters. `is_markup`: it may declare its encoding itself.

    Raises:
        NotText: the body is binary, whatever its Content-Type says.
    """
    if body.startswith(b"%PDF-"):
        raise NotText("a PDF, not text")
    text = read_characters(body, content_type, is_markup=is_markup)[1]
    refuse_unreadable(text)
    return text


def refuse_unreadable(text: str) -> None:
    """Raise where too many of these characters are no text.

    Raises:
        NotText: they are control characters, or could not be decoded.
    """
    unreadable = len(_UNREADABLE.findall(text, 0, _SAMPLE)) / min(len(text) or 1, _SAMPLE)
    if unreadable > _MAX_UNREADABLE:
        raise NotText(f"not text: {unreadable:.0%} of the characters are control characters or undecodable")


def read_characters(body: bytes, content_type: str | None, *, is_markup: bool = True) -> tuple[str, str]:
    """The encoding that a body is read in, as Python calls it, and its characters, whatever they are."""
    if (wide := wide_encoding(body)) is not None:
        return wide, body.decode(wide, "replace")
    body = body.removeprefix(codecs.BOM_UTF8)
    if body.isascii():
        encoding = "iso2022_jp" if _SHIFTS.search(body) else "ascii"
        return encoding, to_unicode(body, encoding)
    if (text := _as_utf8(body)) is not None:
        return "utf-8", text
    declared = _declared(body, content_type, is_markup=is_markup)
    encoding = _believed([each for each in declared if not each.startswith("utf-")], Evidence(body))
    return encoding, to_unicode(body, encoding)


def _believed(declared: list[str], evidence: Evidence) -> str:
    """The first encoding that was declared and that the bytes do not contradict, else what they speak for."""
    likeliest = evidence.likeliest
    for encoding in declared:
        if evidence.says_the_same(encoding, likeliest):
            return encoding
        found = evidence.likely.get(encoding, 0.0)
        if found and (evidence.is_scant or found * _CLEARLY >= evidence.likely.get(likeliest, 0.0)):
            return encoding
    return likeliest


def _declared(body: bytes, content_type: str | None, *, is_markup: bool) -> list[str]:
    """The encodings that the header and the page itself name, where the web has them."""
    said = [http_content_type_encoding(content_type), html_body_declared_encoding(body) if is_markup else None]
    return [encoding for encoding in said if encoding in WEB]


def _as_utf8(body: bytes) -> str | None:
    """The text, where the bytes are UTF-8 but for a byte here and there: no other encoding gives that by chance."""
    try:
        # Incremental, because a body may have been cut inside a character.
        return codecs.getincrementaldecoder("utf-8")().decode(body)
    except UnicodeDecodeError:
        text = body.decode("utf-8", "replace")
        lost = text.count(_REPLACEMENT)
        return text if lost <= _MAX_DAMAGE * (_foreign(text) - lost) else None


def _foreign(text: str) -> int:
    return len(_NOT_ASCII.findall(text))
