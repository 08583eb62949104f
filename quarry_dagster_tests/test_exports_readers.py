"""Exports as the tools of their users read them: datasets, DuckDB, pandas, polars, pyarrow and mlcroissant."""

import json
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow.dataset as ds
import pytest

from quarry_dagster.exports import export
from quarry_dagster.profiles.settings import Export
from quarry_dagster_tests.corpus import Corpus, profile, words


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export with two splits, in which titles and own columns have what readers trip over."""
    root = tmp_path_factory.mktemp("readers")
    corpus = Corpus(root / "data", profile())
    titles = ["", "a\u2028b\r\n\x00c", '"quoted", 100 %', "日本語 \U0001f600", "---\nkey: [x"]
    rows = [
        {
            "url": f"https://site{i}.example/",
            "text": words(i),
            "title": titles[i % 5],
            "own": {"n": i, "t": titles[i % 5]},
        }
        for i in range(30)
    ]
    corpus.seed("a.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    corpus.run_five()
    for name in ("huggingface", "jsonl"):
        wanted = Export.model_validate({"format": name, "to": "x", "splits": {"test": 0.3}, "group": "document"})
        wanted = wanted.model_copy(update={"title": "Readers: all of them"})
        export(corpus.store, wanted, str(root / name))
    return root


@pytest.fixture
def truth(out: Path) -> pl.DataFrame:
    return pl.read_parquet(sorted((out / "huggingface" / "data").glob("*.parquet"))).sort("doc_id")


def sql(query: str) -> duckdb.DuckDBPyRelation:
    found = duckdb.sql(query)
    assert found is not None
    return found


@pytest.mark.parametrize("streaming", [False, True])
def test_datasets_loads_the_folder_with_its_splits(
    out: Path, truth: pl.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, streaming: bool
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    from datasets import load_dataset

    found: Any = load_dataset(str(out / "huggingface"), streaming=streaming, cache_dir=str(tmp_path))
    assert set(found) == {"train", "test"}
    rows = [row for split in ("train", "test") for row in found[split]]
    assert {row["doc_id"]: row["title"] for row in rows} == dict(truth.select("doc_id", "title").iter_rows())
    assert found["train"].features is not None and set(found["train"].features) == set(truth.columns)
    if not streaming:
        header = json.loads((out / "huggingface" / "manifest.json").read_text())["splits"]
        assert {name: found[name].num_rows for name in found} == {name: s["documents"] for name, s in header.items()}


def test_duckdb_pandas_and_pyarrow_read_the_same_rows(out: Path, truth: pl.DataFrame) -> None:
    folder = out / "huggingface" / "data"
    query = f"SELECT doc_id, title, word_count, len(text) FROM '{folder}/*.parquet' ORDER BY doc_id"
    wanted = truth.select("doc_id", "title", "word_count", pl.col("text").str.len_chars().cast(pl.Int64))
    assert sql(query).fetchall() == wanted.rows()
    assert pd.read_parquet(folder).sort_values("doc_id")["text"].tolist() == truth["text"].to_list()
    assert ds.dataset(folder, format="parquet").count_rows() == truth.height


def test_duckdb_and_polars_read_the_lines(out: Path, truth: pl.DataFrame, tmp_path: Path) -> None:
    found = {}
    for path in (out / "jsonl" / "data").iterdir():
        rows = sql(f"SELECT doc_id, title FROM read_json('{path}', format = 'newline_delimited')").fetchall()
        found |= dict(rows)
    assert found == dict(truth.select("doc_id", "title").iter_rows())


def test_mlcroissant_validates_the_description_and_reads_by_it(out: Path, truth: pl.DataFrame) -> None:
    import mlcroissant

    dataset = mlcroissant.Dataset(str(out / "huggingface" / "croissant.json"))
    issues = dataset.metadata.ctx.issues
    assert not issues.errors and all("datePublished" in said for said in issues.warnings), "nobody knows that day yet"
    ids = {record["documents/doc_id"].decode() for record in dataset.records("documents")}
    assert ids == set(truth["doc_id"])
