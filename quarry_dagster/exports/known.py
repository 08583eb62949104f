"""The exports that were made of a data root: where each lies, and how it is made again.

They are noted in the log, so that a takedown reaches those below the data root, and can name the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from quarry_dagster.profiles.settings import Export
from quarry_dagster.store import Store

_KEY = "export/"


@dataclass(frozen=True)
class Known:
    """An export that was made."""

    to: str
    """Its place, a path from the root or a URL."""
    settings: Export
    title: str
    contact: str | None
    is_inside: bool
    """Whether it lies below the data root."""


def note(store: Store, known: Known) -> None:
    """Remember an export, where the log does not say the same of it."""
    value = {
        "settings": known.settings.model_dump(mode="json", exclude={"to"}),
        "title": known.title,
        "contact": known.contact,
    }
    key = _KEY + known.to
    if store.files.log.value(key) != value:
        store.files.log.set(key, lambda _: value)


def known_exports(store: Store) -> list[Known]:
    """The exports that the log names, by their places. What another version noted and this one cannot read is left out
    of the settings, so that it is named all the same."""
    found = []
    for to, value in sorted(store.files.log.values(_KEY).items()):
        settings = _settings(to, value)
        if settings:
            found.append(Known(to, settings, value.get("title", ""), value.get("contact"), is_inside(store, to)))
    return found


def place_of(store: Store, to: str, *, of_profile: bool = False) -> str:
    """The place that is meant: a path from the root, or a URL.

    A relative path is one from the working folder; in a profile it is one below `exports` of the data root.
    """
    if "://" in to or Path(to).is_absolute():
        return to
    return store.files.url(f"exports/{to}") if of_profile else str(Path(to).expanduser().absolute())


def is_inside(store: Store, to: str) -> bool:
    """Whether a place lies below the data root."""
    root = store.files.url("").rstrip("/")
    return to.startswith(f"{root}/")


def _settings(to: str, value: Any) -> Export | None:
    try:
        return Export.model_validate(value["settings"] | {"to": to})
    except (ValidationError, KeyError, TypeError):
        return None
