"""What a server is asked for is what a page, a seed, a redirect, a sitemap or a feed has written."""

from __future__ import annotations

import io

import pytest

from quarry_dagster.errors import InvalidUrl
from quarry_dagster.page.tags import start_tags
from quarry_dagster.seeds import Discovery, Seed, discover, read_seeds
from quarry_dagster.urls import canonical_url
from quarry_dagster.wire import wire_url, without_credentials
from quarry_dagster_tests.corpus import Corpus, words
from quarry_dagster_tests.fetching import fetch
from quarry_dagster_tests.site import Site, html
from quarry_dagster_tests.test_discovery import crawl_on

BASE = "http://a.test/dir/page?own=1"


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("http://a.test/svc?wsdl", "/svc?wsdl"),
        ("http://a.test/svc?wsdl=", "/svc?wsdl="),
        ("http://a.test/index.php?/topic/57-abc/", "/index.php?/topic/57-abc/"),
        ("http://a.test/list?type=b&cat=a", "/list?type=b&cat=a"),
        ("http://a.test/x?a=1&", "/x?a=1&"),
        ("http://a.test/x?", "/x?"),
        ("http://a.test/x?&&a", "/x?&&a"),
        ("http://a.test/x?a=1;b=2", "/x?a=1;b=2"),
        ("http://a.test/x?q=a+b%20c", "/x?q=a+b%20c"),
        ("http://a.test/s3/foo%27bar%28%29%2C%3A%3D", "/s3/foo%27bar%28%29%2C%3A%3D"),
        ("http://a.test/s3/foo'bar(),:=", "/s3/foo'bar(),:="),
        ("http://a.test/a%2Fb%5c%2e%7e", "/a%2Fb%5c%2e%7e"),
        ("http://a.test/t?next=http%3A//x.test/%3f", "/t?next=http%3A//x.test/%3f"),
        ("http://a.test/caf%e9/%E9", "/caf%e9/%E9"),
        ("http://a.test/100%/%zz", "/100%/%zz"),
        ("http://a.test/a b?c d", "/a%20b?c%20d"),
        ("http://a.test/é?é=ü", "/%C3%A9?%C3%A9=%C3%BC"),
        ("http://a.test/x?q='\"<>", "/x?q=%27%22%3C%3E"),
        ("http://a.test/a//b/", "/a//b/"),
        ("http://a.test/a/./b/../c", "/a/c"),
        ("http://a.test\\a\\b", "/a/b"),
        ("http://a.test/a\tb\n", "/ab"),
        ("http://a.test/x#top", "/x"),
        ("HTTP://A.Test:80/X", "/X"),
        ("http://u:p%40ss@a.test/x", "/x"),
        ("http://a.test", "/"),
        ("http://a.test/\ud800", "/%EF%BF%BD"),
        ("http://a.test/\udce9", "/%E9"),
    ],
)
def test_what_is_asked_for_is_what_was_written(written: str, sent: str) -> None:
    assert wire_url(written) == f"http://a.test{sent}"


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("?wsdl", "http://a.test/dir/page?wsdl"),
        ("", BASE),
        ("#top", BASE),
        ("../up", "http://a.test/up"),
        ("//b.test/x", "http://b.test/x"),
        ("\\\\b.test\\x", "http://b.test/x"),
        ("http:other", "http://a.test/dir/other"),
        (" \n/x ", "http://a.test/x"),
        ("http://Bücher.test/ä", "http://xn--bcher-kva.test/%C3%A4"),
        ("/]", "http://a.test/]"),
        ("http://[::1]:8080/x", "http://[::1]:8080/x"),
    ],
)
def test_what_is_relative_is_joined_as_browsers_do(written: str, sent: str) -> None:
    assert wire_url(written, BASE) == sent


