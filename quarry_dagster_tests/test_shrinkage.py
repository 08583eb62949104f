"""What counts as a loss, and against which corpus: by the stages, without Dagster."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from quarry_dagster import takedown
from quarry_dagster.checks.deduped_corpus import removal_rate
from quarry_dagster.errors import ChecksFailedError, CorpusShrankError
from quarry_dagster.profiles.settings import HardwareProfile
from quarry_dagster.search import Searcher
from quarry_dagster.stages import embeddings, extracted_text, faiss_index
from quarry_dagster.stages.corpus import deduped_corpus
from quarry_dagster.stages.redo import adopt
from quarry_dagster.store import Acceptance
from quarry_dagster.store.failed_checks import FailedChecks
from quarry_dagster_tests import breaches
from quarry_dagster_tests.corpus import Corpus, profile, words

ACCEPTED = [Acceptance(what=deduped_corpus.SHRINK, who="a test", at="2026-11-29T00:00:00+00:00")]


def give(corpus: Corpus, texts: dict[str, str]) -> None:
    """Give these documents, in place of those of the same URLs that were given before."""
    corpus.seed_texts(f"{datetime.now(UTC).timestamp()}.jsonl", texts)


def many(host: str, n: int, first: int = 0) -> dict[str, str]:
    return {f"http://{host}/{i}": words(first + i, 40) for i in range(n)}


def short(texts: dict[str, str]) -> dict[str, str]:
    """The same documents with texts that are too short to be accepted."""
    return {url: f"Short {i}." for i, url in enumerate(texts)}


def refuses(corpus: Corpus) -> str:
    """The message by which a run is refused."""
    before = corpus.store.deduped_corpus.current()
    with pytest.raises(CorpusShrankError) as refused:
        corpus.run()
    assert corpus.store.deduped_corpus.current() == before
    return str(refused.value)


@pytest.fixture
def wide(corpus: Corpus) -> Corpus:
    """Partitions large enough that a test writes few files."""
    return Corpus(corpus.root, profile(partitions={"pages_per_partition": 500}))


def test_a_meant_loss_does_not_make_room_for_another(wide: Corpus) -> None:
    large, small = many("large.test", 150), many("small.test", 40, first=200)
    give(wide, large | small)
    wide.run()
    takedown.forget(wide.store, wide.profile, "large.test")
    assert len(wide.urls()) == 40
    give(wide, short(dict(list(small.items())[:25])))
    assert "25 of" in refuses(wide)


def test_a_partition_that_is_deleted_does_not_make_room_for_a_loss_at_the_same_time(wide: Corpus) -> None:
    small = many("small.test", 40, first=200)
    give(wide, many("large.test", 150))
    wide.run()
    (large,) = wide.store.batches.segments()
    give(wide, small)
    wide.run()
    wide.store.delete_partitions([large])
    give(wide, short(dict(list(small.items())[:25])))
    assert "25 of 190 documents" in (message := refuses(wide))
    assert "besides, 150 leave as it was meant: 150 partition deleted" in message


def test_settings_that_were_confirmed_once_do_not_make_later_losses_meant(wide: Corpus) -> None:
    texts = many("a.test", 110)
    texts["http://a.test/brief"] = words(999, 22)
    give(wide, texts)
    adopt(wide.store, wide.profile, confirmed=False, how="")
    wide.run()
    stricter = Corpus(wide.root, profile(partitions={"pages_per_partition": 500}, extraction={"min_words": 30}))
    adopt(stricter.store, stricter.profile, confirmed=True, how="")
    stricter.run()
    assert len(stricter.urls()) == 110
    give(stricter, short(many("a.test", 20)))
    stricter.run()  # a fifth is not too much; but then another is
    give(stricter, short(many("a.test", 36)))
    assert "36 of 110 documents" in refuses(stricter)


def test_a_yes_that_comes_later_than_the_change_counts(wide: Corpus) -> None:
    give(wide, many("a.test", 30))
    adopt(wide.store, wide.profile, confirmed=False, how="")
    wide.run()
    stricter = Corpus(wide.root, profile(partitions={"pages_per_partition": 500}, extraction={"min_words": 1000}))
    adopt(stricter.store, stricter.profile, confirmed=False, how="")
    assert "30 text too_short" in refuses(stricter)
    adopt(stricter.store, stricter.profile, confirmed=True, how="")
    stricter.run()
    assert not stricter.urls()


def age(corpus: Corpus, days: float) -> None:
    """Make all that the published corpus remembers older."""
    published = corpus.store.deduped_corpus.current()
    assert published is not None
    before = (datetime.now(UTC) - timedelta(days=days)).isoformat(timespec="seconds")
    larger = [replace(past, stood_until=before) for past in published.larger]
    corpus.store.deduped_corpus.amend(
        replace(published, published_at=before, larger=larger), keep=corpus.store.keeping(5)
    )


def lose(corpus: Corpus, first: int, n: int) -> None:
    """Lose the texts of so many documents of the host a.test."""
    give(corpus, short(dict.fromkeys(list(many("a.test", 100))[first : first + n], "")))


def test_a_corpus_that_stood_for_long_is_remembered_from_the_day_when_it_was_replaced(wide: Corpus) -> None:
    give(wide, many("a.test", 100))
    wide.run()
    age(wide, 40)
    lose(wide, 0, 18)
    wide.run()
    age(wide, 20)
    lose(wide, 18, 10)
    assert "28 of 100 documents" in refuses(wide)


def test_a_corpus_of_more_than_thirty_days_ago_is_forgotten(wide: Corpus) -> None:
    give(wide, many("a.test", 100))
    wide.run()
    lose(wide, 0, 18)
    wide.run()
    age(wide, 31)
    lose(wide, 18, 10)
    wide.run()
    assert len(wide.urls()) == 72


def test_the_layers_of_a_remembered_corpus_outlive_their_merging(wide: Corpus) -> None:
    give(wide, many("a.test", 100))
    wide.run()
    for i in range(4):  # each publish extends the layers, and merges some
        give(wide, many("b.test", 3, first=500 + 3 * i) | {})
        lose(wide, 4 * i, 4)
        wide.run()
    lose(wide, 16, 20)
    assert "36 of 100 documents" in refuses(wide)


def test_an_accepted_loss_is_counted_no_more(wide: Corpus) -> None:
    give(wide, many("a.test", 100))
    wide.run()
    lose(wide, 0, 50)
    refuses(wide)
    deduped_corpus.refresh(wide.store, wide.profile.deduplication, "test", accepted=ACCEPTED)
    lose(wide, 50, 9)
    wide.run()
    assert len(wide.urls()) == 41


class TestTakedown:
    def test_what_is_forgotten_beside_a_refused_loss_is_in_no_table_and_goes_with_the_next_corpus(
        self, wide: Corpus
    ) -> None:
        texts = many("a.test", 60)
        secret = next(iter(texts.values())).split()[0:6]
        give(wide, texts)
        wide.run()
        lose(wide, 20, 30)
        refuses(wide)
        with pytest.raises(CorpusShrankError, match="not yet out of the corpus"):
            takedown.forget(wide.store, wide.profile, "http://a.test/0")
        assert takedown.is_unfinished(wide.store)
        pages = wide.read("raw_pages").filter(url="http://a.test/0")
        assert pages["body"].item() is None
        deduped_corpus.refresh(wide.store, wide.profile.deduplication, "test", accepted=ACCEPTED, anew=True)
        takedown.finish(wide.store)
        assert not takedown.is_unfinished(wide.store)
        phrase = " ".join(secret)
        for table in wide.store.tables():
            for segment in table.segments().values():
                for frame in segment.batches():
                    assert phrase not in str(frame.to_dicts()), table.name
        assert "http://a.test/0" not in wide.urls()

    def test_a_takedown_does_not_publish_what_stands_failed(self, wide: Corpus) -> None:
        give(wide, many("a.test", 5))
        wide.run()
        before = wide.store.deduped_corpus.current()
        give(wide, many("b.test", 5, first=50))
        wide.take_in()
        (partition,) = [p for p in wide.store.batches.segments() if not wide.store.raw_pages.segment(p)]
        FailedChecks.note(wide.store.files, "raw_pages.contract", [partition], [partition], datetime.now(UTC))
        with pytest.raises(ChecksFailedError, match="not yet out of the corpus"):
            takedown.forget(wide.store, wide.profile, "http://a.test/0")
        assert wide.store.deduped_corpus.current() == before


def test_what_was_published_with_bad_vectors_is_built_anew_once_they_are_good(wide: Corpus) -> None:
    texts = many("a.test", 12)
    give(wide, texts)
    wide.run()
    breaches.scaled_vector(wide.store)
    (partition,) = wide.store.batches.segments()
    accepted = [Acceptance(what="check embeddings.vectors", who="a test", at="")]
    faiss_index.refresh(wide.store, [partition], wide.profile, accepted=accepted, force=True)
    deduped_corpus.refresh(wide.store, wide.profile.deduplication, "test", accepted=accepted)
    embeddings.refresh(wide.store, partition, wide.profile, force=True)
    wide.run()
    index, corpus = wide.store.published()
    assert index is not None and corpus is not None and not index.accepted and not corpus.accepted
    searcher = Searcher(wide.store, wide.profile)
    for url, text in texts.items():
        assert searcher.like(text, 1)["url"].item() == url


def test_a_forced_corpus_is_scored_anew(wide: Corpus) -> None:
    give(wide, {"http://a.test/1": words(1), "http://a.test/2": f"{words(1)}\n\nAnd one sentence more."})
    wide.run()
    report = deduped_corpus.refresh(wide.store, wide.profile.deduplication, "test", force=True)
    assert report.worked == 1


def test_an_index_built_anew_does_not_make_the_corpus_its_own_past(wide: Corpus) -> None:
    give(wide, many("a.test", 40))
    wide.run()
    give(wide, {f"http://a.test/copy/{i}": text for i, text in enumerate(many("a.test", 30).values())})
    wide.run()
    warned = removal_rate(wide.store, wide.profile)
    assert not warned.passed
    faiss_index.refresh(wide.store, list(wide.store.batches.segments()), wide.profile, force=True)
    assert deduped_corpus.behind(wide.store)
    wide.run()
    index, corpus = wide.store.published()
    assert index is not None and corpus is not None and index.number == corpus.index
    assert not deduped_corpus.behind(wide.store)
    assert removal_rate(wide.store, wide.profile) == warned


def test_a_corpus_that_names_no_index_is_searched_in_the_one_it_was_made_from(wide: Corpus) -> None:
    texts = many("a.test", 40)
    give(wide, texts)
    wide.run()
    published = wide.store.deduped_corpus.current()
    assert published is not None
    wide.store.deduped_corpus.amend(
        replace(published, index=None, published_at=None, made_with={}), keep=wide.store.keeping(5)
    )
    for first in (0, 10, 20):  # more indexes than are live by themselves
        lose(wide, first, 10 if first < 20 else 20)
        if first < 20:
            wide.take_in()
            for partition in wide.store.batches.segments():
                _embed(wide, partition)
            faiss_index.refresh(wide.store, list(wide.store.batches.segments()), wide.profile)
    refuses(wide)
    for url, text in list(texts.items())[:3]:
        assert Searcher(wide.store, wide.profile).like(text, 1)["url"].item() == url


def _embed(corpus: Corpus, partition: str) -> None:
    from quarry_dagster.stages.pages import raw_pages

    raw_pages.refresh(corpus.store, partition, corpus.profile.crawl, ())
    extracted_text.refresh(corpus.store, partition, corpus.extractor)
    embeddings.refresh(corpus.store, partition, corpus.profile)


def test_another_limit_of_memory_writes_no_text_anew(wide: Corpus) -> None:
    give(wide, many("a.test", 3))
    wide.run()
    values = wide.profile.model_dump()
    values["extraction"]["worker_memory_mb"] = 4096
    before = wide.files()
    Corpus(wide.root, HardwareProfile.model_validate(values)).run()
    assert wide.files() == before
