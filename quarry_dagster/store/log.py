"""The log of a data root: every change is one numbered file, which is written once and never changes.

`log/<20 digits>.json` has a JSON object a line: which files came and went, what was published, which values are kept.
The last line digests those before it, and names the commit before. Whoever takes a number first has it; who comes later
reads what the first one did and decides again. Now and then the whole state is written beside it as a checkpoint, so
that nobody reads the log from its beginning.

The form is that of Delta Lake's log (Armbrust et al. 2020, section 3). Why so: "One log for the data root" in
docs/decisions.md.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import polars as pl

from quarry_dagster.errors import StoreError
from quarry_dagster.store.disk import Disk
from quarry_dagster.store.state import Hold, Line, Partitions, Publish, State

FOLDER = "log"
LAYOUT = 1
"""Of the data root; a version that does not know it says so."""
_HINT = f"{FOLDER}/LAST"
_CHECKPOINT = ".checkpoint.parquet"
_DIGITS = 20
_FEWEST = 100
"""Commits between two checkpoints, where the state is small."""
_SHARE = 100
"""There is at least a commit for so many rows of the state before it is written again."""
_FRESH = 1.0
"""Seconds for which an object store is not asked for others' commits again."""
_ASKED_AGAIN = 60.0
"""Seconds after which an object store is asked whether the commit that was read last is still there."""
_SETTLES = 2.0
"""Seconds that a commit without its end is waited for: on a disk without links it may still be being written."""
_WRITTEN_BY = 60.0
"""Seconds after which nobody is still writing a commit."""
_TRIES = 10
_REMEDY = (
    "restore the folder log from a backup, or make it again from what is there: quarry check --rebuild-log "
    "(docs/operate.md, 'A damaged log')"
)

T = TypeVar("T")
_log = logging.getLogger("quarry_dagster")


class LostRace(Exception):
    """Another writer changed meanwhile what a commit was decided on; what was to be written is to be made again."""


def again(work: Callable[[], T]) -> T:
    """Do the work; do it again where another writer changed meanwhile what it was made from.

    Raises:
        StoreError: it lost ten times in a row.
    """
    for _ in range(_TRIES):
        try:
            return work()
        except LostRace as e:
            _log.info("%s: begun again", e)
    raise StoreError(f"other processes wrote to the same place {_TRIES} times while this one worked: run it alone")


