"""The list of pages and hosts that are kept out for good.

It is kept in the log, an entry a value. A forgotten page has a row in `raw_pages` with outcome `opted_out` and no
body, is never requested again, and is in no later table. :mod:`quarry_dagster.takedown` puts entries on the list and
takes what they name out of every table.

A page is named by its URL in the normal form that the data root had when it was put on the list, and every URL is
asked for in that form. So a list goes on naming what it named, in a root of another form too.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import cast

from quarry_dagster.errors import StoreError
from quarry_dagster.store.files import Files
from quarry_dagster.urls import FIRST_FORM, FORMS, UrlForm, host_of, same_page_url

_KEY = "forgotten/"


@dataclass(frozen=True)
class Forgotten:
    """Pages (by :func:`same_page_url`) and hosts, each with the day it was asked for, by the form of their URLs."""

    entries: dict[UrlForm, dict[str, str]]

    @classmethod
    def read(cls, files: Files) -> Forgotten:
        """The list as it stands.

        Raises:
            StoreError: the log is damaged, or of a later version.
        """
        entries: dict[UrlForm, dict[str, str]] = {}
        for key, said in files.log.values(_KEY).items():
            match said:
                case str() as day:
                    entries.setdefault(FIRST_FORM, {})[key] = day
                case {"day": str() as day, "urls": form} if form in FORMS:
                    entries.setdefault(cast(UrlForm, form), {})[key] = day
                case _:
                    raise StoreError(f"what {files.url('log')} says of {key!r}, which is forgotten, is unknown here")
        return cls(entries)

    @staticmethod
    def put(files: Files, key: str, form: UrlForm, day: date) -> None:
        """Put one more host, or page by its URL in this form, on the list; one that is on it keeps its day."""
        # Version 0.1 wrote the day alone.
        said = day.isoformat() if form == FIRST_FORM else {"day": day.isoformat(), "urls": form}
        files.log.set(f"{_KEY}{key}", lambda before: before or said)

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
