"""One of each kind of hostile server, with what docs/crawling.md says becomes of its page."""

from __future__ import annotations

import asyncio
import gzip
import ssl
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from quarry_dagster_tests.hostile_site import ARTICLE, Asked, HostileSite, answer

MAX_BODY_MB = 4
TIMEOUT = 3.0


@dataclass(frozen=True)
class Case:
    """A page of a hostile server."""

    name: str
    url: str
    outcome: str
    inside: HostileSite | None = None
    """A server that must not be reached."""
    late: HostileSite | None = None
    """A server that asks for patience."""


def hostile_cases(stack: ExitStack) -> list[Case]:
    """Start the servers, on 127.0.0.1, until the stack ends."""

    def server(host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> HostileSite:
        return stack.enter_context(HostileSite(host, tls=tls))

    site, inside = server(), server("127.0.0.2")
    cases = [
        Case("gzip bomb of 400 MB", site.bomb("/bomb", 400), "too_large"),
        Case("endless body", site.endless("/endless"), "too_large"),
        Case("slow-loris, headers", site.dribble("/slow-head", b"", answer(body=ARTICLE), 0.3), "timeout"),
        Case("slow-loris, body", site.dribble("/slow-body", *_halves(), 0.3), "timeout"),
        Case("redirect loop", _loop(site), "http_error"),
        Case("redirect to 127.0.0.2", site.redirect("/in", inside.page("/secret")), "blocked_address", inside),
        Case("redirect to 169.254.169.254", site.redirect("/meta", "http://169.254.169.254/x"), "blocked_address"),
        Case("broken chunk", site.raw("/chunk", _HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"), "network_error"),
        Case("wrong length", site.raw("/length", _HEAD + b"Content-Length: 500\r\n\r\n<p>short"), "network_error"),
        Case("half-closed connection", site.serve("/half", _half_close), "network_error"),
        Case("bad TLS certificate", server(tls=_self_signed()).page("/").replace("http:", "https:"), "network_error"),
        Case("wrong charset", site.page("/charset", body="<p>déjà".encode("cp1252")), "fetched"),
        Case("a 10 MB line of nested divs", site.page("/divs", body=b"<div>" * 2_000_000), "too_large"),
        Case("PDF that says it is HTML", site.page("/pdf", body=b"%PDF-1.7\n" + ARTICLE), "unsupported_type"),
        Case("gzip, and does not say so", site.page("/zipped", body=gzip.compress(ARTICLE)), "unsupported_type"),
        Case("plain HTML, and says it is gzip", site.page("/lie", headers={"Content-Encoding": "gzip"}), "fetched"),
        Case("gzip that ends early", site.gzipped("/early", ARTICLE * 10, cut=20), "network_error"),
        Case("noai in a header", site.page("/noai", headers={"X-Robots-Tag": "noai"}), "opted_out"),
    ]
    late = server()
    again = answer(headers={"Content-Type": "text/html"}, body=ARTICLE)
    url = late.page("/busy", "429 Too Many Requests", {"Retry-After": "2"}, b"", then=again)
    cases.append(Case("429, Retry-After: 2", url, "fetched", late=late))
    giant = "User-agent: *\nDisallow: /\n" + "Allow: /a\n" * 2_000_000
    for name, status, text, outcome in (
        ("robots.txt 500", "500 Oops", "", "robots_disallowed"),
        ("robots.txt 404", "404 Not Found", "User-agent: *\nDisallow: /", "fetched"),
        ("robots.txt of 20 MB", "200 OK", giant, "robots_disallowed"),
    ):
        origin = server()
        origin.robots(text, status)
        cases.append(Case(name, origin.page("/page"), outcome))
    reserved = server()
    rules = b'[{"location": "/", "tdm-reservation": 1}]'
    reserved.page("/.well-known/tdmrep.json", body=rules, type="application/json")
    cases.append(Case("tdmrep.json reserves all", reserved.page("/page"), "opted_out"))
    return cases


_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n"


def _halves() -> tuple[bytes, bytes]:
    head, gap, body = answer(headers={"Content-Type": "text/html"}, body=ARTICLE).partition(b"\r\n\r\n")
    return head + gap, body


def _loop(site: HostileSite) -> str:
    site.redirect("/loop2", "/loop1")
    return site.redirect("/loop1", "/loop2")


async def _half_close(_: Asked, writer: asyncio.StreamWriter) -> None:
    """Say that nothing more will come in the middle of a body, and leave the connection open."""
    writer.write(_HEAD + b"Content-Length: 500\r\n\r\n<p>and")
    writer.write_eof()
    await asyncio.sleep(60)


def _self_signed() -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    plain = serialization.NoEncryption()
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    with tempfile.NamedTemporaryFile() as file:
        Path(file.name).write_bytes(
            key.private_bytes(encoding, form, plain) + certificate.public_bytes(serialization.Encoding.PEM)
        )
        context.load_cert_chain(file.name)
    return context
