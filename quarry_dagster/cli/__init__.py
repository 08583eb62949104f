"""The command `quarry`: what Dagster's own commands lack. One file a command, loaded when it is called."""

from __future__ import annotations

import sys
from importlib import import_module

import click

from quarry_dagster.cli.interruption import lose_none, stop

_COMMANDS = ("run", "check", "explain", "search", "doctor", "forget")


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
            stop()


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

    lose_none()
    try:
        quarry(color=terminal.has_colour())
    except QuarryError as e:
        terminal.say(f"quarry: {terminal.safe(e)}", colour="red", indent=2)
        sys.exit(1)
    except KeyboardInterrupt:
        stop()
