"""What the pages of a domain say beyond their text: each processor, a user's own, and pages that say too much."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from quarry_dagster.domains import PROCESSORS, Describing, Facts, PageView, fields_of
from quarry_dagster.domains.product import number
from quarry_dagster.errors import ConfigError
from quarry_dagster.extract import Page
from quarry_dagster.extract.page import extract_page
from quarry_dagster.profiles.settings import Extraction
from quarry_dagster_tests.corpus import Corpus, profile, words

SETTINGS = Extraction()
PROSE = words(1, 90).replace("\n\n", "</p><p>")


def described(
    head: str = "", body: str = "", url: str = "https://a.test/x", own: Mapping[str, str] | None = None
) -> Facts:
    """The facts of a page with this head and body, as a run finds them."""
    markup = f"<html><head><title>A page</title>{head}</head><body><main><h1>A page</h1><p>{PROSE}</p>{body}</main>"
    page = Page("k", url, markup.encode(), "text/html; charset=utf-8", "2026-01-01")
    row = extract_page(page, SETTINGS)
    assert row.outcome == "extracted", row.detail
    text = {name: getattr(row, name) for name in Facts.__slots__ if hasattr(row, name)}
    return Describing(page, text | _text_of(row), tuple((own or {}).items())).do(SETTINGS)


def _text_of(row: Any) -> dict[str, Any]:
    names = ("text", "text_format", "page_type", "page_type_source", "canonical_url", "title", "author", "date")
    return {name: getattr(row, name) for name in names}


def json_ld(*nodes: Mapping[str, Any]) -> str:
    return "".join(f'<script type="application/ld+json">{json.dumps(node)}</script>' for node in nodes)


def fields(facts: Facts) -> dict[str, Any]:
    return json.loads(facts.fields or "{}")


PRODUCT = {
    "@type": "Product",
    "name": "The <b>Lamp</b> &amp; shade",
    "brand": {"@type": "Brand", "name": "Lumen"},
    "sku": "L-1",
    "gtin13": "4006381333931",
    "offers": {
        "@type": "Offer",
        "price": "1.299,00",
        "priceCurrency": "EUR",
        "availability": "https://schema.org/InStock",
    },
    "aggregateRating": {"ratingValue": "4.5", "bestRating": "5", "reviewCount": 12},
}
LAMP = {
    "name": "The Lamp & shade",
    "brand": "Lumen",
    "sku": "L-1",
    "gtin": "4006381333931",
    "price": "1299.00",
    "currency": "EUR",
    "availability": "InStock",
    "rating": {"value": "4.5", "best": "5", "count": "12"},
}


def test_a_product_in_json_ld() -> None:
    assert fields(described(json_ld(PRODUCT)))["product"] == LAMP
    graph = {"@graph": [{"@type": "WebPage"}, {"@type": "BreadcrumbList"}, PRODUCT]}
    assert fields(described(json_ld(graph)))["product"] == LAMP


def test_a_product_in_microdata_and_in_meta_elements() -> None:
    microdata = (
        "<div itemscope itemtype='https://schema.org/Product'><span itemprop='name'>Lamp</span>"
        "<meta itemprop='sku' content='L-1'><div itemprop='brand' itemscope><b itemprop='name'>Lumen</b></div>"
        "<div itemprop='offers' itemscope itemtype='http://schema.org/Offer'>"
        "<meta itemprop='priceCurrency' content='EUR'>"
        "<span itemprop='price' content='12.50'>12,50</span><link itemprop='availability' href='http://schema.org/OutOfStock'>"
        "</div></div>"
    )
    lamp = {"name": "Lamp", "brand": "Lumen", "sku": "L-1", "price": "12.50", "currency": "EUR"}
    assert fields(described(body=microdata))["product"] == lamp | {"availability": "OutOfStock"}
    meta = (
        "<meta property='og:type' content='product'><meta property='product:price:amount' content='12,50'>"
        "<meta property='product:price:currency' content='EUR'><meta property='product:brand' content='Lumen'>"
    )
    told = fields(described(meta))["product"]
    assert told == {"name": "A page", "brand": "Lumen", "price": "12.50", "currency": "EUR"}


def test_of_several_products_none_is_the_page_s_unless_it_is_named_after_one() -> None:
    others = [{"@type": "Product", "name": name, "offers": {"price": 1}} for name in ("A page", "Vase", "Rug")]
    assert "product" not in fields(described(json_ld(*others[1:])))
    head = "<meta property='og:type' content='product'>" + json_ld(*others)
    assert fields(described(head))["product"]["name"] == "A page"


def test_variants_and_a_range_of_prices() -> None:
    group = {
        "@type": "ProductGroup",
        "name": "Shirt",
        "hasVariant": [
            {"@type": "Product", "name": f"Shirt {size}", "sku": size, "size": size, "offers": {"price": price}}
            for size, price in (("S", 10), ("L", 12))
        ],
    }
    found = fields(described(json_ld(group)))["product"]
    assert found["variants"] == [
        {"name": "Shirt S", "sku": "S", "size": "S", "price": "10"},
        {"name": "Shirt L", "sku": "L", "size": "L", "price": "12"},
    ]
    ranged = {"@type": "Product", "name": "Rug", "offers": {"lowPrice": 5, "highPrice": 9, "priceCurrency": "USD"}}
    assert fields(described(json_ld(ranged)))["product"] == {
        **{"name": "Rug", "price": "5", "high_price": "9", "currency": "USD"}
    }


@pytest.mark.parametrize(
    ("said", "value"),
    [
        ("1,299.00", "1299.00"),
        ("1.299,00 €", "1299.00"),
        ("1 299,5", "1299.5"),
        ("12,50", "12.50"),
        ("1,299", "1299"),
        ("1.299", "1.299"),
        ("1,299,000", "1299000"),
        ("CHF 1'299.-", "1299"),
        ("free", None),
        ("1e3", "1000"),
        ("1e+22", "1" + "0" * 22),
        ("-5", None),
        ("١٢٣٫٤٥", "123.45"),
        ("１２,８００", "12800"),
        (None, None),
    ],
)
def test_a_price_is_a_decimal_however_it_is_written(said: str | None, value: str | None) -> None:
    assert number(said) == value


def test_posts_of_a_discussion_in_json_ld() -> None:
    question = {
        "@type": "QAPage",
        "mainEntity": {
            "@type": "Question",
            "author": {"name": "Ann"},
            "dateCreated": "2024-01-02T03:04:05Z",
            "upvoteCount": 3,
            "suggestedAnswer": [{"@type": "Answer", "author": {"name": "Bob"}, "dateCreated": "2024-01-03"}],
            "acceptedAnswer": {
                "@type": "Answer",
                "author": {"name": "Cid"},
                "dateCreated": "2024-01-04",
                "upvoteCount": 9,
            },
        },
    }
    assert fields(described(json_ld(question)))["forum"]["posts"] == [
        {"author": "Ann", "date": "2024-01-02T03:04:05+00:00", "votes": 3},
        {"author": "Cid", "date": "2024-01-04", "votes": 9, "accepted": True},
        {"author": "Bob", "date": "2024-01-03"},
    ]


@pytest.mark.parametrize(
    "post",
    [
        "<article class='message' data-author='{who}'><time datetime='{when}'>then</time>"
        "<div class='message-body'>{text}</div></article>",
        "<div class='post'><p class='author'>by <a class='username' href='/u/1'>{who}</a> »</p>"
        "<time datetime='{when}'>x</time><div class='postbody'><div class='content'>{text}</div></div></div>",
        "<div class='topic-post'><span itemprop='author' itemscope><span itemprop='name'>{who}</span></span>"
        "<time itemprop='datePublished' datetime='{when}'></time><div class='post' itemprop='text'>{text}</div></div>",
        "<div class='blockpost'><h2>#1 {when}</h2><dl><dt><strong>{who}</strong></dt></dl>"
        "<div class='postmsg'>{text}</div></div>",
    ],
    ids=["xenforo", "phpbb", "discourse", "fluxbb"],
)
def test_posts_of_a_discussion_in_its_markup(post: str) -> None:
    told = [("Ann", "2024-01-02T03:04:05+00:00"), ("Bob B.", "2024-02-03T04:05:06+00:00"), ("Ann", "2024-03-04")]
    if "blockpost" in post:
        told = [(who, when[:10]) for who, when in told]
        post = post.replace("#1 {when}", "<span>#1 <a href='#p1'>{when}</a></span>")
    body = "".join(post.format(who=who, when=when, text=f"<p>{words(i, 60)}</p>") for i, (who, when) in enumerate(told))
    found = fields(described(body=body, url="https://forum.a.test/viewtopic.php?t=1"))["forum"]["posts"]
    assert [(each["author"], each["date"]) for each in found] == told


def test_documentation_by_its_marks_and_never_by_a_brace() -> None:
    code = "<pre><code class='language-python'>open('{}')</code></pre><pre>{ a }</pre>"
    body = f"<h2>json.dumps(obj, indent)</h2>{code}<p>Call <code>Path.open()</code> or <code>x</code>.</p>"
    found = fields(described("<meta name='generator' content='Sphinx'>", body, "https://docs.a.test/en/5.1/json.html"))
    assert found["documentation"] == {
        "code": {"python": 1, "": 1},
        "version": "5.1",
        "api_names": ["json.dumps(obj, indent)", "Path.open()"],
    }
    assert "documentation" not in fields(described(body="<p>A recipe { for } disaster.</p>"))


def test_a_paper_a_recipe_and_news() -> None:
    paper = (
        "<meta name='citation_title' content='On Lamps'><meta name='citation_author' content='Lee, Ann'>"
        "<meta name='citation_author' content='Day, Bob'><meta name='citation_doi' content='10.1000/LAMP.1'>"
        "<meta name='citation_journal_title' content='Light'><meta name='citation_publication_date' content='2020/05'>"
    )
    assert fields(described(paper))["scientific"] == {
        "title": "On Lamps",
        "authors": ["Lee, Ann", "Day, Bob"],
        "doi": "10.1000/lamp.1",
        "journal": "Light",
        "date": "2020-05",
    }
    recipe = {
        "@type": "Recipe",
        "name": "Soup",
        "recipeIngredient": ["1 leek", "2 potatoes"],
        "recipeInstructions": [{"@type": "HowToSection", "itemListElement": [{"@type": "HowToStep", "text": "Boil."}]}],
        "totalTime": "PT30M",
    }
    assert fields(described(json_ld(recipe)))["recipe"] == {
        **{"name": "Soup", "ingredients": ["1 leek", "2 potatoes"], "steps": ["Boil."], "total_time": "PT30M"}
    }
    article = {
        "@type": "NewsArticle",
        "articleSection": "World",
        "author": [{"name": "Ann Lee"}, {"name": "Bob Day"}],
        "isAccessibleForFree": "False",
        "publisher": {"name": "The Post"},
    }
    told = described(json_ld(article))
    assert fields(told)["news"] == {
        "section": "World",
        "author": ["Ann Lee", "Bob Day"],
        "is_accessible_for_free": False,
        "publisher": "The Post",
    }
    assert told.paywalled is True


def test_law_and_medicine_by_their_identifiers_where_nothing_told_the_page_s_type() -> None:
    law = "<p>See ECLI:EU:C:2014:317 and Regulation 32016R0679, not 2014 or section 1234.</p>"
    told = described(body=law)
    assert fields(told)["legal"] == {"ecli": ["ECLI:EU:C:2014:317"], "celex": ["32016R0679"]}
    assert (told.page_type, told.page_type_source) == ("legal", "identifiers")
    trial = "<p>Trial NCT01234567 (PMID: 12345678, PMC7654321, doi:10.1000/abc.123).</p>"
    told = described(body=trial)
    assert fields(told)["medical"] == {
        **{"pmid": ["12345678"], "pmcid": ["PMC7654321"], "nct": ["NCT01234567"], "doi": ["10.1000/abc.123"]}
    }
    assert told.page_type == "medical"
    alone = described(body="<p>It is cited as doi:10.1000/abc.123 there.</p>")
    assert "medical" not in fields(alone) and alone.page_type == "other", "a DOI alone is of any science"
    shop = described(json_ld(PRODUCT), trial)
    assert shop.page_type == "product" and "medical" in fields(shop), "what the page says of itself comes first"


def test_what_the_page_says_of_its_site_and_its_dates() -> None:
    head = (
        "<meta property='og:site_name' content='The Shore'><link rel='canonical' href='/lamp'>"
        "<meta property='article:published_time' content='2024-01-02T03:04:05Z'>"
        "<meta property='article:modified_time' content='2024-05-06T07:08:09Z'>"
    ) + json_ld({"@type": ["Article", "TechArticle"]}, {"@type": "BreadcrumbList"})
    told = described(head)
    assert (told.site_name, told.canonical_url) == ("The Shore", "https://a.test/lamp")
    assert told.modified == "2024-05-06T07:08:09+00:00"
    assert told.schema_types == ("Article", "TechArticle", "BreadcrumbList")
    assert told.paywalled is None and told.detail is None


def test_a_given_text_is_described_by_what_is_known_of_it() -> None:
    page = Page("k", "", b"Call it PMC7654321.", "text/plain")
    text = dict.fromkeys(("page_type", "page_type_source", "canonical_url", "title", "author", "date"))
    told = Describing(page, text | {"text": "Call it PMC7654321.", "text_format": "plain"}).do(SETTINGS)
    assert fields(told) == {"medical": {"pmcid": ["PMC7654321"]}}
    assert told.page_type == "medical" and told.license is None


OWN = """
from quarry_dagster.domains import PageView

