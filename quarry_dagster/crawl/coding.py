"""Content-Encoding (RFC 9110 8.4): what a body decodes to, on the wire and in an archive, and never more than allowed.

A header that lies is not believed: a body that does not begin as its coding does, or whose coding is none that there
is (`none`, `UTF-8`), is taken as it is, as browsers do. A body that began well and is damaged is another matter: its
reader says what becomes of it.

aiohttp's own decompression is off: it takes a gzip body that ends early for a whole one, refuses a header that lies,
and offers codings (br, zstd) whose libraries come and go with the installation.
"""

from __future__ import annotations

import io
import re
import zlib

ACCEPT_ENCODING = "gzip, deflate"
_GZIP_MAGIC = b"\x1f\x8b\x08"
_MOST_CODINGS = 3
"""Codings of one body; a header with more is a trap."""
_PIECE = 1024
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")


class BodyBroken(Exception):
    """The bytes began as Content-Encoding says, and are damaged or end early."""


class Plain:
    """No coding."""

    def feed(self, data: bytes, room: int) -> bytes:
        """What `data` decodes to; more than `room` bytes only to show that there is more.

        Raises:
            BodyBroken: the bytes are damaged.
        """
        return data

    def end(self, room: int) -> bytes:
        """What was held back; the body has ended.

        Raises:
            BodyBroken: the coding says it has not, or the bytes are damaged.
        """
        return b""


class _Gzip(Plain):
    """One or more members; what stands behind the last is ignored."""

    def __init__(self) -> None:
        self._begun = b""
        """The first bytes, until there are enough to tell what they are."""
        self._stream: zlib._Decompress | None = None
        self._is_plain = False

    def feed(self, data: bytes, room: int) -> bytes:
        if self._is_plain:
            return data
        if self._stream is None:
            data = self._begun + data
            if not data.startswith(_GZIP_MAGIC):
                self._begun = data
                self._is_plain = not _GZIP_MAGIC.startswith(data)
                return data if self._is_plain else b""
            self._stream = zlib.decompressobj(wbits=31)
        if self._stream.eof:
            # Fed on, zlib would collect what follows the end. A further member may; the rest is ignored.
            if not data.startswith(_GZIP_MAGIC):
                return b""
            self._stream = zlib.decompressobj(wbits=31)
        try:
            out = self._stream.decompress(data, room + 1)
            while self._stream.eof and self._stream.unused_data.startswith(_GZIP_MAGIC):
                if len(out) > room:
                    break
                rest = self._stream.unused_data
                self._stream = zlib.decompressobj(wbits=31)
                out += self._stream.decompress(rest, room + 1 - len(out))
        except zlib.error as e:
            raise BodyBroken(f"not a gzip body: {e}") from e
        return out

    def end(self, room: int) -> bytes:
        if self._stream is None:
            return b"" if self._is_plain else self._begun
        if not self._stream.eof:
            raise BodyBroken("the compressed body ends early")
        return b""


class _Deflate(Plain):
    """With or without a zlib header: servers send both."""

    def __init__(self) -> None:
        self._begun = b""
        """All bytes, until something has come out of them: until then the body may be none of its coding."""
        self._stream: zlib._Decompress | None = None
        self._is_plain = False
        self._is_sure = False

    def feed(self, data: bytes, room: int) -> bytes:
        if self._is_plain:
            return data
        if not self._is_sure:
            self._begun += data
            if len(self._begun) < 2:
                return b""
        if self._stream is not None and self._stream.eof:
            return b""
        try:
            if self._stream is None:
                self._stream = zlib.decompressobj(wbits=15 if _has_zlib_header(self._begun) else -15)
                data = self._begun
            out = self._stream.decompress(data, room + 1)
        except zlib.error as e:
            if self._is_sure or not _is_text(self._begun):
                raise BodyBroken(f"not a deflate body: {e}") from e
            self._is_plain = True
            return self._begun
        self._is_sure = bool(out)
        self._begun = b"" if out else self._begun
        return out

    def end(self, room: int) -> bytes:
        if self._is_plain or (self._stream is not None and self._stream.eof):
            return b""
        if self._is_sure:
            raise BodyBroken("the compressed body ends early")
        return self._begun


