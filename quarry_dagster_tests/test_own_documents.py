"""Documents that a user brings keep their ids and columns, and their results can be joined back to the user's rows."""

import gzip
import io
import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from backports import zstd

from quarry_dagster import scan
from quarry_dagster.checks.raw_pages import fetch_success
from quarry_dagster.explain import history
from quarry_dagster.seeds import Problem, Seed, parse_settings, read_seeds
from quarry_dagster.urns import urn_of
from quarry_dagster_tests.corpus import Corpus, Quarry, profile, words
from quarry_dagster_tests.site import Site, html


def _run(corpus: Corpus) -> None:
    corpus.take_in()
    corpus.run()


def _lines(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def _parquet(**columns: Any) -> bytes:
    file = io.BytesIO()
    pl.DataFrame(columns).write_parquet(file)
    return file.getvalue()


def _csv(rows: list[dict[str, Any]]) -> bytes:
    return pl.DataFrame(rows).write_csv().encode()


def _metadata(corpus: Corpus, table: str = "deduped_corpus") -> dict[str, dict[str, Any]]:
    rows = scan(table, corpus.root).select("url", "metadata").collect()  # pyright: ignore[reportArgumentType]
    return {url: json.loads(metadata) if metadata else {} for url, metadata in rows.iter_rows()}


def test_results_are_joined_back_to_the_rows_by_id_alone(quarry: Quarry, tmp_path: Path) -> None:
    rng = random.Random(7)
    rows = [
        {"id": f"b-{i}", "text": words(i), "license": rng.choice(["cc0", "by"]), "source": f"s{i % 3}"}
        for i in range(600)
    ]
    for i in range(0, 60, 3):
        rows[i + 1]["text"] = f"{rows[i]['text']} and a few words more"
    mine = pl.DataFrame(rows)
    mine.write_parquet(tmp_path / "books.parquet")
    settings = profile(partitions={"pages_per_partition": 200})
    (tmp_path / "quick.yaml").write_text(settings.model_dump_json(exclude={"name"}))
    status, _, err = quarry("run", tmp_path / "books.parquet")
    assert status == 0, err
    root = tmp_path / "data"
    kept = (
        scan("deduped_corpus", root).select(id=pl.col("metadata").str.json_path_match("$.id"), theirs="text").collect()
    )
    removed = scan("dedup_decisions", root).select(id="removed_own_id", kept_id="kept_own_id").collect()
    assert set(kept["id"]) | set(removed["id"]) == set(mine["id"]) and not set(kept["id"]) & set(removed["id"])
    joined = mine.join(kept, on="id")
    assert joined.filter(pl.col("text") != pl.col("theirs")).is_empty()
    assert set(removed.iter_rows()) == {(f"b-{i + 1}", f"b-{i}") for i in range(0, 60, 3)}
    own = {row["id"]: {k: v for k, v in row.items() if k != "text"} for row in rows}
    for _, columns in _metadata(Corpus(root, None)).items():  # pyright: ignore[reportArgumentType]
        assert columns == own[columns["id"]]


@pytest.mark.parametrize(
    ("name", "encode"),
    [
        ("books.csv", _csv),
        ("books.jsonl", _lines),
        ("books.ndjson", _lines),
        ("books.parquet", lambda rows: _parquet(**{key: [row[key] for row in rows] for key in rows[0]})),
        ("books.jsonl.gz", lambda rows: gzip.compress(_lines(rows[:2])) + gzip.compress(_lines(rows[2:])) + b"\0" * 9),
        ("books.ndjson.zst", lambda rows: zstd.compress(_lines(rows[:2])) + zstd.compress(_lines(rows[2:]))),
        ("books.csv.gz", lambda rows: gzip.compress(_csv(rows))),
        ("books.csv.zst", lambda rows: zstd.compress(_csv(rows))),
    ],
)
def test_every_table_brings_ids_and_columns(
    corpus: Corpus, name: str, encode: Callable[[list[dict[str, Any]]], bytes]
) -> None:
    rows = [{"id": i, "text": words(i), "source": "ä,b\n" if i else "plain"} for i in range(4)]
    corpus.seed(name, encode(rows))
    _run(corpus)
    assert _metadata(corpus) == {urn_of("books", str(i)): {"id": str(i), "source": rows[i]["source"]} for i in range(4)}


def test_a_url_makes_the_document_and_the_id_travels_along(corpus: Corpus) -> None:
    rows = [{"url": f"http://a.test/{i}", "id": f"x{i}", "text": words(i // 2)} for i in range(4)]
    corpus.seed("a.jsonl", _lines([*rows, {"url": None, "id": "x4", "text": words(4)}]))
    _run(corpus)
    assert {c["id"] for c in _metadata(corpus, "extracted_text").values()} == {f"x{i}" for i in range(5)}
    assert urn_of("a", "x4") in _metadata(corpus)
    decisions = scan("dedup_decisions", corpus.root).collect()
    assert {tuple(sorted(row)) for row in decisions.select("removed_own_id", "kept_own_id").iter_rows()} == {
        ("x0", "x1"),
        ("x2", "x3"),
    }


def test_columns_of_ours_that_are_given_are_filled_and_a_change_of_them_is_seen(corpus: Corpus) -> None:
    row: dict[str, Any] = {
        "id": 1,
        "text": words(1),
        "title": "A  title",
        "author": ["Ann", "Bo"],
        "date": "2024-03-01T08:00:00Z",
    }
    row |= {"language": "en_GB", "fetched_at": "2020-01-01", "content_type": "text/plain", "tags": ["x", {"y": None}]}
    corpus.seed("a.jsonl", _lines([row]))
    _run(corpus)
    found = scan("extracted_text", corpus.root).collect().row(0, named=True)
    assert {k: found[k] for k in ("title", "author", "date", "language")} == {
        "title": "A title", "author": "Ann, Bo", "date": "2024-03-01", "language": "en",
    }  # fmt: skip
    assert found["fetched_at"].year == 2020
    assert json.loads(found["metadata"]) == {"id": "1", "tags": ["x", {"y": None}]}
    corpus.seed("a.jsonl", _lines([row | {"title": None, "stars": 5}]))
    _run(corpus)
    found = scan("deduped_corpus", corpus.root).collect().row(0, named=True)
    assert found["title"] is None and json.loads(found["metadata"])["stars"] == 5
    assert corpus.take_in() == []


def test_columns_beside_a_url_travel_with_the_page_that_is_fetched(quarry: Quarry, tmp_path: Path, site: Site) -> None:
    site.pages = {"/1": html("Page 1", words(1))}
    seed = tmp_path / "list.csv"
    seed.write_text(f"url,license\n{site.url('/1')},cc0\n")
    assert quarry("run", seed)[0] == 0
    (found,) = scan("deduped_corpus", tmp_path / "data").collect().iter_rows(named=True)
    assert (found["metadata"], found["title"]) == ('{"license":"cc0"}', "Page 1")
    seed.write_text(f"url,license\n{site.url('/1')},by\n")
    assert quarry("run", seed)[0] == 0
    assert scan("deduped_corpus", tmp_path / "data").collect()["metadata"].to_list() == ['{"license":"by"}']
    plain = tmp_path / "plain.txt"
    plain.write_text(site.url("/1") + "\n")
    assert quarry("run", plain)[0] == 0
    assert scan("deduped_corpus", tmp_path / "data").collect()["metadata"].to_list() == ['{"license":"by"}']


def test_settings_of_a_seed_map_its_columns(corpus: Corpus) -> None:
    rows = [
        {"uid": i, "doc": {"body": words(i), "lang": "en"}, "text": "short", "meta": {"link": f"http://a.test/{i}"}}
        for i in range(3)
    ]
    corpus.seed("books.jsonl.yaml", "name: library\nid: uid\ntext: doc.body\n")
    corpus.seed("books.jsonl", _lines(rows))
    _run(corpus)
    assert _metadata(corpus) == {
        urn_of("library", str(i)): {"id": str(i), "doc": {"lang": "en"}, "text": "short", "meta": rows[i]["meta"]}
        for i in range(3)
    }
    corpus.seed("books.jsonl.yaml", "name: library\nid: uid\ntext: doc.body\nurl: meta.link\n")  # read again
    (report,) = corpus.take_in()
    assert report.added == 3
    assert {"http://a.test/0", urn_of("library", "0")} <= set(corpus.store.batches.scan().collect()["url"])


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("nmae: x\n", "unknown key 'nmae'; did you mean 'name'?"),
        ("mirror: often\n", "'mirror' is 'often'; write `mirror: true`"),
        ("text: 5\n", "'text' is '5'; write `text: something`"),
        ("- a\n", "it is no mapping"),
        ('name: "\\uD800"\n', "'name' has half a character"),
        ("a: [\n", "it is no YAML"),
        ("name: !!python/object/apply:os.getcwd []\n", "it is no YAML"),
    ],
)
def test_wrong_settings_are_told_and_cost_their_seed_alone(corpus: Corpus, settings: str, said: str) -> None:
    corpus.seed("a.jsonl.yaml", settings)
    for name in ("a", "b"):
        corpus.seed(f"{name}.jsonl", _lines([{"id": 1, "text": words(1)}]))
    reports = {report.name: report for report in corpus.take_in()}
    assert f"in its settings a.jsonl.yaml: {said}" in reports["a.jsonl"].error
    assert reports["b.jsonl"].added == 1
    corpus.seed("a.jsonl.yaml", "name: a\n")
    assert [report.added for report in corpus.take_in()] == [1]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            "text: boddy",
            "no column 'boddy'",
        ),
        ("text: doc.boddy", "no column 'doc.boddy'"),
        ("id: uuid\ntext: doc.body", "no column 'uuid'"),
        ("text: doc.body\nauthor: by", "no column 'by'"),
    ],
)
@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_a_field_that_no_row_has_is_one_problem_that_names_the_sidecar(
    kind: str, settings: str, said: str, tmp_path: Path
) -> None:
    rows = [{"id": i, "text": words(i), "doc": {"body": words(i)}} for i in range(150)]
    data = "".join(json.dumps(row) + "\n" for row in rows).encode()
    if kind == "parquet":
        pl.DataFrame(rows).write_parquet(tmp_path / "a.parquet")
        data = (tmp_path / "a.parquet").read_bytes()
    parsed = parse_settings(settings.encode(), "a")
    (problem,) = read_seeds(io.BytesIO(data), f"a.{kind}", max_body=10_000, settings=parsed)
    assert isinstance(problem, Problem) and problem.line is None and problem.costs_row
    assert said in problem.reason and f"a.{kind}.yaml names for" in problem.reason
    assert ("did you mean" in problem.reason) == ("'by'" not in said)


