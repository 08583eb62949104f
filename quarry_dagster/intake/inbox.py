"""The inbox on the way in: putting seed files there, and taking in what waits under a profile."""

from __future__ import annotations

import hashlib
import math
import shutil
from collections.abc import Sequence
from functools import partial
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import BinaryIO

from quarry_dagster import seeds
from quarry_dagster.crawl import fetch_one
from quarry_dagster.errors import ConfigError
from quarry_dagster.intake import SeedReport, take_in
from quarry_dagster.profiles.settings import HardwareProfile
from quarry_dagster.store import Store
from quarry_dagster.store.store import SEEDS


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


def take_in_seeds(
    store: Store,
    profile: HardwareProfile,
    allow_addresses: Sequence[IPv4Network | IPv6Network],
    *,
    min_age: float = 0.0,
    seconds: float = math.inf,
) -> list[SeedReport]:
    """Cut what is new in the inbox into batches, under the profile's limits.

    `min_age` seconds let copies finish; it stops after about so many `seconds`, as :func:`take_in` says.

    Raises:
        StoreError: the data root cannot be written.
    """
    return take_in(
        store,
        pages_per_partition=profile.partitions.pages_per_partition,
        max_body=int(profile.crawl.max_body_mb * 2**20),
        fetch=partial(fetch_one, settings=profile.crawl, allow_addresses=allow_addresses),
        min_age=min_age,
        seconds=seconds,
    )
