"""Finding further pages of a host, where its seed asks for it: links, feeds, sitemaps, llms.txt.

A seed opts in by what stands behind its URL, `discover=links:2,feeds,sitemaps`, in any order. What a fetched page,
feed or sitemap of such a seed names on its own host becomes seeds in turn: taken in like any other, each once, and
with a step less to go. What is named and cannot be used is an :class:`Issue`. Fetching is the crawl's; how many pages
of a host that may be, the caller's.
"""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from lxml import etree  # pyright: ignore[reportAttributeAccessIssue]

from quarry_dagster.byte_order import characters
from quarry_dagster.crawl.coding import decode
from quarry_dagster.crawl.consent import forbids_following
from quarry_dagster.crawl.media_types import is_html, is_list, media_type
from quarry_dagster.errors import InvalidUrl
from quarry_dagster.extract.decode import read_characters
from quarry_dagster.page import read_head
from quarry_dagster.page.tags import start_tags
from quarry_dagster.seeds.model import shown
from quarry_dagster.seeds.sitemap import MAX_BYTES, MAX_DEPTH, Entry, NotSitemap, entries_in
from quarry_dagster.urls import canonical_url, host_of
from quarry_dagster.wire import wire_url

_OPTION = re.compile(r"(links):([1-9])|(feeds)|(sitemaps)(?::([1-9]))?|(llms)")
_FEED_TYPES = ("application/rss+xml", "application/atom+xml")
_FEEDS = ("rss", "feed", "RDF")
_SITEMAPS = ("urlset", "sitemapindex")
_ITEMS = ("item", "entry")
_GZIP_MAGIC = b"\x1f\x8b"
_PROLOG = re.compile(r"\s*(?:<\?.*?\?>|<!--.*?-->|<!DOCTYPE[^>\[]*(?:\[.*?\]\s*)?>)", re.DOTALL | re.IGNORECASE)
_ROOT = re.compile(r"\s*<(?:[\w.-]+:)?([\w.-]+)")
_URL_LINE = re.compile(r"https?://\S+", re.IGNORECASE)
_MARKDOWN_LINK = re.compile(r"\]\(\s*<?([^\s()<>]+(?:\([^\s()<>]*\)[^\s()<>]*)*)|<(https?://[^\s<>]+)>", re.IGNORECASE)
_TAG = re.compile(r"<(script|style|head)\b.*?</\1\s*>|<[^>]*>", re.DOTALL | re.IGNORECASE)
_HEAD = 65_536
_LARGEST_REFRESH = 16_384
"""Bytes of a page that may be nothing but a refresh."""
_SHORT = 200
"""Characters of text up to which a page that makes way for another is nothing but that."""
_LARGEST_LLMS = 1 << 20
"""Bytes of an llms.txt that are read."""
_HOSTS_TOLD = 5
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
    llms: bool = False
    """Read the host's llms.txt (llmstxt.org)."""

    def __bool__(self) -> bool:
        return bool(self.links or self.feeds or self.sitemaps or self.llms)

    def __str__(self) -> str:
        parts = [f"links:{self.links}"] * bool(self.links) + ["feeds"] * self.feeds
        return ",".join(parts + [f"sitemaps:{self.sitemaps}"] * bool(self.sitemaps) + ["llms"] * self.llms)


def parse_discovery(text: str) -> Discovery:
    """The options after `discover=`, separated by commas or spaces.

    Raises:
        ValueError: one of them is not known; the message names those that are.
    """
    found = Discovery()
    for option in re.split(r"[,\s]+", text.strip()):
        known = _OPTION.fullmatch(option.lower())
        if known is None:
            raise ValueError(f"discover: {option!r} is none of links:1 to links:9, feeds, sitemaps, llms")
        links, depth, feeds, sitemaps, levels, llms = known.groups()
        found = Discovery(
            int(depth) if links else found.links,
            found.feeds or bool(feeds),
            int(levels or MAX_DEPTH + 1) if sitemaps else found.sitemaps,
            found.llms or bool(llms),
        )
    return found


@dataclass(frozen=True, slots=True)
class Issue:
    """Something that was found and could not be used."""

    kind: str
    """`damaged`, `elsewhere`, `unusable`, `no_link`, `too_many`, `too_deep`, `no_list`, `nofollow` or `refresh`."""
    detail: str
    """What it is, and what to do."""
    place: str | None = None
    count: int = 1


@dataclass(frozen=True, slots=True)
class Found:
    """What was found on one page or list."""

    seeds: dict[str, Discovery]
    """Further URLs of its host, and what to look for there."""
    kind: str | None = None
    """What it is, when it is no page but a list: a feed, a sitemap, robots.txt."""
    issues: tuple[Issue, ...] = ()


