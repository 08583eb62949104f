"""Progress of long work: stages report it, and a display shows it.

Without a display of a command it is a log line now and then, which is what Dagster's UI shows of a run.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol, TypeVar

_LINE_EVERY_S = 10.0

log = logging.getLogger("quarry_dagster")

T = TypeVar("T")


class Advance(Protocol):
    """Reports that `n` more items are done; `failed` names the kind of failure, where they failed."""

    def __call__(self, n: int, failed: str | None = None) -> None: ...


class Display(Protocol):
    """What shows progress to somebody."""

    def track(self, work: Work) -> AbstractContextManager[object]:
        """Show this work while the block runs."""
        ...

    def part(self) -> None:
        """One more partition of the stage that runs is done."""
        ...


class Work:
    """Items of one kind that are worked through, and how far that is."""

    def __init__(self, stage: str, total: int | None, unit: str, done: int = 0) -> None:
        self.stage, self.total, self.unit = stage, total, unit
        self.done = done
        self.failed: Counter[str] = Counter()
        self._found = done
        self._start = time.monotonic()

    def advance(self, n: int, failed: str | None = None) -> None:
        self.done += n
        if failed:
            self.failed[failed] += n

    @property
    def share(self) -> float | None:
        """How much of it is done, from 0 to 1; None where nobody knows how much there is."""
        return None if self.total is None else min(1.0, self.done / self.total) if self.total else 1.0

    @property
    def rate(self) -> float:
        """Items a second, without those that were found done."""
        return (self.done - self._found) / max(1e-3, time.monotonic() - self._start)

    @property
    def failures(self) -> list[str]:
        failed = Counter(dict(self.failed))  # a copy: a display may read in a thread of its own
        return [f"{n:,} {kind}" for kind, n in failed.most_common()]


class LogLines:
    """Progress as log lines, at most one every so many seconds."""

    def __init__(self, every: float = _LINE_EVERY_S) -> None:
        self._every = every

    @contextmanager
    def track(self, work: Work) -> Iterator[None]:
        advance, last = work.advance, time.monotonic()

        def logged(n: int, failed: str | None = None) -> None:
            nonlocal last
            advance(n, failed)
            if time.monotonic() - last >= self._every:
                of = "" if work.total is None else f" of {work.total}"
                pace = ", ".join([f"{work.rate:.0f} a second", *work.failures])
                log.info("%s: %d%s %s, %s", work.stage, work.done, of, work.unit, pace)
                last = time.monotonic()

        work.advance = logged
        yield

    def part(self) -> None:
        """Each partition has a log line of its own."""


_display: Display = LogLines()


@contextmanager
def shown_on(display: Display) -> Iterator[None]:
    """Show progress on this display while the block runs."""
    global _display
    before, _display = _display, display
    try:
        yield
    finally:
        _display = before


@contextmanager
def track(stage: str, total: int | None, unit: str, *, done: int = 0) -> Iterator[Advance]:
    """Show how items of `unit` are worked through; yields the function that reports progress.

    Args:
        stage: the asset, or what else works.
        total: how many there are; None where nobody knows.
        done: so many of them were found done.
    """
    work = Work(stage, total, unit, done)
    with _display.track(work):
        yield lambda n, failed=None: work.advance(n, failed)


def parts(partitions: Sequence[T]) -> Iterator[T]:
    """The partitions, one after the other; the display is told when each is done."""
    for partition in partitions:
        yield partition
        _display.part()


def counted(items: Iterable[T], stage: str, total: int | None, unit: str) -> Iterator[T]:
    """The items, each reported as done when the next is asked for."""
    with track(stage, total, unit) as advance:
        for item in items:
            yield item
            advance(1)
