"""Pages that pages, feeds and sitemaps name: only where a seed asks, on its host, each once, a bounded number."""

from __future__ import annotations

import gzip
from pathlib import Path

import polars as pl
import pytest

from quarry_dagster.intake import pending
from quarry_dagster.seeds import Discovery, discover, parse_discovery
from quarry_dagster.stages.backlog import backlog
from quarry_dagster_tests.corpus import Corpus, profile, words
from quarry_dagster_tests.site import Site, html

NS = 'xmlns="http://www.sitemaps.org/schemas/sitemap/0.9"'
URL = "http://a.test/dir/page"


def page(number: int, *links: str, head: str = "") -> bytes:
    anchors = "".join(f"<a href='{link}'>there</a> " for link in links)
    return html(f"Page {number}", words(number)).replace(b"<nav>", f"<nav>{anchors}".encode()).replace(
        b"<head>", f"<head>{head}".encode()
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("links:2", Discovery(links=2)),
        ("feeds,sitemaps", Discovery(feeds=True, sitemaps=4)),
        ("llms,feeds", Discovery(feeds=True, llms=True)),
        ("Sitemaps:2 links:1", Discovery(links=1, sitemaps=2)),
    ],
)
def test_options_are_read_and_written(text: str, found: Discovery) -> None:
    assert parse_discovery(text) == found
    assert parse_discovery(str(found)) == found


@pytest.mark.parametrize("text", ["", "links", "links:0", "links:10", "feed", "links:2,everything"])
def test_an_unknown_option_is_named_with_those_that_are_known(text: str) -> None:
    with pytest.raises(ValueError, match="links:1 to links:9, feeds, sitemaps"):
        parse_discovery(text)


def test_links_of_the_same_host_are_found() -> None:
    links = ["other", "/root?b=2&a=1#part", "//a.test/scheme", "http://b.test/away", "http://sub.a.test/", "mailto:me"]
    found = discover(URL, page(1, *links), "text/html", Discovery(links=3))
    assert found.kind is None
    wanted = {"http://a.test/dir/other", "http://a.test/root?b=2&a=1", "http://a.test/scheme"}
    nav = {"http://a.test/", "http://a.test/about", "http://a.test/contact"}
    assert found.seeds == dict.fromkeys(wanted | nav, Discovery(links=2))


@pytest.mark.parametrize(
    ("html", "found"),
    [
        ("<a href='/x?a=1&amp;b=2'>", "http://a.test/x?a=1&b=2"),
        ("<A TITLE='a > b' HREF=' /a b '>", "http://a.test/a%20b"),
        ("<base href='/docs/'><base href='/no/'><a href='x'>", "http://a.test/docs/x"),
        ("<base href='http://['><area href='x'>", "http://a.test/dir/x"),
        ("<!-- <a href='/no'> --><script>'<a href=/no>'</script><a href=/x>", "http://a.test/x"),
        ("<div>" * 1000 + "<a href='/é'>", "http://a.test/%C3%A9"),
    ],
)
def test_links_are_read_as_browsers_do(html: str, found: str) -> None:
    assert list(discover(URL, html.encode(), "text/html", Discovery(links=1)).seeds) == [found]


def test_feeds_are_read_as_browsers_do() -> None:
    link = b"<base href='/docs/'><LINK REL=alternate TYPE='application/rss+xml' HREF='feed?a=1&amp;b=2'>"
    assert list(discover(URL, link, "text/html", Discovery(feeds=True)).seeds) == ["http://a.test/docs/feed?a=1&b=2"]


@pytest.mark.parametrize("body", [b"", b"\0", b"<", b"\xff<\0", b"<a href='http://['>", b"<a " + b"x=1 " * 99_999])
def test_no_page_is_too_broken_to_be_looked_at(body: bytes) -> None:
    assert discover(URL, body, "text/html", Discovery(links=1, feeds=True)).seeds == {}


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "body",
    [
        b"<div>" * 800_000 + b"</b>" * 800_000,
        b"<!--" * 2_000_000,
        b'<a "' * 2_000_000 + b">",
        (b"<a " + b"x" * 3000 + b">") * 2500,
        (b"<a " + b"x" * 2000 + b" " * 1000 + b">") * 2500,
    ],
    ids=["nested", "comments", "quotes", "long names", "spaces"],
)
def test_a_hostile_page_of_megabytes_is_looked_at_in_linear_time(body: bytes) -> None:
    """In quadratic time each of these takes minutes, and the limit of time ends it."""
    assert discover(URL, body, "text/html", Discovery(links=1, feeds=True)).seeds == {}


