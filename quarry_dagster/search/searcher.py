"""The searcher: a published index and the corpus beside it, opened once and asked many times."""

from __future__ import annotations

import numpy as np
import polars as pl

from quarry_dagster.errors import ConfigError
from quarry_dagster.extract import normal_form
from quarry_dagster.index import VectorIndex
from quarry_dagster.profiles.settings import HardwareProfile
from quarry_dagster.search.model import encoder_of
from quarry_dagster.search.published import load, members
from quarry_dagster.stages.vectors import vectors_of
from quarry_dagster.store import Corpus, Index, Store

Neighbour = tuple[str, float]
"""The digest of a text, and its cosine."""

MORE = 4
"""Factor by which more neighbours are asked for than are wanted, because some are passed over or ranked again."""


class Searcher:
    """Searches what is published in one data root, under one profile: a corpus, in the index it was published with.

    It stays with the index and the corpus that it opened until :meth:`refresh` is called. With `newest` it opens the
    newest index instead, which the corpus may not follow.

    Raises:
        ConfigError: there is no index yet.
        IndexCorruptError: a file of the index is not the one that was published, or gone.
    """

    def __init__(self, store: Store, profile: HardwareProfile, *, newest: bool = False) -> None:
        self._store = store
        self._newest = newest
        self._profile = profile
        self.index, self.corpus = self._published()
        self._vectors, self.texts = self._open()
        """The index ready to be searched, and its texts by position, see :func:`members`."""

    def refresh(self) -> bool:
        """Follow what was published since; returns whether there was anything.

        Raises:
            IndexCorruptError: as at the beginning; the searcher then stays with what it had.
        """
        index, corpus = self._published()
        if (index.number, corpus and corpus.number) == (self.index.number, self.corpus and self.corpus.number):
            return False
        before = self.index, self.corpus
        self.index, self.corpus = index, corpus
        try:
            self._vectors, self.texts = self._open()
        except BaseException:
            self.index, self.corpus = before
            raise
        return True

    def nearest(self, vectors: np.ndarray, k: int) -> list[list[Neighbour]]:
        """The k nearest texts of the index to each unit vector (float32, shape (n, dim)), best first.

        Where the index holds vectors rounded, more are taken from it and ranked by the vectors themselves.
        """
        asked = k * MORE if self._vectors.is_lossy else k
        positions, cosines = self._vectors.search(vectors, asked, self._profile.index)
        found = self.texts.filter(pl.col("position").is_in(np.unique(positions)))
        if self._vectors.is_lossy:
            cosines = self._exact_cosines(vectors, positions, found)
        digest_at = dict(found.iter_rows())
        answers = []
        for row, of_row in zip(positions.tolist(), cosines.tolist(), strict=True):
            ranked = sorted(((c, at) for at, c in zip(row, of_row, strict=True) if at >= 0), key=lambda x: -x[0])
            answers.append([(digest_at[at], cosine) for cosine, at in ranked[:k]])
        return answers

    def like(self, text: str, k: int, *, filtered: bool = False) -> pl.DataFrame:
        """The k kept documents nearest to a text by meaning, best first.

        Returns the columns cosine, doc_id, url, title, text, metadata, is_filtered.

        The index holds the texts of removed duplicates too, and those that the quality policy keeps out. They are
        passed over; with `filtered` the latter are found as well.

        Raises:
            ConfigError: there is no corpus yet, or it was made under another model than the profile's.
            ModelError: the model cannot be loaded.
        """
        if self.corpus is None:
            raise ConfigError(f"there is no corpus in {self._store.files.root}: quarry run makes one")
        query = encoder_of(self.index, self._profile).encode([normal_form(text)])
        asked, rows = k, pl.DataFrame()
        while rows.height < k:
            asked *= MORE
            found = self.nearest(query, asked)[0]
            rows = _documents(self.corpus, found, k, filtered=filtered)
            if len(found) < asked:
                break
        return rows

    def _published(self) -> tuple[Index, Corpus | None]:
        """The corpus that is published now, and the index to search."""
        index, corpus = self._store.published()
        index = self._store.faiss_index.current() if self._newest else index
        if index is None:
            what = "index" if corpus else "corpus"
            raise ConfigError(f"there is no {what} in {self._store.files.root}: quarry run makes one")
        return index, corpus

    def _open(self) -> tuple[VectorIndex, pl.DataFrame]:
        """The vectors and the texts of `index`."""
        return load(self.index, on_gpu=self._profile.index.use_gpu_faiss), members(self.index)

    def _exact_cosines(self, queries: np.ndarray, positions: np.ndarray, found: pl.DataFrame) -> np.ndarray:
        """The cosines of queries and what was found for them, from the stored vectors: float32 of positions' shape.

        `found` are the texts at these positions, see :func:`members`.
        """
        segments = self._store.embeddings.segments_at(self.index.partitions).values()
        position_of = dict(zip(found["text_digest"], found["position"], strict=True))
        vectors = {
            position_of[digest]: vector
            for some, array in vectors_of(self._store, segments, found["text_digest"])
            for digest, vector in zip(some, array, strict=True)
        }
        nothing = np.zeros(queries.shape[1], np.float32)
        rows = zip(queries, positions.tolist(), strict=True)
        return np.array([[query @ vectors.get(at, nothing) for at in row] for query, row in rows], np.float32)


def _documents(corpus: Corpus, found: list[Neighbour], k: int, *, filtered: bool) -> pl.DataFrame:
    """The first k kept documents with these texts, best first, or those kept out as well: the columns of
    :meth:`Searcher.like`."""
    cosine = pl.DataFrame(found, schema={"text_digest": pl.String, "cosine": pl.Float64}, orient="row")
    # Filters, not joins alone: polars then reads no page of a file without a document that is wanted.
    ids = (
        corpus.texts()
        .select("doc_id", "text_digest")
        .filter(pl.col("text_digest").is_in(cosine["text_digest"].implode()))
        .join(cosine.lazy(), on="text_digest")
        .collect()
    )
    columns = ("doc_id", "url", "title", "text", "metadata")
    tables = [corpus.documents().select(*columns, is_filtered=pl.lit(False))]
    if filtered:
        out = corpus.filtered().select("doc_id").unique().collect()["doc_id"]
        is_out = pl.col("doc_id").is_in(out.implode())
        tables.append(corpus.texts().filter(is_out).select(*columns, is_filtered=pl.lit(True)))
    return (
        pl.concat(table.filter(pl.col("doc_id").is_in(ids["doc_id"].implode())) for table in tables)
        .join(ids.lazy(), on="doc_id")
        .sort("cosine", "doc_id", descending=[True, False])
        .head(k)
        .select("cosine", *columns, "is_filtered")
        .collect()
    )
