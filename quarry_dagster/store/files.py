"""Files below the data root: written whole or not at all, on a local path or any fsspec URL.

Here belongs what differs between a local disk and an object store. What the files mean (tables, snapshots)
belongs to the modules beside this one.
"""

from __future__ import annotations

import errno
import json
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, BinaryIO, cast

import fsspec
import polars as pl

from quarry_dagster.errors import StoreError

# pyarrow takes as long to load as polars, and a local corpus is read without it: it loads on first use.
if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

_TEMPORARY = ".tmp-"
_MAGIC = b"PAR1"
"""How a Parquet file ends, unless it was cut off."""
_FULL = tuple(os.strerror(e) for e in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG))
"""What the system says where no more fits on a disk; libraries pass it on in errors of many kinds."""


class Files:
    """The files below one data root; every `path` is relative to it, with forward slashes.

    Raises:
        StoreError: the root cannot be created or reached.
    """

    def __init__(self, root: str) -> None:
        scheme, separator, path = root.rpartition("://")
        self.root = f"{scheme}{separator}{path.rstrip('/') or path[:1]}"
        try:
            fs, base = fsspec.url_to_fs(self.root)
        except (ImportError, ValueError) as e:
            raise StoreError(f"data root {root!r} cannot be opened: {e}") from e
        self.fs: fsspec.AbstractFileSystem = fs
        self._base: str = base.rstrip("/")
        self.is_local = "file" in ((fs.protocol,) if isinstance(fs.protocol, str) else fs.protocol)

    def __repr__(self) -> str:
        return f"Files({self.root!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Files) and self.root == other.root

    def __hash__(self) -> int:
        return hash(self.root)

    def full(self, path: str) -> str:
        """The path as the file system knows it."""
        return f"{self._base}/{path}" if path else self._base

    def url(self, path: str) -> str:
        """The path as a person or another tool would name it."""
        return self.full(path) if self.is_local else self.fs.unstrip_protocol(self.full(path))

    def exists(self, path: str) -> bool:
        return self.fs.exists(self.full(path))

    def size(self, path: str) -> int:
        """Bytes of a file."""
        return int(self.fs.size(self.full(path)) or 0)

    def list(self, folder: str) -> list[str]:
        """Every file below a folder, sorted; none where there is no folder.

        Files that are still being written are left out.
        """
        if not self.is_local:
            return list(self.details(folder))
        # Thrice as fast as fsspec, which asks for each file's size and times as well.
        found = (f"{place}/{name}" for place, _, names in os.walk(self.full(folder)) for name in names)
        start = len(self._base) + 1
        return sorted(path[start:] for path in found if not _is_temporary(path))

    def details(self, folder: str) -> dict[str, dict[str, Any]]:
        """The same files by path, with what fsspec says of each."""
        self.fs.invalidate_cache()
        found: dict[str, dict[str, Any]] = self.fs.find(self.full(folder), detail=True)  # pyright: ignore[reportAssignmentType]
        start = len(self._base) + 1
        return {path[start:]: info for path, info in sorted(found.items()) if not _is_temporary(path)}

    @contextmanager
    def open(self, path: str) -> Iterator[BinaryIO]:
        """A seekable binary file to read.

        Raises:
            StoreError: it may not be read; the message names it.
        """
        try:
            full = self.full(path)  # of a local file fsspec would make one that takes longer to open and to read
            with Path(full).open("rb") if self.is_local else self.fs.open(full, "rb") as f:
                yield cast(BinaryIO, f)
        except PermissionError as e:
            raise self._locked(path) from e

    @contextmanager
    def create(self, path: str) -> Iterator[IO[bytes]]:
        """A binary file that appears under `path` whole when the block ends, and not at all when it raises.

        Raises:
            StoreError: the place cannot be written, or the disk is full; the message names it.
        """
        if not self.is_local:
            # Written here first and sent whole: an object store shows an object once its upload is complete.
            with tempfile.NamedTemporaryFile(prefix=_TEMPORARY) as f:
                yield f
                f.flush()
                self.fs.makedirs(self.full(path).rsplit("/", 1)[0], exist_ok=True)
                self.fs.put_file(f.name, self.full(path))
            return
        target = Path(self.full(path))
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(prefix=_TEMPORARY, dir=target.parent)
        except OSError as e:
            raise StoreError(
                f"cannot write {target}: {e.strerror or e}; make the data root writable, "
                "or name another with --data or QUARRY_DATA"
            ) from e
        try:
            with os.fdopen(handle, "wb") as f:
                yield f
                f.flush()
                os.fsync(f.fileno())
            Path(name).chmod(0o644)
            Path(name).replace(target)
        except BaseException as e:
            Path(name).unlink(missing_ok=True)
            if any(full in str(e) for full in _FULL):
                raise StoreError(f"cannot write {target}: {e}; make room there and run again") from e
            raise

    @contextmanager
    def local(self, path: str) -> Iterator[str]:
        """The local path of a file; one of an object store is copied here until the block ends."""
        if self.is_local:
            yield self.full(path)
            return
        with tempfile.NamedTemporaryFile(prefix=_TEMPORARY) as f:
            self.fs.get_file(self.full(path), f.name)
            yield f.name

    def delete(self, paths: Sequence[str]) -> None:
        """Delete files; one that is gone already is no error."""
        for path in paths:
            try:
                self.fs.rm(self.full(path))
            except FileNotFoundError:
                continue

    def delete_folder(self, path: str) -> None:
        """Delete a folder and all in it; one that is gone already is no error."""
        with suppress(FileNotFoundError):
            self.fs.rm(self.full(path), recursive=True)

    def read_json(self, path: str) -> Any:
        """What a JSON file holds.

        Raises:
            StoreError: it is damaged; the message names it.
        """
        with self.open(path) as f:
            try:
                return json.load(f)
            except ValueError as e:
                raise self.damaged(path, "it is no JSON") from e

    def write_json(self, path: str, value: Any) -> None:
        with self.create(path) as f:
            f.write(json.dumps(value, indent=1, sort_keys=True).encode())

    def write_frame(self, path: str, frame: pl.DataFrame) -> None:
        """Write a small table as Parquet."""
        with self.create(path) as f:
            frame.write_parquet(f, compression="zstd")

    def scan(self, paths: Sequence[str], schema: pl.Schema) -> pl.LazyFrame:
        """A lazy table over Parquet files of one schema; no files give an empty table.

        A column that the schema was given after a file was written is null there; one that it lost is left out.

        Raises:
            StoreError: a file on a local disk was cut off; the message names it.
        """
        if not paths:
            return pl.LazyFrame(schema=schema)
        full = [self.full(p) for p in paths]
        if self.is_local:
            for path in paths:
                self._check_end(path)  # polars would not say which file it is
            return pl.scan_parquet(full, glob=False, schema=schema, missing_columns="insert", extra_columns="ignore")
        import pyarrow.dataset

        # polars reads some clouds itself, but not every fsspec file system and not with its credentials.
        files = pyarrow.dataset.dataset(full, schema=arrow_schema(schema), filesystem=self.fs, format="parquet")
        return pl.scan_pyarrow_dataset(files)

    @contextmanager
    def parquet(self, path: str) -> Iterator[pq.ParquetFile]:
        """A Parquet file to read in batches.

        Raises:
            StoreError: it is damaged; the message names it.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        with self.open(path) as f:
            try:
                yield pq.ParquetFile(f, pre_buffer=not self.is_local)  # it pays where a request takes long
            except (pa.ArrowException, OSError) as e:
                if isinstance(e, pa.ArrowException) or type(e) is OSError:  # others are of the network
                    raise self.damaged(path, e) from e
                raise

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Hold a lock of this data root, among the processes of this machine; waits for it.

        On an object store nothing is locked: let one machine at a time write there.
        """
        if not self.is_local:
            yield
            return
        from filelock import FileLock

        path = Path(self.full(f".locks/{name}"))
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path):
            yield

    def sweep(self, folder: str, older_than: float = 3600) -> None:
        """Delete what killed writers left unfinished in a local folder and have not touched for so many seconds."""
        if not self.is_local:
            return
        for path in Path(self.full(folder)).rglob(f"{_TEMPORARY}*"):
            with suppress(FileNotFoundError):  # its writer finished just now
                if time.time() - path.stat().st_mtime >= older_than:
                    path.unlink()

    def _check_end(self, path: str) -> None:
        try:
            handle = os.open(self.full(path), os.O_RDONLY)
        except PermissionError as e:
            raise self._locked(path) from e
        try:
            end = os.pread(handle, len(_MAGIC), max(0, os.fstat(handle).st_size - len(_MAGIC)))
        finally:
            os.close(handle)
        if end != _MAGIC:
            raise self.damaged(path, "its end is missing")

    def _locked(self, path: str) -> StoreError:
        return StoreError(f"cannot read {self.url(path)}: make it readable for the user that runs this")

    def damaged(self, path: str, why: object) -> StoreError:
        """What to raise for a file that is not as it was written."""
        return StoreError(
            f"{self.url(path)} is damaged ({why}): restore it from a backup; what can be deleted, to be made again, "
            "stands in docs/operate.md under 'A damaged file'"
        )


def arrow_schema(schema: pl.Schema) -> pa.Schema:
    """The schema as it is written to Parquet."""
    return pl.DataFrame(schema=schema).to_arrow(compat_level=pl.CompatLevel.oldest()).schema


def _is_temporary(path: str) -> bool:
    return path.rsplit("/", 1)[-1].startswith(_TEMPORARY)
