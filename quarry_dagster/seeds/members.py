"""The bytes of an archive, unpacked: one member of gzip or one frame of zstd after the other, and where each stands.

A library ends where it takes the file for ended: at an empty member, at padding, at damage. Here the end is the file's.
Archives in zstd may begin with a dictionary for all their frames (IIPC, WARC with Zstandard compression).
"""

from __future__ import annotations

import re
import zlib
from collections import deque
from typing import IO

from quarry_dagster.seeds.compressed import ZSTD, Gzip, Zstd
from quarry_dagster.seeds.model import shown

_PIECE = 1 << 16
_CAREFUL = 256
"""Bytes that are unpacked at once where a larger piece is damaged: what stands before the damage is read."""
_SCAN = 1 << 20
_OVERLAP = 64
_MAGIC = {"gzip": re.compile(rb"\x1f\x8b\x08"), "zstd": re.compile(rb"\x28\xb5\x2f\xfd")}
_SKIPPABLE = re.compile(rb"[\x50-\x5f]\x2a\x4d\x18", re.DOTALL)
_FRAME_HEAD = 8
_PADDING = b"\0 \t\r\n"
_DICTIONARY = b"\x5d\x2a\x4d\x18"
_MAX_DICTIONARY = 32 << 20
RECORD = re.compile(rb"WARC/[0-9]\.[0-9]{1,2}[ \t]*\r?\n[A-Za-z-]+[ \t]*:", re.IGNORECASE)
"""How a record begins."""


