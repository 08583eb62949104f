"""The processes that write to a data root, and the names that they give: no two meet in one.

A name is the token of its process and a number. What each process is, is noted below `.writers/` as long as it lives:
so a sweep knows whether somebody will still go on with a file that is half done, or that no commit names.
"""

from __future__ import annotations

import atexit
import json
import os
import uuid
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from quarry_dagster.processes import Fate, Process

if TYPE_CHECKING:
    from quarry_dagster.store.disk import Disk

TEMPORARY = ".tmp-"
"""How the name of a file begins that is being written."""
_FOLDER = ".writers"
_TOKEN = 8
"""Hex digits of a token."""


class Writers:
    """Those of one data root, this process among them."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._pid = -1
        self._token = ""
        self._number = 0

    def new_id(self) -> str:
        """A name that no other writer gives.

        Raises:
            StoreError: nothing can be written here; the message names the place.
        """
        if self._pid != os.getpid():  # the first, or the first after a fork
            token = uuid.uuid4().hex[:_TOKEN]
            self._note(token)
            self._pid, self._token, self._number = os.getpid(), token, 0
        self._number += 1
        return f"{self._token}-{self._number:x}"

    def fates(self) -> dict[str, Fate]:
        """What became of the processes that wrote here and have not ended properly, by token."""
        found: dict[str, Fate] = {}
        for path in self._disk.list(_FOLDER):
            with suppress(FileNotFoundError, ValueError):  # it ended just now; or a kill left half a note
                process = Process.of(json.loads(self._disk.read(path)))
                found[path.rpartition("/")[2]] = process.fate() if process else "unseen"
        return found

    def forget(self, tokens: list[str]) -> None:
        """Delete the notes of processes that left nothing."""
        self._disk.delete([f"{_FOLDER}/{token}" for token in tokens])

    def _note(self, token: str) -> None:
        """Note what this process is, on a disk, where a kill may leave something half done."""
        me = Process.this()
        if not self._disk.is_local or me is None:
            return
        path = Path(self._disk.full(f"{_FOLDER}/{token}"))
        with self._disk.told("write", f"{_FOLDER}/{token}"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(me.stored()))
        pid = os.getpid()
        atexit.register(lambda: path.unlink(missing_ok=True) if os.getpid() == pid else None)


def token_in(path: str) -> str | None:
    """The token of the process that gave a file, or a folder above it, its name; None where none did."""
    for part in reversed(path.split("/")):
        pieces = part.removeprefix(TEMPORARY).partition(".")[0].split("-")
        if len(pieces) >= 2 and len(pieces[-2]) == _TOKEN and all(map(_is_hex, pieces[-2:])):
            return pieces[-2]
    return None


def is_temporary(path: str) -> bool:
    """Whether a file is being written, or was left half done."""
    return path.rsplit("/", 1)[-1].startswith(TEMPORARY)


def _is_hex(text: str) -> bool:
    return bool(text) and not {*text} - {*"0123456789abcdef"}
