"""Work in processes of its own: forked from this one, which imports all and computes nothing.

Polars and FAISS start threads when they first compute, and a process with threads cannot be forked soundly. So whoever
forks here must leave all computing to the forked ones.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Ended:
    """How a process ended."""

    result: Any
    """What the work returned, as JSON values; None where it was killed, or failed."""
    error: str | None
    """What it raised, as its type and message."""
    killed: bool
    seconds: float
    peak_mib: float
    """The most memory that was resident, by the kernel's account."""


def in_a_process(work: Callable[[], Any], limit: float = 300.0) -> Ended:
    """Do the work in a forked process; returns how it ended. One that takes longer than `limit` seconds is killed."""
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        said = Path(folder) / "said"
        pid = os.fork()
        if not pid:
            _be_the_child(work, said)
        status, usage = _wait(pid, start + limit)
        found = json.loads(said.read_text()) if said.exists() else {}
    killed = os.WIFSIGNALED(status)
    return Ended(found.get("result"), found.get("error"), killed, time.monotonic() - start, usage)


def _wait(pid: int, until: float) -> tuple[int, float]:
    while True:
        found, status, usage = os.wait4(pid, os.WNOHANG)
        if found:
            return status, usage.ru_maxrss / 1024
        if time.monotonic() > until:
            os.kill(pid, signal.SIGKILL)
            until += 60
        time.sleep(0.005)


def _be_the_child(work: Callable[[], Any], said: Path) -> None:
    code = 0
    try:
        said.write_text(json.dumps({"result": work()}))
    except BaseException as e:  # noqa: BLE001  whatever it is, the parent reports it
        said.write_text(json.dumps({"error": f"{type(e).__name__}: {e}", "trace": traceback.format_exc()}))
        code = 1
    sys.stdout.flush()
    os._exit(code)  # what the parent has registered for its end is none of this process' business