def test_a_field_that_only_later_rows_have_is_no_problem() -> None:
    rows = [{"id": i, "text": words(i), **({"by": None} if i == 140 else {})} for i in range(150)]
    data = io.BytesIO("".join(json.dumps(row) + "\n" for row in rows).encode())
    found = list(read_seeds(data, "a.jsonl", max_body=10_000, settings=parse_settings(b"author: by", "a")))
    assert len(found) == 150 and all(isinstance(each, Seed) for each in found)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"id": "", "text": "x"}], "a.jsonl:1: no id in this row; fill its column 'id', or delete the row"),
        ([{"id": None, "url": "", "text": "x"}], "a.jsonl:1: no url and no id in this row"),
        ([{"id": "k" * 10_000, "text": "x"}], "a.jsonl:1: the id has 10,000 bytes, more than 1,000"),
        ([{"id": ["k"], "text": "x"}], "a.jsonl:1: the id is a list"),
        ([{"id": 1, "text": 5}], "a.jsonl:1: 'text' is no text but a int"),
    ],
)
def test_a_row_that_cannot_be_named_costs_only_itself(corpus: Corpus, rows: list[dict[str, Any]], said: str) -> None:
    corpus.seed("a.jsonl", _lines([*rows, {"id": "good", "text": words(1)}]))
    (report,) = corpus.take_in()
    assert any(said in problem for problem in report.problems), report.problems
    assert report.added == 1


