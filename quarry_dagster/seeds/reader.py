"""`read_seeds`: choosing the format by suffix, and the checks that every format shares.

The formats themselves each have a module; they may trust that a URL is checked here.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import PurePosixPath
from typing import BinaryIO

from quarry_dagster.seeds.archive import read_archive, read_wacz
from quarry_dagster.seeds.model import Problem, Seed, shown
from quarry_dagster.seeds.sitemap import Sitemaps, looks_like_sitemap
from quarry_dagster.seeds.tabular import read_csv, read_jsonl, read_parquet
from quarry_dagster.seeds.text import read_text
from quarry_dagster.urls import InvalidUrl, canonical_url

Reader = Callable[[BinaryIO, int], Iterator[Seed | Problem]]

_READERS: dict[str, Reader] = {
    ".txt": read_text,
    ".csv": read_csv,
    ".jsonl": read_jsonl,
    ".parquet": read_parquet,
    ".warc": partial(read_archive, arc=False),
    ".warc.gz": partial(read_archive, arc=False),
    ".warc.wet": partial(read_archive, arc=False),
    ".warc.wet.gz": partial(read_archive, arc=False),
    ".wacz": read_wacz,
    ".arc": partial(read_archive, arc=True),
    ".arc.gz": partial(read_archive, arc=True),
}
_SITEMAPS = (".xml", ".xml.gz")

SUFFIXES: tuple[str, ...] = (*_READERS, *_SITEMAPS)
"""The recognised suffixes, lower case."""

_UNFINISHED = (".tmp", ".part", ".crdownload", "~")

# What canonical_url surely accepts (a test holds the two together): it is many times slower, and
# seeds have millions of plain URLs.
_PLAIN_URL = re.compile(r"https?://[a-z0-9][a-z0-9._-]*(?::[0-9]{1,4})?(?:[/?#][!-~]*)?", re.IGNORECASE)


def is_seed_name(name: str) -> bool:
    """Whether a file of this name (or path) is a seed: a known suffix, not hidden, not half downloaded."""
    base = PurePosixPath(name).name
    return not base.startswith(".") and not base.endswith(_UNFINISHED) and _suffix(base) is not None


def read_seeds(
    file: BinaryIO, name: str, *, max_body: int, fetch: Callable[[str], bytes] | None = None
) -> Iterator[Seed | Problem]:
    """Read a seed file, in file order and in bounded memory.

    Args:
        file: seekable, opened for reading bytes; it is not closed.
        name: the file's name; its suffix tells the format.
        max_body: a larger body becomes outcome `too_large`.
        fetch: downloads a sitemap; without it, a URL that needs it becomes a problem.

    Raises:
        OSError: the file itself cannot be read. Bad content never raises.
    """
    suffix = _suffix(name)
    if suffix is None:
        yield Problem(None, f"not a seed file; its name must end in one of {', '.join(SUFFIXES)}", shown(name))
        return
    source = _Watched(file)
    buffered = io.BufferedReader(source, buffer_size=1 << 18)
    sitemaps = Sitemaps(fetch)
    if suffix in _SITEMAPS:
        items = sitemaps.read(buffered)
    else:
        items = _expanded(_READERS[suffix](buffered, max_body), sitemaps)
    empty = True
    for item in items:
        # A library may report a failing disk as bad content: then the file's own error is the truth.
        source.raise_error()
        empty = False
        yield _checked(item) if isinstance(item, Seed) else item
    source.raise_error()
    if empty:
        yield Problem(None, "no URL in it; delete the file, or put at least one URL in it")


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


def _expanded(items: Iterator[Seed | Problem], sitemaps: Sitemaps) -> Iterator[Seed | Problem]:
    for item in items:
        if isinstance(item, Seed) and item.outcome is None and looks_like_sitemap(item.url):
            yield from sitemaps.fetch(item.url, item.line)
        else:
            yield item


def _checked(seed: Seed) -> Seed:
    """The seed; one whose URL cannot be fetched has outcome `invalid_url`, and is a row like any other."""
    if _PLAIN_URL.fullmatch(seed.url):
        return seed
    try:
        canonical_url(seed.url)
    except InvalidUrl as e:
        remedy = "" if "://" in seed.url else "; write http:// or https:// before it"
        return Seed(shown(seed.url), seed.line, outcome="invalid_url", detail=f"{e}{remedy}")
    return seed
