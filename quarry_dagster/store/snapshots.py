"""Snapshots of a global asset: a folder of files behind one pointer that is replaced atomically.

A reader follows the pointer once and then reads files that do not change; the snapshot before the current one
is kept so that a reader who followed the pointer a moment ago can finish.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from quarry_dagster.store.files import Files

_MANIFEST = "manifest.json"
_POINTER = "CURRENT.json"
_KEPT = 2


@dataclass(frozen=True)
class Snapshot:
    """One published state of a global asset."""

    files: Files
    name: str
    number: int

    def path(self, file: str) -> str:
        """Path of one of its files."""
        return f"{self.name}/{self.number:06d}/{file}"

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """What the snapshot is made of, as its writer recorded it."""
        return self.files.read_json(self.path(_MANIFEST))


class Snapshots:
    """The snapshots of one global asset."""

    def __init__(self, files: Files, name: str) -> None:
        self.files = files
        self.name = name

    def current(self) -> Snapshot | None:
        """The published snapshot, or None before the first."""
        try:
            number = self.files.read_json(f"{self.name}/{_POINTER}")["snapshot"]
        except FileNotFoundError:
            return None
        return Snapshot(self.files, self.name, number)

    def live(self) -> list[Snapshot]:
        """The current snapshot and the one before it, that readers may still be in."""
        current = self.current()
        last = current.number if current else 0
        return [s for s in self._all() if last - _KEPT < s.number <= last]

    @contextmanager
    def publish(self) -> Iterator[tuple[Snapshot, dict[str, Any]]]:
        """Write a new snapshot: put files under `snapshot.path(...)` and fill in the manifest.

        The pointer moves when the block ends; after an exception or a kill it still names the old snapshot.
        """
        new = Snapshot(self.files, self.name, max((s.number for s in self._all()), default=0) + 1)
        manifest: dict[str, Any] = {}
        yield new, manifest
        self.files.write_json(new.path(_MANIFEST), manifest)
        self.files.write_json(f"{self.name}/{_POINTER}", {"snapshot": new.number})
        self.clean()

    def _all(self) -> list[Snapshot]:
        numbers = {int(part) for p in self.files.list(self.name) if (part := p.split("/")[1]).isdigit()}
        return [Snapshot(self.files, self.name, n) for n in sorted(numbers)]

    def clean(self, keep: int = _KEPT) -> None:
        """Delete all but the `keep` latest published snapshots, and what a killed writer left."""
        current = self.current()
        last = current.number if current else 0
        for snapshot in self._all():
            if not last - keep < snapshot.number <= last:
                folder = f"{self.name}/{snapshot.number:06d}"
                self.files.delete(list(self.files.list(folder)))
                if self.files.is_local:
                    self.files.fs.rmdir(self.files.full(folder))
