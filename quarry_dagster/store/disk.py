"""The disk or object store below one data root: files that appear whole or not at all, and names given once.

Here belongs what differs between a local disk and an object store. What the files mean belongs to the modules beside
this one.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import fsspec

from quarry_dagster.errors import StoreError
from quarry_dagster.store.faults import in_our_words
from quarry_dagster.store.writers import TEMPORARY, Writers, is_temporary

log = logging.getLogger("quarry_dagster")

_FLAT = {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "oci", "oss", "memory"}
"""Stores without folders; to make one there would make a bucket, which is its owner's business."""
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK, errno.EXDEV)


class Written:
    """A file that is being written: counts and digests what goes into it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self._abandoned = False
        self.bytes = 0

    def write(self, data: Any) -> int:
        size = memoryview(data).nbytes
        if self._abandoned:
            return size
        self._digest.update(data)
        written = self._file.write(data)
        self.bytes += size
        return written

    def abandon(self) -> None:
        """Drop what is written from now on: a Parquet writer that is let go still writes the end of its file."""
        self._abandoned = True

    def flush(self) -> None:
        if not self._abandoned:
            self._file.flush()

    def tell(self) -> int:
        return self.bytes

    def close(self) -> None:
        """The file is closed by whoever opened it."""

    @property
    def closed(self) -> bool:
        return self._file.closed

    def writable(self) -> bool:
        return True

    def readable(self) -> bool:
        return False

    def seekable(self) -> bool:
        return False

    @property
    def sha256(self) -> str:
        """In hex, of what was written so far."""
        return self._digest.hexdigest()


@contextmanager
def _abandoned_when_it_fails(written: Written) -> Iterator[Written]:
    try:
        yield written
    except BaseException:
        written.abandon()
        raise


class Disk:
    """The files below one data root; every `path` is relative to it, with forward slashes.

    Raises:
        StoreError: the root cannot be reached.
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
        self._protocols = {fs.protocol} if isinstance(fs.protocol, str) else {*fs.protocol}
        self.is_local = "file" in self._protocols

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.root!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Disk) and self.root == other.root

    def __hash__(self) -> int:
        return hash(self.root)

    def full(self, path: str) -> str:
        """The path as the file system knows it."""
        return f"{self._base}/{path}" if path else self._base

    def url(self, path: str) -> str:
        """The path as a person or another tool would name it."""
        return self.full(path) if self.is_local else self.fs.unstrip_protocol(self.full(path))

    def exists(self, path: str) -> bool:
        if self.is_local:  # fsspec takes some characters of a name for a pattern
            return Path(self.full(path)).exists()
        with self.told("read", path):
            self._forget_listings(path)
            return self.fs.exists(self.full(path))

    def size(self, path: str) -> int:
        """Bytes of a file."""
        return Path(self.full(path)).stat().st_size if self.is_local else int(self.fs.size(self.full(path)) or 0)

    def list(self, folder: str) -> list[str]:
        """Every file below a folder, sorted; none where there is no folder.

        Files that are still being written are left out.
        """
        return sorted(path for path in self.all(folder) if not is_temporary(path))

    def all(self, folder: str, *, deep: bool = True) -> Iterator[str]:
        """Yield every file below a folder, those that are still being written too; not `deep`: those right in it."""
        if not self.is_local:
            self.fs.invalidate_cache()
            start = len(self._base) + 1
            depth = None if deep else 1
            with self.told("read", folder):
                yield from (str(path)[start:] for path in self.fs.find(self.full(folder), maxdepth=depth))
            return
        start = len(self._base) + 1

        def refuse(error: OSError) -> None:
            if not isinstance(error, FileNotFoundError):
                raise in_our_words(error, "read", str(error.filename)) or error

        # Thrice as fast as fsspec, which asks for each file's size and times as well.
        for place, folders, names in os.walk(self.full(folder), onerror=refuse):
            yield from (f"{place}/{name}"[start:] for name in names)
            if not deep:
                folders.clear()

    def details(self, folder: str) -> dict[str, dict[str, Any]]:
        """The files of :meth:`list` by path, with what fsspec says of each."""
        self.fs.invalidate_cache()
        found: dict[str, dict[str, Any]] = self.fs.find(self.full(folder), detail=True)  # pyright: ignore[reportAssignmentType]
        start = len(self._base) + 1
        return {path[start:]: info for path, info in sorted(found.items()) if not is_temporary(path)}

    def age(self, path: str) -> float | None:
        """Seconds since a file was written; None where it is gone, or that is not known."""
        try:
            if self.is_local:
                return time.time() - Path(self.full(path)).lstat().st_mtime
            return time.time() - self.fs.modified(self.full(path)).timestamp()
        except (FileNotFoundError, NotImplementedError):
            return None

    @contextmanager
    def open(self, path: str) -> Iterator[BinaryIO]:
        """A seekable binary file to read.

        Raises:
            FileNotFoundError: there is none.
            StoreError: it cannot be read; the message names it.
        """
        with self.told("read", path):
            full = self.full(path)  # of a local file fsspec would make one that takes longer to open and to read
            with Path(full).open("rb") if self.is_local else self.fs.open(full, "rb") as f:
                yield cast(BinaryIO, f)

    def read(self, path: str) -> bytes:
        """All that a small file holds, as it is now: no listing that is remembered is asked.

        Raises:
            FileNotFoundError: there is none.
            StoreError: it cannot be read; the message names it.
        """
        with self.told("read", path):
            full = self.full(path)
            return Path(full).read_bytes() if self.is_local else cast(bytes, self.fs.cat_file(full))

    @contextmanager
    def create(self, path: str) -> Iterator[Written]:
        """A binary file that appears under `path` whole when the block ends, and not at all when it raises.

        Raises:
            StoreError: the place cannot be written, or the disk is full; the message names it.
        """
        if not self.is_local:
            # Written here first and sent whole: an object store shows an object once its upload is complete.
            with tempfile.NamedTemporaryFile(prefix=TEMPORARY) as f:
                with _abandoned_when_it_fails(Written(cast(IO[bytes], f))) as written:
                    yield written
                f.flush()
                with self.told("write", path):
                    self._folder_of(path)
                    self.fs.put_file(f.name, self.full(path))
            return
        target = Path(self.full(path))
        with self.told("write", path):
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary = target.with_name(f"{TEMPORARY}{self.new_id()}")
            file = temporary.open("xb")
        try:
            with file, _abandoned_when_it_fails(Written(file)) as written:
                yield written
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(target)
        except BaseException as e:
            temporary.unlink(missing_ok=True)
            # That a file is not there is of what the block read.
            if not isinstance(e, FileNotFoundError) and (told := in_our_words(e, "write", self.url(path))):
                raise told from e
            raise

    def create_once(self, path: str, content: bytes) -> bool:
        """Write a small file where there is none of that name; returns False where there is one.

        Of two writers one succeeds, whatever machines they are on.

        Raises:
            StoreError: the place cannot be written; the message names it.
        """
        with self.told("write", path):
            return self._put(path, content)

    def put(self, path: str, content: bytes) -> None:
        """Put a small file in the place of what is there; it need not outlive a crash of the machine."""
        with self.told("write", path):
            if not self.is_local:
                self.fs.pipe_file(self.full(path), content)
                return
            target = Path(self.full(path))
            temporary = target.with_name(f"{TEMPORARY}{self.new_id()}")
            try:
                temporary.write_bytes(content)
                temporary.replace(target)
            finally:
                temporary.unlink(missing_ok=True)

    def delete(self, paths: Sequence[str]) -> None:
        """Delete files; one that is gone already is no error."""
        for path in paths:
            with suppress(FileNotFoundError), self.told("delete", path):
                if self.is_local:
                    Path(self.full(path)).unlink()
                else:
                    self.fs.rm_file(self.full(path))

    @contextmanager
    def local(self, path: str) -> Iterator[str]:
        """The local path of a file; one of an object store is copied here until the block ends."""
        if self.is_local:
            yield self.full(path)
            return
        with tempfile.NamedTemporaryFile(prefix=TEMPORARY) as f:
            with self.told("read", path):
                self.fs.get_file(self.full(path), f.name)
            yield f.name

    def read_json(self, path: str) -> Any:
        """What a JSON file holds.

        Raises:
            FileNotFoundError: there is none.
            StoreError: it is damaged; the message names it.
        """
        try:
            return json.loads(self.read(path))
        except ValueError as e:
            raise self.damaged(path, "it is no JSON") from e

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Hold a lock of this data root, among the processes of this machine; waits for it.

        It spares work that would be done twice: what keeps two writers from each other is the log. On an object store
        nothing is locked.
        """
        if not self.is_local:
            yield
            return
        from filelock import FileLock

        path = Path(self.full(f".locks/{name}"))
        with self.told("write", f".locks/{name}"):
            path.parent.mkdir(parents=True, exist_ok=True)
            held = FileLock(path)
            held.acquire()
        try:
            yield
        finally:
            held.release()

    def new_id(self) -> str:
        """A name that no other writer gives, to be a part of a file's name."""
        return self.writers.new_id()

    @cached_property
    def writers(self) -> Writers:
        """The processes that write here."""
        return Writers(self)

    @property
    def has_single_names(self) -> bool:
        """Whether of two writers of one name only one succeeds here."""
        return self._way != "unchecked"

    def _put(self, path: str, content: bytes) -> bool:
        full = self.full(path)
        way = self._way
        if way == "link":
            temporary = Path(self.full(f"{path.rpartition('/')[0]}/{TEMPORARY}{self.new_id()}"))
            try:
                with temporary.open("xb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                os.link(temporary, full)
            except FileExistsError:
                return False
            finally:
                temporary.unlink(missing_ok=True)
            _sync_folder(Path(full).parent)
            return True
        if way == "exclusive":
            try:
                handle = os.open(full, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
            except FileExistsError:
                return False
            with os.fdopen(handle, "wb", buffering=0) as file:
                file.write(content)
                os.fsync(file.fileno())
            return True
        if way == "create":
            try:
                self.fs.pipe_file(full, content, mode="create")
            except FileExistsError:
                return False
            return True
        if self.exists(path):
            return False
        self.fs.pipe_file(full, content)
        return True

    @cached_property
    def _way(self) -> str:
        """How a name is given once here: found out by giving one twice."""
        folder = "log"
        if self.is_local:
            Path(self.full(folder)).mkdir(parents=True, exist_ok=True)
            probe = Path(self.full(f"{folder}/{TEMPORARY}{self.new_id()}"))
            probe.write_bytes(b"")
            twin = probe.with_name(f"{TEMPORARY}{self.new_id()}")
            try:
                os.link(probe, twin)
            except OSError as e:
                if e.errno not in _NO_LINKS:
                    raise
                return "exclusive"
            finally:
                probe.unlink(missing_ok=True)
                twin.unlink(missing_ok=True)
            return "link"
        self._folder_of(f"{folder}/x")
        probe = self.full(f"{folder}/{TEMPORARY}{uuid.uuid4().hex}")
        try:
            self.fs.pipe_file(probe, b"1", mode="create")
            try:
                self.fs.pipe_file(probe, b"2", mode="create")
            except FileExistsError:
                return "create"
        except (NotImplementedError, TypeError, ValueError):
            pass  # this file system knows no such mode
        finally:
            with suppress(FileNotFoundError):
                self.fs.rm_file(probe)
        log.warning(
            "%s does not keep two writers of one name apart: let one process at a time write to this data root",
            self.url(""),
        )
        return "unchecked"

    def _folder_of(self, path: str) -> None:
        if not self._protocols & _FLAT:
            self.fs.makedirs(self.full(path).rsplit("/", 1)[0], exist_ok=True)

    def _forget_listings(self, path: str) -> None:
        """Have the file system ask anew: another process may have written since it last listed the folder."""
        self.fs.invalidate_cache(self.full(path).rpartition("/")[0])

    @contextmanager
    def told(self, what: str, path: str) -> Iterator[None]:
        """Say in our words what the system says; that there is no such file is for the caller."""
        try:
            yield
        except FileNotFoundError:
            if what != "write":
                raise
            raise StoreError(f"cannot write {self.url(path)}: its folder, or bucket, is not there; make it") from None
        except Exception as e:
            if told := in_our_words(e, what, self.url(path)):
                raise told from e
            raise

    def damaged(self, path: str, why: object) -> StoreError:
        """What to raise for a file that is not as it was written."""
        return StoreError(f"{self.url(path)} is damaged ({why}): {self.remedy(path)}")

    @staticmethod
    def remedy(path: str) -> str:
        """What to do about a damaged file, by the folder that it lies in."""
        if path.partition("/")[0] in _MADE_AGAIN:
            return f"restore it from a backup, or have it made again: {DEEP_FIRST}quarry run"
        return "restore it from a backup; docs/operate.md says more under 'A damaged file'"


def _sync_folder(folder: Path) -> None:
    """Have the names in a folder on the disk, and not only in memory."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


DEEP_FIRST = "quarry check --deep, then "
"""What says which partitions are damaged, so that the next run makes them again."""
_MADE_AGAIN = (
    *("raw_pages", "extracted_text", "page_metadata", "personal_data", "quality_signals"),
    *("embeddings", "sketches", "problems", "consent", "faiss_index", "deduped_corpus"),
)
"""Folders of what can be made again from what is before it."""
