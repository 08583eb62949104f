"""Sitemaps and sitemap indexes (sitemaps.org), from a file or through a `fetch` function.

Feeds and other XML are refused. Downloading, and the rules for it, belong to `fetch`.
"""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Callable, Iterator
from typing import BinaryIO
from urllib.parse import urlsplit

from lxml import etree  # pyright: ignore[reportAttributeAccessIssue]

from quarry_dagster.errors import InvalidUrl, QuarryError
from quarry_dagster.seeds.model import Place, Problem, Seed, shown
from quarry_dagster.urls import canonical_url

MAX_BYTES = 50 * 1024 * 1024
"""Of a fetched or compressed sitemap, decompressed: the protocol's limit."""
MAX_DEPTH = 3
"""Indexes below indexes."""

_ENTRIES = {"urlset": "url", "sitemapindex": "sitemap"}
_GZIP_MAGIC = b"\x1f\x8b"


class _TooLarge(ValueError):
    pass


class Sitemaps:
    """The sitemaps of one seed file; each URL is fetched once, and noted in `place` when that is done with."""

    def __init__(self, fetch: Callable[[str], bytes] | None, place: Place) -> None:
        self._fetch = fetch
        self._place = place
        self._fetched = set(place.sitemaps)

    def read(self, file: BinaryIO) -> Iterator[Seed | Problem]:
        """The URLs of a sitemap file and of all sitemaps below it; a seed's line is its entry's number."""
        compressed = file.read(2) == _GZIP_MAGIC
        file.seek(0)
        yield from self._entries(_Gunzipped(file) if compressed else file, None, 0)

    def fetch(self, url: str, line: int | None, depth: int = 0) -> Iterator[Seed | Problem]:
        """The URLs of the sitemap at `url`, all with the line that named it."""
        try:
            key = canonical_url(url)
        except InvalidUrl as e:
            yield Problem(line, f"sitemap: {e}", shown(url))
            return
        if key in self._fetched:
            return
        self._fetched.add(key)
        if self._fetch is None:
            yield Problem(line, "a sitemap: what it lists is known when a run downloads it", shown(url))
            return
        if depth > MAX_DEPTH:
            yield Problem(line, f"sitemap indexes nested deeper than {MAX_DEPTH}; name this one itself", shown(url))
            return
        try:
            data = self._fetch(url)
        except (QuarryError, ValueError, OSError) as e:
            self._place.sitemaps.append(key)
            reason = f"the sitemap cannot be downloaded: {shown(e)}; touch the seed in the inbox to try again"
            yield Problem(line, reason, shown(url))
            return
        file = io.BytesIO(data)
        source = _Gunzipped(file) if data.startswith(_GZIP_MAGIC) else _Limited(file)
        for item in self._entries(source, line, depth):
            if isinstance(item, Seed):
                yield item
            else:
                yield Problem(line, f"sitemap: {item.reason}", item.text or shown(url))
        self._place.sitemaps.append(key)

    def _entries(self, file: BinaryIO | _Limited, line: int | None, depth: int) -> Iterator[Seed | Problem]:
        """The entries of one sitemap; `line` None: it is the seed file, and each is its own line."""
        number = 0
        done = self._place.line if line is None else 0
        try:
            for is_index, loc in _locations(file):
                number += 1
                if number <= done:
                    continue
                at = number if line is None else line
                if not loc:
                    yield Problem(at, f"entry {number} has no <loc>; add it")
                elif is_index:
                    yield from self.fetch(loc, at, depth + 1)
                else:
                    if line is None:
                        self._place.line = number
                    yield Seed(loc, at)
        except _NotSitemap as e:
            yield Problem(line, str(e))
        except (etree.LxmlError, OSError, ValueError, EOFError, zlib.error) as e:
            reason = f"damaged after {number} entries: {shown(e)}; what comes after is lost"
            yield Problem(number + 1 if line is None else line, reason)


def looks_like_sitemap(url: str) -> bool:
    """Whether the last segment of the URL's path names a sitemap."""
    if "sitemap" not in url.lower():
        return False
    try:
        segment = urlsplit(url).path.rpartition("/")[2].lower()
    except ValueError:
        return False
    return "sitemap" in segment and segment.endswith((".xml", ".xml.gz"))


def locations(data: bytes) -> Iterator[tuple[bool, str]]:
    """Whether it is an index's, and the URL, of each entry of a sitemap, packed or not.

    Raises:
        ValueError: it is larger than the protocol allows, or no sitemap at all.
        lxml.etree.LxmlError, OSError, EOFError: it is damaged.
    """
    # Some templates print a byte order mark or blank lines before the declaration, where XML allows neither.
    file = io.BytesIO(data.lstrip(b"\xef\xbb\xbf \t\r\n"))
    try:
        yield from _locations(_Gunzipped(file) if data.startswith(_GZIP_MAGIC) else _Limited(file))
    except _NotSitemap as e:
        raise ValueError(str(e)) from e


class _NotSitemap(Exception):
    """The XML is something else."""


def _locations(file: BinaryIO | _Limited) -> Iterator[tuple[bool, str]]:
    """Each entry's URL ("" where it has none), and whether it is an index's.

    Namespaces are not looked at: sitemaps in the wild have all kinds, and none.
    """
    events = etree.iterparse(
        file,
        events=("start", "end"),
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )
    root = None
    depth = 0
    loc = ""
    for event, element in events:
        if event == "start":
            depth += 1
            if depth == 1:
                root = _name(element)
                if root not in _ENTRIES:
                    raise _NotSitemap(f"<{shown(root)}> is no sitemap; needed is <urlset> or <sitemapindex>")
            continue
        # Parents are told by depth, which spares the <loc> of an <image:image> two levels further in.
        if depth == 3 and _name(element) == "loc":
            loc = (element.text or "").strip()
        elif depth == 2:
            if root is not None and _name(element) == _ENTRIES[root]:
                yield root == "sitemapindex", loc
            loc = ""
            # What was read is dropped, with the empty shells before it: a sitemap may have any size.
            element.clear()
            while element.getprevious() is not None:
                del element.getparent()[0]
        depth -= 1


def _name(element: etree._Element) -> str:
    return etree.QName(element).localname


class _Limited:
    """At most :data:`MAX_BYTES` of a stream; more is an error, so that a bomb stops where it shows."""

    def __init__(self, file: BinaryIO | gzip.GzipFile) -> None:
        self._file = file
        self._read = 0

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self._read += len(data)
        if self._read > MAX_BYTES:
            raise _TooLarge(f"larger than {MAX_BYTES >> 20} MiB, the protocol's limit; split it")
        return data


class _Gunzipped(_Limited):
    def __init__(self, file: BinaryIO) -> None:
        super().__init__(gzip.GzipFile(fileobj=file))
