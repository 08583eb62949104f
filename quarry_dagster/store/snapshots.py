"""Snapshots of a global asset: a folder of files behind one pointer that is replaced atomically.

A reader follows the pointer once and then reads files that do not change; the snapshot before the current one
is kept so that a reader who followed the pointer a moment ago can finish.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from quarry_dagster.store.files import Files

MANIFEST = "manifest.json"
_POINTER = "CURRENT.json"


@dataclass(frozen=True)
class Snapshot:
    """Where the files of one published state of a global asset lie."""

    files: Files = field(repr=False)
    name: str
    number: int

    def path(self, file: str) -> str:
        """Path of one of its files."""
        return f"{self.name}/{self.number:06d}/{file}"


class Content(Protocol):
    """What a snapshot holds, as its manifest records it."""

    @property
    def snapshot(self) -> Snapshot: ...

    def stored(self) -> dict[str, Any]:
        """The manifest: JSON values by name."""
        ...


C = TypeVar("C", bound=Content)


class Snapshots(Generic[C]):
    """The snapshots of one global asset.

    Args:
        name: the folder they lie in.
        read: makes the content of a snapshot from its manifest; None where the manifest has an older layout, and the
            asset is to be built anew.
    """

    def __init__(self, files: Files, name: str, read: Callable[[Snapshot, Mapping[str, Any]], C | None]) -> None:
        self.files = files
        self.name = name
        self._read = read

    def current(self) -> C | None:
        """What is published, or None before the first.

        Raises:
            StoreError: its manifest is damaged.
        """
        numbers = self._live()
        return self._content(numbers[0]) if numbers else None

    def at(self, number: int) -> C | None:
        """What one snapshot holds; None where it is not there.

        Raises:
            StoreError: its manifest is damaged.
        """
        there = self.files.exists(Snapshot(self.files, self.name, number).path(MANIFEST))
        return self._content(number) if there else None

    def live(self) -> list[C]:
        """What is published, and what was before it, that readers may still be in."""
        return [content for number in self._live() if (content := self._content(number))]

    def begin(self) -> Snapshot:
        """Begin the next snapshot; returns it, to put files into. :meth:`publish` makes it the current one.

        Only one process may write a snapshot at a time.
        """
        return Snapshot(self.files, self.name, max(self._numbers(), default=0) + 1)

    def publish(self, content: C, *, keep_previous: bool = True) -> None:
        """Write the manifest of a snapshot that was begun, and let the pointer name it; :meth:`prune` follows.

        A process that is killed before that leaves the pointer at the old snapshot.
        """
        published = self._live()
        new = content.snapshot
        self.files.write_json(new.path(MANIFEST), content.stored())
        previous = published[0] if published and keep_previous else None
        self.files.write_json(f"{self.name}/{_POINTER}", {"snapshot": new.number, "previous": previous})

    def amend(self, content: C) -> None:
        """Write the manifest of a published snapshot again: what it is made of is the same, what it names is not."""
        self.files.write_json(content.snapshot.path(MANIFEST), content.stored())

    def there(self) -> list[C]:
        """What all snapshots hold whose files are there, the newest first; one that was never published has none."""
        found = (self.at(number) for number in sorted(self._numbers(), reverse=True))
        return [content for content in found if content]

    def prune(self, keep: Iterable[int] = ()) -> None:
        """Delete the snapshots that are neither live nor in `keep` (numbers)."""
        for number in self._numbers() - {*self._live(), *keep}:
            self.files.delete_folder(f"{self.name}/{number:06d}")

    def _live(self) -> list[int]:
        """The numbers of the published snapshot and of the one before it, as far as there are any."""
        path = f"{self.name}/{_POINTER}"
        try:
            pointer = self.files.read_json(path)
            return [int(n) for n in (pointer["snapshot"], pointer["previous"]) if n is not None]
        except FileNotFoundError:
            return []
        except KeyError as e:
            raise self.files.damaged(path, f"it lacks {e}") from e
        except (TypeError, ValueError) as e:
            raise self.files.damaged(path, "it is not as it was written") from e

    def _content(self, number: int) -> C | None:
        snapshot = Snapshot(self.files, self.name, number)
        path = snapshot.path(MANIFEST)
        try:
            return self._read(snapshot, self.files.read_json(path))
        except KeyError as e:
            raise self.files.damaged(path, f"it lacks {e}") from e
        except (TypeError, ValueError, AttributeError) as e:
            raise self.files.damaged(path, "it is not as it was written") from e

    def _numbers(self) -> set[int]:
        """Numbers of all snapshots that are there, unpublished ones that a killed writer left included."""
        return {int(part) for p in self.files.list(self.name) if (part := p.split("/")[1]).isdigit()}
