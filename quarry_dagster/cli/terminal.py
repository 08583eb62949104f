"""What a terminal is given: text that cannot steer it, lines that fit it, colours where they are wanted."""

from __future__ import annotations

import io
import os
import shutil
import stat
import sys
import textwrap
from collections.abc import Iterable
from typing import IO, Any

import click

_NARROW = 40
_LABEL = 15


def safe(text: object) -> str:
    """A stranger's text (a URL, a title, a page) in one line: it cannot move the cursor nor turn what stands beside it.

    See :func:`quarry_dagster.seeds.printable`; white space of any kind is a space.
    """
    from quarry_dagster.seeds import printable  # the seeds' readers load much, and a command says something before

    return printable("".join(" " if c.isspace() else c for c in str(text)))


class _Outlived(io.FileIO):
    """A stream whose reader may end before us, such as `head`: what nobody reads any more is no failure of the work."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data) or 0
        except BrokenPipeError:
            return len(memoryview(data).cast("B"))


def outlive_readers() -> None:
    """From now on, what is printed to a pipe that nobody reads any more is lost, and the work goes on to its end."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is getattr(sys, f"__{name}__") and stream and stat.S_ISFIFO(os.fstat(stream.fileno()).st_mode):
            stream.flush()
            raw = _Outlived(stream.fileno(), "w", closefd=False)
            lined = name == "stderr"
            text = io.TextIOWrapper(io.BufferedWriter(raw), stream.encoding, stream.errors, line_buffering=lined)
            setattr(sys, name, text)


def is_live(stream: IO[Any]) -> bool:
    """Whether lines on this stream can be drawn over."""
    return stream.isatty() and os.environ.get("TERM") not in ("dumb", "unknown", "", None)


def has_colour() -> bool | None:
    """False where no colour is wanted; None: click may look whether the stream is a terminal."""
    return False if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" else None


def fitted(text: str, stream: IO[Any], *, indent: int = 0) -> str:
    """The text in lines as wide as the terminal, all but the first indented; as it is where there is no terminal.

    No path and no URL is broken.
    """
    if not stream.isatty():
        return text
    width = max(_NARROW, shutil.get_terminal_size().columns)
    lines = textwrap.wrap(text, width, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False)
    return "\n".join(lines)


def print_rows(rows: Iterable[tuple[str, str]]) -> None:
    """Print labels with what each is about on stdout, in two columns."""
    for label, text in rows:
        click.echo(fitted(f"{label:<{_LABEL}}{text}", sys.stdout, indent=_LABEL))


def say(text: str, *, colour: str | None = None, indent: int = 2) -> None:
    """A line on stderr."""
    click.secho(fitted(text, sys.stderr, indent=indent), fg=colour, err=True, color=has_colour())
