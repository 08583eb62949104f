"""A small website on loopback that tests change between crawls, and that remembers what it was asked."""

from __future__ import annotations

import hashlib
import sys
import threading
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_ABOUT_THE_SITE = ("/robots.txt", "/.well-known/tdmrep.json")
_NAV = "<nav><a href='/'>Home</a> <a href='/about'>About</a> <a href='/contact'>Contact</a></nav>"


def html(title: str, text: str) -> bytes:
    """A page with some chrome around a text; paragraphs are separated by blank lines."""
    body = "".join(f"<p>{p}</p>" for p in text.split("\n\n"))
    return (
        f"<!doctype html><html lang='en'><head><title>{title}</title><meta charset='utf-8'></head><body>{_NAV}"
        f"<main><article><h1>{title}</h1>{body}</article></main><footer>All rights reserved.</footer></body></html>"
    ).encode()


@dataclass
class Site:
    """Pages by path: bytes are served with an ETag, an int is a status, a str is a redirect to that path."""

    port: int = 0
    pages: dict[str, bytes | int | str] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)  # Content-Type by path, where it is not HTML
    answers: Counter[int] = field(default_factory=Counter)  # statuses of page requests since the last reset
    sent: int = 0  # bytes of bodies, without headers, since the last reset
    asked: list[str] = field(default_factory=list)  # paths, without robots.txt and tdmrep.json

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def reset(self) -> None:
        self.sent = 0
        self.answers.clear()
        self.asked.clear()


class Server(ThreadingHTTPServer):
    """Serves a :class:`Site` on a free port of 127.0.0.1 inside a `with` block."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.site = Site(port=self.server_address[1])

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that is killed is what some tests are about."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)  # pyright: ignore[reportArgumentType]

    def __enter__(self) -> Server:
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = self.path
        if path in _ABOUT_THE_SITE:
            return self._answer(404, b"")
        site = self._site
        site.asked.append(path)
        page = site.pages.get(path, 404)
        if isinstance(page, int):
            return self._answer(page, b"no page")
        if isinstance(page, str):
            return self._answer(302, b"", Location=page)
        etag = f'"{hashlib.md5(page, usedforsecurity=False).hexdigest()}"'
        if self.headers.get("If-None-Match") == etag:
            return self._answer(304, b"", ETag=etag)
        return self._answer(200, page, ETag=etag)

    @property
    def _site(self) -> Site:
        assert isinstance(self.server, Server)
        return self.server.site

    def _answer(self, status: int, body: bytes, **headers: str) -> None:
        if self.path not in _ABOUT_THE_SITE:
            self._site.answers[status] += 1
            self._site.sent += len(body)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status != 304:
            self.send_header("Content-Type", self._site.types.get(self.path, "text/html; charset=utf-8"))
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Tests read `Site.asked` instead."""
