"""Nothing that was found is dropped in silence: what cannot be used is a row of `problems`, and is told."""

from __future__ import annotations

import gzip
from dataclasses import dataclass

import pytest

from quarry_dagster import takedown
from quarry_dagster.explain import history
from quarry_dagster.problems import told
from quarry_dagster.seeds import Discovery, discover, refresh_alone
from quarry_dagster_tests.corpus import Corpus, profile, words
from quarry_dagster_tests.site import Site, html
from quarry_dagster_tests.test_discovery import crawl_on, page

URL = "http://a.test/list"
HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">'
EVERYTHING = Discovery(links=1, feeds=True, sitemaps=4, llms=True)
TEXT = " ".join(words(1).split()[:60])


def entry(url: str) -> str:
    return f"<url><loc>{url}</loc></url>"


def item(inside: str) -> str:
    return f"<rss version='2.0' xmlns:f='http://rssnamespace.org/feedburner/ext/1.0'><channel><item>{inside}</item>"


@dataclass(frozen=True)
class Case:
    name: str
    body: str | bytes
    seeds: tuple[str, ...] = ()
    issues: tuple[tuple[str, str], ...] = ()
    """Kind, and a part of the detail."""
    kind: str | None = "a sitemap"
    type: str = "application/xml"
    url: str = URL


