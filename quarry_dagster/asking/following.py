"""The newest snapshot of a data root, loaded beside the one of before and put in its place as a whole."""

from __future__ import annotations

import logging
import shutil
import threading
import time
from pathlib import Path

from filelock import FileLock

from quarry_dagster.asking.building import build_apart
from quarry_dagster.asking.snapshot import Published, Snapshot, build, key_of
from quarry_dagster.digests import digest
from quarry_dagster.errors import ConfigError, QuarryError, StoreError
from quarry_dagster.profiles.settings import HardwareProfile
from quarry_dagster.store import Store

_log = logging.getLogger("quarry_dagster")

EVERY = 2.0
"""Seconds between two looks at what is published."""


class Following:
    """What answers: :attr:`current` is always one whole snapshot, or None where none could be loaded yet.

    Processes that are given one folder share the mapped files there; of them the first builds.
    """

    def __init__(self, store: Store, profile: HardwareProfile, scratch: Path, *, apart: bool = False) -> None:
        """`apart`: a snapshot is built in a process of its own."""
        self._store = store
        self._apart = apart
        self._profile = profile
        self._scratch = scratch
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._key: str | None = None
        self.current: Snapshot | None = None
        self.problem: str | None = None
        """Why what is published now is not what answers; None where it is."""
        self.loaded_at: float | None = None
        self.load_seconds: float | None = None

    def refresh(self) -> bool:
        """Load what is published now, if it is not what answers already; returns whether it was loaded.

        Raises:
            QuarryError: there is nothing to load, or it cannot be; what answered before goes on.
        """
        try:
            key = key_of(self._store)
            if key is None:
                self.current = self._key = None
                raise ConfigError(f"there is no corpus in {self._store.files.root}: quarry run makes one")
            if key == self._key:
                self.problem = None
                return False
            began = time.monotonic()
            self.current = self._load(key)
        except QuarryError as e:
            self.problem = str(e)
            raise
        self._key, self.problem = key, None
        self.loaded_at, self.load_seconds = time.time(), time.monotonic() - began
        return True

    def start(self) -> None:
        """Follow what is published, in a thread, until :meth:`stop`."""
        self._thread = threading.Thread(target=self._follow, name="following", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop following."""
        self._stopped.set()
        if self._thread:
            self._thread.join()

    def _follow(self) -> None:
        said = self.problem
        while not self._stopped.is_set():
            try:
                if self.refresh() and self.current:
                    _log.info("corpus %d answers", self.current.number)
            except QuarryError as e:
                if str(e) != said:
                    _log.warning("%s", e)
            except Exception as e:  # noqa: BLE001  whatever it is, what answered before goes on
                self.problem = f"what is published cannot be loaded: {type(e).__name__}: {e}"
                if self.problem != said:
                    _log.exception("what is published cannot be loaded")
            said = self.problem
            self._stopped.wait(EVERY)

    def _load(self, key: str) -> Snapshot:
        folder = self._scratch / digest(key.encode())
        with FileLock(self._scratch / "lock"):
            published = Published.now(self._store)
            if key_of(self._store) != key:
                raise StoreError("another corpus was published meanwhile")
            if not folder.exists():
                fresh = self._scratch / f"{folder.name}.new"
                shutil.rmtree(fresh, ignore_errors=True)
                fresh.mkdir(parents=True)
                if self._apart:
                    build_apart(self._store, key, fresh, self._stopped)
                else:
                    build(self._store, published, fresh)
                fresh.rename(folder)
            snapshot = Snapshot.open(self._store, published, folder, self._profile)
            # What is mapped stays readable for whoever has it.
            for old in self._scratch.iterdir():
                if old.is_dir() and old != folder:
                    shutil.rmtree(old)
        return snapshot
