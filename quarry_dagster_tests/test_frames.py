"""`quarry_dagster.deduplicate`: what a run decides, on the rows of a frame of whatever kind; each row has its place."""

import json
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.planted import generate
from quarry_dagster import deduplicate, frames
from quarry_dagster.errors import ConfigError
from quarry_dagster_tests.corpus import Corpus, profile, words

WHOLE = words(1, 60)
ROWS = {
    "id": ["other", "whole", "part", "capitals", "nothing", "blank", "dots", "again"],
    "text": [words(2, 60), WHOLE, " ".join(WHOLE.split()[:40]), WHOLE.upper(), None, " \n", "!!!", "...!"],
    "tags": [["a"], [], ["b", "c"], ["d"], [], ["e"], ["f"], ["g"]],
}


def removals(found: frames.Deduplicated[pl.DataFrame]) -> dict[Any, Any]:
    return dict(found.removed.select("removed_id", "kept_id").iter_rows())


def test_every_row_is_kept_or_removed_for_a_kept_one_or_skipped_with_a_reason() -> None:
    found = deduplicate(pl.DataFrame(ROWS), id="id")
    (kept,) = {"whole", "capitals"} & set(found.kept["id"])
    gone = ({"whole", "capitals"} - {kept}).pop()
    assert removals(found) == {"part": kept, gone: kept}
    assert found.kept["id"].to_list() == [i for i in ROWS["id"] if i in ("other", kept, "dots", "again")]
    assert found.kept.columns == ["id", "text", "tags"]
    assert found.skipped.rows() == [("nothing", "null"), ("blank", "empty")]
    assert dict(found.removed.select("removed_id", "rule").iter_rows()) == {
        "part": "near/1",
        gone: "text-digest/1",
    }
    assert dict(found.removed.select("removed_id", "containment").iter_rows()) == {"part": 1, gone: 1}
    assert found.removed["removed_id"].to_list() == [i for i in ROWS["id"] if i in ("part", gone)]
    assert found.removed["cosine"].to_list() == [None, None]


def _as_lists(frame: Any) -> dict[str, list[Any]]:
    if isinstance(frame, pa.Table):
        return frame.to_pydict()
    frame = frame.collect() if isinstance(frame, pl.LazyFrame) else frame
    if isinstance(frame, pd.DataFrame):
        frame = frame.astype(object).where(frame.notna(), None)
        return frame.to_dict("list")
    return frame.to_dict(as_series=False)


@pytest.mark.parametrize("id", ["id", None])
@pytest.mark.parametrize("make", [pl.LazyFrame, pd.DataFrame, pa.table])
def test_each_kind_of_frame_gives_three_of_its_kind_with_the_same_in_them(make: Any, id: str | None) -> None:
    frame, expected = make(ROWS), deduplicate(pl.DataFrame(ROWS), id=id)
    found = deduplicate(frame, id=id)
    for part in ("kept", "removed", "skipped"):
        assert type(getattr(found, part)) is type(frame)
        assert _as_lists(getattr(found, part)) == getattr(expected, part).to_dict(as_series=False), part


def test_the_index_of_a_pandas_frame_stays_with_the_rows_that_are_kept() -> None:
    frame = pd.DataFrame(ROWS, index=pd.Index(list("stuvwxyz"), name="letter"))
    found = deduplicate(frame, id="id")
    expected = frame.loc[frame["id"].isin(found.kept["id"])]
    pd.testing.assert_frame_equal(found.kept, expected)
    assert found.removed.index.tolist() == [0, 1]


@pytest.mark.parametrize("ids", [[3, 1, 2], ["c", "a", "b"], [3.0, 1.0, 2.0]], ids=["integers", "texts", "floats"])
def test_ids_come_back_in_the_type_that_they_were_given_in(ids: list[Any]) -> None:
    frame = pl.DataFrame({"n": ids, "body": [WHOLE, WHOLE, ""]})
    found = deduplicate(frame, text="body", id="n")
    assert found.removed["removed_id"].dtype == found.removed["kept_id"].dtype == frame["n"].dtype
    assert found.skipped["id"].to_list() == ids[2:]
    assert {*found.removed["removed_id"], *found.removed["kept_id"]} == set(ids[:2])


