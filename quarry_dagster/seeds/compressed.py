"""Compressed seeds: the bytes inside a `.gz` or `.zst`, as a file that can be read and wound back.

Where the compressed bytes are cut or damaged, what came out before them is what there is, and `problem` says so.
"""

from __future__ import annotations

import io
import sys
import zlib
from importlib import import_module
from typing import BinaryIO

from quarry_dagster.seeds.forward import Forward
from quarry_dagster.seeds.model import Problem, shown

_PIECE = 1 << 16
_OUT = 1 << 20
"""Bytes that come out at once: a piece of zstd can stand for gigabytes."""
_WINDOW_LOG = 27
"""A zstd frame that needs more memory than 128 MiB is refused, as by the command `zstd`."""
_MAX_RATIO = 500
"""Text that unpacks to more than this many times its size is a bomb; real text reaches a tenth of it."""
_FREE = 64 << 20
"""Bytes that may come out whatever the ratio."""


ZSTD = b"\x28\xb5\x2f\xfd"
"""How a frame of zstd begins."""


class Gzip:
    """One member of a gzip file."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(31)
        self.is_full = False
        """Whether more comes out although nothing goes in."""

    def unpack(self, data: bytes) -> bytes:
        """The next bytes of at most _OUT; data that was not used is given back with `rest`."""
        out = self._member.decompress(data, _OUT)
        self.eof = self._member.eof
        # Behind a member zeros may fill up a block.
        self.rest = self._member.unused_data.lstrip(b"\0") if self.eof else self._member.unconsumed_tail
        return out

    def copy(self) -> Gzip | None:
        """Another one in the same state; None where there can be none."""
        other = Gzip()
        other._member = self._member.copy()
        return other


class Zstd:
    """One frame of a zstd file."""

    def __init__(self, dictionary: bytes | None = None) -> None:
        zstd = import_module("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")
        self._frame = zstd.ZstdDecompressor(
            zstd_dict=zstd.ZstdDict(dictionary) if dictionary else None,
            options={zstd.DecompressionParameter.window_log_max: _WINDOW_LOG},
        )
        self.is_full = False

    def unpack(self, data: bytes, most: int = _OUT) -> bytes:
        """As :meth:`Gzip.unpack`; it keeps what it did not use, until the frame ends."""
        out = self._frame.decompress(data, most)
        self.eof = self._frame.eof
        self.rest = self._frame.unused_data if self.eof else b""
        self.is_full = not self.eof and not self._frame.needs_input
        return out

    def copy(self) -> None:
        """There can be none."""


_MEMBERS: dict[str, type[Gzip] | type[Zstd]] = {".gz": Gzip, ".zst": Zstd}
SUFFIXES = tuple(_MEMBERS)


class Decompressed(Forward):
    """What is in a compressed file, all its members one after the other.

    Args:
        file: seekable; it is not closed.
        suffix: one of SUFFIXES.
    """

    def __init__(self, file: BinaryIO, suffix: str) -> None:
        self._file = file
        self._new_member = _MEMBERS[suffix]
        self.problem: Problem | None = None
        """What is wrong with the compressed bytes, once reading has come to it."""
        super().__init__()

    def _begin(self) -> None:
        self._file.seek(0)
        self._member: Gzip | Zstd | None = None
        self._rest = b""
        self._read = 0

    def _more(self) -> bytes | None:
        piece = self._rest or self._file.read(_PIECE)
        self._read += 0 if self._rest else len(piece)
        if not piece and self._member is None:
            return None
        try:
            member = self._member or self._new_member()
            out = member.unpack(piece)
        except Exception as e:  # noqa: BLE001  bad content, whatever the library says of it
            return self._stop(f"it is damaged ({shown(e)})")
        if not piece and not out and not member.eof:
            return self._stop("it is cut off")
        self._rest, self._member = member.rest, None if member.eof else member
        if self.tell() + len(out) > max(_FREE, _MAX_RATIO * self._read):
            return self._stop(f"it unpacks to more than {_MAX_RATIO} times its size")
        return out

    def _stop(self, why: str) -> None:
        """Say why nothing more comes out."""
        self._member, self._rest = None, b""
        self._file.seek(0, io.SEEK_END)
        self.problem = Problem(
            None, f"{why} after {self.tell():,} bytes of what is in it; what came before was read; compress it again"
        )
