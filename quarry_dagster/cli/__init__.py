"""The command `quarry`: what Dagster's own commands lack. One file a command."""

import signal
import sys

import click

from quarry_dagster.cli.check import check
from quarry_dagster.cli.doctor import doctor
from quarry_dagster.cli.explain import explain
from quarry_dagster.cli.forget import forget
from quarry_dagster.cli.options import print_json
from quarry_dagster.cli.run import run
from quarry_dagster.cli.search import search
from quarry_dagster.cli.seeds import seeds
from quarry_dagster.cli.try_page import try_page
from quarry_dagster.errors import QuarryError


class _Commands(click.Group):
    """A group of commands that end with 130 when interrupted, as shells do; click's own ending is 1."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.secho("quarry: interrupted", fg="red", err=True)
            sys.exit(128 + signal.SIGINT)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="quarry-dagster")
def quarry() -> None:
    """Crawl seeds to a clean, deduplicated, explained text corpus.

    Everything else is Dagster's: `dagster dev` for the UI, `dagster asset materialize` for one asset.
    """


for command in (try_page, run, seeds, check, explain, search, doctor, forget):
    quarry.add_command(command)


def main() -> None:
    """Entry point: an error that a user can act on is one message, not a traceback."""
    try:
        quarry()
    except QuarryError as e:
        if "--json" in sys.argv:
            print_json({"error": str(e)})
        click.secho(f"quarry: {e}", fg="red", err=True)
        sys.exit(1)
