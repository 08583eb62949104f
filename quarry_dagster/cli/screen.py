"""How a run is shown on stderr: a line a stage that stays, and below them, on a terminal, how far the stage is.

Elsewhere (a pipe, a file, a journal) each line is plain, and while a stage works there is one every ten seconds.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TextIO

import click

from quarry_dagster import progress
from quarry_dagster.cli import terminal
from quarry_dagster.plural import plural
from quarry_dagster.progress import Work

if TYPE_CHECKING:
    from rich.text import Text

    from quarry_dagster.stages.report import StageReport

_EVERY_S = 10.0
_ECHOED = 6
"""Columns that are left free for what a terminal echoes, such as ^C."""
_FRAMES_A_SECOND = 5
_BAR = 14
_NAME = 16
_LABEL = len("1 of 6  ") + _NAME


@dataclass
class _Stage:
    """A stage, over all runs of the command."""

    name: str
    place: str
    parts: int
    """Partitions that the runs will bring, as far as it is known."""
    parts_done: int = 0
    began: float = field(default_factory=time.monotonic)
    """Of the time that it works, the beginning: moved on by the time that others worked in between."""
    ended: float | None = None
    said: str = ""
    """What came of it so far; empty while it runs for the first time."""

    def seconds(self) -> float:
        return (self.ended or time.monotonic()) - self.began


class Screen:
    """Shows the stages of the runs of one command; see :class:`quarry_dagster.progress.Display`."""

    def __init__(self, every: float = _EVERY_S) -> None:
        self._every = every
        self._stages: dict[str, _Stage] = {}
        self._open: list[str] = []  # stages whose lines are not printed for good
        self._now: _Stage | None = None
        self._doing, self._since = "starting", time.monotonic()
        self._works: list[Work] = []
        self._stream: TextIO = sys.stderr
        self._live = terminal.is_live(sys.stderr)
        self._exit = ExitStack()
        self._print = self._echo
        self._paused: Callable[[], AbstractContextManager[None]] = nullcontext

    def __enter__(self) -> Screen:
        # What a library or a worker writes to the stream meanwhile cannot be helped; our own log lines come through us.
        handler = _Handler(self)
        logger = logging.getLogger("quarry_dagster")
        before = logger.level, logger.propagate
        logger.setLevel(logging.INFO)
        logger.propagate = False
        logger.addHandler(handler)

        def restore() -> None:
            logger.removeHandler(handler)
            logger.level, logger.propagate = before

        self._exit.callback(restore)
        self._exit.enter_context(progress.shown_on(self))
        self._exit.enter_context(self._drawn() if self._live else self._ticking())
        return self

    def __exit__(self, *_: object) -> None:
        self._exit.close()
        self.settle()

    # What the command and its runs say.

    def say(self, text: str, colour: str | None = None, *, indent: int = 2) -> None:
        """A line that stays."""
        self._print(terminal.fitted(text, self._stream, indent=indent), colour)

    def confirm(self, question: str) -> None:
        """Ask whether to go on.

        Raises:
            Abort: the answer is no.
            KeyboardInterrupt: or an interruption.
        """
        self.doing("")
        signal.siginterrupt(signal.SIGINT, True)  # polars' own handler has the reading of an answer go on
        with self._paused():
            try:
                answer = click.confirm(question, err=True)
            except click.Abort:
                click.echo(err=True)
                raise KeyboardInterrupt from None
            if not answer:
                raise click.Abort

    def doing(self, what: str) -> None:
        """What is done now that is no stage; empty: nothing."""
        self._doing, self._since = what, time.monotonic()

    def begins(self, stage: str, place: int, of: int, parts: int) -> None:
        """A stage begins, or goes on with the partitions of another run; `parts` are all that are known of."""
        self.doing("")
        known = self._stages.get(stage)
        if known is None:
            known = self._stages[stage] = _Stage(stage, f"{place} of {of}", parts)
        elif known.ended is not None:
            known.began += time.monotonic() - known.ended
            known.ended = None
        known.parts = max(parts, known.parts_done + 1)
        if stage not in self._open:
            self._open.append(stage)
        self._now = known

    def ends(self, stage: str, report: StageReport | None, *, is_last: bool) -> None:
        """The stage is through with a run; `is_last` where no other is known to follow.

        Args:
            report: all that it did until now; None where it failed.
        """
        known, self._now = self._stages[stage], None
        known.ended = time.monotonic()
        known.said = _account(stage, report) if report else "failed"
        if is_last and not self._live:
            self._close(stage)

    def settle(self) -> None:
        """The stages that ended will not go on: their lines are printed for good."""
        for stage in list(self._open):
            if self._stages[stage].said:
                self._close(stage)

    def _close(self, stage: str) -> None:
        if stage in self._open:
            self._open.remove(stage)
            self.say(self._line(self._stages[stage]), indent=_LABEL)

    # What stages say, through `progress`.

    @contextmanager
    def track(self, work: Work) -> Iterator[None]:
        self._works.append(work)
        try:
            yield
        finally:
            self._works.remove(work)

    def part(self) -> None:
        if self._now:
            self._now.parts_done += 1

    # How it looks.

    def _line(self, stage: _Stage) -> str:
        """Of a stage that is done, or done with a run."""
        return f"{stage.place}  {stage.name:<{_NAME}}{stage.said}, {stage.seconds():.1f} s"

    def _state(self) -> tuple[str, float | None, list[str]]:
        """What works now, how much of it is done, and what else is to be said, the most important first."""
        stage, work = self._now, next(iter(self._works[-1:]), None)
        if stage is None and work is None:
            doing = self._doing
            return (f"{'':8}{doing}  ", None, [_seconds(time.monotonic() - self._since)]) if doing else ("", None, [])
        name = f"{stage.place}  {stage.name:<{_NAME}}" if stage else f"{'':8}{work.stage if work else '':<{_NAME}}"
        begun = stage.began if stage else self._since
        if work is None and not (stage and stage.parts_done):
            return name, None, [_seconds(time.monotonic() - begun)]
        share = work.share if work else 0.0
        if share is not None and stage and stage.parts > 1:
            share = min(1.0, (stage.parts_done + share) / stage.parts)
        if work is None:
            return name, share, _place(stage)
        counted = f"{work.done:,}" if work.total is None else f"{work.done:,}/{work.total:,}"
        more = [f"{counted} {work.unit}"]
        if work.rate >= 0.05:
            more.append(f"{work.rate:,.0f}/s" if work.rate >= 10 else f"{work.rate:.1f}/s")
        if left := _left(work, stage, share):
            more.append(left)
        return name, share, more + _place(stage) + work.failures

    def _plain(self) -> str:
        """What is done now, in a line for a pipe."""
        name, _, more = self._state()
        return f"{name}{', '.join(more)}" if name else ""

    @contextmanager
    def _ticking(self) -> Iterator[None]:
        """A line every so often, where nothing can be drawn."""
        end = threading.Event()

        def tick() -> None:
            while not end.wait(self._every):
                if line := self._plain():
                    self._print(line, None)

        thread = threading.Thread(target=tick, name="progress", daemon=True)
        thread.start()
        try:
            yield
        finally:
            end.set()
            thread.join()

    @contextmanager
    def _drawn(self) -> Iterator[None]:
        """What is done now, drawn over again and again below what stays."""
        from rich.console import Console
        from rich.live import Live
        from rich.text import Text

        def frame() -> Text:
            now, bar = self._now, self._bar()
            shown = [self._stages[name] for name in list(self._open)]
            lines = [bar if stage is now else Text(self._line(stage)) for stage in shown if stage is now or stage.said]
            lines += [bar] if now is None else []
            shown_lines = [line for line in lines if line]
            for line in shown_lines:  # a ^C that the terminal echoes must not make a row more than rich knows of
                line.truncate(max(1, console.width - _ECHOED), overflow="ellipsis")
            return Text("\n", no_wrap=True, overflow="ellipsis").join(shown_lines)

        # Dagster may turn the stream's descriptor to a file while it runs a step: this one stays the terminal's.
        with os.fdopen(os.dup(self._stream.fileno()), "w", encoding="utf-8") as own:
            console = Console(file=own, force_terminal=True, highlight=False)
            live = Live(get_renderable=frame, console=console, refresh_per_second=_FRAMES_A_SECOND, transient=True)

            def printed(text: str, colour: str | None) -> None:
                console.print(Text(text, style=colour or ""), soft_wrap=True)

            @contextmanager
            def paused() -> Iterator[None]:
                live.stop()
                yield
                live.start()

            with live:
                self._print, self._paused = printed, paused
                try:
                    yield
                finally:
                    self._print, self._paused = self._echo, nullcontext

    def _bar(self) -> Text | None:
        from rich.text import Text

        name, share, more = self._state()
        if not name:
            return None
        line = Text(name, no_wrap=True, overflow="ellipsis")
        if share is not None:
            full = round(share * _BAR)
            # Other characters, as colours may be unwanted, and a share in figures, as a short bar moves seldom.
            line.append("━" * full, "cyan").append("┄" * (_BAR - full), "bright_black").append(f" {share:4.0%}  ")
        return line.append("  ".join(more), "default")

    def _echo(self, text: str, colour: str | None) -> None:
        click.secho(text, fg=colour, err=True, color=terminal.has_colour())


class _Handler(logging.Handler):
    """Our own log lines, among the lines that stay."""

    def __init__(self, screen: Screen) -> None:
        super().__init__()
        self._screen = screen

    def emit(self, record: logging.LogRecord) -> None:
        self._screen.say(terminal.safe(record.getMessage()))


def _account(stage: str, report: StageReport) -> str:
    """What came of a stage, and what of it was there before."""
    from quarry_dagster.store.schemas import WITH_BODY  # which loads polars

    outcomes = report.outcomes
    if stage == "raw_pages":
        came = {name: outcomes[name] for name in (*WITH_BODY, "held") if outcomes[name]}
        lacking = report.rows - sum(came.values())
        return _joined(plural(report.rows, "page"), came | ({"not fetched": lacking} if lacking else {}))
    if stage == "extracted_text":
        reused = report.rows - report.worked - outcomes["not_fetched"]
        return f"{plural(report.rows, 'page')}, {plural(outcomes['extracted'], 'text')}" + _reused(reused)
    if stage == "embeddings":
        return plural(report.rows, "text") + _reused(report.rows - report.worked)
    if stage == "page_metadata":
        in_part = outcomes["described in part"]
        why = f", {in_part:,} in part: see its column detail" if in_part else ""
        return plural(report.rows, "page") + _reused(report.rows - report.worked) + why
    if stage == "quality_signals":
        return plural(report.rows, "text") + _reused(report.rows - report.worked)
    if stage == "personal_data":
        found = {name: n for name, n in outcomes.items() if name != "unchanged"}
        return _joined(plural(report.rows, "text") + _reused(report.rows - report.worked), found)
    if stage == "faiss_index":
        gone = f", {outcomes['removed']:,} removed" if outcomes["removed"] else ""
        return plural(report.rows, "vector") + _reused(report.rows - outcomes["added"]) + gone
    if stage == "deduped_corpus":
        removed = {name: n for name, n in outcomes.items() if name != "kept"}
        return _joined(f"{report.rows:,} kept", removed) + f", {plural(report.worked, 'pair')} compared"
    return "written" if report.written else "unchanged"


def _joined(begin: str, outcomes: dict[str, int]) -> str:
    return ", ".join([begin, *(f"{n:,} {name}" for name, n in outcomes.items() if n)])


def _reused(n: int) -> str:
    return f", {n:,} reused" if n > 0 else ""


def _place(stage: _Stage | None) -> list[str]:
    """Which partition a stage is at, where there are several."""
    if stage is None or stage.parts <= 1:
        return []
    return [f"partition {min(stage.parts_done + 1, stage.parts):,} of {stage.parts:,}"]


def _left(work: Work, stage: _Stage | None, share: float | None) -> str:
    """How long it still takes at this pace."""
    if work.total is None or share is None or not work.rate or work.done >= work.total:
        return ""
    if stage and stage.parts > 1:
        return f"{_seconds(stage.seconds() * (1 - share) / share)} left" if share else ""
    return f"{_seconds((work.total - work.done) / work.rate)} left"


def _seconds(seconds: float) -> str:
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02}"
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"
