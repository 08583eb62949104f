"""A takedown is complete: nothing is left of what is forgotten, whoever is killed, and what stays is named."""

import json
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from benchmarks.torture.scenarios import holding
from quarry_dagster import takedown
from quarry_dagster.environment import who
from quarry_dagster.store import Store
from quarry_dagster.store.schemas import BATCHES, RAW_PAGES
from quarry_dagster.takedown import taking_out
from quarry_dagster.urls import CURRENT_FORM
from quarry_dagster_tests.corpus import Corpus, Quarry, profile, words
from quarry_dagster_tests.killing import killed_at
from quarry_dagster_tests.site import Site, html

MARKS = {
    "text": "zanzibarquokka",
    "title": "titlewombat",
    "author": "authornumbat",
    "given text": "givenbilby",
    "own column": "ownbandicoot",
    "a text that is too short": "shortpotoroo",
    "a bad line": "badlinebettong",
    "an address of a licence": "licencequoll",
}
"""Words that stand in forgotten documents alone, by where they stand."""


def _page(title: str, author: str, text: str) -> bytes:
    return html(title, text).replace(b"<head>", f"<head><meta name='author' content='{author}'>".encode())


@pytest.fixture
def full(quarry: Quarry, tmp_path: Path, site: Site) -> Corpus:
    """A corpus with every kind of file, which `quarry run` made in three publishes, one of them tagged."""
    settings = tmp_path / "quick.yaml"
    text = settings.read_text()
    assert "write_warc: false" in text
    settings.write_text(text.replace("write_warc: false", "write_warc: true"))
    site.pages = {f"/{i}": html(f"Page {i}", words(i)) for i in range(6)}
    site.pages["/secret"] = _page(
        f"The {MARKS['title']}", f"Ann {MARKS['author']}", f"{words(90)}\n\n{MARKS['text']} {words(91)}"
    )
    site.pages["/secret"] = site.pages["/secret"].replace(
        b"</head>", f"<link rel=license href='/{MARKS['an address of a licence']}'></head>".encode()
    )
    site.pages["/short"] = html("Short", MARKS["a text that is too short"])
    bad = f"http://given.test/{MARKS['a bad line']} dicsover=links:1\n"
    (tmp_path / "a.txt").write_text("".join(site.url(path) + "\n" for path in site.pages) + bad)
    row = {"url": "http://given.test/1", "text": f"{words(92)} {MARKS['given text']}", "note": MARKS["own column"]}
    (tmp_path / "b.jsonl").write_text(json.dumps(row) + "\n")
    assert quarry("run", tmp_path / "a.txt", tmp_path / "b.jsonl")[0] == 0
    assert quarry("tag", "first")[0] == 0
    site.pages["/secret"] = site.pages["/secret"].replace(b"zanzibarquokka", b"zanzibarquokka zanzibarquokka")
    for i in range(2):
        (tmp_path / f"more{i}.jsonl").write_text(json.dumps({"url": f"http://b.test/{i}", "text": words(200 + i)}))
        assert quarry("run", "--refetch", tmp_path / f"more{i}.jsonl")[0] == 0
    return Corpus(tmp_path / "data", Corpus(tmp_path / "data", _profile()).profile)


def _profile():
    from quarry_dagster_tests.corpus import profile

    return profile()


def test_no_byte_is_left_of_what_is_forgotten(full: Corpus, quarry: Quarry, site: Site) -> None:
    before = holding(full.root, [*MARKS.values()])
    assert before.keys() == {*MARKS.values()}, "each stands somewhere, or the test proves nothing"
    for named in (site.url("/secret"), site.url("/short"), "given.test"):
        status, out, err = quarry("forget", named)
        assert status == 0, err
    assert "b.jsonl, line 1" in out, "the user's own file is named"
    assert holding(full.root, [*MARKS.values()]) == {}
    rows = full.read("raw_pages").filter(pl.col("outcome") == "opted_out")
    assert {*rows["url"]} == {site.url("/secret"), site.url("/short"), "http://given.test/1"}
    assert quarry("run")[0] == 0
    assert holding(full.root, [*MARKS.values()]) == {}


