"""Archive files: the records of a WARC, ARC or WACZ, whatever its state.

A damaged place costs what is in it: reading goes on at the next record that can be read, and a problem names the
bytes that were lost. What a record means belongs to `capture`.
"""

from __future__ import annotations

import itertools
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import replace
from typing import BinaryIO

from quarry_dagster.seeds.capture import Captures, Record
from quarry_dagster.seeds.model import Place, Problem, Seed, shown

_MAX_DAMAGED = 1000
"""Damaged places in one file; a file with more is given up."""
_MAX_RATIO = 100
"""A zip entry that unpacks to more than this many times its size is a bomb: WACZ keeps its archives gzipped."""
_HEADER_ROOM = 64 * 1024
"""WARC and HTTP headers, and what chunking adds to a body."""
_SCAN = 1 << 20
_OVERLAP = 64

_GZIP_MEMBER = re.compile(rb"\x1f\x8b\x08")
_WARC_HEADER = re.compile(rb"WARC/[01]\.[0-9]{1,2}\r?\n[A-Za-z-]+:")
_BROKEN_ZIP = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, ValueError, RuntimeError)


def read_warc(file: BinaryIO, max_body: int, place: Place) -> Iterator[Seed | Problem]:
    """The captures of a WARC file."""
    captures = Captures(max_body, whole=place.at == 0)
    yield from captures.read(warc_records(file, max_body + _HEADER_ROOM, itertools.count(place.line + 1), place))


def read_arc(file: BinaryIO, max_body: int) -> Iterator[Seed | Problem]:
    """The captures of an ARC file."""
    yield from Captures(max_body).read(arc_records(file, max_body + _HEADER_ROOM))


def read_wacz(file: BinaryIO, max_body: int) -> Iterator[Seed | Problem]:
    """The captures of all WARC files under `archive/` of a WACZ, their records counted through."""
    captures = Captures(max_body)
    numbers = itertools.count(1)
    try:
        wacz = zipfile.ZipFile(file)
    except _BROKEN_ZIP as e:
        yield Problem(None, f"not a WACZ, or cut off: {shown(e)}; download it again")
        return
    with wacz:
        for entry in wacz.infolist():
            if not re.fullmatch(r"archive/.*\.warc(\.gz)?", entry.filename, re.IGNORECASE | re.DOTALL):
                continue
            inside = shown(entry.filename)
            if entry.file_size > _MAX_RATIO * max(entry.compress_size, 1 << 20):
                yield Problem(None, f"{inside} unpacks to {entry.file_size} bytes; unpack it and drop it as .warc")
                continue
            try:
                with wacz.open(entry) as member:
                    for item in captures.read(warc_records(member, max_body + _HEADER_ROOM, numbers, Place())):
                        yield replace(item, reason=f"{inside}: {item.reason}") if isinstance(item, Problem) else item
            except _BROKEN_ZIP as e:
                yield Problem(None, f"{inside} cannot be read on: {shown(e)}; make the WACZ again")