@pytest.mark.parametrize(
    "written", ["javascript:x()", "mailto:me@a.test", "http://", "http://a b/", "http://[", "http://a.test:99999/"]
)
def test_what_no_page_is_asked_for_is_refused_with_a_word(written: str) -> None:
    with pytest.raises(InvalidUrl, match=r"not a URL|scheme|host"):
        wire_url(written, BASE)


@pytest.mark.parametrize(
    ("written", "encoding", "sent"),
    [
        ("/s?q=é", "cp1252", "/s?q=%E9"),
        ("/s?q=é", "utf-8", "/s?q=%C3%A9"),
        ("/s?q=é", "utf-16-le", "/s?q=%C3%A9"),
        ("/é?q=é#é", "cp1252", "/%C3%A9?q=%E9"),
        ("/s?q=日本", "shift_jis", "/s?q=%93%FA%96{"),
        ("/s?q=日本", "euc_jp", "/s?q=%C6%FC%CB%DC"),
        ("/s?q=поиск", "cp1251", "/s?q=%EF%EE%E8%F1%EA"),
        ("/s?q=中文", "gb18030", "/s?q=%D6%D0%CE%C4"),
        ("/s?q=a☃é", "cp1252", "/s?q=a%26%239731%3B%E9"),
        ("/s?q=%C3%A9", "cp1252", "/s?q=%C3%A9"),
    ],
)
def test_a_query_is_sent_in_its_page_s_encoding(written: str, encoding: str, sent: str) -> None:
    """WHATWG URL, "query state": only the query is."""
    assert wire_url(written, BASE, encoding) == f"http://a.test{sent}"


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("?city=x&region=north", "?city=x&region=north"),
        ("?a=1&section=2&copy=3&currency=4&parameter=5&timestamp=6", None),
        ("?a=1&notit=2&lang=de&order=1&times=3", None),
        ("?a&amp;b=1&amp;copy=2", "?a&b=1&copy=2"),
        ("?a&amp=1", "?a&amp=1"),
        ("?a&copy", "?a©"),
        ("?a&copy;=1", "?a©=1"),
        ("?a&copy&b", "?a©&b"),
        ("?a&ampb", "?a&ampb"),
        ("?a&copy/x", "?a©/x"),
        ("?q=&eacute;&#233;&#xE9;&#233", "?q=éééé"),
        ("?q=&notin;", "?q=∉"),
        ("?q=&unknown;&x;", "?q=&unknown;&x;"),
        ("&", "&"),
    ],
)
def test_a_parameter_that_begins_like_an_entity_stays_one(written: str, value: str | None) -> None:
    ((_, attributes),) = start_tags(f"<a href='{written}'>", ("a",))
    assert attributes["href"] == (written if value is None else value)


LATIN = "Die Suche nach Büchern über Gärten und Höfe führt zu schönen Häusern für größere Wünsche. "


@pytest.mark.parametrize(
    ("page", "content_type", "sent"),
    [
        (f"{LATIN}<a href='/s?q=Gärten'>".encode("cp1252"), "text/html; charset=iso-8859-1", "/s?q=G%E4rten"),
        (f"<meta charset=windows-1252>{LATIN}<a href='/s?q=Gärten'>".encode("cp1252"), None, "/s?q=G%E4rten"),
        (f"{LATIN}<a href='/s?q=Gärten'>".encode(), "text/html; charset=utf-8", "/s?q=G%C3%A4rten"),
        (f"{LATIN}<a href='/s?q=Gärten'>".encode("utf-16"), None, "/s?q=G%C3%A4rten"),
        (f"{LATIN}<a href='/Gärten'>".encode("cp1252"), "text/html; charset=iso-8859-1", "/G%C3%A4rten"),
        ("<meta charset=shift_jis>庭と本の検索<a href='/s?q=庭'>".encode("shift_jis"), None, "/s?q=%92%EB"),
        ("<meta charset=windows-1251>Поиск книг о садах<a href='/s?q=сад'>".encode("cp1251"), None, "/s?q=%F1%E0%E4"),
    ],
)
def test_a_page_s_links_are_found_as_it_means_them(page: bytes, content_type: str | None, sent: str) -> None:
    assert list(discover(BASE, page, content_type, Discovery(links=1)).seeds) == [f"http://a.test{sent}"]


