"""Sitemaps and sitemap indexes (sitemaps.org), from a file or through a `fetch` function.

Feeds and other XML are refused. Downloading, and the rules for it, belong to `fetch`.
"""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, BinaryIO, cast
from urllib.parse import urlsplit

from lxml import etree  # pyright: ignore[reportAttributeAccessIssue]

from quarry_dagster.byte_order import HEAD, wide_encoding
from quarry_dagster.errors import InvalidUrl, QuarryError
from quarry_dagster.seeds.compressed import Decompressed
from quarry_dagster.seeds.model import Place, Problem, Seed, shown
from quarry_dagster.seeds.recoded import Recoded
from quarry_dagster.urls import canonical_url

MAX_BYTES = 50 * 1024 * 1024
"""Of a fetched or compressed sitemap, decompressed: the protocol's limit."""
MAX_DEPTH = 3
"""Indexes below indexes."""

_ENTRY_OF = {"urlset": "url", "sitemapindex": "sitemap"}
_GZIP_MAGIC = b"\x1f\x8b"
_PIECE = 1 << 16
_HEAD = 1 << 14
"""Bytes in which the root element is looked for."""
_OVERLAP = 256
_LONGEST = 1 << 20
"""Bytes of one entry, with all its images and languages."""
_MARK = re.compile(
    rb"(?P<comment><!--)|<(?P<end>/?)(?:[\w.-]{1,40}:)?(?P<name>urlset|sitemapindex|url|sitemap)(?=[\s/>])"
)
_END_OF_ENTRY = {
    name: re.compile(rf"<(?:(?P<end>/)(?:[\w.-]{{1,40}}:)?{name}\s*>|(?:[\w.-]{{1,40}}:)?{name}(?=[\s/>]))".encode())
    for name in _ENTRY_OF.values()
}
_END_OF_COMMENT = re.compile(rb"-->")
_EMPTY = re.compile(rb"<[^<>]*/>")
_NO_ELEMENT = re.compile(
    rb"<!--.*?(?:-->|\Z)|<\?.*?(?:\?>|\Z)|<!DOCTYPE[^\[>]*+(?:\[.*?\]\s*+)?>", re.DOTALL | re.IGNORECASE
)
_ELEMENT = re.compile(rb"<(?:[\w.-]{1,40}:)?(?P<name>[A-Za-z_][\w.-]*)")
_DECLARED_ROOT = re.compile(
    rb"<\?xml[^>]*>\s*(?:<[!?][^>]*>\s*)*<(?:[\w.-]{1,40}:)?(?P<name>urlset|sitemapindex)(?=[\s/>])"
)
_DECLARATION = re.compile(rb"<\?xml[^>]*?encoding\s*=\s*[\"']([\w.-]+)")
_LOC = re.compile(r"<(?:[\w.-]{1,40}:)?loc[^>]*>([^<]*)")
_PREFIX = re.compile(r"[<\s/]([A-Za-z_][\w.-]*):[A-Za-z_]")
# An entry that needs no parser, as nearly all are: elements in ASCII without attributes, references or others in them.
_PLAIN = re.compile(
    rb"<(?P<p>(?:[\w.-]{1,40}:)?)(?P<name>url|sitemap)>\s*+"
    rb"(?:<(?P=p)(?:lastmod|changefreq|priority)>[ -%'-;=?-~\t\r\n]*+</(?P=p)(?:lastmod|changefreq|priority)>\s*+)*+"
    rb"<(?P=p)loc>(?P<loc>\s*+[!-%'-;=?-~]+\s*)</(?P=p)loc>\s*+"
    rb"(?:<(?P=p)(?:lastmod|changefreq|priority)>[ -%'-;=?-~\t\r\n]*+</(?P=p)(?:lastmod|changefreq|priority)>\s*+)*+"
    rb"</(?P=p)(?P=name)\s*>"
)
_BARE = re.compile(r"&(?!#\d+;|#x[0-9a-fA-F]+;|[A-Za-z][\w.-]*;)")


