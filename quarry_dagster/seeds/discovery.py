"""Finding further pages of a host, where its seed asks for it: links, feeds, sitemaps.

A seed opts in by what stands behind its URL, `discover=links:2,feeds,sitemaps`, in any order. What a fetched page,
feed or sitemap of such a seed names on its own host becomes seeds in turn: taken in like any other, each once, and
with a step less to go. Fetching is the crawl's; how many pages of a host that may be, the caller's.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from urllib.parse import urljoin, urlsplit

from lxml import etree  # pyright: ignore[reportAttributeAccessIssue]

from quarry_dagster.crawl.consent import forbids_following, head_of
from quarry_dagster.crawl.media_types import is_html
from quarry_dagster.errors import InvalidUrl
from quarry_dagster.page.tags import start_tags
from quarry_dagster.seeds.sitemap import MAX_DEPTH, NotSitemap, entries_in
from quarry_dagster.urls import canonical_url, host_of

_OPTION = re.compile(r"(links):([1-9])|(feeds)|(sitemaps)(?::([1-9]))?")
_FEED_TYPES = ("application/rss+xml", "application/atom+xml")
_FEEDS = ("rss", "feed", "RDF")
_ITEMS = ("item", "entry")
_MOST_LINKS = 10_000
"""Taken from one page or list: a page with more is a trap, a sitemap with more a seed of its own."""


@dataclass(frozen=True, slots=True)
class Discovery:
    """What to look for on a page; falsy: nothing."""

    links: int = 0
    """How many links deep to follow, from 1 to 9."""
    feeds: bool = False
    """Read the feeds that the page names (or the feed that it is)."""
    sitemaps: int = 0
    """Read the host's sitemaps; the number is how many levels of sitemap indexes are left."""

    def __bool__(self) -> bool:
        return bool(self.links or self.feeds or self.sitemaps)

    def __str__(self) -> str:
        parts = [f"links:{self.links}"] * bool(self.links) + ["feeds"] * self.feeds
        return ",".join(parts + [f"sitemaps:{self.sitemaps}"] * bool(self.sitemaps))


def parse_discovery(text: str) -> Discovery:
    """The options after `discover=`, separated by commas or spaces.

    Raises:
        ValueError: one of them is not known; the message names those that are.
    """
    found = Discovery()
    for option in re.split(r"[,\s]+", text.strip()):
        known = _OPTION.fullmatch(option.lower())
        if known is None:
            raise ValueError(f"discover: {option!r} is none of links:1 to links:9, feeds, sitemaps")
        links, depth, feeds, sitemaps, levels = known.groups()
        found = Discovery(
            int(depth) if links else found.links,
            found.feeds or bool(feeds),
            int(levels or MAX_DEPTH + 1) if sitemaps else found.sitemaps,
        )
    return found


@dataclass(frozen=True, slots=True)
class Found:
    """What was found on one page or list."""

    seeds: dict[str, Discovery]
    """Further URLs of its host, and what to look for there."""
    kind: str | None = None
    """What it is, when it is no page but a list: a feed, a sitemap, robots.txt."""


def discover(url: str, body: bytes, content_type: str | None, wanted: Discovery) -> Found:
    """The pages that the document at `url` names on its own host. What cannot be read names none."""
    parts = urlsplit(url)
    if wanted.sitemaps and parts.path == "/robots.txt":
        named = re.findall(rb"(?im)^\s*sitemap\s*:\s*(\S{1,2048})", body[: 500 * 1024])
        sitemaps = [location.decode("utf-8", "replace") for location in named]
        return Found(_on_host(url, sitemaps, Discovery(sitemaps=wanted.sitemaps)), "robots.txt")
    if not is_html(content_type) and (wanted.feeds or wanted.sitemaps):
        kind, pages, sitemaps = _listed(body)
        if kind:
            level = wanted.sitemaps - 1
            below = _on_host(url, sitemaps, Discovery(sitemaps=level)) if level > 0 else {}
            return Found(below | _on_host(url, pages, Discovery()), kind)
    seeds: dict[str, Discovery] = {}
    if is_html(content_type):
        pages, feeds = _names(url, body)
        if wanted.links and not forbids_following(head_of(body)):
            seeds = _on_host(url, pages, Discovery(links=wanted.links - 1))
        if wanted.feeds:
            seeds |= _on_host(url, feeds, Discovery(feeds=True))
        if wanted.sitemaps:
            seeds |= _on_host(url, ["/robots.txt", "/sitemap.xml"], Discovery(sitemaps=wanted.sitemaps))
    return Found(seeds)


def _on_host(base: str, hrefs: Iterable[str], wanted: Discovery) -> dict[str, Discovery]:
    """Those that are pages of the same host, in normal form."""
    host, own = host_of(base), canonical_url(base)
    found: dict[str, Discovery] = {}
    for href in islice(hrefs, _MOST_LINKS):
        try:
            url = canonical_url(_joined(base, href))
        except InvalidUrl:
            continue
        if url != own and host_of(url) == host:
            found[url] = wanted
    return found


def _names(url: str, page: bytes) -> tuple[list[str], list[str]]:
    """The pages and the feeds that a page names; not those that it asks not to follow."""
    base, pages, feeds = url, [], []
    for tag, attributes in start_tags(page, ("a", "area", "base", "link")):
        href = attributes.get("href", "").strip()
        rel = attributes.get("rel", "").lower().split()
        match tag:
            case "base" if href and base == url:  # the first counts
                base = _joined(url, href) or url
            case "a" | "area" if href and "nofollow" not in rel and len(pages) < _MOST_LINKS:
                pages.append(_joined(base, href))
            case "link" if href and "alternate" in rel and attributes.get("type", "").lower() in _FEED_TYPES:
                feeds.append(_joined(base, href))
    return pages, feeds


def _joined(base: str, href: str) -> str:
    try:
        return urljoin(base, href)
    except ValueError:
        return ""


def _listed(body: bytes) -> tuple[str | None, list[str], list[str]]:
    """What a list is ("" in place of a list: None), the pages it names, and the sitemaps."""
    try:
        entries = [entry for entry in entries_in(body) if not entry.wrong]
    except NotSitemap:
        entries = []
    if entries:
        pages = [entry.location for entry in entries if not entry.is_index]
        return "a sitemap", pages, [entry.location for entry in entries if entry.is_index]
    try:
        items = list(_items(body))
    except (etree.LxmlError, _NoFeed):
        return None, [], []
    return "a feed", items, []


class _NoFeed(Exception):
    """The XML is something else."""


def _items(body: bytes) -> Iterator[str]:
    """The links of a feed's items: RSS 0.9 to 2.0, RSS 1.0 (RDF), Atom (RFC 4287)."""
    events = etree.iterparse(
        io.BytesIO(body), events=("start", "end"), resolve_entities=False, no_network=True, load_dtd=False, recover=True
    )
    is_feed = False
    link = ""
    for event, element in events:
        name = etree.QName(element).localname
        if event == "start":
            if not is_feed and name not in _FEEDS:
                raise _NoFeed
            is_feed = True
        elif name == "link" and element.getparent() is not None:
            if etree.QName(element.getparent()).localname in _ITEMS and element.get("rel", "alternate") == "alternate":
                link = link or (element.get("href") or element.text or "").strip()
        elif name in _ITEMS:
            if link:
                yield link
            link = ""
            element.clear()
