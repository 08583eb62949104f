"""Processes, told apart over restarts, hosts and containers: whether one that wrote down what it is still lives.

A number is given again to a later process, two containers may have one host name, and one cannot see the processes of
the other. So a process is named by its host, its PID namespace (namespaces(7)), its number and the time it started.
"""

from __future__ import annotations

import os
import platform
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, Self

_INITIAL_NAMESPACE = "pid:[4026531836]"
"""PID namespace of a system that is no container (PROC_PID_INIT_INO of Linux)."""

Fate = Literal["alive", "gone", "unseen"]
"""What is known of a process; `unseen`: it is of another host or container, and may be alive."""


@dataclass(frozen=True)
class Process:
    """What names a process for good."""

    host: str
    namespace: str
    """The PID namespace that its number is of."""
    boot: str
    """Id of the boot of its system."""
    pid: int
    start: str
    """Clock ticks from boot to its start; no wall-clock time, which a Raspberry Pi corrects after it has booted."""

    @classmethod
    def this(cls) -> Self | None:
        """This process; None where processes cannot be seen (no /proc)."""
        found = _this(os.getpid())
        return None if found is None else cls(*found)

    @classmethod
    def of(cls, stored: Any) -> Self | None:
        """The process that :meth:`stored` gave; None of anything else."""
        names = {f.name for f in fields(cls)}
        if not isinstance(stored, dict) or {*stored} != names or not isinstance(stored["pid"], int):
            return None
        return cls(**stored)

    def stored(self) -> dict[str, Any]:
        """JSON values by name."""
        return asdict(self)

    def fate(self) -> Fate:
        """What became of it, as far as this process can see."""
        here = Process.this()
        if here is None or here.host != self.host or here.namespace != self.namespace:
            return "unseen"
        if here.boot != self.boot:
            # Within a container another boot may be that of another machine under the same name.
            return "gone" if self.namespace == _INITIAL_NAMESPACE else "unseen"
        if _start(self.pid) == self.start:
            return "alive"
        return "unseen" if _is_hidden(self.pid) else "gone"


@lru_cache(maxsize=1)
def _this(pid: int) -> tuple[str, str, str, int, str] | None:
    start = _start(pid)
    if start is None:
        return None
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return platform.node(), str(Path("/proc/self/ns/pid").readlink()), boot, pid, start


def _start(pid: int) -> str | None:
    """When a process of this namespace started, in clock ticks since boot; None of one that has ended."""
    try:
        state, *rest = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
    return None if state in "ZX" else rest[18]


def _is_hidden(pid: int) -> bool:
    """Whether there is a process of this number that we may not look at: another user's, under hidepid."""
    if _start(pid):
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return False  # ours, and a zombie