class Members:
    """An archive that is read forward.

    Args:
        file: seekable; it is not closed.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        file.seek(0)
        head = file.read(_PIECE)
        self._dictionary = _dictionary_in(file, head)
        self.packing = _packing(head)
        """How it is packed: "gzip", "zstd", or "" where it is not."""
        if not self.packing and not RECORD.search(head):  # its very first bytes may be damaged
            self.packing = next((kind for kind in _MAGIC if self._next(kind, 0) is not None), "")
        self.go(0)

    def go(self, at: int, inside: int = 0) -> None:
        """Stand at this byte of the file, and behind so many unpacked bytes of the member that begins there."""
        self._file.seek(at)
        self._raw, self._raw_at = b"", at
        self._buffer = bytearray()
        self._taken = 0  # unpacked bytes before the buffer
        self._starts: deque[tuple[int, int]] = deque(
            [(0, at)]
        )  # unpacked and packed place of each member in the buffer
        self._member: Gzip | Zstd | None = None
        self.damage: tuple[int, int, str | None] | None = None
        """Where the member begins that cannot be unpacked, from about which byte on, and why: None where none
        begins. It is known once the buffer has come to it."""
        self.is_cut = False
        """Whether the file ends inside a member, once the buffer has come to its end."""
        self.has_ended = False
        while inside and (size := min(inside, len(self.peek(_SCAN)))):
            self.drop(size)
            inside -= size

    @property
    def place(self) -> tuple[int, int]:
        """Where the next byte comes from, as :meth:`go` takes it."""
        if not self.packing:
            return self._starts[0][1] + self._taken - self._starts[0][0], 0
        start = next(pair for pair in reversed(self._starts) if pair[0] <= self._taken)
        return start[1], self._taken - start[0]

    def peek(self, size: int) -> bytes:
        """The next bytes: fewer only before the end, or before damage."""
        while len(self._buffer) < size and self._fill():
            pass
        return bytes(self._buffer[:size])

    def drop(self, size: int) -> None:
        """Go on behind so many of the bytes that :meth:`peek` gave."""
        del self._buffer[:size]
        self._taken += size
        while len(self._starts) > 1 and self._starts[1][0] <= self._taken:
            self._starts.popleft()

    def read(self, size: int, keep: int) -> tuple[bytes, int]:
        """The first `keep` of the next `size` bytes, and how many of those there were."""
        kept = bytearray()
        done = 0
        while done < size and (piece := self.peek(min(size - done, _SCAN))):
            kept += piece[: keep - len(kept)]
            self.drop(len(piece))
            done += len(piece)
        return bytes(kept), done

    def find(self, pattern: re.Pattern[bytes]) -> tuple[int, bytes]:
        """Go on to the first place that the pattern matches, or to the end, or to damage.

        Returns how many bytes are before it, padding behind them left out, and the first of them.
        """
        passed = padding = 0
        first = b""
        while True:
            window = self.peek(_SCAN)
            found = pattern.search(window)
            is_last = found is not None or len(window) < _SCAN
            size = found.start() if found else len(window) if is_last else _SCAN - _OVERLAP
            piece = window[:size]
            first = first or piece[:_OVERLAP]
            content = len(piece.rstrip(_PADDING))
            padding = padding + size if content == 0 else size - content
            self.drop(size)
            passed += size
            if is_last:
                return passed - padding, first

    def resume(self, start: int) -> int | None:
        """Go on at the first member from this byte on that begins with a record: where that is, None without one."""
        at = self._next(self.packing, start)
        if at is not None:
            self.go(at)
        return at

    def _next(self, packing: str, start: int) -> int | None:
        pattern = _MAGIC[packing]
        while True:
            self._file.seek(start)
            window = self._file.read(_SCAN)
            for found in pattern.finditer(window):
                if self._begins_record(packing, start + found.start()):
                    return start + found.start()
            if len(window) < _SCAN:
                return None
            start += _SCAN - _OVERLAP

    def _begins_record(self, packing: str, at: int) -> bool:
        self._file.seek(at)
        try:
            return self._new_member(packing).unpack(self._file.read(_PIECE))[:5].upper() == b"WARC/"
        except Exception:  # noqa: BLE001  whatever the library says: here is no member
            return False

    def _new_member(self, packing: str) -> Gzip | Zstd:
        return Gzip() if packing == "gzip" else Zstd(self._dictionary)

    def _fill(self) -> bool:
        """Unpack some more; False at the end, and before damage."""
        if self.has_ended or self.damage:
            return False
        if not self._raw and not (self._member and self._member.is_full):
            self._raw = self._file.read(_PIECE)
            if not self._raw:
                self.has_ended, self.is_cut = True, self._member is not None
                return False
        if not self.packing:
            self._buffer += self._raw
            self._raw = b""
        elif self._member is None:
            self._begin()
        else:
            self._unpack(self._member)
        return True

    def _unpack(self, member: Gzip | Zstd) -> None:
        before, size = member.copy(), len(self._raw)
        try:
            self._buffer += member.unpack(self._raw)
        except Exception as e:  # noqa: BLE001  bad content, whatever the library says of it
            out, at = (b"", 0) if before is None else _before_damage(before, self._raw)
            self._buffer += out
            self.damage = self._starts[-1][1], self._raw_at + at, shown(e)
            return
        self._raw = member.rest
        self._raw_at += size - len(self._raw)
        if member.eof:
            self._member = None

    def _begin(self) -> None:
        """Begin the next member, behind padding and what belongs to no record."""
        stripped = self._raw.lstrip(_PADDING)
        self._raw_at += len(self._raw) - len(stripped)
        self._raw = stripped
        if not stripped:
            return
        if len(stripped) < _FRAME_HEAD:
            self._raw += self._file.read(_PIECE)
        if self.packing == "zstd" and _SKIPPABLE.match(self._raw):
            self._raw_at += _FRAME_HEAD + int.from_bytes(self._raw[4:_FRAME_HEAD], "little")
            self._file.seek(self._raw_at)
            self._raw = b""
        elif not _MAGIC[self.packing].match(self._raw):
            self.damage = self._raw_at, self._raw_at, None
        else:
            self._member = self._new_member(self.packing)
            self._starts.append((self._taken + len(self._buffer), self._raw_at))


def _packing(head: bytes) -> str:
    if _SKIPPABLE.match(head) or _MAGIC["zstd"].match(head):
        return "zstd"
    return "gzip" if head.startswith(b"\x1f\x8b") else ""


def _dictionary_in(file: IO[bytes], head: bytes) -> bytes | None:
    """The dictionary that a file in zstd begins with, itself packed or not."""
    if not head.startswith(_DICTIONARY):
        return None
    file.seek(8)
    data = file.read(min(int.from_bytes(head[4:8], "little"), _MAX_DICTIONARY))
    if not data.startswith(ZSTD):
        return data
    try:
        return Zstd().unpack(data, _MAX_DICTIONARY)
    except Exception:  # noqa: BLE001  a damaged dictionary: each frame says that it lacks it
        return None


def _before_damage(member: Gzip | Zstd, raw: bytes) -> tuple[bytes, int]:
    """What can be unpacked of a piece before its damage, and about where in it that is."""
    out = b""
    for at in range(0, len(raw), _CAREFUL):
        try:
            out += member.unpack(raw[at : at + _CAREFUL])
        except zlib.error:
            return out, at
    return out, len(raw)
