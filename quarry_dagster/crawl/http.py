"""One HTTP exchange: connect (by the address rule), send, read a bounded body.

All of aiohttp is behind this module. Whatever goes wrong leaves it as `Failed`; what a status or a header means
for a page is decided elsewhere.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING

from yarl import URL

from quarry_dagster.crawl.addresses import AddressBlocked, AddressRule
from quarry_dagster.crawl.coding import ACCEPT_ENCODING, BodyBroken, decoder
from quarry_dagster.crawl.media_types import ACCEPT
from quarry_dagster.crawl.model import Failed
from quarry_dagster.errors import InvalidUrl
from quarry_dagster.wire import wire_url

if TYPE_CHECKING:
    from aiohttp import ClientError, ClientResponse, ClientSession, TCPConnector

    from quarry_dagster.profiles.settings import Crawl

_KEEP_ALIVE = 5.0
"""Seconds an idle connection is kept."""
_LONGEST_HEADER = 16 * 1024
_MOST_HEADERS = 256
_NONE: Mapping[str, str] = {}


def parse_url(text: str, base: URL | None = None) -> URL:
    """The URL to ask for, as :func:`wire_url` has it.

    Raises:
        InvalidUrl: not an http(s) URL.
    """
    try:
        return URL(wire_url(text, str(base) if base else None), encoded=True)  # else yarl would write it anew
    except ValueError as e:
        raise InvalidUrl(f"not a URL: {e}") from e


def status_text(status: int) -> str:
    """Number and standard phrase; a server's own phrase may say anything."""
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def redirect_target(url: URL, reply: ClientResponse) -> URL:
    """Where a redirect leads.

    Raises:
        Failed: nowhere that can be fetched.
    """
    status = reply.status
    location = reply.headers.get("Location")
    if not location:
        raise Failed("http_error", f"{status_text(status)} without a Location", status=status)
    try:
        return parse_url(location, url)
    except InvalidUrl as e:
        raise Failed("http_error", f"{status_text(status)} to {location[:80]!r}: {e}", status=status) from e


class Client:
    """A session with the crawl's headers and rules. Made by `open_client`."""

    def __init__(self, session: ClientSession) -> None:
        self._session = session

    @asynccontextmanager
    async def open(
        self, url: URL, headers: Mapping[str, str] = _NONE, *, keep: bool = True
    ) -> AsyncIterator[ClientResponse]:
        """Send a GET and give the answer once its headers are here; redirects are the caller's.

        `keep`: the connection will soon be wanted again.

        Raises:
            Failed: also for what goes wrong while the caller reads the body inside the context.
        """
        import aiohttp

        if not keep:
            headers = {**headers, "Connection": "close"}
        try:
            async with self._session.get(url, headers=headers, allow_redirects=False) as reply:
                yield reply
        except AddressBlocked as e:
            raise Failed("blocked_address", str(e)) from e
        except BodyBroken as e:
            raise Failed("network_error", str(e)) from e
        except aiohttp.InvalidURL as e:
            raise Failed("invalid_url", f"not a URL: {e}") from e
        except aiohttp.ClientError as e:
            raise _failed(e) from e
        except OSError as e:
            raise Failed("network_error", _reason(e), transient=True) from e
        except ValueError as e:  # a host name that IDNA cannot encode, a header that is no text
            raise Failed("network_error", str(e)) from e


async def read_body(reply: ClientResponse, limit: int, *, cut: bool = False) -> bytes:
    """The decompressed body, `limit` bytes at most.

    Raises:
        Failed: there is more than `limit`, and it is not to be `cut` off there.
        BodyBroken: it began as its Content-Encoding says, and is damaged or ends early.
    """
    declared = reply.content_length
    if declared is not None and declared > limit and not cut:
        raise Failed("too_large", f"Content-Length {declared} is more than {limit} bytes", status=reply.status)
    decode = decoder(reply.headers.get("Content-Encoding"))
    parts: list[bytes] = []
    size = received = 0
    async for chunk in reply.content.iter_any():
        part = decode.feed(chunk, limit - size) if chunk else b""
        parts.append(part)
        size += len(part)
        received += len(chunk)
        if size > limit or received > 2 * limit:  # the latter: a coded body that makes nothing of much
            if cut:
                return b"".join(parts)[:limit]
            raise Failed("too_large", f"the body is more than {limit} bytes", status=reply.status)
    if last := decode.end(limit - size):
        parts.append(last)
    if size + len(last) > limit and not cut:
        raise Failed("too_large", f"the body is more than {limit} bytes", status=reply.status)
    return parts[0] if len(parts) == 1 else b"".join(parts)[: limit if cut else None]