def test_of_two_spellings_of_a_page_the_first_is_asked_for() -> None:
    page = b"<a href='/x?b=1&amp;a=2'><a href='/x?a=2&amp;b=1'><a href='/x?b=1&a=2#part'>"
    assert list(discover(BASE, page, None, Discovery(links=1)).seeds) == ["http://a.test/x?b=1&a=2"]


WRITTEN = ["/svc?wsdl", "/p?b=2&a=1", "/s3/foo%27bar%28", "/t?next=http%3A//x.test/", "/e?x=1&region=2", "/q?a=%E9"]


@pytest.mark.parametrize("named_by", ["seed", "link", "sitemap", "feed", "redirect"])
def test_whoever_names_a_page_a_crawl_asks_for_it_as_written(corpus: Corpus, site: Site, named_by: str) -> None:
    site.pages = {path: html(f"Page {number}", words(number)) for number, path in enumerate(WRITTEN)}
    escaped = [path.replace("&", "&amp;") for path in WRITTEN]
    lines = f"{site.url('/')} discover=links:1,feeds,sitemaps\n"
    match named_by:
        case "seed":
            lines = "".join(f"{site.url(path)}\n" for path in WRITTEN)
        case "link":
            site.pages["/"] = html("Start", words(99)).replace(
                b"<main>", "".join(f"<a href='{path}'>x</a>" for path in WRITTEN).encode() + b"<main>"
            )
        case "sitemap":
            site.pages["/"] = html("Start", words(99))
            entries = "".join(f"<url><loc>{site.url(path)}</loc></url>" for path in escaped)
            site.pages["/sitemap.xml"] = f"<urlset>{entries}</urlset>".encode()
            site.types["/sitemap.xml"] = "application/xml"
        case "feed":
            site.pages["/"] = html("Start", words(99)).replace(
                b"<head>", b"<head><link rel=alternate type=application/atom+xml href=/feed>"
            )
            entries = "".join(f"<entry><link href='{path}'/></entry>" for path in escaped)
            site.pages["/feed"] = f"<feed xmlns='http://www.w3.org/2005/Atom'>{entries}</feed>".encode()
            site.types["/feed"] = "application/atom+xml"
        case "redirect":
            site.pages |= {f"/go/{number}": path for number, path in enumerate(WRITTEN)}
            lines = "".join(f"{site.url(f'/go/{number}')}\n" for number in range(len(WRITTEN)))
    corpus.seed("a.txt", lines)
    crawl_on(corpus)
    assert [path for path in WRITTEN if path not in site.asked] == []
    came = {r["final_url"]: (r["outcome"], r["detail"]) for r in corpus.read("raw_pages").iter_rows(named=True)}
    assert {came.get(site.url(path)) for path in WRITTEN} == {("fetched", None)}


def test_a_redirect_to_another_spelling_is_no_loop(site: Site) -> None:
    spellings = ["/wiki/Spider_&_Silk", "/wiki/Spider_%26_Silk", "/wiki/Spider_%26_Silk?a", "/wiki/Spider_%26_Silk?a="]
    site.pages = dict(zip(spellings, [*spellings[1:], html("Spider", words(1))], strict=True))
    response = fetch(site.url(spellings[0]))
    assert (response.outcome, response.detail) == ("fetched", None)
    assert response.final_url == site.url(spellings[-1])
    assert site.asked == spellings


def test_a_redirect_to_itself_is_a_loop(site: Site) -> None:
    site.pages = {"/a%26": "/b", "/b": "/a%26"}
    response = fetch(site.url("/a%26"))
    assert (response.outcome, response.detail) == ("http_error", f"redirect loop at {site.url('/a%26')}")


