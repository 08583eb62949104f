"""What a host says of the use of its pages is recorded, and obeyed as the settings say."""

from __future__ import annotations

import polars as pl
import pytest

from quarry_dagster.crawl import robots
from quarry_dagster.crawl.tdmrep import PATH
from quarry_dagster.digests import digest
from quarry_dagster_tests.corpus import Corpus, profile
from quarry_dagster_tests.fetching import fetch
from quarry_dagster_tests.hostile_site import HostileSite

AGENT = "QuarryCore/0.2"


@pytest.mark.parametrize(
    ("text", "obeyed", "path", "detail"),
    [
        ("User-agent: *\nContent-Signal: search=yes, ai-train=no\nAllow: /", ["ai-train"], "/", "ai-train=no"),
        ("User-agent: *\nContent-signal: ai-train=no,search=yes", ["ai-train"], "/", "ai-train=no"),
        ("User-Agent: *\nCONTENT-SIGNAL : AI-Train = NO # none", ["ai-train"], "/", "ai-train=no"),
        ("Content-Signal: ai-train=no\nUser-agent: *\nAllow: /", ["ai-train"], "/", "ai-train=no"),
        ("User-agent: *\nContent-Signal: ai-train=yes, ai-input=no", ["ai-train"], "/", None),
        ("User-agent: *\nContent-Signal: ai-train=yes, ai-input=no", ["ai-train", "ai-input"], "/", "ai-input=no"),
        ("User-agent: *\nContent-Signal: search=no", ["search"], "/", "search=no"),
        ("User-agent: *\nContent-Signal: search=no", [], "/", None),
        ("User-agent: other\nContent-Signal: ai-train=no\n\nUser-agent: *\nAllow: /", ["ai-train"], "/", None),
        ("User-agent: quarrycore\nAllow: /\n\nUser-agent: *\nContent-Signal: ai-train=no", ["ai-train"], "/", None),
        ("User-agent: *\nContent-Signal: /a ai-train=no", ["ai-train"], "/a/1", "ai-train=no"),
        ("User-agent: *\nContent-Signal: /a ai-train=no", ["ai-train"], "/b", None),
        ("User-agent: *\nContent-Signal: ai-train=no\nContent-Signal: /a ai-train=yes", ["ai-train"], "/a/1", None),
        ("User-agent: *\nContent-Signal: ai-train=maybe", ["ai-train"], "/", None),
        ("User-agent: *\n# Content-Signal: ai-train=no", ["ai-train"], "/", None),
    ],
)
def test_a_signal_in_robots_txt_counts_as_it_is_written(
    text: str, obeyed: list[str], path: str, detail: str | None
) -> None:
    for rules in (robots.parse(text, AGENT), robots.from_group(robots.parse(text, AGENT).text)):
        refused = rules.opted_out(f"http://a.test{path}", obeyed)
        assert (refused and refused.detail) == (detail and f"robots.txt Content-Signal: {detail}")


@pytest.mark.parametrize(
    ("text", "licenses"),
    [
        ("License: https://a.test/license.xml\nUser-agent: *\nAllow: /", ("https://a.test/license.xml",)),
        ("User-agent: other\nDisallow: /\nlicense:https://a.test/l.xml", ("https://a.test/l.xml",)),
        ("User-agent: *\nAllow: /license: x", ()),
        ("# License: https://a.test/license.xml", ()),
    ],
)
def test_a_licence_is_of_all_agents_and_counts_where_it_is_named(text: str, licenses: tuple[str, ...]) -> None:
    rules = robots.parse(text, AGENT)
    assert rules.licenses == licenses
    assert rules.opted_out("http://a.test/", ["ai-train"]) is None
    refused = rules.opted_out("http://a.test/", ["license"])
    assert (refused and refused.detail) == (f"robots.txt License: {licenses[0]}" if licenses else None)


