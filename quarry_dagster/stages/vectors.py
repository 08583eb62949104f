"""Reading the vectors of texts from `embeddings`, where documents with equal texts share one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import polars as pl

from quarry_dagster.store import Segment, Store


def texts_of(store: Store, segments: Iterable[Segment]) -> pl.Series:
    """The distinct text digests of these segments of `embeddings`, sorted."""
    paths = [s.path for s in segments]
    digests = store.files.scan(paths, pl.Schema({"text_digest": pl.String})).unique().sort("text_digest")
    return digests.collect()["text_digest"]


def vectors_of(store: Store, segments: Iterable[Segment], wanted: pl.Series) -> Iterator[tuple[pl.Series, np.ndarray]]:
    """Each wanted text once with its vector, in blocks: text digests, and float32 of shape (n, dim)."""
    left = wanted.rename("text_digest").to_frame()
    for segment in segments:
        if left.is_empty():
            return
        with store.files.parquet(segment.path) as f:  # twice as fast as polars with columns of vectors
            digests = pl.DataFrame(f.read(["text_digest"])).with_row_index("row")
            found = digests.join(left, on="text_digest", how="semi").unique("text_digest", keep="first").sort("row")
            if found.is_empty():
                continue
            column = f.read(["embedding"])["embedding"].combine_chunks()
        left = left.join(found, on="text_digest", how="anti")
        array = column.flatten().to_numpy().reshape(len(column), -1)
        if found.height < len(array):
            array = array[found["row"].to_numpy()]
        yield found["text_digest"], array.astype(np.float32, copy=False)
