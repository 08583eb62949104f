"""Whether a seed file in the inbox can be read, and is whole, as far as what it is and its end tell.

A file that somebody is still writing ends somewhere; what stands there would be taken for a URL, or a document, that
nobody meant. So a file that changed just now waits where its end is none. After that it is taken as it is: a list of
URLs need not end in a line feed.
"""

from __future__ import annotations

import io
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from quarry_dagster.seeds.compressed import SUFFIXES as PACKED
from quarry_dagster.seeds.compressed import Decompressed

SETTLED_S = 5.0
"""Seconds after which a file that did not change is not being written any more."""
_TEXT = (".txt", ".csv", ".jsonl", ".ndjson", ".arc")
_LINE_ENDS = tuple(end + b"\0" * wide for end in (b"\n", b"\r") for wide in (0, 1, 3))
_END_OF_SITEMAP = re.compile(rb"</(?:[\w.-]+:)?(?:urlset|sitemapindex)\s*>(?:\s|<!--.*?-->)*\Z", re.DOTALL)
_TAIL = 66_000
"""Bytes that the end of a zip archive has at most, with its comment."""
_END_OF_ZIP = 22
_KINDS = (
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISDIR, "a link to a folder"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def why_unreadable(info: Mapping[str, Any], path: Path | None) -> str:
    """What a thing in the inbox is, where it is no file that can be read, and the remedy; "" for a file.

    Args:
        info: what fsspec says of it.
        path: where it is on this machine; None on an object store, which has files alone.
    """
    if path is None or info.get("type") == "file":
        return ""
    try:
        mode = path.stat().st_mode
    except OSError:  # nowhere, in a circle, or beyond what may be looked at
        return "a link that leads to no file; make it again, or delete it"
    kind = next((name for is_kind, name in _KINDS if is_kind(mode)), "")
    return f"{kind}, and only a file is read; put a file in its place" if kind else ""


def why_unfinished(name: str, file: BinaryIO) -> str:
    """Why a seed file of this name seems to be still being written, "" where it is whole, or that cannot be told."""
    name = name.lower()
    size = file.seek(0, io.SEEK_END)
    if size == 0:
        return "it is empty"
    file.seek(max(0, size - _TAIL))
    tail = file.read(_TAIL)
    file.seek(0)
    packed = next((suffix for suffix in PACKED if name.endswith(suffix)), "")
    if packed:
        return _why_not_unpacked(file, packed)
    if name.endswith(_TEXT):
        return "" if tail.endswith(_LINE_ENDS) else "its last line has no end"
    if name.endswith((".warc", ".warc.wet")):
        return (
            "" if tail.endswith((b"\n\r\n", b"\n\n")) or file.read(2) == b"\x1f\x8b" else "its last record has no end"
        )
    if name.endswith(".xml"):
        return "" if _END_OF_SITEMAP.search(tail.replace(b"\0", b"")) else "its last element has no end"
    if name.endswith(".parquet"):
        return "" if tail.endswith((b"PAR1", b"PARE")) and size > 12 else "its footer is not there yet"
    if name.endswith(".wacz"):
        end = tail.rfind(b"PK\x05\x06")
        is_whole = end >= 0 and len(tail) - end >= _END_OF_ZIP
        return "" if is_whole else "the end of the archive is not there yet"
    return ""


def unended_line(name: str, file: BinaryIO) -> str:
    """The last line of a list of URLs where no line feed ends it, else "".

    It may be the beginning of a line that is still being written; the file is left at its start.
    """
    size = file.seek(0, io.SEEK_END)
    file.seek(max(0, size - _TAIL))
    tail = file.read(_TAIL)
    file.seek(0)
    if not name.lower().endswith(".txt") or tail.endswith(_LINE_ENDS):
        return ""
    return tail.rpartition(b"\n")[2].decode(errors="replace").strip()


def _why_not_unpacked(file: BinaryIO, suffix: str) -> str:
    unpacked = Decompressed(file, suffix)
    while unpacked.read(1 << 20):
        pass
    return "it is not packed to its end" if unpacked.problem else ""
