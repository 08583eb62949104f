"""What an archived record means: the page that was captured, or why there is none.

Finding the records in a file belongs to `archive`, undoing codings to `payload`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from multidict import CIMultiDict

from quarry_dagster.crawl.answers import headers_of, no_page
from quarry_dagster.crawl.consent import spoken_of_use
from quarry_dagster.errors import InvalidUrl
from quarry_dagster.seeds.model import Problem, Seed, shown
from quarry_dagster.seeds.payload import decode
from quarry_dagster.urls import canonical_url

_MAX_REMEMBERED = 1_000_000
"""URLs of one file remembered for its revisits; those of a larger one may be reported for nothing."""
_HEAD_END = re.compile(rb"\r?\n\r?\n")
_STATUS_LINE = re.compile(rb"HTTP/\d(?:\.\d)?[ \t]+(\d{3})(?!\d)")
_URL = re.compile(r"https?://", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Record:
    """One record of an archive."""

    number: int
    headers: dict[str, str]
    """The archive's own headers, names in lower case."""
    block: bytes
    """What follows them, or its beginning."""
    size: int
    """Bytes the block has in all."""


@dataclass(frozen=True, slots=True)
class _Message:
    status: int
    headers: CIMultiDict[str]
    payload: bytes


class Captures:
    """Turns the records of one archive into seeds; it remembers the URLs seen, for revisits.

    Of an archive that is not read from its start (`whole` is False), a revisit may be of what stands before.
    """

    def __init__(self, max_body: int, *, whole: bool = True) -> None:
        self._max_body = max_body
        self._whole = whole
        self._seen: set[int] = set()

    def read(self, records: Iterable[Record | Problem]) -> Iterator[Seed | Problem]:
        """The captures among the records; what is neither a page nor damaged is passed over."""
        for record in records:
            item = record if isinstance(record, Problem) else self._capture(record)
            if item is None:
                continue
            if isinstance(item, Seed) and len(self._seen) < _MAX_REMEMBERED:
                self._seen.add(_key(item.url))
            yield item

    def _capture(self, record: Record) -> Seed | Problem | None:
        kind = record.headers.get("warc-type", "").lower()
        # Older wget writes the URL in angle brackets.
        url = record.headers.get("warc-target-uri", "").strip().removeprefix("<").removesuffix(">").strip()
        if not _URL.match(url):
            return None  # dns:, metadata:, urn: and the like are notes of the archiver
        match kind:
            case "response":
                return self._response(record, url)
            case "resource" | "conversion":
                content_type = record.headers.get("content-type")
                return self._page(record, url, None, content_type, headers_of(()), record.block)
            case "revisit" if self._whole and _key(url) not in self._seen:
                reason = "a revisit of a capture that is not in this file; drop the file that has it too"
                return Problem(record.number, reason, shown(url))
        return None

    def _response(self, record: Record, url: str) -> Seed | Problem:
        message = _parse(record.block)
        if message is None:
            return Problem(record.number, "no HTTP response in this record; archive the page again", shown(url))
        headers = message.headers
        content_type = headers.get("Content-Type")
        if detail := no_page(message.status):
            location = headers.get("Location")
            if 300 <= message.status < 400 and location:
                detail = f"redirect to {shown(location)}"
            return Seed(
                url,
                record.number,
                outcome="http_error",
                detail=detail,
                final_url=url,
                status=message.status,
                fetched_at=_date(record),
                content_type=content_type,
            )
        body, damage = decode(
            message.payload,
            headers.get("Transfer-Encoding", ""),
            ",".join(headers.getall("Content-Encoding", ())),
            self._max_body,
        )
        return self._page(record, url, message.status, content_type, headers, body, damage)

    def _page(
        self,
        record: Record,
        url: str,
        status: int | None,
        content_type: str | None,
        headers: CIMultiDict[str],
        body: bytes,
        damage: str | None = None,
    ) -> Seed:
        """The page of a record; whether it is taken, and its body kept, is not decided here."""
        outcome, detail = "archived", damage
        if record.size > len(record.block) or len(body) > self._max_body:
            outcome, detail = "too_large", f"more than {self._max_body} bytes"
        elif cut := record.headers.get("warc-truncated"):
            detail = f"cut by the archiver: {shown(cut)}"
        return Seed(
            url,
            record.number,
            outcome=outcome,
            detail=detail,
            final_url=url,
            status=status,
            fetched_at=_date(record),
            content_type=content_type,
            etag=headers.get("ETag"),
            last_modified=headers.get("Last-Modified"),
            body=body,
            consent_headers=spoken_of_use(headers),
        )


def _parse(block: bytes) -> _Message | None:
    """The HTTP response in a block; None where there is none. Of a header given twice the first counts."""
    status = _STATUS_LINE.match(block)
    if status is None:
        return None
    end = _HEAD_END.search(block)
    head, payload = (block[: end.start()], block[end.end() :]) if end else (block, b"")
    lines = (line.decode("latin-1").partition(":") for line in head.splitlines()[1:])
    headers = headers_of((name.strip(), value.strip()) for name, colon, value in lines if colon)
    return _Message(int(status[1]), headers, payload)


def _date(record: Record) -> datetime | None:
    try:
        date = datetime.fromisoformat(record.headers.get("warc-date", ""))
        return date.replace(tzinfo=UTC) if date.tzinfo is None else date.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _key(url: str) -> int:
    try:
        return hash(canonical_url(url))
    except InvalidUrl:
        return hash(url)
