"""A web server on a loopback socket that does what bad, broken and unlucky servers do.

Written on bare asyncio streams: an HTTP library would not let it break HTTP. Every connection is closed after one
answer, unless a page says otherwise by itself.

    with HostileSite() as site:
        site.page("/a", body=b"<p>hello</p>")
        ... crawl site.url("/a") ...
        site.asked("/a")   # the headers of each request for it
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import ssl
import threading
import time
import zlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Self

Handler = Callable[["Asked", asyncio.StreamWriter], Awaitable[None]]

ARTICLE = b"<html><head><title>A page</title></head><body><p>Text of a page.</p></body></html>"


@dataclass
class Asked:
    """One request as it arrived."""

    path: str
    headers: dict[str, str]
    """Names in lower case."""
    at: float = field(default_factory=time.monotonic)


def answer(status: str = "200 OK", headers: dict[str, str] | None = None, body: bytes = b"") -> bytes:
    """A whole and correct answer."""
    all_headers = {"Content-Length": str(len(body)), "Connection": "close"} | (headers or {})
    head = "".join(f"{name}: {value}\r\n" for name, value in all_headers.items())
    return f"HTTP/1.1 {status}\r\n{head}\r\n".encode("latin-1") + body


class HostileSite:
    """A server on a port of its own; a page that was not added is a 404, robots.txt included."""

    def __init__(self, host: str = "127.0.0.1", *, tls: ssl.SSLContext | None = None) -> None:
        self.host = host
        self._tls = tls
        self.requests: list[Asked] = []
        self.most_at_once = 0
        self._at_once = 0
        self._handlers: dict[str, Handler] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self._start(), self._loop).result()
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def url(self, path: str) -> str:
        return f"http://{self.host}:{self.port}{path}"

    def asked(self, path: str) -> list[Asked]:
        return [request for request in self.requests if request.path == path]

    def page(
        self,
        path: str,
        status: str = "200 OK",
        headers: dict[str, str] | None = None,
        body: bytes = ARTICLE,
        *,
        type: str | None = "text/html; charset=utf-8",
        then: bytes | None = None,
        after: float = 0.0,
    ) -> str:
        """Serve this at `path`; after its first request serve `then`. Returns the URL."""
        first = answer(status, ({"Content-Type": type} if type else {}) | (headers or {}), body)

        async def handle(asked: Asked, writer: asyncio.StreamWriter) -> None:
            if after:
                await asyncio.sleep(after)
            again = then is not None and len(self.asked(asked.path)) > 1
            writer.write(then if again and then else first)

        return self.serve(path, handle)

    def robots(self, text: str, status: str = "200 OK", headers: dict[str, str] | None = None) -> None:
        self.page("/robots.txt", status, headers, text.encode(), type="text/plain")

    def redirect(self, path: str, to: str, status: str = "302 Found") -> str:
        return self.page(path, status, {"Location": to}, b"")

    def raw(self, path: str, data: bytes) -> str:
        """Write these bytes and close."""

        async def handle(_: Asked, writer: asyncio.StreamWriter) -> None:
            writer.write(data)

        return self.serve(path, handle)

    def dribble(self, path: str, at_once: bytes, slowly: bytes, every: float) -> str:
        """A slow-loris: after a quick start one byte at a time."""

        async def handle(_: Asked, writer: asyncio.StreamWriter) -> None:
            writer.write(at_once)
            for byte in slowly:
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(every)

        return self.serve(path, handle)

    def endless(self, path: str) -> str:
        """A body without a length that does not end."""

        async def handle(_: Asked, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n")
            while True:
                writer.write(b"<p>and so on</p>" * 4096)
                await writer.drain()

        return self.serve(path, handle)

    def bomb(self, path: str, megabytes: int, coding: str = "gzip") -> str:
        """A body that unpacks to a thousand times its size."""
        packer = zlib.compressobj(9, wbits=31 if coding == "gzip" else 15)
        block = b" " * 2**20
        packed = b"".join([packer.compress(block) for _ in range(megabytes)] + [packer.flush()])
        return self.page(path, headers={"Content-Encoding": coding}, body=packed)

    def gzipped(self, path: str, body: bytes, *, cut: int = 0) -> str:
        """A gzip body; its last `cut` bytes are missing though Content-Length agrees."""
        packed = gzip.compress(body)
        return self.page(path, headers={"Content-Encoding": "gzip"}, body=packed[: len(packed) - cut])

    def serve(self, path: str, handler: Handler) -> str:
        self._handlers[path] = handler
        return self.url(path)

    async def _start(self) -> asyncio.Server:
        return await asyncio.start_server(self._connected, self.host, 0, ssl=self._tls)

    async def _end(self) -> None:
        self._server.close()
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        await self._converse(reader, writer)
        self._at_once -= 1
        with contextlib.suppress(ConnectionError, asyncio.CancelledError, ssl.SSLError):
            writer.close()
            await writer.wait_closed()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # The client may hang up at any moment: that is what many of the tests are about.
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            first = await reader.readexactly(1)
            if not first.isalpha():  # TLS is not spoken here
                writer.write(answer("400 Bad Request"))
                return
            head = first + await reader.readuntil(b"\r\n\r\n")
            request, *lines = head.decode("latin-1").split("\r\n")
            headers = {
                name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)
            }
            asked = Asked(request.split(" ")[1], headers)
            self.requests.append(asked)
            handler = self._handlers.get(asked.path)
            if handler:
                await handler(asked, writer)
            else:
                writer.write(answer("404 Not Found", body=b"nothing here"))
            await writer.drain()
