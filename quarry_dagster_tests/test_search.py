"""The searcher stays with what it opened, follows what is published when it is asked to, and passes duplicates over."""

from pathlib import Path

import pytest

from quarry_dagster.errors import ConfigError, IndexCorruptError
from quarry_dagster.search import Searcher
from quarry_dagster.store import Store
from quarry_dagster_tests.corpus import Corpus, shipped, words


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    corpus = Corpus(tmp_path / "data", shipped("raspberry_pi"))
    corpus.seed_texts("a.jsonl", {f"http://a.test/{i}": words(i) for i in range(6)})
    corpus.run()
    return corpus


def _found(searcher: Searcher, text: str, k: int = 1) -> list[str]:
    return searcher.like(text, k)["url"].to_list()


def test_a_searcher_follows_a_new_corpus_when_it_is_refreshed_and_not_before(corpus: Corpus) -> None:
    searcher = Searcher(corpus.store, corpus.profile)
    assert _found(searcher, words(3)) == ["http://a.test/3"]
    assert not searcher.refresh(), "nothing was published since"
    corpus.seed_texts("b.jsonl", {"http://b.test/": words(77)})
    corpus.run()
    assert _found(searcher, words(77)) != ["http://b.test/"]
    assert searcher.refresh()
    assert _found(searcher, words(77)) == ["http://b.test/"]
    assert searcher.corpus is not None
    assert (searcher.index.number, searcher.corpus.number) == (2, 2)


def test_a_searcher_stays_with_what_it_has_where_the_new_index_is_damaged(corpus: Corpus) -> None:
    searcher = Searcher(corpus.store, corpus.profile)
    corpus.seed_texts("b.jsonl", {"http://b.test/": words(77)})
    corpus.run()
    index = corpus.store.faiss_index.current()
    assert index is not None
    new = corpus.root / index.shards[-1].file
    new.write_bytes(new.read_bytes()[:-1])
    with pytest.raises(IndexCorruptError, match="have it made again"):
        searcher.refresh()
    assert _found(searcher, words(3)) == ["http://a.test/3"]
    assert searcher.index.number == 1


def test_removed_duplicates_are_passed_over_until_as_many_as_asked_for_are_found(corpus: Corpus) -> None:
    copies = {f"http://c.test/{i}": f"{words(3)} {words(100 + i, 6)}" for i in range(20)}
    corpus.seed_texts("c.jsonl", copies)
    corpus.run()
    found = _found(Searcher(corpus.store, corpus.profile), words(3), 5)
    assert len(found) == len(set(found)) == 5
    assert set(found) <= corpus.urls()


def test_a_searcher_says_what_it_lacks(corpus: Corpus, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="quarry run makes one"):
        Searcher(Store(str(tmp_path / "empty")), corpus.profile)
    another = shipped("raspberry_pi", embedding={"max_tokens": 32})
    with pytest.raises(ConfigError, match="search with the profile that the corpus was made with"):
        Searcher(corpus.store, another).like("text", 1)
