"""`quarry seeds`: what each seed brought."""

from __future__ import annotations

from dataclasses import asdict

import click

from quarry_dagster.cli.options import data_option, json_option, print_json
from quarry_dagster.cli.terminal import safe
from quarry_dagster.environment import data_root
from quarry_dagster.intake.listing import list_seeds
from quarry_dagster.intake.problems import grouped
from quarry_dagster.plural import plural
from quarry_dagster.store import Store

_LINES_SHOWN = 12


@click.command()
@data_option
@json_option
def seeds(data: str | None, as_json: bool) -> None:
    """List each seed with its lines, documents, problems, and last change."""
    root = data_root(data)
    found = list_seeds(Store.existing(root))
    if as_json:
        print_json({"data": root, "seeds": [asdict(seed) for seed in found]})
        return
    if not found:
        click.echo(f"no seed was ever put into {root}")
    for seed in found:
        of = f", documents named {seed.name!r}" if seed.name else ""
        click.echo(f"{seed.seed}{of}{', a mirror' if seed.mirror else ''}")
        counts = ((seed.lines, "line"), (seed.pages, "page"), (seed.documents, "accepted document"))
        what = ", ".join(plural(n, one) for n, one in (*counts, (seed.problem_count, "problem")))
        click.echo(f"  {what}")
        there = f"changed {seed.changed_at}" if seed.changed_at else "no longer in the inbox"
        click.echo(f"  {there}, {f'taken in {seed.taken_at}' if seed.taken_at else 'not taken in yet'}")
        for line in grouped(seed.problems, seed.problem_count, _LINES_SHOWN):
            click.secho(f"    {safe(line)}", fg="yellow")
