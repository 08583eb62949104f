"""What an export knows of each kept document: the columns that it writes, and those that a condition may name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import polars as pl

from quarry_dagster.errors import ConfigError, StoreError
from quarry_dagster.store import Corpus, FactNotes, Notes, SignalSegment, Store
from quarry_dagster.store.schemas import ACCEPTED, BATCHES, HOST, PAGE_METADATA, UTC_TIME, quality_signals_schema
from quarry_dagster.store.tables import Segment

WRITTEN = pl.Schema(
    {
        "doc_id": pl.String,
        "url": pl.String,
        "title": pl.String,
        "author": pl.String,
        "date": pl.String,
        "language": pl.String,
        "text": pl.String,
        "text_format": pl.String,
        "word_count": pl.Int64,
        "page_type": pl.String,
        "license": pl.String,
        "license_source": pl.String,
        "fetched_at": UTC_TIME,
        "extractor": pl.String,
        "duplicates": pl.Int64,
        "failed_rules": pl.List(pl.String),
        "metadata": pl.String,
    }
)
"""The columns of an export; `metadata` is JSON."""
_OF_TEXTS = ("url", "title", "author", "date", "language", "text", "text_format", "word_count", "fetched_at")
_OF_PAGES = ("license", "license_source", "site_name", "published", "modified", "paywalled", "schema_types", "fields")
_JSON = ("metadata", "fields")
"""Columns whose keys a condition can name, as `metadata.topic`."""
_WORDS = 1_000_000
"""Words of the documents whose texts are in memory at once, or one document."""


@dataclass(frozen=True)
class Documents:
    """The kept documents of a corpus, a partition at a time, with all that is known of them."""

    store: Store
    corpus: Corpus
    kept: pl.DataFrame
    """Schema KEPT."""
    pages: dict[str, Segment[FactNotes]]
    signals: dict[str, SignalSegment]
    batches: dict[str, Segment[Notes]]

    @classmethod
    def of(cls, store: Store, corpus: Corpus) -> Documents:
        """Those of a corpus, as the tables were when it was published."""
        commit = store.commit_of(corpus.number)
        tables = store.page_metadata, store.quality_signals, store.batches
        pages, signals, batches = (dict(table.segments(commit).items()) for table in tables)
        return cls(store, corpus, corpus.kept().collect(), pages, signals, batches)  # pyright: ignore

    @property
    def partitions(self) -> list[str]:
        """Those that have a kept document, in order."""
        return self.kept["partition"].unique().sort().to_list()

    @property
    def known(self) -> list[str]:
        """The columns that a condition may name, but for keys of JSON."""
        signals = [name for each in self.signals.values() for name in each.notes.names]
        more = (*_OF_PAGES, "page_type", "host", "partition")
        return list(dict.fromkeys([*WRITTEN.names(), *more, *signals]))

    def frame(self, partition: str, asked: Sequence[str] = ()) -> pl.LazyFrame:
        """The documents of a partition: the columns WRITTEN, `host`, `partition`, and those that are asked for.

        Raises:
            StoreError: when it is read, if a file is damaged.
        """
        kept = self.kept.lazy().filter(pl.col("partition") == partition)
        kept = kept.with_columns(failed_rules=pl.col("failed").str.split(" ").list.filter(pl.element() != ""))
        texts = self.corpus.snapshot.files.scan([self.corpus.inputs.texts[partition]], self.store.extracted_text.schema)
        found = texts.select("doc_id", *_OF_TEXTS, "metadata", "extractor", of_text=pl.col("page_type"))
        found = found.join(kept.select("doc_id", "failed_rules", "duplicates"), on="doc_id")
        found = found.join(self._of_pages(partition), on="doc_id", how="left")
        found = found.join(self._of_signals(partition, asked), on="doc_id", how="left")
        found = found.with_columns(page_type=pl.coalesce("of_page", "of_text"), host=HOST, partition=pl.lit(partition))
        keys = [name for name in asked if name.split(".")[0] in _JSON and "." in name]
        found = found.with_columns(_value_at(name) for name in keys)
        return found.select(list(dict.fromkeys([*WRITTEN.names(), "host", "partition", *asked])))

    def every(self, partition: str, columns: Sequence[str]) -> pl.LazyFrame:
        """All accepted documents of a partition, kept or not: doc_id, url, and what is asked for of host, seed and
        keys of JSON."""
        segment = self.store.extracted_text.at(self.corpus.inputs.texts[partition])
        rows = self.store.files.scan([segment.path], segment.schema).filter(ACCEPTED)
        rows = rows.with_columns(_value_at(name) for name in columns if "." in name).with_columns(host=HOST)
        if "seed" in columns:
            batch = self.batches.get(partition)
            seeds = self.store.files.scan([batch.path] if batch else [], BATCHES).select("doc_id", "seed")
            rows = rows.join(seeds, on="doc_id", how="left")
        return rows.select("doc_id", "url", *columns)

    def in_blocks(self, partition: str, wanted: pl.DataFrame) -> Iterator[pl.DataFrame]:
        """The wanted documents of a partition in order of their ids, as many at once as memory holds: schema WRITTEN.

        `wanted` has the columns doc_id and word_count.
        """
        ordered = wanted.sort("doc_id")
        blocks = ordered["word_count"].cum_sum() // _WORDS
        for _, block in ordered.group_by(blocks.alias("block"), maintain_order=True):
            ids = block["doc_id"]
            rows = self.frame(partition).filter(pl.col("doc_id").is_in(ids.implode())).collect(engine="streaming")
            if rows.height != len(ids):
                raise StoreError(f"partition {partition!r} of extracted_text has not all documents that are kept of it")
            yield rows.select(WRITTEN.names()).cast(dict(WRITTEN.items())).sort("doc_id")

    def _of_pages(self, partition: str) -> pl.LazyFrame:
        segment = self.pages.get(partition)
        paths = [segment.path] if segment else []
        rows = self.store.files.scan(paths, PAGE_METADATA)
        return rows.select("doc_id", *_OF_PAGES, of_page=pl.col("page_type"))

    def _of_signals(self, partition: str, asked: Sequence[str]) -> pl.LazyFrame:
        segment = self.signals.get(partition)
        every = {name for each in self.signals.values() for name in each.notes.names}
        names = [name for name in asked if name in every]
        there = [name for name in names if segment and name in segment.notes.names]
        rows = self.store.files.scan([segment.path] if segment else [], quality_signals_schema(there))
        missing = [pl.lit(None, pl.Float32).alias(name) for name in names if name not in there]
        return rows.select("doc_id", *there).with_columns(missing)


def _value_at(name: str) -> pl.Expr:
    """The value at a key of a column of JSON, as text."""
    column, _, key = name.partition(".")
    if "\\" in key or ("'" in key and '"' in key):
        raise ConfigError(f"{name}: a key with a backslash, or with quotes of both kinds, cannot be asked for")
    quote = '"' if "'" in key else "'"
    return pl.col(column).str.json_path_match(f"$[{quote}{key}{quote}]").alias(name)
