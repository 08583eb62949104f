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
from quarry_dagster.domains.money import count, currency, number, price
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
        (".99", "0.99"),
        (None, None),
    ],
)
def test_a_number_is_a_decimal_however_it_is_written(said: str | None, value: str | None) -> None:
    assert number(said) == value


@pytest.mark.parametrize(
    ("said", "value"),
    [
        ("US$49.00", ("49.00", None, "USD")),
        ("CA$49.00", ("49.00", None, "CAD")),
        ("AU$ 49", ("49", None, "AUD")),
        ("NT$490", ("490", None, "TWD")),
        ("MX$490", ("490", None, "MXN")),
        ("HK$490", ("490", None, "HKD")),
        ("NZ$490", ("490", None, "NZD")),
        ("S$490", ("490", None, "SGD")),
        ("R$ 1.299,90", ("1299.90", None, "BRL")),
        ("TT$49", ("49", None, None)),
        ("$.99", ("0.99", None, "USD")),
        ("€ 1.299,-", ("1299", None, "EUR")),
        ("1.299,--", ("1299", None, None)),
        ("1.299 €", ("1299", None, "EUR")),
        ("1.299", ("1.299", None, None)),
        ("€ 0.125", ("0.125", None, "EUR")),
        ("KWD 1.250", ("1.250", None, "KWD")),
        ("Rp 150.000", ("150000", None, "IDR")),
        ("1.250.000 ₫", ("1250000", None, "VND")),
        ("￥12,000", ("12000", None, "JPY")),
        ("12,000円", ("12000", None, "JPY")),
        ("EUR 1.299,00", ("1299.00", None, "EUR")),
        ("49.00 USD", ("49.00", None, "USD")),
        ("20% off: $8.00", ("8.00", None, "USD")),
        ("2 for $10.00", (None, None, None)),
        ("was $20.00 now $15.00", (None, None, None)),
        ("9.99–19.99", ("9.99", "19.99", None)),
        ("$9.99 to $19.99", ("9.99", "19.99", "USD")),
        ("10 - 20 EUR", ("10", "20", "EUR")),
        ("Now - $9.99", ("9.99", None, "USD")),
        ("€10 / $12", ("10", None, "EUR")),
        ("4.99 per 100 g", ("4.99", None, None)),
        ("-$5", (None, None, None)),
        ("free", (None, None, None)),
    ],
)
def test_a_price_has_the_currency_and_the_range_that_are_written(said: str, value: tuple[str | None, ...]) -> None:
    assert price(said) == value


def test_a_count_is_whole_and_a_currency_has_a_code() -> None:
    counts = [count(said) for said in ("1.234", "1,234", "1 234", "12 reviews", "2.5k", "2k", "4.5")]
    assert counts == ["1234", "1234", "1234", "12", None, None, None]
    assert [currency(said) for said in ("US$", "€", "eur", "Dollars")] == ["USD", "EUR", "EUR", None]
    assert price("€10 / $12", "USD").amount == "12", "the one of the currency that the page names beside it"


def test_a_price_of_an_offer_may_be_written_for_people() -> None:
    offer = {"@type": "Offer", "price": "$9.99 - $19.99", "priceCurrency": "CAD", "gtin13": "4006381333931"}
    rating = {"ratingValue": "4,5", "reviewCount": "1.234"}
    head = json_ld({"@type": "Product", "name": "Rug", "offers": offer, "aggregateRating": rating})
    assert fields(described(head))["product"] == {
        **{"name": "Rug", "gtin": "4006381333931", "price": "9.99", "high_price": "19.99", "currency": "CAD"},
        "rating": {"value": "4.5", "count": "1234"},
    }


@pytest.mark.parametrize(
    ("context", "prefix"),
    [
        ({"schema": "https://schema.org/"}, "schema:"),
        ({"s": "http://schema.org/", "@vocab": "http://x.test/"}, "s:"),
        (["https://x.test/c", {"so": "https://www.schema.org/"}], "so:"),
        ("https://schema.org", "schema:"),
        ("https://schema.org", "https://schema.org/"),
        ("https://schema.org", "http://schema.org/"),
    ],
)
def test_names_with_an_address_or_a_prefix_are_those_without(context: Any, prefix: str) -> None:
    named = {f"{prefix}{name}" if name[0] != "@" else name: value for name, value in PRODUCT.items()}
    named["@type"] = f"{prefix}Product"
    named[f"{prefix}offers"] = {f"{prefix}{name}": value for name, value in PRODUCT["offers"].items() if name[0] != "@"}
    assert fields(described(json_ld({"@context": context} | named)))["product"] == LAMP
    other = {"@context": {"x": "https://x.test/"}, "@type": "Product", "name": "Lamp", "x:sku": "1"}
    assert "product" not in fields(described(json_ld(other)))


