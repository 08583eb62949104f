"""The identity of a document is a function of its URL alone, and blind to spelling."""

import pytest

from quarry_dagster.errors import InvalidUrl
from quarry_dagster.urls import canonical_url, doc_id, host_of, same_page_url


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
        ("http://example.com/?empty=&x", "http://example.com/?empty=&x="),
    ],
)
def test_spellings_of_one_url_have_one_canonical_form(spelling: str, canonical: str) -> None:
    assert canonical_url(spelling) == canonical
    assert canonical_url(canonical) == canonical
    assert doc_id(spelling) == doc_id(canonical)


def test_doc_id_never_changes() -> None:
    # Ids are stored in users' tables: another value here would make every document a new one.
    assert doc_id("http://example.com/a") == "5bd48fa66118084cc327"


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
    assert doc_id(page + "&utm_source=mail") != doc_id(page)


def test_values_that_are_no_utf_8_stay_apart_without_tracking_parameters() -> None:
    seen = {same_page_url(f"http://a.test/?q={value}&utm_source=mail") for value in ("%E8", "%E9")}
    assert seen == {"http://a.test/?q=%E8", "http://a.test/?q=%E9"}


def test_host_of_names_a_port_only_where_it_matters() -> None:
    assert host_of("http://Example.com:80/a") == "example.com"
    assert host_of("http://127.0.0.1:8000/a") == "127.0.0.1:8000"
    assert host_of("nonsense") == ""
