"""The inbox: putting seed files there, and which of them are settled and wait."""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from quarry_dagster import seeds
from quarry_dagster.errors import ConfigError
from quarry_dagster.intake.ledger import Ledger
from quarry_dagster.store import Store

SEEDS = "seeds"
"""The folder of the inbox."""


def put(store: Store, paths: Sequence[str]) -> None:
    """Copy seed files to the inbox, each whole or not at all; one of the same name is an earlier edition of it.

    Raises:
        ConfigError: a file is not there, or its name is not that of a seed.
        StoreError: the inbox cannot be written.
    """
    names: list[str] = []
    for path in map(Path, paths):
        if not path.is_file():
            raise ConfigError(f"no seed file {path}")
        if not seeds.is_seed_name(path.name):
            raise ConfigError(f"{path} is no seed file: its name must end in one of {', '.join(seeds.SUFFIXES)}")
        name = path.name
        while name in names:  # two files of one name from two folders
            name = f"{path.parent.name}-{name}"
        target = f"{SEEDS}/{name}"
        if not _is_there(store, target, path):  # a copy would be a newer file, and read again
            with path.open("rb") as source, store.files.create(target) as copy:
                shutil.copyfileobj(source, copy)
        names.append(name)


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


def pending(store: Store, min_age: float = 0.0) -> list[str]:
    """Names of the seed files that are new or changed since they were last taken in, the earliest change first.

    One that changed less than `min_age` seconds ago may be half copied, and waits.
    """
    return [seeds.shown(name) for name in Ledger.read(store).waiting(settled(store, min_age))]


def settled(store: Store, min_age: float) -> dict[str, str]:
    """The files in the inbox that did not change within `min_age` seconds: their states by name.

    The state changes whenever the file does. The file that changed first comes first. A file whose suffix is that of no
    seed is among them, so that it is reported once.
    """
    now = time.time()
    found: list[tuple[float, str, str]] = []
    for path, info in store.files.details(SEEDS).items():
        name = path.removeprefix(f"{SEEDS}/")
        if seeds.is_whole(name):
            changed = next((info[k] for k in ("mtime", "LastModified", "last_modified", "created") if k in info), 0.0)
            at = changed.timestamp() if isinstance(changed, datetime) else float(changed)
            if abs(now - at) >= min_age:  # one from the future was copied by a machine whose clock is ahead
                found.append((at, name, f"{info['size']} {at} {info.get('ETag', '')}".strip()))
    return {name: state for _, name, state in sorted(found)}
