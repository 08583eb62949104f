"""All of the hostile servers at once: each page has its documented outcome, and the crawl ends within its memory."""

from __future__ import annotations

import gzip
import json
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import polars as pl
import pytest

from quarry_dagster.crawl import Request, allowed_networks, crawl
from quarry_dagster.profiles.choose import load_profile
from quarry_dagster.profiles.settings import Crawl
from quarry_dagster_tests.corpus import Corpus, profile, words
from quarry_dagster_tests.hostile_cases import MAX_BODY_MB, TIMEOUT, Case, hostile_cases
from quarry_dagster_tests.hostile_site import ARTICLE, HostileSite
from quarry_dagster_tests.site import Site, html

ROOT = Path(__file__).parent.parent
SETTINGS: dict[str, object] = {"page_timeout": TIMEOUT, "max_body_mb": MAX_BODY_MB, "retries": 1, "delay_per_host": 0}
SCRIPT = """
import json, sys
from ipaddress import ip_network
from pathlib import Path
from quarry_dagster.stages.pages import raw_pages
from quarry_dagster_tests.corpus import Corpus, profile
corpus = Corpus(Path(sys.argv[1]), profile(crawl=json.loads(sys.argv[2])))
for partition in corpus.store.batches.segments():
    raw_pages.refresh(corpus.store, partition, corpus.profile.crawl, [ip_network("127.0.0.1/32")])
(peak,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
print(int(peak.split()[1]) // 1024)
"""


@pytest.fixture(scope="module")
def cases() -> Iterator[list[Case]]:
    with ExitStack() as stack:
        yield hostile_cases(stack)


def test_each_hostile_page_has_its_outcome_and_memory_stays_in_the_budget(tmp_path: Path, cases: list[Case]) -> None:
    corpus = Corpus(tmp_path, profile(partitions={"pages_per_partition": 100}, crawl=SETTINGS))
    corpus.seed("hostile.txt", "".join(case.url + "\n" for case in cases))
    corpus.take_in()
    command = [sys.executable, "-c", SCRIPT, str(tmp_path), json.dumps(SETTINGS)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=60)
    found = {row["url"]: row for row in corpus.read("raw_pages").iter_rows(named=True)}
    assert {case.name: found[case.url]["outcome"] for case in cases} == {case.name: case.outcome for case in cases}
    assert not any(case.inside.requests for case in cases if case.inside)
    assert all(bool(row["detail"]) == (row["outcome"] != "fetched") for row in found.values())
    assert int(done.stdout) < load_profile("raspberry_pi").hardware.memory_budget_mb


def test_the_documented_outcomes_are_these(cases: list[Case]) -> None:
    text = (ROOT / "docs" / "crawling.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([^|]+?) \| `(\w+)` \|", text, re.MULTILINE)
    documented = dict(rows)
    assert {case.name: case.outcome for case in cases} == {
        name: documented.get(name) for name in (c.name for c in cases)
    }


def test_nested_divs_cost_only_their_own_text(corpus: Corpus, site: Site) -> None:
    site.pages = {"/divs": b"<div>" * 1_000_000 + b"text", "/page": html("Page", words(1))}
    corpus.seed("a.txt", f"{site.url('/divs')}\n{site.url('/page')}\n")
    corpus.run()
    outcomes = dict(corpus.read("extracted_text").select("url", "outcome").iter_rows())
    assert outcomes[site.url("/page")] == "extracted"
    assert outcomes[site.url("/divs")] in ("empty", "error", "timeout", "too_short")


def test_a_wrong_charset_is_read_as_it_was_meant(corpus: Corpus, site: Site) -> None:
    page = html("Café", "Le déjeuner était prêt à l’heure où les élèves arrivèrent. " * 9)
    site.pages = {"/a": page.decode().replace("<meta charset='utf-8'>", "").encode("cp1252")}
    corpus.seed("a.txt", site.url("/a"))
    corpus.run()
    (text,) = corpus.read("extracted_text").filter(pl.col("outcome") == "extracted")["text"]
    assert "Le déjeuner était prêt à l’heure" in text


def test_headers_that_are_no_utf_8_cost_nothing(corpus: Corpus, hostile: HostileSite) -> None:
    urls = [
        hostile.page("/etag", headers={"ETag": '"é"', "Last-Modified": "hier à midi"}),
        hostile.page("/charset", type="text/html; charset=é"),
        hostile.page("/type", type="text/é"),
        hostile.page("/refused", headers={"ETag": '"é"'}, type="application/pdf"),
    ]
    corpus.seed("a.txt", "\n".join(urls))
    for _ in range(2):
        corpus.run()
        outcomes = dict(corpus.read("raw_pages").select("url", "outcome").iter_rows())
        assert list(map(outcomes.get, urls)) == ["fetched", "fetched", "unsupported_type", "unsupported_type"]


