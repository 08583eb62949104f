"""What commands print of the seed files that were read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from quarry_dagster.cli.terminal import safe
from quarry_dagster.intake import SeedReport, passed_over
from quarry_dagster.intake.problems import REPEATED, grouped
from quarry_dagster.plural import plural
from quarry_dagster.seeds import is_table

_LINES_SHOWN = 20


class Say(Protocol):
    """Prints one line on stderr."""

    def __call__(self, text: str, colour: str | None = None, *, indent: int = 2) -> None: ...


def print_passed_over(seed_files: Sequence[str], say: Say) -> None:
    """Print what of the folders that were given is no seed."""
    for line in passed_over(seed_files):
        say(f"seed     {safe(line)}", "yellow", indent=9)


def print_reports(reports: Sequence[SeedReport], say: Say) -> None:
    """Print what became of each seed file, and its first problems."""
    for report in reports:
        known = report.urls - report.added - report.replaced
        is_repeated = any(REPEATED in problem for problem in report.problems)
        parts = [plural(report.urls, "row" if is_table(report.name) else "URL"), f"{report.added:,} new"]
        parts += [f"{report.replaced:,} replaced"] if report.replaced else []
        parts += [f"{known:,} known{' or repeated' if is_repeated else ''}"] if known else []
        parts += [f"{report.withdrawn:,} withdrawn"] if report.withdrawn else []
        say(f"seed     {safe(report.name)}: {', '.join(parts)}", indent=9)
        for line in grouped(report.problems, report.problem_count, _LINES_SHOWN):
            say(f"  {safe(line)}", "yellow", indent=4)
