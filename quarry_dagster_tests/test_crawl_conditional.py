"""A page that we have is asked for with its validators."""

from __future__ import annotations

from datetime import UTC, datetime

from quarry_dagster.crawl import Request
from quarry_dagster_tests.fetching import fetch


def test_validators_are_sent_and_a_304_is_not_modified(hostile):
    url = hostile.page("/a", "304 Not Modified", {"ETag": '"2"'}, b"", type=None)
    then = "Mon, 01 Jan 2024 00:00:00 GMT"
    response = fetch(Request(url, etag='"1"', last_modified=then))
    assert (response.outcome, response.status) == ("not_modified", 304)
    assert (response.etag, response.last_modified) == ('"2"', then)
    headers = hostile.asked("/a")[0].headers
    assert (headers["if-none-match"], headers["if-modified-since"]) == ('"1"', then)


def test_without_validators_the_time_of_the_body_serves(hostile):
    url = hostile.page("/a", "304 Not Modified", body=b"")
    at = datetime(2024, 5, 6, 7, 8, 9, 123456, tzinfo=UTC)
    assert fetch(Request(url, fetched_at=at)).outcome == "not_modified"
    assert hostile.asked("/a")[0].headers["if-modified-since"] == "Mon, 06 May 2024 07:08:09 GMT"


def test_a_changed_page_is_fetched(hostile):
    url = hostile.page("/a", headers={"ETag": '"2"'})
    response = fetch(Request(url, etag='"1"'))
    assert (response.outcome, response.etag) == ("fetched", '"2"')


def test_validators_go_to_the_url_they_came_from(hostile):
    hostile.page("/end", "304 Not Modified", body=b"")
    url = hostile.redirect("/a", "/end")
    response = fetch(Request(url, etag='"1"', final_url=hostile.url("/end")))
    assert (response.outcome, response.final_url) == ("not_modified", hostile.url("/end"))
    assert "if-none-match" not in hostile.asked("/a")[0].headers


def test_a_redirect_that_now_leads_elsewhere_is_fetched(hostile):
    hostile.page("/new")
    url = hostile.redirect("/a", "/new")
    assert fetch(Request(url, etag='"1"', final_url=hostile.url("/old"))).outcome == "fetched"
    assert "if-none-match" not in hostile.asked("/new")[0].headers