def test_an_empty_text_has_a_row_that_says_so(corpus: Corpus) -> None:
    corpus.seed("a.jsonl", _lines([{"id": 1, "text": None}, {"id": 2, "text": ""}, {"id": 3, "text": words(3)}]))
    (report,) = corpus.take_in()
    assert [p.split(": ")[0] for p in report.problems] == ["a.jsonl:1", "a.jsonl:2"]
    corpus.run()
    rows = scan("extracted_text", corpus.root).select("url", "outcome").collect()
    assert dict(rows.iter_rows()) == {
        urn_of("a", "1"): "empty", urn_of("a", "2"): "empty", urn_of("a", "3"): "extracted",
    }  # fmt: skip


def test_an_id_that_occurs_twice_is_told_and_the_last_row_counts(corpus: Corpus) -> None:
    rows = [{"id": i % 3, "text": words(i)} for i in range(4)]
    corpus.seed("a.jsonl", _lines(rows))
    (report,) = corpus.take_in()
    (said,) = report.problems
    assert said.startswith("a.jsonl:4: its document stands in this file before") and said.endswith("[urn:quarry:a:0]")
    corpus.run()
    texts = dict(scan("deduped_corpus", corpus.root).select("url", "text").collect().iter_rows())
    assert texts[urn_of("a", "0")] == words(3)


