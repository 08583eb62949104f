"""The command `quarry`: what Dagster's own commands lack. One file a command, loaded when it is called."""

from __future__ import annotations

import gc
import sys
from importlib import import_module

import click

from quarry_dagster.cli.interruption import begun, came, end, lose_none, stop

_MODULES = {"try": "try_page"} | {
    name: name
    for name in (
        *("run", "seeds", "check", "explain", "search", "doctor", "forget"),
        *("export", "serve", "metrics", "policy", "changes", "diff", "tag", "rollback", "sweep"),
    )
}
"""Where each command is; its function has the module's name."""


class _Commands(click.Group):
    """The commands. One that is interrupted ends with 130, as shells do; click's own ending is 1."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        # Not at the top: that takes a second, in which nothing would be seen.
        if (name := _MODULES.get(cmd_name)) is None:
            return None
        begun(name)
        return getattr(import_module(f"quarry_dagster.cli.{name}"), name)

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
    """Entry point of the process that the command is."""
    from quarry_dagster.cli import terminal

    terminal.outlive_readers()
    # What loads is a million objects that stay, and to look for garbage among them takes a second.
    gc.set_threshold(10_000)
    try:
        command()
    except SystemExit as e:
        end(e.code)
        raise


def command() -> None:
    """The command, by the arguments of this process: an error that a user can act on is one message, no traceback."""
    from quarry_dagster.cli import terminal
    from quarry_dagster.errors import QuarryError

    lose_none()
    try:
        quarry(color=terminal.has_colour())
    except KeyboardInterrupt:
        stop()
    except Exception as e:
        if came():  # and a library, or Python while it imports, made another error of it
            stop()
        if not isinstance(e, QuarryError):
            raise
        if "--json" in sys.argv:
            from quarry_dagster.cli.options import print_json

            print_json({"error": str(e)})
        terminal.say(f"quarry: {terminal.safe(e)}", colour="red", indent=2)
        sys.exit(1)
