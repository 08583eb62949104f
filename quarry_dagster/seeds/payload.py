"""Bodies: what an archived HTTP message's payload decodes to, and whether it is text at all.

Archives keep what was on the wire, and often enough headers that no longer fit it. Like a browser, decoding
takes what can be had; unlike a browser, never more than it was allowed to.
"""

from __future__ import annotations

import io
import re
import zlib

from quarry_dagster.crawl.media_types import refused_bytes, refused_type

_CHUNK_SIZE = re.compile(rb"[ \t]*([0-9a-fA-F]{1,8})[ \t]*(?:;[^\r\n]{0,1000})?\r?\n")
_PIECE = 1024


NOT_READ = "PDF and office files are not read: give their text in a table (column text)"
"""What to do about them."""


def unsupported(content_type: str | None, body: bytes, *, is_served: bool = True) -> str | None:
    """Why the body is no text that can be extracted; None where it may be. The rule is the crawler's.

    `is_served`: the type is what a server said; else it is what we take the body for.
    """
    return refused_type(content_type) or refused_bytes(body, content_type, is_served=is_served)


def decode(payload: bytes, transfer_encoding: str, content_encoding: str, limit: int) -> bytes:
    """The body in an HTTP payload; `limit` + 1 bytes of it at most, the last one to show that there is more.

    Where the payload is not in the coding its header names (archivers undo codings and keep the header), it is
    taken as it is.
    """
    if "chunked" in transfer_encoding.lower():
        payload = _dechunked(payload)
    # Codings are listed in the order they were applied.
    for coding in reversed(content_encoding.lower().split(",")):
        payload = _decompressed(payload, coding.strip(), limit)
    return payload[: limit + 1]


def _dechunked(data: bytes) -> bytes:
    parts: list[bytes] = []
    at = 0
    while at < len(data):
        size = _CHUNK_SIZE.match(data, at)
        if size is None:
            parts.append(data[at:])  # not chunked at all, or no more from here on
            break
        length = int(size[1], 16)
        if length == 0:
            break
        at = size.end()
        parts.append(data[at : at + length])
        at += length
        at += 2 if data.startswith(b"\r\n", at) else data.startswith(b"\n", at)
    return b"".join(parts)


def _decompressed(data: bytes, coding: str, limit: int) -> bytes:
    match coding:
        case "gzip" | "x-gzip":
            return _inflated(data, 31, limit) or data
        case "deflate":  # some servers send it without the zlib header
            return _inflated(data, 15, limit) or _inflated(data, -15, limit) or data
        case "br" | "zstd":
            return _unpacked(data, coding, limit) or data
        case _:
            return data


def _inflated(data: bytes, wbits: int, limit: int) -> bytes:
    """What zlib makes of the data, all members of it, up to where it is damaged or something else."""
    out = bytearray()
    stream = zlib.decompressobj(wbits)
    rest = b""
    try:
        # Small pieces, as zlib gives nothing of the one in which it finds an error.
        for at in range(0, len(data), _PIECE):
            rest += data[at : at + _PIECE]
            while rest:
                out += stream.decompress(rest, limit + 1 - len(out))
                if len(out) > limit:
                    return bytes(out)
                rest = stream.unused_data if stream.eof else stream.unconsumed_tail
                if stream.eof:
                    stream = zlib.decompressobj(wbits)
    except zlib.error:
        pass  # what came out is what there is
    return bytes(out)


def _unpacked(data: bytes, coding: str, limit: int) -> bytes:
    from fastwarc.stream_io import BrotliReader, ZstdReader

    reader = (BrotliReader if coding == "br" else ZstdReader)(io.BytesIO(data))
    out = bytearray()
    try:
        while len(out) <= limit and (piece := reader.read(_PIECE)):
            out += piece
    except OSError:
        pass  # as above: BytesIO itself has no such error
    return bytes(out)
