"""The exports that were made of a data root: where each lies, and how it is made again.

They are noted in the log, so that a takedown reaches those below the data root, and can name the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from quarry_dagster.errors import ConfigError, StoreError
from quarry_dagster.exports.place import MADE_BY, MANIFEST
from quarry_dagster.profiles.settings import Export
from quarry_dagster.store import Store
from quarry_dagster.store.disk import Disk

_KEY = "export/"
_INSIDE = "exports"
"""The folder of the data root that exports go into."""


@dataclass(frozen=True)
class Known:
    """An export that was made."""

    to: str
    """Its place, a path from the root or a URL."""
    settings: Export | None
    """None where another version noted what this one cannot read."""
    since: int | None
    """The corpus from which it has what changed; None: it has all."""
    is_inside: bool
    """Whether it lies below the data root."""
    deleted: str | None = None
    """Why a takedown could not write it again, and deleted it."""


def note(store: Store, known: Known) -> None:
    """Remember an export, where the log does not say the same of it."""
    settings = known.settings.model_dump(mode="json", exclude={"to"}) if known.settings else None
    value = {"settings": settings, "since": known.since, "deleted": known.deleted}
    key = _key(store, known.to)
    if store.files.log.value(key) != value:
        store.files.log.set(key, lambda _: value)


def known_exports(store: Store) -> list[Known]:
    """The exports that the log names, by their places, but for those that are gone."""
    found = []
    for key, value in sorted(store.files.log.values(_KEY).items()):
        to = store.files.url(key[2:]) if key.startswith("./") else key
        known = Known(to, _settings(to, value), value.get("since"), key.startswith("./"), value.get("deleted"))
        if known.deleted or not _is_gone(known):
            found.append(known)
    return found


def place_of(store: Store, to: str, *, of_profile: bool = False) -> str:
    """The place that is meant: a path from the root, or a URL.

    A relative path is one from the working folder; in a profile it is one below `exports` of the data root.

    Raises:
        ConfigError: it is the data root, holds it, or lies in it outside of `exports`, or inside another export.
    """
    to = to.removeprefix("file://")
    if "://" not in to and of_profile and not Path(to).is_absolute():
        to = store.files.url(f"{_INSIDE}/{to}")
    if "://" not in to:
        to = str(Path(to).expanduser().absolute())
        if Path(to).parent == Path(to):
            raise ConfigError(f"an export has a folder for itself, and {to} is the whole disk")
    ours, theirs = (_parts(each) for each in (store.files.url(""), to))
    within = theirs[len(ours) :]
    if theirs == ours[: len(theirs)] or (theirs[: len(ours)] == ours and (within[0] != _INSIDE or len(within) == 1)):
        raise ConfigError(f"{to} is not for exports: in a data root they go into folders below {_INSIDE}/")
    for above in Path(to).parents if "://" not in to else ():
        if _is_export(above):
            raise ConfigError(f"{to} lies in another export, {above}: name a folder beside it")
    return to


def is_inside(store: Store, to: str) -> bool:
    """Whether a place lies below the data root."""
    return _key(store, to).startswith(f"{_KEY}./")


def _key(store: Store, to: str) -> str:
    """Names a place in the log: by the path from the data root where it lies below it, so that both can be moved."""
    ours, theirs = (_parts(each) for each in (store.files.url(""), to))
    if theirs[: len(ours)] == ours:
        return f"{_KEY}./{'/'.join(theirs[len(ours) :])}"
    return _KEY + to


def _parts(place: str) -> tuple[str, ...]:
    return tuple(place.rstrip("/").split("/")) if "://" in place else Path(place).resolve().parts


def _is_gone(known: Known) -> bool:
    """Whether somebody deleted it; of an object store that cannot be asked it is not known."""
    try:
        return not Disk(known.to).exists(MANIFEST)
    except StoreError:
        return False


def _is_export(folder: Path) -> bool:
    try:
        with (folder / MANIFEST).open(encoding="utf-8") as file:
            return f'"made_by": "{MADE_BY}' in file.read(200)
    except (OSError, UnicodeDecodeError):
        return False


def _settings(to: str, value: Any) -> Export | None:
    """The settings of an export; None where another version noted what this one cannot read."""
    try:
        return Export.model_validate(value["settings"] | {"to": to})
    except (ValidationError, KeyError, TypeError):
        return None
