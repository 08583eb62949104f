"""The public reader says what it cannot give."""

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from quarry_dagster import scan
from quarry_dagster.errors import StoreError
from quarry_dagster.store.schemas import embeddings_schema
from quarry_dagster_tests.corpus import Corpus, profile, words


def test_vectors_of_two_lengths_are_named_until_every_partition_has_the_new_model(tmp_path: Path) -> None:
    corpus = Corpus(tmp_path, profile(partitions={"pages_per_partition": 1}))
    corpus.seed_texts("a.jsonl", {f"http://a.test/{i}": words(i) for i in range(2)})
    corpus.run()
    partition, segment = next(iter(corpus.store.embeddings.segments().items()))
    rows = pl.concat(list(segment.batches())).with_columns(embedding=pl.col("embedding").arr.head(4).list.to_array(4))
    with corpus.store.embeddings.write(partition, embeddings_schema(4)) as writer:
        writer.append(rows)
        writer.note(replace(segment.notes, dim=4, model="another"))
    with pytest.raises(StoreError, match="vectors of 4 and 384 dimensions"):
        scan("embeddings", tmp_path)


def test_a_data_root_that_is_not_there_is_no_empty_corpus(tmp_path: Path) -> None:
    assert scan("deduped_corpus", tmp_path).collect().is_empty(), "a folder without a corpus is one"
    mistyped = tmp_path / "copus"
    with pytest.raises(StoreError, match=f"there is no data root {mistyped}"):
        scan("deduped_corpus", mistyped)
