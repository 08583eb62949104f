"""The inbox: putting seed files there, and which of them wait to be taken in."""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any, BinaryIO

from quarry_dagster import seeds
from quarry_dagster.errors import ConfigError, QuarryError
from quarry_dagster.intake.ledger import Ledger
from quarry_dagster.intake.whole import SETTLED_S, why_unfinished, why_unreadable
from quarry_dagster.store import Store

SEEDS = "seeds"
"""The folder of the inbox."""
_NAMED = 5
"""Names in a sentence."""
_SIDECAR_BYTES = 1 << 20
"""So much of a sidecar is read; it is refused at far less."""


def put(store: Store, paths: Sequence[str]) -> None:
    """Copy seed files to the inbox, each whole or not at all; one of the same name is an earlier edition of it.

    Of a folder all seed files in it are copied, to a folder of its name. The settings beside a seed go with it.

    Raises:
        ConfigError: a file is not there, or its name is not that of a seed.
        StoreError: the inbox cannot be written.
    """
    for name, path in files_of(paths):
        if sidecar := _sidecar(path):  # first: the seed is read by what they say
            _copy(store, sidecar, f"{SEEDS}/{seeds.sidecar_of(name)}")
        _copy(store, path, f"{SEEDS}/{name}")


@dataclass(frozen=True)
class Source:
    """A seed file that can be read: of the inbox, or one that would be copied there."""

    name: str
    open: Callable[[], AbstractContextManager[IO[bytes]]]
    settings: Callable[[], seeds.SeedSettings]
    """What its user says of it; raises InvalidSettings where the sidecar is wrong."""
    size: int = 0
    """Bytes that the inbox would grow by."""


def source_in(store: Store, name: str) -> Source:
    """A seed file of the inbox."""
    return Source(name, lambda: store.files.open(f"{SEEDS}/{name}"), lambda: settings_of(store, name))


def not_there_yet(store: Store, paths: Sequence[str]) -> list[Source]:
    """Of the seed files that arguments name, those that :func:`put` would copy.

    Raises:
        ConfigError: as :func:`put`.
    """
    return [
        _given(store, name, path)
        for name, path in files_of(paths)
        if not (
            _is_there(store, f"{SEEDS}/{name}", path)
            and (not (sidecar := _sidecar(path)) or _is_there(store, f"{SEEDS}/{seeds.sidecar_of(name)}", sidecar))
        )
    ]


def _given(store: Store, name: str, path: Path) -> Source:
    def settings() -> seeds.SeedSettings:
        if sidecar := _sidecar(path):
            with sidecar.open("rb") as file:
                return seeds.parse_settings(file.read(_SIDECAR_BYTES), seeds.default_settings(name).name)
        return settings_of(store, name)

    return Source(name, lambda: path.open("rb"), settings, path.stat().st_size)


def _sidecar(path: Path) -> Path | None:
    found = path.with_name(seeds.sidecar_of(path.name))
    return found if found.is_file() else None


def files_of(paths: Sequence[str]) -> list[tuple[str, Path]]:
    """The seed files that arguments name, each with its name in the inbox; settings of seeds are passed over.

    Raises:
        ConfigError: a file is not there, its name is not that of a seed, or a folder has no seed in it.
    """
    found: list[tuple[str, Path]] = []
    for given in paths:
        path = Path(given)
        if path.is_dir():
            mine = [(f"{path.resolve().name}/{name}", path / name) for name, why in _inside(path) if not why]
            if not mine:
                raise ConfigError(f"no seed file in the folder {path}: names end in one of {', '.join(seeds.SUFFIXES)}")
            found += mine
        elif not path.is_file():
            hint = ": a URL is written in a file, one a line, and that is given" if "://" in given else ""
            raise ConfigError(f"no seed file {given}{hint}")
        elif seeds.is_seed_name(path.name):
            found.append((path.name, path))
        elif not seeds.is_sidecar(path.name):
            raise ConfigError(f"{path} is no seed file: its name must end in one of {', '.join(seeds.SUFFIXES)}")
    names: list[str] = []
    for name, path in found:
        while name in names:  # two files of one name from two folders
            name = f"{path.parent.name}-{name}"
        names.append(name)
    return [(name, path) for name, (_, path) in zip(names, found, strict=True)]


def passed_over(paths: Sequence[str]) -> list[str]:
    """What of the folders that arguments name is no seed: a sentence for each folder and reason."""
    told: list[str] = []
    for folder in (Path(given) for given in paths if Path(given).is_dir()):
        reasons: dict[str, list[str]] = {}
        for name, why in _inside(folder):
            if why:
                reasons.setdefault(why, []).append(seeds.shown(name))
        for why, names in reasons.items():
            more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
            told.append(f"{folder}: {', '.join(names[:_NAMED])}{more} {'is' if len(names) == 1 else 'are'} {why}")
    return told


