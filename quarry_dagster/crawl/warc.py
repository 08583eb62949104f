"""What was fetched as a WARC file (ISO 28500, WARC 1.1), for other tools.

A response record for each page that came, a revisit record (profile server-not-modified) for each that had not
changed. Bodies are unpacked: headers that describe the bytes on the wire keep their values under another name, as in
other archives of such bodies.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http import HTTPStatus
from typing import IO, BinaryIO, Protocol

from quarry_dagster.crawl.model import Response

_OF_THE_WIRE = {"content-encoding", "transfer-encoding", "content-length"}
_NOT_MODIFIED = "http://netpreserve.org/warc/1.1/revisit/server-not-modified"


class Sink(Protocol):
    """Where the bytes of a WARC file go."""

    def write(self, data: bytes, /) -> int: ...
    def flush(self) -> None: ...
    def tell(self) -> int: ...


class WarcWriter:
    """Writes responses into an open file, each record a gzip member of its own."""

    def __init__(self, file: Sink, software: str) -> None:
        from warcio.warcwriter import WARCWriter

        self._writer = WARCWriter(file, gzip=True, warc_version="1.1")
        about = {"software": software, "format": "WARC File Format 1.1", "robots": "obey"}
        self._writer.write_record(self._writer.create_warcinfo_record("", about))

    def write(self, response: Response, earlier: datetime | None = None) -> None:
        """Add a response that is `fetched`, or `not_modified` since the `earlier` time."""
        from warcio.statusandheaders import StatusAndHeaders

        assert response.final_url is not None and response.status is not None
        about = {"WARC-Date": _date(response.fetched_at)}
        phrase = next((s.phrase for s in HTTPStatus if s == response.status), "")
        headers = [(f"X-Archive-Orig-{k}" if k.lower() in _OF_THE_WIRE else k, v) for k, v in response.headers]
        body = response.body
        if body is None:
            kind = "revisit"
            about |= {"WARC-Profile": _NOT_MODIFIED, "WARC-Refers-To-Target-URI": response.final_url}
            about |= {"WARC-Refers-To-Date": _date(earlier)} if earlier else {}
        else:
            kind = "response"
            headers.append(("Content-Length", str(len(body))))
        http = StatusAndHeaders(f"{response.status} {phrase}".strip(), headers, protocol="HTTP/1.1")
        payload = io.BytesIO(body or b"")
        self._writer.write_record(
            self._writer.create_warc_record(
                response.final_url, kind, payload=payload, http_headers=http, warc_headers_dict=about
            )
        )


def archived_urls(file: BinaryIO) -> Iterator[str]:
    """The URLs of the records of a WARC file."""
    from fastwarc.warc import ArchiveIterator

    for record in ArchiveIterator(file, parse_http=False):  # pyright: ignore[reportArgumentType]
        yield record.headers.get("WARC-Target-URI") or ""


def rewrite_without(source: IO[bytes], target: Sink, is_gone: Callable[[str], object]) -> None:
    """Copy a WARC file without the records of the URLs that are gone."""
    from warcio.archiveiterator import ArchiveIterator
    from warcio.warcwriter import WARCWriter

    writer = WARCWriter(target, gzip=True, warc_version="1.1")
    for record in ArchiveIterator(source):
        if not is_gone(record.rec_headers.get_header("WARC-Target-URI") or ""):
            writer.write_record(record)


def _date(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
