"""Where an export is written: whole, or not at all, and never over what somebody else put there."""

from __future__ import annotations

import fcntl
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from quarry_dagster.errors import ConfigError
from quarry_dagster.store.disk import Disk

MANIFEST = "manifest.json"
MADE_BY = "quarry-dagster"
"""How the field `made_by` of a manifest begins."""


class Place:
    """A folder, or a prefix of an object store, that one export has for itself."""

    def __init__(self, to: str) -> None:
        self.disk = Disk(to)
        self.to = to

    def earlier(self) -> dict[str, Any] | None:
        """The manifest of the export that is there; None where there is nothing.

        Raises:
            ConfigError: something is there, and it is no export.
            StoreError: the place cannot be read.
        """
        self._take_back()
        if not self.disk.exists(""):
            return None
        if not self.disk.exists(MANIFEST):
            if any(True for _ in self.disk.all("")):
                raise ConfigError(
                    f"{self.disk.url('')} holds files that are no export: name a new folder, or empty this one"
                )
            return None
        with self.disk.told("read", MANIFEST):
            try:
                found = json.loads(self.disk.read(MANIFEST))
            except ValueError:
                found = None
        if not isinstance(found, dict) or not str(found.get("made_by", "")).startswith(MADE_BY):
            raise ConfigError(f"{self.disk.url(MANIFEST)} is no manifest of an export: name a new folder")
        return found

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
        target = Path(self.disk.full(""))
        beside = target.with_name(f".{target.name}.export")
        with self.disk.told("write", ""):
            beside.mkdir(parents=True, exist_ok=True)
        with (beside / ".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise ConfigError(f"another export is being written to {self.disk.url('')}: wait for it") from None
            for left in beside.iterdir():  # of an export that was killed
                if left.name != ".lock":
                    shutil.rmtree(left) if left.is_dir() else left.unlink()
            try:
                with self.disk.told("write", ""):
                    (beside / "new").mkdir()
                    yield beside / "new"
                    self._swap(beside / "new")
            finally:
                shutil.rmtree(beside, ignore_errors=True)

    def _swap(self, new: Path) -> None:
        target = Path(self.disk.full(""))
        before = target.with_name(f".{target.name}.before")
        if target.exists():
            target.rename(before)
        new.rename(target)
        shutil.rmtree(before, ignore_errors=True)

    def _take_back(self) -> None:
        """Put back what was moved away by an export that was killed before it put its own there."""
        if not self.disk.is_local:
            return
        target = Path(self.disk.full(""))
        before = target.with_name(f".{target.name}.before")
        if before.exists() and not target.exists():
            before.rename(target)
        shutil.rmtree(before, ignore_errors=True)

    def _upload(self, folder: Path) -> None:
        """Send all files, the manifest last: as long as it is not there, nothing is."""
        there = list(self.disk.all(""))
        self.disk.delete([MANIFEST])
        files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
        for path in sorted(files, key=lambda path: path == MANIFEST):
            with self.disk.create(path) as file, (folder / path).open("rb") as source:
                shutil.copyfileobj(source, file)
        self.disk.delete([path for path in there if path not in files])