VERSION = "1"

def events(page: PageView):
    nodes = page.nodes("Event")
    return {"name": nodes[0]["name"]} if nodes else None

def broken(page: PageView):
    raise RuntimeError("no <events> today")

def a_list(page: PageView):
    return ["x"]

def endless(page: PageView):
    return {"all": "x" * 2_000_000}
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "our_own.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "our_own", raising=False)
    return "our_own"


def test_a_processor_of_ones_own_and_one_that_fails_costs_its_own_fields(own: str) -> None:
    mine = {name: f"{own}:{name}" for name in ("events", "broken", "a_list", "endless")}
    told = described(json_ld({"@type": "Event", "name": "Regatta"}), own=mine)
    assert fields(told) == {"events": {"name": "Regatta"}}
    assert told.detail and "broken: RuntimeError: no <events> today" in told.detail
    assert "a_list: TypeError: it returned list, and fields are a mapping" in told.detail
    assert "endless: its fields have 2,000," in told.detail
    with pytest.raises(ConfigError, match=r"page_metadata.processors.events: no function 'our_own:none'"):
        described(own={"events": f"{own}:none"})


def test_a_run_uses_a_processor_of_ones_own_and_no_data_root_names_one(
    own: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from quarry_dagster.profiles.remembered import choose_for, named_processors
    from quarry_dagster.stages.redo import adopt
    from quarry_dagster.takedown import forget

    corpus = Corpus(tmp_path / "data", profile(page_metadata={"processors": {"events": f"{own}:events"}}))
    corpus.seed_texts("a.jsonl", {"http://a.test/1": words(1)})
    corpus.run()
    assert corpus.read("page_metadata")["detail"].to_list() == [None]
    adopt(corpus.store, corpus.profile, confirmed=True, how="")
    monkeypatch.setattr(sys.modules["our_own"], "VERSION", "2")
    assert corpus.run()["page_metadata"].worked == 1, "it says that it is another one"
    with pytest.raises(ConfigError, match="no code is loaded because a data root names it: name the profile"):
        named_processors(corpus.store, None, choose_for(corpus.store, None).profile)
    assert named_processors(corpus.store, "mine.yaml", corpus.profile)
    monkeypatch.delitem(sys.modules, own)
    (tmp_path / f"{own}.py").unlink()
    assert forget(corpus.store, choose_for(corpus.store, None).profile, "http://a.test/1") == 1, "which needs none"
    assert corpus.read("page_metadata").is_empty()


def test_pages_that_say_too_much_cost_themselves() -> None:
    deep = '{"@type": "Product", "name": "x", "offers": ' * 1000 + "1" + "}" * 1000
    circle = {
        "@graph": [
            {"@id": "#a", "@type": "Product", "name": "x", "offers": {"@id": "#b"}},
            {"@id": "#b", "offers": {"@id": "#a"}},
        ]
    }
    large = json_ld({"@type": "Product", "name": "x", "offers": [{"price": i, "sku": str(i)} for i in range(60_000)]})
    posts = "".join(
        f"<div class=post><div class=message-body><p>Post {i} of many.</p></div></div>" for i in range(20_000)
    )
    for head, body in (
        (f'<script type="application/ld+json">{deep}</script>', ""),
        (json_ld(circle), ""),
        (large, ""),
        (json_ld({"@type": "Article", "name": "y" * 5_100_000}), ""),
        ("", posts),
        ("", "<div itemscope itemtype='https://schema.org/Product'>" * 20_000),
    ):
        began = time.process_time()
        told = described(head, body)
        assert time.process_time() - began < 30
        assert len(told.fields or "") <= 1_000_100


def test_half_a_character_in_what_a_page_says_costs_that_character() -> None:
    node = '{"@type": ["NewsArticle", "\\ud83d"], "articleSection": "W\\ud83d"}'
    told = described(f'<script type="application/ld+json">{node}</script>')
    assert fields(told)["news"]["section"] == "W?" and told.schema_types == ("NewsArticle", "?")
    assert json.dumps([told.fields, told.schema_types], ensure_ascii=False).encode()


def test_steps_are_in_order_and_a_price_is_the_one_that_is_asked() -> None:
    steps = [
        {"@type": "HowToSection", "itemListElement": [{"text": "Mix."}, {"text": "Knead."}]},
        {"@type": "HowToStep", "text": "Bake."},
    ]
    assert fields(described(json_ld({"@type": "Recipe", "recipeInstructions": steps})))["recipe"]["steps"] == [
        *("Mix.", "Knead.", "Bake.")
    ]
    written = {"@type": "Recipe", "recipeInstructions": "Mix.\nBake."}
    assert fields(described(json_ld(written)))["recipe"]["steps"] == ["Mix.", "Bake."]
    prices = [
        {"priceType": "https://schema.org/StrikethroughPrice", "price": 129.95, "priceCurrency": "GBP"},
        {"price": 99.95, "priceCurrency": "GBP"},
    ]
    sale = {"@type": "Product", "name": "Rug", "offers": {"priceSpecification": prices}}
    assert fields(described(json_ld(sale)))["product"] == {"name": "Rug", "price": "99.95", "currency": "GBP"}
    offers = [{"price": price, "priceCurrency": "GBP"} for price in (20, 10)]
    ranged = fields(described(json_ld({"@type": "Product", "name": "Rug", "offers": offers})))["product"]
    assert (ranged["price"], ranged["high_price"]) == ("10", "20")


def test_comments_in_rows_of_a_table_have_their_own_authors() -> None:
    row = (
        "<tr class='athing comtr'><td><span class='comhead'><a class='hnuser' href='user?id={who}'>{who}</a> "
        "<span class='age' title='{when}T10:00:00'>then</span></span><div class='commtext'>{text}</div></td></tr>"
    )
    told = [("ann", "2024-03-01"), ("bob", "2024-03-02"), ("cid", "2024-03-03")]
    body = "".join(row.format(who=who, when=when, text=words(i, 50)) for i, (who, when) in enumerate(told))
    found = fields(described(body=f"<table>{body}</table>", url="https://forum.a.test/item?id=1"))["forum"]["posts"]
    assert [(post["author"], post["date"][:10]) for post in found] == told


def test_a_part_that_is_not_free_is_behind_a_wall() -> None:
    parts = {"@type": "WebPageElement", "isAccessibleForFree": False}
    assert described(json_ld({"@type": "NewsArticle", "isAccessibleForFree": True, "hasPart": parts})).paywalled is True


def test_every_processor_answers_a_page_of_nothing() -> None:
    from quarry_dagster.page import Head

    for kind in (None, "product", "forum", "documentation", "scientific", "recipe"):
        view = PageView(None, "", Head(), "", "plain", kind)
        assert fields_of(view, PROCESSORS) == ({}, [])
