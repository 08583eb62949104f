"""Bodies: what an archived HTTP message's payload decodes to.

Archives keep what was on the wire, and often enough headers that no longer fit it. Content-Encoding is the crawl's
matter (:mod:`quarry_dagster.crawl.coding`); chunks are undone here, for a crawl never sees them.
"""

from __future__ import annotations

import re

from quarry_dagster.crawl import coding

_CHUNK_SIZE = re.compile(rb"[ \t]*([0-9a-fA-F]{1,8})[ \t]*(?:;[^\r\n]{0,1000})?\r?\n")


NOT_READ = "PDF and office files are not read: give their text in a table (column text)"
"""What to do about them."""


def decode(payload: bytes, transfer_encoding: str, content_encoding: str, limit: int) -> tuple[bytes, str | None]:
    """The body in an HTTP payload, and what of it is damaged, as :func:`coding.decode` has them.

    A payload that is not chunked although its header says so (archivers undo that and keep the header) is taken as it
    is.
    """
    if "chunked" in transfer_encoding.lower():
        payload = _dechunked(payload)
    return coding.decode(payload, content_encoding, limit)


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