def test_a_page_may_ask_that_its_links_are_not_followed() -> None:
    nofollow = page(1, "/x", head="<meta name='robots' content='index, nofollow'>")
    assert not discover(URL, nofollow, "text/html", Discovery(links=1)).seeds
    marked = b"<a rel='nofollow' href='/x'>no</a> <a href='/y'>yes</a>"
    assert set(discover(URL, marked, None, Discovery(links=1)).seeds) == {"http://a.test/y"}


@pytest.mark.parametrize(
    "feed",
    [
        "<rss version='2.0'><channel><link>http://a.test/home</link>"
        "<item><link> http://a.test/1 </link></item><item><title>x</title></item>"
        "<item><link>/2</link></item></channel></rss>",
        "<feed xmlns='http://www.w3.org/2005/Atom'><link href='http://a.test/home'/>"
        "<entry><link rel='edit' href='/no'/><link href='http://a.test/1'/></entry>"
        "<entry><link rel='alternate' href='/2'/><link rel='alternate' href='/second'/></entry></feed>",
        "<rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#' xmlns='http://purl.org/rss/1.0/'>"
        "<item><link>http://a.test/1</link></item><item><link>http://a.test/2</link></item></rdf:RDF>",
        "<rss><channel><item><link>http://a.test/1</link></item><item><link>/2</link></item><item><li",
    ],
    ids=["rss", "atom", "rdf", "damaged"],
)
def test_the_items_of_a_feed_are_found(feed: str) -> None:
    found = discover(URL, feed.encode(), "application/xml", Discovery(feeds=True))
    assert (found.kind, set(found.seeds)) == ("a feed", {"http://a.test/1", "http://a.test/2"})
    assert not any(found.seeds.values())


def test_entities_of_a_feed_neither_explode_nor_read_files(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("/secret")
    laughs = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10}">' for i in range(1, 12))
    file = (tmp_path / "secret").as_uri()
    head = f'<!DOCTYPE x [<!ENTITY l0 "/l">{laughs}<!ENTITY f SYSTEM "{file}">]><rss><channel>'
    feed = head + "".join(f"<item><link>{link}</link></item>" for link in ("&l11;", "&f;", "/a")) + "</channel></rss>"
    found = discover(URL, feed.encode(), "text/xml", Discovery(feeds=True))
    assert set(found.seeds) <= {"http://a.test/a"}


def test_what_is_no_list_names_nothing() -> None:
    for body in (b"<svg/>", b"", b"\0" * 100, b"<rss", gzip.compress(b"x")):
        assert not discover(URL, body, "text/xml", Discovery(feeds=True, sitemaps=2)).seeds


def test_indexes_of_sitemaps_end() -> None:
    index = f"<sitemapindex {NS}><sitemap><loc>http://a.test/s2.xml</loc></sitemap></sitemapindex>".encode()
    level = Discovery(sitemaps=4)
    steps = 0
    while found := discover("http://a.test/s.xml", index, "application/xml", level).seeds:
        level = found["http://a.test/s2.xml"]
        steps += 1
    assert steps == 3


def crawl_on(corpus: Corpus) -> int:
    """Crawl until nothing more waits; how many rounds it took."""
    for rounds in range(1, 10):
        corpus.take_in()
        corpus.run(backlog(corpus.store))
        if not pending(corpus.store):
            return rounds
    raise AssertionError("it does not end")


def linked_site(site: Site) -> None:
    """A start page, pages one, two and three links away, one only in a feed, one only in a sitemap."""
    alternate = "<link rel='alternate' type='application/rss+xml' href='/feed'>"
    site.pages = {
        "/": page(0, "/one", "/one?utm=1", head=alternate),
        "/one": page(1, "/", "/two"),
        "/two": page(2, "/three"),
        "/three": page(3),
        "/fed": page(4),
        "/mapped": page(5),
        "/feed": b"<rss><channel><item><link>/fed</link></item></channel></rss>",
        "/sitemap.xml": f"<urlset {NS}><url><loc>{site.url('/mapped')}</loc></url></urlset>".encode(),
    }
    site.types = {"/feed": "application/rss+xml", "/sitemap.xml": "application/xml"}


def _paths(corpus: Corpus, site: Site, outcome: str = "fetched") -> set[str]:
    rows = corpus.read("raw_pages").filter(pl.col("outcome") == outcome)
    return {url.removeprefix(site.url("")) for url in rows["url"]}


