"""Whether a page's owner has opted out of having it used: what the page itself says.

Read are X-Robots-Tag and `<meta name="robots">` (also under our own product token) for `noai` and, if asked for,
`noindex`; and the TDM Reservation Protocol's header and meta element (W3C TDMRep, sections 6.2 and 6.3).
An owner's statement for a whole origin is read beside robots.txt: see `tdmrep`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from quarry_dagster.crawl.robots import product_token

if TYPE_CHECKING:
    from multidict import CIMultiDictProxy

    from quarry_dagster.profiles import Crawl

_HEAD = 65_536
"""Bytes of a document searched for meta elements."""
_TAG = 2048
"""Bytes of one meta element: bounds the work a hostile page can cause."""

_POINT = re.compile(rb"<(?:(!--)|(script|style|title|template)\b|(meta)\b|(body)\b)")
_ATTRIBUTE = re.compile(r"""([a-z:_-]+)\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'>]+))""")
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

    def refused_by_headers(self, headers: CIMultiDictProxy[str]) -> str | None:
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
        head = body[:_HEAD].lower()
        # Nearly all pages say nothing: they cost a few substring searches and no parsing.
        if not any(hint in head for hint in self._hints):
            return None
        for tag in _meta_tags(head):
            found = _attributes(tag)
            name, content = found.get("name", "").strip(), found.get("content", "")
            if self._tdm and name == "tdm-reservation" and content.strip() == "1":
                return "meta tdm-reservation: 1"
            if name in self._names and (refused := self._refusing.intersection(re.split(r"[\s,;]+", content))):
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


def forbids_following(body: bytes) -> bool:
    """Whether a meta element asks robots not to follow the page's links."""
    tags = map(_attributes, _meta_tags(body[:_HEAD].lower()))
    return any(
        tag.get("name", "").strip() == "robots"
        and not {"nofollow", "none"}.isdisjoint(re.split(r"[\s,;]+", tag.get("content", "")))
        for tag in tags
    )


def _attributes(tag: str) -> dict[str, str]:
    """The attributes of an element, names as they are written; the first of a name counts."""
    return {name: double or single or bare for name, double, single, bare in reversed(_ATTRIBUTE.findall(tag))}


def _meta_tags(head: bytes) -> list[str]:
    """The attributes of the meta elements before `<body>`, outside comments, scripts and the like.

    Goes forward only and never looks at a byte twice: a regular expression for comments takes quadratic time on
    a page of `<!--`.
    """
    tags: list[str] = []
    at = 0
    while point := _POINT.search(head, at):
        comment, raw, meta, body = point.groups()
        if body:
            break
        end = head.find(b"-->" if comment else b"</" + raw if raw else b">", point.end())
        if end < 0:
            break
        if meta:
            tags.append(head[point.end() : min(end, point.end() + _TAG)].decode("utf-8", "replace"))
        at = end + 1
    return tags
