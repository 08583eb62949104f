"""Fetching pages from strangers' servers: politely, safely, with consent, and with one answer for each request.

    for response in crawl([Request("https://example.com/")], Crawl()):
        ...

Here belongs everything between a URL and its bytes: robots.txt, pace, the address rule, limits, conditional
requests, opt-outs. What is in the bytes belongs to `extract`, what is kept of them to `store`.

`model` has the records, `stream` the iterator, `engine` the event loop, `hosts` the order and pace, `page` one hop,
`http` one exchange, `answers` what one is worth; `robots`, `tdmrep`, `addresses`, `consent`, `media_types`, `coding`
and `waiting` a rule each.
`origins` keeps what origins say, `journal` what a crawl has got, should it be killed.
This module imports no HTTP library: that happens on the first crawl.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from quarry_dagster.crawl.addresses import Network, allowed_networks
from quarry_dagster.crawl.model import Request, Response
from quarry_dagster.errors import FetchError

if TYPE_CHECKING:
    from quarry_dagster.profiles.settings import Crawl

__all__ = ["Request", "Response", "allowed_networks", "crawl", "fetch_one"]

_LARGEST_SITEMAP_MB = 50.0  # sitemaps.org: 50 MiB uncompressed


def crawl(
    requests: Iterable[Request],
    settings: Crawl,
    *,
    allow_addresses: Sequence[Network] = (),
    origins: Path | None = None,
) -> Iterator[Response]:
    """Exactly one `Response` for each `Request`, in the order they complete.

    Never raises for what a server does. The input is read lazily, a few thousand requests ahead, in the caller's
    thread. In memory are the bodies under way, `settings.concurrency` at most, and 4 MiB that wait for the caller.
    Closing the iterator cancels what is under way. It may be called in a thread that runs an event loop.

    Args:
        allow_addresses: networks that may be crawled although they are not public.
        origins: a file in which what origins say (robots.txt, tdmrep.json) is kept for a day, for other crawls.
    """
    from quarry_dagster.crawl.stream import stream

    return stream(requests, settings, allow_addresses, origins=origins)


def fetch_one(url: str, settings: Crawl, *, allow_addresses: Sequence[Network] = ()) -> bytes:
    """The body of one document of any type, by the same policy: a sitemap, unpacked if it is a `.gz`.

    A sitemap may be larger than a page, and `noindex` on one says nothing about the pages it lists.

    Raises:
        FetchError: there is no body; the message says why.
    """
    from quarry_dagster.crawl.stream import stream

    megabytes = max(settings.max_body_mb, _LARGEST_SITEMAP_MB)
    settings = settings.model_copy(update={"max_body_mb": megabytes, "obey_noindex": False})
    (response,) = stream([Request(url)], settings, allow_addresses, any_type=True)
    if response.body is None:
        raise FetchError(f"{url}: {response.outcome}: {response.detail}")
    return _unpacked(url, response.body, int(megabytes * 2**20))


def _unpacked(url: str, body: bytes, limit: int) -> bytes:
    from quarry_dagster.crawl.coding import decode

    out, damage = decode(body, "gzip", limit)
    if damage:
        raise FetchError(f"{url}: {damage.partition(';')[0]}")
    if len(out) > limit:
        raise FetchError(f"{url}: unpacked it is more than {limit} bytes")
    return out
