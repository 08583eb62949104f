"""Progress of long work: a bar on a terminal, a log line now and then elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

_LINE_EVERY_S = 10.0

log = logging.getLogger("quarry_dagster")


class Advance(Protocol):
    """Reports that `n` more items are done; `failed` names the kind of failure, where they failed."""

    def __call__(self, n: int, failed: str | None = None) -> None: ...


@contextmanager
def track(stage: str, total: int, unit: str, line_every: float = _LINE_EVERY_S) -> Iterator[Advance]:
    """Show how `total` items of `unit` are worked through; yields the function that reports progress.

    Where there is no terminal, a log line at most every `line_every` seconds.
    """
    if sys.stderr.isatty():
        with _bar(stage, total) as advance:
            yield advance
    else:
        yield _Lines(stage, total, unit, line_every).advance


@contextmanager
def _bar(stage: str, total: int) -> Iterator[Advance]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    note = TextColumn("{task.fields[note]}")
    columns = (TextColumn("{task.description:>16}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), note)
    done = _Done()
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(stage, total=total, note="")

        def advance(n: int, failed: str | None = None) -> None:
            done.add(n, failed)
            progress.update(task, advance=n, note=str(done))

        yield advance


class _Lines:
    def __init__(self, stage: str, total: int, unit: str, line_every: float) -> None:
        self._stage, self._total, self._unit, self._line_every = stage, total, unit, line_every
        self._done = _Done()
        self._last = time.monotonic()

    def advance(self, n: int, failed: str | None = None) -> None:
        self._done.add(n, failed)
        if time.monotonic() - self._last >= self._line_every:
            log.info("%s: %d of %d %s, %s", self._stage, self._done.items, self._total, self._unit, self._done)
            self._last = time.monotonic()


class _Done:
    """What was done since when, and what of it failed."""

    def __init__(self) -> None:
        self.items = 0
        self._failed: Counter[str] = Counter()
        self._start = time.monotonic()

    def add(self, n: int, failed: str | None) -> None:
        self.items += n
        if failed:
            self._failed[failed] += n

    def __str__(self) -> str:
        rate = f"{self.items / max(1e-3, time.monotonic() - self._start):.0f} a second"
        return ", ".join([rate, *(f"{n:,} {kind}" for kind, n in self._failed.most_common())])