@pytest.mark.parametrize(
    "text",
    [
        pl.Series([WHOLE, WHOLE, "else", None], dtype=pl.Categorical),
        pl.Series([WHOLE, WHOLE, "else", None], dtype=pl.Enum([WHOLE, "else"])),
    ],
    ids=["categorical", "enum"],
)
def test_categories_are_texts(text: pl.Series) -> None:
    assert deduplicate(text.alias("text").to_frame()).removed.height == 1
    assert len(deduplicate(pd.DataFrame({"text": pd.Categorical(text.to_list())})).removed) == 1
    assert len(deduplicate(pa.table({"text": pa.array(text.to_list()).dictionary_encode()})).removed) == 1


def test_frames_of_every_make_just_work() -> None:
    plain = {"text": [WHOLE, WHOLE, "else", None], "more": [b"1", b"2", None, b"4"], "id": list("abcd")}
    views = {"text": pa.string_view(), "more": pa.binary_view(), "id": pa.string_view()}
    table = pa.table({name: pa.array(values, views[name]) for name, values in plain.items()})
    expected = deduplicate(pl.DataFrame(plain), id="id").kept.to_dicts()
    for frame in (table, table.to_batches()[0], table.to_batches()[0].slice(0, 0)):
        found = deduplicate(frame, id="id")
        assert type(found.kept) is type(found.removed) is type(found.skipped) is type(frame)
        assert found.kept.schema == frame.schema
        assert found.kept.to_pylist() == (expected if frame.num_rows else [])
    numbered = pd.DataFrame([plain["id"], plain["text"]]).T
    found = deduplicate(numbered, text=1, id=0, min_words=np.int64(0))  # pyright: ignore[reportArgumentType]
    assert found.kept[0].tolist() == [row["id"] for row in expected] and found.kept.columns.tolist() == [0, 1]


def test_half_a_character_and_a_byte_order_mark_are_what_they_are_in_a_run() -> None:
    texts = [WHOLE + " \ud800", WHOLE + " ?", "\ufeff" + WHOLE + " ?"]
    found = deduplicate(pd.DataFrame({"text": pd.Series(texts, dtype=object)}))
    assert set(found.removed["rule"]) == {"text-digest/1"}
    assert len(found.kept) == 1


def test_frames_without_rows_or_without_texts_are_no_error() -> None:
    for frame in (pl.DataFrame({"text": []}), pl.DataFrame({"text": [None, None]})):
        found = deduplicate(frame)
        assert (found.kept.height, found.removed.height, found.skipped.height) == (0, 0, frame.height)
    assert len(deduplicate(pd.DataFrame({"text": []})).kept) == 0
    assert deduplicate(pa.table({"text": pa.array([], pa.string())})).kept.num_rows == 0


