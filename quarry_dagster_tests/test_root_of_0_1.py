"""A data root that version 0.1 wrote is read as that version read it, and goes on without doing work again."""

import json
import shutil
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, get_args

import polars as pl
import pytest

from quarry_dagster import scan
from quarry_dagster.checks.raw_pages import contract
from quarry_dagster.errors import StoreError
from quarry_dagster.explain import history
from quarry_dagster.profiles.choose import load_profile
from quarry_dagster.reader import TableName
from quarry_dagster.search import Searcher
from quarry_dagster.stages.backlog import backlog
from quarry_dagster.store import Store
from quarry_dagster.takedown import forget, put_on_list
from quarry_dagster_tests.corpus import Corpus, words

HERE = Path(__file__).parent / "root_of_0_1"
LATER = ("problems", "consent", "page_metadata", "personal_data", "quality_signals", "filter_decisions")
"""Tables that version 0.1 did not have."""
EXPECTED: dict[str, list[dict[str, Any]]] = json.loads((HERE / "expected.json").read_text())


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    shutil.copytree(HERE / "root", tmp_path / "root")
    return Corpus(tmp_path / "root", load_profile("raspberry_pi"))


def _rows(root: Path, table: TableName, columns: list[str]) -> list[dict[str, Any]]:
    key = "removed_id" if table == "dedup_decisions" else "doc_id"
    return json.loads(scan(table, root).sort(key).select(columns).collect().write_json())


@pytest.mark.parametrize("table", [table for table in get_args(TableName) if table not in LATER])
def test_its_tables_are_read_as_they_were(table: TableName) -> None:
    expected = EXPECTED[table]
    assert _rows(HERE / "root", table, list(expected[0])) == expected


def test_what_it_says_of_a_document_is_as_it_was() -> None:
    removed = history(str(HERE / "root"), "https://example.org/copy/1")
    assert removed is not None
    assert removed.steps[-1][1].startswith("removed: duplicate of https://example.org/notes/1 ")
    forgotten = history(str(HERE / "root"), "https://example.com/gone")
    assert forgotten is not None and "opted_out" in dict(forgotten.steps)["raw_pages"]


def test_it_is_searched(corpus: Corpus) -> None:
    text = scan("deduped_corpus", corpus.root).filter(pl.col("url") == "https://example.org/notes/5")
    found = Searcher(corpus.store, corpus.profile).like(text.select("text").collect().item(), 1)
    assert found["url"].to_list() == ["https://example.org/notes/5"]


def _changed(corpus: Corpus, before: dict[str, int]) -> set[str]:
    """The tables, or parts of such, that have files which they did not have before."""
    changed = {path for path, time in corpus.files().items() if before.get(path) != time}
    return {path.split("/")[0] for path in changed if path.endswith((".parquet", ".json", ".faiss"))} - {"log"}


def test_a_run_with_nothing_new_decides_once_by_the_rules_of_now_and_then_writes_nothing(corpus: Corpus) -> None:
    assert backlog(Store(str(corpus.root))) == {}
    before = corpus.files()
    corpus.store.files.log.set("a value", lambda _: 1)  # brought over, before anything else is written
    assert _changed(corpus, before) == {"batches"}, "what versions of before are stopped by"
    before = corpus.files()
    corpus.run()
    changed = _changed(corpus, before)
    assert changed >= {"raw_pages", "extracted_text", "sketches", "deduped_corpus"}, "all have rules of other versions"
    assert _pairs(_rows(corpus.root, "dedup_decisions", _PAIR)) == _pairs(EXPECTED["dedup_decisions"])
    before = corpus.files()
    reports = corpus.run()
    assert _changed(corpus, before) == set()
    assert sum(report.written for report in reports.values()) == 0


_PAIR = ["removed_url", "kept_url"]


def _pairs(decisions: list[dict[str, Any]]) -> set[frozenset[str]]:
    """Which documents are one: which of both is kept, is a rule of its version."""
    return {frozenset(row[name] for name in _PAIR) for row in decisions}


def test_it_keeps_the_form_of_urls_that_its_ids_are_made_from(corpus: Corpus) -> None:
    url, other = "https://example.org/a?id=3&id=1", "https://example.org/a?id=1&id=3"
    corpus.seed_texts("fifth.jsonl", {url: words(5)})
    corpus.take_in()
    corpus.seed("sixth.txt", f"{other}\nhttps://example.org/notes/1\n")
    assert [report.added for report in corpus.take_in()] == [0]
    assert corpus.store.root().urls == "url-1"
    corpus.run()
    assert contract(corpus.store, corpus.profile, list(corpus.store.batches.segments())).passed
    found = history(str(corpus.root), other)
    assert found is not None and found.url == url


def test_what_it_forgot_stays_out_in_whatever_order_parameters_come(corpus: Corpus) -> None:
    listed = {"https://example.com/gone": "2026-11-28", "https://example.com/gone?id=1&id=3": "2026-11-28"}
    corpus.store.files.write_json("forgotten.json", listed)
    new = Corpus(corpus.root.parent / "new", corpus.profile)
    new.store.files.write_json("forgotten.json", listed)
    urls = [
        "https://example.com/gone?id=3&id=1",
        "https://example.com/gone?id=1&id=3",
        "https://example.com/gone?utm_id=1",
    ]
    for root in (corpus, new):
        assert all(root.store.forgotten().reason(url) for url in urls), root
        assert put_on_list(root.store, urls[0]).reason(urls[0])


