"""Takedowns: URLs and hosts that are kept out for good.

The list is a small JSON file at the data root. A forgotten page has a row in `raw_pages` with outcome
`opted_out` and no body, is never requested again, and is in no later table.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from quarry_dagster.store import Store
from quarry_dagster.urls import InvalidUrl, canonical_url, host_of

PATH = "forgotten.json"


@dataclass(frozen=True)
class Forgotten:
    """What is kept out: canonical URLs and hosts, each with the day it was asked for."""

    entries: dict[str, str]

    def reason(self, url: str) -> str | None:
        """Why this URL is kept out, or None."""
        if not self.entries:
            return None
        host = host_of(url)
        for key in (_key(url), host, host.rsplit(":", 1)[0]):
            if key in self.entries:
                return f"forgotten on {self.entries[key]} (quarry forget {key})"
        return None


def read_forgotten(store: Store) -> Forgotten:
    """The list as it stands."""
    return Forgotten(store.files.read_json(PATH) if store.files.exists(PATH) else {})


def forget(store: Store, url_or_host: str) -> Forgotten:
    """Put a URL (with a scheme) or a host (without) on the list; returns the list."""
    entries = read_forgotten(store).entries
    entries.setdefault(_key(url_or_host), datetime.now(UTC).date().isoformat())
    store.files.write_json(PATH, entries)
    return Forgotten(entries)


def _key(url_or_host: str) -> str:
    try:
        return canonical_url(url_or_host)
    except InvalidUrl:
        return url_or_host.strip().lower().rstrip(".")