def discover(url: str, body: bytes, content_type: str | None, wanted: Discovery) -> Found:
    """The pages that the document at `url` names on its own host, and what it names that cannot be used."""
    names = _Names(url)
    if wanted.sitemaps and urlsplit(url).path == "/robots.txt":
        named = re.findall(r"(?im)^\s*sitemap\s*:\s*(\S{1,2048})", characters(body[: 500 * 1024]))
        names.add(named, Discovery(sitemaps=wanted.sitemaps), "sitemap", others=True)
        return names.found("robots.txt")
    if wanted.llms and urlsplit(url).path.endswith("/llms.txt") and not is_html(content_type):
        links = [in_text or in_marks for in_text, in_marks in _MARKDOWN_LINK.findall(characters(body[:_LARGEST_LLMS]))]
        names.add(links, Discovery(), "page", others=True)
        return names.found("llms.txt")
    if wanted.feeds or wanted.sitemaps:
        unpacked, damage = decode(body, "gzip", MAX_BYTES) if body.startswith(_GZIP_MAGIC) else (body, None)
        root = _root(unpacked)
        if damage and root in (*_SITEMAPS, *_FEEDS):
            names.issue("damaged", f"{damage.partition(';')[0]}; what came before was read")
        if root in _SITEMAPS:
            names.add_sitemap(unpacked, wanted.sitemaps - 1)
            return names.found("a sitemap")
        if root in _FEEDS:
            names.add_feed(unpacked)
            return names.found("a feed")
        if not is_html(content_type) and (listed := _text_sitemap(unpacked)):
            names.add(listed, Discovery(), "page", others=True)
            return names.found("a sitemap")
    if is_list(content_type):
        names.issue("no_list", f"served as {media_type(content_type)}, and neither feed nor sitemap: nothing is read")
        return names.found("a list")
    if is_html(content_type):
        names.add_page(body, content_type, wanted)
    return names.found(None)


class _Names:
    """What one document names."""

    def __init__(self, url: str) -> None:
        self._url, self._host = url, host_of(url)
        self._page = canonical_url(url)
        self._spelled: dict[str, str] = {}
        """By the normal form, as it is written the first time."""
        self._seeds: dict[str, Discovery] = {}
        self._issues: list[Issue] = []

    def found(self, kind: str | None) -> Found:
        return Found(self._seeds, kind, tuple(self._issues))

    def issue(self, kind: str, detail: str, place: str | None = None, count: int = 1) -> None:
        if count:
            self._issues.append(Issue(kind, shown(detail), place, count))

    def add(self, hrefs: list[str], wanted: Discovery, what: str, *, encoding: str = "utf-8", others: bool) -> None:
        """Take those that are pages of the same host, each as it is written the first time.

        `others`: that one is of another host is worth a word, as it is in a list, and not of a link.
        """
        elsewhere, unusable = Counter[str](), 0
        for href in hrefs[:_MOST_LINKS]:
            try:
                url = wire_url(href, self._url, encoding)
            except InvalidUrl:
                unusable += _URL_LINE.match(href.strip()) is not None or others
                continue
            if host_of(url) != self._host:
                elsewhere[host_of(url)] += others
            elif (page := canonical_url(url)) != self._page:
                url = self._spelled.setdefault(page, url)
                self._seeds[url] = wanted or self._seeds.get(url, wanted)
        self.issue("unusable", f"addresses of a {what} that are no URL", count=unusable)
        for host, count in elsewhere.most_common(_HOSTS_TOLD):
            if host:
                remedy = "name it as a seed itself" if what in ("sitemap", "feed") else "name them as seeds themselves"
                self.issue("elsewhere", f"a {what} on another host, {host}, is not asked for: {remedy}", host, count)
        if len(hrefs) > _MOST_LINKS:
            self.issue("too_many", f"{_MOST_LINKS:,} addresses of a {what} are looked at, the others are not")

    def add_page(self, body: bytes, content_type: str | None, wanted: Discovery) -> None:
        """Take what a page names: links, feeds, its host's sitemaps."""
        encoding, text = read_characters(body, content_type)
        head = read_head(text)
        pages, feeds = _names(self._url, text, encoding)
        if wanted.links and forbids_following(head):
            self.issue("nofollow", "the page asks that its links are not followed", count=len(pages))
        elif wanted.links:
            target = [head.refresh[1]] if head.refresh else []
            self.add([*target, *pages], Discovery(links=wanted.links - 1), "page", encoding=encoding, others=False)
        if wanted.feeds:
            self.add(feeds, Discovery(feeds=True), "feed", encoding=encoding, others=True)
        if wanted.llms:
            self.add(["/llms.txt"], Discovery(llms=True), "page", others=True)
        if wanted.sitemaps:
            self.add(["/robots.txt", "/sitemap.xml"], Discovery(sitemaps=wanted.sitemaps), "sitemap", others=True)

    def add_sitemap(self, body: bytes, levels: int) -> None:
        """Take the entries of a sitemap, or, with levels left, of an index."""
        pages: list[str] = []
        below: list[str] = []
        damaged: list[Entry] = []
        without = 0
        try:
            for entry in entries_in(body):
                if not entry.wrong:
                    (below if entry.is_index else pages).append(entry.location)
                elif entry.has_no_location:
                    without += 1
                else:
                    damaged.append(entry)
        except NotSitemap as e:
            self.issue("damaged", shown(e))
        if damaged:
            self.issue("damaged", damaged[0].wrong, f"entry {damaged[0].number}", len(damaged))
        self.issue("no_link", "entries without <loc>", count=without)
        self.add(pages, Discovery(), "page", others=True)
        if levels > 0:
            self.add(below, Discovery(sitemaps=levels), "sitemap", others=True)
        else:
            self.issue("too_deep", f"indexes nested deeper than {MAX_DEPTH}: name them as seeds", count=len(below))

    def add_feed(self, body: bytes) -> None:
        """Take the items of a feed, each by the first of its addresses that is on the host."""
        items: list[str] = []
        empty = 0
        try:
            for addresses in _items(body):
                empty += not addresses
                own = (each for each in addresses if host_of(_joined(self._url, each)) == self._host)
                items += [next(own, addresses[0])] if addresses else []
        except etree.LxmlError as e:
            self.issue("damaged", f"{shown(e)}; what comes after is lost", f"after item {len(items) + empty}")
        self.issue("no_link", "items without an address", count=empty)
        self.add(items, Discovery(), "page", others=True)