def test_what_is_too_large_or_no_text_is_left_out_and_told_and_the_document_stays(corpus: Corpus) -> None:
    big = {"id": 1, "text": words(1), "notes": "x" * 70_000}
    wrong = {"id": 2, "text": words(2), "date": "last summer", "language": "English", "title": {"a": 1}}
    corpus.seed("a.jsonl", _lines([big, wrong]))
    images = _parquet(id=["i"], text=[words(3)], image=[b"\x89PNG"])
    corpus.seed("b.parquet", images)
    problems = [problem for report in corpus.take_in() for problem in report.problems]
    for said in (
        "a.jsonl:1: its further columns have 70,",
        "a.jsonl:2: date is no ISO 8601 date and was ignored; write 2026-01-31 [last summer]",
        "a.jsonl:2: language is no ISO 639-1 code and was ignored",
        "a.jsonl:2: title is a dict and was ignored",
        "b.parquet: column 'image' is left out: it holds bytes",
    ):
        assert any(problem.startswith(said) for problem in problems), problems
    corpus.run()
    assert _metadata(corpus) == {
        urn_of("a", "1"): {"id": "1"},
        urn_of("a", "2"): {"id": "2"},
        urn_of("b", "i"): {"id": "i"},
    }


def test_names_that_are_also_ours_travel_as_they_are(corpus: Corpus) -> None:
    row = {"id": 1, "text": words(1), "doc_id": "mine", "partition": 7, "metadata": {"a": 1}, "outcome": True}
    corpus.seed("a.jsonl", _lines([row]))
    _run(corpus)
    assert _metadata(corpus)[urn_of("a", "1")] == {k: v for k, v in row.items() if k != "text"} | {"id": "1"}


def test_categories_and_nested_columns_travel(corpus: Corpus) -> None:
    frame = pl.DataFrame({"id": [1], "text": [words(1)], "kind": ["novel"], "at": [[{"page": 1}]], "n": [None]})
    file = io.BytesIO()
    frame.with_columns(pl.col("kind").cast(pl.Categorical), when=pl.datetime(2024, 1, 2)).write_parquet(file)
    corpus.seed("a.parquet", file.getvalue())
    _run(corpus)
    assert _metadata(corpus)[urn_of("a", "1")] == {
        "id": "1", "kind": "novel", "at": [{"page": 1}], "when": "2024-01-02T00:00:00",
    }  # fmt: skip


