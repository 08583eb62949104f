"""What commands print of the seed files that were read."""

from __future__ import annotations

from collections.abc import Sequence

import click

from quarry_dagster.intake import SeedReport

_PROBLEMS_SHOWN = 20


def print_reports(reports: Sequence[SeedReport]) -> None:
    """Print what became of each seed file, and its first problems."""
    for report in reports:
        known = report.urls - report.added - report.replaced
        parts = [f"{report.urls:,} URLs", f"{report.added:,} new"]
        parts += [f"{report.replaced:,} replaced"] if report.replaced else []
        parts += [f"{known:,} known"] if known else []
        parts += [f"{report.withdrawn:,} withdrawn"] if report.withdrawn else []
        click.echo(f"seed {report.name}: {', '.join(parts)}", err=True)
        for problem in report.problems[:_PROBLEMS_SHOWN]:
            click.secho(f"  {problem}", fg="yellow", err=True)
        if report.problem_count > _PROBLEMS_SHOWN:
            click.secho(f"  ... and {report.problem_count - _PROBLEMS_SHOWN:,} more problems", fg="yellow", err=True)
