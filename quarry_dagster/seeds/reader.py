"""`read_seeds`: choosing the format by suffix, and the checks that every format shares.

The formats themselves each have a module; they may trust that a URL is checked here.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import PurePosixPath
from typing import BinaryIO

from quarry_dagster.byte_order import HEAD, wide_encoding
from quarry_dagster.crawl.answers import Answers, headers_of
from quarry_dagster.crawl.consent import headers_in
from quarry_dagster.errors import InvalidUrl
from quarry_dagster.profiles.settings import Crawl
from quarry_dagster.seeds import compressed
from quarry_dagster.seeds.archive import read_arc, read_wacz, read_warc
from quarry_dagster.seeds.model import Place, Problem, Seed, shown
from quarry_dagster.seeds.recoded import Recoded
from quarry_dagster.seeds.settings import SIDECAR, SeedSettings
from quarry_dagster.seeds.sitemap import Sitemaps, looks_like_sitemap
from quarry_dagster.seeds.tabular import read_csv, read_jsonl, read_parquet
from quarry_dagster.seeds.text import GIVE_TEXTS, read_text
from quarry_dagster.store.schemas import WITH_BODY
from quarry_dagster.urls import canonical_url
from quarry_dagster.urns import parts_of
from quarry_dagster.wire import without_credentials

Reader = Callable[[BinaryIO, int, Place, SeedSettings], Iterator[Seed | Problem]]


def _without_settings(read: Callable[[BinaryIO, int, Place], Iterator[Seed | Problem]]) -> Reader:
    """For a format whose reading no setting changes."""

    def reader(file: BinaryIO, max_body: int, place: Place, _: SeedSettings) -> Iterator[Seed | Problem]:
        yield from read(file, max_body, place)

    return reader


def _read_again(read: Callable[[BinaryIO, int], Iterator[Seed | Problem]]) -> Reader:
    """For a format that cannot be entered in the middle: what was yielded before is read, and passed over."""

    def reader(file: BinaryIO, max_body: int, place: Place, _: SeedSettings) -> Iterator[Seed | Problem]:
        done = place.line
        for item in read(file, max_body):
            if item.line is None or item.line > done:
                place.line = item.line or place.line
                yield item

    return reader


_TEXT_FORMATS: dict[str, Reader] = {
    ".txt": _without_settings(read_text),
    ".csv": read_csv,
    ".jsonl": read_jsonl,
    ".ndjson": read_jsonl,
}
_READERS: dict[str, Reader] = {
    **_TEXT_FORMATS,
    **{f"{suffix}{packed}": read for suffix, read in _TEXT_FORMATS.items() for packed in compressed.SUFFIXES},
    ".parquet": read_parquet,
    ".warc": _without_settings(read_warc),
    ".warc.gz": _without_settings(read_warc),
    ".warc.zst": _without_settings(read_warc),
    ".warc.wet": _without_settings(read_warc),
    ".warc.wet.gz": _without_settings(read_warc),
    ".wacz": _read_again(read_wacz),
    ".arc": _read_again(read_arc),
    ".arc.gz": _read_again(read_arc),
}
_BUFFER = 1 << 18
_SITEMAPS = (".xml", ".xml.gz")

SUFFIXES: tuple[str, ...] = (*_READERS, *_SITEMAPS)
"""The recognised suffixes, lower case."""

_UNFINISHED = (".tmp", ".part", ".crdownload", "~")

# What canonical_url surely accepts (a test holds the two together): it is many times slower, and
# seeds have millions of plain URLs.
_PLAIN_URL = re.compile(r"https?://[a-z0-9][a-z0-9._-]*(?::[0-9]{1,4})?(?:[/?#][!-~]*)?", re.IGNORECASE)


_INSIDE = re.compile(r"https?://[^\s<>\"'()\[\]]+", re.IGNORECASE)
"""A URL, whatever marks stand around it."""


def is_seed_name(name: str) -> bool:
    """Whether a file of this name (or path) is a seed: whole, by :func:`is_whole`, and of a known suffix."""
    return is_whole(name) and _suffix(name) is not None


def is_table(name: str) -> bool:
    """Whether a seed of this name has rows, each of which may be a document without a URL."""
    return any((_suffix(name) or "").startswith(suffix) for suffix in (".csv", ".jsonl", ".ndjson", ".parquet"))


def is_whole(name: str) -> bool:
    """Whether a file of this name (or path) is one that somebody put there: not hidden, not half downloaded."""
    path = PurePosixPath(name)
    # Tools that synchronize folders keep unfinished and deleted files in hidden ones.
    return not any(part.startswith(".") for part in path.parts) and not path.name.endswith(_UNFINISHED)


def sidecar_of(name: str) -> str:
    """The name of the file with the settings of the seed of this name."""
    return f"{name}{SIDECAR}"


def is_sidecar(name: str) -> bool:
    """Whether a file of this name holds the settings of a seed."""
    return name.endswith(SIDECAR) and is_seed_name(name.removesuffix(SIDECAR))


def default_settings(name: str) -> SeedSettings:
    """The settings of a seed without a sidecar: its namespace is the file's name without suffixes."""
    base = PurePosixPath(name).name
    return SeedSettings(shown(base[: len(base) - len(_suffix(base) or "")] or base))


