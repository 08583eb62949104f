"""A page's head is read once, by one reader: whoever asks it, and whatever state the page is in."""

from __future__ import annotations

import json

import pytest

from quarry_dagster.crawl.consent import Consent
from quarry_dagster.extract import Page
from quarry_dagster.extract.page import extract_page
from quarry_dagster.page import read_head, read_json_ld, text_in, typed, types_of
from quarry_dagster.page.json_ld import MAX_DEPTH, MAX_SIZE
from quarry_dagster.page.tags import start_tags
from quarry_dagster.profiles.settings import Crawl, Extraction
from quarry_dagster_tests.corpus import words

URL = "https://example.org/dir/page?x=1"
ARTICLE = {
    "@context": "https://schema.org",
    "@type": "NewsArticle",
    "headline": "The bridge is open",
    "author": {"@type": "Person", "name": "Ada Byron"},
    "datePublished": "2021-03-05T10:00:00+01:00",
}
JSON = json.dumps(ARTICLE)


def ld(script: str, kind: str = "application/ld+json") -> str:
    return f'<script type="{kind}">{script}</script>'


def page(head: str = "", body: str = "") -> str:
    text = f"<p>{words(1)}</p><p>{words(2)}</p>"
    return f"<html><head><title>Home</title>{head}</head><body><article>{text}</article>{body}</body></html>"


def row(head: str = "", body: str = "", url: str = URL):
    return extract_page(Page("k", url, page(head, body).encode(), "text/html; charset=utf-8"), Extraction(mode="fast"))


