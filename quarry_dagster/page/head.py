"""A page's head: what its `meta`, `link`, `title` and `base` elements and its JSON-LD say, read once.

Whoever wants to know something of a page that stands there asks :class:`Head`: whether its owner opted out, where its
canonical URL is, who wrote it and when. What an answer means is for the one who asks.
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import urldefrag, urljoin, urlsplit

from quarry_dagster.errors import InvalidUrl
from quarry_dagster.page.json_ld import JsonLd, read_json_ld
from quarry_dagster.page.tags import Element, elements
from quarry_dagster.urls import canonical_url

_NAMES = ("name", "property", "itemprop", "http-equiv")
_IN_HEAD = ("meta", "link", "title", "base", "html", "body", "script", "noscript", "/noscript")
_HINTS = ("/ld", "/LD")
"""One of them is in a page that has JSON-LD; some frameworks escape the plus sign behind it."""
_LOADS = re.compile(
    r"""(?<![\w-])rel\s*+=\s*+["']?\s*+(?:stylesheet|preload|prefetch|dns-prefetch|preconnect|modulepreload)["'\s>]""",
    re.I,
)
_TITLE = 10_000
"""Characters of a title that are looked at: one that does not end has all the page in it."""
_MOST = 10_000
"""Elements that are kept of one head."""
_BETWEEN = re.compile(r"[\s,;]+")
_REFRESH = re.compile(r"([0-9]+)(?:\.[0-9.]*)?\s*[;,\s]\s*(?:url\s*=\s*)?+(.+)", re.IGNORECASE)
_IN_URL = re.compile(r"[\t\n\r]+")


@dataclass(frozen=True, slots=True)
class Meta:
    """A `meta` element; one that is named in two ways is there twice."""

    kind: str
    """What names it: `name`, `property`, `itemprop` or `http-equiv`."""
    name: str
    """In lower case, without blanks around it."""
    content: str
    """In one line."""


@dataclass(frozen=True, slots=True)
class Link:
    """A `link` element that says something of the page; those that load something are left out."""

    rel: frozenset[str]
    """In lower case."""
    attributes: dict[str, str]
    """All of them, names in lower case."""

    @property
    def href(self) -> str:
        """As it is written, relative to the page's base."""
        return self.attributes.get("href", "")


@dataclass(frozen=True)
class Head:
    """What the head of a page says; of the JSON-LD scripts those in its body too, where many pages have them."""

    title: str | None = None
    language: str | None = None
    """The attribute `lang` of `html`, as it is written."""
    base: str | None = None
    """What the page's addresses are relative to, itself relative to the page; None: to the page."""
    metas: tuple[Meta, ...] = ()
    links: tuple[Link, ...] = ()
    json_ld_scripts: tuple[str, ...] = ()

    @cached_property
    def json_ld(self) -> JsonLd:
        """What the JSON-LD says; read when it is first asked for."""
        return read_json_ld(self.json_ld_scripts)

    def contents(self, *names: str) -> list[str]:
        """What the `meta` elements of these names say, by the order of the names; what is empty is left out."""
        return [
            m.content for name in names for m in self.metas if m.name == name and m.kind != "http-equiv" and m.content
        ]

    def directives(self, *names: str) -> frozenset[str]:
        """The words that the `meta` elements of these names say to robots, in lower case."""
        return frozenset(word for said in self.contents(*names) for word in _BETWEEN.split(said.lower()) if word)

    @property
    def generator(self) -> str | None:
        """The software that made the page."""
        return next(iter(self.contents("generator")), None)

    @property
    def refresh(self) -> tuple[int, str] | None:
        """After how many seconds the page makes way, and for which address (as it is written); None where it stays."""
        for meta in self.metas:
            if (meta.kind, meta.name) == ("http-equiv", "refresh") and (found := _REFRESH.fullmatch(meta.content)):
                seconds, target = found.groups()
                quote = target[0] if target[0] in "\"'" else ""
                target = target[1:].partition(quote)[0] if quote else target
                return (int(seconds[:9]), target.strip()) if target.strip() else None
        return None

    def resolved(self, href: str, url: str | None) -> str | None:
        """The absolute URL of an address on the page at `url`, without a fragment.

        None where that is no http(s) URL, or has a password in it.
        """
        try:
            base = urljoin(url or "", _IN_URL.sub("", (self.base or "").strip()))
            found = urldefrag(urljoin(base, _IN_URL.sub("", href.strip()))).url
            parts = urlsplit(found)
            canonical_url(found)
        except (InvalidUrl, ValueError):
            return None
        return found if parts.username is None and parts.password is None else None

    def canonical_url(self, url: str | None) -> str | None:
        """The URL that the page at `url` says is its own: of its `link rel=canonical`, else of `og:url`.

        In the page's own spelling, made absolute; the first that is a URL counts (RFC 6596 allows one).
        """
        said = [link.href for link in self.links if "canonical" in link.rel] + self.contents("og:url")
        return next((found for href in said if href.strip() and (found := self.resolved(href, url))), None)


def read_head(markup: str) -> Head:
    """The head of a page, whatever state it is in; what follows `<body>` is looked at for JSON-LD alone.

    Linear in the page's length; 10,000 elements of a kind are kept.
    """
    title = language = base = None
    metas: list[Meta] = []
    links: list[Link] = []
    scripts: list[str] = []
    shown_with_scripts = True
    behind = len(markup)
    for element in elements(markup, _IN_HEAD):
        match element.name:
            case "meta" if len(metas) < _MOST:
                metas += _metas(element.attributes(), shown_with_scripts)
            case "link" if len(links) < _MOST and not _LOADS.search(element.tag):
                attributes = element.attributes()
                links.append(Link(frozenset(attributes.get("rel", "").lower().split()), attributes))
            case "script" if _is_json_ld(element):
                scripts.append(element.content)
            case "title" if title is None:
                title = _line(html.unescape(element.content[:_TITLE])) or None
            case "base" if base is None:
                base = element.attributes().get("href")
            case "html" if language is None:
                attributes = element.attributes()
                language = attributes.get("lang") or attributes.get("xml:lang")
            case "noscript" | "/noscript":
                shown_with_scripts = element.name != "noscript"
            case "body":
                behind = element.end
                break
    if any(markup.find(hint, behind) >= 0 for hint in _HINTS):
        scripts += (element.content for element in elements(markup, ("script",), behind) if _is_json_ld(element))
    return Head(title, language, base, tuple(metas), tuple(links), tuple(scripts))


def _metas(attributes: dict[str, str], shown_with_scripts: bool) -> list[Meta]:
    content = _line(attributes.get("content", ""))
    kinds = (kind for kind in _NAMES if attributes.get(kind))
    # Who runs no scripts is sent elsewhere by some pages: that says nothing of the page.
    kinds = (kind for kind in kinds if kind != "http-equiv" or shown_with_scripts)
    return [Meta(kind, _line(attributes[kind]).lower(), content) for kind in kinds]


def _is_json_ld(script: Element) -> bool:
    if "type" not in script.tag and "TYPE" not in script.tag.upper():
        return False
    return script.attributes().get("type", "").partition(";")[0].strip().lower() == "application/ld+json"


def _line(text: str) -> str:
    return " ".join(text.split())