def warc_records(file, keep: int, numbers: Iterator[int], place: Place) -> Iterator[Record | Problem]:
    """The records of a WARC file (of any type) from `place` on, at most `keep` bytes of each.

    A record is held back until the next one has begun well: if it has not, the length of the held one may be
    wrong, and its block a mixture of itself and the records behind it.
    """
    from fastwarc.warc import ArchiveIterator

    file.seek(0)
    gzipped = file.read(2) == b"\x1f\x8b"
    start = place.at
    lost: str | None = None
    for _ in range(_MAX_DAMAGED):
        file.seek(start)
        held: Record | None = None
        error = ""
        # `at`: where the last record that was begun starts; `resume`: from where on to look for the next.
        at, resume = start, start + 1
        try:
            for raw in ArchiveIterator(file, parse_http=False):
                if held:
                    place.line, place.at = held.number, raw.stream_pos
                    yield held
                    held = None
                at, resume = raw.stream_pos, raw.stream_pos + 1
                block = raw.reader.read(keep)
                size = len(block) + raw.reader.consume()
                if lost:
                    yield Problem(next(numbers), f"{lost} to byte {at}; the records in it are lost")
                    lost = None
                headers = {name.lower(): value for name, value in raw.headers.items()}
                if "content-length" not in headers or size < raw.content_length:
                    yield Problem(
                        next(numbers),
                        f"damaged at byte {at}: {size} of {raw.content_length} bytes are there; "
                        "the file may be cut off, download it again",
                        shown(headers.get("warc-target-uri", "")),
                    )
                    continue
                held = Record(next(numbers), headers, block, size)
        except OSError as e:
            error = shown(e)
        mixed = held is not None and error != "" and _WARC_HEADER.search(held.block) is not None
        if held and mixed:
            reason = f"its Content-Length is wrong (at byte {at}); archive the page again"
            yield Problem(held.number, reason, shown(held.headers.get("warc-target-uri", "")))
        elif held:
            yield held
            if not gzipped:
                resume = at + held.size  # past the block: a page may well quote the beginning of a record
        if not error:
            if held and gzipped and _cut_off(file, at):
                yield Problem(next(numbers), "the file ends inside this record; download it again")
            return
        if not mixed:  # that has been told
            lost = lost or f"damaged from byte {at} ({error})"
        found = _next_record(file, resume, gzipped)
        if found is None:
            if lost:
                yield Problem(next(numbers), f"{lost} to the end of the file; download it again")
            return
        start = found
    yield Problem(None, f"more than {_MAX_DAMAGED} damaged places, given up at byte {start}; download it again")


def _next_record(file, start: int, gzipped: bool) -> int | None:
    """Where the first record at or after `start` begins, as far as its first bytes tell."""
    pattern = _GZIP_MEMBER if gzipped else _WARC_HEADER
    while True:
        file.seek(start)
        window = file.read(_SCAN)
        for found in pattern.finditer(window):
            at = start + found.start()
            if not gzipped or _begins_record(file, at):
                return at
        if len(window) < _SCAN:
            return None
        start += _SCAN - _OVERLAP


def _begins_record(file, at: int) -> bool:
    file.seek(at)
    try:
        return zlib.decompressobj(wbits=31).decompress(file.read(512), 5) == b"WARC/"
    except zlib.error:
        return False


def _cut_off(file, at: int) -> bool:
    """Whether the gzip file ends inside a member, looking from the one at `at` on.

    FastWARC takes a file that ends in the first bytes of a record for a whole one.
    """
    file.seek(at)
    member = zlib.decompressobj(wbits=31)
    begun = False
    data = b""
    while data or (data := file.read(_SCAN)):
        try:
            member.decompress(data, _SCAN)
        except zlib.error:
            return False  # what FastWARC has read to the end is no member of its own: padding
        begun = not member.eof
        data = member.unused_data if member.eof else member.unconsumed_tail
        if member.eof:
            member = zlib.decompressobj(wbits=31)
    return begun


def arc_records(file, keep: int) -> Iterator[Record | Problem]:
    """The records of an ARC file, the format before WARC: warcio reads it, FastWARC does not."""
    from warcio.archiveiterator import ArchiveIterator
    from warcio.exceptions import ArchiveLoadFailed
    from warcio.statusandheaders import StatusAndHeadersParserException

    number = 0
    try:
        for raw in ArchiveIterator(file, arc2warc=True, no_record_parse=True):
            number += 1
            headers = {name.lower(): value for name, value in raw.rec_headers.headers}
            block = raw.raw_stream.read(keep)
            size = len(block)
            while piece := raw.raw_stream.read(_SCAN):
                size += len(piece)
            yield Record(number, headers, block, size)
    except (ArchiveLoadFailed, StatusAndHeadersParserException, ValueError, IndexError, OSError, zlib.error) as e:
        reason = f"damaged: {shown(e).strip()}; this record and what follows it are lost, download it again"
        yield Problem(number + 1, reason)