def test_to_forget_one_of_the_urls_of_a_document_forgets_the_document(corpus: Corpus) -> None:
    corpus.seed_texts("fifth.jsonl", {"https://example.org/a?id=3&id=1": words(5)})
    corpus.run()
    assert forget(corpus.store, corpus.profile, "https://example.org/a?id=1&id=3") == 1
    assert "https://example.org/a?id=3&id=1" not in corpus.urls()
    assert corpus.store.files.log.value("forgotten/https://example.org/a?id=1&id=3")["urls"] == "url-1"


def test_what_a_new_root_forgets_is_the_page_that_was_named(tmp_path: Path) -> None:
    corpus = Corpus(tmp_path / "new", load_profile("raspberry_pi"))
    urls = ["https://example.org/a?id=1&id=3", "https://example.org/a?id=3&id=1", "https://example.org/a?wsdl"]
    corpus.seed_texts("first.jsonl", {url: words(i) for i, url in enumerate(urls)})
    corpus.run()
    assert forget(corpus.store, corpus.profile, urls[0]) == 1
    assert corpus.urls() == set(urls[1:])
    ((key, said),) = corpus.store.files.log.values("forgotten/").items()
    assert (key, said["day"], said["urls"]) == (urls[0], str(_today()), "url-2")
    assert not corpus.store.forgotten().reason("https://example.org/a?wsdl=")


def _today() -> date:
    return datetime.now(UTC).date()


DAMAGED: list[tuple[str, Any]] = [
    ("deduped_corpus/000004/manifest.json", []),
    ("deduped_corpus/000004/manifest.json", {}),
    ("deduped_corpus/000004/manifest.json", {"inputs": None}),
    ("deduped_corpus/CURRENT.json", {"snapshot": 4}),
    ("deduped_corpus/CURRENT.json", []),
    ("deduped_corpus/CURRENT.json", {"snapshot": "x", "previous": None}),
    ("faiss_index/000004/manifest.json", {"shards": [{}]}),
    ("faiss_index/CURRENT.json", 4),
    ("intake/ledger.json", {"first.jsonl": {"state": "x"}}),
    ("intake/ledger.json", []),
    ("forgotten.json", ["https://example.com/gone"]),
    ("forgotten.json", None),
    ("forgotten.json", {"https://example.com/gone": 1}),
    ("forgotten.json", {"https://example.com/gone": {"day": "2026-11-28", "urls": "url-0"}}),
    ("root.json", []),
    ("root.json", {"urls": "url-0"}),
    ("root.json", {"urls": ["url-1"]}),
]


@pytest.mark.parametrize(("path", "content"), DAMAGED)
def test_a_state_that_is_json_and_not_as_it_was_written_is_named(corpus: Corpus, path: str, content: Any) -> None:
    corpus.store.files.write_json(path, content)
    with pytest.raises(StoreError) as e:
        corpus.run()
    assert f"{corpus.root / path} is damaged (it " in str(e.value)


@pytest.mark.parametrize("left_out", ["layers", "sketches", "directions", "kept", "inputs"])
def test_a_corpus_whose_manifest_lacks_something_is_not_taken_for_an_empty_one(corpus: Corpus, left_out: str) -> None:
    path = corpus.root / "deduped_corpus/000004/manifest.json"
    manifest = json.loads(path.read_text())
    del manifest[left_out]
    path.write_text(json.dumps(manifest))
    with pytest.raises(StoreError, match=f"it lacks '{left_out}'"):
        scan("deduped_corpus", corpus.root)


def test_a_file_of_another_program_among_ours_stops_nothing(corpus: Corpus) -> None:
    for folder in ("faiss_index/shards", "deduped_corpus/kept", "deduped_corpus/pairs", "faiss_index"):
        (corpus.root / folder / ".DS_Store").touch()
    corpus.seed_texts("fifth.jsonl", {"https://example.org/more": words(5)})
    corpus.run()
    assert "https://example.org/more" in corpus.urls()


def test_a_document_that_comes_is_decided_on_with_those_that_were_there(corpus: Corpus) -> None:
    twin = scan("deduped_corpus", corpus.root).filter(pl.col("url") == "https://example.org/notes/6").collect()
    corpus.seed_texts("fifth.jsonl", {"https://example.org/again": twin["text"].item()})
    corpus.run()
    both = {"https://example.org/again", "https://example.org/notes/6"}
    decision = corpus.read("dedup_decisions").filter(pl.col("removed_url").is_in(both)).row(0, named=True)
    assert ({decision["removed_url"], decision["kept_url"]}, decision["level"]) == (both, "exact")
    assert _pairs(EXPECTED["dedup_decisions"]) <= _pairs(_rows(corpus.root, "dedup_decisions", _PAIR))
