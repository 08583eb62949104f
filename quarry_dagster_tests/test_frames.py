"""`quarry_dagster.deduplicate`: a frame of any kind, decided as a run would, with no data root."""

import json
import subprocess
import sys
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import quarry_dagster
from quarry_dagster import deduplicate
from quarry_dagster.errors import ConfigError
from quarry_dagster_tests.corpus import Corpus, words

_TEXTS = [
    words(0),
    words(1),
    words(0).upper(),
    words(1) + " with a little more",
    words(2),
    words(2) + " x",
    None,
    " \n",
]


def _frame(texts: list[str | None] = _TEXTS) -> pl.DataFrame:
    columns = {
        "id": [f"k{i}" for i in range(len(texts))],
        "text": texts,
        "nested": [[{"a": i}] for i in range(len(texts))],
    }
    return pl.DataFrame(columns, schema_overrides={"text": pl.String})


def _removed(found: Any) -> set[tuple[Any, Any, str]]:
    frame = found.removed
    frame = frame.collect() if isinstance(frame, pl.LazyFrame) else frame
    frame = pl.DataFrame(frame) if isinstance(frame, pa.Table) else frame
    return set(zip(*(list(frame[name]) for name in _SHOWN), strict=True))


_SHOWN = ("removed_id", "kept_id", "rule")
_WANTED = {frozenset(pair) for pair in (("k2", "k0"), ("k1", "k3"), ("k4", "k5"))}


@pytest.mark.parametrize(
    "kind", [pl.DataFrame, pl.LazyFrame, lambda frame: frame.to_pandas(), lambda frame: frame.to_arrow()]
)
def test_every_kind_of_frame_comes_back_as_it_came(kind: Any) -> None:
    frame = kind(_frame())
    found = deduplicate(frame, id="id", keep=("longest", "doc_id"))
    pairs = {(a, b) for a, b, _ in _removed(found)}
    assert {frozenset(pair) for pair in pairs} == _WANTED
    assert all(type(each) is type(frame) for each in (found.kept, found.removed, found.skipped))
    kept: Any = found.kept.collect() if isinstance(found.kept, pl.LazyFrame) else found.kept
    kept = pl.from_pandas(kept) if isinstance(kept, pd.DataFrame) else pl.DataFrame(kept)
    gone = {a for a, _ in pairs} | {"k6", "k7"}
    assert kept.equals(_frame().filter(~pl.col("id").is_in(list(gone))))
    skipped: Any = found.skipped.collect() if isinstance(found.skipped, pl.LazyFrame) else found.skipped
    skipped = pl.from_pandas(skipped) if isinstance(skipped, pd.DataFrame) else pl.DataFrame(skipped)
    assert skipped.rows() == [("k6", "null"), ("k7", "empty")]


def test_without_ids_rows_have_their_number() -> None:
    found = deduplicate(_frame().drop("id"))
    assert {frozenset(pair[:2]) for pair in _removed(found)} == {
        frozenset({2, 0}),
        frozenset({1, 3}),
        frozenset({4, 5}),
    }
    assert found.removed["removed_id"].dtype == pl.Int64 and found.removed["cosine"].null_count() == 3


def test_a_pandas_index_stays_with_its_rows() -> None:
    frame = _frame().to_pandas().set_index(pd.Index(list("abcdefgh")))
    found = deduplicate(frame, id="id")
    assert [frame.loc[i, "id"] for i in found.kept.index] == list(found.kept["id"])


def test_categories_are_texts() -> None:
    frame = _frame().with_columns(pl.col("text").cast(pl.Categorical))
    assert deduplicate(frame, id="id").removed.equals(deduplicate(_frame(), id="id").removed)