def test_ids_that_are_known_under_another_name_are_told(corpus: Corpus) -> None:
    rows = [{"id": i, "text": words(i)} for i in range(5)]
    corpus.seed("books-1.jsonl", _lines(rows))
    corpus.take_in()
    corpus.seed("books-2.jsonl", _lines(rows))
    (report,) = corpus.take_in()
    assert report.added == 5
    assert "5 of its first 5 ids known under the name 'books-1', of books-1.jsonl" in report.problems[0]
    assert "write `name: books-1` in books-2.jsonl.yaml" in report.problems[0]
    corpus.seed("books-3.jsonl.yaml", "name: books-1\n")
    corpus.seed("books-3.jsonl", _lines([*rows, {"id": 5, "text": words(5)}]))
    (report,) = corpus.take_in()
    assert (report.added, report.replaced) == (1, 0)


def test_a_folder_brings_the_seeds_in_it_with_their_settings(quarry: Quarry, tmp_path: Path) -> None:
    folder = tmp_path / "shelf"
    (folder / "b").mkdir(parents=True)
    (folder / "a.jsonl").write_bytes(_lines([{"id": 1, "text": words(1)}]))
    (folder / "b" / "c.jsonl").write_bytes(_lines([{"key": 1, "text": words(2)}]))
    (folder / "b" / "c.jsonl.yaml").write_text("id: key\nname: shelf-c\n")
    for name in ("notes.md", "b/readme", ".hidden", "half.jsonl.part", "gone.csv.yaml"):
        (folder / name).write_text("not a seed")
    (folder / "away.jsonl").symlink_to(tmp_path / "nowhere.jsonl")
    status, _, err = quarry("run", folder)
    assert status == 0, err
    assert re.search(r"b/readme, notes\.md are no seed", err) and "hidden" not in err and "half" not in err
    assert "away.jsonl is passed over, since a link" in err and "gone.csv.yaml is passed over, since the seed" in err
    assert set(scan("deduped_corpus", tmp_path / "data").collect()["url"]) == {urn_of("a", "1"), urn_of("shelf-c", "1")}
    assert quarry("run", folder)[0] == 0
    (folder / "a.jsonl").unlink()
    (folder / "b" / "c.jsonl").unlink()
    status, _, err = quarry("run", folder)
    assert status == 1 and "no seed file in the folder" in err


def test_a_mirror_takes_out_what_it_no_longer_names_and_brings_it_back(corpus: Corpus) -> None:
    rows = [{"id": i, "text": words(i)} for i in range(30)]
    corpus.seed("other.jsonl", _lines([{"id": 100 + i, "text": words(100 + i)} for i in range(3)]))
    corpus.seed("books.jsonl.yaml", "mirror: true\n")
    corpus.seed("books.jsonl", _lines(rows))
    _run(corpus)
    assert len(corpus.urls()) == 33
    corpus.seed("books.jsonl", _lines(rows[25:]))  # most of it: meant, so the corpus may shrink
    (report,) = corpus.take_in()
    assert report.withdrawn == 25
    corpus.run()
    assert set(corpus.urls()) == {urn_of("books", str(i)) for i in range(25, 30)} | {
        urn_of("other", str(100 + i)) for i in range(3)
    }
    pages = scan("raw_pages", corpus.root).filter(pl.col("outcome") == "opted_out").collect()
    assert pages.height == 25 and pages["body"].null_count() == 25 and pages["own_columns"].null_count() == 25
    assert set(pages["detail"]) == {"withdrawn: its seed books.jsonl is a mirror, and no longer names it"}
    assert fetch_success(corpus.store, corpus.profile, list(corpus.store.batches.segments())).passed
    found = history(str(corpus.root), "0")
    assert found and found.url == urn_of("books", "0") and "is a mirror, and no longer names it" in found.steps[1][1]
    corpus.seed("books.jsonl", _lines(rows[20:]))
    (report,) = corpus.take_in()
    assert (report.replaced, report.withdrawn) == (5, 0)
    corpus.run()
    assert len(corpus.urls()) == 13


