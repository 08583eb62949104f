"""Content-Encoding (RFC 9110 8.4): decompression that never makes more than it was allowed to.

aiohttp's own decompression is off: it takes a gzip body that ends early for a whole one, and offers codings
(br, zstd) whose libraries come and go with the installation.
"""

from __future__ import annotations

import zlib

ACCEPT_ENCODING = "gzip, deflate"
_GZIP_MAGIC = b"\x1f\x8b"


class BodyBroken(Exception):
    """The bytes are not what Content-Encoding says, or end early."""


class Plain:
    """No coding."""

    def feed(self, data: bytes, room: int) -> bytes:
        """What `data` decodes to; more than `room` bytes only to show that there is more."""
        return data

    def end(self) -> None:
        """Say that the body has ended.

        Raises:
            BodyBroken: the coding says it has not.
        """


class Inflating(Plain):
    """gzip (one or more members) or deflate (with or without a zlib header: servers send both)."""

    def __init__(self, *, gzip: bool) -> None:
        self._gzip = gzip
        self._stream = zlib.decompressobj(wbits=31) if gzip else None

    def feed(self, data: bytes, room: int) -> bytes:
        if self._stream is None:
            has_zlib_header = data[0] & 0x0F == 8
            self._stream = zlib.decompressobj(wbits=15 if has_zlib_header else -15)
        if self._stream.eof:
            # Fed on, zlib would collect what follows the end. A further gzip member may; the rest is ignored.
            if not self._gzip or not data.startswith(_GZIP_MAGIC):
                return b""
            self._stream = zlib.decompressobj(wbits=31)
        try:
            out = self._stream.decompress(data, room + 1)
            while self._stream.eof and self._gzip and self._stream.unused_data.startswith(_GZIP_MAGIC):
                if len(out) > room:
                    break
                rest = self._stream.unused_data
                self._stream = zlib.decompressobj(wbits=31)
                out += self._stream.decompress(rest, room + 1 - len(out))
        except zlib.error as e:
            raise BodyBroken(f"not a {'gzip' if self._gzip else 'deflate'} body: {e}") from e
        return out

    def end(self) -> None:
        if self._stream is not None and not self._stream.eof:
            raise BodyBroken("the compressed body ends early")


def decoder(content_encoding: str | None) -> Plain:
    """The decoder of that header's coding.

    Raises:
        BodyBroken: it is none of those that were asked for.
    """
    coding = (content_encoding or "").strip().lower()
    if coding in ("", "identity"):
        return Plain()
    if coding in ("gzip", "x-gzip", "deflate"):
        return Inflating(gzip=coding != "deflate")
    raise BodyBroken(f"Content-Encoding {coding!r} was not asked for")