class Log:
    """The log of one data root. To be had from `Files.log`: one for all of a process.

    Args:
        disk: what it lies on.
        before: gives what a root without a log holds, as the first commit says it; nothing of an empty one.
        begun: is called when the first commit was made.
    """

    def __init__(self, disk: Disk, before: Callable[[], Sequence[Line]], begun: Callable[[], None]) -> None:
        self.disk = disk
        self._before = before
        self._begun = begun
        self._mutex = threading.RLock()
        self._state: State | None = None
        self._seen: object = None
        self._asked = self._read_at = -_FRESH
        """When an object store was asked for the commit that was read last, and for the next one."""
        self._checkpoint = -1
        self._first_lines: Sequence[Line] = ()

    def state(self) -> State:
        """What the log says now.

        Raises:
            StoreError: it is damaged, or of a later version.
        """
        with self._mutex:
            return self._state if self._state is not None and self._is_fresh() else self._newest()

    def _is_fresh(self) -> bool:
        """Whether an object store was asked for the next commit a moment ago; a disk is always asked, it is cheap."""
        return not self.disk.is_local and time.monotonic() - self._read_at < _FRESH

    def _newest(self) -> State:
        """The state after all commits that are there now."""
        state = self._state if self._state is not None and self._goes_on(self._state) else self._load()
        while (content := self._next(state.number + 1)) is not None:
            # The first commit says all that a root of before held.
            state = self._applied(State() if state.number < 0 else state, content)
        self._state, self._read_at = state, time.monotonic()
        return state

    def commit(self, decide: Callable[[State], Iterable[Line]]) -> State:
        """Write what is decided on the state as it is, or nothing where nothing is decided; returns the state then.

        `decide` is asked again where another writer came first; it may raise.

        Raises:
            StoreError: the log is damaged, or cannot be written.
        """
        looked_again = -1
        with self._mutex:
            while True:
                state = self._newest()
                lines = list(decide(state))
                if not lines:
                    return state
                number = state.number + 1
                content = self._encoded(state, [*self._first_lines, *lines] if number == 0 else lines)
                if self.disk.create_once(_path(number), content):
                    if number not in (0, looked_again) and not self.disk.exists(_path(number - 1)):
                        # The log may have gone on while this was decided, and been cut: with one of this number, too.
                        self.disk.delete([_path(number)])
                        self._state, looked_again = None, number
                        continue
                    self._first_lines = ()
                    self._state = state = self._applied(State() if number == 0 else state, content)
                    self._follow(state)
                    return state
                self._clear_torn(number)

    def _follow(self, state: State) -> None:
        """Write what follows a commit. It stands whatever becomes of these: what it names must not be taken back."""
        try:
            self._hint(state.number)
            if state.number == 0:
                self._begun()
            if self._is_checkpoint_due(state):
                self._write_checkpoint(state)
        except StoreError as e:
            _log.warning("%s; the commit stands", e)

    def _clear_torn(self, number: int) -> None:
        """Delete a commit that a killed writer left without its end, on a disk without links: nobody was told of it."""
        content = self._read(number)
        if content is not None and self._is_torn(number, content):
            self.disk.delete([_path(number)])

    def _is_torn(self, number: int, content: bytes) -> bool:
        """Whether a commit has no end, nobody writes it any more, and nobody noted that it was written."""
        age = self.disk.age(_path(number))
        return not content.endswith(b"}\n") and age is not None and age > _WRITTEN_BY and self._hinted() < number

    def values(self, prefix: str) -> dict[str, Any]:
        """The values under keys that begin with this, by the rest of the key."""
        found = self.state().values
        return {key.removeprefix(prefix): value for key, value in found.items() if key.startswith(prefix)}

    def value(self, key: str, default: Any = None) -> Any:
        """The value under a key."""
        return self.state().values.get(key, default)

    def set(self, key: str, change: Callable[[Any], Any]) -> None:
        """Put what `change` makes of the value under a key in its place; None takes it away.

        Where another writer changed it meanwhile, `change` is asked again.
        """

        def decide(state: State) -> list[Line]:
            old = state.values.get(key)
            new = change(old)
            return [] if new == old else [{"set": {"key": key, "value": new}}]

        self.commit(decide)

    def cut(self) -> None:
        """Delete commits that two checkpoints hold, and older checkpoints."""
        checkpoints = sorted(number_of(path) for path in self.disk.list(FOLDER) if path.endswith(_CHECKPOINT))
        if len(checkpoints) < 2:
            return
        keep = checkpoints[-2]
        old = [path for path in self.disk.list(FOLDER) if path != _HINT and number_of(path) < keep]
        self.disk.delete([*old, _path(keep)])

    def forget_past(self) -> None:
        """Delete all commits before the newest, which a checkpoint holds then, and logs that were replaced.

        Some of them may say what is in the state no more, and must be gone.
        """
        with self._mutex:
            state = self._newest()
            self._write_checkpoint(state)
            old = [path for path in self.disk.list(FOLDER) if path != _HINT and number_of(path) < state.number]
            self.disk.delete(old)
        if self.disk.is_local:
            for folder in Path(self.disk.full("")).glob(f"{FOLDER}.replaced-*"):
                shutil.rmtree(folder)

    def checkpoint(self) -> None:
        """Write the state beside the log now, whatever came since the last one."""
        with self._mutex:
            state = self.state()
            if state.number >= 0:
                self._write_checkpoint(state)

    def newest_checkpoint(self) -> State | None:
        """The state that the newest readable checkpoint holds, however the log is."""
        for path in sorted(self.disk.list(FOLDER), reverse=True):
            if path.endswith(_CHECKPOINT) and (state := self._from_checkpoint(path)):
                return state
        return None

    def replace(self, lines: Sequence[Line]) -> None:
        """Put a log of these lines in the place of the one that is there, which stays beside it.

        Raises:
            StoreError: the data root is on an object store, or cannot be written.
        """
        if not self.disk.is_local:
            raise StoreError("a log on an object store cannot be replaced: copy the data root to a disk, and back")
        with self._mutex:
            log, new, old = (Path(self.disk.full(name)) for name in (FOLDER, f"{FOLDER}.new", self._aside()))
            new.mkdir(exist_ok=True)
            (new / _path(0).rpartition("/")[2]).write_bytes(self._encoded(State(), lines))
            if log.exists():
                log.rename(old)
            new.rename(log)
            self._state = None
            self._checkpoint = -1
            self.state()
            self._begun()

    def _aside(self) -> str:
        """Where a log that is replaced goes."""
        return f"{FOLDER}.replaced-{datetime.now(UTC):%Y%m%dT%H%M%S}"

    @cached_property
    def _writer(self) -> str:
        from quarry_dagster.processes import Process

        me = Process.this()
        return f"{me.host} {me.pid}" if me else str(os.getpid())

    def _goes_on(self, state: State) -> bool:
        """Whether the log that was read is still the one that is there.

        A restored backup is another one; and of a process that slept long, a sweep has taken the commits that follow.
        """
        if state.number < 0:
            return True
        if self.disk.is_local:
            return self._identity(state.number) == self._seen
        if time.monotonic() - self._asked < _ASKED_AGAIN:
            return True
        self._asked = time.monotonic()
        return self.disk.exists(_path(state.number))

    def _identity(self, number: int) -> object:
        """What tells a commit's file on a disk from another of its name."""
        if not self.disk.is_local:
            return None
        try:
            found = Path(self.disk.full(_path(number))).stat()
        except FileNotFoundError:
            return "gone"
        return found.st_ino, found.st_mtime_ns, found.st_size

    def _read(self, number: int) -> bytes | None:
        if number == 0 and not self._has_log():
            return None
        try:
            return self.disk.read(_path(number))
        except FileNotFoundError:
            return None

    def _next(self, number: int) -> bytes | None:
        """The commit of a number that is not read yet; None where there is none, or one that was never ended."""
        content = self._read(number)
        return None if content is None or self._is_torn(number, content) else content

    def _has_log(self) -> bool:
        return not self.disk.is_local or Path(self.disk.full(FOLDER)).is_dir()

    def _load(self) -> State:
        names = self.disk.list(FOLDER)
        commits = {number_of(path) for path in names if path.endswith(".json")}
        last = max(commits, default=-1)
        if not names:
            self._first_lines = self._before()
            return State().after(-1, State().at, "", self._first_lines)
        state = State()
        checkpoints = sorted((path for path in names if path.endswith(_CHECKPOINT)), reverse=True)
        for path in checkpoints:
            if (found := self._from_checkpoint(path)) is not None:
                state = found
                self._checkpoint = state.number
                break
            _log.warning("%s is damaged, and passed over", self.disk.url(path))
        last, hinted = max(last, state.number), self._hinted()
        for number in range(state.number + 1, max(last, hinted) + 1):
            content = self._next(number) if number == last else self._read(number)
            if content is None and number == last and number in commits:
                break  # it was never ended
            if content is None:
                later = (
                    "later commits are there" if number < last else f"{self.disk.url(_HINT)} says that it was written"
                )
                raise StoreError(f"{self.disk.url(_path(number))} is gone, and {later}: {_REMEDY}")
            state = self._applied(state, content)
        self._seen = self._identity(state.number)
        return state

    def _hinted(self) -> int:
        """The last number that a writer noted; -1 where none did."""
        try:
            said = self.disk.read(_HINT)
        except FileNotFoundError:
            return -1
        if not said:  # the machine went down before the disk had it
            return -1
        if not said.isdigit() or len(said) != _DIGITS:
            raise self.disk.damaged(_HINT, "it is no number; it may be deleted, the next commit writes it again")
        return int(said)

    def _hint(self, number: int) -> None:
        """Note the number, so that a commit that is lost at the end is missed."""
        self.disk.put(_HINT, f"{number:0{_DIGITS}d}".encode())

    def _encoded(self, state: State, lines: Sequence[Line]) -> bytes:
        body = b"".join(json.dumps(line, sort_keys=True).encode() + b"\n" for line in lines)
        end = {
            "sha256": hashlib.sha256(body).hexdigest(),
            "before": state.sha256,
            "writer": self._writer,
            "layout": LAYOUT,
            "at": max(datetime.now(UTC), state.at).isoformat(),
        }
        return body + json.dumps({"end": end}, sort_keys=True).encode() + b"\n"

    def _applied(self, state: State, content: bytes) -> State:
        """The state that a commit makes of the one before it.

        Raises:
            StoreError: the commit is damaged, or of a later version.
        """
        number = state.number + 1
        path = _path(number)
        until = time.monotonic() + _SETTLES
        while not content.endswith(b"}\n") and time.monotonic() < until and (self.disk.age(path) or 0) < _WRITTEN_BY:
            time.sleep(0.02)
            content = self.disk.read(path)
        body, _, end_line = content.rstrip(b"\n").rpartition(b"\n")
        body += b"\n" if body else b""
        try:
            end = json.loads(end_line)["end"]
            layout, before, at = end["layout"], end["before"], end["at"]
            is_whole = end["sha256"] == hashlib.sha256(body).hexdigest()
        except (ValueError, KeyError, TypeError):
            raise self._damaged(number, "its end is missing, or not as it was written") from None
        if layout != LAYOUT:
            raise StoreError(
                f"{self.disk.url(path)} was written by a later version of QuarryCore (layout {layout}): upgrade it here"
            )
        if not is_whole:
            raise self._damaged(number, "its content is not what its end says")
        if before != state.sha256:
            raise self._damaged(number, "it does not follow the commit before it")
        try:
            lines = [json.loads(line) for line in body.splitlines()]
            new = state.after(number, datetime.fromisoformat(at), hashlib.sha256(content).hexdigest(), lines)
        except (ValueError, KeyError, TypeError, AttributeError) as e:
            raise self._damaged(number, f"it is not as it was written: {e}") from e
        self._seen = self._identity(number)
        return new

    def _damaged(self, number: int, why: str) -> StoreError:
        return StoreError(f"{self.disk.url(_path(number))} is damaged ({why}): {_REMEDY}")

    def _is_checkpoint_due(self, state: State) -> bool:
        rows = sum(partitions.frame().height for partitions in state.tables.values()) if state.number % 50 == 0 else 0
        since = state.number - self._checkpoint
        return since >= _FEWEST and state.number % 50 == 0 and since >= rows // _SHARE

    def _write_checkpoint(self, state: State) -> None:
        frame = pl.concat(
            [
                *(
                    partitions.frame().with_columns(kind=pl.lit("partition"), table=pl.lit(name))
                    for name, partitions in sorted(state.tables.items())
                ),
                state.past().with_columns(kind=pl.lit("past")),
                pl.DataFrame(
                    [(path, size, sha256) for path, (size, sha256) in sorted(state.files.items())],
                    schema={"path": pl.String, "bytes": pl.Int64, "sha256": pl.String},
                    orient="row",
                ).with_columns(kind=pl.lit("file")),
                pl.DataFrame({"kind": ["rest"], "notes": [json.dumps(_rest(state))]}),
            ],
            how="diagonal",
        )
        buffer = io.BytesIO()
        frame.write_parquet(buffer, compression="zstd")
        content = buffer.getvalue()
        digest = hashlib.sha256(content).hexdigest()[:16]
        with self.disk.create(f"{FOLDER}/{state.number:0{_DIGITS}d}.{digest}{_CHECKPOINT}") as file:
            file.write(content)
        self._checkpoint = state.number

    def _from_checkpoint(self, path: str) -> State | None:
        """The state that a checkpoint holds; None where it is not as it was written."""
        content = self.disk.read(path)
        if hashlib.sha256(content).hexdigest()[:16] != path.rsplit("/", 1)[-1].split(".")[1]:
            return None
        frame = pl.read_parquet(io.BytesIO(content))
        rest = json.loads(frame.filter(kind="rest")["notes"][0])
        none = Partitions.none().frame()
        rows = frame.filter(kind="partition")
        tables = {  # also of a table whose partitions are all gone
            name: Partitions(_typed(rows.filter(table=name), none.schema).sort("partition"), {}, newest)
            for name, newest in rest["newest"].items()
        }
        past, schema = frame.filter(kind="past"), State().retired.schema
        files = frame.filter(kind="file").select("path", "bytes", "sha256")
        return State(
            number=rest["number"],
            at=datetime.fromisoformat(rest["at"]),
            sha256=rest["sha256"],
            tables=tables,
            retired=_typed(past, schema),
            files={path: (size, sha256) for path, size, sha256 in files.iter_rows()},
            publishes=[Publish(**each | {"at": datetime.fromisoformat(each["at"])}) for each in rest["publishes"]],
            currents=rest["currents"],
            tags=rest["tags"],
            hold=Hold(**rest["hold"]) if rest["hold"] else None,
            values=rest["values"],
        )


