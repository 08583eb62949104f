"""Data planted to break what each blocking check protects: in the tables of a corpus that was sound."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

from quarry_dagster.store import ShardFiles, Store, Table, VectorNotes
from quarry_dagster.store.schemas import FILTER_DECISIONS, embeddings_schema
from quarry_dagster_tests.corpus import as_written, overwrite


def rewrite(table: Table, change: Callable[[pl.DataFrame], pl.DataFrame]) -> None:
    """A next version of the table's first partition that claims to be what the current one is."""
    segment = next(iter(table.segments().values()))
    rows = change(pl.concat(list(segment.batches())))
    schema = embeddings_schema(segment.notes.dim) if isinstance(segment.notes, VectorNotes) else segment.schema
    with table.write(segment.partition, schema) as writer:
        writer.append(rows)
        writer.note(segment.notes)


def _first(column: str, value: pl.Expr) -> Callable[[pl.DataFrame], pl.DataFrame]:
    return lambda rows: rows.with_columns(
        pl.when(pl.int_range(pl.len()) == 0).then(value).otherwise(column).alias(column)
    )


def _published(store: Store, name: str, change: Callable[[pl.DataFrame], pl.DataFrame]) -> None:
    """Change the rows of `kept` or `decisions` in the published snapshot."""
    snapshot = store.deduped_corpus.current()
    assert snapshot is not None
    table = {"kept": store.kept, "decisions": store.decisions}[name]
    rows = change(table.read(getattr(snapshot.layers, name)).collect())
    path = f"{table.name}/999999.parquet"
    store.files.write_frame(path, rows.with_columns(gone=False))
    overwrite(replace(snapshot, layers=replace(snapshot.layers, **{name: [path]})))


def wrong_body(store: Store) -> None:
    rewrite(store.raw_pages, _first("body", pl.lit(b"another body")))


def lost_page(store: Store) -> None:
    rewrite(store.raw_pages, lambda rows: rows.tail(-1))


def page_twice(store: Store) -> None:
    rewrite(store.raw_pages, lambda rows: pl.concat([rows, rows.head(1)]))


def unknown_outcome(store: Store) -> None:
    rewrite(store.raw_pages, _first("outcome", pl.lit("vanished")))


def wrong_text(store: Store) -> None:
    rewrite(store.extracted_text, _first("text", pl.lit("another text")))


def lost_text(store: Store) -> None:
    rewrite(store.extracted_text, lambda rows: rows.tail(-1))


def empty_text(store: Store) -> None:
    rewrite(store.extracted_text, _first("text", pl.lit("")))


def undescribed_document(store: Store) -> None:
    rewrite(store.page_metadata, lambda rows: rows.tail(-1))


def license_of_no_source(store: Store) -> None:
    rewrite(store.page_metadata, _first("license", pl.lit("CC-BY-4.0")))


def unread_document(store: Store) -> None:
    rewrite(store.personal_data, lambda rows: rows.tail(-1))


def place_beyond_the_text(store: Store) -> None:
    place = {"type": "email", "rule": "address", "confidence": 0.9, "start": 5, "end": 1_000_000}
    schema = store.personal_data.schema["found"]
    rewrite(store.personal_data, _first("found", pl.lit(pl.Series([[place]], dtype=schema)).first()))


def unrated_document(store: Store) -> None:
    rewrite(store.quality_signals, lambda rows: rows.tail(-1))


def signal_that_is_no_number(store: Store) -> None:
    rewrite(store.quality_signals, _first("words_v1", pl.lit(float("nan"), pl.Float32)))


def filtered_for_no_reason(store: Store) -> None:
    corpus = store.deduped_corpus.current()
    assert corpus is not None
    row = corpus.kept().select("doc_id").head(1).collect()
    rule = {"url": "https://a.example/", "policy": "mine@1 0", "rule": "short", "value": 9.0, "threshold": 5.0}
    rows = row.with_columns(pl.lit(value).alias(name) for name, value in rule.items())
    stored = {"policy": {"name": "mine", "version": 1, "rules": []}, "action": "drop"}
    _published(store, "kept", lambda kept: kept.filter(pl.col("doc_id") != row.item()))
    corpus = store.deduped_corpus.current()
    assert corpus is not None
    filtered = store.filtered.extend((), rows.cast(FILTER_DECISIONS))
    layers, inputs = replace(corpus.layers, filtered=filtered), replace(corpus.inputs, policy=stored)
    overwrite(replace(corpus, layers=layers, inputs=inputs))


def vector_of_another_model(store: Store) -> None:
    rewrite(store.embeddings, _first("model", pl.lit("another model")))


def lost_vector(store: Store) -> None:
    rewrite(store.embeddings, lambda rows: rows.tail(-1))


def scaled_vector(store: Store) -> None:
    def scale(rows: pl.DataFrame) -> pl.DataFrame:
        vectors = rows["embedding"].to_numpy().copy()
        vectors[0] *= 2
        return rows.with_columns(pl.Series("embedding", vectors, dtype=rows["embedding"].dtype))

    rewrite(store.embeddings, scale)