def read_seeds(
    file: BinaryIO,
    name: str,
    *,
    max_body: int,
    answers: Answers | None = None,
    settings: SeedSettings | None = None,
    fetch: Callable[[str], bytes] | None = None,
    place: Place | None = None,
) -> Iterator[Seed | Problem]:
    """Read a seed file, in file order and in bounded memory.

    Args:
        file: seekable, opened for reading bytes; it is not closed.
        name: the file's name; its suffix tells the format.
        max_body: a larger body becomes outcome `too_large`.
        answers: judges the documents that it carries, as a crawl does; None: by the defaults of a crawl.
        settings: what its user says of the seed; None: :func:`default_settings`.
        fetch: downloads a sitemap; without it, a URL that needs it becomes a problem.
        place: where an earlier reading of the same bytes stopped. It moves along with this one, when what it
            stands behind has been yielded: stop where it has just moved, else items come again.

    Raises:
        OSError: the file itself cannot be read. Bad content never raises.
    """
    suffix = _suffix(name)
    if suffix is None:
        yield Problem(None, f"not a seed file; its name must end in one of {', '.join(SUFFIXES)}", shown(name))
        return
    source = _Watched(file)
    unpacked = _unpacked(source, suffix)
    buffered = _in_utf8(unpacked, suffix)
    settings = replace(settings or default_settings(name), sidecar=shown(sidecar_of(PurePosixPath(name).name)))
    place = Place() if place is None else place
    answers = answers or Answers(Crawl())
    sitemaps = Sitemaps(fetch, place)
    empty = place == Place()
    if suffix in _SITEMAPS:
        items = sitemaps.read(buffered)
    else:
        items = _expanded(_READERS[suffix], buffered, max_body, settings, sitemaps, place)
    for item in items:
        # A library may report a failing disk as bad content: then the file's own error is the truth.
        source.raise_error()
        empty = False
        yield _judged(_checked(_without_credentials(item)), answers) if isinstance(item, Seed) else item
    source.raise_error()
    if isinstance(unpacked, compressed.Decompressed) and unpacked.problem:
        yield unpacked.problem
    elif empty:
        what = "row" if is_table(name) else "URL"
        yield Problem(None, f"no {what} in it; delete the file, or put at least one {what} in it")


class _Watched(io.RawIOBase):
    """The caller's file; it remembers an error of its own, and is not closed with the buffer around it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._error: OSError | None = None

    def raise_error(self) -> None:
        if self._error:
            raise self._error

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        try:
            data = self._file.read(len(buffer))
        except OSError as e:
            self._error = e
            raise
        buffer[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


def _suffix(name: str) -> str | None:
    name = name.lower()
    return max((s for s in SUFFIXES if name.endswith(s)), key=len, default=None)


def _unpacked(source: _Watched, suffix: str) -> _Watched | compressed.Decompressed:
    """The file as its format's reader wants it: text formats unpacked."""
    bare = _text_format(suffix)
    if bare in (None, suffix):
        return source
    return compressed.Decompressed(io.BufferedReader(source, buffer_size=_BUFFER), suffix.removeprefix(bare))


