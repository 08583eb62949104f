"""What origins say about themselves, robots.txt and tdmrep.json, kept from crawl to crawl for a day.

RFC 9309 2.4: robots.txt is not to be used for longer than 24 hours. Kept are the answers, in an SQLite file that
crawls of one machine share; that an origin could not be asked is not.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Collection
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from quarry_dagster.crawl import robots
from quarry_dagster.crawl.model import Failed
from quarry_dagster.crawl.robots import Rules
from quarry_dagster.crawl.tdmrep import Reservations

if TYPE_CHECKING:
    from yarl import URL

LIFETIME = 24 * 3600.0
"""Seconds for which an origin's answer holds."""

log = logging.getLogger("quarry_dagster")


@dataclass(frozen=True, slots=True)
class Statement:
    """What one origin lets this crawler do."""

    rules: Rules
    reservations: Reservations | None = None
    """None: not read yet."""
    read_at: float = field(default_factory=time.time)

    @property
    def holds(self) -> bool:
        return time.time() - self.read_at < LIFETIME

    @property
    def weight(self) -> int:
        """Characters kept, to bound what a crawl remembers."""
        return len(self.rules.text) + (len(self.reservations.text) if self.reservations else 0)

    def refused(self, url: str, obeyed: Collection[str] = ()) -> Failed | None:
        """Why this URL may not be fetched; None where it may, as far as was read. `obeyed`: signals that count."""
        return (
            self.rules.refused(url)
            or self.rules.opted_out(url, obeyed)
            or (self.reservations and self.reservations.refused(url))
            or None
        )


def crawl_delays(path: Path, user_agent: str) -> dict[str, float]:
    """The seconds between two requests that hosts (with their port) asked for less than a day ago.

    The file is only read; one that is not there, or cannot be read, names no host.
    """
    from yarl import URL

    query = (
        "SELECT origin, rules FROM statements WHERE agent = ? AND read_at >= ? AND rules LIKE '%crawl%delay%'"  # few
    )
    found: dict[str, float] = {}
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as db:
            for origin, rules in db.execute(query, (robots.product_token(user_agent), time.time() - LIFETIME)):
                host = URL(origin).host_port_subcomponent or ""
                found[host] = max(found.get(host, 0.0), robots.from_group(rules).crawl_delay)
    except sqlite3.DatabaseError:
        return found
    return found


class Origins:
    """The statements that earlier crawls read; in memory only where there is no `path`.

    To be used in the thread that made it.

    Raises:
        sqlite3.OperationalError: the file cannot be written.
    """

    def __init__(self, path: Path | None, user_agent: str) -> None:
        self._token = robots.product_token(user_agent)
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._open(path)
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError as e:  # the disk lost a part of it: it is only a cache
            assert path is not None
            log.warning("%s: %s; begun anew", path, e)
            path.unlink()
            self._open(path)

    def _open(self, path: Path | None) -> None:
        self._db = sqlite3.connect(path or ":memory:", isolation_level=None)
        self._db.execute("PRAGMA synchronous = OFF")
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS statements "
            "(origin TEXT, agent TEXT, read_at REAL, rules TEXT, reservations TEXT, PRIMARY KEY (origin, agent))"
        )
        self._db.execute("DELETE FROM statements WHERE read_at < ?", (time.time() - LIFETIME,))

    def get(self, origin: URL) -> Statement | None:
        """What this origin said less than a day ago."""
        query = "SELECT rules, reservations, read_at FROM statements WHERE origin = ? AND agent = ?"
        found = self._db.execute(query, (str(origin), self._token)).fetchone()
        if found is None:
            return None
        rules, reservations, read_at = found
        reserved = None if reservations is None else Reservations(reservations)
        return Statement(robots.from_group(rules), reserved, read_at)

    def put(self, origin: URL, statement: Statement) -> None:
        """Keep what an origin said."""
        reserved = statement.reservations and statement.reservations.text
        values = (str(origin), self._token, statement.read_at, statement.rules.text, reserved)
        self._db.execute("INSERT OR REPLACE INTO statements VALUES (?, ?, ?, ?, ?)", values)

    def close(self) -> None:
        self._db.close()
