"""One hop on the way to a page: what to ask, and what the answer means for the page.

Conditional requests: validators belong to the resource that gave the body. Where its final URL is known they are
sent to that URL alone. Where it is not they are sent on every hop, which RFC 9110 13.2.1 makes harmless for the
redirecting ones: a server ignores conditions unless it would answer 2xx.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import TYPE_CHECKING

from quarry_dagster.crawl.answers import Answers, no_page
from quarry_dagster.crawl.http import Client, read_body, redirect_target
from quarry_dagster.crawl.model import Failed, Request, Response
from quarry_dagster.crawl.waiting import retry_after

if TYPE_CHECKING:
    from aiohttp import ClientResponse
    from multidict import CIMultiDictProxy
    from yarl import URL

    from quarry_dagster.profiles.settings import Crawl

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_TRANSIENT = frozenset({429, 502, 503, 504})


@dataclass(slots=True, eq=False)
class Job:
    """A request under way: where it stands, and what it has used up."""

    request: Request
    start: URL
    url: URL = field(init=False)
    """The hop to be fetched next."""
    seen: list[URL] = field(default_factory=list)
    """Hops fetched in this try."""
    spent: float = 0.0
    """Seconds of fetching in this try; waiting for one's turn does not count."""
    tries: int = 0
    """Tries that failed."""

    def __post_init__(self) -> None:
        self.url = self.start

    @property
    def hops(self) -> tuple[str, ...]:
        """The URLs that redirected."""
        return tuple(map(str, self.seen))

    def start_over(self) -> None:
        self.tries += 1
        self.url = self.start
        self.seen.clear()
        self.spent = 0.0


class Pages:
    """Fetches hops by the crawl's settings."""

    def __init__(self, client: Client, settings: Crawl, *, any_type: bool) -> None:
        self._client = client
        self._answers = Answers(settings)
        self._max_redirects = settings.max_redirects
        self._any_type = any_type
        self._keeps_headers = settings.write_warc

    async def fetch(self, job: Job, *, keep: bool) -> Response | URL:
        """The page, or the next hop. `keep`: the connection will soon be wanted again.

        Raises:
            Failed: there is no body; the exception says why.
        """
        url, request = job.url, job.request
        conditions = _conditions(request, url)
        async with self._client.open(url, conditions, keep=keep) as reply:
            status = reply.status
            if status in _REDIRECTS:
                target = redirect_target(url, reply)
                job.seen.append(url)
                if target in job.seen:
                    raise Failed("http_error", f"redirect loop at {target}", status=status)
                if len(job.seen) > self._max_redirects:
                    raise Failed("http_error", f"more than {self._max_redirects} redirects", status=status)
                return target
            found = reply.headers
            if status == 304 and conditions:
                if refused := self._answers.opted_out(found):
                    raise refused
                return Response(
                    request.url,
                    str(url),
                    "not_modified",
                    None,
                    status,
                    datetime.now(UTC),
                    _text(found, "Content-Type"),
                    _text(found, "ETag") or request.etag,
                    _text(found, "Last-Modified") or request.last_modified,
                    headers=self._headers(reply),
                    hops=job.hops,
                )
            if why := no_page(status):
                raise Failed(
                    "http_error",
                    why,
                    status=status,
                    transient=status in _TRANSIENT,
                    retry_after=retry_after(found.get("Retry-After")) if status in (429, 503) else None,
                )
            try:
                body = await self._read(reply, lists=request.lists)
            except Failed as e:
                e.status, e.etag, e.last_modified = status, _text(found, "ETag"), _text(found, "Last-Modified")
                raise
        return Response(
            request.url,
            str(url),
            "fetched",
            None,
            status,
            datetime.now(UTC),
            _text(found, "Content-Type"),
            _text(found, "ETag"),
            _text(found, "Last-Modified"),
            body,
            headers=self._headers(reply),
            hops=job.hops,
        )

    def _headers(self, reply: ClientResponse) -> tuple[tuple[str, str], ...]:
        if not self._keeps_headers:
            return ()
        return tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in reply.raw_headers)

    async def _read(self, reply: ClientResponse, *, lists: bool) -> bytes:
        """The body of a page that is there, unless it is refused."""
        answers, content_type = self._answers, _text(reply.headers, "Content-Type")
        if self._any_type:
            refused = answers.opted_out(reply.headers)
        else:
            refused = answers.refused_head(reply.headers, content_type, lists=lists)
        if refused:
            raise refused
        body = await read_body(reply, answers.limit)
        if not self._any_type and (refused := answers.refused_body(body, content_type, lists=lists)):
            raise refused
        return body


def _text(headers: CIMultiDictProxy[str], name: str) -> str | None:
    """A header as a table can keep it: bytes that are no UTF-8 arrive as lone surrogates, which no table takes."""
    value = headers.get(name)
    return None if value is None else value.encode(errors="replace").decode()


def _conditions(request: Request, url: URL) -> dict[str, str]:
    if not request.is_conditional or (request.final_url and request.final_url != str(url)):
        return {}
    conditions = {}
    if request.etag:
        conditions["If-None-Match"] = request.etag
    if request.last_modified:
        conditions["If-Modified-Since"] = request.last_modified
    if not conditions and request.fetched_at:
        # RFC 9110 13.1.3: without a Last-Modified, the time the body was received serves as well.
        at = request.fetched_at.astimezone(UTC).replace(microsecond=0)
        conditions["If-Modified-Since"] = format_datetime(at, usegmt=True)
    return conditions
