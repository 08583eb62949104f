"""What is new in the inbox goes to batches once; the latest version of a carried document counts."""

import json
import os

import polars as pl

from quarry_dagster_tests.corpus import Corpus, profile, words


def _lines(rows: list[dict[str, str]]) -> str:
    return "".join(json.dumps(r) + "\n" for r in rows)


def test_the_latest_capture_counts_wherever_it_stands_in_the_seed(corpus: Corpus) -> None:
    filler = [{"url": f"http://f.test/{i}"} for i in range(2500)]
    old, new = (
        {"url": "http://a.test/", "text": t, "fetched_at": f"{y}-01-01"} for t, y in (("old", 2019), ("new", 2021))
    )
    for i, rows in enumerate(([old, new], [new, old], [old, *filler, new], [new, *filler, old])):
        one = Corpus(corpus.root / str(i), profile(partitions={"pages_per_partition": 5000}))
        one.seed("a.jsonl", _lines(rows))
        one.take_in()
        body = one.store.batches.scan().filter(pl.col("url") == "http://a.test/").select("body").collect()
        assert body["body"].to_list() == [b"new"], i


def test_a_url_named_many_times_takes_one_place_and_cuts_no_partition(corpus: Corpus) -> None:
    urls = [f"http://a.test/{i}" for i in range(12_000)]
    big = Corpus(corpus.root, profile(partitions={"pages_per_partition": 20_000}))
    big.seed("a.txt", "\n".join([*urls, *urls]))
    (report,) = big.take_in()
    assert (report.urls, report.added) == (24_000, 12_000)
    assert [s.rows for s in big.store.batches.segments().values()] == [12_000]


def test_partitions_have_the_size_the_profile_sets(corpus: Corpus) -> None:
    corpus.seed("a.txt", "".join(f"http://a.test/{i}\n" for i in range(35)))
    corpus.take_in()
    assert [s.rows for s in corpus.store.batches.segments().values()] == [10, 10, 10, 5]


def test_an_edited_seed_adds_its_new_urls_and_replaces_what_changed(corpus: Corpus) -> None:
    corpus.seed_texts("a.jsonl", {"http://a.test/1": words(1), "http://a.test/2": words(2)})
    corpus.take_in()
    corpus.seed_texts(
        "a.jsonl", {"http://a.test/1": words(1), "http://a.test/2": words(9), "http://a.test/3": words(3)}
    )
    (report,) = corpus.take_in()
    assert (report.added, report.replaced) == (1, 1)
    assert len(corpus.store.batches.segments()) == 2
    assert not corpus.take_in()


def test_seeds_are_taken_in_as_they_came(corpus: Corpus) -> None:
    for name, seed, at in (("b.jsonl", 1, 1000), ("a.jsonl", 2, 500)):
        corpus.seed_texts(name, {"http://a.test/": words(seed)})
        os.utime(corpus.root / "seeds" / name, (at, at))
    assert [r.name for r in corpus.take_in()] == ["a.jsonl", "b.jsonl"]
    corpus.run()
    assert corpus.read("deduped_corpus")["text"].to_list() == [words(1)]
