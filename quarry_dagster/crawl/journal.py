"""The responses of a crawl on disk, as they come: a killed crawl goes on where it was.

A file an attempt, only appended to, so that a kill costs at most its last record. Its writer holds a lock on it; a
file without one was left by a killed attempt, and is taken over. A record is the lengths of its two parts, the
response's facts as JSON, its body, and a checksum. Columnar formats cost five times as much a page here.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import struct
import time
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import fields
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from quarry_dagster.crawl.model import Response

STALE_AFTER = 24 * 3600.0
"""Seconds after which what a killed crawl fetched is fetched again."""

_FACTS = [field.name for field in fields(Response) if field.name not in ("fetched_at", "body", "hops")]
_LENGTHS = struct.Struct(">Iq")
_CHECKSUM = struct.Struct(">I")
_NO_BODY = -1


class Journal:
    """The journal of one crawl, in a folder of its own.

    `crawl` names what its responses depend on; what was recorded under another name is not taken over.

    Raises:
        OSError: the folder cannot be written.
    """

    def __init__(self, folder: Path, crawl: str) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        prefix = hashlib.sha256(crawl.encode()).hexdigest()[:16]
        self._taken_over: list[BinaryIO] = []
        for path in sorted(folder.glob("*.journal")):
            with suppress(FileNotFoundError):  # deleted by the crawl that it is of
                file = path.open("rb")
                if not _lock(file):
                    file.close()
                elif path.name.startswith(prefix) and time.time() - path.stat().st_mtime < STALE_AFTER:
                    self._taken_over.append(file)
                else:
                    path.unlink()
                    file.close()
        self._file = (folder / f"{prefix}-{time.time_ns()}.journal").open("xb")
        _lock(self._file)

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        for file in (self._file, *self._taken_over):
            file.close()

    def append(self, response: Response) -> None:
        """Record a response; once this returns, killing the process does not lose it."""
        facts = {name: getattr(response, name) for name in _FACTS} | {"fetched_at": response.fetched_at.isoformat()}
        head = json.dumps(facts).encode()
        body = response.body
        start = _LENGTHS.pack(len(head), _NO_BODY if body is None else len(body)) + head
        checksum = _CHECKSUM.pack(zlib.crc32(body or b"", zlib.crc32(start)))
        for part in (start, body or b"", checksum):
            self._file.write(part)
        self._file.flush()  # to the system, which a killed process does not take with it

    def done(self) -> set[str]:
        """URLs whose responses are recorded, by killed attempts too."""
        return {response.url for response in self.responses()}

    def responses(self) -> Iterator[Response]:
        """What was recorded, by killed attempts too; one body at a time is in memory."""
        for file in self._taken_over:
            yield from _read(file)
        with Path(self._file.name).open("rb") as file:
            yield from _read(file)

    def delete(self) -> None:
        """The responses are where they belong: this journal is not needed any more."""
        for file in (self._file, *self._taken_over):
            Path(file.name).unlink(missing_ok=True)
        with suppress(OSError):  # another crawl has its journal there
            self._folder.rmdir()


def forget_journals(folder: Path) -> None:
    """Delete what killed crawls left in the folders below this one; crawls under way keep theirs."""
    for path in folder.glob("*/*.journal"):
        with suppress(FileNotFoundError), path.open("rb") as file:
            if _lock(file):
                path.unlink()


def _lock(file: BinaryIO) -> bool:
    """Lock the file, unless its writer lives."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read(file: BinaryIO) -> Iterator[Response]:
    """The records up to the first that a kill or a lost disk block left incomplete."""
    end = file.seek(0, 2)
    file.seek(0)
    while len(start := file.read(_LENGTHS.size)) == _LENGTHS.size:
        head_size, body_size = _LENGTHS.unpack(start)
        size = head_size + max(0, body_size)
        if size + _CHECKSUM.size > end - file.tell():
            return
        record = file.read(size)
        if file.read(_CHECKSUM.size) != _CHECKSUM.pack(zlib.crc32(record, zlib.crc32(start))):
            return
        facts = json.loads(record[:head_size])
        facts["fetched_at"] = datetime.fromisoformat(facts["fetched_at"])
        facts["headers"] = tuple((name, value) for name, value in facts["headers"])
        yield Response(**facts, body=None if body_size == _NO_BODY else record[head_size:])