@asynccontextmanager
async def open_client(settings: Crawl, rule: AddressRule) -> AsyncIterator[Client]:
    """A client for the running event loop."""
    import aiohttp

    contact = f" (+{settings.contact})" if settings.contact else ""
    async with aiohttp.ClientSession(
        connector=_connector(rule),
        headers={
            "User-Agent": settings.user_agent + contact,
            "Accept": ACCEPT + ",*/*;q=0.1",
            "Accept-Encoding": ACCEPT_ENCODING,
        },
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None),  # the engine's: one budget over all hops of a page
        auto_decompress=False,
        trust_env=False,  # a proxy would connect where the address rule does not reach
        max_line_size=_LONGEST_HEADER,
        max_field_size=_LONGEST_HEADER,
        max_headers=_MOST_HEADERS,
    ) as session:
        yield Client(session)


def _connector(rule: AddressRule) -> TCPConnector:
    import aiohttp
    from aiohttp.abc import ResolveResult

    class Resolver(aiohttp.ThreadedResolver):
        """Refuses a name if any of its addresses is refused: the answer must not depend on their order."""

        async def resolve(
            self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
        ) -> list[ResolveResult]:
            found = await super().resolve(host, port, family)
            for answer in found:
                rule.check(answer["host"])
            return found

    def checked_socket(info: tuple) -> socket.socket:
        # The last moment before connecting: literal addresses never saw the resolver, cached names saw it earlier.
        family, kind, protocol, _, address = info
        rule.check(address[0])
        return socket.socket(family=family, type=kind, proto=protocol)

    return aiohttp.TCPConnector(
        resolver=Resolver(),
        socket_factory=checked_socket,
        limit=0,  # the engine's schedule bounds connections
        keepalive_timeout=_KEEP_ALIVE,
        ttl_dns_cache=60,
    )


def _failed(error: ClientError) -> Failed:
    import aiohttp

    match error:
        case aiohttp.ClientConnectorDNSError():
            cause = error.os_error
            gone = isinstance(cause, socket.gaierror) and cause.errno in (socket.EAI_NONAME, socket.EAI_FAIL)
            return Failed("network_error", f"no address for {error.host}: {_reason(cause)}", transient=not gone)
        case aiohttp.ClientConnectorCertificateError():
            cause = error.certificate_error
            why = cause.verify_message if isinstance(cause, ssl.SSLCertVerificationError) else str(cause)
            return Failed("network_error", f"TLS certificate refused: {why}")
        case aiohttp.ClientConnectorSSLError():
            return Failed("network_error", f"no TLS connection: {_reason(error.os_error)}")
        case aiohttp.ClientConnectorError():
            return Failed("network_error", f"cannot connect: {_reason(error.os_error)}", transient=True)
        case aiohttp.ServerDisconnectedError():
            return Failed("network_error", "the server closed the connection without an answer", transient=True)
        case aiohttp.ClientPayloadError():
            return Failed("network_error", "the body is broken or ends early", transient=True)
        case aiohttp.ClientResponseError():
            return Failed("network_error", f"the answer is not valid HTTP: {error.message}")
        case aiohttp.ClientOSError():
            return Failed("network_error", f"connection lost: {_reason(error)}", transient=True)
    return Failed("network_error", f"{type(error).__name__}: {error}", transient=True)


def _reason(error: OSError) -> str:
    return error.strerror or str(error) or type(error).__name__
