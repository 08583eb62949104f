"""Problems of a seed file as they are told: those of one kind together, so that many of one do not hide another.

A kind is a reason without the numbers and the quoted values in it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from quarry_dagster import seeds
from quarry_dagster.intake.ledger import SeedReport

REPEATED = "stands in this file before"
"""What the problem of a row says whose document the file has twice."""
_FIRST = 3
"""So many problems of a kind are told with their rows; the others are counted."""
_EXCERPT = 80
"""Characters of a row that are told with its problem."""
_VARYING = re.compile(r"'[^']*'|\"[^\"]*\"|\d+")
_EXCERPT_AT_END = re.compile(r" \[.*\]$", re.DOTALL)
_ADDRESS = re.compile(r"(?:https?://|urn:)\S+", re.IGNORECASE)
_TOLD = re.compile(r"(?P<where>.*?): (?:and (?P<more>[\d,]+) more like it: )?(?P<reason>.*?)(?: \[.*\])?")


def _kind(reason: str) -> str:
    return _VARYING.sub("0", reason)


class Problems:
    """Takes down in a report the problems of one reading."""

    def __init__(self, report: SeedReport) -> None:
        self._report = report
        self._found: dict[str, tuple[int, str]] = {}

    def add(self, problem: seeds.Problem) -> None:
        """Report a problem; of a kind that was told often enough it is only counted."""
        kind = _kind(problem.reason)
        count, reason = self._found.get(kind, (0, problem.reason))
        self._found[kind] = count + 1, reason
        if count < _FIRST:
            text = problem.text if len(problem.text) <= _EXCERPT else f"{problem.text[:_EXCERPT]}…"
            self._report.report(problem.line, problem.reason, text, costs_row=problem.costs_row)
        else:
            self._report.problem_count += 1
            self._report.lost += problem.costs_row

    def end(self) -> None:
        """Say of each kind how many more there were."""
        for count, reason in self._found.values():
            if count > _FIRST:
                self._report.problems.append(f"{self._report.name}: and {count - _FIRST:,} more like it: {reason}")


def without_values(problem: str) -> str:
    """A problem of a report without what its row says: for whoever keeps it where no takedown reaches."""
    found = _TOLD.fullmatch(problem)
    reason = problem.removeprefix(f"{found['where']}: ") if found else problem
    reason = _EXCERPT_AT_END.sub("", _ADDRESS.sub("…", re.sub(r"'[^']*'|\"[^\"]*\"", "…", reason)))
    return f"{found['where']}: {reason}" if found else reason


def grouped(problems: Sequence[str], count: int, limit: int) -> list[str]:
    """The problems of a report in so many lines at most, each kind's first together, and how many more there are.

    `count` is how many there are in all.
    """
    kinds: dict[str, list[str]] = {}
    more: Counter[str] = Counter()
    for problem in problems:
        told = _TOLD.fullmatch(problem)
        kind = _kind(told["reason"] if told else problem)
        rows = kinds.setdefault(kind, [])
        if told and told["more"]:
            more[kind] += int(told["more"].replace(",", ""))
        elif len(rows) < _FIRST:
            rows.append(problem)
        else:
            more[kind] += 1
    lines: list[tuple[str, int]] = []
    for kind, rows in kinds.items():
        lines += [(row, 1) for row in rows]
        lines += [(f"... and {more[kind]:,} more like it", more[kind])] if more[kind] else []
    rest = count - sum(n for _, n in lines[:limit])
    return [line for line, _ in lines[:limit]] + ([f"... and {rest:,} more"] if rest > 0 else [])
