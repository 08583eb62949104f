"""What is new in the inbox goes to batches once; the latest version of a carried document counts."""

import itertools
import json
import os
import re
from functools import partial
from pathlib import Path

import polars as pl
import pytest

from quarry_dagster import intake
from quarry_dagster.cli.seed_reports import print_reports
from quarry_dagster.intake import take_in_seeds
from quarry_dagster.intake.ledger import Ledger
from quarry_dagster.intake.listing import list_seeds
from quarry_dagster.intake.problems import grouped
from quarry_dagster.store import Table
from quarry_dagster.urls import CURRENT_FORM, FIRST_FORM, UrlForm
from quarry_dagster_tests.corpus import Corpus, profile, words
from quarry_dagster_tests.site import Site
from quarry_dagster_tests.test_seeds_archive import Archive


def _lines(rows: list[dict[str, str]]) -> str:
    return "".join(json.dumps(r) + "\n" for r in rows)


def test_problems_of_one_kind_do_not_hide_another_further_down(
    corpus: Corpus, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [json.dumps({"id": i, "title": "t" * 5000, "text": words(1)}) for i in range(3)]
    lines = [f'{{"id": {i}' for i in range(300)] + ["[]", *rows] + [json.dumps({"id": 1, "text": words(2)})] * 150
    corpus.seed("a.jsonl", "\n".join(lines) + "\n")
    (report,) = corpus.take_in()
    print_reports([report], lambda text, colour=None, indent=2: print(text))
    head, *told = capsys.readouterr().out.splitlines()
    assert head.endswith("a.jsonl: 153 rows, 3 new, 150 known or repeated")
    assert report.problem_count == 451 and len(told) <= 10
    assert re.search(r"a\.jsonl:1: not JSON: .* \[\{\"id\": 0\]$", told[0]), "no sign for the end of the line"
    assert told[3].strip() == "... and 297 more like it"
    assert "a.jsonl:301: not a JSON object" in told[4]
    assert "its document stands in this file before" in told[5] and told[-1].strip().startswith("... and ")
    assert max(map(len, told)) < 300
    listed = grouped(list_seeds(corpus.store)[0].problems, 451, 20)
    assert [line.strip() for line in told] == listed


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


def test_a_file_that_is_no_seed_is_reported_once(corpus: Corpus) -> None:
    for name in ("urls.json", "urls.txt.xz", ".hidden.json", "half.json.part"):
        corpus.seed(name, "http://a.test/")
    reports = {report.name: report.problems for report in corpus.take_in()}
    assert set(reports) == {"urls.json", "urls.txt.xz"}
    for problems in reports.values():
        assert len(problems) == 1 and "must end in one of" in problems[0]
    assert corpus.take_in() == []


def test_a_seed_with_two_versions_of_a_document_writes_nothing_when_it_comes_again(corpus: Corpus) -> None:
    take_in = partial(intake.take_in, corpus.store, pages_per_partition=10, max_body=1 << 20, chunk_rows=2)
    rows = [{"url": f"http://a.test/{i % 3}", "text": f"text {i}"} for i in range(6)]
    corpus.seed("a.jsonl", _lines(rows))
    take_in()
    before = corpus.store.batches.segments()
    corpus.seed("b.jsonl", _lines(rows))
    take_in()
    assert corpus.store.batches.segments() == before
    assert corpus.store.batches.scan().collect()["body"].to_list() == [b"text 3", b"text 4", b"text 5"]


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


def test_small_seeds_share_partitions_and_large_ones_have_their_own(corpus: Corpus) -> None:
    sizes = {"a": 3, "b": 4, "large": 25, "c": 2, "d": 9}
    for at, (name, size) in enumerate(sizes.items(), 1):
        corpus.seed(f"{name}.txt", "".join(f"http://{name}.test/{i}\n" for i in range(size)))
        os.utime(corpus.root / "seeds" / f"{name}.txt", (at, at))
    assert [r.added for r in corpus.take_in()] == list(sizes.values())
    segments = corpus.store.batches.segments()
    assert [(name[6:-7], s.rows) for name, s in segments.items()] == [
        ("a-and-2-more", 10),
        ("large", 10),
        ("large", 10),
        ("large", 2),
        ("c-and-1-more", 10),
        ("d", 1),
    ]


def test_of_a_document_in_several_seeds_the_last_version_counts_and_the_first_adds_it(corpus: Corpus) -> None:
    texts = {"a": "first", "b": "second", "c": "first"}
    for at, (name, text) in enumerate(texts.items(), 1):
        corpus.seed_texts(f"{name}.jsonl", {"http://a.test/": text})
        os.utime(corpus.root / "seeds" / f"{name}.jsonl", (at, at))
    assert [(r.added, r.replaced) for r in corpus.take_in()] == [(1, 0), (0, 1), (0, 1)]
    assert corpus.store.batches.scan().collect()["body"].to_list() == [b"first"]
    texts = {"d": "second", "e": "third", "f": "second", "g": "third"}
    for at, (name, text) in enumerate(texts.items(), 10):
        corpus.seed_texts(f"{name}.jsonl", {"http://a.test/": text})
        os.utime(corpus.root / "seeds" / f"{name}.jsonl", (at, at))
    assert [(r.added, r.replaced) for r in corpus.take_in()] == [(0, 1)] * 4
    assert corpus.store.batches.scan().collect()["body"].to_list() == [b"third"]


_LATER = {"WARC-Date": "2024-12-31T00:00:00Z"}
_SEEDS = {
    "named.txt": b"http://a.test/",
    "page.warc.gz": Archive().add("http://a.test/").data,
    "gone.warc.gz": Archive().add("http://a.test/", status="404 Not Found", warc=_LATER).data,
}


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize(
    ("names", "outcome"),
    [
        (["named.txt", "gone.warc.gz"], None),
        (["named.txt", "page.warc.gz"], "archived"),
        (["gone.warc.gz", "page.warc.gz"], "archived"),
        (list(_SEEDS), "archived"),
    ],
)
def test_a_page_comes_before_none_in_whatever_order_seeds_come(
    tmp_path: Path, names: list[str], outcome: str | None, at_once: bool
) -> None:
    for i, order in enumerate(itertools.permutations(names)):
        corpus = Corpus(tmp_path / str(i), profile())
        for at, name in enumerate(order, 1):
            corpus.seed(name, _SEEDS[name])
            os.utime(corpus.root / "seeds" / name, (at, at))
            if not at_once:
                corpus.take_in()
        corpus.take_in()
        assert corpus.store.batches.scan().collect()["outcome"].to_list() == [outcome], order


def test_a_seed_taken_in_by_pieces_is_reported_as_one(corpus: Corpus) -> None:
    rows = [{"url": f"http://a.test/{i}", "text": words(i)} for i in range(4)]
    corpus.seed("a.jsonl", _lines([*rows[:2], {"no": "url"}, *rows[2:], rows[0]]))
    reports = [r for _ in range(9) for r in take_in_seeds(corpus.store, corpus.profile, (), seconds=0)]
    assert [r.done for r in reports] == [False] * 5 + [True]
    report = reports[-1]
    assert (report.urls, report.added, report.replaced, report.problem_count) == (5, 4, 0, 1)
    assert intake.pending(corpus.store) == []


def test_a_kill_between_batches_and_ledger_loses_and_repeats_nothing(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus.seed("a.txt", "".join(f"http://a.test/{i}\n" for i in range(35)))
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Ledger, "put", _killed)
        corpus.take_in()
    assert intake.pending(corpus.store) == ["a.txt"]
    (report,) = corpus.take_in()
    assert (report.urls, report.added) == (35, 0)
    assert corpus.store.batches.scan().collect().height == 35


def _killed(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_a_sitemap_that_was_not_there_is_asked_for_again_when_its_seed_is_touched(corpus: Corpus, site: Site) -> None:
    corpus.seed("a.txt", site.url("/sitemap.xml"))
    (report,) = corpus.take_in()
    assert report.urls == 0 and "touch" in report.problems[0]
    site.pages["/sitemap.xml"] = b"<urlset><url><loc>http://a.test/</loc></url></urlset>"
    os.utime(corpus.root / "seeds" / "a.txt", (1, 1))
    (report,) = corpus.take_in()
    assert report.added == 1


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("url-1", ["?id=1&id=3", "?wsdl=", "?a=1&b=2"]),  # of one document in one seed the last line counts
        ("url-2", ["?id=3&id=1", "?id=1&id=3", "?wsdl", "?wsdl=", "?a=1&b=2"]),
    ],
)
def test_seeds_that_the_form_of_the_root_tells_apart_have_a_row_each(
    corpus: Corpus, form: UrlForm, expected: list[str]
) -> None:
    corpus.store.files.log.set("root", lambda _: {"urls": form})
    written = ["?id=3&id=1", "?id=1&id=3", "?wsdl", "?wsdl=", "?b=2&a=1", "?a=1&b=2"]
    corpus.seed("a.txt", "".join(f"http://a.test/{query}\n" for query in written))
    corpus.take_in()
    assert corpus.store.batches.scan().collect()["url"].to_list() == [f"http://a.test/{query}" for query in expected]


def test_a_new_root_says_its_form_before_its_first_batch_and_keeps_it(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus.seed("a.txt", "http://a.test/?id=3&id=1")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Table, "write", _killed)
        corpus.take_in()
    assert corpus.store.files.log.value("root")["urls"] == CURRENT_FORM
    assert not corpus.store.batches.segments()
    corpus.take_in()
    assert corpus.store.root().urls == CURRENT_FORM


def test_a_root_that_has_batches_and_does_not_say_its_form_keeps_the_first(corpus: Corpus) -> None:
    corpus.seed("a.txt", "http://a.test/?id=3&id=1")
    corpus.take_in()
    corpus.store.files.log.set("root", lambda _: None)
    corpus.seed("b.txt", "http://a.test/?q=1&q=3\nhttp://a.test/?q=3&q=1")
    corpus.take_in()
    assert corpus.store.root().urls == FIRST_FORM
    assert corpus.store.batches.scan().collect()["url"].to_list() == [
        "http://a.test/?id=3&id=1",
        "http://a.test/?q=3&q=1",
    ]
