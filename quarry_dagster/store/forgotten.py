"""The list of pages and hosts that are kept out for good.

It is a small JSON file at the data root. A forgotten page has a row in `raw_pages` with outcome `opted_out` and no
body, is never requested again, and is in no later table. :mod:`quarry_dagster.takedown` puts entries on the list and
takes what they name out of every table.

A page is named by its URL in the normal form that the data root had when it was put on the list, and every URL is
asked for in that form. So a list goes on naming what it named, in a root of another form too.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any, cast

from quarry_dagster.store.files import Files
from quarry_dagster.urls import FIRST_FORM, FORMS, UrlForm, host_of, same_page_url

_PATH = "forgotten.json"


@dataclass(frozen=True)
class Forgotten:
    """Pages (by :func:`same_page_url`) and hosts, each with the day it was asked for, by the form of their URLs."""

    entries: dict[UrlForm, dict[str, str]]

    @classmethod
    def read(cls, files: Files) -> Forgotten:
        """The list as it stands.

        Raises:
            StoreError: it is damaged.
        """
        stored = files.read_json(_PATH) if files.exists(_PATH) else {}
        if not isinstance(stored, dict):
            raise files.damaged(_PATH, "it is not as it was written")
        entries: dict[UrlForm, dict[str, str]] = {}
        for key, said in stored.items():
            match said:
                case str() as day:
                    entries.setdefault(FIRST_FORM, {})[key] = day
                case {"day": str() as day, "urls": form} if form in FORMS:
                    entries.setdefault(cast(UrlForm, form), {})[key] = day
                case _:
                    raise files.damaged(_PATH, "it is not as it was written")
        return cls(entries)

    def write(self, files: Files) -> None:
        """Put this list in the place of the one that is there."""
        stored: dict[str, Any] = {}
        for form, days in self.entries.items():
            # Version 0.1 wrote the day alone.
            stored |= {key: day if form == FIRST_FORM else {"day": day, "urls": form} for key, day in days.items()}
        files.write_json(_PATH, stored)

    def with_entry(self, key: str, form: UrlForm, day: date) -> Forgotten:
        """The list with one more host, or page by its URL in this form; one that is on it keeps its day."""
        if any(key in days for days in self.entries.values()):
            return self
        return Forgotten({**self.entries, form: {key: day.isoformat()} | self.entries.get(form, {})})

    def reason(self, url: str | None) -> str | None:
        """Why this URL is kept out, or None."""
        if not self.entries or not url:
            return None
        host = host_of(url)
        for form, days in self.entries.items():
            for key in (same_page_url(url, form), host, host.rsplit(":", 1)[0]):
                if key in days:
                    return f"forgotten on {days[key]} (quarry forget {key})"
        return None