def test_without_the_option_nothing_is_looked_for(corpus: Corpus, site: Site) -> None:
    linked_site(site)
    corpus.seed("a.txt", site.url("/"))
    assert crawl_on(corpus) == 1
    assert _paths(corpus, site) == {"/"}


@pytest.mark.parametrize(
    ("option", "more"),
    [
        ("links:1", {"/one", "/one?utm=1"}),
        ("links:2", {"/one", "/one?utm=1", "/two"}),
        ("feeds", {"/fed"}),
        ("sitemaps", {"/mapped"}),
        ("links:1,feeds,sitemaps", {"/one", "/one?utm=1", "/fed", "/mapped"}),
    ],
)
def test_a_seed_may_ask_for_links_feeds_and_sitemaps(corpus: Corpus, site: Site, option: str, more: set[str]) -> None:
    linked_site(site)
    site.pages["/one?utm=1"] = site.pages["/one"]
    corpus.seed("a.txt", f"{site.url('/')} discover={option}\n")
    crawl_on(corpus)
    assert _paths(corpus, site) == {"/"} | more
    assert set(site.asked) <= {"/", "/about", "/contact", "/feed", "/sitemap.xml"} | more
    assert _paths(corpus, site, "unsupported_type") <= {"/feed", "/sitemap.xml"}


def test_a_crawl_with_nothing_new_finds_nothing_and_writes_nothing(corpus: Corpus, site: Site) -> None:
    linked_site(site)
    corpus.seed("a.txt", f"{site.url('/')} discover=links:2,feeds,sitemaps\n")
    crawl_on(corpus)
    before = corpus.files()
    site.reset()
    corpus.run()
    assert corpus.files() == before
    assert site.answers[200] == 0


def test_a_feed_and_a_sitemap_that_grow_are_read_again(corpus: Corpus, site: Site) -> None:
    linked_site(site)
    corpus.seed("a.txt", f"{site.url('/')} discover=feeds,sitemaps\n")
    crawl_on(corpus)
    site.pages |= {"/new": page(7), "/newer": page(8)}
    site.pages["/feed"] = b"<rss><channel><item><link>/fed</link></item><item><link>/new</link></item></channel></rss>"
    entries = "".join(f"<url><loc>{site.url(p)}</loc></url>" for p in ("/mapped", "/newer"))
    site.pages["/sitemap.xml"] = f"<urlset {NS}>{entries}</urlset>".encode()
    corpus.run()
    crawl_on(corpus)
    assert {"/new", "/newer"} <= _paths(corpus, site)


def test_a_url_that_is_known_may_ask_later(corpus: Corpus, site: Site) -> None:
    linked_site(site)
    corpus.seed("a.txt", site.url("/"))
    corpus.run()
    corpus.seed("b.txt", f"{site.url('/')} discover=links:1\n")
    corpus.run()
    crawl_on(corpus)
    assert "/one" in _paths(corpus, site)


def test_a_trap_without_end_is_bounded(tmp_path: Path, site: Site) -> None:
    corpus = Corpus(tmp_path, profile(crawl={"found_per_host": 7}))
    site.pages = {f"/{i}": page(i, *(f"/{j}" for j in range(3 * i + 1, 3 * i + 4))) for i in range(200)}
    corpus.seed("a.txt", f"{site.url('/0')} discover=links:9\n")
    crawl_on(corpus)
    assert corpus.read("raw_pages").height == 1 + 7


def test_what_several_partitions_find_before_it_is_taken_in_is_bounded_together(tmp_path: Path, site: Site) -> None:
    corpus = Corpus(tmp_path, profile(partitions={"pages_per_partition": 1}, crawl={"found_per_host": 7}))
    site.pages = {f"/{i}": page(i, *(f"/{i}/{j}" for j in range(5))) for i in range(3)}
    corpus.seed("a.txt", "".join(f"{site.url(f'/{i}')} discover=links:1\n" for i in range(3)))
    crawl_on(corpus)
    assert corpus.read("raw_pages").height == 3 + 7


def test_a_wrong_option_is_a_problem_of_its_line(corpus: Corpus) -> None:
    corpus.seed("a.txt", "http://a.test/1 discover=everything\nhttp://a.test/2\n")
    corpus.seed("b.jsonl", '{"url": "http://a.test/3", "discover": "links:x"}\n{"url": "http://a.test/4"}\n')
    reports = corpus.take_in()
    assert [(r.urls, r.problem_count) for r in reports] == [(1, 1), (1, 1)]
    assert all(":1: discover: " in r.problems[0] for r in reports)