@pytest.mark.parametrize(
    "content", [b"", b'{"id": 1, "te\n', b'{"id": 1, "text": "a"}\n{"id": "' + b"k" * 2000 + b'"}\n']
)
def test_nothing_leaves_by_a_mirror_that_is_damaged(corpus: Corpus, content: bytes) -> None:
    corpus.seed("books.jsonl.yaml", "mirror: true\n")
    corpus.seed("books.jsonl", _lines([{"id": i, "text": words(i)} for i in range(1, 5)]))
    corpus.take_in()
    corpus.seed("books.jsonl", content)
    (report,) = corpus.take_in()
    assert report.withdrawn == 0
    assert any("it is a mirror, and " in p and p.endswith("no document leaves by it") for p in report.problems)


def test_what_a_run_says_of_an_emptied_mirror_and_of_a_sidecar_that_cannot_be_read(
    quarry: Quarry, tmp_path: Path
) -> None:
    books = tmp_path / "books.jsonl"
    books.write_bytes(_lines([{"id": i, "text": words(i)} for i in range(12)]))
    (tmp_path / "books.jsonl.yaml").write_text("miror: true\n")
    status, out, err = quarry("run", books)
    assert status == 1 and "did you mean 'mirror'" in err
    assert "no seed could be read" in out and "no seeds in" not in out
    (tmp_path / "books.jsonl.yaml").write_text("mirror: true\n")
    assert quarry("run", books)[0] == 0
    books.write_bytes(_lines([{"id": i, "text": words(i)} for i in range(4)]))
    status, out, _ = quarry("run", books)
    assert status == 0 and re.search(
        r"left +8 of 12 documents leave that the corpus of \S+ had, as it was meant: 8 no longer in a mirror", out
    )
    books.write_bytes(b"")
    status, _, err = quarry("run", books)
    assert status == 1 and "books.jsonl: no row in it" in err
    assert "books.jsonl is a mirror, and names no document now. None leaves by it" in err
    assert "an http(s) URL a line" not in err and scan("deduped_corpus", tmp_path / "data").collect().height == 4


def test_a_mirror_that_is_read_in_parts_takes_out_the_same(corpus: Corpus) -> None:
    from quarry_dagster.intake import take_in_seeds

    corpus.seed("books.jsonl.yaml", "mirror: true\n")
    for rows in (range(9), range(0, 9, 2)):
        corpus.seed("books.jsonl", _lines([{"id": i, "text": words(i)} for i in rows]))
        while take_in_seeds(corpus.store, corpus.profile, (), seconds=0):
            pass
    gone = corpus.store.batches.scan().filter(pl.col("outcome") == "opted_out").collect()
    assert set(gone["url"]) == {urn_of("books", str(i)) for i in range(1, 9, 2)}


