"""What becomes of a page, against a server on a real socket that misbehaves."""

from __future__ import annotations

import asyncio
import gzip
import zlib

import pytest

from quarry_dagster_tests.fetching import fetch
from quarry_dagster_tests.hostile_site import ARTICLE, Asked, HostileSite


class TestPages:
    def test_a_page_is_fetched_with_its_validators(self, hostile):
        url = hostile.page("/a", headers={"ETag": '"1"', "Last-Modified": "Mon, 01 Jan 2024 00:00:00 GMT"})
        response = fetch(url)
        assert (response.outcome, response.status, response.body) == ("fetched", 200, ARTICLE)
        assert (response.url, response.final_url) == (url, url)
        assert response.content_type == "text/html; charset=utf-8"
        assert (response.etag, response.last_modified) == ('"1"', "Mon, 01 Jan 2024 00:00:00 GMT")

    def test_we_say_who_we_are_and_send_no_secrets(self, hostile):
        hostile.page("/a", headers={"Set-Cookie": "a=b"})
        url = hostile.page("/b")
        for path in ("/a", "/b#part"):
            fetch(hostile.url(path).replace("//", "//user:secret@", 1), contact="mailto:me@example.com")
        for asked in hostile.requests:
            assert asked.headers["user-agent"] == "QuarryCore/0.2 (+mailto:me@example.com)"
            assert not {"cookie", "authorization", "referer"} & asked.headers.keys()
        assert [asked.path for asked in hostile.requests].count("/b") == 1 and url

    @pytest.mark.parametrize("url", ["", "nonsense", "ftp://h/x", "file:///etc/passwd", "http://", "http://h:99999/"])
    def test_what_is_no_url_is_said_to_be_none(self, url):
        response = fetch(url)
        assert (response.outcome, response.final_url, response.url) == ("invalid_url", None, url)

    @pytest.mark.parametrize("status", ["404 Not Found", "410 Gone", "500 Oops", "204 No Content", "304 Not Modified"])
    def test_a_status_without_a_page_is_an_http_error(self, hostile, status):
        response = fetch(hostile.page("/a", status, body=b""))
        assert (response.outcome, response.status) == ("http_error", int(status[:3]))
        assert response.detail and response.detail.startswith(status[:3])

    def test_a_host_that_does_not_exist_is_a_network_error(self):
        assert fetch("http://no-such-host.invalid/").outcome == "network_error"

    def test_a_closed_port_is_a_network_error(self):
        with HostileSite() as gone:
            url = gone.url("/")
        response = fetch(url)
        assert response.outcome == "network_error"
        assert response.detail and "cannot connect" in response.detail

    def test_a_server_without_tls_is_a_network_error(self, hostile):
        assert fetch(hostile.url("/").replace("http:", "https:")).outcome == "network_error"


class TestTypes:
    def test_a_pdf_is_not_read(self, hostile):
        response = fetch(hostile.page("/a.pdf", body=b"%PDF-1.7", type="application/pdf"))
        assert response.outcome == "unsupported_type"
        assert response.detail and "application/pdf" in response.detail

    @pytest.mark.parametrize("kind", ["text/html", None])
    def test_a_pdf_under_another_name_is_recognized(self, hostile, kind):
        assert fetch(hostile.page("/a", body=b"%PDF-1.7 ...", type=kind)).outcome == "unsupported_type"

    def test_html_without_a_type_is_fetched(self, hostile):
        assert fetch(hostile.page("/a", type=None)).body == ARTICLE


class TestRedirects:
    def test_redirects_are_followed_and_the_last_url_reported(self, hostile):
        hostile.page("/end", headers={"ETag": '"e"'})
        hostile.redirect("/2", "end#there")
        url = hostile.redirect("/1", hostile.url("/2"), "308 Permanent Redirect")
        response = fetch(url)
        assert (response.outcome, response.url, response.etag) == ("fetched", url, '"e"')
        assert response.final_url == hostile.url("/end")

    def test_a_redirect_loop_is_an_http_error(self, hostile):
        hostile.redirect("/2", "/1")
        response = fetch(hostile.redirect("/1", "/2"))
        assert (response.outcome, response.status) == ("http_error", 302)
        assert response.detail and "loop" in response.detail

    def test_too_many_redirects_are_an_http_error(self, hostile):
        for i in range(9):
            hostile.redirect(f"/{i}", f"/{i + 1}")
        response = fetch(hostile.url("/0"), max_redirects=3)
        assert response.outcome == "http_error" and len(hostile.requests) == 2 + 4
        assert response.detail and "more than 3 redirects" in response.detail

    @pytest.mark.parametrize(
        "to", ["file:///etc/passwd", "ftp://h/", "javascript:x", "http://", "http://[::bad/", "http://][@", ""]
    )
    def test_a_redirect_to_no_page_is_an_http_error(self, hostile, to):
        assert fetch(hostile.redirect("/a", to)).outcome == "http_error"

    def test_a_redirect_keeps_bytes_that_are_no_utf_8(self, hostile):
        hostile.page("/caf%E9")
        assert fetch(hostile.redirect("/a", "/caf\xe9")).final_url == hostile.url("/caf%E9")


class TestBrokenAnswers:
    @pytest.mark.parametrize(
        "data",
        [
            b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 500\r\n\r\n<p>too short",
            b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n<p>ab\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n<p>ab\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Encoding: br\r\n\r\n\x0b\x02\x00\xffabc\x03",
            b"HTTP/1.1 200 OK\r\nContent-Le",
            b"220 smtp.example.com ESMTP\r\n",
            b"\x16\x03\x01\x00\xff\x00\x00",
            b"",
        ],
        ids=["length", "cut-chunk", "bad-chunk", "no-brotli", "cut-header", "smtp", "binary", "nothing"],
    )
    def test_a_broken_answer_is_a_network_error(self, hostile, data):
        assert fetch(hostile.raw("/a", data)).outcome == "network_error"

    def test_a_gzip_body_that_ends_early_is_a_network_error(self, hostile):
        response = fetch(hostile.gzipped("/a", ARTICLE * 10, cut=20))
        assert response.outcome == "network_error"
        assert response.detail and "ends early" in response.detail

    def test_garbage_after_a_gzip_body_is_ignored_and_bounded(self, hostile):
        gzipped = {"Content-Encoding": "gzip"}
        some = hostile.page("/some", headers=gzipped, body=gzip.compress(ARTICLE) + b"garbage" * 50_000)
        assert fetch(some).body == ARTICLE

        async def handle(_: Asked, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Encoding: gzip\r\n\r\n")
            writer.write(gzip.compress(ARTICLE))
            while True:
                writer.write(b"garbage" * 10_000)
                await writer.drain()

        assert fetch(hostile.serve("/endless", handle)).outcome == "too_large"

    def test_gzip_and_both_kinds_of_deflate_are_unpacked(self, hostile):
        raw = zlib.compressobj(wbits=-15)
        bodies = {
            "gzip": gzip.compress(ARTICLE),
            "x-gzip": gzip.compress(ARTICLE[:9]) + gzip.compress(ARTICLE[9:]),
            "deflate": zlib.compress(ARTICLE),
            "Deflate": raw.compress(ARTICLE) + raw.flush(),
        }
        for coding, body in bodies.items():
            assert fetch(hostile.page(f"/{coding}", headers={"Content-Encoding": coding}, body=body)).body == ARTICLE