def refresh_alone(url: str, body: bytes, content_type: str | None) -> Issue | None:
    """What is to be said of a page that holds nothing but the word that another takes its place; None of others."""
    if not is_html(content_type) or len(body) > _LARGEST_REFRESH or b"refresh" not in body.lower():
        return None
    text = read_characters(body, content_type)[1]
    refresh = read_head(text).refresh
    if refresh is None or len(" ".join(_TAG.sub(" ", text).split())) > _SHORT:
        return None
    target = _joined(url, refresh[1])
    if not target or canonical_url(target) == canonical_url(url):
        return None
    return Issue("refresh", shown(f"nothing but a refresh to {target}: name that page as a seed"))


def _names(url: str, page: str, encoding: str) -> tuple[list[str], list[str]]:
    """The pages and the feeds that a page names, written in this encoding; not those that it asks not to follow."""
    base, pages, feeds = url, [], []
    for tag, attributes in start_tags(page, ("a", "area", "base", "link")):
        href = attributes.get("href", "").strip()
        rel = attributes.get("rel", "").lower().split()
        match tag:
            case "base" if href and base == url:  # the first counts
                base = _joined(url, href) or url
            case "a" | "area" if href and "nofollow" not in rel and len(pages) <= _MOST_LINKS:
                pages.append(_joined(base, href, encoding) or href)
            case "link" if href and "alternate" in rel and attributes.get("type", "").lower() in _FEED_TYPES:
                feeds.append(_joined(base, href, encoding) or href)
    return pages, feeds


def _joined(base: str, href: str, encoding: str = "utf-8") -> str:
    """The URL to ask for; "" for none."""
    try:
        return wire_url(href, base, encoding)
    except InvalidUrl:
        return ""


def _root(body: bytes) -> str | None:
    """The name of the first element of an XML document, "" behind a prolog without one; None of any other text."""
    text, at = characters(body[:_HEAD]), 0
    while prolog := _PROLOG.match(text, at):
        at = prolog.end()
    root = _ROOT.match(text, at)
    return root[1] if root else None


def _text_sitemap(body: bytes) -> list[str]:
    """The URLs of a sitemap in text form (sitemaps.org): a URL a line, and nothing else; none of any other text."""
    lines = [line.strip() for line in characters(body).splitlines() if line.strip()]
    return lines if all(map(_URL_LINE.fullmatch, lines)) else []


def _items(body: bytes) -> Iterator[list[str]]:
    """The addresses of each of a feed's items, those that name the page itself first.

    RSS 0.9 to 2.0 (whose `guid` is a permalink unless it says otherwise), RSS 1.0 (RDF), Atom (RFC 4287). A feed that
    counts its readers keeps the page's own address in `origLink`.
    """
    events = etree.iterparse(
        io.BytesIO(body.lstrip(b"\xef\xbb\xbf \t\r\n")),
        events=("end",),
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        recover=True,
    )
    links: list[str] = []
    guids: list[str] = []
    for _, element in events:
        name = _local(element)
        parent = element.getparent()
        if parent is not None and _local(parent) in _ITEMS:
            said = (element.text or "").strip()
            if name == "origLink" and said:
                links.insert(0, said)
            elif name == "link" and element.get("rel", "alternate") == "alternate":
                href = (element.get("href") or said).strip()
                links += [href] if href else []
            elif name == "guid" and element.get("isPermaLink", "true").strip().lower() != "false":
                guids += [said] if _URL_LINE.fullmatch(said) else []
        if name in _ITEMS:
            yield [*links, *guids]
            links, guids = [], []
            element.clear()


def _local(element: etree._Element) -> str:
    return etree.QName(element).localname if isinstance(element.tag, str) else ""