@pytest.mark.parametrize("cut", [True, False])
def test_a_compressed_seed_that_is_damaged_gives_what_can_be_read(corpus: Corpus, cut: bool) -> None:
    whole = gzip.compress(_lines([{"id": i, "text": words(i)} for i in range(2000)]))
    corpus.seed("a.jsonl.gz", whole[: len(whole) // 2] + (b"" if cut else b"\xff" * 1000))
    (report,) = corpus.take_in()
    assert 0 < report.added < 2000 and report.done
    assert any("it is cut off after" in p or "it is damaged" in p for p in report.problems)


def test_a_bomb_is_not_unpacked(corpus: Corpus) -> None:
    corpus.seed("a.txt.zst", zstd.compress(b"\n" * (200 << 20)))
    (report,) = corpus.take_in()
    assert "it unpacks to more than 500 times its size" in report.problems[-1]


def test_commands_take_an_id_as_well_as_a_url(quarry: Quarry, tmp_path: Path) -> None:
    rows = [{"id": f"b {i}", "text": words(i)} for i in range(12)]
    rows.append({"id": "twin", "text": f"{words(3)} and a little more"})
    (tmp_path / "books.jsonl").write_bytes(_lines(rows))
    (tmp_path / "films.jsonl").write_bytes(_lines([{"id": "b 1", "text": words(50)}]))
    assert quarry("run", tmp_path / "books.jsonl", tmp_path / "films.jsonl")[0] == 0

    status, out, _ = quarry("explain", "twin", "--json")
    found = json.loads(out)
    assert status == 0 and (found["url"], found["own_id"]) == (urn_of("books", "twin"), "twin")
    decision = found["decision"]
    assert (decision["removed_own_id"], decision["kept_own_id"]) == ("twin", "b 3")
    assert quarry("explain", urn_of("books", "b 3"))[1].startswith(f"{urn_of('books', 'b 3')}  (")
    status, _, err = quarry("explain", "b 1")
    assert status == 1 and f"2 documents have the id 'b 1'; name one: {urn_of('books', 'b 1')}" in err

    status, out, _ = quarry("search", "--like", "b 5", "-k", "3", "--json")
    results = json.loads(out)["results"]
    assert status == 0 and len(results) == 3 and "b 5" not in {r["own_id"] for r in results}

    status, out, _ = quarry("forget", "b 7", "--json")
    assert status == 0 and json.loads(out)["pages"] == 1
    left = scan("extracted_text", tmp_path / "data").filter(pl.col("outcome") == "extracted").collect()
    assert urn_of("books", "b 7") not in set(left["url"])
    for table in ("batches", "raw_pages", "extracted_text"):
        for file in (tmp_path / "data" / table).rglob("*.parquet"):
            frame = pl.read_parquet(file)
            kept = frame.filter(pl.col("url") == urn_of("books", "b 7"))
            assert kept["body" if "body" in kept.columns else "text"].null_count() == kept.height
            assert kept["own_columns" if "own_columns" in kept.columns else "metadata"].null_count() == kept.height
    for unknown in ("b 99", "a\udcff", "\udcff"):
        assert quarry("forget", unknown)[0] == 1
        assert quarry("explain", unknown)[0] == 1


def test_seeds_are_listed_with_what_they_brought(quarry: Quarry, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(_lines([{"id": 1, "text": words(1)}, {"id": 2, "text": ""}, {"text": "x"}]))
    (tmp_path / "b.jsonl.yaml").write_text("name: library\nmirror: true\n")
    (tmp_path / "b.jsonl").write_bytes(_lines([{"id": i, "text": words(10 + i)} for i in range(3)]))
    assert quarry("run", tmp_path / "a.jsonl", tmp_path / "b.jsonl")[0] == 0
    (tmp_path / "data" / "seeds" / "waits.txt").write_text("http://a.test/\n")
    status, out, _ = quarry("seeds", "--json")
    a, b, waits = json.loads(out)["seeds"]
    assert status == 0
    assert (a["seed"], a["name"], a["lines"], a["pages"], a["documents"], a["problem_count"]) == (
        "a.jsonl",
        "a",
        2,
        2,
        1,
        2,
    )
    assert (b["name"], b["mirror"], b["documents"]) == ("library", True, 3)
    assert (waits["seed"], waits["taken_at"], waits["lines"]) == ("waits.txt", None, 0)
    status, out, _ = quarry("seeds")
    assert "b.jsonl, documents named 'library', a mirror" in out and "not taken in yet" in out
    assert "a.jsonl:3: no url and no id in this row" in out


@pytest.mark.parametrize(
    "command", [("explain", "x"), ("seeds",), ("check",), ("search", "x"), ("forget", "http://a.test/")]
)
def test_an_error_is_one_object_too(quarry: Quarry, command: tuple[str, ...]) -> None:
    status, out, _ = quarry(*command, "--json")
    assert status == 1 and "data" in json.loads(out)["error"]


def test_the_doctor_answers_in_json(quarry: Quarry) -> None:
    status, out, _ = quarry("doctor", "--json")
    found = json.loads(out)
    assert status == 0 and found["problems"] == [] and "profile" in {fact["name"] for fact in found["facts"]}
