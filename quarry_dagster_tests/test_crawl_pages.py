"""What becomes of a page, against a server on a real socket that misbehaves."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
import sqlite3
import subprocess
import sys
import time
import zlib
from datetime import UTC, datetime
from itertools import pairwise

import pytest

from quarry_dagster.crawl import (
    FetchError,
    Request,
    Response,
    allowed_networks,
    crawl,
    fetch_one,
    origins,
    tdmrep,
)
from quarry_dagster.profiles import Crawl
from quarry_dagster.store.schemas import FETCH_OUTCOMES
from quarry_dagster_tests.hostile_site import ARTICLE, Asked, HostileSite, answer

LOOPBACK = allowed_networks("127.0.0.1/32")
SETTINGS = Crawl(delay_per_host=0, concurrency_per_host=16, retries=0, page_timeout=5, max_body_mb=1)


@pytest.fixture
def site():
    with HostileSite() as site:
        yield site


def fetch(request: str | Request, **changed: object) -> Response:
    request = Request(request) if isinstance(request, str) else request
    (response,) = crawl([request], SETTINGS.model_copy(update=changed), allow_addresses=LOOPBACK)
    assert response.outcome in FETCH_OUTCOMES
    assert response.fetched_at.tzinfo is UTC
    assert (response.body is not None) == (response.outcome == "fetched")
    assert bool(response.detail) == (response.outcome not in ("fetched", "not_modified"))
    return response


class TestPages:
    def test_a_page_is_fetched_with_its_validators(self, site):
        url = site.page("/a", headers={"ETag": '"1"', "Last-Modified": "Mon, 01 Jan 2024 00:00:00 GMT"})
        response = fetch(url)
        assert (response.outcome, response.status, response.body) == ("fetched", 200, ARTICLE)
        assert (response.url, response.final_url) == (url, url)
        assert response.content_type == "text/html; charset=utf-8"
        assert (response.etag, response.last_modified) == ('"1"', "Mon, 01 Jan 2024 00:00:00 GMT")

    def test_we_say_who_we_are_and_send_no_secrets(self, site):
        site.page("/a", headers={"Set-Cookie": "a=b"})
        url = site.page("/b")
        for path in ("/a", "/b#part"):
            fetch(site.url(path).replace("//", "//user:secret@", 1), contact="mailto:me@example.com")
        for asked in site.requests:
            assert asked.headers["user-agent"] == "QuarryCore/0.1 (+mailto:me@example.com)"
            assert not {"cookie", "authorization", "referer"} & asked.headers.keys()
        assert [asked.path for asked in site.requests].count("/b") == 1 and url

    @pytest.mark.parametrize("url", ["", "nonsense", "ftp://h/x", "file:///etc/passwd", "http://", "http://h:99999/"])
    def test_what_is_no_url_is_said_to_be_none(self, url):
        response = fetch(url)
        assert (response.outcome, response.final_url, response.url) == ("invalid_url", None, url)

    @pytest.mark.parametrize("status", ["404 Not Found", "410 Gone", "500 Oops", "204 No Content", "304 Not Modified"])
    def test_a_status_without_a_page_is_an_http_error(self, site, status):
        response = fetch(site.page("/a", status, body=b""))
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

    def test_a_server_without_tls_is_a_network_error(self, site):
        assert fetch(site.url("/").replace("http:", "https:")).outcome == "network_error"


class TestLimits:
    @pytest.mark.parametrize("coding", ["gzip", "deflate"])
    def test_a_bomb_is_cut_off(self, site, coding):
        assert fetch(site.bomb("/bomb", 20, coding)).outcome == "too_large"

    def test_a_bomb_of_400_mb_takes_little_memory(self, site):
        url = site.bomb("/bomb", 400)
        script = (
            "import resource, sys\n"
            "from quarry_dagster.crawl import *\n"
            "from quarry_dagster.profiles import Crawl\n"
            "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024\n"
            "net = allowed_networks('127.0.0.1/32')\n"
            "settings = Crawl(delay_per_host=0)\n"
            "list(crawl([Request(sys.argv[1] + 'x')], settings, allow_addresses=net))\n"
            "before = peak()\n"
            "(r,) = crawl([Request(sys.argv[1])], settings, allow_addresses=net)\n"
            "print(r.outcome, int(peak() - before))\n"
        )
        done = subprocess.run([sys.executable, "-c", script, url], capture_output=True, text=True, check=True)
        outcome, grown = done.stdout.split()
        assert outcome == "too_large"
        assert int(grown) < 40

    def test_an_endless_body_is_cut_off(self, site):
        assert fetch(site.endless("/endless")).outcome == "too_large"

    def test_a_length_that_is_too_large_is_not_read(self, site):
        url = site.raw("/a", b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 99999999\r\n\r\n")
        assert fetch(url).outcome == "too_large"

    def test_a_body_of_the_limit_passes(self, site):
        body = b"x" * 2**20
        assert fetch(site.page("/a", body=body, type="text/plain")).body == body
        assert fetch(site.page("/b", body=body + b"x", type="text/plain")).outcome == "too_large"

    @pytest.mark.parametrize("part", ["headers", "body"])
    def test_a_slow_loris_times_out(self, site, part):
        head, gap, body = answer(headers={"Content-Type": "text/html"}, body=ARTICLE).partition(b"\r\n\r\n")
        quick, slow = (b"", head) if part == "headers" else (head + gap, body)
        url = site.dribble("/slow", quick, slow, every=0.05)
        started = time.monotonic()
        response = fetch(url, page_timeout=0.8)
        assert response.outcome == "timeout"
        assert time.monotonic() - started < 2

    def test_the_timeout_is_for_all_hops_together(self, site):
        site.page("/end", after=0.4)
        site.page("/2", "302 Found", {"Location": "/end"}, b"", after=0.4)
        url = site.page("/1", "302 Found", {"Location": "/2"}, b"", after=0.4)
        response = fetch(url, page_timeout=1)
        assert response.outcome == "timeout" and response.final_url == site.url("/end")

    def test_headers_without_end_are_a_network_error(self, site):
        url = site.raw("/a", b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 1_000_000 + b"\r\n\r\n")
        assert fetch(url).outcome == "network_error"
        url = site.raw("/b", b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: y\r\n" % i for i in range(9999)) + b"\r\n")
        assert fetch(url).outcome == "network_error"


class TestBrokenAnswers:
    @pytest.mark.parametrize(
        "data",
        [
            b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 500\r\n\r\n<p>too short",
            b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n<p>ab\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n<p>ab\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Encoding: gzip\r\n\r\n<p>no gzip at all",
            b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Encoding: br\r\n\r\n\x0b\x02\x80abc\x03",
            b"HTTP/1.1 200 OK\r\nContent-Le",
            b"220 smtp.example.com ESMTP\r\n",
            b"\x16\x03\x01\x00\xff\x00\x00",
            b"",
        ],
        ids=["length", "cut-chunk", "bad-chunk", "no-gzip", "brotli", "cut-header", "smtp", "binary", "nothing"],
    )
    def test_a_broken_answer_is_a_network_error(self, site, data):
        assert fetch(site.raw("/a", data)).outcome == "network_error"

    def test_a_gzip_body_that_ends_early_is_a_network_error(self, site):
        response = fetch(site.gzipped("/a", ARTICLE * 10, cut=20))
        assert response.outcome == "network_error"
        assert response.detail and "ends early" in response.detail

    def test_garbage_after_a_gzip_body_is_ignored_and_bounded(self, site):
        gzipped = {"Content-Encoding": "gzip"}
        some = site.page("/some", headers=gzipped, body=gzip.compress(ARTICLE) + b"garbage" * 50_000)
        assert fetch(some).body == ARTICLE

        async def handle(_: Asked, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Encoding: gzip\r\n\r\n")
            writer.write(gzip.compress(ARTICLE))
            while True:
                writer.write(b"garbage" * 10_000)
                await writer.drain()

        assert fetch(site.serve("/endless", handle)).outcome == "too_large"

    def test_gzip_and_both_kinds_of_deflate_are_unpacked(self, site):
        raw = zlib.compressobj(wbits=-15)
        bodies = {
            "gzip": gzip.compress(ARTICLE),
            "x-gzip": gzip.compress(ARTICLE[:9]) + gzip.compress(ARTICLE[9:]),
            "deflate": zlib.compress(ARTICLE),
            "Deflate": raw.compress(ARTICLE) + raw.flush(),
        }
        for coding, body in bodies.items():
            assert fetch(site.page(f"/{coding}", headers={"Content-Encoding": coding}, body=body)).body == ARTICLE


class TestTypesAndConsent:
    def test_a_pdf_is_not_read(self, site):
        response = fetch(site.page("/a.pdf", body=b"%PDF-1.7", type="application/pdf"))
        assert response.outcome == "unsupported_type"
        assert response.detail and "application/pdf" in response.detail

    @pytest.mark.parametrize("kind", ["text/html", None])
    def test_a_pdf_under_another_name_is_recognized(self, site, kind):
        assert fetch(site.page("/a", body=b"%PDF-1.7 ...", type=kind)).outcome == "unsupported_type"

    def test_html_without_a_type_is_fetched(self, site):
        assert fetch(site.page("/a", type=None)).body == ARTICLE

    @pytest.mark.parametrize("header", [("X-Robots-Tag", "noai"), ("TDM-Reservation", "1")])
    def test_a_header_opts_out(self, site, header):
        url = site.page("/a", headers=dict([header]))
        response = fetch(url)
        assert response.outcome == "opted_out"
        assert response.detail and header[0] in response.detail
        assert fetch(url, obey_consent=False).outcome == "fetched"

    def test_a_meta_element_opts_out(self, site):
        url = site.page("/a", body=b'<head><meta name="robots" content="noai"></head>' + ARTICLE)
        assert fetch(url).outcome == "opted_out"
        assert fetch(url, obey_consent=False).outcome == "fetched"

    def test_an_opt_out_on_an_unchanged_page_counts(self, site):
        url = site.page("/a", "304 Not Modified", {"X-Robots-Tag": "noai"}, b"")
        assert fetch(Request(url, etag='"1"')).outcome == "opted_out"


class TestRedirects:
    def test_redirects_are_followed_and_the_last_url_reported(self, site):
        site.page("/end", headers={"ETag": '"e"'})
        site.redirect("/2", "end#there")
        url = site.redirect("/1", site.url("/2"), "308 Permanent Redirect")
        response = fetch(url)
        assert (response.outcome, response.url, response.etag) == ("fetched", url, '"e"')
        assert response.final_url == site.url("/end")

    def test_a_redirect_loop_is_an_http_error(self, site):
        site.redirect("/2", "/1")
        response = fetch(site.redirect("/1", "/2"))
        assert (response.outcome, response.status) == ("http_error", 302)
        assert response.detail and "loop" in response.detail

    def test_too_many_redirects_are_an_http_error(self, site):
        for i in range(9):
            site.redirect(f"/{i}", f"/{i + 1}")
        response = fetch(site.url("/0"), max_redirects=3)
        assert response.outcome == "http_error" and len(site.requests) == 2 + 4
        assert response.detail and "more than 3 redirects" in response.detail

    @pytest.mark.parametrize("to", ["file:///etc/passwd", "ftp://h/", "javascript:x", "http://", "http://[::bad/", ""])
    def test_a_redirect_to_no_page_is_an_http_error(self, site, to):
        assert fetch(site.redirect("/a", to)).outcome == "http_error"

    def test_each_hop_obeys_the_robots_txt_of_its_origin(self, site):
        with HostileSite() as other:
            other.robots("User-agent: *\nDisallow: /private")
            url = site.redirect("/a", other.page("/private/a"))
            response = fetch(url)
            assert (response.outcome, response.final_url) == ("robots_disallowed", other.url("/private/a"))
            assert [asked.path for asked in other.requests] == ["/robots.txt"]


class TestRobots:
    def test_robots_txt_is_read_once_for_an_origin_and_obeyed(self, site):
        site.robots("User-agent: *\nDisallow: /no")
        urls = [site.page("/yes"), site.page("/no/1"), site.page("/no/2")]
        found = {r.url: r.outcome for r in crawl(map(Request, urls), SETTINGS, allow_addresses=LOOPBACK)}
        assert list(map(found.get, urls)) == ["fetched", "robots_disallowed", "robots_disallowed"]
        assert sorted(asked.path for asked in site.requests) == ["/.well-known/tdmrep.json", "/robots.txt", "/yes"]

    def test_without_robots_txt_all_is_allowed(self, site):
        site.robots("Disallow: /", "403 Forbidden")
        assert fetch(site.page("/a")).outcome == "fetched"

    @pytest.mark.parametrize("status", ["500 Oops", "503 Later"])
    def test_a_robots_txt_that_fails_disallows_all(self, site, status):
        site.robots("", status)
        response = fetch(site.page("/a"))
        assert response.outcome == "robots_disallowed"
        assert response.detail and status[:3] in response.detail
        assert not site.asked("/a")

    def test_a_robots_txt_that_recovers_is_obeyed(self, site):
        site.page("/robots.txt", "503 Later", {"Retry-After": "0"}, b"", then=answer(body=b"User-agent: *"))
        assert fetch(site.page("/a"), retries=1).outcome == "fetched"

    def test_a_broken_robots_txt_disallows_all(self, site):
        site.raw("/robots.txt", b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nUser-agent: *")
        assert fetch(site.page("/a")).outcome == "robots_disallowed"

    def test_redirects_of_robots_txt_are_followed(self, site):
        site.redirect("/robots.txt", "/r2")
        site.page("/r2", body=b"User-agent: *\nDisallow: /", type="text/plain")
        assert fetch(site.page("/a")).outcome == "robots_disallowed"

    def test_a_robots_txt_that_redirects_for_ever_is_none(self, site):
        site.redirect("/robots.txt", "/robots.txt")
        assert fetch(site.page("/a")).outcome == "fetched"
        assert len(site.asked("/robots.txt")) == 6

    def test_only_the_first_500_kib_are_read(self, site):
        site.robots("User-agent: *\nDisallow: /no\n" + "# filler\n" * 200_000 + "Disallow: /late\n")
        assert fetch(site.page("/late")).outcome == "fetched"
        assert fetch(site.page("/no")).outcome == "robots_disallowed"


class TestPace:
    def test_a_host_is_asked_no_faster_than_its_delay(self, site):
        urls = [site.page(f"/{i}") for i in range(4)]
        settings = SETTINGS.model_copy(update={"delay_per_host": 0.2})
        assert len(list(crawl(map(Request, urls), settings, allow_addresses=LOOPBACK))) == 4
        times = [asked.at for asked in site.requests]
        assert len(times) == 6
        assert all(b - a > 0.18 for a, b in pairwise(times))

    def test_a_longer_crawl_delay_wins(self, site):
        site.robots("User-agent: *\nCrawl-delay: 0.4")
        urls = [site.page(f"/{i}") for i in range(3)]
        assert len(list(crawl(map(Request, urls), SETTINGS, allow_addresses=LOOPBACK))) == 3
        times = [asked.at for asked in site.requests]
        assert all(b - a > 0.38 for a, b in pairwise(times))

    def test_one_slow_host_does_not_hold_up_another(self, site):
        with HostileSite() as slow:
            slow.robots("User-agent: *\nCrawl-delay: 1")
            urls = [slow.page(f"/{i}") for i in range(20)] + [site.page(f"/{i}") for i in range(20)]
            settings = SETTINGS.model_copy(update={"concurrency": 2})
            found = crawl(map(Request, urls), settings, allow_addresses=LOOPBACK)
            started = time.monotonic()
            first = [next(found) for _ in range(20)]
            assert {r.url for r in first} >= {site.url(f"/{i}") for i in range(19)}
            assert time.monotonic() - started < 2
            found.close()  # type: ignore[attr-defined]

    @pytest.mark.parametrize(("setting", "most"), [("concurrency", 3), ("concurrency_per_host", 2)])
    def test_no_more_pages_at_once_than_set(self, site, setting, most):
        urls = [site.page(f"/{i}", after=0.03) for i in range(20)]
        settings = SETTINGS.model_copy(update={setting: most})
        assert len(list(crawl(map(Request, urls), settings, allow_addresses=LOOPBACK))) == 20
        assert site.most_at_once == most


class TestTries:
    def test_a_503_is_tried_again(self, site):
        url = site.page("/a", "503 Later", then=answer(headers={"Content-Type": "text/html"}, body=ARTICLE))
        assert fetch(url, retries=0).outcome == "http_error"
        site.requests.clear()
        assert fetch(url, retries=2).outcome == "fetched"
        assert len(site.asked("/a")) == 2

    def test_a_lost_connection_is_tried_again(self, site):
        async def handle(_: Asked, writer: asyncio.StreamWriter) -> None:
            if len(site.asked("/a")) > 1:
                writer.write(answer(headers={"Content-Type": "text/html"}, body=ARTICLE))

        assert fetch(site.serve("/a", handle), retries=1).outcome == "fetched"

    def test_what_will_not_change_is_not_tried_again(self, site):
        fetch(site.page("/a", "404 Not Found"), retries=2)
        fetch(site.page("/b", "500 Oops"), retries=2)
        assert len(site.asked("/a")) == len(site.asked("/b")) == 1

    def test_retry_after_delays_the_whole_host(self, site):
        ok = answer(headers={"Content-Type": "text/html"}, body=ARTICLE)
        urls = [site.page("/busy", "429 Slow", {"Retry-After": "1"}, b"", then=ok), site.page("/next")]
        settings = SETTINGS.model_copy(update={"retries": 1, "concurrency_per_host": 1})
        found = list(crawl(map(Request, urls), settings, allow_addresses=LOOPBACK))
        assert [r.outcome for r in found] == ["fetched", "fetched"]
        first, second = site.asked("/busy")
        assert second.at - first.at > 0.95
        assert site.asked("/next")[0].at - first.at > 0.95

    def test_a_host_that_wants_long_rest_is_left_alone(self, site):
        urls = [site.page("/busy", "429 Slow", {"Retry-After": "3600"}, b""), site.page("/next")]
        settings = SETTINGS.model_copy(update={"retries": 2, "concurrency_per_host": 1})
        busy, after = crawl(map(Request, urls), settings, allow_addresses=LOOPBACK)
        assert (busy.outcome, busy.status) == ("http_error", 429)
        assert busy.detail and "3600 s" in busy.detail
        assert after.outcome == "http_error" and after.detail and "not asked" in after.detail
        assert not site.asked("/next")


class TestConditionalRequests:
    def test_validators_are_sent_and_a_304_is_not_modified(self, site):
        url = site.page("/a", "304 Not Modified", {"ETag": '"2"'}, b"", type=None)
        then = "Mon, 01 Jan 2024 00:00:00 GMT"
        response = fetch(Request(url, etag='"1"', last_modified=then))
        assert (response.outcome, response.status) == ("not_modified", 304)
        assert (response.etag, response.last_modified) == ('"2"', then)
        headers = site.asked("/a")[0].headers
        assert (headers["if-none-match"], headers["if-modified-since"]) == ('"1"', then)

    def test_without_validators_the_time_of_the_body_serves(self, site):
        url = site.page("/a", "304 Not Modified", body=b"")
        at = datetime(2024, 5, 6, 7, 8, 9, 123456, tzinfo=UTC)
        assert fetch(Request(url, fetched_at=at)).outcome == "not_modified"
        assert site.asked("/a")[0].headers["if-modified-since"] == "Mon, 06 May 2024 07:08:09 GMT"

    def test_a_changed_page_is_fetched(self, site):
        url = site.page("/a", headers={"ETag": '"2"'})
        response = fetch(Request(url, etag='"1"'))
        assert (response.outcome, response.etag) == ("fetched", '"2"')

    def test_validators_go_to_the_url_they_came_from(self, site):
        site.page("/end", "304 Not Modified", body=b"")
        url = site.redirect("/a", "/end")
        response = fetch(Request(url, etag='"1"', final_url=site.url("/end")))
        assert (response.outcome, response.final_url) == ("not_modified", site.url("/end"))
        assert "if-none-match" not in site.asked("/a")[0].headers

    def test_a_redirect_that_now_leads_elsewhere_is_fetched(self, site):
        site.page("/new")
        url = site.redirect("/a", "/new")
        assert fetch(Request(url, etag='"1"', final_url=site.url("/old"))).outcome == "fetched"
        assert "if-none-match" not in site.asked("/new")[0].headers


class TestStream:
    def test_each_request_has_exactly_one_response(self, site):
        site.robots("User-agent: *\nDisallow: /private")
        kinds = [
            lambda i: site.page(f"/ok{i}"),
            lambda i: site.page(f"/private/{i}"),
            lambda i: site.url(f"/missing{i}"),
            lambda i: f"nonsense {i}",
            lambda i: f"http://10.0.0.{i % 200}/",
            lambda i: site.raw(f"/broken{i}", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"),
            lambda i: site.redirect(f"/r{i}", f"/ok{i - 6}"),
            lambda i: site.page(f"/pdf{i}", type="application/pdf"),
            lambda i: site.page("/twice"),
            lambda i: site.redirect(f"/loop{i}", f"/loop{i}"),
        ]
        urls = [kinds[i % len(kinds)](i) for i in range(300)]
        found = list(crawl(map(Request, urls), SETTINGS, allow_addresses=LOOPBACK))
        assert sorted(r.url for r in found) == sorted(urls)
        assert all(r.outcome in FETCH_OUTCOMES for r in found)
        assert {r.outcome for r in found} == {
            "fetched", "robots_disallowed", "http_error", "invalid_url", "blocked_address", "network_error",
            "unsupported_type",
        }  # fmt: skip

    def test_no_requests_give_no_responses(self):
        assert list(crawl([], SETTINGS)) == []

    def test_closing_early_cancels_what_is_under_way(self, site):
        urls = [site.page("/a")] + [site.page(f"/slow{i}", after=60) for i in range(40)]
        found = crawl(map(Request, urls), SETTINGS, allow_addresses=LOOPBACK)
        assert next(found).url == site.url("/a")
        started = time.monotonic()
        found.close()  # type: ignore[attr-defined]
        assert time.monotonic() - started < 2

    def test_the_input_is_read_ahead_but_not_to_its_end(self, site):
        read = 0

        def endless():
            nonlocal read
            while True:
                read += 1
                yield Request(f"no url {read}")

        found = crawl(endless(), SETTINGS)
        for _ in range(100):
            next(found)
        assert 100 < read < 5000
        found.close()  # type: ignore[attr-defined]

    def test_a_slow_caller_holds_back_the_crawl(self, site):
        urls = [site.page(f"/{i}") for i in range(60)]
        settings = SETTINGS.model_copy(update={"concurrency": 4})
        found = crawl(map(Request, urls), settings, allow_addresses=LOOPBACK)
        next(found)
        time.sleep(0.5)
        assert len(site.requests) <= 1 + 2 * 4 + 1
        assert len(list(found)) == 59

    def test_an_error_of_the_input_reaches_the_caller(self, site):
        def broken():
            yield Request(site.page("/a"))
            raise LookupError("input")

        with pytest.raises(LookupError, match="input"):
            list(crawl(broken(), SETTINGS, allow_addresses=LOOPBACK))

    def test_it_works_in_a_thread_that_runs_an_event_loop(self, site):
        url = site.page("/a")

        async def main() -> Response:
            return fetch(url)

        assert asyncio.run(main()).outcome == "fetched"


class TestFetchOne:
    def test_a_sitemap_is_fetched_and_unpacked(self, site):
        xml = b"<urlset/>"
        url = site.page("/s.xml", type="application/xml", headers={"X-Robots-Tag": "noindex"}, body=xml)
        packed = site.page("/s.xml.gz", type="application/gzip", body=gzip.compress(xml))
        settings = SETTINGS.model_copy(update={"obey_noindex": True})
        assert fetch_one(url, settings, allow_addresses=LOOPBACK) == xml
        assert fetch_one(packed, settings, allow_addresses=LOOPBACK) == xml

    def test_the_same_policy_holds(self, site):
        site.robots("User-agent: *\nDisallow: /s.xml")
        url = site.page("/s.xml", type="application/xml")
        with pytest.raises(FetchError, match="robots_disallowed"):
            fetch_one(url, SETTINGS, allow_addresses=LOOPBACK)
        with pytest.raises(FetchError, match=re.escape("127.0.0.1")):
            fetch_one(url, SETTINGS)

    def test_a_packed_bomb_is_refused(self, site):
        bomb = gzip.compress(b" " * (60 * 2**20))
        url = site.page("/s.xml.gz", type="application/gzip", body=bomb)
        with pytest.raises(FetchError, match="more than"):
            fetch_one(url, SETTINGS, allow_addresses=LOOPBACK)


class TestOrigins:
    """What is read of an origin before its pages: robots.txt and tdmrep.json."""

    def test_what_tdmrep_json_reserves_is_not_asked_for(self, site):
        rules = [{"location": "/mine", "tdm-reservation": 1}, {"location": "/mine/free", "tdm-reservation": 0}]
        site.page(tdmrep.PATH, body=json.dumps(rules).encode(), type="application/json")
        urls = [site.page("/mine/1"), site.page("/mine/free/1"), site.page("/other")]
        found = {r.url: r for r in crawl(map(Request, urls), SETTINGS, allow_addresses=LOOPBACK)}
        assert [found[url].outcome for url in urls] == ["opted_out", "fetched", "fetched"]
        assert tdmrep.PATH in (found[urls[0]].detail or "")
        assert len(site.asked(tdmrep.PATH)) == 1 and not site.asked("/mine/1")
        assert fetch(urls[0], obey_consent=False).outcome == "fetched"
        assert len(site.asked(tdmrep.PATH)) == 1

    @pytest.mark.parametrize("status", ["404 Not Found", "500 Oops", "503 Later"])
    def test_a_tdmrep_json_that_cannot_be_had_reserves_nothing(self, site, status):
        site.page(tdmrep.PATH, status, body=b'[{"location": "/", "tdm-reservation": 1}]')
        assert fetch(site.page("/a"), retries=1).outcome == "fetched"
        assert len(site.asked(tdmrep.PATH)) == (2 if status.startswith("503") else 1)

    def test_a_tdmrep_json_that_robots_txt_closes_is_not_read(self, site):
        site.robots("User-agent: *\nDisallow: /.well-known/")
        assert fetch(site.page("/a")).outcome == "fetched"
        assert not site.asked(tdmrep.PATH)

    def test_the_next_crawl_knows_what_an_origin_said(self, site, tmp_path):
        site.robots("User-agent: *\nDisallow: /no")
        site.redirect(tdmrep.PATH, "/tdm")
        site.page("/tdm", body=b'[{"location": "/mine", "tdm-reservation": 1}]', type="application/json")
        urls = [site.page("/a"), site.page("/no"), site.page("/mine")]
        for _ in range(3):
            found = crawl(map(Request, urls), SETTINGS, allow_addresses=LOOPBACK, origins=tmp_path / "origins")
            assert {r.url: r.outcome for r in found} == dict(
                zip(urls, ("fetched", "robots_disallowed", "opted_out"), strict=True)
            )
        assert [len(site.asked(path)) for path in ("/robots.txt", tdmrep.PATH, "/a")] == [1, 1, 3]

    def test_after_a_day_an_origin_is_asked_again(self, site, tmp_path):
        site.robots("User-agent: *\nDisallow: /")
        url, path = site.page("/a"), tmp_path / "origins"

        def once() -> list[str]:
            return [r.outcome for r in crawl([Request(url)], SETTINGS, allow_addresses=LOOPBACK, origins=path)]

        assert once() == ["robots_disallowed"]
        site.robots("User-agent: *\nAllow: /")
        assert once() == ["robots_disallowed"]
        with sqlite3.connect(path) as db:
            db.execute("UPDATE statements SET read_at = read_at - ?", (origins.LIFETIME,))
        assert once() == ["fetched"]

    def test_that_an_origin_failed_is_not_kept(self, site, tmp_path):
        site.robots("", "500 Oops")
        url = site.page("/a")
        path = tmp_path / "origins"
        for outcome in ("robots_disallowed", "fetched"):
            (response,) = crawl([Request(url)], SETTINGS, allow_addresses=LOOPBACK, origins=path)
            assert response.outcome == outcome
            site.robots("")

    def test_a_damaged_cache_is_begun_anew(self, site, tmp_path):
        path = tmp_path / "origins"
        path.write_bytes(b"not SQLite" * 1000)
        (response,) = crawl([Request(site.page("/a"))], SETTINGS, allow_addresses=LOOPBACK, origins=path)
        assert response.outcome == "fetched"


class TestThrottling:
    def test_a_slow_host_is_asked_no_faster_than_it_answers(self, site):
        urls = [site.page(f"/{i}", after=1.2) for i in range(4)]
        settings = SETTINGS.model_copy(update={"concurrency_per_host": 2})
        assert {r.outcome for r in crawl(map(Request, urls), settings, allow_addresses=LOOPBACK)} == {"fetched"}
        first, second, third, fourth = (asked.at for asked in site.requests[-4:])
        assert second - first < 1
        assert third - first > 1.1 and fourth - third > 1.1

    def test_a_host_that_is_down_is_left_alone(self, site):
        urls = [site.raw(f"/{i}", b"") for i in range(100)]
        found = list(crawl(map(Request, urls), SETTINGS, allow_addresses=LOOPBACK))
        assert {r.outcome for r in found} == {"network_error"} and all(r.transient for r in found)
        assert len({asked.path for asked in site.requests}) < 2 + 20 + SETTINGS.concurrency_per_host
        assert sum("not asked: 20 requests" in (r.detail or "") for r in found) > 60
