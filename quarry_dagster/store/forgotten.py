"""The list of pages and hosts that are kept out for good.

It is a small JSON file at the data root. A forgotten page has a row in `raw_pages` with outcome `opted_out` and no
body, is never requested again, and is in no later table. :mod:`quarry_dagster.takedown` puts entries on the list and
takes what they name out of every table.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from quarry_dagster.store.files import Files
from quarry_dagster.urls import host_of, same_page_url

_PATH = "forgotten.json"


@dataclass(frozen=True)
class Forgotten:
    """Pages (by :func:`same_page_url`) and hosts, each with the day it was asked for."""

    entries: dict[str, str]

    @classmethod
    def read(cls, files: Files) -> Forgotten:
        """The list as it stands.

        Raises:
            StoreError: it is damaged.
        """
        entries = files.read_json(_PATH) if files.exists(_PATH) else {}
        if not isinstance(entries, dict) or not all(isinstance(day, str) for day in entries.values()):
            raise files.damaged(_PATH, "it is not as it was written")
        return cls(entries)

    def write(self, files: Files) -> None:
        """Put this list in the place of the one that is there."""
        files.write_json(_PATH, self.entries)

    def with_entry(self, key: str, day: date) -> Forgotten:
        """The list with one more page or host; one that is on it keeps its day."""
        return Forgotten({key: day.isoformat()} | self.entries)

    def reason(self, url: str | None) -> str | None:
        """Why this URL is kept out, or None."""
        if not self.entries or not url:
            return None
        host = host_of(url)
        for key in (same_page_url(url), host, host.rsplit(":", 1)[0]):
            if key in self.entries:
                return f"forgotten on {self.entries[key]} (quarry forget {key})"
        return None
