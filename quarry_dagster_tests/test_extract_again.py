"""What is extracted anew, and what is not: another limit is no other text, and a given text is nobody's to extract."""

from pathlib import Path

import polars as pl
import pytest

from quarry_dagster.extract import extractors
from quarry_dagster.stages import embeddings, extracted_text
from quarry_dagster.stages.plan import plan
from quarry_dagster.stages.redo import redo
from quarry_dagster_tests.corpus import Corpus, profile

SHORT, LONG = "Only a few words of it stand here.", "The harbour was rebuilt twice, and each time the town grew. " * 9
STORY = "The mill has stood at the river for as long as anyone in the village knows. " * 9


@pytest.fixture
def mixed(tmp_path: Path) -> Corpus:
    """Two given texts, one of them short, and a given page."""
    corpus = Corpus(tmp_path / "data", profile())
    corpus.seed_texts("texts.jsonl", {"https://a.test/short": SHORT, "https://a.test/long": LONG})
    html = f"<html><body><main><h1>The mill</h1><p>{STORY}</p></main></body></html>"
    corpus.seed("pages.jsonl", pl.DataFrame({"url": ["https://a.test/page"], "html": [html]}).write_ndjson())
    corpus.run()
    return corpus


def outcomes(corpus: Corpus) -> dict[str, str]:
    rows = corpus.read("extracted_text").select("url", "outcome").rows()
    return {url.rpartition("/")[2]: outcome for url, outcome in rows}


def test_another_min_words_extracts_nothing_and_makes_documents_of_rows_that_are_there(mixed: Corpus) -> None:
    assert outcomes(mixed) == {"short": "too_short", "long": "extracted", "page": "extracted"}
    before = mixed.read("extracted_text").sort("doc_id")  # workers are done in any order
    for min_words, expected in ((5, "extracted"), (20, "too_short"), (1000, "too_short")):
        other = Corpus(mixed.root, profile(extraction={"min_words": min_words}))
        assert redo(other.store, other.profile).extracted == 0
        for partition in other.store.batches.segments():
            assert extracted_text.refresh(other.store, partition, other.extractor).worked == 0
            embeddings.refresh(other.store, partition, other.profile)
        assert outcomes(other)["short"] == expected
        assert outcomes(other)["long"] == ("too_short" if min_words == 1000 else "extracted")
        rows = other.read("extracted_text").sort("doc_id")
        assert (rows["outcome"] == "extracted").to_list() == rows["text_digest"].is_not_null().to_list()
        assert rows["text"].to_list() == before["text"].to_list()
        made = set(rows.filter(pl.col("outcome") == "extracted")["doc_id"])
        assert set(other.read("embeddings")["doc_id"]) == made
    again = Corpus(mixed.root, profile())
    again.run()
    assert again.read("extracted_text").sort("doc_id").equals(before)


def test_a_given_text_is_not_touched_when_the_extractor_changes(mixed: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extractors, "RULES", extractors.RULES + 1)
    assert redo(mixed.store, mixed.profile).extracted == 1
    assert plan(mixed.store, mixed.profile).texts.anew == 1
    assert mixed.run()["extracted_text"].worked == 1


def test_the_kind_of_a_page_and_the_form_of_its_text_are_in_the_corpus(mixed: Corpus) -> None:
    rows = {row["url"][15:]: row for row in mixed.read("extracted_text").to_dicts()}
    assert (rows["page"]["page_type"], rows["page"]["text_format"]) == ("other", "markdown")
    assert (rows["long"]["page_type"], rows["long"]["text_format"]) == (None, "plain")
    assert set(mixed.read("deduped_corpus").select("text_format").to_series()) == {"markdown", "plain"}
