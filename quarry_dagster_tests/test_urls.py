"""The identity of a document is a function of its URL alone, and blind to spelling."""

from urllib.parse import unquote_to_bytes, urlsplit, urlunsplit

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from w3lib.url import canonicalize_url

from quarry_dagster import urls
from quarry_dagster.errors import InvalidUrl
from quarry_dagster.urls import CURRENT_FORM, FORMS, UrlForm, canonical_url, doc_id, host_of, same_page_url

_HOSTS = st.sampled_from(["a.test", "A.test.:80", "münchen.test", "[::1]:8", "me:you@a.test", "1.2.3.4", "a_b"])
_TEXT = st.text(st.sampled_from("aAbB01=&%+?/.;:@'|[]\\ 4c2eE53é\t") | st.characters(exclude_categories=["Cs"]))
_ODD_URLS = st.builds("http://{}/{}?{}".format, _HOSTS, _TEXT, _TEXT)
"""Everything that a URL may hold, and much that it may not."""


@pytest.mark.parametrize(
    ("spelling", "canonical"),
    [
        ("HTTP://Example.COM:80/a/../b/?b=2&a=1#part", "http://example.com/b/?a=1&b=2"),
        ("https://example.com:443", "https://example.com/"),
        ("http://example.com/a b", "http://example.com/a%20b"),
        ("https://münchen.de/ä", "https://xn--mnchen-3ya.de/%C3%A4"),
        ("http://example.com/%7Euser/%e4", "http://example.com/~user/%E4"),
        ("  http://example.com./x  ", "http://example.com/x"),
        ("http://[::1]:8080/x", "http://[::1]:8080/x"),
        ("http://example.com/?b=/&a=%41+b%20c", "http://example.com/?a=A+b+c&b=%2F"),
        ("http://example.com/?q=%e8&p=b=c", "http://example.com/?p=b%3Dc&q=%E8"),
        ("http://example.com/?&b=2&&a=1&", "http://example.com/?a=1&b=2"),
        ("http://example.com/100%?q=100%", "http://example.com/100%?q=100%25"),
        ("http://example.com/?#part", "http://example.com/"),
    ],
)
@pytest.mark.parametrize("form", FORMS)
def test_spellings_of_one_url_have_one_canonical_form(form: UrlForm, spelling: str, canonical: str) -> None:
    assert canonical_url(spelling, form) == canonical
    assert canonical_url(canonical, form) == canonical
    assert doc_id(spelling, form) == doc_id(canonical, form)


@pytest.mark.parametrize(
    ("spelling", "first", "current"),
    [
        ("?id=3&id=1&a=2", "?a=2&id=1&id=3", "?a=2&id=3&id=1"),
        ("?%69d=3&id=1", "?id=1&id=3", "?id=3&id=1"),
        ("?wsdl", "?wsdl=", "?wsdl"),
        ("?wsdl=", "?wsdl=", "?wsdl="),
        ("?x&empty=", "?empty=&x=", "?empty=&x"),
        ("?%77sdl&a%3db", "?a%3Db=&wsdl=", "?a%3Db&wsdl"),
        ("?=x&=", "?=&=x", "?=x&="),
        ("?b[]=2&b%5B%5D=1&b_=3", "?b%5B%5D=1&b%5B%5D=2&b_=3", "?b%5B%5D=2&b%5B%5D=1&b_=3"),
        ("%%34%31", "%41", "%2541"),
    ],
)
def test_the_current_form_tells_apart_what_a_server_may(spelling: str, first: str, current: str) -> None:
    assert canonical_url(f"http://a.test/{spelling}", "url-1") == f"http://a.test/{first}"
    assert canonical_url(f"http://a.test/{spelling}", "url-2") == f"http://a.test/{current}"


@given(_ODD_URLS)
def test_the_canonical_form_of_a_canonical_url_is_itself(url: str) -> None:
    try:
        canonical = canonical_url(url)
    except InvalidUrl:
        assume(False)
    assert canonical_url(canonical) == canonical
    assert same_page_url(same_page_url(url)) == same_page_url(url)


@given(st.lists(st.tuples(_TEXT, st.sampled_from(["", "="]), _TEXT), max_size=4))
def test_values_of_one_name_keep_their_order_and_a_name_without_one_stays_so(pairs: list[tuple[str, str, str]]) -> None:
    encoded = ["".join(f"%{byte:02x}" for byte in text.encode()) for pair in pairs for text in (pair[0], pair[2])]
    written = [f"{n}{e}{v if e else ''}" for n, v, (_, e, _) in zip(encoded[::2], encoded[1::2], pairs, strict=True)]
    found = [
        pair.partition("=") for pair in urlsplit(canonical_url("http://a.test/?" + "&".join(written))).query.split("&")
    ]
    expected = sorted(
        ((n.encode(), e, v.encode() if e else b"") for n, e, v in pairs if n or e), key=lambda pair: pair[0]
    )
    read = [(_decoded(name), equals, _decoded(value)) for name, equals, value in found if name or equals]
    assert read == expected


def _decoded(text: str) -> bytes:
    return unquote_to_bytes(text.replace("+", " "))


@settings(max_examples=500, deadline=None)
@given(st.from_regex(urls._PLAIN, fullmatch=True))
def test_the_short_way_to_a_canonical_url_leads_to_the_same(url: str) -> None:
    parts = urlsplit(canonicalize_url(url))
    assert canonical_url(url, "url-1") == urlunsplit(parts._replace(path=parts.path or "/"))
    assert canonical_url(url, "url-2") == canonical_url(f"{url}#a fragment takes the long way", "url-2")


@pytest.mark.parametrize("form", FORMS)
def test_doc_id_never_changes(form: UrlForm) -> None:
    # Ids are stored in users' tables: another value here would make every document a new one.
    assert doc_id("http://example.com/a", form) == "5bd48fa66118084cc327"


@pytest.mark.parametrize(
    "text", ["", "example.com/a", "ftp://example.com/", "http:///a", "http://a b/", "http://./a", "mailto:x@y.z"]
)
def test_what_is_no_web_address_is_refused(text: str) -> None:
    with pytest.raises(InvalidUrl):
        canonical_url(text)


def test_tracking_parameters_do_not_make_another_page_but_content_parameters_do() -> None:
    page = "https://example.com/story?id=7"
    assert same_page_url(page + "&utm_source=mail&fbclid=1") == same_page_url(page)
    for other in ("?id=8", "?id=7&ref=1", "?id=7&source=2", "?id=7&cid=3", "?id=7&session=4"):
        assert same_page_url(f"https://example.com/story{other}") != same_page_url(page)
    assert doc_id(page + "&utm_source=mail", CURRENT_FORM) != doc_id(page, CURRENT_FORM)


def test_values_that_are_no_utf_8_stay_apart_without_tracking_parameters() -> None:
    seen = {same_page_url(f"http://a.test/?q={value}&utm_source=mail") for value in ("%E8", "%E9")}
    assert seen == {"http://a.test/?q=%E8", "http://a.test/?q=%E9"}


def test_host_of_names_a_port_only_where_it_matters() -> None:
    assert host_of("http://Example.com:80/a") == "example.com"
    assert host_of("http://127.0.0.1:8000/a") == "127.0.0.1:8000"
    assert host_of("nonsense") == ""
