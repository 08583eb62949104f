"""Takedowns: URLs and hosts that are kept out for good.

The list is a small JSON file at the data root. A forgotten page has a row in `raw_pages` with outcome
`opted_out` and no body, is never requested again, and is in no later table.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from quarry_dagster.errors import ConfigError
from quarry_dagster.store import Store
from quarry_dagster.urls import InvalidUrl, canonical_url, host_of, same_page_url

PATH = "forgotten.json"


@dataclass(frozen=True)
class Forgotten:
    """What is kept out: pages (by :func:`same_page_url`) and hosts, each with the day it was asked for."""

    entries: dict[str, str]

    def reason(self, url: str | None) -> str | None:
        """Why this URL is kept out, or None."""
        if not self.entries or not url:
            return None
        host = host_of(url)
        for key in (same_page_url(url), host, host.rsplit(":", 1)[0]):
            if key in self.entries:
                return f"forgotten on {self.entries[key]} (quarry forget {key})"
        return None


def read_forgotten(store: Store) -> Forgotten:
    """The list as it stands."""
    return Forgotten(store.files.read_json(PATH) if store.files.exists(PATH) else {})


def forget(store: Store, url_or_host: str) -> Forgotten:
    """Put a URL (with a scheme) or a host (without) on the list; returns the list.

    Raises:
        ConfigError: it is neither.
    """
    entries = read_forgotten(store).entries
    entries.setdefault(_key(url_or_host), datetime.now(UTC).date().isoformat())
    store.files.write_json(PATH, entries)
    return Forgotten(entries)


def _key(url_or_host: str) -> str:
    try:
        canonical_url(url_or_host)
        return same_page_url(url_or_host)
    except InvalidUrl:
        name = url_or_host.strip()
        host = host_of(f"http://{name}")
        # A default port is no part of a host: who names one may not mean the others.
        if not host or not {*"/?#@\\"}.isdisjoint(name) or host.count(":") != name.count(":"):
            raise ConfigError(
                f"{url_or_host!r} is neither a URL (http://host/page) nor a host name (host or host:port)"
            ) from None
        return host
