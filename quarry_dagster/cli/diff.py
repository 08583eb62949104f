"""`quarry diff`: what changed between two corpora."""

from __future__ import annotations

import click

from quarry_dagster.cli.differences import show
from quarry_dagster.cli.options import data_option, json_option
from quarry_dagster.environment import data_root


@click.command()
@click.argument("before", metavar="A")
@click.argument("after", metavar="B")
@data_option
@click.option("--all", "all_rows", is_flag=True, help="Print a line for every document.")
@json_option
def diff(before: str, after: str, data: str | None, all_rows: bool, as_json: bool) -> None:
    """Which documents were added, changed or removed from corpus A to corpus B (numbers or tags), each with its cause.

    `quarry tag` lists the corpora that are kept.
    """
    show(data_root(data), before, after, all_rows=all_rows, as_json=as_json)