@pytest.mark.parametrize(
    ("text", "without"),
    [
        ("http://user:secret@a.test/p", "http://a.test/p"),
        ("see HTTPS://user@a.test:8080?x=@ and ftp://u:p@b.test", "see HTTPS://a.test:8080?x=@ and ftp://b.test"),
        ("http://u:p@ss@a.test/@me", "http://a.test/@me"),
        ("http://a.test/me@b.test", "http://a.test/me@b.test"),
        ("me@a.test", "me@a.test"),
    ],
)
def test_credentials_are_told_from_the_rest_of_a_url(text: str, without: str) -> None:
    assert without_credentials(text) == without


@pytest.mark.parametrize("url", ["http://a.test/x?b=1&a=2#f", "http://u:p@A.test:80/%7ex?wsdl", "http://a.test/é?é"])
def test_what_is_asked_for_is_the_same_document(url: str) -> None:
    assert canonical_url(wire_url(url)) == canonical_url(url)


@pytest.mark.parametrize(
    ("line", "outcome", "detail"),
    [
        ("<http://a.test/x>", "invalid_url", "write http://a.test/x alone, without what stands around it"),
        ('"http://a.test/x"', "invalid_url", "write http://a.test/x alone"),
        ("(http://a.test/x)", "invalid_url", "write http://a.test/x alone"),
        ("[a](http://a.test/x)", "invalid_url", "write http://a.test/x alone"),
        ("a.test/x", "invalid_url", "write http:// or https:// before it"),
        ("http://a.test/x", None, None),
    ],
)
def test_marks_around_a_seed_are_told_with_what_to_write(line: str, outcome: str | None, detail: str | None) -> None:
    (seed,) = read_seeds(io.BytesIO(f"{line}\n".encode()), "a.txt", max_body=1000)
    assert isinstance(seed, Seed) and seed.outcome == outcome
    assert (detail or "") in (seed.detail or "")


SECRET = "s3cret"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.txt", "http://user:s3cret@{host}/p\n"),
        ("a.txt", "http://s3cret@{host}/p discover=links:1\n"),
        ("a.jsonl", '{{"url": "http://user:s3cret@{host}/p"}}\n'),
        ("a.jsonl", '{{"url": "http://user:s3cret@{host}/p", "text": "A text that was given."}}\n'),
        ("a.csv", "url\nhttp://user:s3cret@{host}/p\n"),
        ("a.txt", "http://user:s3cret@[/p\n"),
        ("a.txt", "http://user:s3cret@{host}/p and more\n"),
        ("a.xml", "<urlset><url><loc>http://user:s3cret@{host}/p</loc></url></urlset>"),
        ("a.txt", "http://{host}/go\n"),
        ("a.txt", "http://{host}/links discover=links:1\n"),
    ],
)
def test_credentials_reach_no_table_no_message_and_no_request(
    corpus: Corpus, site: Site, caplog: pytest.LogCaptureFixture, name: str, content: str
) -> None:
    host = site.url("").removeprefix("http://")
    there = f"http://user:{SECRET}@{host}/p"
    site.pages = {"/p": html("Page", words(1)), "/go": there, "/links": f"<a href='{there}'>x</a>".encode()}
    corpus.seed(name, content.format(host=host))
    told = str(corpus.take_in())
    crawl_on(corpus)
    tables = [corpus.store.batches.scan(), corpus.store.raw_pages.scan(), corpus.store.problems.scan()]
    written = [str(table.drop("body", strict=False).collect().rows()) for table in tables]
    assert SECRET not in told + caplog.text + "".join(written) + str(site.asked)
    assert SECRET not in str(corpus.read("problems").rows())
    found = {path.name: path.read_text() for path in (corpus.root / "seeds").rglob("*") if path.parent.name == "found"}
    assert SECRET not in str(found)