def _inside(folder: Path) -> Iterator[tuple[str, str]]:
    """Each file in a folder, and why it is passed over: empty for a seed. Hidden and unfinished ones are left out."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if not seeds.is_whole(name) or (path.is_dir() and not path.is_symlink()):
            continue
        if path.is_symlink() and not path.is_file():
            yield name, "passed over, since a link is followed to a file alone"
        elif not path.is_file():
            yield name, "passed over, since only a regular file is read"
        elif seeds.is_sidecar(name):
            if not (folder / name.removesuffix(seeds.SIDECAR)).is_file():
                yield name, "passed over, since the seed that it is about is not beside it"
        else:
            yield name, "" if seeds.is_seed_name(name) else "no seed, by its name"


def _copy(store: Store, path: Path, target: str) -> None:
    if not _is_there(store, target, path):  # a copy would be a newer file, and read again
        with path.open("rb") as source, store.files.create(target) as copy:
            shutil.copyfileobj(source, copy)


def _is_there(store: Store, target: str, path: Path) -> bool:
    if not store.files.exists(target):
        return False
    with path.open("rb") as mine, store.files.open(target) as theirs:
        return _sha256(mine) == _sha256(theirs)


def _sha256(file: BinaryIO) -> bytes:
    digest = hashlib.sha256()
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.digest()


@dataclass(frozen=True)
class Waiting:
    """The seed files that are new or changed since they were last taken in, the earliest change first."""

    ready: dict[str, str]
    """The states of those that can be read now, by name; a state changes whenever its file does."""
    held: dict[str, str]
    """Why the others are not read, by name: a sentence without its subject."""
    settles_in: float = 0.0
    """Seconds until those of them that may still be being written count as whole; 0 where there is none."""


def waiting(store: Store, ledger: Ledger, min_age: float = 0.0, at_once: Collection[str] | None = None) -> Waiting:
    """What is in the inbox and not yet in the ledger.

    A file that changed less than `min_age` seconds ago may be half copied, and is left out, as is one that changed less
    than `SETTLED_S` ago and whose end tells that it is still being written, but for those `at_once` (None: for all).
    A file with the suffix of no seed is among them, so that it is reported once.
    """
    now = time.time()
    ready: list[tuple[float, str, str]] = []
    held: dict[str, str] = {}
    settles_in = 0.0
    inbox = {path.removeprefix(f"{SEEDS}/"): info for path, info in store.files.details(SEEDS).items()}
    for name, info in inbox.items():
        if not seeds.is_whole(name) or seeds.is_sidecar(name):
            continue
        path = Path(store.files.full(f"{SEEDS}/{name}")) if store.files.is_local else None
        if why := why_unreadable(info, path):
            held[name] = f"cannot be read, will be tried again: it is {why}"
            continue
        parts = [info, *([inbox[seeds.sidecar_of(name)]] if seeds.sidecar_of(name) in inbox else [])]
        times = [changed_at(part) for part in parts]
        states = (f"{part['size']} {at} {part.get('ETag', '')}".strip() for part, at in zip(parts, times, strict=True))
        state = " + ".join(states)
        age = min(abs(now - at) for at in times)  # one from the future was copied by a machine whose clock is ahead
        if age < min_age or not ledger.waiting({name: state}):
            continue
        if at_once is not None and name not in at_once and age < SETTLED_S and (why := _why_unfinished(store, name)):
            held[name] = f"waits: it changed less than {SETTLED_S:g} seconds ago, and {why}"
            settles_in = max(settles_in, SETTLED_S - age)
            continue
        ready.append((max(times), name, state))
    return Waiting({name: state for _, name, state in sorted(ready)}, held, settles_in)


def _why_unfinished(store: Store, name: str) -> str:
    try:
        with store.files.open(f"{SEEDS}/{name}") as file:
            return why_unfinished(name, file)
    except (OSError, QuarryError):
        return ""  # whoever reads it says why it cannot be read


def pending(store: Store, min_age: float = 0.0) -> list[str]:
    """Names of the seed files that can be taken in now, as :func:`waiting` says."""
    return [seeds.shown(name) for name in waiting(store, Ledger.read(store), min_age).ready]


def changed_at(info: Mapping[str, Any]) -> float:
    """When a file changed, as fsspec's details of it say: seconds since the epoch."""
    changed = next((info[k] for k in ("mtime", "LastModified", "last_modified", "created") if k in info), 0.0)
    return changed.timestamp() if isinstance(changed, datetime) else float(changed)


def settings_of(store: Store, name: str) -> seeds.SeedSettings:
    """The settings of a seed in the inbox.

    Raises:
        InvalidSettings: its sidecar is wrong.
        StoreError: the sidecar cannot be read.
    """
    default, path = seeds.default_settings(name), f"{SEEDS}/{seeds.sidecar_of(name)}"
    if not store.files.exists(path):
        return default
    with store.files.open(path) as file:
        return seeds.parse_settings(file.read(_SIDECAR_BYTES), default.name)