def _rest(state: State) -> dict[str, Any]:
    """What of a state is no row of a file, as JSON values."""
    return {
        "number": state.number,
        "at": state.at.isoformat(),
        "sha256": state.sha256,
        "newest": {name: partitions.newest for name, partitions in state.tables.items()},
        "publishes": [asdict(each) | {"at": each.at.isoformat()} for each in state.publishes],
        "currents": dict(state.currents),
        "tags": dict(state.tags),
        "hold": asdict(state.hold) if state.hold else None,
        "values": dict(state.values),
    }


def is_commit(path: str) -> bool:
    """Whether a file of the log is a commit."""
    return path.endswith(".json") and number_of(path) >= 0


def is_whole(content: bytes) -> bool:
    """Whether a commit is as it was written."""
    body, _, end_line = content.rstrip(b"\n").rpartition(b"\n")
    try:
        return bool(json.loads(end_line)["end"]["sha256"] == hashlib.sha256(body + b"\n" * bool(body)).hexdigest())
    except (ValueError, KeyError, TypeError):
        return False


def _typed(rows: pl.DataFrame, schema: pl.Schema) -> pl.DataFrame:
    """The columns of a schema, typed as it has them; one that no row of a checkpoint has is null."""
    there = [pl.col(name) if name in rows.columns else pl.lit(None).alias(name) for name in schema.names()]
    return rows.select(there).cast(dict(schema.items()))


def _path(number: int) -> str:
    return f"{FOLDER}/{number:0{_DIGITS}d}.json"


def number_of(path: str) -> int:
    """The number that a file of the log begins with; -1 of any other."""
    name = path.rsplit("/", 1)[-1].partition(".")[0]
    return int(name) if name.isdigit() and len(name) == _DIGITS else -1
