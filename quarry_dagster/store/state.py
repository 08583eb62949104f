"""What the log says at one commit: which files there are, what is published, and the values that are kept.

A state never changes: a commit makes the next one of it. Partitions are held in frames, for there may be hundreds of
thousands, and in a dictionary of those that changed since the frame was made.

Why so: "One log for the data root" in docs/decisions.md.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import polars as pl

from quarry_dagster.store.schemas import UTC_TIME

Line = Mapping[str, Mapping[str, Any]]
"""A line of the log: its kind, and what it says. docs/tables.md lists the kinds."""

_FOLD = 256
"""So many changes are looked up in a dictionary before a frame is made of them."""
_FEW = 1000
"""So many partitions are looked up one by one."""
_ENTRIES = pl.Schema(
    {
        "partition": pl.String,
        "path": pl.String,
        "rows": pl.Int64,
        "bytes": pl.Int64,
        "sha256": pl.String,
        "input": pl.String,
        "content": pl.String,
        "others": pl.String,
        "commit": pl.Int64,
        "at": UTC_TIME,
    }
)
_RETIRED = pl.Schema({"table": pl.String, **_ENTRIES, "until": pl.Int64, "until_at": UTC_TIME})


_NEVER = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Entry:
    """A version of a partition, as the log names it."""

    partition: str
    path: str
    rows: int
    bytes: int
    sha256: str | None
    """In hex; None of a file that was there before there was a log."""
    input: str
    """What it was made from, as its writer noted; "" where that notes nothing."""
    content: str
    """Digest of what is made from it; "" where its writer notes none."""
    others: str
    """What else its writer noted, as JSON."""
    commit: int
    """The commit that brought it."""
    at: datetime

    def line(self, table: str, over: str | None) -> Line:
        """The line that adds it; `over` is the path of the version that it was made in place of."""
        said = {name: getattr(self, name) for name in ("partition", "path", "rows", "bytes", "sha256")}
        return {"add": {"table": table, **said, "over": over, "notes": self.notes()}}

    def notes(self) -> dict[str, Any]:
        """All that its writer noted, as JSON values."""
        fingerprints = {"input": self.input, "content": self.content}
        return json.loads(self.others) | {name: said for name, said in fingerprints.items() if said}


@dataclass(frozen=True)
class Publish:
    """What was published of a global asset."""

    asset: str
    number: int
    manifest: str
    """Path."""
    commit: int
    at: datetime


@dataclass(frozen=True)
class Hold:
    """A corpus that somebody went back to, and that nothing replaces until it is released."""

    number: int
    who: str
    at: str
    """ISO 8601, UTC."""


class Partitions:
    """The current version of each partition of one table."""

    def __init__(self, base: pl.DataFrame, changed: Mapping[str, Entry | None], newest: int = -1) -> None:
        self._base = base
        self._changed = changed
        self.newest = newest
        """The last commit that changed one."""

    @classmethod
    def none(cls) -> Partitions:
        """Those of a table without any."""
        return cls(pl.DataFrame(schema=_ENTRIES), {})

    def get(self, partition: str) -> Entry | None:
        """The current version of one partition."""
        if partition in self._changed:
            return self._changed[partition]
        column = self._base["partition"]
        at = column.search_sorted(partition)
        if at == len(column) or column[at] != partition:
            return None
        return Entry(*self._base.row(at))

    def frame(self) -> pl.DataFrame:
        """All of them, sorted by partition: columns partition, path, rows, bytes, input, content, others and more."""
        if self._changed:
            rows = [_row(entry) for entry in self._changed.values() if entry]
            changed = pl.DataFrame(rows, schema=_ENTRIES, orient="row")
            gone = pl.Series("partition", list(self._changed), pl.String).to_frame()
            others = self._base.join(gone, on="partition", how="anti")
            # Readers of this object that come meanwhile find the same in either form.
            self._base, self._changed = pl.concat([others, changed]).sort("partition"), {}
        return self._base

    def entries(self) -> Iterator[Entry]:
        """All of them, in order of partition."""
        return (Entry(*row) for row in self.frame().iter_rows())

    def with_changes(self, changes: Mapping[str, Entry | None], commit: int) -> Partitions:
        """These, with some replaced, or gone (None), by a commit."""
        new = Partitions(self._base, {**self._changed, **changes}, commit)
        if len(new._changed) > _FOLD:
            new.frame()
        return new


@dataclass(frozen=True, eq=False)
class State:
    """What the log says at one commit."""

    number: int = -1
    """Of the last commit; -1 before the first."""
    at: datetime = _NEVER
    sha256: str = ""
    """Of the last commit."""
    tables: Mapping[str, Partitions] = field(default_factory=dict)
    retired: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=_RETIRED))
    """Versions that are current no longer, with `until` which commit they were; those of the last few are in `left`."""
    left: Sequence[tuple[Any, ...]] = ()
    files: Mapping[str, tuple[int, str | None]] = field(default_factory=dict)
    """Bytes and SHA-256 of the files that are no version of a partition, by path."""
    publishes: Sequence[Publish] = ()
    """Those that are kept, the oldest first."""
    currents: Mapping[str, int] = field(default_factory=dict)
    """The number that is published of each global asset."""
    tags: Mapping[str, int] = field(default_factory=dict)
    """Numbers of published corpora that somebody named."""
    hold: Hold | None = None
    values: Mapping[str, Any] = field(default_factory=dict)
    """What is kept under a key, as JSON values."""

    def table(self, name: str) -> Partitions:
        """The partitions of a table."""
        return self.tables.get(name) or Partitions.none()

    def publish(self, asset: str, number: int) -> Publish | None:
        """One that is kept."""
        return next((each for each in reversed(self.publishes) if (each.asset, each.number) == (asset, number)), None)

    def sizes(self, paths: Sequence[str]) -> dict[str, int]:
        """The bytes of these files, as far as the log names them."""
        found: dict[str, int] = {}
        by_table: dict[str, list[tuple[str, str]]] = {}
        for path in paths:
            if path in self.files:
                found[path] = self.files[path][0]
            elif path.count("/") == 2:
                by_table.setdefault(path[: path.index("/")], []).append((path, path.split("/")[1]))
        for table, named in by_table.items():
            partitions = self.table(table)
            if len(named) < _FEW:
                entries = (partitions.get(partition) for _, partition in named)
                found |= {entry.path: entry.bytes for entry in entries if entry}
            else:
                found |= dict(partitions.frame().select("path", "bytes").iter_rows())
        if missing := [path for path in paths if path not in found]:
            was = self.past().filter(pl.col("path").is_in(missing))
            found |= dict(was.select("path", "bytes").iter_rows())
        return {path: found[path] for path in paths if path in found}

    def past(self) -> pl.DataFrame:
        """The versions that are current no longer: as `Partitions.frame`, with columns table, until, until_at."""
        return _past(self.retired, self.left)

    def table_at(self, name: str, commit: int) -> pl.DataFrame:
        """The versions of a table that were current at a commit, as `Partitions.frame`."""
        now = self.table(name).frame().filter(pl.col("commit") <= commit)
        was = self.past().filter(pl.col("table") == name, pl.col("commit") <= commit, pl.col("until") > commit)
        return pl.concat([now, was.select(_ENTRIES.names())]).sort("partition")

    def after(self, number: int, at: datetime, sha256: str, lines: Sequence[Line]) -> State:
        """The state that a commit makes of this one.

        Raises:
            ValueError, KeyError, TypeError: a line says what no line says.
        """
        tables, files, values = dict(self.tables), dict(self.files), dict(self.values)
        publishes, currents, tags, hold = list(self.publishes), dict(self.currents), dict(self.tags), self.hold
        changes: dict[str, dict[str, Entry | None]] = {}
        retired, left = self.retired, list(self.left)
        for line in lines:
            ((kind, said),) = line.items()
            if kind in ("add", "remove") and "table" in said:
                table, partition = said["table"], said["partition"]
                changed = changes.setdefault(table, {})
                old = changed[partition] if partition in changed else self.table(table).get(partition)
                if old:
                    left.append((table, *_row(old), number, at))
                changed[partition] = entry_of(said, number, at) if kind == "add" else None
            elif kind == "add":
                files[said["path"]] = said["bytes"], said["sha256"]
            elif kind == "remove":
                files.pop(said["path"], None)
            elif kind == "publish":
                asset, kept = said["asset"], {*said["kept"]}
                publishes = [each for each in publishes if each.asset != asset or each.number in kept]
                publishes.append(Publish(asset, said["number"], said["manifest"], number, at))
                currents[asset] = said["number"]
                there = {each.number for each in publishes if each.asset == asset}
                if asset == CORPUS:
                    tags = {name: tagged for name, tagged in tags.items() if tagged in there}
            elif kind == "unpublish":
                gone = said["asset"], said["number"]
                publishes = [each for each in publishes if (each.asset, each.number) != gone]
            elif kind == "tag":
                if said["number"] is None:
                    tags.pop(said["name"], None)
                else:
                    tags[said["name"]] = said["number"]
            elif kind == "hold":
                hold = Hold(**said)
                currents[CORPUS] = hold.number
            elif kind == "release":
                hold = None
            elif kind == "sweep":
                retired, left = _past(retired, left).filter(~_swept(said)), []
            elif kind == "set":
                if said["value"] is None:
                    values.pop(said["key"], None)
                else:
                    values[said["key"]] = said["value"]
            else:
                raise ValueError(f"a line of a kind that this version does not know: {kind!r}")
        for table, changed in changes.items():
            tables[table] = self.table(table).with_changes(changed, number)
        new = State(number, at, sha256, tables, retired, left, files, publishes, currents, tags, hold, values)
        return new if len(left) < _FOLD else replace(new, retired=new.past(), left=())


CORPUS = "deduped_corpus"
"""The asset whose publishes are tagged, and that somebody may go back to."""


def _past(retired: pl.DataFrame, left: Sequence[tuple[Any, ...]]) -> pl.DataFrame:
    return pl.concat([retired, pl.DataFrame(left, schema=_RETIRED, orient="row")])


def _swept(said: Mapping[str, Any]) -> pl.Expr:
    """Whether a version of before is no longer known after a sweep."""
    is_published = [(pl.col("commit") <= c) & (pl.col("until") > c) for c in said["commits"]]
    is_needed = pl.any_horizontal(pl.col("path").is_in(said["paths"]), *is_published)
    return (pl.col("until") <= said["until"]) & ~is_needed


def _row(entry: Entry) -> tuple[Any, ...]:
    return tuple(getattr(entry, name) for name in _ENTRIES)


def entry_of(said: Mapping[str, Any], number: int, at: datetime) -> Entry:
    """The version that a line `add` says, by this commit."""
    notes = said["notes"]
    return Entry(
        partition=said["partition"],
        path=said["path"],
        rows=said["rows"],
        bytes=said["bytes"],
        sha256=said["sha256"],
        input=notes.get("input", ""),
        content=notes.get("content", ""),
        others=json.dumps({k: v for k, v in notes.items() if k not in ("input", "content")}, sort_keys=True),
        commit=number,
        at=at,
    )