def test_each_table_and_kind_of_file_says_how_a_document_is_taken_out_of_it(full: Corpus) -> None:
    made_again = {t.name for t in full.store.tables() if t.forgets == "its partition is made again"}
    assert made_again == {*taking_out._MADE_AGAIN}
    there = {path.name for path in full.root.iterdir()}
    assert there <= {*taking_out.KINDS}, "a kind of file is new: say how a document is taken out of it"
    assert {table.name for table in full.store.tables()} <= {*taking_out.KINDS}


def test_a_new_column_of_pages_is_emptied_or_said_to_stay() -> None:
    place = {"doc_id", "url", "final_url", "seed", "line", "discover", "partition"}
    answer = {"outcome", "detail", "status", "fetched_at", "refused_since"}
    assert {*BATCHES, *RAW_PAGES} == {*taking_out._EMPTIED} | place | answer


def test_a_takedown_that_is_killed_anywhere_is_ended_by_the_next_run(quarry: Quarry, tmp_path: Path) -> None:
    corpus = Corpus(tmp_path / "data", profile())
    corpus.seed_texts(
        "a.jsonl", {f"http://a.test/{i}": f"{words(i)} {MARKS['text'] if i == 3 else ''}" for i in range(5)}
    )
    corpus.run()
    killed, write = 0, 0
    while True:
        other = corpus.copy(tmp_path / f"copy{write}")
        with killed_at(other, write) as kill:
            takedown.forget(other.store, other.profile, "http://a.test/3")
        if not kill.is_done:
            break
        killed += 1
        again = Corpus(other.root, other.profile)
        takedown.resume(again.store, again.profile)
        assert (write == 0) == ("http://a.test/3" in again.urls()), "before the first commit nothing was asked for"
        if write:
            assert holding(again.root, [MARKS["text"]]) == {}, write
            assert not takedown.is_unfinished(again.store)
        write += 1
    assert killed > 12


def test_two_takedowns_at_once_both_end(tmp_path: Path) -> None:
    corpus = Corpus(tmp_path / "data", profile())
    marks = {f"http://a.test/{i}": f"quokka{i}mark" for i in range(4)}
    corpus.seed_texts("a.jsonl", {url: f"{words(i)} {mark}" for i, (url, mark) in enumerate(marks.items())})
    corpus.run()
    code = """
import sys
from benchmarks.torture.scenarios import holding
from quarry_dagster import takedown
from quarry_dagster.store import Store
from quarry_dagster.store.schemas import BATCHES, RAW_PAGES
from quarry_dagster_tests.corpus import profile
takedown.forget(Store(sys.argv[1]), profile(), sys.argv[2])
"""
    gone = [*marks][:2]
    command = [sys.executable, "-c", code, str(corpus.root)]
    processes = [subprocess.Popen([*command, url]) for url in gone]
    assert [process.wait() for process in processes] == [0, 0]
    found = Store(str(corpus.root)).forgotten()
    assert {each.key for each in found.takedowns} == {*gone} and not found.open
    assert holding(corpus.root, [marks[url] for url in gone]) == {}
    assert corpus.urls() == {*marks} - {*gone}


def test_what_stays_beside_it_is_named_and_goes_where_that_is_asked_for(quarry: Quarry, tmp_path: Path) -> None:
    corpus = Corpus(tmp_path / "data", profile())
    text, other = words(1), words(2)
    near = text.replace("Ba", "Bo", 1) + " One more."
    corpus.seed_texts(
        "a.jsonl",
        {"http://a.test/1": text, "http://b.test/copy": text, "http://c.test/near": near, "http://d.test/": other},
    )
    corpus.run()
    copies = ["http://b.test/copy", "http://c.test/near"]
    before = corpus.files()
    status, out, _ = quarry("forget", "http://a.test/1", "--dry-run")
    assert status == 0 and "1 page would be taken out" in out and "Nothing was changed" in out
    assert "stays in 2 documents" in out and all(url in out for url in copies) and "d.test" not in out
    assert "a.jsonl, line 1" in out and corpus.files() == before
    status, out, _ = quarry("forget", "http://a.test/1", "--json")
    assert status == 0 and [copy["url"] for copy in json.loads(out)["copies"]] == copies
    assert len(corpus.urls()) == 2 and "http://d.test/" in corpus.urls(), "a copy stands for the others"
    status, out, _ = quarry("forget", "http://b.test/copy", "--with-duplicates", "--why", "the author asked")
    assert status == 0 and "2 pages taken out" in out
    assert corpus.urls() == {"http://d.test/"}
    status, out, _ = quarry("forget", "--list")
    assert status == 0 and len(out.splitlines()) == 3 and "the author asked" in out
    assert out.count(f"by {who()}") == 3 and "not ended" not in out