CASES = [
    # Sitemaps, whatever their state.
    Case(
        "bare ampersand", f"{HEAD}{entry('/1')}{entry('/x?a=1&b=2')}</urlset>", ("/1",), (("damaged", "write &amp;"),)
    ),
    Case("blank line first", f"\n {HEAD}{entry('/1')}</urlset>", ("/1",)),
    Case("byte order mark", b"\xef\xbb\xbf" + f"{HEAD}{entry('/1')}</urlset>".encode(), ("/1",)),
    Case("cut", f"{HEAD}{entry('/1')}<url><loc>/2", ("/1",), (("damaged", "lost"),)),
    Case("packed", gzip.compress(f"{HEAD}{entry('/1')}</urlset>".encode()), ("/1",), type="application/gzip"),
    Case("served as a page", f"{HEAD}{entry('/1')}</urlset>", ("/1",), type="text/html"),
    Case("empty", f"{HEAD}</urlset>"),
    Case("no loc", f"{HEAD}<url><lastmod>1</lastmod></url>{entry('/1')}</urlset>", ("/1",), (("no_link", "<loc>"),)),
    Case("no URL", f"{HEAD}{entry('http://[/')}{entry('/1')}</urlset>", ("/1",), (("unusable", "no URL"),)),
    Case("other host", f"{HEAD}{entry('http://b.test/1')}</urlset>", (), (("elsewhere", "another host, b.test"),)),
    # Sitemaps in text form, and texts that are none.
    Case("text sitemap", "http://a.test/1\n\nhttp://a.test/2\n", ("/1", "/2"), type="text/plain"),
    Case("packed text", gzip.compress(b"http://a.test/1\r\n"), ("/1",), type="application/gzip"),
    Case("marked text", b"\xef\xbb\xbfhttp://a.test/1", ("/1",), type="text/plain"),
    Case("utf-16 text", "http://a.test/1\n".encode("utf-16"), ("/1",), type="text/plain"),
    Case("a text", TEXT, kind=None, type="text/plain"),
    Case("a text with a link", f"{TEXT} http://a.test/1", kind=None, type="text/plain"),
    Case("markdown", f"# {TEXT}\n<rss>", kind=None, type="text/markdown"),
    Case("other XML", "<svg><item/></svg>", kind=None),
    # Feeds.
    Case("guid", item("<guid>http://a.test/1</guid>"), ("/1",), kind="a feed"),
    Case("permalink", item("<guid isPermaLink='true'>http://a.test/1</guid>"), ("/1",), kind="a feed"),
    Case(
        "no permalink", item("<guid isPermaLink='false'>http://a.test/1</guid>"), (), (("no_link", "item"),), "a feed"
    ),
    Case("guid is no URL", item("<guid>tag:1</guid>"), (), (("no_link", "items without an address"),), "a feed"),
    Case(
        "tracker, with the page's own",
        item("<link>http://tracker.test/1</link><f:origLink>http://a.test/1</f:origLink>"),
        ("/1",),
        kind="a feed",
    ),
    Case("tracker and guid", item("<link>http://t.test/1</link><guid>http://a.test/1</guid>"), ("/1",), kind="a feed"),
    Case("tracker alone", item("<link>http://t.test/1</link>"), (), (("elsewhere", "t.test"),), "a feed"),
    Case("a feed served as a page", item("<link>/1</link>"), ("/1",), kind="a feed", type="text/html"),
    Case("a feed that is none", "not here", (), (("no_list", "application/rss+xml"),), "a list", "application/rss+xml"),
    # llms.txt.
    Case(
        "llms.txt",
        "# Site\n\n> What it is\n\n## Docs\n\n- [One](/1): the first (of all)\n- [Two](http://a.test/2_(b).md)\n"
        "- <http://a.test/3>\n- [Away](http://b.test/)\n",
        ("/1", "/2_(b).md", "/3"),
        (("elsewhere", "b.test"),),
        "llms.txt",
        "text/markdown",
        "http://a.test/llms.txt",
    ),
    # robots.txt.
    Case(
        "sitemap elsewhere",
        b"\xef\xbb\xbfSitemap: http://cdn.test/s.xml\nsitemap: /own.xml",
        ("/own.xml",),
        (("elsewhere", "a sitemap on another host, cdn.test, is not asked for: name it as a seed itself"),),
        "robots.txt",
        "text/plain",
        "http://a.test/robots.txt",
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_a_list_names_is_found_or_told(case: Case) -> None:
    body = case.body if isinstance(case.body, bytes) else case.body.encode()
    found = discover(case.url, body, case.type, EVERYTHING)
    assert found.kind == case.kind
    assert tuple(url.removeprefix("http://a.test") for url in found.seeds) == case.seeds
    assert [issue.kind for issue in found.issues] == [kind for kind, _ in case.issues]
    assert all(part in issue.detail for issue, (_, part) in zip(found.issues, case.issues, strict=True))


@pytest.mark.parametrize(
    ("body", "kind", "count"),
    [
        ("<a href='http://['>x</a><a href='javascript:x()'>y</a><a href='/1'>z</a>", "unusable", 1),
        ("<meta name=robots content=nofollow><a href='/1'>z</a><a href='/2'>z</a>", "nofollow", 2),
        ("".join(f"<a href='/{i}'>z</a>" for i in range(10_001)), "too_many", 1),
        ("<link rel=alternate type=application/rss+xml href='http://feeds.test/x'>", "elsewhere", 1),
    ],
)
def test_what_a_page_names_and_is_not_taken_is_told(body: str, kind: str, count: int) -> None:
    found = discover(URL, body.encode(), "text/html", Discovery(links=1, feeds=True))
    assert [(issue.kind, issue.count) for issue in found.issues] == [(kind, count)]


@pytest.mark.parametrize(
    ("body", "target"),
    [
        ("<meta http-equiv='refresh' content='0; url=/target'>", "http://a.test/target"),
        ("<META HTTP-EQUIV=Refresh CONTENT=\"5;URL='/target'\"><p>This page has moved.", "http://a.test/target"),
        ("<meta http-equiv=refresh content='0;url=http://b.test/'>", "http://b.test/"),
        ("<meta http-equiv=refresh content='60'>", None),
        ("<meta http-equiv=refresh content='60;url=/list'>", None),
        (f"<meta http-equiv=refresh content='60;url=/next'><p>{TEXT}", None),
        ("<p>refresh yourself", None),
        ("<noscript><meta http-equiv=refresh content='0;url=/noscript'></noscript>", None),
    ],
)
def test_a_page_that_is_only_a_refresh_is_told(body: str, target: str | None) -> None:
    issue = refresh_alone(URL, body.encode(), "text/html")
    assert (issue and issue.detail) == (target and f"nothing but a refresh to {target}: name that page as a seed")


def test_where_links_are_followed_a_refresh_is() -> None:
    body = b"<meta http-equiv=refresh content='0;url=/target'>"
    assert list(discover(URL, body, "text/html", Discovery(links=1)).seeds) == ["http://a.test/target"]


def _told(corpus: Corpus) -> list[tuple[str, str, int]]:
    rows = corpus.read("problems").sort("url", "kind")
    return [(row["source"], row["kind"], row["count"]) for row in rows.iter_rows(named=True)]


def test_what_a_crawl_could_not_use_is_in_the_table_and_stays_as_it_is(corpus: Corpus, site: Site) -> None:
    site.pages = {
        "/": page(0, head="<link rel=alternate type=application/rss+xml href=/feed>"),
        "/moved": b"<meta http-equiv=refresh content='0;url=/target'>",
        "/feed": item("<title>x</title>").encode(),
        "/sitemap.xml": f"{HEAD}{entry(site.url('/mapped'))}<url><loc>/a&b</loc></url></urlset>".encode(),
        "/mapped": page(1),
    }
    site.types = {"/feed": "application/rss+xml", "/sitemap.xml": "application/xml"}
    corpus.seed("a.txt", f"{site.url('/')} discover=feeds,sitemaps\n{site.url('/moved')}\nnot a url\n")
    crawl_on(corpus)
    expected = [
        ("feed", "no_link", 1),
        ("page", "refresh", 1),
        ("sitemap", "damaged", 1),
        ("seed", "row", 1),
    ]
    assert sorted(_told(corpus)) == sorted(expected)
    before, table = corpus.files(), corpus.read("problems")
    corpus.run()
    assert corpus.files() == before and corpus.read("problems").equals(table)
    steps = dict((history(str(corpus.root), site.url("/moved")) or pytest.fail()).steps)
    assert steps["problems"].endswith(f"nothing but a refresh to {site.url('/target')}: name that page as a seed")
    site.pages["/moved"] = html("Back", words(5))
    corpus.run()
    assert "refresh" not in corpus.read("problems")["kind"].to_list()
    takedown.forget(corpus.store, corpus.profile, site.url("/sitemap.xml"))
    assert "damaged" not in corpus.read("problems")["kind"].to_list()


def test_the_limit_of_a_host_is_told(tmp_path, site: Site) -> None:
    corpus = Corpus(tmp_path, profile(crawl={"found_per_host": 3}))
    site.pages = {"/": page(0, *(f"/{i}" for i in range(8))), **{f"/{i}": page(i + 1) for i in range(8)}}
    corpus.seed("a.txt", f"{site.url('/')} discover=links:1\n")
    crawl_on(corpus)
    (row,) = corpus.read("problems").iter_rows(named=True)
    host = site.url("").removeprefix("http://")
    assert (row["source"], row["url"], row["kind"], row["count"]) == ("host", host, "limit", 7)
    assert told(row) == (
        f"host {host}: 7: the limit of 3 pages of a host (crawl.found_per_host) is reached: further pages that are "
        "found are left out; raise it if they are wanted"
    )
