"""The ledger: which seed files were taken in, how far, and what became of each."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import polars as pl

from quarry_dagster import seeds
from quarry_dagster.errors import StoreError
from quarry_dagster.store import Forgotten, Store
from quarry_dagster.store.schemas import PROBLEMS

_KEY = "ledger/"
_PROBLEMS_KEPT = 100
_TOLD = re.compile(r"(?::(?P<line>\d+))?: (?:and (?P<more>[\d,]+) more like it: )?(?P<reason>.*)", re.DOTALL)


@dataclass
class SeedReport:
    """What became of one seed file, in all the readings it took."""

    name: str
    urls: int = 0  # lines that name a URL or carry a document
    added: int = 0  # URLs not known before
    replaced: int = 0  # documents carried by the seed that changed
    withdrawn: int = 0  # documents that the seed, a mirror, no longer names
    problem_count: int = 0
    problems: list[str] = field(default_factory=list)  # the first hundred, as "file:line: reason"
    done: bool = False  # else it stays pending: its time was up, or it could not be read
    error: str = ""  # why it could not be read
    invalid: int = 0  # of `urls`, lines that name no http(s) URL
    lost: int = 0  # problems that cost a row, or the file

    def report(self, line: int | None, reason: str, text: str = "", *, costs_row: bool = True) -> None:
        self.problem_count += 1
        self.lost += costs_row
        if len(self.problems) < _PROBLEMS_KEPT:
            where = self.name if line is None else f"{self.name}:{line}"
            self.problems.append(f"{where}: {reason}" + (f" [{text}]" if text else ""))

    def hold(self, why: str) -> None:
        """The file is not read in this run, which is no problem of its."""
        self.error = f"{self.name}: {why}"
        self.problems.append(self.error)

    def fail(self, error: str) -> None:
        """The file cannot be read."""
        self.error = error
        self.problems.append(error)
        self.problem_count += 1


@dataclass(frozen=True)
class Entry:
    """What the ledger holds of one seed file."""

    state: str
    """The file's state when it was read, see :func:`quarry_dagster.intake.inbox.waiting`."""
    urls: int
    added: int
    replaced: int
    problem_count: int
    problems: list[str]
    taken_at: str = ""
    """ISO 8601, UTC."""
    place: dict[str, Any] | None = None
    """Where reading goes on; None: the file was read to its end."""
    withdrawn: int = 0
    lost: int = 0
    name: str = ""
    """The namespace of its ids; "" where a version before read it."""
    mirror: bool = False
    unended: str = ""
    """The last line of a list of URLs that no line feed ended; "" where there is none."""

    def stored(self) -> dict[str, Any]:
        """The entry as JSON values by name."""
        return {name: value for name, value in asdict(self).items() if name != "place" or value is not None}


class Ledger:
    """The entries by the name of the seed file; kept in the log, an entry a value."""

    def __init__(self, entries: dict[str, Entry]) -> None:
        self.entries = entries

    @classmethod
    def read(cls, store: Store) -> Ledger:
        """The ledger as it stands.

        Raises:
            StoreError: the log is damaged, or of a later version.
        """
        try:
            return cls({name: Entry(**entry) for name, entry in store.files.log.values(_KEY).items()})
        except (TypeError, AttributeError) as e:
            raise StoreError(f"what {store.files.url('log')} says of the seeds is unknown to this version: {e}") from e

    def put(self, store: Store, entries: Mapping[str, Entry]) -> None:
        """Put these entries in the place of those that are there, in one commit."""
        self.entries.update(entries)
        lines = [{"set": {"key": f"{_KEY}{name}", "value": entry.stored()}} for name, entry in entries.items()]
        store.files.log.commit(lambda _: lines)

    def forget(self, store: Store, forgotten: Forgotten) -> None:
        """Take out what is said of lines that name what is forgotten; how many problems there were stays."""
        changed: dict[str, Entry] = {}
        for name, entry in self.entries.items():
            kept = [line for line in entry.problems if not forgotten.is_named_in(line)]
            unended = "" if forgotten.is_named_in(entry.unended) else entry.unended
            if (kept, unended) != (entry.problems, entry.unended):
                changed[name] = replace(entry, problems=kept, unended=unended)
        if changed:
            self.put(store, changed)

    def read_again(self, store: Store, names: Collection[str]) -> None:
        """Have the next run read these seed files once more, as far as they are in the inbox."""
        self.put(store, {name: replace(self.entries[name], state="") for name in names if name in self.entries})

    def waiting(self, inbox: dict[str, str]) -> dict[str, str]:
        """Of the files in the inbox (states by name) those that are new, changed, or not read to their end."""
        return {name: state for name, state in inbox.items() if not self._is_done(name, state)}

    def begun(self, name: str, state: str) -> tuple[SeedReport, seeds.Place]:
        """Where to go on: report and place of a reading of the same bytes that stopped half-way, or empty ones."""
        entry = self.entries.get(name)
        text = seeds.shown(name)  # a name that is no UTF-8 is no text that a table takes
        if entry is None or entry.state != state or entry.place is None:
            return SeedReport(text), seeds.Place()
        report = SeedReport(
            text,
            urls=entry.urls,
            added=entry.added,
            replaced=entry.replaced,
            problem_count=entry.problem_count,
            problems=list(entry.problems),
            lost=entry.lost,
        )
        return report, seeds.Place(**entry.place)

    def _is_done(self, name: str, state: str) -> bool:
        entry = self.entries.get(name)
        return entry is not None and entry.state == state and entry.place is None


def entry_of(state: str, report: SeedReport, place: seeds.Place, settings: seeds.SeedSettings, unended: str) -> Entry:
    """The entry of a seed file that was read just now, to its end or to a place."""
    return Entry(
        state,
        report.urls,
        report.added,
        report.replaced,
        report.problem_count,
        report.problems,
        taken_at=datetime.now(UTC).isoformat(timespec="seconds"),
        place=None if report.done else asdict(place),
        withdrawn=report.withdrawn,
        lost=report.lost,
        name=settings.name,
        mirror=settings.mirror,
        unended=unended,
    )


def problems_in(ledger: Ledger) -> pl.DataFrame:
    """The problems of all seed files, schema PROBLEMS: kind `row` for a line's, `file` for a whole file's."""
    rows: list[dict[str, Any]] = []
    for name, entry in ledger.entries.items():
        shown = seeds.shown(name)
        seen = datetime.fromisoformat(entry.taken_at) if entry.taken_at else None
        for problem in entry.problems:
            told = _TOLD.fullmatch(problem.removeprefix(shown))
            line, more, reason = told.groups() if told else (None, None, problem)
            rows.append(
                {"source": "seed", "url": shown, "place": line and f"line {line}", "kind": "row" if line else "file"}
                | {"detail": reason, "first_seen": seen, "count": int(more.replace(",", "")) if more else 1}
            )
    return pl.DataFrame(rows, PROBLEMS)
