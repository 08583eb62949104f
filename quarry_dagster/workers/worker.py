"""What a worker process does: take a job from its connection, do it, send the result, until the connection closes.

The limits of one page are the kernel's: an address-space limit, and a timer whose signal ends the process even
inside the parser's C code, and even when nobody is left to watch.
"""

from __future__ import annotations

import os
import resource
import signal
import traceback
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NoReturn

from quarry_dagster.profiles.settings import Extraction as Settings
from quarry_dagster.workers.job import Job

OUT_OF_MEMORY = 75
"""Exit code of a worker that reached its memory limit."""


def run_worker(connection_fd: int, settings: Settings) -> NoReturn:
    """Do jobs, then end the process."""
    code = 1
    try:
        _set_limits(settings)
        with Connection(connection_fd) as connection:
            _serve(connection, settings)
        code = 0
    except (EOFError, ConnectionError):
        code = 0  # the pool has done with this worker
    except MemoryError:
        code = OUT_OF_MEMORY
    except BaseException:
        traceback.print_exc()
        raise
    finally:
        os._exit(code)  # never back into the nursery's loop


def _set_limits(settings: Settings) -> None:
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})
    # On top of what the nursery has mapped: libraries reserve far more address space (1.8 GB seen) than they use.
    inherited = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    memory = inherited + settings.worker_memory_mb * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _serve(connection: Connection, settings: Settings) -> None:
    while True:
        job: Job[Any] = connection.recv()
        signal.setitimer(signal.ITIMER_REAL, settings.page_timeout)
        result = job.do(settings)
        signal.setitimer(signal.ITIMER_REAL, 0)
        connection.send(result)
