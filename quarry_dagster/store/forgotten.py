"""The list of pages and hosts that are kept out for good.

It is kept in the log, a takedown a value: who asked for it, when and why, and when nothing was left of what it names. A
forgotten page has a row in `raw_pages` with outcome `opted_out` and no body, is never requested again, and is in no
later table. :mod:`quarry_dagster.takedown` puts takedowns on the list and takes what they name out of every table.

A page is named by its URL in the normal form that the data root had when it was put on the list, and every URL is
asked for in that form. So a list goes on naming what it named, in a root of another form too.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, cast

from quarry_dagster.errors import StoreError
from quarry_dagster.store.files import Files
from quarry_dagster.store.state import Line, State
from quarry_dagster.urls import FIRST_FORM, FORMS, UrlForm, host_of, same_page_url

_KEY = "forgotten/"
_ADDRESS = re.compile(r"(?:https?://|urn:quarry:)[^\s\]\"'<>]+", re.IGNORECASE)


@dataclass(frozen=True)
class Takedown:
    """A page (by :func:`same_page_url`), a document without a URL (by its URN) or a host that is kept out."""

    key: str
    form: UrlForm
    """The form of URLs that the key is in."""
    at: str
    """When it was asked for: ISO 8601, UTC; versions before this one noted the day alone."""
    who: str = ""
    why: str = ""
    applied: str | None = None
    """When nothing was left of what it names; None while there may be something."""

    @classmethod
    def of(cls, key: str, said: Any) -> Takedown:
        """What the log says under a key.

        Raises:
            ValueError: it is unknown to this version.
        """
        match said:
            case str() as day:  # as version 0.1 wrote it
                return cls(key, FIRST_FORM, day, applied=day)
            case {"day": str() as day, "urls": form, **more} if form in FORMS:
                who, why, applied = more.get("who", ""), more.get("why", ""), more.get("applied", day)
                return cls(key, cast(UrlForm, form), more.get("at", day), who, why, applied)
            case _:
                raise ValueError(key)

    def stored(self) -> dict[str, Any]:
        """It as the log says it."""
        said = {"day": self.day, "urls": self.form, "at": self.at, "who": self.who, "why": self.why}
        return said | {"applied": self.applied}

    @property
    def day(self) -> str:
        """The day it was asked for: ISO 8601."""
        return self.at[:10]


@dataclass(frozen=True)
class Forgotten:
    """All takedowns."""

    takedowns: tuple[Takedown, ...] = ()

    @classmethod
    def read(cls, files: Files) -> Forgotten:
        """The list as it stands.

        Raises:
            StoreError: the log is damaged, or of a later version.
        """
        try:
            return cls(tuple(Takedown.of(key, said) for key, said in files.log.values(_KEY).items()))
        except ValueError as e:
            raise StoreError(f"what {files.url('log')} says of {e}, which is forgotten, is unknown here") from None

    @staticmethod
    def put(files: Files, takedowns: Sequence[Takedown]) -> None:
        """Put these on the list, in one commit; what is on it already stays as it is."""

        def decide(state: State) -> list[Line]:
            new = [each for each in takedowns if f"{_KEY}{each.key}" not in state.values]
            return [{"set": {"key": f"{_KEY}{each.key}", "value": each.stored()}} for each in new]

        files.log.commit(decide)

    @staticmethod
    def take_off(files: Files, key: str) -> None:
        """Take one off the list."""
        files.log.set(f"{_KEY}{key}", lambda _: None)

    @staticmethod
    def note_applied(files: Files, keys: Collection[str]) -> None:
        """Note of these that nothing is left of what they name, in one commit."""
        now = datetime.now(UTC).isoformat(timespec="seconds")

        def decide(state: State) -> list[Line]:
            there = [key for key in keys if f"{_KEY}{key}" in state.values]
            found = [Takedown.of(key, state.values[f"{_KEY}{key}"]) for key in there]
            done = [replace(each, applied=now) for each in found if each.applied is None]
            return [{"set": {"key": f"{_KEY}{each.key}", "value": each.stored()}} for each in done]

        files.log.commit(decide)

    @property
    def open(self) -> list[Takedown]:
        """Those of which something may be left."""
        return [each for each in self.takedowns if each.applied is None]

    def reason(self, url: str | None) -> str | None:
        """Why this URL is kept out, or None."""
        if not self.takedowns or not url:
            return None
        host = host_of(url)
        for form, found in self._by_form.items():
            for key in (same_page_url(url, form), host, host.rsplit(":", 1)[0]):
                if key in found:
                    return f"forgotten on {found[key].day} (quarry forget {key})"
        return None

    def is_named_in(self, text: str) -> bool:
        """Whether a sentence names a URL, or the URN of a document, that is kept out."""
        return bool(self.takedowns) and any(map(self.reason, _ADDRESS.findall(text)))

    @cached_property
    def _by_form(self) -> dict[UrlForm, dict[str, Takedown]]:
        found: dict[UrlForm, dict[str, Takedown]] = {}
        for each in self.takedowns:
            found.setdefault(each.form, {})[each.key] = each
        return found
