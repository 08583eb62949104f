"""What is held of a page stays when the page is refused, as far as the refusal says nothing about the page."""

from __future__ import annotations

import socket
from typing import Any

import polars as pl
import pytest

from quarry_dagster.checks.raw_pages import fetch_success
from quarry_dagster.stages.pages import raw_pages
from quarry_dagster.store.schemas import CAME_OF_IT
from quarry_dagster_tests.corpus import LOOPBACK, Corpus, profile
from quarry_dagster_tests.hostile_site import ARTICLE, HostileSite
from quarry_dagster_tests.site import Site, html

AT_ONCE = {"refused_days": 0}
SOON = {"refused_days": 1e-9}


def crawl(corpus: Corpus, allowed: Any = LOOPBACK, **settings: object) -> dict[str, Any]:
    """Crawl the one partition again under these settings; returns its first row."""
    changed = profile(crawl=settings)
    (partition,) = corpus.store.batches.segments()
    raw_pages.refresh(corpus.store, partition, changed.crawl, allowed)
    return corpus.read("raw_pages").row(0, named=True)


@pytest.fixture
def held(corpus: Corpus, hostile: HostileSite) -> Corpus:
    """A corpus that holds the page /a of the hostile site."""
    corpus.seed("a.txt", hostile.page("/a"))
    corpus.take_in()
    assert crawl(corpus)["body"] == ARTICLE
    return corpus


@pytest.mark.parametrize("status", ["401 Unauthorized", "403 Forbidden"])
def test_a_night_of_refusals_takes_no_body_away(held: Corpus, hostile: HostileSite, status: str) -> None:
    hostile.page("/a", status)
    row = crawl(held)
    assert row["body"] == ARTICLE and row["outcome"] == "fetched"
    assert f"http_error {status[:3]}, refused since" in row["detail"] and row["refused_since"] is not None
    before = held.files()
    assert crawl(held)["refused_since"] == row["refused_since"]
    assert held.files() == before  # a long refusal is written once
    hostile.page("/a")
    row = crawl(held)
    assert (row["body"], row["detail"], row["refused_since"]) == (ARTICLE, None, None)


@pytest.mark.parametrize("status", ["401 Unauthorized", "403 Forbidden"])
def test_a_refusal_that_lasts_takes_the_body_away(held: Corpus, hostile: HostileSite, status: str) -> None:
    hostile.page("/a", status)
    assert crawl(held, **SOON)["body"] == ARTICLE
    row = crawl(held, **SOON)
    assert (row["body"], row["outcome"], row["status"]) == (None, "http_error", int(status[:3]))


def test_with_no_days_to_keep_a_refusal_takes_the_body_away_at_once(held: Corpus, hostile: HostileSite) -> None:
    hostile.page("/a", "403 Forbidden")
    assert crawl(held, **AT_ONCE)["body"] is None


def test_a_robots_txt_that_disallows_now_keeps_what_it_allowed(held: Corpus, hostile: HostileSite) -> None:
    hostile.robots("User-agent: *\nDisallow: /")
    (held.root / "crawling" / "origins.sqlite").unlink()  # a day later
    row = crawl(held)
    assert row["body"] == ARTICLE and "robots_disallowed, refused since" in row["detail"]
    assert crawl(held, **SOON)["outcome"] == "robots_disallowed"


def test_a_timeout_during_a_refusal_does_not_begin_it_anew(held: Corpus, hostile: HostileSite) -> None:
    hostile.page("/a", "403 Forbidden")
    since = crawl(held)["refused_since"]
    hostile.page("/a", "503 Later")
    assert crawl(held)["refused_since"] == since
    hostile.page("/a", "403 Forbidden")
    assert crawl(held)["refused_since"] == since


@pytest.mark.parametrize("status", ["404 Gone", "410 Gone", "451 Unavailable For Legal Reasons"])
def test_what_is_gone_or_must_not_be_shown_goes_at_once(held: Corpus, hostile: HostileSite, status: str) -> None:
    hostile.page("/a", status)
    assert crawl(held)["body"] is None