@pytest.mark.parametrize(
    ("value", "settings", "detail"),
    [
        ("ai-train=no, search=yes", {}, "header Content-Signal: ai-train=no"),
        ("ai-train=yes, ai-input=no", {}, None),
        ("ai-input=no", {"obey_signals": ("ai-input",)}, "header Content-Signal: ai-input=no"),
        ("ai-train=no", {"obey_signals": ()}, None),
        ("ai-train=no", {"obey_consent": False}, None),
    ],
)
def test_a_signal_in_a_header_counts(
    hostile: HostileSite, value: str, settings: dict[str, object], detail: str | None
) -> None:
    response = fetch(hostile.page("/a", headers={"Content-Signal": value}), **settings)
    assert (response.outcome, response.detail) == ("opted_out" if detail else "fetched", detail)


def _consent(corpus: Corpus) -> dict[str, tuple[str, str]]:
    rows = corpus.read("consent").select("source", "says", "done").iter_rows()
    return {source: (says, done) for source, says, done in rows}


ROBOTS = (
    "User-agent: *\nContent-Signal: search=yes, ai-input=no\nDisallow: /no\n"
    "License: https://user:secret@a.test/license.xml\n"
)


def test_what_hosts_say_is_in_the_table_and_stays_as_it_is(tmp_path, hostile: HostileSite) -> None:
    corpus = Corpus(tmp_path, profile())
    hostile.robots(ROBOTS)
    hostile.page(PATH, body=b'[{"location": "/mine", "tdm-reservation": 1}]', type="application/json")
    pages = ["/a", "/no", "/mine", "/header", "/tag"]
    hostile.page("/header", headers={"X-Robots-Tag": "noai"})
    hostile.page("/tag", body=b"<meta name=robots content=noai>")
    for path in ("/a", "/no", "/mine"):
        hostile.page(path)
    corpus.seed("a.txt", "".join(f"{hostile.url(path)}\n" for path in pages))
    corpus.run()
    recorded = "recorded alone: crawl.obey_signals does not name"
    assert _consent(corpus) == {
        "robots": ("1 line for us that disallow", "obeyed"),
        "content-signal": ("ai-input=no, search=yes", f"{recorded} ai-input"),
        "rsl": ("https://a.test/license.xml", f"{recorded} license"),
        "tdmrep": ("reserves /mine", "obeyed"),
        "header": ("header X-Robots-Tag: noai", "obeyed"),
        "tag": ("meta robots: noai", "obeyed"),
    }
    digests = dict(corpus.read("consent").select("source", "digest").iter_rows())
    assert digests["robots"] == digests["rsl"] == digest(ROBOTS.encode()) and digests["tag"] is None
    assert set(corpus.read("consent")["host"]) == {hostile.url("").removeprefix("http://")}
    before = corpus.files()
    corpus.run()
    assert corpus.files() == before
    strict = Corpus(tmp_path, profile(crawl={"obey_signals": ["license"]}))
    strict.run()
    assert _consent(strict)["rsl"] == ("https://a.test/license.xml", "obeyed")
    outcomes = dict(strict.read("raw_pages").select("url", "outcome").iter_rows())
    assert outcomes[hostile.url("/a")] == "opted_out" and outcomes[hostile.url("/no")] == "robots_disallowed"


def test_a_host_that_opts_out_later_loses_its_pages(corpus: Corpus, hostile: HostileSite) -> None:
    corpus.seed("a.txt", hostile.page("/a"))
    corpus.run()
    assert corpus.read("raw_pages")["outcome"].to_list() == ["fetched"]
    assert _consent(corpus)["robots"] == ("no robots.txt: it answers 404 Not Found", "obeyed")
    hostile.robots("User-agent: *\nContent-Signal: ai-train=no")
    (corpus.root / "crawling" / "origins.sqlite").unlink()
    corpus.run()
    rows = corpus.read("raw_pages").select("outcome", "detail", pl.col("body").is_null()).rows()
    assert rows == [("opted_out", "robots.txt Content-Signal: ai-train=no", True)]
    assert _consent(corpus)["content-signal"] == ("ai-train=no", "obeyed")
