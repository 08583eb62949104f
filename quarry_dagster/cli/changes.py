"""`quarry changes`: what changed since a corpus of before."""

from __future__ import annotations

import click

from quarry_dagster.cli.differences import show
from quarry_dagster.cli.options import data_option, json_option
from quarry_dagster.environment import data_root


@click.command()
@data_option
@click.option("--since", "named", metavar="N-or-TAG", required=True, help="The earlier corpus.")
@click.option("--all", "all_rows", is_flag=True, help="Print a line for every document.")
@json_option
def changes(data: str | None, named: str, all_rows: bool, as_json: bool) -> None:
    """Which documents were added, changed or removed since a corpus of before, each with its cause."""
    show(data_root(data), named, None, all_rows=all_rows, as_json=as_json)