class Sitemaps:
    """The sitemaps of one seed file; each URL is fetched once, and noted in `place` when that is done with."""

    def __init__(self, fetch: Callable[[str], bytes] | None, place: Place) -> None:
        self._fetch = fetch
        self._place = place
        self._fetched = set(place.sitemaps)

    def read(self, file: BinaryIO) -> Iterator[Seed | Problem]:
        """The URLs of a sitemap file and of all sitemaps below it; a seed's line is its entry's number."""
        is_packed = file.read(2) == _GZIP_MAGIC
        file.seek(0)
        if not is_packed:
            yield from self._entries(_in_utf8(file), None, 0)
            return
        yield from self._entries(_in_utf8(_Limited(Decompressed(file, ".gz"))), None, 0)

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
        for item in self._entries(_source(data), line, depth):
            if isinstance(item, Seed):
                yield item
            else:
                yield Problem(line, f"sitemap: {item.reason}", item.text or shown(url))
        self._place.sitemaps.append(key)

    def _entries(self, file: BinaryIO, line: int | None, depth: int) -> Iterator[Seed | Problem]:
        """The entries of one sitemap; `line` None: it is the seed file, and each is its own line."""
        done = self._place.line if line is None else 0
        try:
            for entry in read_entries(file):
                if entry.number <= done:
                    continue
                at = entry.number if line is None else line
                if entry.wrong:
                    yield Problem(at, entry.wrong, shown(entry.location))
                elif entry.is_index:
                    yield from self.fetch(entry.location, at, depth + 1)
                else:
                    if line is None:
                        self._place.line = entry.number
                    yield Seed(entry.location, at)
        except NotSitemap as e:
            yield Problem(line, str(e))


def looks_like_sitemap(url: str) -> bool:
    """Whether the last segment of the URL's path names a sitemap."""
    if "sitemap" not in url.lower():
        return False
    try:
        segment = urlsplit(url).path.rpartition("/")[2].lower()
    except ValueError:
        return False
    return "sitemap" in segment and segment.endswith((".xml", ".xml.gz"))


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of a sitemap or of an index, or a place that is none."""

    number: int
    """From 1; what cannot be read is counted too."""
    location: str
    """Its URL; of one that cannot be read its beginning, as it is written."""
    is_index: bool
    """Whether the URL is that of a further sitemap."""
    wrong: str = ""
    """Why it cannot be taken, and the remedy."""
    has_no_location: bool = False
    """Whether that is because it names no URL."""


class NotSitemap(Exception):
    """The XML is something else, or larger than the protocol allows."""


def entries_in(data: bytes) -> Iterator[Entry]:
    """The entries of a sitemap that was downloaded, packed or not, those that cannot be read among them.

    Raises:
        NotSitemap: it is none.
    """
    return read_entries(_source(data))


def read_entries(file: BinaryIO) -> Iterator[Entry]:
    """The entries of a sitemap, in bounded memory: `file` is read forward.

    Each is parsed by itself, so that damage costs only the entry that it is in. Namespaces are not looked at: sitemaps
    in the wild have all kinds, and none.

    Raises:
        NotSitemap: it is none.
    """
    text = _Buffer(file)
    root = _root_of(text)
    encoding = _encoding_of(text)
    number = 0
    is_whole = False
    while found := text.find(_MARK):
        name = (found["name"] or b"").decode()
        if found["comment"]:
            text.drop(len(found[0]))
            text.find(_END_OF_COMMENT)
        elif name in _ENTRY_OF:  # the end of a document, or the beginning of one, perhaps of another behind it
            is_whole = found["end"] == b"/" or _EMPTY.match(text.peek(_HEAD)) is not None
            root = name
            text.drop(len(found[0]))
        elif found["end"] or name != _ENTRY_OF[root]:
            text.drop(len(found[0]))
        elif (raw := text.entry(name)) is None:
            is_whole = False
            break
        else:
            number += 1
            yield _entry(raw, number, encoding, is_index=root == "sitemapindex")
    if text.problem or not is_whole:
        why = text.problem or "cut off"
        yield Entry(number + 1, "", False, f"damaged after {number} entries: {why}; what comes after is lost")


class _Buffer:
    """A file that is read forward and looked through by patterns, a part of it at a time."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._bytes, self._at = b"", 0
        self._has_ended = False
        self.problem = ""
        """Why no more can be read, where that is not the end."""

    def _more(self) -> bool:
        if self._has_ended:
            return False
        try:
            piece = self._file.read(_PIECE)
        except (OSError, ValueError) as e:
            self.problem, piece = shown(e), b""
        self._bytes, self._at = self._bytes[self._at :] + piece, 0
        self._has_ended = not piece
        return bool(piece)

    def peek(self, size: int) -> bytes:
        while len(self._bytes) - self._at < size and self._more():
            pass
        return self._bytes[self._at : self._at + size]

    def drop(self, size: int) -> None:
        self._at += size

    def find(self, pattern: re.Pattern[bytes]) -> re.Match[bytes] | None:
        """Go on to the first place that the pattern matches; None at the end."""
        while (found := pattern.search(self._bytes, self._at)) is None:
            self._at = max(self._at, len(self._bytes) - _OVERLAP)
            if not self._more():
                return None
        self._at = found.start()
        return found

    def entry(self, name: str) -> bytes | None:
        """The entry that begins here, up to where it ends or another begins; None where neither is so."""
        searched = 1
        while True:
            if empty := _EMPTY.match(self._bytes, self._at):
                end = empty.end()
                break
            if found := _END_OF_ENTRY[name].search(self._bytes, self._at + searched):
                end = found.end() if found["end"] else found.start()
                break
            size = len(self._bytes) - self._at
            if size > _LONGEST:
                end = self._at + _HEAD
                break
            searched = max(1, size - _OVERLAP)
            if not self._more():
                return None
        raw = self._bytes[self._at : end]
        self._at = end
        return raw


