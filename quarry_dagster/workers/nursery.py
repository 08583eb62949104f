"""The process that forks workers: it loads the parsers once, so that a worker starts in milliseconds.

Run as `python -m quarry_dagster.workers.nursery CONTROL_FD JOB SETTINGS_JSON` by `pool`, where JOB is `module:class`
of a kind of jobs. It takes requests on the control socket (one byte with two file descriptors: the worker's connection
and a pipe for its exit code). When that socket closes, so when the parent ends in whatever way, it ends too and takes
its workers with it.

Why not multiprocessing's forkserver: its children import the parent's `__main__` again, which runs a script
without an `if __name__` guard a second time, costs a second a worker under Dagster's command line, and fails for
a program read from standard input.
"""

from __future__ import annotations

import gc
import logging
import os
import selectors
import signal
import socket
import sys
from contextlib import suppress
from pkgutil import resolve_name
from typing import Any

from quarry_dagster.profiles.settings import Extraction as Settings
from quarry_dagster.workers.job import Job
from quarry_dagster.workers.worker import run_worker


def main(control_fd: int, kind: type[Job[Any]], settings: Settings) -> None:
    """Fork a worker for each request until the control socket closes."""
    logging.disable(logging.CRITICAL)  # what is worth knowing of a page is in its row
    kind.prepare(settings)
    gc.freeze()  # else each worker's garbage collector copies the memory it shares with this process
    control = socket.socket(fileno=control_fd)
    woken = _wake_on_child_exit()
    exit_pipes: dict[int, int] = {}
    with selectors.DefaultSelector() as selector:
        selector.register(control, selectors.EVENT_READ)
        selector.register(woken, selectors.EVENT_READ)
        while True:
            ready = {key.fd for key, _ in selector.select()}
            if woken in ready:
                os.read(woken, 4096)
                _report_exits(exit_pipes)
            if control_fd in ready:
                _, fds, _, _ = socket.recv_fds(control, 1, 2)
                if not fds:
                    break
                connection, exit_pipe = fds
                pid = os.fork()
                if pid == 0:
                    for fd in (control_fd, exit_pipe, *exit_pipes.values()):
                        os.close(fd)
                    run_worker(connection, settings)
                os.close(connection)
                exit_pipes[pid] = exit_pipe
    for pid in exit_pipes:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _wake_on_child_exit() -> int:
    """A file descriptor that becomes readable when a worker has ended."""
    readable, writable = os.pipe()
    os.set_blocking(writable, False)
    signal.set_wakeup_fd(writable, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    return readable


def _report_exits(exit_pipes: dict[int, int]) -> None:
    """Write the exit code of each worker that has ended, as text, negative for a signal."""
    for pid in list(exit_pipes):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            exit_pipe = exit_pipes.pop(pid)
            with suppress(BrokenPipeError):  # the pool had done with this worker
                os.write(exit_pipe, str(os.waitstatus_to_exitcode(status)).encode())
            os.close(exit_pipe)


if __name__ == "__main__":
    main(int(sys.argv[1]), resolve_name(sys.argv[2]), Settings.model_validate_json(sys.argv[3]))
