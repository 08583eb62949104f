"""Pages out to worker processes, rows back: one row for every page, whatever a page does to its worker.

Processes, because lxml crashes in threads. A worker has one page at a time and a connection of its own, so one
that dies takes no other page with it: not so in `concurrent.futures` (BrokenProcessPool) or pebble (one pipe and
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

from quarry_dagster.errors import QuarryError
from quarry_dagster.extract.extractors import extractor_name
from quarry_dagster.extract.records import Extraction, Page
from quarry_dagster.extract.worker import OUT_OF_MEMORY
from quarry_dagster.profiles.settings import Extraction as Settings

_PAGES_PER_WORKER = 500
"""Then a fresh process takes over, because the parsers leak a little with every page."""


@dataclass(slots=True)
class _Worker:
    connection: Connection
    exit_pipe: int
    """Where the nursery writes the worker's exit code."""
    pages: int = 0

    def exit_code(self) -> int:
        """Wait for the end of a worker whose connection is closed."""
        written = os.read(self.exit_pipe, 16)
        if not written:
            raise QuarryError("extraction cannot go on: the process that starts its workers has died (see stderr)")
        return int(written)

    def close(self) -> None:
        self.connection.close()
        os.close(self.exit_pipe)


class Extractor:
    """Worker processes for one or more series of pages, and the nursery that forks them.

    Nothing is started before the first page, unless :meth:`prepare` is called; leaving the `with` block ends all.
    """

    def __init__(self, settings: Settings, workers: int) -> None:
        self.settings = settings
        self._workers = workers
        self._idle: list[_Worker] = []
        self._busy: dict[Connection, tuple[_Worker, Page]] = {}
        self._control: socket.socket | None = None
        self._nursery: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Extractor:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in (*self._idle, *(worker for worker, _ in self._busy.values())):
            worker.close()
        if self._control and self._nursery:
            self._control.close()
            self._nursery.wait()

    def prepare(self) -> None:
        """Have the parsers loaded, without waiting for it; pages that come later find them so."""
        if self._control is None:
            self._start_nursery()

    def extract(self, pages: Iterable[Page]) -> Iterator[Extraction]:
        """Exactly one row for each page, in the order in which pages are done.

        Reads `pages` only as workers fall idle, so at most as many pages as workers are in memory. One series
        at a time.

        Raises:
            QuarryError: no worker can be started.
        """
        for page in pages:
            if len(page.body) > self.settings.max_page_mb * 2**20:
                size = f"{len(page.body) / 2**20:.1f} MiB, more than max_page_mb {self.settings.max_page_mb:g}"
                yield Extraction(page.key, "error", extractor_name(page, self.settings), size)
                continue
            if len(self._busy) >= self._workers:
                yield from self._collect()
            self._give(page)
        while self._busy:
            yield from self._collect()

    def _give(self, page: Page) -> None:
        """Have a worker begin with the page."""
        while True:
            worker = self._idle.pop() if self._idle else self._start_worker()
            try:
                worker.connection.send(page)
            except ConnectionError:  # it died while idle
                worker.exit_code()
                worker.close()
                continue
            worker.pages += 1
            self._busy[worker.connection] = worker, page
            return

    def _collect(self) -> list[Extraction]:
        """The rows of all workers that are done, at least one: waits for it."""
        return [self._row(connection) for connection in wait(list(self._busy)) if isinstance(connection, Connection)]

    def _row(self, connection: Connection) -> Extraction:
        worker, page = self._busy.pop(connection)
        try:
            row = connection.recv()
        except (EOFError, OSError):
            row = self._post_mortem(page, worker.exit_code())
            worker.close()
        else:
            if worker.pages < _PAGES_PER_WORKER:
                self._idle.append(worker)
            else:
                worker.close()
        return row

    def _post_mortem(self, page: Page, exit_code: int) -> Extraction:
        """The row of a page whose worker died over it."""
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
        return Extraction(page.key, outcome, extractor_name(page, settings), detail)

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
                *(sys.executable, "-P", "-m", "quarry_dagster.extract.nursery"),
                *(str(theirs.fileno()), self.settings.model_dump_json()),
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
