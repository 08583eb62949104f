"""What commands print of the seed files that were read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from quarry_dagster.cli.terminal import safe
from quarry_dagster.intake import SeedReport

_PROBLEMS_SHOWN = 20


class Say(Protocol):
    """Prints one line on stderr."""

    def __call__(self, text: str, colour: str | None = None, *, indent: int = 2) -> None: ...


def print_reports(reports: Sequence[SeedReport], say: Say) -> None:
    """Print what became of each seed file, and its first problems."""
    for report in reports:
        known = report.urls - report.added - report.replaced
        parts = [f"{report.urls:,} URLs", f"{report.added:,} new"]
        parts += [f"{report.replaced:,} replaced"] if report.replaced else []
        parts += [f"{known:,} known"] if known else []
        parts += [f"{report.withdrawn:,} withdrawn"] if report.withdrawn else []
        say(f"seed     {safe(report.name)}: {', '.join(parts)}", indent=9)
        for problem in report.problems[:_PROBLEMS_SHOWN]:
            say(f"  {safe(problem)}", "yellow", indent=4)
        if report.problem_count > _PROBLEMS_SHOWN:
            say(f"  ... and {report.problem_count - _PROBLEMS_SHOWN:,} more problems", "yellow")