def _in_utf8(file: io.RawIOBase, suffix: str) -> BinaryIO:
    """The file as its format's reader wants it: text formats in UTF-8."""
    buffered = io.BufferedReader(file, buffer_size=_BUFFER)
    if _text_format(suffix) is None:
        return buffered
    encoding = wide_encoding(buffered.read(HEAD))
    buffered.seek(0)
    return io.BufferedReader(Recoded(buffered, encoding), buffer_size=_BUFFER) if encoding else buffered


def _text_format(suffix: str) -> str | None:
    """The suffix of the text format that a suffix names, which may be compressed; None for another format."""
    bare = next((suffix.removesuffix(p) for p in compressed.SUFFIXES if suffix.endswith(p)), suffix)
    return bare if bare in _TEXT_FORMATS else None


def _expanded(
    reader: Reader, file: BinaryIO, max_body: int, settings: SeedSettings, sitemaps: Sitemaps, place: Place
) -> Iterator[Seed | Problem]:
    at = Place(place.line, place.at)
    for item in reader(file, max_body, at, settings):
        listed = isinstance(item, Seed) and item.outcome is None and item.discover is None
        if isinstance(item, Seed) and listed and looks_like_sitemap(item.url):
            yield from sitemaps.fetch(item.url, item.line)
            place.line, place.at = at.line, at.at  # not before: the line is done with when its sitemap is
        else:
            if isinstance(item, Seed):  # the last item of its line: problems come before
                if left_out := _credentials(item):
                    yield left_out
                place.line, place.at = at.line, at.at
            yield item


def _credentials(seed: Seed) -> Problem | None:
    """What is to be said of a URL with a user name or a password in it."""
    if without_credentials(seed.url) == seed.url:
        return None
    reason = (
        "the user name and password in the URL are left out, as they would stand in the corpus: a page that asks for "
        "them is not fetched; give its text in a table"
    )
    return Problem(seed.line, reason, shown(seed.url), costs_row=False)


def _without_credentials(seed: Seed) -> Seed:
    if "@" not in seed.url:
        return seed
    final_url = seed.final_url and without_credentials(seed.final_url)
    return replace(seed, url=without_credentials(seed.url), final_url=final_url)


def _checked(seed: Seed) -> Seed:
    """The seed; one whose URL cannot be fetched has outcome `invalid_url`, and is a row like any other."""
    if _PLAIN_URL.fullmatch(seed.url) or (seed.outcome is not None and parts_of(seed.url)):
        return seed
    try:
        canonical_url(seed.url)
    except InvalidUrl as e:
        remedy = f"; {GIVE_TEXTS}" if len(seed.url.split()) > 1 else "; write http:// or https:// before it"
        inside = _INSIDE.search(seed.url)
        if inside and inside[0] != seed.url:
            remedy = f"; write {shown(inside[0])} alone, without what stands around it"
        elif "://" in seed.url:
            remedy = ""
        return Seed(
            shown(seed.url), seed.line, outcome="invalid_url", detail=f"{e}{remedy}", own_columns=seed.own_columns
        )
    return seed


def _judged(seed: Seed, answers: Answers) -> Seed:
    """The seed; a document that a crawl would not take is not taken from an archive or a table either."""
    if seed.body is None or seed.outcome is None:
        return seed
    is_served = seed.outcome != "given"
    headers = headers_of(headers_in(seed.consent_headers))
    refused = answers.refused(headers, seed.body, seed.content_type, is_served=is_served)
    if refused:
        return replace(seed, outcome=refused.outcome, detail=refused.detail, body=None)
    return seed if seed.outcome in WITH_BODY else replace(seed, body=None)
