"""The command `quarry`: what Dagster's own commands lack. One file a command, loaded when it is called."""

from __future__ import annotations

import signal
import sys
from importlib import import_module
from typing import NoReturn

import click

_COMMANDS = ("run", "check", "explain", "search", "doctor", "forget")
_STOPPED = "quarry: stopped; the same command goes on"


class _Commands(click.Group):
    """The commands. One that is interrupted ends with 130, as shells do; click's own ending is 1."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        # Not at the top: that takes a second, in which nothing would be seen.
        return getattr(import_module(f"quarry_dagster.cli.{cmd_name}"), cmd_name) if cmd_name in _COMMANDS else None

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            _stop()


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="quarry-dagster")
def quarry() -> None:
    """Crawl seeds to a clean, deduplicated, explained text corpus.

    Everything else is Dagster's: `dagster dev` for the UI, `dagster asset materialize` for one asset.
    """


def main() -> None:
    """Entry point: an error that a user can act on is one message, not a traceback."""
    from quarry_dagster.cli import terminal
    from quarry_dagster.errors import QuarryError

    try:
        quarry(color=terminal.has_colour())
    except QuarryError as e:
        terminal.say(f"quarry: {terminal.safe(e)}", colour="red", indent=2)
        sys.exit(1)
    except KeyboardInterrupt:
        _stop()


def _stop() -> NoReturn:
    """End as a shell expects it of what was interrupted."""
    for number in (signal.SIGINT, signal.SIGTERM):  # impatience would only interrupt the tidying up
        signal.signal(number, signal.SIG_IGN)
    click.secho(_STOPPED, fg="red", err=True)
    sys.exit(128 + signal.SIGINT)