def test_one_text_may_be_huge() -> None:
    huge = " ".join(f"word{i}" for i in range(600_000))
    found = deduplicate(pl.DataFrame({"text": [huge[: len(huge) // 2], "small", huge]}))
    assert removals(found) == {0: 2}


@pytest.mark.parametrize(
    ("frame", "arguments", "words_of_error"),
    [
        (ROWS, {}, ["a frame of polars, pandas or pyarrow is needed", "dict"]),
        (pl.DataFrame(ROWS), {"text": "txet"}, ["no column 'txet'", "did you mean 'text'?"]),
        (pl.DataFrame(ROWS), {"id": "identifier"}, ["no column 'identifier', which id= names", "'tags'"]),
        (pl.DataFrame(ROWS), {"text": "tags"}, ["row 0 (from 0)", "'tags'", "a list", "cast"]),
        (pl.DataFrame({"text": [1]}), {}, ["row 0 (from 0)", "a int", "cast"]),
        (pl.DataFrame({"id": [7, 8, 7], "text": "a"}), {"id": "id"}, ["the id '7'", "rows 0 and 2", "give each"]),
        (pl.DataFrame({"id": ["x", None], "text": "a"}), {"id": "id"}, ["row 1 has no id", "leave id= out"]),
        (pl.DataFrame({"id": ["x", " "], "text": "a"}), {"id": "id"}, ["row 1 has no id"]),
        (pl.DataFrame({"id": [[1]], "text": "a"}), {"id": "id"}, ["row 0: the id is a list"]),
        (
            pd.DataFrame({"id": ["x", None, "x", "y", True, *"xxxx"], "text": "a"}),
            {"id": "id"},
            ["7 of 9 rows", "row 1 has no id", "row 4: the id is true", "rows 0 and 2", "rows 0 and 6, and 2 more"],
        ),
        (pd.DataFrame({0: ["a"]}), {}, ["no column 'text'", "there are 0"]),
        (pd.DataFrame({"0": ["a"]}), {"text": 0}, ["no column 0", "did you mean '0'?"]),
        (pl.DataFrame(ROWS), {"text": 1}, ["no column 1", "there are 'id', 'text', 'tags'"]),
        (pa.table([["a"], ["b"]], names=["text", "text"]), {}, ["two columns of the frame have one name"]),
        (pa.array(["a"]), {}, ["a frame of polars, pandas or pyarrow is needed"]),
        (pl.DataFrame(ROWS), {"name": 3}, ["name=3 is no text"]),
        *((pl.DataFrame(ROWS), {"min_words": n}, [f"min_words={n!r}", "whole number"]) for n in (-1, 2.5, "20", True)),
        (pl.DataFrame(ROWS), {"name": " "}, ["name=' ' is no text, or is empty"]),
        (pl.DataFrame(ROWS), {"name": "\ud800"}, ["half a character"]),
        (pl.DataFrame(ROWS), {"mode": "aggressive"}, ["vectors", "use 'balanced'", "quarry run"]),
        (pl.DataFrame(ROWS), {"mode": "gentle"}, ["mode: ", "'strict'", "'gentle'"]),
        (pl.DataFrame(ROWS), {"keep": ["shortest"]}, ["keep.0: ", "'longest'", "'shortest'"]),
        (pd.DataFrame([["a", "b"]], columns=["text", "text"]), {}, ["two columns of the frame have one name"]),
    ],
)
def test_what_is_wrong_is_named_with_its_remedy(frame: Any, arguments: dict[str, Any], words_of_error: list) -> None:
    with pytest.raises(ConfigError) as caught:
        deduplicate(frame, **arguments)
    assert [each for each in words_of_error if each not in str(caught.value)] == []


def test_modes_and_the_order_of_keeping_are_those_of_a_run() -> None:
    edited = " ".join("changed" if i == 40 else word for i, word in enumerate(WHOLE.split()))
    frame = pl.DataFrame(
        {"text": [WHOLE, edited, WHOLE + " and more"], "date": [None, date(2020, 1, 2), "2021"]}, strict=False
    )
    assert removals(deduplicate(frame)) == {2: 1, 0: 1}, "of the cleaner ones the earliest"
    assert removals(deduplicate(frame, mode="strict")) == {2: 0}
    assert removals(deduplicate(frame, keep=["earliest"])) == {0: 1, 2: 1}
    dated = frame.with_columns(date=pl.Series([None, date(2020, 1, 2), date(2021, 1, 1)]))
    assert removals(deduplicate(dated, keep=["earliest"])) == {0: 1, 2: 1}
    annotated = deduplicate(frame, mode="annotate")
    assert annotated.kept.equals(frame)
    assert removals(annotated) == {2: 1, 0: 1}


def test_short_texts_are_left_out_only_where_it_is_asked_for() -> None:
    wall = "Please enable JavaScript to continue. " + words(3, 20)
    frame = pl.DataFrame({"text": ["A few words.", wall, WHOLE, WHOLE + "\x01" * 50]})
    assert deduplicate(frame).skipped.height == 0
    found = deduplicate(frame, min_words=20)
    assert found.skipped.rows() == [(0, "too_short"), (3, "error")], "a given text that asks for JavaScript is a text"
    assert deduplicate(frame, min_words=0).skipped.rows() == [(3, "error")]


def test_the_name_of_the_ids_decides_between_rows_that_nothing_else_tells_apart() -> None:
    frame = pl.DataFrame({"id": range(20), "text": WHOLE})
    kept = {name: deduplicate(frame, id="id", name=name).kept["id"].item() for name in ("books", "b/o?o k#s:ü", "x")}
    assert len(set(kept.values())) > 1
    assert deduplicate(frame, id="id", name=" books ").kept["id"].item() == kept["books"]


_TEXTS = [words(5, 40), words(5, 40) + " " + words(6, 5), words(7, 40), words(7, 40).upper(), "short", "!!!", "", None]


@given(st.lists(st.sampled_from(_TEXTS), max_size=12), st.randoms(use_true_random=False))
def test_the_order_of_the_rows_does_not_change_what_is_kept(texts: list[str | None], random: Any) -> None:
    frame = pl.DataFrame({"id": range(len(texts)), "text": pl.Series(texts, dtype=pl.String)})
    order = list(range(len(texts)))
    random.shuffle(order)
    first, second = deduplicate(frame, id="id"), deduplicate(frame[order], id="id")
    assert second.kept["id"].to_list() == [i for i in order if i in set(first.kept["id"])]
    assert removals(first) == removals(second)
    parts = (first.kept["id"], first.removed["removed_id"], first.skipped["id"])
    assert sorted(i for part in parts for i in part) == list(range(len(texts)))
    assert set(first.removed["kept_id"]) <= set(first.kept["id"])


def test_a_run_over_the_same_documents_decides_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = Corpus(tmp_path, profile(partitions={"pages_per_partition": 100}))
    texts = {f"http://a.test/{i}": text for i, text in generate(250, seed=3).select("id", "text").iter_rows()}
    corpus.seed_texts(
        "a.jsonl", texts | {"http://a.test/short": "A short text.", "http://a.test/lines": "\ufeffa\r\nb\u2028" * 20}
    )
    corpus.run()
    rows = corpus.read("raw_pages").select("url", "doc_id", text=pl.col("body").cast(pl.String, strict=False))
    ids = dict(rows.select("url", "doc_id").iter_rows())
    monkeypatch.setattr(frames, "_doc_ids", lambda rows, name: [ids[url] for url in rows.own_ids()])
    found = deduplicate(rows.sample(fraction=1, shuffle=True, seed=1), id="url", min_words=20)
    decided = corpus.read("dedup_decisions")
    columns = ["level", "rule", "jaccard", "containment"]
    ours = found.removed.select("removed_id", "kept_id", *columns).sort("removed_id")
    theirs = decided.select(removed_id="removed_url", kept_id="kept_url", **{c: c for c in columns}).sort("removed_id")
    assert ours.equals(theirs)
    assert decided["rule"].n_unique() >= 3
    assert set(found.kept["url"]) == corpus.urls()
    outcomes = corpus.read("extracted_text").filter(pl.col("outcome") != "extracted").select("url", "outcome")
    assert set(found.skipped.iter_rows()) == set(outcomes.iter_rows()) != set()


def test_neither_dagster_nor_models_nor_parsers_are_loaded() -> None:
    code = """
import sys, polars as pl, quarry_dagster
quarry_dagster.deduplicate(pl.DataFrame({"text": ["one text of a few words in all here"] * 2 + ["another"]}))
heavy = ("dagster", "torch", "faiss", "transformers", "trafilatura", "lxml", "pandas", "pyarrow")
print(*[name for name in heavy if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_many_texts_are_scored_in_pieces_with_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    bases = [words(i, 80) for i in range(100, 120)]
    texts = [f"{bases[i % 20]} {words(1000 + i, int(rng.integers(1, 9)))}" for i in range(120)]
    whole = deduplicate(pl.DataFrame({"text": texts}))
    monkeypatch.setattr(frames, "_ROWS", 7)
    monkeypatch.setattr(frames, "_CHARACTERS", 3000)
    monkeypatch.setattr("quarry_dagster.dedup.scoring._WORDS_IN_MEMORY", 500)
    monkeypatch.setattr("quarry_dagster.dedup.scoring._SHINGLES_IN_MEMORY", 500)
    pieces = deduplicate(pl.DataFrame({"text": texts}))
    assert whole.kept.height == 20
    assert pieces.kept.equals(whole.kept)
    assert pieces.removed.equals(whole.removed)


def test_a_run_over_a_seed_with_these_ids_decides_the_same(corpus: Corpus) -> None:
    texts = [words(i // 2) + (" and more" if i % 3 else "") for i in range(40)]
    frame = pl.DataFrame({"id": [f"k{i}" for i in range(40)], "text": texts})
    corpus.seed(
        "mine.jsonl", "".join(json.dumps({"id": i, "text": t}) + "\n" for i, t in frame.select("id", "text").rows())
    )
    corpus.take_in()
    corpus.run()
    decisions = corpus.read("dedup_decisions").select("removed_own_id", "kept_own_id", "rule", "jaccard", "containment")
    found = deduplicate(frame, id="id", name="mine")
    mine = found.removed.select("removed_id", "kept_id", "rule", "jaccard", "containment")
    assert sorted(mine.rows()) == sorted(decisions.rows()) and mine.height >= 15