def test_microdata_fills_what_json_ld_lacks_and_a_name_has_no_site_behind_it() -> None:
    head = "<meta property='og:site_name' content='The Shore'>" + json_ld(
        {"@context": "https://schema.org", "@type": "Product", "name": "Lamp — The Shore", "sku": "L-1"}
    )
    microdata = (
        "<div itemscope itemtype='https://schema.org/Product'><span itemprop='name'>{}</span><b itemprop='sku'>M</b>"
        "<div itemprop='offers' itemscope itemtype='http://schema.org/Offer'><b itemprop='price'>$12.50</b></div></div>"
    )
    lamp = {"name": "Lamp", "sku": "L-1"}
    assert fields(described(head, microdata.format("Lamp")))["product"] == lamp | {"price": "12.50", "currency": "USD"}
    assert fields(described(head, microdata.format("Rug")))["product"] == lamp, "which is another one"


def test_posts_that_hang_on_posts_are_listed_after_these() -> None:
    def post(who: str, *comments: Any, **more: Any) -> dict[str, Any]:
        return {"@type": "Comment", "author": {"name": who}, "dateCreated": "2024-01-02", "comment": comments} | more

    likes = {"interactionType": "https://schema.org/LikeAction", "userInteractionCount": 3}
    thread = post("Ann", post("Bob", post("Cid", post("Dan"))), post("Eve", interactionStatistic=[likes]))
    thread |= {"@type": "DiscussionForumPosting", "upvoteCount": "1,234"}
    posts = fields(described(json_ld(thread)))["forum"]["posts"]
    assert [each["author"] for each in posts] == ["Ann", "Bob", "Cid", "Dan", "Eve"]
    assert [each.get("votes") for each in posts] == [1234, None, None, None, 3]
    answer = post("Bob", post("Kim"))
    question = post("Ann", post("Lee"), acceptedAnswer=answer, suggestedAnswer=[post("Cid")])
    page = {"@type": "QAPage", "mainEntity": question | {"@type": "Question"}}
    posts = fields(described(json_ld(page)))["forum"]["posts"]
    assert [each["author"] for each in posts] == ["Ann", "Lee", "Bob", "Kim", "Cid"]
    circle = {"@id": "#a", "@type": "DiscussionForumPosting", "author": "Ann", "comment": [{"@id": "#a"}] * 9}
    assert fields(described(json_ld(circle)))["forum"]["posts"] == [{"author": "Ann"}]


def test_where_the_markup_has_more_posts_than_are_told_to_machines_these_are_listed() -> None:
    told = [{"@type": "Comment", "author": {"name": who}, "dateCreated": "2024-01-02"} for who in ("Ann", "Bob")]
    head = json_ld(told[0] | {"@type": "DiscussionForumPosting", "comment": told[1:]})
    body = "".join(
        f"<div class='post'><a class='PostUser-name' href='/x'>{who}</a><time datetime='2024-02-03'>x</time>"
        f"<div class='postbody'><div class='content'>{words(i, 60)}</div></div></div>"
        for i, who in enumerate(("Ann", "Bob", "Cid"))
    )
    posts = fields(described(head, body, "https://forum.a.test/viewtopic.php?t=1"))["forum"]["posts"]
    assert [each["author"] for each in posts] == ["Ann", "Bob", "Cid"]


def test_a_date_in_words_is_the_post_s_and_not_its_author_s() -> None:
    body = "".join(
        f"<div class='post'><a class='username' href='/u/1'>{who}</a><div>Joined: March 02, 2015</div>"
        f"<div class='when'>« <b>on:</b> June {day}, 2024, 10:00 »</div>"
        f"<div class='postbody'><div class='content'>{words(day, 60)}</div></div></div>"
        for who, day in (("Ann", 14), ("Bob", 15))
    )
    posts = fields(described(body=body, url="https://forum.a.test/viewtopic.php?t=1"))["forum"]["posts"]
    assert [each["date"] for each in posts] == ["2024-06-14", "2024-06-15"]


