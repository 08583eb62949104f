"""Keyed tables that change little from one snapshot to the next, stored as layers: what each snapshot changed.

A layer is a file that never changes; the manifest of a snapshot names its layers. A row of a layer replaces the row
that an earlier layer has under the same key, or takes it out. Small layers are merged as in a log-structured merge
tree (O'Neil et al. 1996), so that a row is written again only a few times, and a table has few layers.

Why so: "Kept documents, decisions and pairs are layers" in docs/decisions.md.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from quarry_dagster.store.files import Files

_GONE = "gone"


class Layers:
    """The layers of one table.

    Args:
        name: the folder they lie in.
        schema: of the rows.
        key: the columns that name a row.
    """

    def __init__(self, files: Files, name: str, schema: pl.Schema, key: Sequence[str]) -> None:
        self.files = files
        self.name = name
        self.schema = schema
        self.key = list(key)
        self._stored = pl.Schema({**schema, _GONE: pl.Boolean})

    def read(self, paths: Sequence[str]) -> pl.LazyFrame:
        """The rows of the table whose layers have these paths, the oldest first."""
        return self._stacked(paths).filter(~pl.col(_GONE)).select(self.schema.names())

    def extend(self, paths: Sequence[str], after: pl.DataFrame) -> list[str]:
        """Write what `after` changes in the rows of these layers; returns the paths of the layers that then hold it."""
        before = self.read(paths).collect()
        after = after.select(self.schema.names())
        changed = after.join(before, on=self.schema.names(), how="anti", nulls_equal=True)
        gone = before.join(after, on=self.key, how="anti")
        if paths and changed.is_empty() and gone.is_empty():
            return list(paths)
        layer = pl.concat(
            [changed.with_columns(pl.lit(False).alias(_GONE)), gone.with_columns(pl.lit(True).alias(_GONE))]
        )
        below = list(paths)
        while below and self._rows(below[-1]) <= 2 * layer.height:
            older = self._stacked([below.pop()]).collect()
            layer = pl.concat([older.join(layer, on=self.key, how="anti"), layer])
        if not below:
            layer = layer.filter(~pl.col(_GONE))
        path = f"{self.name}/{self.files.new_id()}.parquet"
        self.files.write_frame(path, layer.sort(self.key))
        return [*below, path]

    def _rows(self, path: str) -> int:
        with self.files.parquet(path) as f:
            return f.metadata.num_rows

    def _stacked(self, paths: Sequence[str]) -> pl.LazyFrame:
        out = self.files.scan(paths[:1], self._stored)
        for path in paths[1:]:
            layer = self.files.scan([path], self._stored)
            out = pl.concat([out.join(layer.select(self.key), on=self.key, how="anti"), layer])
        return out
