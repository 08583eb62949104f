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
        return next(iter(self.live()), None)

    def live(self) -> list[Snapshot]:
        """The current snapshot, and the one published before it, that readers may still be in."""
        try:
            pointer = self.files.read_json(f"{self.name}/{_POINTER}")
        except FileNotFoundError:
            return []
        numbers = [n for n in (pointer["snapshot"], pointer["previous"]) if n is not None]
        return [Snapshot(self.files, self.name, n) for n in numbers]

    @contextmanager
    def publish(self, *, keep_previous: bool = True) -> Iterator[tuple[Snapshot, dict[str, Any]]]:
        """Write a new snapshot: put files under `snapshot.path(...)` and fill in the manifest.

        The pointer moves when the block ends; after an exception or a kill it still names the old snapshot. Only
        one process may publish at a time.
        """
        current = self.current()
        new = Snapshot(self.files, self.name, max(self._numbers(), default=0) + 1)
        manifest: dict[str, Any] = {}
        yield new, manifest
        self.files.write_json(new.path(_MANIFEST), manifest)
        previous = current.number if current and keep_previous else None
        self.files.write_json(f"{self.name}/{_POINTER}", {"snapshot": new.number, "previous": previous})
        for number in self._numbers() - {new.number, previous}:
            self.files.delete_folder(f"{self.name}/{number:06d}")

    def _numbers(self) -> set[int]:
        """Numbers of all snapshots that are there, unpublished ones that a killed writer left included."""
        return {int(part) for p in self.files.list(self.name) if (part := p.split("/")[1]).isdigit()}