def test_identifiers_of_papers_may_be_addresses() -> None:
    paper = {"@type": "ScholarlyArticle", "headline": "On Lamps", "identifier": "https://doi.org/10.1000/ABC(2)x"}
    told = fields(described(json_ld(paper | {"sameAs": ["https://arxiv.org/abs/2301.01234v2"]})))["scientific"]
    assert (told["doi"], told["arxiv"]) == ("10.1000/abc(2)x", "2301.01234")
    head = "<meta name='citation_title' content='T'><meta name='citation_doi' content='http://dx.doi.org/10.1000/a'>"
    assert fields(described(head))["scientific"]["doi"] == "10.1000/a"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("It was Regulation 32016R0679 then.", "other"),
        ("Regulation CELEX:32016R0679 is in force.", "legal"),
        ("Regulations 32016R0679 and 32018R1725 are in force.", "legal"),
        ("Part 12345AB6789 and serial 11234E5678 of lot 99999X1234.", "other"),
        ("Results: 3 U.S. 2, Canada 1.", "other"),
        ("See ECLI:EU:C:2014:317.", "legal"),
    ],
)
def test_one_identifier_in_passing_makes_no_page_of_law(text: str, kind: str) -> None:
    assert described(body=f"<p>{text}</p>").page_type == kind


def test_what_is_past_a_limit_is_told_and_a_number_too_long_costs_itself() -> None:
    deep = '{"@type": "Thing", "a": ' * 150 + "1" + "}" * 150
    told = described(f'<script type="application/ld+json">{deep}</script>')
    assert told.detail == "JSON-LD: what is nested deeper than 100 levels is left out"
    many = described(json_ld({"@graph": [{"@type": "Thing", "name": str(i)} for i in range(10_050)]}))
    assert many.detail == "JSON-LD: of its nodes 10,000 are read"
    long = '{"@type": "Product", "name": "Lamp", "sku": "L", "offers": {"price": ' + "9" * 5_000 + "}}"
    told = described(f'<script type="application/ld+json">{long}</script>')
    assert fields(told)["product"] == {"name": "Lamp", "sku": "L"} and told.detail is None


def test_the_steps_of_microdata_are_apart_and_a_change_after_the_page_was_fetched_is_none() -> None:
    steps = "<p>Mix it.</p><p>Bake <b>it</b>.</p>"
    body = f"<div itemscope itemtype='https://schema.org/Recipe'><div itemprop='recipeInstructions'>{steps}</div></div>"
    assert fields(described(body=body))["recipe"]["steps"] == ["Mix it.", "Bake it."]
    for day, modified in (("2025-12-31", "2025-12-31"), ("2026-01-02", "2026-01-02"), ("2026-01-03", None)):
        assert described(f"<meta property='article:modified_time' content='{day}'>").modified == modified


@pytest.mark.parametrize("unit", ['{{"@id": "#{i}", "@type": "Product", "name": "n{i}", "offers": {{"@id": "#{j}"}}}}'])
def test_nodes_that_name_each_other_take_linear_time(unit: str) -> None:
    def cost(n: int) -> float:
        nodes = ",".join(unit.format(i=i, j=(i + 1) % n) for i in range(n))
        head = f'<script type="application/ld+json">{{"@graph": [{nodes}]}}</script>'
        began = time.process_time()
        described(head)
        return time.process_time() - began

    short, long = (min(cost(n) for _ in range(2)) for n in (1_000, 4_000))
    assert long < 9 * short + 0.1, "of quadratic time it would be sixteen times"


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

def leaves(page: PageView):
    raise SystemExit(3)

def spoils(page: PageView):
    for node in page.nodes("Event"):
        node.clear()
    page.tree.clear()
    return {"title": "mine"}

def late(page: PageView):
    return {"name": page.nodes("Event")[0]["name"], "heading": page.tree.findtext(".//h1")}

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
    mine = {name: f"{own}:{name}" for name in ("spoils", "events", "broken", "a_list", "endless", "leaves", "late")}
    told = described(json_ld({"@type": "Event", "name": "Regatta"}), own=mine)
    assert fields(told) == {
        **{"spoils": {"title": "mine"}, "events": {"name": "Regatta"}},
        "late": {"name": "Regatta", "heading": "A page"},
    }, "what one does to the page no other sees"
    assert told.schema_types == ("Event",)
    assert told.detail and "leaves: SystemExit: 3" in told.detail
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
    with pytest.raises(ConfigError, match="because a data root names it: name the profile"):
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