def test_a_run_decides_the_same(corpus: Corpus) -> None:
    frame = _frame([*_TEXTS, *(words(i // 2) + (" and more" if i % 3 else "") for i in range(20, 60))])
    corpus.seed(
        "mine.jsonl", "".join(json.dumps({"id": i, "text": t}) + "\n" for i, t in frame.select("id", "text").rows())
    )
    corpus.take_in()
    corpus.run()
    decisions = corpus.read("dedup_decisions").select("removed_own_id", "kept_own_id", "rule", "jaccard", "containment")
    found = deduplicate(frame, id="id", name="mine")
    mine = found.removed.select("removed_id", "kept_id", "rule", "jaccard", "containment")
    assert sorted(mine.rows()) == sorted(decisions.rows()) and mine.height >= 15


@given(st.permutations(range(len(_TEXTS))), st.sampled_from(["strict", "balanced"]))
def test_the_order_of_rows_decides_nothing_and_every_row_is_somewhere(order: list[int], mode: Any) -> None:
    frame = _frame()[order]
    found = deduplicate(frame, id="id", mode=mode)
    assert _removed(found) == _removed(deduplicate(_frame(), id="id", mode=mode))
    everywhere = [*found.kept["id"], *found.removed["removed_id"], *found.skipped["id"]]
    assert sorted(everywhere) == sorted(frame["id"])
    assert list(found.kept["id"]) == [i for i in frame["id"] if i in set(found.kept["id"])]


def test_annotate_keeps_all_and_tells() -> None:
    found = deduplicate(_frame(), id="id", mode="annotate")
    assert found.kept.height == 6 and found.removed.height == 3


def test_what_a_run_leaves_out_is_left_out_when_asked() -> None:
    frame = pl.DataFrame({"text": [words(1), "Too short.", "Please enable JavaScript to view this page."]})
    assert deduplicate(frame).kept.height == 3
    assert deduplicate(frame, min_words=20).skipped.rows() == [(1, "too_short"), (2, "javascript_only")]


@pytest.mark.parametrize("texts", [[], [None], [""], ["!!! ---", "??"], ["x" * 2_000_000, "y"]])
def test_frames_of_little_or_odd_text(texts: list[str | None]) -> None:
    found = deduplicate(_frame(texts), id="id")
    assert found.kept.height + found.removed.height + found.skipped.height == len(texts)


@pytest.mark.parametrize(
    ("frame", "arguments", "said"),
    [
        (_frame(), {"text": "txet"}, "no column 'txet', which text= names; did you mean 'text'?"),
        (_frame(), {"id": "key"}, "no column 'key', which id= names; there are 'id', 'text', 'nested'"),
        (_frame(), {"text": "nested"}, "is a list, no text; cast the column to text"),
        (_frame(), {"mode": "aggressive"}, "mode 'aggressive' compares vectors, and here there are none"),
        (_frame(), {"mode": "lax"}, "mode: Input should be"),
        (_frame(), {"name": " "}, "name= is empty"),
        (pl.DataFrame({"id": [1.0, 1.0], "text": ["a", "b"]}), {"id": "id"}, "the id '1' stands in rows 0 and 1"),
        (
            pl.DataFrame({"id": ["a", None], "text": ["a", "b"]}),
            {"id": "id"},
            "row 1 (from 0) has no id in column 'id'",
        ),
        (pl.DataFrame({"id": ["a" * 2000], "text": ["a"]}), {"id": "id"}, "the id has 2,000 bytes, more than 1,000"),
        ({"text": ["a"]}, {}, "a frame of polars, pandas or pyarrow is needed, not a builtins.dict"),
    ],
)
def test_a_wrong_argument_is_told(frame: Any, arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as e:
        deduplicate(frame, **arguments)
    assert said in str(e.value)


def test_neither_files_nor_heavy_libraries_are_needed(tmp_path: Any) -> None:
    code = """
        import sys, polars as pl, quarry_dagster
        found = quarry_dagster.deduplicate(pl.DataFrame({"text": ["a b c d"] * 2}))
        assert found.removed.height == 1
        print(sorted({"torch", "faiss", "dagster", "sentence_transformers", "trafilatura"} & set(sys.modules)))
    """
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(line.strip() for line in code.splitlines())],
        cwd=tmp_path,
        env={"PYTHONPATH": str(next(iter(quarry_dagster.__path__))) + "/.."},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, list(tmp_path.iterdir())) == ("[]\n", []), done.stderr
