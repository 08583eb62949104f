"""Token ids as Megatron-LM reads them: an array of all documents, its bounds, and what each document is."""

from __future__ import annotations

import struct
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from quarry_dagster.exports.formats import ParquetWriter

IDS = "ids"
"""The column of token ids, a list."""
_MAGIC = b"MMIDIDX\x00\x00"
_CODES = {np.dtype(np.uint16): 8, np.dtype(np.int32): 4}
"""How the index names a type of array."""


class TokenWriter:
    """`.bin`, `.idx` (Megatron-LM's IndexedDataset, version 1; each document a sequence) and `.parquet`: the columns
    but the text, and `tokens`, a row for each document of the array, in its order."""

    suffixes = ("parquet", "bin", "idx")

    def __init__(self, stem: Path, schema: pl.Schema, dtype: Any) -> None:
        self._dtype = np.dtype(dtype)
        self._stem = stem
        self._array = Path(f"{stem}.bin").open("wb")  # noqa: SIM115  # `close` closes it
        self._rows = ParquetWriter(stem, self.columns(schema))
        self._lengths: list[np.ndarray] = []

    @staticmethod
    def columns(schema: pl.Schema) -> pl.Schema:
        """The columns of the rows beside the array, of those of the documents."""
        return pl.Schema({name: kind for name, kind in schema.items() if name != "text"} | {"tokens": pl.Int64})

    def write(self, rows: pl.DataFrame) -> None:
        ids = rows[IDS]
        lengths = ids.list.len().to_numpy().astype(np.int32)
        every = np.fromiter(chain.from_iterable(ids), self._dtype, count=int(lengths.sum()))
        self._array.write(every.tobytes())
        self._lengths.append(lengths)
        self._rows.write(rows.with_columns(tokens=pl.Series(lengths.astype(np.int64))).drop("text", IDS))

    def tell(self) -> int:
        return self._array.tell()

    def close(self) -> None:
        self._array.close()
        self._rows.close()
        lengths = np.concatenate([np.empty(0, np.int32), *self._lengths])
        pointers = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)[:-1]]) if len(lengths) else lengths
        with Path(f"{self._stem}.idx").open("wb") as file:
            file.write(_MAGIC + struct.pack("<QB", 1, _CODES[self._dtype]))
            file.write(struct.pack("<QQ", len(lengths), len(lengths) + 1))
            file.write(lengths.astype("<i4").tobytes())
            file.write((pointers * self._dtype.itemsize).astype("<i8").tobytes())
            file.write(np.arange(len(lengths) + 1, dtype="<i8").tobytes())
