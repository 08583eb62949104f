"""Building a snapshot's files in a process of its own: what it needs of memory and time, answers do not wait for.

    python -m quarry_dagster.serve.building DATA FOLDER KEY

ends with 0 once they are there, with 1 and the reason on stderr where they cannot be built.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from quarry_dagster.errors import QuarryError, StoreError
from quarry_dagster.serve.snapshot import Published, build, key_of
from quarry_dagster.store import Store

_NICER = 10
"""So much lower is its priority than that of what answers."""


def build_apart(store: Store, key: str, folder: Path) -> None:
    """Build what is published under a key into an empty folder, as :func:`build` does.

    Raises:
        StoreError: it cannot be built; the message says why.
    """
    command = [sys.executable, "-m", "quarry_dagster.serve.building", store.files.root, str(folder), key]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = done.stderr.strip()
        raise StoreError(said or f"the process that loads the corpus ended with status {done.returncode}")


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