@pytest.mark.parametrize(
    "markup",
    {
        "plain": ld(JSON),
        "charset behind the type": ld(JSON, "application/ld+json; charset=utf-8"),
        "type in capitals": f"<SCRIPT TYPE='Application/LD+JSON'>{JSON}</SCRIPT>",
        "plus sign escaped": ld(JSON, "application/ld&#x2B;json"),
        "type without quotes, behind other attributes": f"<script id=a data-x type=application/ld+json>{JSON}</script>",
        "comment of HTML": ld(f"<!--\n{JSON}\n-->"),
        "CDATA": ld(f"<![CDATA[{JSON}]]>"),
        "CDATA in comments of JavaScript": ld(f"//<![CDATA[\n{JSON}\n//]]>"),
        "CDATA in comments of CSS": ld(f"/*<![CDATA[*/ {JSON} /*]]>*/"),
        "both, as Drupal writes": ld(f"<!--//--><![CDATA[//><!--\n{JSON}\n//--><!]]>"),
        "a word before it": ld(f"// structured data\n{JSON}"),
        "semicolon behind it": ld(JSON + ";\n"),
        "byte order mark": ld("\ufeff" + JSON),
        "comma before the brace": ld(JSON.removesuffix("}") + ",\n}"),
        "two commas": ld(JSON.replace(", ", ",, ", 1)),
        "comments inside": ld(JSON.replace(", ", ", /* see https://a.test/ */ ", 1)),
        "line breaks in a text": ld(JSON.replace("bridge is", "bridge\n\tis")),
        "control characters": ld(JSON.replace("bridge is", "bridge\x0b \x01is").replace("\x01", "\x1f")),
        "escapes that JSON has not": ld(JSON.replace("bridge", "br\\idge")),
        "escaped for HTML": ld(JSON.replace('"', "&quot;")),
        "one brace too many": ld(JSON + "}"),
        "several values": ld('{"@type": "WebSite", "name": "x"}\n' + JSON),
        "a list": ld(f"[{JSON}]"),
        "a graph": ld(json.dumps({"@context": "https://schema.org", "@graph": [{"@type": "WebPage"}, ARTICLE]})),
        "a graph in a list": ld(json.dumps([{"@graph": [[ARTICLE]]}])),
        "main entity of a page": ld(json.dumps({"@type": "WebPage", "mainEntity": ARTICLE})),
        "several types": ld(json.dumps(ARTICLE | {"@type": ["Thing", "NewsArticle"]})),
        "a type by its URL": ld(json.dumps(ARTICLE | {"@type": "http://schema.org/NewsArticle"})),
        "author by its id": ld(
            json.dumps(
                {"@graph": [ARTICLE | {"author": {"@id": "#a"}}, {"@type": "Person", "@id": "#a", "name": "Ada Byron"}]}
            )
        ),
        "author in a list": ld(json.dumps(ARTICLE | {"author": [{"@type": "Person", "name": ["Ada Byron"]}]})),
        "author in parts": ld(
            json.dumps(ARTICLE | {"author": {"@type": "Person", "givenName": "Ada", "familyName": "Byron"}})
        ),
        "behind a script that is broken": ld('{"@type": "NewsArticle", "headline": "A "quoted" word"}') + ld(JSON),
        "before a script that is broken": ld(JSON) + ld("{{{") + ld(""),
        "not a number": ld(JSON.replace("{", '{"rating": NaN, ', 1)),
        "nested a thousand deep beside it": ld(JSON) + ld("[" * 1000 + "]" * 1000),
        "nested ten thousand deep inside it": ld(JSON.replace("{", '{"x": ' + "[" * 9999 + "]" * 9999 + ", ", 1)),
        "ids in a circle": ld(
            json.dumps(
                {
                    "@graph": [
                        ARTICLE,
                        {"@id": "#a", "isPartOf": {"@id": "#b"}},
                        {"@id": "#b", "isPartOf": {"@id": "#a"}},
                    ]
                }
            )
        ),
        "an author who is himself": ld(json.dumps(ARTICLE | {"@id": "#a"}))
        + ld('{"@id": "#a", "author": {"@id": "#a"}}'),
        "script that does not end": ld(JSON).removesuffix("</script>"),
    }.items(),
    ids=lambda case: case[0],
)
def test_json_ld_is_read_as_pages_write_it(markup: tuple[str, str]) -> None:
    at_the_end = markup[0] == "script that does not end"
    found = row("", markup[1]) if at_the_end else row(markup[1])
    assert found.outcome == "extracted" and found.detail is None
    title = "The bridge is open"
    assert (found.title, found.author, found.date) == (title, "Ada Byron", "2021-03-05")
    if not at_the_end:
        assert row("", markup[1]).author == "Ada Byron", "in the body too"


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        ("", None),
        ("  <!-- -->  ", None),
        ("{", "JSON-LD script 1: no JSON: Expecting property name"),
        ("hello", "JSON-LD script 1: no JSON: Expecting value"),
        ('{"a": "b" "c"}', "JSON-LD script 1: no JSON: Expecting ',' delimiter"),
        (f'{{"a": "{"x" * MAX_SIZE}"}}', "JSON-LD script 1: past the 5,000,000 characters that are read of a page"),
    ],
)
def test_a_script_that_cannot_be_read_is_named_and_costs_itself(script: str, problem: str | None) -> None:
    found = read_json_ld([script])
    assert found.nodes == ()
    assert (not found.problems) if problem is None else found.problems[0].startswith(problem)


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "script",
    [
        "/*" * 2_000_000,
        '"\\' * 2_000_000,
        '"' * 4_000_001,
        "," * 4_000_000,
        ", " * 2_000_000 + "x",
        "//" * 2_000_000,
        "[" * 4_000_000,
        '{"a":' * 800_000,
        "<!--" * 1_000_000,
        '{"a":1}' * 500_000,
        "[" + "{}," * 1_500_000 + "{}]",
    ],
    ids=lambda text: repr(text[:12]),
)
def test_hostile_json_ld_of_megabytes_is_read_in_linear_time(script: str) -> None:
    """In quadratic time each of these takes hours, and the limit of time ends it."""
    assert len(read_json_ld([script]).nodes) <= 10_000


def test_what_is_nested_deeper_than_the_limit_is_left_out() -> None:
    deep = '{"@type": "A", "a": ' * (2 * MAX_DEPTH) + "1" + "}" * (2 * MAX_DEPTH)
    assert len(read_json_ld([deep]).nodes) == MAX_DEPTH


