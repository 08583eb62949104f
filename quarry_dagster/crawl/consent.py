"""Whether a page's owner has opted out of having it used: what the page itself says.

Read are X-Robots-Tag and `<meta name="robots">` (also under our own product token) for `noai` and, if asked for,
`noindex`; and the TDM Reservation Protocol's header and meta element (W3C TDMRep, sections 6.2 and 6.3).
An owner's statement for a whole origin is read beside robots.txt: see `tdmrep`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from quarry_dagster.crawl.robots import product_token
from quarry_dagster.crawl.tags import start_tags

if TYPE_CHECKING:
    from multidict import CIMultiDict, CIMultiDictProxy

    from quarry_dagster.profiles.settings import Crawl

_HEAD = 65_536
"""Bytes of a document searched for meta elements."""

_HEADERS = ("X-Robots-Tag", "TDM-Reservation")
"""The headers that are read."""
# Directives of X-Robots-Tag that have a value: what stands before their colon is no crawler's name.
_WITH_VALUE = frozenset({"unavailable_after", "max-snippet", "max-image-preview", "max-video-preview"})


class Consent:
    """The signals to obey, for one user agent."""

    def __init__(self, settings: Crawl) -> None:
        refusing = {"noai"} if settings.obey_consent else set()
        if settings.obey_noindex:
            refusing |= {"noindex", "none"}  # `none` is short for `noindex, nofollow`
        self._refusing = frozenset(refusing)
        self._tdm = settings.obey_consent
        self._names = frozenset({"robots", product_token(settings.user_agent)})
        self._hints = tuple(word.encode() for word in refusing) + ((b"tdm-reservation",) if self._tdm else ())

    def refused_by_headers(self, headers: CIMultiDictProxy[str] | CIMultiDict[str]) -> str | None:
        """The header that opts out, for a person to read; None where none does."""
        if self._tdm and headers.get("TDM-Reservation", "").strip() == "1":
            return "header TDM-Reservation: 1"
        for value in headers.getall("X-Robots-Tag", ()):
            if found := self._refused_by_tag(value.lower()):
                return f"header X-Robots-Tag: {found}"
        return None

    def refused_by_html(self, body: bytes) -> str | None:
        """The meta element that opts out, for a person to read; None where none does."""
        if body.startswith((b"\xff\xfe", b"\xfe\xff")):
            body = body[: 2 * _HEAD].decode("utf-16", "replace").encode()
        head = body[:_HEAD]
        lower = head.lower()
        # Nearly all pages say nothing: they cost a few substring searches and no parsing.
        if not any(hint in lower for hint in self._hints):
            return None
        for name, content in _metadata(head):
            if self._tdm and name == "tdm-reservation" and content == "1":
                return "meta tdm-reservation: 1"
            if name in self._names and (refused := self._refusing.intersection(_words(content))):
                return f"meta {name}: {min(refused)}"
        return None

    def _refused_by_tag(self, value: str) -> str | None:
        ours = True
        for part in value.split(","):
            name, colon, directive = part.partition(":")
            if not colon:
                directive = name
            elif name.strip() not in _WITH_VALUE and " " not in name.strip():  # else a date goes on after its comma
                ours = name.strip() in self._names  # holds for the directives that follow on the line too
            if ours and directive.strip() in self._refusing:
                return directive.strip()
        return None


def spoken_of_use(headers: CIMultiDict[str]) -> str | None:
    """The headers that say what a page may be used for, a line each; None where none does."""
    return "\n".join(f"{name}: {value}" for name in _HEADERS for value in headers.getall(name, ())) or None


def headers_in(lines: str | None) -> list[tuple[str, str]]:
    """The headers that :func:`spoken_of_use` gave."""
    parted = (line.partition(": ") for line in (lines or "").splitlines())
    return [(name, value) for name, _, value in parted]


def forbids_following(body: bytes) -> bool:
    """Whether a meta element asks robots not to follow the page's links."""
    return any(
        name == "robots" and not {"nofollow", "none"}.isdisjoint(_words(content))
        for name, content in _metadata(body[:_HEAD])
    )


def _metadata(head: bytes) -> Iterator[tuple[str, str]]:
    """Name and content, in lower case, of each meta element before `<body>`."""
    for tag, attributes in start_tags(head, ("meta", "body")):
        if tag == "body":
            return
        yield attributes.get("name", "").strip().lower(), attributes.get("content", "").strip().lower()


def _words(content: str) -> list[str]:
    return re.split(r"[\s,;]+", content)
