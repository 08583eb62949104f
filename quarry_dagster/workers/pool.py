"""Jobs out to worker processes, results back: one result for every job, whatever a page does to its worker.

Processes, because lxml crashes in threads. A worker has one job at a time and a connection of its own, so one
that dies takes no other job with it: not so in `concurrent.futures` (BrokenProcessPool) or pebble (one pipe and
one lock for all workers, which a killed worker can leave half-written or held).

Why so: "Worker processes are forked by a small process of their own" in docs/decisions.md.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Generic, Self, TypeVar

from quarry_dagster.errors import QuarryError
from quarry_dagster.profiles.settings import Extraction as Settings
from quarry_dagster.workers.job import Job
from quarry_dagster.workers.worker import OUT_OF_MEMORY

_JOBS_PER_WORKER = 500
"""Then a fresh process takes over, because the parsers leak a little with every page."""


R = TypeVar("R")


@dataclass(slots=True)
class _Worker:
    connection: Connection
    exit_pipe: int
    """Where the nursery writes the worker's exit code."""
    jobs: int = 0

    def exit_code(self) -> int:
        """Wait for the end of a worker whose connection is closed."""
        written = os.read(self.exit_pipe, 16)
        if not written:
            raise QuarryError("the run cannot go on: the process that starts its workers has died (see stderr)")
        return int(written)

    def close(self) -> None:
        self.connection.close()
        os.close(self.exit_pipe)


class Workers(Generic[R]):
    """Worker processes for one or more series of jobs of one kind, and the nursery that forks them.

    Nothing is started before the first job, unless :meth:`prepare` is called; leaving the `with` block ends all.

    Args:
        kind: of the jobs; the nursery loads what it needs.
        settings: of the profile; they limit a page's time and a worker's memory.
        workers: how many processes there are.
    """

    def __init__(self, kind: type[Job[R]], settings: Settings, workers: int) -> None:
        self.settings = settings
        self._kind = kind
        self._workers = workers
        self._idle: list[_Worker] = []
        self._busy: dict[Connection, tuple[_Worker, Job[R]]] = {}
        self._control: socket.socket | None = None
        self._nursery: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in (*self._idle, *(worker for worker, _ in self._busy.values())):
            worker.close()
        if self._control and self._nursery:
            self._control.close()
            self._nursery.wait()

    def prepare(self) -> None:
        """Have the parsers loaded, without waiting for it; jobs that come later find them so."""
        if self._control is None:
            self._start_nursery()

    def do(self, jobs: Iterable[Job[R]]) -> Iterator[R]:
        """Exactly one result for each job, in the order in which jobs are done.

        Reads `jobs` only as workers fall idle, so at most as many as workers are in memory. One series at a time.

        Raises:
            QuarryError: no worker can be started.
        """
        for job in jobs:
            if job.size > self.settings.max_page_mb * 2**20:
                size = f"{job.size / 2**20:.1f} MiB, more than max_page_mb {self.settings.max_page_mb:g}"
                yield job.failed("error", size, self.settings)
                continue
            if len(self._busy) >= self._workers:
                yield from self._collect()
            self._give(job)
        while self._busy:
            yield from self._collect()

    def _give(self, job: Job[R]) -> None:
        """Have a worker begin with the job."""
        while True:
            worker = self._idle.pop() if self._idle else self._start_worker()
            try:
                worker.connection.send(job)
            except ConnectionError:  # it died while idle
                worker.exit_code()
                worker.close()
                continue
            worker.jobs += 1
            self._busy[worker.connection] = worker, job
            return

    def _collect(self) -> list[R]:
        """The results of all workers that are done, at least one: waits for it."""
        return [self._result(connection) for connection in wait(list(self._busy)) if isinstance(connection, Connection)]

    def _result(self, connection: Connection) -> R:
        worker, job = self._busy.pop(connection)
        try:
            result = connection.recv()
        except (EOFError, OSError):
            result = self._post_mortem(job, worker.exit_code())
            worker.close()
        else:
            if worker.jobs < _JOBS_PER_WORKER:
                self._idle.append(worker)
            else:
                worker.close()
        return result

    def _post_mortem(self, job: Job[R], exit_code: int) -> R:
        """The result of a job whose worker died over it."""
        settings = self.settings
        outcome = "error"
        if exit_code == -signal.SIGALRM:
            outcome, detail = "timeout", f"no result within page_timeout {settings.page_timeout:g} s"
        elif exit_code == OUT_OF_MEMORY:
            detail = f"out of memory: worker_memory_mb {settings.worker_memory_mb} reached"
        elif exit_code < 0:
            detail = f"the worker was killed by {signal.Signals(-exit_code).name}"
        else:
            detail = f"the worker ended with exit code {exit_code}"
        return job.failed(outcome, detail, settings)

    def _start_worker(self) -> _Worker:
        control = self._control or self._start_nursery()
        ours, theirs = socket.socketpair()
        readable, writable = os.pipe()
        with suppress(ConnectionError):  # the nursery is gone: exit_code() will say so
            socket.send_fds(control, [b"w"], [theirs.fileno(), writable])
        theirs.close()
        os.close(writable)
        return _Worker(Connection(ours.detach()), readable)

    def _start_nursery(self) -> socket.socket:
        self._control, theirs = socket.socketpair()
        self._nursery = subprocess.Popen(
            # -P: what lies in the working directory must not shadow a module
            [
                *(sys.executable, "-P", "-m", "quarry_dagster.workers.nursery", str(theirs.fileno())),
                *(f"{self._kind.__module__}:{self._kind.__name__}", self.settings.model_dump_json()),
            ],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the parent, whose end ends the nursery
            env=os.environ
            | {
                "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
                "OPENBLAS_NUM_THREADS": "1",  # py3langid's numpy: a process with threads must not fork
            },
        )
        theirs.close()
        return self._control
