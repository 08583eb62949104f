"""What a data root knows of itself: what it was begun with, and keeps.

It is a value of the log, written before the first batch. A root that has batches and no such value was begun by
version 0.1.

Why so: "The normal form of a URL has a version, and a data root keeps its own" in docs/decisions.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from quarry_dagster.errors import StoreError
from quarry_dagster.store.files import Files
from quarry_dagster.urls import CURRENT_FORM, FIRST_FORM, FORMS, UrlForm

_KEY = "root"
_TEXTS = ("name", "description")
"""Settings that are no section."""


@dataclass(frozen=True)
class Root:
    """What holds for all of one data root. The defaults are those of a root that does not say."""

    urls: UrlForm = FIRST_FORM
    """The normal form that its ids are made from."""
    settings: Mapping[str, Any] | None = None
    """The settings that its rows are made with, by section, as JSON values; see `profiles.remembered`."""
    made_with: Mapping[str, str] = field(default_factory=dict)
    """A digest of each section's settings that rows depend on."""
    extractor: str | None = None
    """Version of the extractor that its texts are made by."""
    vectors: str | None = None
    """Id of its vectors."""
    confirmed: Sequence[str] = ()
    """Sections whose settings somebody changed to what they are now, and said that it is meant."""

    @classmethod
    def new(cls) -> Root:
        """That of a root that is begun now."""
        return cls(urls=CURRENT_FORM)

    @classmethod
    def read(cls, files: Files) -> Root:
        """What the root says of itself; of one without batches, what it will say.

        Raises:
            StoreError: it is of a later version, or the log is damaged.
        """
        state = files.state()
        stored = state.values.get(_KEY)
        if stored is None and state.table("batches").newest < 0 and state.table("batches").frame().is_empty():
            return cls.new()
        root = cls(**{f.name: stored[f.name] for f in fields(cls) if f.name in stored} if stored else {})
        settings = {} if root.settings is None else root.settings
        sections = (
            [value for name, value in settings.items() if name not in _TEXTS] if isinstance(settings, dict) else []
        )
        mappings = (settings, root.made_with, *sections)
        if not all(isinstance(each, dict) for each in mappings) or not isinstance(root.confirmed, list | tuple):
            raise StoreError(f"what {files.url('log')} says of the root is not as it was written")
        if root.urls not in FORMS:
            raise StoreError(
                f"{files.url('log')} names {root.urls!r}, which this version does not know, as form of URLs"
            )
        return root

    def write(self, files: Files) -> None:
        """Put this in the place of what is there; what a later version wrote beside it stays."""
        files.log.set(_KEY, lambda before: (before or {}) | asdict(self))
