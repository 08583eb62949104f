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
from typing import IO, BinaryIO

from quarry_dagster.seeds.capture import Captures, Record
from quarry_dagster.seeds.members import RECORD, Members
from quarry_dagster.seeds.model import Place, Problem, Seed, shown

_MAX_DAMAGED = 1000
"""Damaged places in one file; a file with more is given up."""
_MAX_RATIO = 100
"""A zip entry that unpacks to more than this many times its size is a bomb: WACZ keeps its archives gzipped."""
_HEADER_ROOM = 64 * 1024
"""WARC and HTTP headers, and what chunking adds to a body."""
_SCAN = 1 << 20
_HEADER = 2048
"""Bytes that most headers fit in."""
_LOOK = 256
"""Bytes by which the beginning of a record is known."""
_PADDING = b"\0 \t\r\n"
"""What may stand between records."""
_HEADERS_END = re.compile(rb"\r?\n[ \t]*\r?\n")
_INNER = re.compile(rb"\n" + RECORD.pattern, re.IGNORECASE)
_CUT = "the file ends inside this record; download it again"
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


def warc_records(file: IO[bytes], keep: int, numbers: Iterator[int], place: Place) -> Iterator[Record | Problem]:
    """The records of a WARC file (of any type) from `place` on, at most `keep` bytes of each.

    Header names are read in any case, and lines may end in a line feed alone (WARC/1.1, section 4, read with
    tolerance). `place` moves where a record begins a member of its own, or the file is not packed.
    """
    records = _Records(Members(file), keep, numbers)
    records.members.go(place.at)
    yield from records.read(place)


class _Records:
    """The reading of one WARC file."""

    def __init__(self, members: Members, keep: int, numbers: Iterator[int]) -> None:
        self.members = members
        self._keep = keep
        self._numbers = numbers
        self._read_of = 0, 0
        """Where the last member begins that had a record, and how many it had."""

    def read(self, place: Place) -> Iterator[Record | Problem]:
        """The records from where the members stand, and what is wrong with the file."""
        damaged = 0
        more = self._begins()
        while more:
            at, _ = self.members.place
            item = self._record(at)
            more = self._begins()
            if item is None:
                continue
            damaged += isinstance(item, Problem)
            if damaged > _MAX_DAMAGED:
                reason = f"more than {_MAX_DAMAGED} damaged places, given up at byte {at}; download it again"
                yield Problem(None, reason)
                return
            behind, inside = self.members.place
            if more and inside == 0:
                place.line, place.at = (item.number if isinstance(item, Record) else item.line or 0), behind
            yield item

    def _begins(self) -> bool:
        """Whether there is more, behind what may stand between records."""
        while head := self.members.peek(_LOOK):
            padding = len(head) - len(head.lstrip(_PADDING))
            if padding == 0:
                return True
            self.members.drop(padding)
        return self.members.damage is not None or self.members.is_cut

    def _record(self, at: int) -> Record | Problem | None:
        """What stands here: a record, or a place that is none. None where nothing was lost."""
        members = self.members
        if not members.peek(1):
            return self._damaged(None) if members.damage else self._cut(at)
        start = members.place
        if not RECORD.match(members.peek(_LOOK)):
            return self._stray(at)
        headers = self._headers()
        if headers is None:
            return self._damaged(at) if members.damage else self._cut(at, has_begun=True)
        url = shown(headers.get("warc-target-uri", ""))
        length = headers.get("content-length", "")
        if not length.isdecimal():
            members.find(RECORD)
            reason = f"no Content-Length in the record at byte {at}; it is passed over, archive the page again"
            return Problem(next(self._numbers), reason, url)
        wanted = int(length[:18])
        body = members.place
        block, size = members.read(wanted, self._keep)
        if (size < wanted or not self._ends_well()) and (swallowed := self._swallowed(block, size)):
            members.go(*body)
            members.read(swallowed, 0)
            reason = f"its Content-Length is wrong (at byte {at}); archive the page again"
            return Problem(next(self._numbers), reason, url)
        if size < wanted and members.damage:
            return self._damaged(at)
        if size < wanted:
            members.is_cut = False  # this says it
            reason = (
                f"damaged at byte {at}: {size} of {wanted} bytes are there; the file may be cut off, download it again"
            )
            return Problem(next(self._numbers), reason, url)
        if not members.peek(1) and members.damage and members.damage[0] == start[0] and start[1] == 0:
            return self._damaged(at)  # its bytes came out, and its own member says that they are not what went in
        self._read_of = start[0], self._read_of[1] + 1 if self._read_of[0] == start[0] else 1
        return Record(next(self._numbers), headers, block, size)

    def _headers(self) -> dict[str, str] | None:
        """The headers of the record that begins here, names in lower case; None where they do not end."""
        head = self.members.peek(_HEADER)
        end = _HEADERS_END.search(head)
        if end is None:
            head = self.members.peek(_HEADER_ROOM)
            end = _HEADERS_END.search(head)
        if end is None:
            self.members.drop(len(head))
            return None
        headers: dict[str, str] = {}
        name = ""
        for line in head[: end.start()].decode("utf-8", "replace").splitlines()[1:]:
            if line[:1] in (" ", "\t") and name:  # goes on with the line before
                headers[name] = f"{headers[name]} {line.strip()}".strip()
                continue
            name, colon, value = line.partition(":")
            name = name.strip().lower() if colon else ""
            if name:
                headers[name] = value.strip()
        self.members.drop(end.end())
        return headers

    def _swallowed(self, block: bytes, size: int) -> int | None:
        """How many bytes of a block are before a record that begins in it."""
        inner = _INNER.search(block + self.members.peek(_LOOK) if len(block) == size else block)
        return inner.start() + 1 if inner and inner.start() < len(block) else None

    def _ends_well(self) -> bool:
        """Whether behind the block that was read another record begins, or nothing."""
        return not self._begins() or not self.members.peek(1) or RECORD.match(self.members.peek(_LOOK)) is not None

    def _stray(self, at: int) -> Problem:
        """Pass over bytes that belong to no record."""
        passed, first = self.members.find(RECORD)
        where = f"bytes {at} to {at + passed} belong"
        if self.members.packing:
            where = f"from the member at byte {at} on, {passed} unpacked bytes belong"
        return Problem(
            next(self._numbers),
            f"{where} to no record, and are lost; download it again",
            shown(first.decode("latin-1")),
        )

    def _damaged(self, begun: int | None) -> Problem:
        """Pass over what cannot be unpacked, and the record that began at a byte before it."""
        assert self.members.damage is not None
        member, byte, why = self.members.damage
        had_records = self._read_of[0] == member and self._read_of[1]
        begin = byte if had_records else member if begun is None else min(begun, member)
        to = self.members.resume(member + 1)
        if to is None:
            self.members.has_ended, self.members.damage, self.members.is_cut = True, None, False
        until = "the end of the file" if to is None else f"byte {to}"
        if why is None:
            reason = f"from byte {begin} to {until} there is no {self.members.packing} member; what is there is lost"
        else:
            reason = f"damaged from byte {begin} ({why}) to {until}; the records in it are lost"
        return Problem(next(self._numbers), f"{reason}; download it again")

    def _cut(self, at: int, *, has_begun: bool = False) -> Problem | None:
        """The file ends inside a member, which is no loss where that had its record whole."""
        self.members.is_cut = False
        is_whole = not has_begun and at > 0 and self._read_of == (at, 1)
        return None if is_whole else Problem(next(self._numbers), _CUT)


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
