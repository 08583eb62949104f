"""What goes into a crawl and what comes out of it, and how a page's failure travels inside.

Here belong the records that callers see and the one exception the crawl's own modules raise for a page.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from quarry_dagster.wire import without_credentials


@dataclass(frozen=True, slots=True)
class Request:
    """A page to fetch, and what is known of the body we already have."""

    url: str
    etag: str | None = None
    last_modified: str | None = None
    fetched_at: datetime | None = None
    """When that body was obtained; None: we have none."""
    final_url: str | None = None
    """Where that body came from, after redirects; None: not known."""
    lists: bool = False
    """Feeds and packed sitemaps are wanted too: they are `fetched`, though no pages."""

    @property
    def is_conditional(self) -> bool:
        return bool(self.etag or self.last_modified or self.fetched_at)


@dataclass(frozen=True, slots=True)
class Response:
    """What became of one request: its `outcome` is one of `store.schemas.FETCH_OUTCOMES`."""

    url: str
    final_url: str | None
    """The last URL that was tried; None where the request's URL is no URL."""
    outcome: str
    detail: str | None
    """Why there is no body; None with `fetched` and `not_modified`."""
    status: int | None
    fetched_at: datetime
    content_type: str | None = None
    etag: str | None = None
    last_modified: str | None = None
    body: bytes | None = None
    """Only with `fetched`; after `not_modified` the caller has it."""
    transient: bool = False
    """The failure may pass: it says nothing about the page."""
    headers: tuple[tuple[str, str], ...] = ()
    """As they came, with `fetched` and `not_modified`, where `Crawl.write_warc` is set."""
    hops: tuple[str, ...] = ()
    """The URLs that redirected on the way, in their order; not kept beyond the crawl."""


class Failed(Exception):
    """A page, or one hop on the way to it, has no body. Never leaves the crawl: it becomes a `Response`."""

    def __init__(
        self,
        outcome: str,
        detail: str,
        *,
        status: int | None = None,
        transient: bool = False,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(detail)
        self.outcome = outcome
        self.detail = shorten(detail)
        self.status = status
        self.transient = transient
        """A further try may succeed."""
        self.retry_after = retry_after
        """Seconds the server asks to wait."""
        self.etag: str | None = None
        self.last_modified: str | None = None
        """Validators of a page that was there and was refused: while it stays the same, so does the refusal."""

    def response(self, request: Request, final_url: str | None, hops: tuple[str, ...] = ()) -> Response:
        return Response(
            request.url,
            final_url,
            self.outcome,
            self.detail,
            self.status,
            datetime.now(UTC),
            etag=self.etag,
            last_modified=self.last_modified,
            transient=self.transient,
            hops=hops,
        )


def shorten(text: str, limit: int = 200) -> str:
    """One line for a person: what servers and libraries say may be long and contain line breaks, and passwords."""
    text = without_credentials(" ".join(text.split()))
    return text if len(text) <= limit else text[: limit - 1] + "…"
