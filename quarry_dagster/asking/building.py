"""Building a snapshot's files in a process of its own: what it needs of memory and time, answers do not wait for.

    python -m quarry_dagster.asking.building DATA FOLDER KEY

ends with 0 once they are there, with 1 and the reason on stderr where they cannot be built.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

from quarry_dagster.asking.snapshot import Published, build, key_of
from quarry_dagster.errors import QuarryError, StoreError
from quarry_dagster.store import Store

_LOOKS = 0.2
"""Seconds between two looks at whether it is stopped."""
_NICER = 10
"""So much lower is its priority than that of what answers."""


def build_apart(store: Store, key: str, folder: Path, stopped: threading.Event) -> None:
    """Build what is published under a key into an empty folder, as :func:`build` does, unless it is `stopped`.

    Raises:
        StoreError: it cannot be built, or was stopped; the message says why.
    """
    command = [sys.executable, "-m", "quarry_dagster.asking.building", store.files.root, str(folder), key]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        while True:
            try:
                _, said = process.communicate(timeout=_LOOKS)
                break
            except subprocess.TimeoutExpired:
                if stopped.is_set():
                    process.terminate()
    if stopped.is_set():
        raise StoreError("the service ends, and loads no corpus any more")
    if process.returncode:
        raise StoreError(said.strip() or f"the process that loads the corpus ended with status {process.returncode}")


def main(root: str, folder: str, key: str) -> int:
    """What the process does."""
    os.nice(_NICER)
    try:
        store = Store.existing(root)
        published = Published.now(store)
        if key_of(store) != key:
            raise StoreError("another corpus was published meanwhile")
        build(store, published, Path(folder))
    except QuarryError as e:
        sys.stderr.write(str(e))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
