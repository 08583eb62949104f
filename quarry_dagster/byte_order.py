"""Text of several bytes a character: UTF-16 and UTF-32, with a byte order mark and without.

Spreadsheets write tables in it, and now and then a page is. It takes precedence over every declaration, because what
declares another encoding could not be read in this one.
"""

from __future__ import annotations

import codecs

HEAD = 4096
"""Bytes that it takes to tell."""
_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16, whose mark is its beginning
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_FEW, _MANY = 0.1, 0.3
"""Shares of NULs. Where they are many are the high bytes of what is ASCII: marks, markup, names of columns."""


def wide_encoding(head: bytes) -> str | None:
    """The encoding of text that begins so, by the name of Python's codec, which skips the mark; None: another one."""
    for mark, encoding in _MARKS.items():
        if head.startswith(mark):
            return encoding
    head = head[:HEAD]
    for width in (4, 2):
        units = len(head) // width
        if units == 0:
            continue
        empty = [head[i : units * width : width].count(0) / units for i in range(width)]
        if empty[0] < _FEW and min(empty[1:]) > _MANY:
            return f"utf-{8 * width}-le"
        if empty[-1] < _FEW and min(empty[:-1]) > _MANY:
            return f"utf-{8 * width}-be"
    return None


def characters(body: bytes) -> str:
    """The text of a file that declares no encoding, such as robots.txt: by its byte order mark, else UTF-8."""
    wide = wide_encoding(body)
    return body.decode(wide, "replace") if wide else body.decode("utf-8-sig", "replace")
