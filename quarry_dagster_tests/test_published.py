"""When a page was published and who wrote it: what it marks, what its URL says, what stands at its heading."""

import pytest
from lxml.html import document_fromstring

from quarry_dagster.extract import Page
from quarry_dagster.extract.byline import byline
from quarry_dagster.extract.page import extract_page
from quarry_dagster.extract.published import Published, day_in, published
from quarry_dagster.page import read_head
from quarry_dagster.profiles.settings import Extraction as Settings

_META = "<meta property='article:published_time' content='{}'>"
_LD = '<script type="application/ld+json">{{"@type": "{}", "datePublished": "{}"}}</script>'


def _published(markup: str, url: str | None = None, fetched_on: str = "2024-06-01") -> Published | None:
    page = f"<html>{markup}</html>"
    return published(read_head(page), document_fromstring(page), url, fetched_on)


@pytest.mark.parametrize(
    ("markup", "day", "source"),
    [
        (_META.format("2024-03-05T23:30:00+09:00"), "2024-03-05", "meta"),
        ("<meta name='citation_publication_date' content='2024/03/05'>", "2024-03-05", "meta"),
        ("<meta name='sailthru.date' content='March 5, 2024'>", "2024-03-05", "meta"),
        ("<meta name='pubdate' content='20240305'>", "2024-03-05", "meta"),
        (_LD.format("NewsArticle", "2024-03-05"), "2024-03-05", "json_ld"),
        (_LD.format("DiscussionForumPosting", "2024-03-05T10:00:00Z"), "2024-03-05", "json_ld"),
        ("<span itemprop=datePublished content=2024-03-05>x</span>", "2024-03-05", "markup"),
        (
            "<p class=entry-date><time datetime=2024-03-05>then</time></p><time datetime=2024-04-01>",
            "2024-03-05",
            "markup",
        ),
        ("<time>5 March 2024</time>", "2024-03-05", "markup"),
        ("<h1>A page</h1><p>By Ann Example</p><p>March 5, 2024 - 8 min read</p>", "2024-03-05", "text"),
        ("<span>5. März 2024</span><h1>Eine Seite</h1>", "2024-03-05", "text"),
    ],
)
def test_what_marks_a_day_or_stands_at_the_heading_dates_a_page(markup: str, day: str, source: str) -> None:
    assert _published(markup) == Published(day, source)


@pytest.mark.parametrize(
    "markup",
    [
        "<p>Some words.</p><script>var cfg = {expires: '2024-01-31'}</script>",
        "<h1>A page</h1><p>Words.</p><footer>Copyright 5 March 2024</footer>",
        _LD.format("WebPage", "2024-03-05"),
        "<meta property='article:modified_time' content='2024-03-05'>",
        "<aside><time datetime=2024-03-05>then</time></aside>",
        "<li class=comment><time datetime=2024-03-05>then</time></li>",
        "<time datetime=2024-03-05></time><time datetime=2024-03-06></time>",
        f"<h1>A page</h1><p>{'It was a long day, of which much was said in the town. ' * 2}March 5, 2024.</p>",
        f"<h1>A page</h1>{'<p>Words of the text stand here.</p>' * 40}<p>March 5, 2024</p>",
        "<h1>A page</h1><p>03/05/2024</p>",
        "<h1>A page</h1><p>1994-12-31</p>",
    ],
)
def test_a_page_without_a_date_gets_none(markup: str) -> None:
    assert _published(markup) is None


def test_no_date_is_later_than_the_page_was_fetched() -> None:
    page = f"{_META.format('2024-06-03')}<time datetime=2024-01-01></time>"
    assert _published(page) == Published(None, "later")
    assert _published(page, fetched_on="2024-06-03") == Published("2024-06-03", "meta")
    assert _published(page, fetched_on="2024-06-02") == Published("2024-06-02", "meta"), "a day by another time zone"
    assert _published("<h1>Autumn</h1><p>September 30, 2024</p>") is None
    assert _published(_META.format("2024-06-01"), fetched_on="9999-12-31") == Published("2024-06-01", "meta")


@pytest.mark.parametrize(
    ("url", "day"),
    [
        ("http://a.test/2024/03/05/title", "2024-03-05"),
        ("http://a.test/blog/2024-3-5-title", "2024-03-05"),
        ("http://a.test/2024/13/05/title", None),
        ("http://a.test/2024/03/055", None),
        ("http://a.test/2024/03-05/x", None),
    ],
)
def test_a_url_may_say_the_day(url: str, day: str | None) -> None:
    assert _published("<p>Words.</p>", url) == (Published(day, "url") if day else None)


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("Posted on September 1st, 2023 by Ann", "2023-09-01"),
        ("19 Dec, 2025", "2025-12-19"),
        ("le 1er février 2024", "2024-02-01"),
        ("12 de março de 2024", "2024-03-12"),
        ("2024年3月5日", "2024-03-05"),
        ("05.03.2024", "2024-03-05"),
        ("10/31/2024", "2024-10-31"),
        ("31/10/2024", "2024-10-31"),
        ("5/5/2024", "2024-05-05"),
        ("3/5/2024", None),
        ("February 30, 2024", None),
        ("call 555-2024-03-05", None),
        ("version 1.2.2024.3.5", None),
        ("May 2024", None),
    ],
)
def test_dates_as_people_write_them(text: str, day: str | None) -> None:
    assert day_in(text) == day


def _byline(markup: str) -> str | None:
    return byline(document_fromstring(f"<html><body>{markup}</body></html>"))


@pytest.mark.parametrize(
    "markup",
    [
        "<span itemprop=author><span itemprop=name>Ann Example</span></span>",
        "<a rel=author href=/ann>Ann Example</a>",
        "<article><h1>A page</h1><div class=post-author>By <a>Ann Example</a><span>March 5</span></div></article>",
        "<article><h1>A page</h1><div class=byline>By Ann Example | 8 min read</div></article>",
        "<h1>A page</h1><p>Written by Ann Example on March 5, 2024</p>",
        "<h1>A page</h1><p>By <a>Ann Example</a></p>",
    ],
)
def test_a_byline_names_the_author(markup: str) -> None:
    assert _byline(markup) == "Ann Example"


@pytest.mark.parametrize(
    "markup",
    [
        "<nav><a class=author>Sign In</a></nav><h1>A page</h1>",
        "<main><a class=author>Authorized Dealer</a></main>",
        "<footer><p>By Ann Example</p></footer>",
        "<article><h1>A page</h1><div class=comment><a class=comment-author>Bob Example</a></div></article>",
        "<h1>A page</h1><p>By the river stood a house, and in it lived nobody.</p>",
        f"<h1>A page</h1>{'<p>Words of the text stand here.</p>' * 40}<p>By Ann Example</p>",
    ],
)
def test_what_is_no_byline_names_nobody(markup: str) -> None:
    assert _byline(markup) is None


@pytest.mark.parametrize(
    ("names", "author"),
    [
        (["Doe, Jane", "Roe, Rita"], "Jane Doe; Rita Roe"),
        (["Jane Doe"], "Jane Doe"),
        (["van Dam, A. B."], "A B van Dam"),
    ],
)
def test_names_with_the_family_first_are_turned(names: list[str], author: str) -> None:
    metas = "".join(f"<meta name=citation_author content='{name}'>" for name in names)
    page = f"<html><head>{metas}</head><body><article><p>{'A study of the harbour. ' * 20}</p></article>"
    assert extract_page(Page("k", "https://a.test/", page.encode(), "text/html"), Settings()).author == author
