"""What sites and pages forbid is not taken: robots.txt, tdmrep.json, headers and meta elements."""

from __future__ import annotations

import json
import sqlite3

import pytest

from quarry_dagster.crawl import Request, crawl, origins, tdmrep
from quarry_dagster_tests.fetching import LOOPBACK, SETTINGS, fetch
from quarry_dagster_tests.hostile_site import ARTICLE, HostileSite, answer


class TestRobots:
    def test_robots_txt_is_read_once_for_an_origin_and_obeyed(self, hostile):
        hostile.robots("User-agent: *\nDisallow: /no")
        urls = [hostile.page("/yes"), hostile.page("/no/1"), hostile.page("/no/2")]
        found = {r.url: r.outcome for r in crawl(map(Request, urls), SETTINGS, allow_addresses=LOOPBACK)}
        assert list(map(found.get, urls)) == ["fetched", "robots_disallowed", "robots_disallowed"]
        assert sorted(asked.path for asked in hostile.requests) == ["/.well-known/tdmrep.json", "/robots.txt", "/yes"]

    def test_without_robots_txt_all_is_allowed(self, hostile):
        hostile.robots("Disallow: /", "403 Forbidden")
        assert fetch(hostile.page("/a")).outcome == "fetched"

    @pytest.mark.parametrize("status", ["500 Oops", "503 Later"])
    def test_a_robots_txt_that_fails_disallows_all(self, hostile, status):
        hostile.robots("", status)
        response = fetch(hostile.page("/a"))
        assert response.outcome == "robots_disallowed"
        assert response.detail and status[:3] in response.detail
        assert not hostile.asked("/a")

    def test_a_robots_txt_that_recovers_is_obeyed(self, hostile):
        hostile.page("/robots.txt", "503 Later", {"Retry-After": "0"}, b"", then=answer(body=b"User-agent: *"))
        assert fetch(hostile.page("/a"), retries=1).outcome == "fetched"

    def test_a_broken_robots_txt_disallows_all(self, hostile):
        hostile.raw("/robots.txt", b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nUser-agent: *")
        assert fetch(hostile.page("/a")).outcome == "robots_disallowed"

    def test_redirects_of_robots_txt_are_followed(self, hostile):
        hostile.redirect("/robots.txt", "/r2")
        hostile.page("/r2", body=b"User-agent: *\nDisallow: /", type="text/plain")
        assert fetch(hostile.page("/a")).outcome == "robots_disallowed"

    def test_a_robots_txt_that_redirects_for_ever_is_none(self, hostile):
        hostile.redirect("/robots.txt", "/robots.txt")
        assert fetch(hostile.page("/a")).outcome == "fetched"
        assert len(hostile.asked("/robots.txt")) == 6

    def test_only_the_first_500_kib_are_read(self, hostile):
        hostile.robots("User-agent: *\nDisallow: /no\n" + "# filler\n" * 200_000 + "Disallow: /late\n")
        assert fetch(hostile.page("/late")).outcome == "fetched"
        assert fetch(hostile.page("/no")).outcome == "robots_disallowed"

    def test_each_hop_obeys_the_robots_txt_of_its_origin(self, hostile):
        with HostileSite() as other:
            other.robots("User-agent: *\nDisallow: /private")
            url = hostile.redirect("/a", other.page("/private/a"))
            response = fetch(url)
            assert (response.outcome, response.final_url) == ("robots_disallowed", other.url("/private/a"))
            assert [asked.path for asked in other.requests] == ["/robots.txt"]


class TestReservations:
    def test_what_tdmrep_json_reserves_is_not_asked_for(self, hostile):
        rules = [{"location": "/mine", "tdm-reservation": 1}, {"location": "/mine/free", "tdm-reservation": 0}]
        hostile.page(tdmrep.PATH, body=json.dumps(rules).encode(), type="application/json")
        urls = [hostile.page("/mine/1"), hostile.page("/mine/free/1"), hostile.page("/other")]
        found = {r.url: r for r in crawl(map(Request, urls), SETTINGS, allow_addresses=LOOPBACK)}
        assert [found[url].outcome for url in urls] == ["opted_out", "fetched", "fetched"]
        assert tdmrep.PATH in (found[urls[0]].detail or "")
        assert len(hostile.asked(tdmrep.PATH)) == 1 and not hostile.asked("/mine/1")
        assert fetch(urls[0], obey_consent=False).outcome == "fetched"
        assert len(hostile.asked(tdmrep.PATH)) == 1

    @pytest.mark.parametrize("status", ["404 Not Found", "500 Oops", "503 Later"])
    def test_a_tdmrep_json_that_cannot_be_had_reserves_nothing(self, hostile, status):
        hostile.page(tdmrep.PATH, status, body=b'[{"location": "/", "tdm-reservation": 1}]')
        assert fetch(hostile.page("/a"), retries=1).outcome == "fetched"
        assert len(hostile.asked(tdmrep.PATH)) == (2 if status.startswith("503") else 1)

    def test_a_tdmrep_json_that_robots_txt_closes_is_not_read(self, hostile):
        hostile.robots("User-agent: *\nDisallow: /.well-known/")
        assert fetch(hostile.page("/a")).outcome == "fetched"
        assert not hostile.asked(tdmrep.PATH)


class TestPages:
    @pytest.mark.parametrize("header", [("X-Robots-Tag", "noai"), ("TDM-Reservation", "1")])
    def test_a_header_opts_out(self, hostile, header):
        url = hostile.page("/a", headers=dict([header]))
        response = fetch(url)
        assert response.outcome == "opted_out"
        assert response.detail and header[0] in response.detail
        assert fetch(url, obey_consent=False).outcome == "fetched"

    def test_a_meta_element_opts_out(self, hostile):
        url = hostile.page("/a", body=b'<head><meta name="robots" content="noai"></head>' + ARTICLE)
        assert fetch(url).outcome == "opted_out"
        assert fetch(url, obey_consent=False).outcome == "fetched"

    def test_an_opt_out_on_an_unchanged_page_counts(self, hostile):
        url = hostile.page("/a", "304 Not Modified", {"X-Robots-Tag": "noai"}, b"")
        assert fetch(Request(url, etag='"1"')).outcome == "opted_out"


class TestWhatIsKept:
    def test_the_next_crawl_knows_what_an_origin_said(self, hostile, tmp_path):
        hostile.robots("User-agent: *\nDisallow: /no")
        hostile.redirect(tdmrep.PATH, "/tdm")
        hostile.page("/tdm", body=b'[{"location": "/mine", "tdm-reservation": 1}]', type="application/json")
        urls = [hostile.page("/a"), hostile.page("/no"), hostile.page("/mine")]
        for _ in range(3):
            found = crawl(map(Request, urls), SETTINGS, allow_addresses=LOOPBACK, origins=tmp_path / "origins")
            assert {r.url: r.outcome for r in found} == dict(
                zip(urls, ("fetched", "robots_disallowed", "opted_out"), strict=True)
            )
        assert [len(hostile.asked(path)) for path in ("/robots.txt", tdmrep.PATH, "/a")] == [1, 1, 3]

    def test_after_a_day_an_origin_is_asked_again(self, hostile, tmp_path):
        hostile.robots("User-agent: *\nDisallow: /")
        url, path = hostile.page("/a"), tmp_path / "origins"

        def once() -> list[str]:
            return [r.outcome for r in crawl([Request(url)], SETTINGS, allow_addresses=LOOPBACK, origins=path)]

        assert once() == ["robots_disallowed"]
        hostile.robots("User-agent: *\nAllow: /")
        assert once() == ["robots_disallowed"]
        with sqlite3.connect(path) as db:
            db.execute("UPDATE statements SET read_at = read_at - ?", (origins.LIFETIME,))
        assert once() == ["fetched"]

    def test_that_an_origin_failed_is_not_kept(self, hostile, tmp_path):
        hostile.robots("", "500 Oops")
        url = hostile.page("/a")
        path = tmp_path / "origins"
        for outcome in ("robots_disallowed", "fetched"):
            (response,) = crawl([Request(url)], SETTINGS, allow_addresses=LOOPBACK, origins=path)
            assert response.outcome == outcome
            hostile.robots("")

    def test_a_damaged_cache_is_begun_anew(self, hostile, tmp_path):
        path = tmp_path / "origins"
        path.write_bytes(b"not SQLite" * 1000)
        (response,) = crawl([Request(hostile.page("/a"))], SETTINGS, allow_addresses=LOOPBACK, origins=path)
        assert response.outcome == "fetched"
