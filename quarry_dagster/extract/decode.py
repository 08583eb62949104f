"""Bytes to characters, as a browser would, but distrusting a declaration that the bytes contradict.

Order: byte order mark; UTF-8 where the bytes are valid UTF-8 (no other encoding gives that by chance); the
Content-Type header; the page's own declaration; a guess from the text.
"""

from __future__ import annotations

import codecs
import re

from w3lib.encoding import html_to_unicode, read_bom, to_unicode

from quarry_dagster.extract.charset import guess_encoding

_REPLACEMENT = "\ufffd"
_UNREADABLE = re.compile("[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f\ufffd]")
_SAMPLE = 100_000
_MAX_UNREADABLE = 0.02
_MAX_DAMAGE = 0.1


class NotText(ValueError):
    """The bytes are no text in any encoding."""


def decode(body: bytes, content_type: str | None) -> str:
    """The page's characters.

    Raises:
        NotText: the body is binary, whatever its Content-Type says.
    """
    if body.startswith(b"%PDF-"):
        raise NotText("a PDF, not text")
    text = read_characters(body, content_type)[1]
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


def read_characters(body: bytes, content_type: str | None) -> tuple[str, str]:
    """The encoding that a body is read in, as Python calls it, and its characters, whatever they are."""
    if read_bom(body)[0] is None and not body.isascii():
        try:
            # Incremental, because a body may have been cut inside a character.
            return "utf-8", codecs.getincrementaldecoder("utf-8")().decode(body)
        except UnicodeDecodeError:
            pass
    encoding, text = html_to_unicode(content_type, body, auto_detect_fun=guess_encoding)
    if not _is_damaged(text):
        return encoding, text
    guess = guess_encoding(body)
    other = (guess, to_unicode(body, guess)) if guess else (encoding, text)
    return min((encoding, text), other, key=lambda read: read[1].count(_REPLACEMENT))


def _is_damaged(text: str) -> bool:
    """Whether so many characters were undecodable that the encoding must be wrong, not a byte here and there."""
    lost = text.count(_REPLACEMENT)
    return lost > 0 and lost > _MAX_DAMAGE * sum(not c.isascii() for c in text)
