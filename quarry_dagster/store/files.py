"""The files of a data root, and the log that names them: what is read is compared with what was written.

The log knows the size and the SHA-256 of every file that it names. The size is compared whenever a file is opened, the
checksum of each page of a Parquet file when it is read (:mod:`quarry_dagster.store.verified`), the digest by
:meth:`Files.verify`.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, BinaryIO

import polars as pl

from quarry_dagster.store.disk import Disk, Written
from quarry_dagster.store.log import Log
from quarry_dagster.store.state import Line, State

# pyarrow takes as long to load as polars: it loads when a table is read.
if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

_LOGS: dict[str, Log] = {}
"""One for each data root that this process works with: nobody reads it from its beginning twice."""


class Files(Disk):
    """The files below one data root; every `path` is relative to it, with forward slashes.

    Raises:
        StoreError: the root cannot be reached.
    """

    @property
    def log(self) -> Log:
        """The log of this data root."""
        key = str(Path(self.full("")).absolute()) if self.is_local else self.root
        if key not in _LOGS:
            from quarry_dagster.store import before

            _LOGS[key] = Log(self, lambda: before.read(self), lambda: before.mark(self))
        return _LOGS[key]

    def state(self) -> State:
        """What the log says now."""
        return self.log.state()

    @contextmanager
    def create(self, path: str) -> Iterator[Written]:
        """As :meth:`Disk.create`; what was written is remembered for :meth:`lines`."""
        with super().create(path) as file:
            yield file
        _WRITTEN[self.root, path] = file.bytes, file.sha256

    def lines(self, paths: Sequence[str], state: State) -> list[Line]:
        """The lines that name files which are no partitions, of those among these that the log does not name yet."""
        found: list[Line] = []
        for path in dict.fromkeys(paths):
            if path not in state.files:
                size, sha256 = _WRITTEN.get((self.root, path)) or (self.size(path), None)
                found.append({"add": {"path": path, "bytes": size, "sha256": sha256}})
        return found

    def write_json(self, path: str, value: Any) -> None:
        with self.create(path) as f:
            f.write(json.dumps(value, indent=1, sort_keys=True).encode())

    def write_frame(self, path: str, frame: pl.DataFrame) -> None:
        """Write a small table as Parquet."""
        import pyarrow.parquet as pq

        from quarry_dagster.store import verified

        with self.create(path) as f:
            table = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
            table = table.replace_schema_metadata({verified.PATH_KEY: path.encode()})
            pq.write_table(table, f, compression="zstd", write_page_checksum=True)  # pyright: ignore[reportArgumentType]

    def scan(self, paths: Sequence[str], schema: pl.Schema) -> pl.LazyFrame:
        """A lazy table over Parquet files of one schema; no files give an empty table.

        A column that the schema was given after a file was written is null there; one that it lost is left out. A file
        that is not as it was written raises a StoreError when it is read, so within `collect()`.
        """
        from quarry_dagster.store import verified

        if not paths:
            return pl.LazyFrame(schema=schema)
        sizes = self.state().sizes(paths)
        return verified.lazy(lambda path: self._parquet(path, sizes.get(path)), paths, schema)

    @contextmanager
    def parquet(self, path: str) -> Iterator[pq.ParquetFile]:
        """A Parquet file to read in batches.

        Raises:
            FileNotFoundError: there is none.
            StoreError: it is damaged; the message names it.
        """
        with self._parquet(path, self.state().sizes([path]).get(path)) as f:
            yield f

    def content(self, path: str) -> bytes:
        """All that a file of the log holds, compared with the digest that it was written with.

        Raises:
            StoreError: it is gone or damaged; the message names it.
        """
        try:
            content = self.read(path)
        except FileNotFoundError as e:
            raise self.damaged(path, "it is gone") from e
        size, sha256 = self.state().files.get(path) or (None, None)
        if size is not None and len(content) != size:
            raise self.damaged(path, f"it has {len(content):,} bytes, and was written with {size:,}")
        if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
            raise self.damaged(path, "its content is not what was written")
        return content

    def frame(self, path: str, schema: pl.Schema) -> pl.DataFrame:
        """A small table that the log names as a file.

        Raises:
            StoreError: it is gone or damaged; the message names it.
        """
        return pl.read_parquet(io.BytesIO(self.content(path)), schema=schema)

    def verify(self, path: str, size: int | None, sha256: str | None) -> str | None:
        """Compare a whole file with what was written; returns what is wrong, None where nothing is."""
        digest, found = hashlib.sha256(), 0
        try:
            with self.open(path) as f:
                while block := f.read(1 << 20):
                    digest.update(block)
                    found += len(block)
        except FileNotFoundError:
            return "it is gone"
        if size is not None and found != size:
            return f"it has {found:,} bytes, and was written with {size:,}"
        if sha256 is not None and digest.hexdigest() != sha256:
            return "its content is not what was written"
        return None

    @contextmanager
    def _parquet(self, path: str, size: int | None) -> Iterator[pq.ParquetFile]:
        from quarry_dagster.store import verified

        try:
            with self.open(path) as f:
                self._check_size(f, path, size)
                with verified.parquet_file(f, pre_buffer=not self.is_local) as file:  # it pays where a request is slow
                    if (said := verified.said_path(file)) not in (None, path):
                        raise self.damaged(path, f"it is another file, written as {said}")
                    yield file
        except FileNotFoundError as e:
            raise self.damaged(path, "it is gone; or a reader was so slow that it was swept: try again") from e
        except Exception as e:
            if verified.is_damage(e):
                raise self.damaged(path, e) from e
            raise

    def _check_size(self, file: BinaryIO | IO[bytes], path: str, size: int | None) -> None:
        if size is None:
            return
        found = os.fstat(file.fileno()).st_size if self.is_local else file.seek(0, io.SEEK_END)
        if found != size:
            raise self.damaged(path, f"it has {found:,} bytes, and was written with {size:,}")
        if not self.is_local:
            file.seek(0)


_WRITTEN: dict[tuple[str, str], tuple[int, str]] = {}
"""Bytes and SHA-256 of what this process wrote and the log may not name yet, by root and path."""


def arrow_schema(schema: pl.Schema) -> pa.Schema:
    """The schema as it is written to Parquet."""
    return pl.DataFrame(schema=schema).to_arrow(compat_level=pl.CompatLevel.oldest()).schema
