"""The tables `page_metadata` and `personal_data`: a row for every document, and work for what changed alone."""

from __future__ import annotations

import json

import dagster as dg
import polars as pl
import pytest

from quarry_dagster.checks.personal_data import contract
from quarry_dagster.explain import history
from quarry_dagster.orchestration.assets.page_metadata import page_metadata as facts
from quarry_dagster.orchestration.assets.personal_data import personal_data as places
from quarry_dagster.orchestration.resources import Quarry as Resource
from quarry_dagster.stages import page_metadata, personal_data
from quarry_dagster.stages.pages import raw_pages
from quarry_dagster.takedown import forget
from quarry_dagster_tests.corpus import LOOPBACK, Corpus, Quarry, words
from quarry_dagster_tests.site import Site, html

PAID = json.dumps({"@type": "NewsArticle", "headline": "x", "isAccessibleForFree": False, "articleSection": "World"})
MAIL = "ann@shore.org"


def _page(number: int, head: str = "", body: str = "") -> bytes:
    return html(f"Page {number}", f"{words(number)}\n\n{body}").replace(b"</head>", f"{head}</head>".encode())


@pytest.fixture
def crawled_pages(corpus: Corpus, site: Site) -> Corpus:
    """A corpus of a paid news article, a page with a licence, one with an address, and a given text."""
    site.pages = {
        "/0": _page(0, f'<script type="application/ld+json">{PAID}</script>'),
        "/1": _page(1, "<link rel=license href='https://creativecommons.org/licenses/by/4.0/'>"),
        "/2": _page(2, body=f"Write to {MAIL} or call +44 20 7946 0018."),
        "/short": html("Short", "Too short."),
    }
    corpus.seed("a.txt", "".join(site.url(path) + "\n" for path in site.pages))
    corpus.seed_texts("b.jsonl", {"http://given.test/1": f"{words(9)} {MAIL}"})
    corpus.run()
    return corpus


def test_each_document_has_a_row_and_each_piece_of_personal_data_its_place(crawled_pages: Corpus, site: Site) -> None:
    told = {row["doc_id"]: row for row in crawled_pages.read("page_metadata").to_dicts()}
    texts = crawled_pages.read("extracted_text").filter(pl.col("outcome") == "extracted")
    assert told.keys() == {*texts["doc_id"]}, "and none for what is no document"
    by_url = {row["url"]: told[row["doc_id"]] for row in texts.select("doc_id", "url").to_dicts()}
    assert by_url[site.url("/0")]["paywalled"] is True and by_url[site.url("/0")]["page_type"] == "article"
    assert json.loads(by_url[site.url("/0")]["fields"])["news"]["section"] == "World"
    assert by_url[site.url("/0")]["schema_types"] == ["NewsArticle"]
    assert (by_url[site.url("/1")]["license"], by_url[site.url("/1")]["license_source"]) == ("CC-BY-4.0", "rel")
    assert by_url["http://given.test/1"]["page_type"] is None
    places = crawled_pages.read("personal_data").join(texts, on="doc_id").to_dicts()
    assert sorted(row["text"][row["start"] : row["end"]] for row in places) == ["+44 20 7946 0018", MAIL, MAIL]
    assert not [
        value for row in crawled_pages.read("personal_data").to_dicts() for value in row.values() if value == MAIL
    ]


def test_only_what_changed_is_described_and_read_anew(crawled_pages: Corpus, site: Site) -> None:
    again = crawled_pages.run()
    assert (again["page_metadata"].worked, again["personal_data"].worked) == (0, 0)
    assert (again["page_metadata"].written, again["personal_data"].written) == (0, 0)
    site.pages["/1"] = _page(1)
    _refetch(crawled_pages)
    report = crawled_pages.run()
    assert report["page_metadata"].worked == 1, "its head is another one"
    assert report["personal_data"].worked == 0, "and its text is the same"
    licences = crawled_pages.read("page_metadata")["license"].to_list()
    assert licences.count("CC-BY-4.0") == 0
    (partition, *_) = crawled_pages.store.page_metadata.segments()
    rows = crawled_pages.store.page_metadata.segment(partition)
    assert rows is not None
    forced = page_metadata.refresh(crawled_pages.store, partition, crawled_pages.describer, force=True)
    assert forced.worked == rows.rows
    assert personal_data.refresh(crawled_pages.store, partition, force=True).worked == rows.rows


def _refetch(corpus: Corpus) -> None:
    for partition in corpus.store.batches.segments():
        raw_pages.refresh(corpus.store, partition, corpus.profile.crawl, LOOPBACK, refetch=True)


def test_what_is_forgotten_leaves_both(crawled_pages: Corpus, site: Site) -> None:
    assert forget(crawled_pages.store, crawled_pages.profile, site.url("/2")) == 1
    assert crawled_pages.read("page_metadata").height == 3
    assert crawled_pages.read("personal_data")["type"].to_list() == ["email"]


def test_explain_and_the_report_say_it_and_show_no_value(quarry: Quarry, crawled_pages: Corpus, site: Site) -> None:
    found = history(str(crawled_pages.root), site.url("/2"))
    assert found is not None
    assert dict(found.steps)["personal_data"].startswith("email at ")
    assert MAIL not in dict(found.steps)["personal_data"]
    status, out, _ = quarry("explain", site.url("/1"), "--data", crawled_pages.root, "--json")
    told = json.loads(out)
    assert status == 0 and told["page_metadata"]["license"] == "CC-BY-4.0"
    status, out, _ = quarry("explain", site.url("/0"), "--data", crawled_pages.root)
    assert "article, told by schema.org" in out and "for those who pay" in out and "news: section" in out


def test_the_assets_show_what_users_read_and_no_word_of_a_page(crawled_pages: Corpus, site: Site) -> None:
    site.pages["/1"] = _page(1, "<link rel=license href='/terms-of-quokka'>")
    _refetch(crawled_pages)
    crawled_pages.run()
    (partition,) = crawled_pages.store.batches.segments()
    shown = {asset.key.to_user_string(): _shown(asset, crawled_pages, partition) for asset in (facts, places)}
    assert shown["page_metadata"]["dagster/row_count"].value == crawled_pages.read("page_metadata").height
    assert shown["personal_data"]["dagster/row_count"].value == crawled_pages.read("personal_data").height == 3
    assert "| a URL of its own | 1 |" in str(shown["page_metadata"]["licenses"].value)
    assert "quokka" not in str(shown)
    told = contract(crawled_pages.store, crawled_pages.profile, [partition])
    assert told.passed and told.summary.startswith("3 rows of 4 documents")


def _shown(asset: dg.AssetsDefinition, corpus: Corpus, partition: str) -> dict[str, dg.MetadataValue]:
    """The metadata of an asset that Dagster materializes for one partition."""
    quarry = Resource(data=str(corpus.root), profile="test", settings=corpus.profile.model_dump(mode="json"))
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("crawl_batches", [partition])
        result = dg.materialize([asset], instance=instance, partition_key=partition, resources={"quarry": quarry})
    (made,) = result.asset_materializations_for_node(asset.key.to_user_string())
    return dict(made.metadata)
