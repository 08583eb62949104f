"""Snapshots of a global asset: folders of files that never change; which one is published, the log says.

A snapshot is begun, its files are written, and one commit publishes it. Those before stay readable as long as they are
kept (`store.keep_publishes`, tags); their files go with :mod:`quarry_dagster.stages.sweep`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from quarry_dagster.errors import StoreError
from quarry_dagster.store.disk import log
from quarry_dagster.store.files import Files
from quarry_dagster.store.log import LostRace
from quarry_dagster.store.state import Line, Publish, State

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Snapshot:
    """Where the files of one published state of a global asset lie."""

    files: Files = field(repr=False)
    name: str
    number: int
    folder: str = field(compare=False)

    def path(self, file: str) -> str:
        """Path of one of its files."""
        return f"{self.name}/{self.folder}/{file}"


class Content(Protocol):
    """What a snapshot holds, as its manifest records it."""

    @property
    def snapshot(self) -> Snapshot: ...

    def stored(self) -> dict[str, Any]:
        """The manifest: JSON values by name."""
        ...

    def files_named(self) -> Sequence[str]:
        """Paths of all files that it is made of and that are no segment of a table, but the manifest."""
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
        number = self.number()
        return None if number is None else self.at(number)

    def number(self) -> int | None:
        """The number of what is published."""
        return self.files.state().currents.get(self.name)

    def at(self, number: int) -> C | None:
        """What one snapshot holds; None where it is not kept.

        Raises:
            StoreError: its manifest is damaged.
        """
        publish = self.files.state().publish(self.name, number)
        return self._content(publish) if publish else None

    def kept(self) -> list[C]:
        """What all snapshots hold that are kept, the oldest first.

        Raises:
            StoreError: a manifest is damaged.
        """
        publishes = [each for each in self.files.state().publishes if each.asset == self.name]
        return [content for each in publishes if (content := self._content(each))]

    def readable(self) -> list[C]:
        """Those of :meth:`kept` whose manifests can be read; one of before that is damaged must not stop the next."""
        found: list[C] = []
        for each in self.files.state().publishes:
            if each.asset == self.name:
                try:
                    found += [content] if (content := self._content(each)) else []
                except StoreError as e:
                    log.warning("%s", e)
        return found

    def whole(self) -> C | None:
        """What is published; None where its manifest, or a file that it names, is not as it was written.

        For whoever makes it again from what it is made of.
        """
        files, state = self.files, self.files.state()
        try:
            content = self.current()
        except StoreError as e:
            log.warning("%s; it is made again without it", e)
            return None
        for path in content.files_named() if content else ():
            if wrong := files.verify(path, *state.files.get(path, (None, None))):
                log.warning("%s is damaged (%s); what it is of is made again without it", files.url(path), wrong)
                return None
        return content

    def latest(self, count: int) -> list[C]:
        """What is published and what was before it, the newest first, as far as they are kept."""
        now = self.files.state().currents.get(self.name, -1)
        publishes = [e for e in self.files.state().publishes if e.asset == self.name and e.number <= now]
        last = reversed(publishes[-count:])
        return [content for each in last if (content := self._content(each))]

    def begin(self) -> Snapshot:
        """Begin the next snapshot; returns it, to put files into. :meth:`publish` makes it the current one."""
        publishes = self.files.state().publishes
        number = max((each.number for each in publishes if each.asset == self.name), default=0) + 1
        return Snapshot(self.files, self.name, number, f"{number:06d}-{self.files.new_id()}")

    def publish(self, content: C, *, keep: Collection[int], over: int | None, lines: Sequence[Line] = ()) -> None:
        """Publish a snapshot that was begun, and with it what `lines` say, all in one commit.

        A process that is killed before that leaves the old one published.

        Args:
            content: what it holds.
            keep: numbers of the snapshots of before that stay readable.
            over: the number that was published when it was begun.

        Raises:
            LostRace: another one was published meanwhile.
        """
        snapshot = content.snapshot
        manifest = snapshot.path(MANIFEST)
        self.files.write_json(manifest, content.stored())
        self._commit(snapshot.number, manifest, content, keep, over, lines)

    def amend(self, content: C, *, keep: Collection[int]) -> None:
        """Publish another manifest under the same number: what it is made of is the same, what it names is not."""
        snapshot = content.snapshot
        manifest = snapshot.path(f"manifest-{self.files.new_id()}.json")
        self.files.write_json(manifest, content.stored())
        self._commit(snapshot.number, manifest, content, {*keep} - {snapshot.number}, snapshot.number, ())

    def _commit(
        self,
        number: int,
        manifest: str,
        content: C,
        keep: Collection[int],
        over: int | None,
        lines: Sequence[Line],
    ) -> None:
        def decide(state: State) -> list[Line]:
            if any(each.manifest == manifest for each in state.publishes):  # a request whose answer was lost
                return []
            if state.currents.get(self.name) != over:
                raise LostRace(f"another {self.name} was published meanwhile")
            said = {"asset": self.name, "number": number, "manifest": manifest, "kept": sorted(keep)}
            return [*self.files.lines([*content.files_named(), manifest], state), {"publish": said}, *lines]

        self.files.log.commit(decide)

    def _content(self, publish: Publish) -> C | None:
        folder = publish.manifest.split("/")[1]
        snapshot = Snapshot(self.files, self.name, publish.number, folder)
        content = self.files.content(publish.manifest)
        try:
            return self._read(snapshot, json.loads(content))
        except KeyError as e:
            raise self.files.damaged(publish.manifest, f"it lacks {e}") from e
        except (TypeError, ValueError, AttributeError) as e:
            raise self.files.damaged(publish.manifest, "it is not as it was written") from e