def test_nodes_are_found_by_type_outermost_first_and_texts_in_whatever_holds_them() -> None:
    inner = {"@type": "Person", "name": {"@value": "Ada  &amp; co"}}
    found = read_json_ld([json.dumps({"@type": "schema:Article", "author": [inner], "name": "x"})])
    assert [types_of(node) for node in found.nodes] == [["Article"], ["Person"]]
    assert [node["name"] for node in found.main] == ["x"]
    (person,) = typed(found.nodes, ["person"])
    assert text_in(person["name"]) == "Ada & co"
    assert (text_in([]), text_in({}), text_in(None), text_in(3)) == (None, None, None, "3")


@pytest.mark.parametrize(
    ("head", "canonical"),
    [
        ("", None),
        ('<link rel="canonical" href="https://example.org/a">', "https://example.org/a"),
        ("<LINK HREF='/a?b=1&amp;c=2#top' REL='Canonical nofollow'>", "https://example.org/a?b=1&c=2"),
        ("<link rel=canonical href=other>", "https://example.org/dir/other"),
        ("<link rel=canonical href=//cdn.test/x/>", "https://cdn.test/x/"),
        ('<base href="/docs/"><link rel="canonical" href="x">', "https://example.org/docs/x"),
        ('<link rel="canonical" href=" /a\n/b ">', "https://example.org/a/b"),
        ('<link rel="canonical" href="/a?region=1&region=2">', "https://example.org/a?region=1&region=2"),
        ('<link rel="canonical" href=""><link rel="canonical" href="/second">', "https://example.org/second"),
        ('<link rel="canonical" href="/first"><link rel="canonical" href="/second">', "https://example.org/first"),
        ('<link rel="canonical" href="javascript:void(0)">', None),
        ('<link rel="canonical" href="http://[">', None),
        ('<link rel="canonical" href="https://me:secret@example.org/a">', None),
        ('<!-- <link rel="canonical" href="/no"> -->', None),
        ("<script>'<link rel=canonical href=/no>'</script>", None),
        ('<meta property="og:url" content="https://example.org/og">', "https://example.org/og"),
        ('<meta content=/og name=OG:URL><link rel="canonical" href="mailto:x">', "https://example.org/og"),
        ('<link rel="alternate" href="/fr" hreflang="fr"><link rel="stylesheet" href="/canonical">', None),
        ('<noscript><img src=x></noscript><div></div><link rel="canonical" href="/a">', "https://example.org/a"),
    ],
)
def test_the_canonical_url_is_a_column_of_what_was_extracted(head: str, canonical: str | None) -> None:
    assert row(head).canonical_url == canonical


def test_the_canonical_url_is_there_whatever_becomes_of_the_text() -> None:
    link = '<link rel="canonical" href="/a">'
    raw = f"<html><head>{link}</head><body><script>x</script></body></html>".encode()
    found = extract_page(Page("k", URL, raw, "text/html"), Extraction())
    assert (found.outcome, found.canonical_url) == ("javascript_only", "https://example.org/a")
    assert row(link, url="urn:quarry:mine:1").canonical_url is None, (
        "a document without a URL has none to be relative to"
    )
    assert row("", f"<p>{link}</p>").canonical_url is None, "what stands in the body may be a reader's comment"


