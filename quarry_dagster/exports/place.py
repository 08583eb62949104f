"""Where an export is written: whole, or not at all, and never over what somebody else put there."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from quarry_dagster.errors import ConfigError
from quarry_dagster.store.disk import Disk

MANIFEST = "manifest.json"
MADE_BY = "quarry-dagster"
"""How the field `made_by` of a manifest begins."""
_LOCK = ".lock"
_TOLD = 5
"""So many files are named."""


class Place:
    """A folder, or a prefix of an object store, that one export has for itself.

    On a disk it is made beside the folder, in `.NAME.quarry-export`, and changes places with what was there. A link is
    followed.
    """

    def __init__(self, to: str) -> None:
        self.disk = Disk(to)
        if self.disk.is_local:
            self.disk = Disk(str(Path(self.disk.full("")).resolve()))

    @property
    def name(self) -> str:
        """How it is told."""
        return self.disk.url("")

    def earlier(self) -> dict[str, Any] | None:
        """The manifest of the export that is there; None where there is nothing.

        Raises:
            ConfigError: something is there, and it is no export.
            StoreError: the place cannot be read.
        """
        self._take_back()
        if self.disk.is_local and (at := Path(self.disk.full(""))).exists() and not at.is_dir():
            raise ConfigError(f"{at} is a file: name a folder")
        if not self.disk.exists(""):
            return None
        if not self.disk.exists(MANIFEST):
            if any(True for _ in self.disk.all("")):
                raise ConfigError(f"{self.name} holds files that are no export: name a new folder, or empty this one")
            return None
        with self.disk.told("read", MANIFEST):
            try:
                found = json.loads(self.disk.read(MANIFEST))
            except ValueError:
                found = None
        if not isinstance(found, dict) or not str(found.get("made_by", "")).startswith(MADE_BY):
            raise ConfigError(f"{self.disk.url(MANIFEST)} is no manifest of an export: name a new folder")
        return found

    def is_whole(self, manifest: Mapping[str, Any]) -> bool:
        """Whether every file that a manifest names is there, with its size."""
        try:
            return all(self.disk.size(file["path"]) == file["bytes"] for file in manifest["files"])
        except (FileNotFoundError, KeyError, TypeError):
            return False

    def check_nothing_else(self, manifest: Mapping[str, Any]) -> None:
        """Look whether there is nothing but what a manifest names, for all is taken away with it.

        Raises:
            ConfigError: there is.
        """
        own = {MANIFEST, *(file["path"] for file in manifest.get("files", ()))}
        others = sorted(path for path in self.disk.all("") if path not in own)
        if others:
            more = f" and {len(others) - _TOLD} more" if len(others) > _TOLD else ""
            raise ConfigError(
                f"{self.name} holds files that are not of its export: {', '.join(others[:_TOLD])}{more}; move them "
                "away, or name another folder"
            )

    def delete(self, manifest: Mapping[str, Any]) -> None:
        """Delete the files that a manifest names, itself first; others stay."""
        self.disk.delete([MANIFEST, *(file["path"] for file in manifest["files"])])
        if self.disk.is_local:
            for folder, _, _ in sorted(os.walk(self.disk.full("")), reverse=True):
                with suppress(OSError):  # it holds something
                    Path(folder).rmdir()

    @contextmanager
    def writing(self) -> Iterator[Path]:
        """A folder on this machine to write the export to; it is put in its place when the block ends.

        Raises:
            ConfigError: another export is being written there.
            StoreError: the place cannot be written, or the disk is full.
        """
        if not self.disk.is_local:
            with tempfile.TemporaryDirectory(prefix="quarry-export-") as name:
                yield Path(name)
                self._upload(Path(name))
            return
        with self._alone() as is_alone:
            if not is_alone:
                raise ConfigError(f"another export is being written to {self.name}: wait for it")
            with self.disk.told("write", ""):
                (self._beside / "new").mkdir()
                yield self._beside / "new"
                self._swap()

    def _swap(self) -> None:
        target = Path(self.disk.full(""))
        if target.exists():
            target.rename(self._beside / "before")
        (self._beside / "new").rename(target)

    @property
    def _beside(self) -> Path:
        target = Path(self.disk.full(""))
        return target.with_name(f".{target.name}.quarry-export")

    def _take_back(self) -> None:
        """Put back what an export moved away that was killed before it put its own there."""
        if self.disk.is_local and (self._beside / _LOCK).exists():
            with self._alone():  # if one is at work, there is nothing to take back
                pass

    @contextmanager
    def _alone(self) -> Iterator[bool]:
        """Hold the lock of this place; False where another export has it.

        First what a killed export moved away is put back, or deleted where its own is in place.
        """
        lock = FileLock(self._beside / _LOCK)
        try:
            with self.disk.told("write", ""):
                self._beside.mkdir(parents=True, exist_ok=True)
                lock.acquire(timeout=0)
        except Timeout:
            yield False
            return
        try:
            target, before = Path(self.disk.full("")), self._beside / "before"
            if before.exists() and not target.exists():
                before.rename(target)
            for left in ("before", "new"):
                shutil.rmtree(self._beside / left, ignore_errors=True)
            yield True
        finally:
            shutil.rmtree(self._beside, ignore_errors=True)
            lock.release()

    def _upload(self, folder: Path) -> None:
        """Send all files, the manifest last: as long as it is not there, nothing is."""
        there = list(self.disk.all(""))
        self.disk.delete([MANIFEST])
        files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
        for path in sorted(files, key=lambda path: path == MANIFEST):
            with self.disk.create(path) as file, (folder / path).open("rb") as source:
                shutil.copyfileobj(source, file)
        self.disk.delete(
            [path for path in there if path not in files]
        )  # `check_nothing_else` has seen that they are ours
