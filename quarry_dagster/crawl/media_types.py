"""Which documents are text that can be extracted, by what the server says and by their first bytes."""

from __future__ import annotations

ACCEPT = "text/html,application/xhtml+xml,text/plain;q=0.9,text/markdown;q=0.9,application/xml;q=0.8,text/xml;q=0.8"
_PLAIN = frozenset({"text/plain", "text/markdown", "text/x-markdown"})
_ACCEPTED = frozenset({"text/html", "application/xhtml+xml", "application/xml", "text/xml", *_PLAIN})
_LISTS = frozenset(
    {"application/rss+xml", "application/atom+xml", "application/rdf+xml", "application/gzip", "application/x-gzip"}
)
"""Feeds, and packed sitemaps."""
_HTML = frozenset({"", "text/html", "application/xhtml+xml"})

# Servers call a PDF text/html often enough that the first bytes are looked at whatever the header says.
_MAGIC = {
    b"%PDF-": "PDF",
    b"\x89PNG": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"GIF8": "GIF",
    b"RIFF": "RIFF",
    b"PK\x03\x04": "zip",
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"7z\xbc\xaf\x27\x1c": "7z",
    b"Rar!": "rar",
    b"\xd0\xcf\x11\xe0": "Office",
    b"\x7fELF": "ELF",
    b"%!PS": "PostScript",
}
_MAGICS = tuple(_MAGIC)
_BYTE_ORDER_MARKS = (b"\xff\xfe", b"\xfe\xff")
_SNIFFED = 1024


def media_type(content_type: str | None) -> str:
    """`type/subtype` in lower case, "" where the header is missing or empty."""
    return (content_type or "").partition(";")[0].strip().lower()


def is_html(content_type: str | None) -> bool:
    return media_type(content_type) in _HTML


def is_plain_text(content_type: str | None) -> bool:
    """Whether a body of that type is a text as it is, without a page's elements."""
    return media_type(content_type) in _PLAIN


def is_list(content_type: str | None) -> bool:
    """Whether a body of that type may be a feed or a packed sitemap, and is no page."""
    return media_type(content_type) in _LISTS


def refused_type(content_type: str | None) -> str | None:
    """Why a body of that type is not read; None where it is."""
    kind = media_type(content_type)
    return None if not kind or kind in _ACCEPTED else f"{kind} is not text that can be extracted"


def refused_bytes(body: bytes, content_type: str | None, *, is_served: bool = True) -> str | None:
    """Why a body is no text after all; None where it may be. `is_served`: the type is what a server said."""
    called = f", the server calls it {media_type(content_type) or 'nothing'}" if is_served else ""
    if body.startswith(_MAGICS):
        kind = next(name for magic, name in _MAGIC.items() if body.startswith(magic))
        return f"the body is {kind}{called}"
    if (is_plain_text(content_type) or not media_type(content_type)) and b"\0" in body[:_SNIFFED]:
        # UTF-16 and UTF-32 text is half NULs.
        if body.startswith(_BYTE_ORDER_MARKS) or "utf-" in (content_type or "").lower():
            return None
        return f"the body is binary{called}"
    return None