@pytest.mark.parametrize(
    ("head", "refused"),
    [
        ("<meta name=robots content=noai>", "meta robots: noai"),
        ("<META CONTENT='index, NOAI' NAME=' Robots '>", "meta robots: noai"),
        ("<meta property=robots content='noimageai;noai'>", "meta robots: noai"),
        ("<meta name=QuarryDagster content=noai>", "meta quarrydagster: noai"),
        ("<meta name=tdm-reservation content=1>", "meta tdm-reservation: 1"),
        ("<meta name=tdm-reservation content=0><meta name=tdm-reservation content=1>", "meta tdm-reservation: 1"),
        ("<meta name=googlebot content=noai>", None),
        ("<meta name=description content='about noai'>", None),
        ("<!-- <meta name=robots content=noai> -->", None),
        ("<title><meta name=robots content=noai></title>", None),
        ("</head><body><meta name=robots content=noai>", None),
        ("<!--><meta name=robots content=noai>", "meta robots: noai"),
        ("<title-bar></title-bar><meta name=robots content=noai>", "meta robots: noai"),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le", "utf-16-be", "utf-8-sig"])
def test_consent_asks_the_same_reader(head: str, refused: str | None, encoding: str) -> None:
    consent = Consent(Crawl(user_agent="QuarryDagster/1.0"))
    assert consent.refused_by_html(f"<html><head>{head}".encode(encoding)) == refused


def test_a_head_says_what_later_readers_ask_for() -> None:
    head = read_head(
        "<!doctype html><html lang=de-AT><head><title> A &amp;\n b </title><title>no</title>"
        "<meta name=generator content='Hugo 0.1'><meta property='og:type' content='article'>"
        "<meta name=author property='article:author' content='Ada'><meta name=empty content=''>"
        "<link rel='license' href='/by'><link rel=preload href=x><link rel='alternate icon' href=y>"
        "<meta http-equiv=Refresh content='0; URL=\"/next\"'><meta itemprop=dateModified content=2020-01-01>"
    )
    assert (head.title, head.language, head.generator) == ("A & b", "de-AT", "Hugo 0.1")
    assert head.contents("og:type", "article:author", "author", "empty", "refresh") == ["article", "Ada", "Ada"]
    assert [(link.rel, link.href) for link in head.links] == [({"license"}, "/by"), ({"alternate", "icon"}, "y")]
    assert head.refresh == (0, "/next")
    assert head.contents("datemodified") == ["2020-01-01"]


@pytest.mark.parametrize(
    ("content", "refresh"),
    [
        ("0;url=/a", (0, "/a")),
        ("5; URL = '/a b'", (5, "/a b")),
        ("0,/a", (0, "/a")),
        ("0 /a", (0, "/a")),
        (".5;url=/a", None),
        ("1.5;url=/a", (1, "/a")),
        ("30", None),
        ("0;url=", None),
        ("", None),
        ("now;url=/a", None),
        ("9" * 40 + ";url=/a", (999_999_999, "/a")),
    ],
)
def test_where_a_page_sends_its_reader(content: str, refresh: tuple[int, str] | None) -> None:
    assert read_head(f'<meta http-equiv="refresh" content="{content}">').refresh == refresh
    assert read_head(f'<noscript><meta http-equiv="refresh" content="{content}"></noscript>').refresh is None


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ("'?a=1&region=2'", "?a=1&region=2"),
        ("'?a=1&copy=2&section=3&currency=EUR'", "?a=1&copy=2&section=3&currency=EUR"),
        ("'?a=1&amp;reg=2'", "?a=1&reg=2"),
        ("'&copy;&copy &reg'", "©© ®"),
        ("'&copya;'", "&copya;"),
        ("'&#38;&#x26;&#38x'", "&&&x"),
        ("/a?b=c", "/a?b=c"),
        ("x/", "x/"),
        ("it's", "it's"),
    ],
)
def test_references_in_attributes_are_read_as_browsers_do(attribute: str, value: str) -> None:
    assert list(start_tags(f"<a href={attribute}>", ("a",))) == [("a", {"href": value})]


@pytest.mark.parametrize(
    "markup", ["", "<", "<meta", "<title>", "<meta " + "x" * 20_000, "<!--", "\0", "<body", "<link rel>"]
)
def test_no_head_is_too_broken_to_be_read(markup: str) -> None:
    head = read_head(markup)
    assert (head.canonical_url(URL), head.refresh, head.json_ld.nodes) == (None, None, ())


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "markup",
    [
        "<meta " * 1_000_000,
        "<meta name=a content=b>" * 300_000,
        "<link href=a>" * 500_000,
        "<!--" * 2_000_000,
        "<script>" * 500_000,
        "<script type=application/ld+json>{}</script>" * 100_000,
        "<title>" * 700_000,
        "<noscript>" * 500_000,
        '<meta "' * 700_000,
        '<meta ">' * 700_000,
        "<meta content='" + "&" * 8000 + "'>" * 500,
    ],
    ids=lambda text: repr(text[:12]),
)
def test_a_hostile_head_of_megabytes_is_read_in_linear_time(markup: str) -> None:
    head = read_head(markup)
    assert len(head.metas) + len(head.links) <= 20_000 and len(head.json_ld.nodes) <= 10_000
