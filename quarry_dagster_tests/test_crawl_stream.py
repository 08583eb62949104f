"""A crawl as its caller sees it: a response for each request, as they come."""

from __future__ import annotations

import asyncio
import gzip
import re
import time

import pytest

from quarry_dagster.crawl import Request, Response, crawl, fetch_one
from quarry_dagster.errors import FetchError
from quarry_dagster.store.schemas import FETCH_OUTCOMES
from quarry_dagster_tests.fetching import LOOPBACK, SETTINGS, fetch


class TestStream:
    def test_each_request_has_exactly_one_response(self, hostile):
        hostile.robots("User-agent: *\nDisallow: /private")
        kinds = [
            lambda i: hostile.page(f"/ok{i}"),
            lambda i: hostile.page(f"/private/{i}"),
            lambda i: hostile.url(f"/missing{i}"),
            lambda i: f"nonsense {i}",
            lambda i: f"http://10.0.0.{i % 200}/",
            lambda i: hostile.raw(f"/broken{i}", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"),
            lambda i: hostile.redirect(f"/r{i}", f"/ok{i - 6}"),
            lambda i: hostile.page(f"/pdf{i}", type="application/pdf"),
            lambda i: hostile.page("/twice"),
            lambda i: hostile.redirect(f"/loop{i}", f"/loop{i}"),
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

    def test_closing_early_cancels_what_is_under_way(self, hostile):
        urls = [hostile.page("/a")] + [hostile.page(f"/slow{i}", after=60) for i in range(40)]
        found = crawl(map(Request, urls), SETTINGS, allow_addresses=LOOPBACK)
        assert next(found).url == hostile.url("/a")
        started = time.monotonic()
        found.close()  # type: ignore[attr-defined]
        assert time.monotonic() - started < 30, "the slow ones take sixty"

    def test_the_input_is_read_ahead_but_not_to_its_end(self, hostile):
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

    def test_a_slow_caller_holds_back_the_crawl(self, hostile):
        urls = [hostile.page(f"/{i}") for i in range(60)]
        settings = SETTINGS.model_copy(update={"concurrency": 4})
        found = crawl(map(Request, urls), settings, allow_addresses=LOOPBACK)
        next(found)
        time.sleep(0.5)
        assert len(hostile.requests) <= 1 + 2 * 4 + 1
        assert len(list(found)) == 59

    def test_an_error_of_the_input_reaches_the_caller(self, hostile):
        def broken():
            yield Request(hostile.page("/a"))
            raise LookupError("input")

        with pytest.raises(LookupError, match="input"):
            list(crawl(broken(), SETTINGS, allow_addresses=LOOPBACK))

    def test_it_works_in_a_thread_that_runs_an_event_loop(self, hostile):
        url = hostile.page("/a")

        async def main() -> Response:
            return fetch(url)

        assert asyncio.run(main()).outcome == "fetched"


class TestFetchOne:
    def test_a_sitemap_is_fetched_and_unpacked(self, hostile):
        xml = b"<urlset/>"
        url = hostile.page("/s.xml", type="application/xml", headers={"X-Robots-Tag": "noindex"}, body=xml)
        packed = hostile.page("/s.xml.gz", type="application/gzip", body=gzip.compress(xml))
        settings = SETTINGS.model_copy(update={"obey_noindex": True})
        assert fetch_one(url, settings, allow_addresses=LOOPBACK) == xml
        assert fetch_one(packed, settings, allow_addresses=LOOPBACK) == xml

    def test_the_same_policy_holds(self, hostile):
        hostile.robots("User-agent: *\nDisallow: /s.xml")
        url = hostile.page("/s.xml", type="application/xml")
        with pytest.raises(FetchError, match="robots_disallowed"):
            fetch_one(url, SETTINGS, allow_addresses=LOOPBACK)
        with pytest.raises(FetchError, match=re.escape("127.0.0.1")):
            fetch_one(url, SETTINGS)

    def test_a_packed_bomb_is_refused(self, hostile):
        bomb = gzip.compress(b" " * (60 * 2**20))
        url = hostile.page("/s.xml.gz", type="application/gzip", body=bomb)
        with pytest.raises(FetchError, match="more than"):
            fetch_one(url, SETTINGS, allow_addresses=LOOPBACK)
