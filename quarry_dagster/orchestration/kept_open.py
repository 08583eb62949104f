"""Dagster's databases, kept open while a command runs.

Its storages of SQLite open a database for each event, prepare the same statements again, and close it, upon which
SQLite takes in what was written ahead: a fifth of what a run costs that has nothing to do.

Why so: "A command keeps Dagster's databases open" in docs/decisions.md.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from dagster import DagsterInstance

# Not public: no setting of an instance keeps them open.
from dagster._core.storage.event_log.sqlite.sqlite_event_log import INDEX_SHARD_NAME, SqliteEventLogStorage
from dagster._core.storage.runs.sqlite.sqlite_run_storage import SqliteRunStorage
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.event import listen

_RUNS = "runs"


@contextmanager
def kept_open(instance: DagsterInstance) -> Iterator[DagsterInstance]:
    """The instance, whose databases of SQLite are closed at the end of the block; others are left as they are."""
    events, runs = instance.event_log_storage, instance.run_storage
    engines: dict[str, Engine] = {}

    @contextmanager
    def of_events(shard: str) -> Iterator[Connection]:
        assert isinstance(events, SqliteEventLogStorage)
        with events._db_lock:
            if shard not in engines:  # each run has a database of its own, and a command may have hundreds
                for other in engines.keys() - {_RUNS, INDEX_SHARD_NAME}:
                    engines.pop(other).dispose()
                engines[shard] = _engine(events.conn_string_for_shard(shard))
            if shard not in events._initialized_dbs:
                events._initdb(engines[shard])
                events._initialized_dbs.add(shard)
            with engines[shard].begin() as connection:
                yield connection

    @contextmanager
    def of_runs() -> Iterator[Connection]:
        with engines[_RUNS].begin() as connection:
            yield connection

    if isinstance(events, SqliteEventLogStorage):
        events._connect = of_events
        events.has_table = cache(events.has_table)  # asked for each event
    if isinstance(runs, SqliteRunStorage):
        engines[_RUNS] = _engine(runs._conn_string)
        runs.connect = of_runs
    try:
        yield instance
    finally:
        for engine in engines.values():
            engine.dispose()


def _engine(url: str) -> Engine:
    engine = create_engine(url, connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS})
    listen(engine, "connect", _wait_less)
    return engine


def _wait_less(connection: sqlite3.Connection, _: object) -> None:
    """Have the disk waited for where what was written ahead is taken in, and not at each event.

    Where the machine goes down, the last events of a run may be gone, and the database is whole.
    """
    connection.execute("PRAGMA synchronous = NORMAL")