@pytest.mark.parametrize("status", ["500 Oops", "503 Later", "200 OK"])
def test_a_robots_txt_that_cannot_be_read_for_a_night_takes_no_body_away(
    corpus: Corpus, hostile: HostileSite, status: str
) -> None:
    corpus.seed("a.txt", hostile.page("/a"))
    corpus.run()
    cut = gzip.compress(b"User-agent: *")[:-9]
    hostile.page("/robots.txt", status, {"Content-Encoding": "gzip"}, cut, type="text/plain")
    _a_day_later(corpus)
    corpus.run()
    (row,) = corpus.read("raw_pages").iter_rows(named=True)
    assert row["body"] == ARTICLE and "robots_disallowed" in row["detail"]
    hostile.robots("User-agent: *\nDisallow: /")
    _a_day_later(corpus)
    corpus.run()
    (row,) = corpus.read("raw_pages").iter_rows(named=True)
    assert row["body"] == ARTICLE and row["refused_since"] is not None


def _a_day_later(corpus: Corpus) -> None:
    (corpus.root / "crawling" / "origins.sqlite").unlink()


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """Addresses by host name, as the system's resolver is to answer; the connections are real."""
    answers: dict[str, list[str]] = {}
    asked = socket.getaddrinfo

    def getaddrinfo(host, port, *args, **kwargs):
        found = answers.get(host, [host])
        return [info for address in found for info in asked(address, port, *args, **kwargs)]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return answers


def _outcome(url: str) -> str:
    settings = Crawl.model_validate(SETTINGS)
    (response,) = crawl([Request(url)], settings, allow_addresses=allowed_networks("127.0.0.1/32"))
    return response.outcome


def test_a_name_whose_address_changes_is_judged_by_each(names: dict[str, list[str]]) -> None:
    with HostileSite() as site, HostileSite("127.0.0.2") as inside:
        site.page("/a")
        url = f"http://rebind.test:{site.port}/a"
        names["rebind.test"] = ["127.0.0.1"]
        assert _outcome(url) == "fetched"
        names["rebind.test"] = ["127.0.0.2"]
        assert _outcome(url.replace(str(site.port), str(inside.port))) == "blocked_address"
        names["rebind.test"] = ["127.0.0.1", "127.0.0.2"]  # whichever comes first
        assert _outcome(url) == "blocked_address"
        names["rebind.test"] = ["169.254.169.254"]
        assert _outcome(url) == "blocked_address"
        assert not inside.requests and len(site.asked("/a")) == 1


def test_within_a_crawl_the_address_that_was_judged_is_the_one_connected_to(names: dict[str, list[str]]) -> None:
    """The name is not looked up again between the rule and the connection: there is nothing to rebind."""
    settings = Crawl.model_validate(SETTINGS | {"concurrency": 1})
    with HostileSite() as site:
        urls = [site.page(f"/{i}").replace("127.0.0.1", "rebind.test") for i in range(3)]
        names["rebind.test"] = ["127.0.0.1"]
        found = []
        for response in crawl(map(Request, urls), settings, allow_addresses=allowed_networks("127.0.0.1/32")):
            names["rebind.test"] = ["127.0.0.2"]
            found.append(response.outcome)
        assert found == ["fetched"] * 3


def test_a_cookie_never_comes_back() -> None:
    with HostileSite() as site:
        site.page("/set", headers={"Set-Cookie": "a=b; Path=/"})
        url = site.redirect("/r", "/set")
        assert _outcome(url) == "fetched" and _outcome(site.page("/b")) == "fetched"
        assert not any("cookie" in asked.headers for asked in site.requests)


def test_an_error_that_nobody_foresaw_costs_its_page_alone(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(content_type: str | None) -> None:
        if content_type == "text/odd":
            raise IndexError("of a library")

    monkeypatch.setattr("quarry_dagster.crawl.answers.refused_type", fails)
    site.pages = {"/odd": html("Odd", words(1)), "/1": html("One", words(1))}
    site.types["/odd"] = "text/odd"
    requests = [Request(site.url("/odd")), Request(site.url("/1"))]
    network = allowed_networks("127.0.0.1/32")
    found = {r.url: r for r in crawl(requests, Crawl(delay_per_host=0), allow_addresses=network)}
    assert found[site.url("/1")].outcome == "fetched"
    odd = found[site.url("/odd")]
    assert (odd.outcome, odd.detail) == ("network_error", "the answer cannot be read: IndexError: of a library")