def test_what_opts_out_goes_at_once(held: Corpus, hostile: HostileSite) -> None:
    hostile.page("/a", headers={"X-Robots-Tag": "noai"})
    row = crawl(held)
    assert (row["body"], row["outcome"]) == (None, "opted_out")


def test_an_environment_that_allows_no_private_address_takes_no_body_away(held: Corpus) -> None:
    row = crawl(held, ())
    assert row["body"] == ARTICLE and row["outcome"] == "fetched" and row["detail"].endswith(": blocked_address")
    assert crawl(held, (), **SOON)["body"] == ARTICLE  # that refusal is the machine's: it has no end
    assert crawl(held)["detail"] is None


@pytest.mark.parametrize("address", ["0.0.0.0", "10.0.0.1", "192.168.1.1"])
def test_a_resolver_that_answers_with_a_private_address_takes_no_body_away(
    corpus: Corpus, hostile: HostileSite, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    asked, answers = socket.getaddrinfo, {"site.example": hostile.host}

    def getaddrinfo(host: str, *args: Any, **kwargs: Any) -> Any:
        return asked(answers.get(host, host), *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    hostile.page("/a")
    corpus.seed("a.txt", f"http://site.example:{hostile.port}/a")
    corpus.take_in()
    assert crawl(corpus)["body"] == ARTICLE
    answers["site.example"] = address
    row = crawl(corpus)
    assert row["body"] == ARTICLE and row["detail"].endswith(": blocked_address")


def test_a_captive_portal_on_a_private_address_takes_no_body_away(held: Corpus, hostile: HostileSite) -> None:
    for path in ("/a", "/robots.txt"):
        hostile.redirect(path, "http://10.0.0.1/login")
    (held.root / "crawling" / "origins.sqlite").unlink()
    row = crawl(held)
    assert row["body"] == ARTICLE and row["detail"].endswith(": blocked_address")


def test_fetch_success_counts_pages_that_are_held_and_pages_that_are_refused(corpus: Corpus, site: Site) -> None:
    site.pages = {f"/{i}": html(f"Page {i}", "A page of few words.") for i in range(4)}
    corpus.seed("a.txt", "".join(site.url(f"/{i}") + "\n" for i in range(5)))
    corpus.take_in()
    crawl(corpus)
    partitions = list(corpus.store.batches.segments())
    assert fetch_success(corpus.store, corpus.profile, partitions).summary == "4 of 5 pages came; 1 http_error"
    crawl(corpus, ())
    finding = fetch_success(corpus.store, corpus.profile, partitions)
    assert not finding.passed
    assert finding.summary == "0 of 5 pages came; 5 blocked_address; 4 of these are held from before"
    assert corpus.read("raw_pages").filter(pl.col("body").is_not_null()).height == 4


@pytest.mark.parametrize(
    ("outcome", "detail", "expected"),
    [
        ("blocked_address", "10.0.0.1 is a private address", "blocked_address"),
        ("fetched", "kept the body of 2026-11-01T10:00:00+00:00: blocked_address", "blocked_address"),
        (
            "fetched",
            "kept the body of 2026-11-01T10:00:00+00:00: http_error 403, refused since 2026-11-01",
            "http_error",
        ),
        ("http_error", "302 Found to 'x: blocked_address': no host name", "http_error"),
        ("fetched", None, "fetched"),
    ],
)
def test_what_became_of_a_page_this_time_is_told_from_what_is_held(
    outcome: str, detail: str | None, expected: str
) -> None:
    rows = pl.DataFrame({"outcome": [outcome], "detail": [detail]}, {"outcome": pl.String, "detail": pl.String})
    assert rows.select(CAME_OF_IT).item() == expected


def test_a_report_counts_a_held_page_as_held(held: Corpus, hostile: HostileSite) -> None:
    hostile.page("/a", "503 Later")
    (partition,) = held.store.batches.segments()
    once = profile(crawl={"retries": 0}).crawl
    assert raw_pages.refresh(held.store, partition, once, LOOPBACK).outcomes == {"held": 1}