def _is_text(data: bytes) -> bool:
    """Whether the first bytes may be a text that was never compressed: UTF-16, or without control characters."""
    return data.startswith((b"\xff\xfe", b"\xfe\xff")) or not _CONTROL.search(data[:_PIECE])


def _has_zlib_header(data: bytes) -> bool:
    """RFC 1950 2.2: method 8, and a check of the first two bytes."""
    return data[0] & 0x0F == 8 and int.from_bytes(data[:2], "big") % 31 == 0


class _Whole(Plain):
    """br or zstd, which nobody asked for: unpacked once all bytes are there, by the reader of archives."""

    def __init__(self, coding: str) -> None:
        self._coding = coding
        self._parts: list[bytes] = []

    def feed(self, data: bytes, room: int) -> bytes:
        self._parts.append(data)
        return b""

    def end(self, room: int) -> bytes:
        from fastwarc.stream_io import BrotliReader, ZstdReader

        data = b"".join(self._parts)
        self._parts.clear()
        reader = (BrotliReader if self._coding == "br" else ZstdReader)(io.BytesIO(data))
        out = bytearray()
        try:
            while len(out) <= room and (piece := reader.read(_PIECE)):
                out += piece
        except OSError as e:
            if out:
                raise _Partly(bytes(out), f"not a {self._coding} body: {e}") from e
        if out or _is_text(data):
            return bytes(out) or data
        raise BodyBroken(f"not a {self._coding} body, and no text either")


class _Partly(BodyBroken):
    """Damaged, and so much came out."""

    def __init__(self, out: bytes, why: str) -> None:
        super().__init__(why)
        self.out = out


class _Chain(Plain):
    """Several codings, the one that was applied last first."""

    def __init__(self, decoders: list[Plain]) -> None:
        self._decoders = decoders

    def feed(self, data: bytes, room: int) -> bytes:
        for decoder in self._decoders:
            data = decoder.feed(data, room) if data else b""
            if len(data) > room:
                break
        return data

    def end(self, room: int) -> bytes:
        data = b""
        for decoder in self._decoders:
            data = decoder.feed(data, room) + decoder.end(room) if data else decoder.end(room)
            if len(data) > room:
                break
        return data


_CODINGS: dict[str, type[Plain]] = {"gzip": _Gzip, "x-gzip": _Gzip, "deflate": _Deflate}


def decoder(content_encoding: str | None) -> Plain:
    """The decoder of that header's codings; a coding that there is not is none.

    Raises:
        BodyBroken: there are more than a body can sensibly have.
    """
    named = [coding.strip().lower() for coding in (content_encoding or "").split(",")]
    known = [coding for coding in named if coding in _CODINGS or coding in ("br", "zstd")]
    if len(known) > _MOST_CODINGS:
        raise BodyBroken(f"Content-Encoding names {len(known)} codings, more than {_MOST_CODINGS}")
    # They are listed in the order in which they were applied.
    decoders: list[Plain] = [_CODINGS[coding]() if coding in _CODINGS else _Whole(coding) for coding in reversed(known)]
    return _Chain(decoders) if len(decoders) > 1 else decoders[0] if decoders else Plain()


def decode(body: bytes, content_encoding: str | None, limit: int) -> tuple[bytes, str | None]:
    """What a body that is all there decodes to, and what is wrong with it; None where nothing is.

    `limit` + 1 bytes of it at most, the last one to show that there is more. What came out before the damage is what
    there is; where nothing did, the body is taken as it is.
    """
    out = bytearray()
    try:
        decode = decoder(content_encoding)
        # Small pieces, as zlib gives nothing of the one in which it finds an error.
        for at in range(0, len(body), _PIECE):
            out += decode.feed(body[at : at + _PIECE], limit - len(out))
            if len(out) > limit:
                return bytes(out[: limit + 1]), None
        out += decode.end(limit - len(out))
    except BodyBroken as e:
        out += e.out if isinstance(e, _Partly) else b""
        return bytes(out or body)[
            : limit + 1
        ], f"{e}; {'what came before' if out else 'the bytes as they are'} is taken"
    return bytes(out[: limit + 1]), None
