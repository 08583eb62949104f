"""No host is asked more often, or more at once, than it bears; what may pass is tried again.

A request may be noted late, and never early: so each is held against the start of the crawl, and not against the one
before it.
"""

from __future__ import annotations

import asyncio
import time

import pytest

from quarry_dagster.crawl import Request, crawl
from quarry_dagster_tests.fetching import LOOPBACK, SETTINGS, fetch
from quarry_dagster_tests.hostile_site import ARTICLE, Asked, HostileSite, answer


class TestPace:
    def test_a_host_is_asked_no_faster_than_its_delay(self, hostile):
        urls = [hostile.page(f"/{i}") for i in range(4)]
        settings = SETTINGS.model_copy(update={"delay_per_host": 0.2})
        started = time.monotonic()
        assert len(list(crawl(map(Request, urls), settings, allow_addresses=LOOPBACK))) == 4
        times = [asked.at for asked in hostile.requests]
        assert len(times) == 6
        assert all(at - started >= 0.2 * n for n, at in enumerate(times))

    def test_a_longer_crawl_delay_wins(self, hostile):
        hostile.robots("User-agent: *\nCrawl-delay: 0.4")
        urls = [hostile.page(f"/{i}") for i in range(3)]
        started = time.monotonic()
        assert len(list(crawl(map(Request, urls), SETTINGS, allow_addresses=LOOPBACK))) == 3
        times = [asked.at for asked in hostile.requests]
        assert all(at - started >= 0.4 * n for n, at in enumerate(times))

    def test_one_slow_host_does_not_hold_up_another(self, hostile):
        with HostileSite() as slow:
            slow.robots("User-agent: *\nCrawl-delay: 1")
            urls = [slow.page(f"/{i}") for i in range(20)] + [hostile.page(f"/{i}") for i in range(20)]
            settings = SETTINGS.model_copy(update={"concurrency": 2})
            found = crawl(map(Request, urls), settings, allow_addresses=LOOPBACK)
            started = time.monotonic()
            first = [next(found) for _ in range(20)]
            assert {r.url for r in first} >= {hostile.url(f"/{i}") for i in range(19)}
            assert time.monotonic() - started < 15, "all of the other one take nineteen"
            found.close()  # type: ignore[attr-defined]

    @pytest.mark.parametrize(("setting", "most"), [("concurrency", 3), ("concurrency_per_host", 2)])
    def test_no_more_pages_at_once_than_set(self, hostile, setting, most):
        urls = [hostile.page(f"/{i}", after=0.03) for i in range(20)]
        settings = SETTINGS.model_copy(update={setting: most})
        assert len(list(crawl(map(Request, urls), settings, allow_addresses=LOOPBACK))) == 20
        assert hostile.most_at_once == most

    def test_a_slow_host_is_asked_no_faster_than_it_answers(self, hostile):
        urls = [hostile.page(f"/{i}", after=1.2) for i in range(4)]
        settings = SETTINGS.model_copy(update={"concurrency_per_host": 2})
        started = time.monotonic()
        assert {r.outcome for r in crawl(map(Request, urls), settings, allow_addresses=LOOPBACK)} == {"fetched"}
        third, fourth = (asked.at for asked in hostile.requests[-2:])
        assert hostile.most_at_once == 2
        assert third - started >= 1.2 and fourth - started >= 2.4

    def test_a_host_that_is_down_is_left_alone(self, hostile):
        urls = [hostile.raw(f"/{i}", b"") for i in range(100)]
        found = list(crawl(map(Request, urls), SETTINGS, allow_addresses=LOOPBACK))
        assert {r.outcome for r in found} == {"network_error"} and all(r.transient for r in found)
        assert len({asked.path for asked in hostile.requests}) < 2 + 20 + SETTINGS.concurrency_per_host
        assert sum("not asked: 20 requests" in (r.detail or "") for r in found) > 60


class TestTries:
    def test_a_503_is_tried_again(self, hostile):
        url = hostile.page("/a", "503 Later", then=answer(headers={"Content-Type": "text/html"}, body=ARTICLE))
        assert fetch(url, retries=0).outcome == "http_error"
        hostile.requests.clear()
        assert fetch(url, retries=2).outcome == "fetched"
        assert len(hostile.asked("/a")) == 2

    def test_a_lost_connection_is_tried_again(self, hostile):
        async def handle(_: Asked, writer: asyncio.StreamWriter) -> None:
            if len(hostile.asked("/a")) > 1:
                writer.write(answer(headers={"Content-Type": "text/html"}, body=ARTICLE))

        assert fetch(hostile.serve("/a", handle), retries=1).outcome == "fetched"

    def test_what_will_not_change_is_not_tried_again(self, hostile):
        fetch(hostile.page("/a", "404 Not Found"), retries=2)
        fetch(hostile.page("/b", "500 Oops"), retries=2)
        assert len(hostile.asked("/a")) == len(hostile.asked("/b")) == 1

    def test_retry_after_delays_the_whole_host(self, hostile):
        ok = answer(headers={"Content-Type": "text/html"}, body=ARTICLE)
        urls = [hostile.page("/busy", "429 Slow", {"Retry-After": "1"}, b"", then=ok), hostile.page("/next")]
        settings = SETTINGS.model_copy(update={"retries": 1, "concurrency_per_host": 1})
        started = time.monotonic()
        found = list(crawl(map(Request, urls), settings, allow_addresses=LOOPBACK))
        assert [r.outcome for r in found] == ["fetched", "fetched"]
        _, second = hostile.asked("/busy")
        assert second.at - started >= 1
        assert hostile.asked("/next")[0].at - started >= 1

    def test_a_host_that_wants_long_rest_is_left_alone(self, hostile):
        urls = [hostile.page("/busy", "429 Slow", {"Retry-After": "3600"}, b""), hostile.page("/next")]
        settings = SETTINGS.model_copy(update={"retries": 2, "concurrency_per_host": 1})
        busy, after = crawl(map(Request, urls), settings, allow_addresses=LOOPBACK)
        assert (busy.outcome, busy.status) == ("http_error", 429)
        assert busy.detail and "3600 s" in busy.detail
        assert after.outcome == "http_error" and after.detail and "not asked" in after.detail
        assert not hostile.asked("/next")
