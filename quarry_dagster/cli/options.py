"""Options and endings that several commands share."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from quarry_dagster.cli.terminal import safe

if TYPE_CHECKING:
    from quarry_dagster.orchestration.runner import Outcome

data_option = click.option(
    "--data", metavar="DIR", help="Data root, a path or an fsspec URL.  [default: $QUARRY_DATA or ./data]"
)
profile_option = click.option(
    "--profile",
    metavar="NAME",
    help="Profile name or YAML path.  [default: $QUARRY_PROFILE, the root's, or detected]",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object, and nothing else.")
strict_option = click.option("--strict", is_flag=True, help="Exit with 1 for warnings too.")


def print_json(found: Any) -> None:
    """Print one JSON object on stdout; control characters are escaped in it."""
    click.echo(json.dumps(found, ensure_ascii=True, default=str))


def report_checks(outcome: Outcome, *, strict: bool) -> int:
    """Name what failed on stderr, and return the exit status: 1 for a failure, or in strict mode for a warning."""
    for failure in outcome.failures:
        click.secho(f"failed: {safe(failure)}", fg="red", err=True)
    for warning in outcome.warnings:
        click.secho(f"warning: {safe(warning)}", fg="yellow", err=True)
    return 1 if outcome.failures or (strict and outcome.warnings) else 0
