"""Comparing all files of a data root with what was written, and making a lost log again from what is there."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any

from quarry_dagster.errors import ConfigError, StoreError
from quarry_dagster.store import before
from quarry_dagster.store.disk import DEEP_FIRST
from quarry_dagster.store.files import Files
from quarry_dagster.store.log import FOLDER, is_commit, is_whole, number_of
from quarry_dagster.store.state import Line

_OF_BEFORE = "only a corpus of before reads it, which cannot be read or gone back to; what is current is whole"
_HELD = "the corpus that is held reads it: quarry rollback --release, then quarry run, which makes another one"


@dataclass(frozen=True)
class Damage:
    """A file that is not as it was written."""

    path: str
    problem: str
    remedy: str
    table: str | None = None
    """The table that it is the current version of a partition of; None of any other file."""
    partition: str | None = None
    is_current: bool = True
    """Whether what is current needs it; otherwise only what was published before does."""


@dataclass(frozen=True)
class Rebuilt:
    """What a log was made again from."""

    partitions: int
    """Versions of partitions that were found, the highest of each."""
    values: int
    """Values that were read from what was left of the log."""
    lost: list[str]
    """Commits that could not be read."""


def compare(
    files: Files, current: Collection[str], advance: Callable[[int], None] = lambda _: None
) -> Iterator[Damage]:
    """Yield the files that are missing, cut or changed; every byte is read.

    `current` are the files that what is published now names; `advance` is called with how many files were compared.

    Raises:
        StoreError: the log is damaged.
    """
    state = files.state()
    for table, partitions in sorted(state.tables.items()):
        for entry in partitions.entries():
            if problem := files.verify(entry.path, entry.bytes, entry.sha256):
                yield Damage(entry.path, problem, _remedy(files, entry.path), table, entry.partition)
            advance(1)
    for path, (size, sha256) in sorted(state.files.items()):
        if problem := files.verify(path, size, sha256):
            is_current = path in current or not path.startswith(before.ASSETS)
            yield Damage(path, problem, _remedy(files, path) if is_current else _OF_BEFORE, is_current=is_current)
        advance(1)
    for path, size, sha256 in state.past().select("path", "bytes", "sha256").iter_rows():
        # What no publish that is kept names may have been swept.
        if files.exists(path) and (problem := files.verify(path, size, sha256)):
            is_current = path in current
            yield Damage(path, problem, _HELD if is_current else _OF_BEFORE, is_current=is_current)
        advance(1)


def _remedy(files: Files, path: str) -> str:
    """What to do about a damaged file, when the check has said so."""
    return files.remedy(path).replace(DEEP_FIRST, "")


def damaged_of(files: Files, paths: Collection[str]) -> Iterator[Damage]:
    """Yield those of these files that are missing, cut or changed; every byte of them is read.

    Raises:
        StoreError: the log is damaged.
    """
    state, wanted = files.state(), set(paths)
    written = [(e.path, e.bytes, e.sha256) for partitions in state.tables.values() for e in partitions.entries()]
    written += [(path, size, sha256) for path, (size, sha256) in state.files.items()]
    written += state.past().select("path", "bytes", "sha256").rows()
    for path, size, sha256 in written:
        if path in wanted and (problem := files.verify(path, size, sha256)):
            yield Damage(path, problem, files.remedy(path))


def rebuild_log(files: Files) -> Rebuilt:
    """Make the log of a data root again: from the names and footers of its files, and from what is left of the log.

    Raises:
        ConfigError: the log is whole.
        StoreError: a file is damaged that the log would name.
    """
    try:
        if files.state().number >= 0:
            raise ConfigError(f"the log of {files.root} is whole: there is nothing to make again")
    except StoreError:
        pass
    values, publishes, lost = _salvaged(files)
    lines = [line for line in before.found(files) if "publish" not in line]
    lines += _manifests(files, publishes)
    lines += values
    files.log.replace(lines)
    found = sum("add" in line and "table" in line["add"] for line in lines)
    return Rebuilt(found, len(values), lost)


def _salvaged(files: Files) -> tuple[list[Line], list[Line], list[str]]:
    """What readable commits and checkpoints say that no file of a table does: values, publishes, and what is lost."""
    values: dict[str, Line] = {}
    publishes: list[Line] = []
    lost = []
    checkpoint = files.log.newest_checkpoint()
    if checkpoint:
        for key, value in checkpoint.values.items():
            values[key] = {"set": {"key": key, "value": value}}
        for each in checkpoint.publishes:
            said = {"asset": each.asset, "number": each.number, "manifest": each.manifest, "kept": []}
            publishes.append({"publish": said})
    for path in files.list(FOLDER):
        if not is_commit(path) or (checkpoint and number_of(path) <= checkpoint.number):
            continue
        content = files.read(path)
        if not is_whole(content):
            lost.append(path)
            continue
        for text in content.splitlines()[:-1]:
            line = json.loads(text)
            if "set" in line:
                values[line["set"]["key"]] = line
            elif "publish" in line:
                publishes.append(line)
    return [line for line in values.values() if line["set"]["value"] is not None], publishes, lost


def _manifests(files: Files, publishes: list[Line]) -> Iterator[Line]:
    """Yield the lines that publish the newest snapshot of each asset whose manifest is there."""
    newest = {line["publish"]["asset"]: line["publish"] for line in publishes}
    for asset in before.ASSETS:
        for path in files.list(asset):
            yield {"add": {"path": path, "bytes": files.size(path), "sha256": None}}
        said = newest.get(asset) or _highest(files, asset)
        if said and files.exists(said["manifest"]):
            yield {"publish": {**said, "kept": []}}


def _highest(files: Files, asset: str) -> dict[str, Any] | None:
    """The snapshot of the highest number whose manifest is there, where no commit says which is published."""
    found = [path for path in files.list(asset) if path.endswith("/manifest.json")]
    numbers = {int(number): path for path in found if (number := path.split("/")[1].partition("-")[0]).isdigit()}
    if not numbers:
        return None
    return {"asset": asset, "number": max(numbers), "manifest": numbers[max(numbers)]}