def _root_of(text: _Buffer) -> str:
    """The name of the element that all entries are in; `text` is left in front of it.

    Raises:
        NotSitemap: it is another.
    """
    head = text.peek(_HEAD)
    first = _ELEMENT.search(_NO_ELEMENT.sub(lambda part: b" " * len(part[0]), head))
    if first is None:
        raise NotSitemap(text.problem or "damaged after 0 entries: no XML in it; download it again")
    name = first["name"].decode("ascii", "replace")
    if name not in _ENTRY_OF:
        again = _DECLARED_ROOT.search(head)  # behind what a server wrote in front of it, a warning say
        if again is None:
            raise NotSitemap(f"<{shown(name)}> is no sitemap; needed is <urlset> or <sitemapindex>")
        return again["name"].decode()
    return name


def _encoding_of(text: _Buffer) -> str:
    declared = _DECLARATION.search(text.peek(_HEAD))
    try:
        name = codecs.lookup(declared[1].decode()).name if declared else "utf-8"
    except LookupError:
        return "utf-8"
    # In UTF-16 the declaration could not have been read: by now it is recoded.
    return "utf-8" if name.startswith("utf-16") or name.startswith("utf-32") else name


def _entry(raw: bytes, number: int, encoding: str, *, is_index: bool) -> Entry:
    """The entry that is written so."""
    if plain := _PLAIN.fullmatch(raw):
        return Entry(number, plain["loc"].strip().decode(), is_index)
    as_written = raw.decode("utf-8", "replace")
    loc = _LOC.search(as_written)
    excerpt = loc[1].strip() if loc else as_written
    try:
        markup = raw.decode(encoding)
        prefixes = {p for p in _PREFIX.findall(markup) if p != "xml"} - {"xmlns"}
        declared = "".join(f' xmlns:{prefix}="{prefix}"' for prefix in sorted(prefixes))
        element = etree.fromstring(f"<x{declared}>{markup}</x>", _parser())[0]
    except UnicodeDecodeError:
        wrong = f"not {encoding.upper()}, as the sitemap says; write it in that encoding"
    except etree.XMLSyntaxError as e:
        wrong = "a bare &; write &amp;" if _BARE.search(as_written) else f"{_reason(e)}; write it again"
    else:
        locations = (child for child in element if _name(child) == "loc")
        location = next(("".join(child.itertext()).strip() for child in locations), "")
        wrong = "" if location else f"entry {number} has no <loc>; add it"
        return Entry(number, location, is_index, wrong, has_no_location=not location)
    return Entry(number, excerpt, is_index, f"entry {number} cannot be read: {wrong}")


@cache
def _parser() -> etree.XMLParser:
    return etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, remove_comments=True, remove_pis=True
    )


def _reason(error: etree.XMLSyntaxError) -> str:
    return shown(str(error.msg).partition(", line ")[0])


def _name(element: etree._Element) -> str:
    return etree.QName(element).localname


def _source(data: bytes) -> BinaryIO:
    """A sitemap that was downloaded, packed or not, as a file in UTF-8."""
    file = io.BytesIO(data)
    return _in_utf8(_Limited(Decompressed(file, ".gz") if data.startswith(_GZIP_MAGIC) else file))


def _in_utf8(file: io.RawIOBase | BinaryIO) -> BinaryIO:
    buffered = io.BufferedReader(cast(io.RawIOBase, file), buffer_size=_PIECE)
    encoding = wide_encoding(buffered.peek(HEAD))
    return io.BufferedReader(Recoded(buffered, encoding), buffer_size=_PIECE) if encoding else buffered


class _Limited(io.RawIOBase):
    """At most :data:`MAX_BYTES` of a stream; more is an error, so that a bomb stops where it shows."""

    def __init__(self, file: BinaryIO | io.RawIOBase) -> None:
        self._file = file
        self._read = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._file.tell()

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def readinto(self, buffer: Any) -> int:
        data = self._file.read(len(buffer)) or b""
        self._read += len(data)
        if self._read > MAX_BYTES:
            raise ValueError(f"larger than {MAX_BYTES >> 20} MiB, the protocol's limit; split it")
        buffer[: len(data)] = data
        return len(data)