def vector_that_is_no_number(store: Store) -> None:
    def spoil(rows: pl.DataFrame) -> pl.DataFrame:
        vectors = rows["embedding"].to_numpy().copy()
        vectors[0, 0] = np.nan
        return rows.with_columns(pl.Series("embedding", vectors, dtype=rows["embedding"].dtype))

    rewrite(store.embeddings, spoil)


def damaged_index(store: Store) -> None:
    path = Path(store.files.full(_shard(store).file))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def lost_list_of_texts(store: Store) -> None:
    store.files.delete([_shard(store).texts])


def index_with_a_text_missing(store: Store) -> None:
    snapshot = store.faiss_index.current()
    assert snapshot is not None
    store.files.write_frame(snapshot.removed_path, pl.DataFrame({"position": [0]}))
    as_written(store.files, snapshot.removed_path)


def index_of_shuffled_vectors(store: Store) -> None:
    """Whole by its digest, and wrong: each text has the vector of another one."""
    path = _shard(store).texts
    texts = pl.read_parquet(store.files.full(path))
    store.files.write_frame(path, texts.sample(fraction=1.0, shuffle=True, seed=0))
    as_written(store.files, path)


def _shard(store: Store) -> ShardFiles:
    snapshot = store.faiss_index.current()
    assert snapshot is not None
    (shard,) = snapshot.shards
    return shard


def unknown_level(store: Store) -> None:
    _published(store, "decisions", _first("level", pl.lit("hunch")))


def kept_twice(store: Store) -> None:
    _published(store, "kept", lambda rows: pl.concat([rows, rows.head(1)]))


def lost_document(store: Store) -> None:
    """A kept document that is nobody's witness is gone from the corpus, and no decision says so."""
    _published(store, "kept", lambda rows: rows.sort("duplicates").tail(-1))


def dangling_witness(store: Store) -> None:
    """A removal names a document that is not kept; the one that it named before does not count it."""
    snapshot = store.deduped_corpus.current()
    assert snapshot is not None
    named = snapshot.decisions().collect()["kept_id"][0]
    _published(store, "decisions", _first("kept_id", pl.lit("f" * 20)))
    fewer = pl.col("duplicates") - (pl.col("doc_id") == named).cast(pl.Int64)
    _published(store, "kept", lambda rows: rows.with_columns(fewer.alias("duplicates")))


def unjustified_removal(store: Store) -> None:
    """Every witness is a kept document, but another one's."""
    _published(store, "decisions", lambda rows: rows.with_columns(pl.col("kept_id", "kept_url").reverse()))


def duplicate_left(store: Store) -> None:
    """As if it had been missed that three documents are near duplicates of others: all are kept."""
    snapshot = store.deduped_corpus.current()
    assert snapshot is not None
    decisions = snapshot.decisions().collect()
    missed = decisions.filter(pl.col("level") == "near")
    _published(store, "decisions", lambda rows: rows.join(missed, on="removed_id", how="anti"))
    texts = store.extracted_text.scan().join(missed.lazy(), left_on="doc_id", right_on="removed_id", how="semi")
    facts = {"failed": pl.lit(None, pl.String), "duplicates": pl.lit(0, pl.Int64)}
    back = texts.select("doc_id", "partition", **facts).collect()
    _published(
        store,
        "kept",
        lambda rows: pl.concat(
            [
                rows.with_columns(
                    pl.when(pl.col("doc_id").is_in(missed["kept_id"].to_list()))
                    .then(pl.col("duplicates") - 1)
                    .otherwise("duplicates")
                    .alias("duplicates")
                ),
                back,
            ]
        ),
    )


PLANTED = [
    ("raw_pages contract", wrong_body),
    ("raw_pages contract", lost_page),
    ("raw_pages contract", page_twice),
    ("raw_pages contract", unknown_outcome),
    ("extracted_text contract", wrong_text),
    ("extracted_text contract", lost_text),
    ("extracted_text contract", empty_text),
    ("page_metadata contract", undescribed_document),
    ("page_metadata contract", license_of_no_source),
    ("personal_data contract", unread_document),
    ("personal_data contract", place_beyond_the_text),
    ("quality_signals contract", unrated_document),
    ("quality_signals contract", signal_that_is_no_number),
    ("embeddings contract", vector_of_another_model),
    ("embeddings contract", lost_vector),
    ("embeddings vectors", scaled_vector),
    ("embeddings vectors", vector_that_is_no_number),
    ("faiss_index contract", index_with_a_text_missing),
    ("faiss_index contract", damaged_index),
    ("faiss_index contract", lost_list_of_texts),
    ("faiss_index recall_at_10", index_of_shuffled_vectors),
    ("deduped_corpus contract", unknown_level),
    ("deduped_corpus contract", kept_twice),
    ("deduped_corpus contract", filtered_for_no_reason),
    ("deduped_corpus conservation", lost_document),
    ("deduped_corpus witnesses", dangling_witness),
    ("deduped_corpus witnesses", unjustified_removal),
    ("deduped_corpus no_duplicates_left", duplicate_left),
]
GATES = dict(reversed(PLANTED))
"""For each blocking check the first of its plants: one that a rerun does not repair."""
