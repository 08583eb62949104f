"""Progress of long work: a bar on a terminal, a log line now and then elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_LINE_EVERY_S = 10.0

log = logging.getLogger("quarry_dagster")


@contextmanager
def track(stage: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
    """Show how `total` items of `unit` are worked through; yields the function that advances by so many."""
    if sys.stderr.isatty():
        with _bar(stage, total) as advance:
            yield advance
    else:
        yield _Lines(stage, total, unit).advance


@contextmanager
def _bar(stage: str, total: int) -> Iterator[Callable[[int], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description:>16}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(stage, total=total)
        yield lambda n: progress.advance(task, n)


class _Lines:
    def __init__(self, stage: str, total: int, unit: str) -> None:
        self._stage, self._total, self._unit = stage, total, unit
        self._done = 0
        self._start = self._last = time.monotonic()

    def advance(self, n: int) -> None:
        self._done += n
        now = time.monotonic()
        if now - self._last >= _LINE_EVERY_S:
            rate = self._done / (now - self._start)
            log.info("%s: %d of %d %s, %.0f a second", self._stage, self._done, self._total, self._unit, rate)
            self._last = now
