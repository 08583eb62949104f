"""Ctrl-C: it ends a command with one line and status 130, whatever it comes upon."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from types import FrameType
from typing import NoReturn

import click

_STOPPED = "stopped"
_GOES_ON = "stopped; the same command goes on"
_GO_ON = ("run", "forget")
"""Commands whose work is kept where they are stopped."""
_AGAIN_S = 0.05
_NAMES = ("KeyboardInterrupt", "DagsterExecutionInterruptedError")
"""What a handler raises: Python's, or Dagster's while it runs a step."""


_came = threading.Event()
_command = ""


def begun(command: str) -> None:
    """From now on it is this command that is interrupted."""
    global _command
    _command = command


def lose_none() -> None:
    """From now on, an interruption that Python would only print, since it came while an object was freed, comes again.

    Nothing can be raised from there, so the work would go on as if nobody had asked for its end. What an interruption
    left half done, such as a writer whose file is closed, says nothing when it is freed.
    """
    before = sys.unraisablehook
    # It would print a traceback of an interruption that comes while it closes a connection, and raises that anyway.
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)

    def handler(number: int, frame: FrameType | None) -> None:
        _came.set()
        signal.default_int_handler(number, frame)

    _came.clear()
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not where whoever started it has it ignored
        signal.signal(signal.SIGINT, handler)

    def hook(unraisable: sys.UnraisableHookArgs) -> None:
        if unraisable.exc_type.__name__ in _NAMES:
            threading.Timer(_AGAIN_S, os.kill, (os.getpid(), signal.SIGINT)).start()
        elif not _came.is_set():
            before(unraisable)

    sys.unraisablehook = hook


def came() -> bool:
    """Whether an interruption came, whatever became of it."""
    return _came.is_set()


def stop() -> NoReturn:
    """Say that the command was stopped, and end as shells expect it of what was interrupted."""
    for number in (signal.SIGINT, signal.SIGTERM):  # impatience would only interrupt the tidying up
        signal.signal(number, signal.SIG_IGN)
    said = _GOES_ON if _command in _GO_ON else _STOPPED
    if "--json" in sys.argv:
        from quarry_dagster.cli.options import print_json

        print_json({"error": said})
    click.secho(f"quarry: {said}", fg="red", err=True)
    sys.exit(128 + signal.SIGINT)


def end(status: object) -> None:
    """The command is through, with this status: an interruption that comes while Python ends makes no traceback.

    One that came before, and that a library took for itself, counts all the same.
    """
    if status == 128 + signal.SIGINT:
        return
    if came():
        stop()

    def handler(number: int, frame: FrameType | None) -> None:
        said = _GOES_ON if _command in _GO_ON else _STOPPED
        os.write(2, f"quarry: {said}\n".encode())
        os._exit(128 + signal.SIGINT)

    if callable(signal.getsignal(signal.SIGINT)):
        signal.signal(signal.SIGINT, handler)
