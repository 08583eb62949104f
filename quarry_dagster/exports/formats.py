"""The files that rows are written to, by format, cut into shards of bounded size."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import polars as pl

_SHARD = 450 * 2**20
"""Bytes after which a shard ends: below the 500 MB from which readers of datasets cut files themselves."""
_ROW_GROUP = 32 * 2**20
"""Bytes of rows that are collected for a row group, or a part of JSON lines."""


@dataclass(frozen=True)
class File:
    """A file of an export."""

    path: str
    """Relative to the export."""
    rows: int | None
    """None for one that holds no rows."""
    bytes: int
    sha256: str


class Writer(Protocol):
    """Writes the rows of one shard to files of one stem; the first of its suffixes is of the file that has the rows."""

    @property
    def suffixes(self) -> tuple[str, ...]: ...

    def write(self, rows: pl.DataFrame) -> None: ...

    def tell(self) -> int:
        """Bytes of its largest file so far."""
        ...

    def close(self) -> None: ...


class ParquetWriter:
    """Parquet, zstd, with page indices."""

    suffixes = ("parquet",)

    def __init__(self, stem: Path, schema: pl.Schema) -> None:
        import pyarrow.parquet as pq

        self._file = Path(f"{stem}.parquet").open("wb")  # noqa: SIM115  # `close` closes it
        self._schema = pl.DataFrame(schema=schema).to_arrow(compat_level=pl.CompatLevel.oldest()).schema
        self._writer = pq.ParquetWriter(self._file, self._schema, compression="zstd", write_page_index=True)

    def write(self, rows: pl.DataFrame) -> None:
        self._writer.write_table(rows.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(self._schema))

    def tell(self) -> int:
        return self._file.tell()

    def close(self) -> None:
        self._writer.close()
        self._file.close()


class JsonWriter:
    """JSON lines, zstd, the fields named as the columns."""

    suffixes = ("jsonl.zst",)

    def __init__(self, stem: Path, schema: pl.Schema) -> None:
        self._under = Path(f"{stem}.jsonl.zst").open("wb")  # noqa: SIM115  # `close` closes it
        self._file = _zstd().ZstdFile(self._under, "wb")

    def write(self, rows: pl.DataFrame) -> None:
        lines = (json.dumps(self.named(row), ensure_ascii=False, allow_nan=False) for row in rows.iter_rows(named=True))
        self._file.write("".join(f"{line}\n" for line in lines).encode("utf-8", "surrogatepass"))

    def tell(self) -> int:
        return self._under.tell()

    def close(self) -> None:
        self._file.close()
        self._under.close()

    @staticmethod
    def named(row: dict[str, Any]) -> dict[str, Any]:
        """The fields of a row."""
        own = json.loads(row["metadata"]) if row["metadata"] else None
        return row | {"fetched_at": _time(row["fetched_at"]), "metadata": own}


DOLMA = ("id", "text", "source", "added", "created", "metadata")
"""Dolma's fields."""


class DolmaWriter(JsonWriter):
    """JSON lines as Dolma has them (Soldaini et al. 2024): what has no field of its own is in `metadata`."""

    @staticmethod
    def named(row: dict[str, Any]) -> dict[str, Any]:
        fields = JsonWriter.named(row)
        facts = {name: value for name, value in fields.items() if name not in ("doc_id", "text", "fetched_at", "date")}
        values = row["doc_id"], row["text"], "quarry", fields["fetched_at"], row["date"], facts
        return dict(zip(DOLMA, values, strict=True))


WRITERS: Mapping[tuple[str, str], type[ParquetWriter | JsonWriter]] = {
    ("parquet", "quarry"): ParquetWriter,
    ("jsonl", "quarry"): JsonWriter,
    ("jsonl", "dolma"): DolmaWriter,
}
"""What writes a format of rows, by its names of fields."""


def split_of(path: str) -> str:
    """The split that a file with rows is of, by its path in the export."""
    return re.split("[-/]", path, maxsplit=2)[1]


def read_ids(path: str, named: str) -> list[str]:
    """The ids of the documents in a file; `named` is its path in the export."""
    if named.endswith(".md"):
        return [Path(named).stem]
    if named.endswith(".parquet"):
        return pl.read_parquet(path, columns=["doc_id"])["doc_id"].to_list()
    with _zstd().open(path, "rt", encoding="utf-8") as lines:
        rows = map(json.loads, lines)
        return [row.get("doc_id") or row["id"] for row in rows]


def _zstd() -> Any:
    return import_module("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")


class Shards:
    """The shards of one split: `data/NAME-00000-of-00003.SUFFIX`; `make` opens a writer of a stem."""

    def __init__(self, folder: Path, name: str, make: Callable[[Path], Writer], size: int = _SHARD) -> None:
        self._folder, self._name, self._make, self._size = folder, name, make, size
        self._waiting: list[pl.DataFrame] = []
        self._bytes = 0
        self._open: Writer | None = None
        self._suffixes: tuple[str, ...] = ()
        self._rows: list[int] = []

    def write(self, rows: pl.DataFrame) -> None:
        """Add rows; they come out in the order in which they came."""
        self._waiting.append(rows)
        self._bytes += rows.estimated_size()
        if self._bytes >= _ROW_GROUP:
            self._flush()

    def close(self) -> list[File]:
        """End the last shard; returns all files, in order."""
        if self._waiting:
            self._flush()
        self._end()
        count = len(self._rows)
        files = []
        for at, rows in enumerate(self._rows):
            for suffix in self._suffixes:
                path = f"data/{self._name}-{at:05}-of-{count:05}.{suffix}"
                Path(f"{self._part(at)}.{suffix}").rename(self._folder / path)
                files.append(described(self._folder, path, rows if suffix == self._suffixes[0] else None))
        return files

    def _flush(self) -> None:
        rows = pl.concat(self._waiting)
        self._waiting, self._bytes = [], 0
        if self._open is None:
            part = self._part(len(self._rows))
            part.parent.mkdir(parents=True, exist_ok=True)
            self._open = self._make(part)
            self._suffixes = self._open.suffixes
            self._rows.append(0)
        self._open.write(rows)
        self._rows[-1] += rows.height
        if self._open.tell() >= self._size:
            self._end()

    def _end(self) -> None:
        if self._open:
            self._open.close()
            self._open = None

    def _part(self, at: int) -> Path:
        return self._folder / "data" / f"{self._name}.{at}.part"


def described(folder: Path, path: str, rows: int | None = None) -> File:
    """What a manifest says of a file that is written."""
    whole = folder / path
    with whole.open("rb") as f:
        return File(path, rows, whole.stat().st_size, hashlib.file_digest(f, "sha256").hexdigest())


def _time(value: datetime | None) -> str | None:
    return value.strftime("%Y-%m-%dT%H:%M:%SZ") if value else None
