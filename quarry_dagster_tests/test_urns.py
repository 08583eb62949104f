"""The address of a document without a URL: one for each namespace and id, and the same for every way to write it."""

from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarry_dagster.errors import InvalidId
from quarry_dagster.store.schemas import HOST
from quarry_dagster.urls import doc_id, same_page_url
from quarry_dagster.urns import MAX_ID_BYTES, normal_urn, own_id, parts_of, urn_of

_TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)


@given(_TEXT, _TEXT)
def test_an_address_gives_back_what_it_was_made_of(namespace: str, own: str) -> None:
    address = urn_of(namespace, own)
    assert parts_of(address) == (namespace, own)
    assert address.isascii() and address.isprintable() and " " not in address
    assert normal_urn(address) == address == same_page_url(address)


@given(_TEXT, _TEXT, _TEXT, _TEXT)
def test_two_documents_have_two_addresses(a: str, b: str, c: str, d: str) -> None:
    assert (urn_of(a, b) == urn_of(c, d)) == ((a, b) == (c, d))


def test_a_document_has_one_id_however_its_address_is_written() -> None:
    assert doc_id("URN:Quarry:books:a%2db", "url-2") == doc_id(urn_of("books", "a-b"), "url-2")
    assert doc_id(urn_of("books", "1"), "url-1") == doc_id(urn_of("books", "1"), "url-2") == "cbb4c32a005fa8bd27ef"


@pytest.mark.parametrize(
    "address", ["urn:isbn:1", "urn:quarry:books", "urn:quarry::1", "http://a.test/", "books:1", ""]
)
def test_other_texts_are_no_addresses(address: str) -> None:
    assert parts_of(address) is None


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *((17, "17"), (17.0, "17"), ("17", "17"), (b"a", "a"), (1.5, "1.5"), (" a ", " a "), (10**30, f"{10**30}")),
        *((None, None), ("", None), (" \n", None), (float("nan"), None)),
    ],
)
def test_the_id_that_a_value_is(value: Any, text: str | None) -> None:
    assert own_id(value) == text


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (True, "true or false"),
        (["a"], "is a list; write a text or a number"),
        ({"a": 1}, "is a dict"),
        (b"\xff", "no UTF-8"),
        ("\ud800", "lone surrogate"),
        ("ä" * 501, f"1,002 bytes, more than {MAX_ID_BYTES:,}"),
    ],
)
def test_what_cannot_be_an_id_is_told(value: Any, said: str) -> None:
    with pytest.raises(InvalidId, match=said):
        own_id(value)


def test_documents_without_a_url_are_counted_by_their_namespace() -> None:
    urls = pl.DataFrame({"url": ["http://A.test:8/x", urn_of("Books of 2024", "a:b"), "no url"]})
    assert urls.select(HOST)["url"].to_list() == ["a.test:8", "urn:quarry:Books%20of%202024", None]