def test_what_holds_a_forgotten_text_is_named_and_an_id_is_enough_to_undo(quarry: Quarry, tmp_path: Path) -> None:
    short = words(1, 60)
    rows = [{"id": "a 1", "text": short}, {"id": "b", "text": f"{words(2, 200)}\n\n{short}\n\n{words(3, 200)}"}]
    rows.append({"id": "c", "text": words(4)})
    (tmp_path / "mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert quarry("run", tmp_path / "mine.jsonl")[0] == 0
    status, out, _ = quarry("forget", "a 1", "--dry-run", "--with-duplicates")
    assert status == 0 and "Most of its text stands in 1 further document" in out and "urn:quarry:mine:b" in out
    assert "urn:quarry:mine:c" not in out
    assert json.loads(quarry("forget", "a 1", "--json")[1])["holders"] == ["urn:quarry:mine:b"]
    assert quarry("forget", "--undo", "a 1")[0] == 0
    assert quarry("forget", "--list")[1] == "nothing is kept out\n"


def test_what_is_taken_off_the_list_comes_back_the_way_it_came(quarry: Quarry, tmp_path: Path, site: Site) -> None:
    site.pages = {"/1": html("One", words(1)), "/2": html("Two", words(2))}
    (tmp_path / "a.txt").write_text(f"{site.url('/1')}\n{site.url('/2')}\n")
    (tmp_path / "b.jsonl").write_text(json.dumps({"url": "http://given.test/1", "text": words(3)}))
    assert quarry("run", tmp_path / "a.txt", tmp_path / "b.jsonl")[0] == 0
    corpus = Corpus(tmp_path / "data", profile())
    everything = corpus.urls()
    for named in (site.url("/1"), "given.test"):
        assert quarry("forget", named)[0] == 0
    status, _, err = quarry("forget", "--undo", "http://given.test/7")
    assert status == 1 and "not on the list" in err and "did you mean given.test" in err
    status, out, _ = quarry("forget", "--undo", site.url("/1"))
    assert status == 0 and "1 page to be crawled" in out and "quarry run --refetch" in out
    status, out, _ = quarry("forget", "--undo", "given.test")
    assert status == 0 and "1 given document" in out and "b.jsonl" in out
    assert quarry("run", "--refetch")[0] == 0
    assert corpus.urls() == everything
    assert quarry("forget", "--list")[1] == "nothing is kept out\n"


def test_a_list_of_a_version_before_is_read_and_nothing_of_it_is_done_again(tmp_path: Path) -> None:
    corpus = Corpus(tmp_path / "data", profile())
    corpus.seed_texts("a.jsonl", {"http://a.test/1": words(1)})
    corpus.run()
    corpus.store.files.log.set("forgotten/http://b.test/1", lambda _: "2026-01-02")
    corpus.store.files.log.set("forgotten/c.test", lambda _: {"day": "2026-01-03", "urls": CURRENT_FORM})
    found = corpus.store.forgotten()
    assert [(each.key, each.day) for each in found.takedowns] == [
        ("http://b.test/1", "2026-01-02"),
        ("c.test", "2026-01-03"),
    ]
    assert not takedown.is_unfinished(corpus.store)


def test_options_that_contradict_each_other_are_refused(quarry: Quarry, corpus: Corpus) -> None:
    corpus.seed_texts("a.jsonl", {"http://a.test/1": words(1)})
    corpus.run()
    for wrong in ([], ["a.test", "--list"], ["a.test", "--undo", "--dry-run"]):
        status, _, err = quarry("forget", *wrong)
        assert status == 2 and "quarry forget" in err, wrong
