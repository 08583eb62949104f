"""What a data root knows of itself: what it was begun with, and keeps.

It is a small JSON file at the root, written before the first batch. A root that has batches and no such file was
begun by version 0.1.

Why so: "The normal form of a URL has a version, and a data root keeps its own" in docs/decisions.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from quarry_dagster.store.files import Files
from quarry_dagster.urls import CURRENT_FORM, FIRST_FORM, FORMS, UrlForm

_PATH = "root.json"
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
            StoreError: the file is damaged, or of a later version.
        """
        if not files.exists(_PATH) and not any(path.endswith(".parquet") for path in files.list("batches")):
            return cls.new()
        # Asked again: the first batch, and this file before it, may have come meanwhile.
        stored = _stored(files) if files.exists(_PATH) else {}
        root = cls(**{f.name: stored[f.name] for f in fields(cls) if f.name in stored})
        settings = {} if root.settings is None else root.settings
        sections = (
            [value for name, value in settings.items() if name not in _TEXTS] if isinstance(settings, dict) else []
        )
        mappings = (settings, root.made_with, *sections)
        if not all(isinstance(each, dict) for each in mappings) or not isinstance(root.confirmed, list | tuple):
            raise files.damaged(_PATH, "it is not as it was written")
        if root.urls not in FORMS:
            raise files.damaged(_PATH, f"it names {root.urls!r}, which this version does not know, as form of URLs")
        return root

    def write(self, files: Files) -> None:
        """Put this in the place of what is there; what a later version wrote beside it stays."""
        before = _stored(files) if files.exists(_PATH) else {}
        files.write_json(_PATH, before | asdict(self))


def _stored(files: Files) -> dict[str, Any]:
    stored = files.read_json(_PATH)
    if not isinstance(stored, dict):
        raise files.damaged(_PATH, "it is not as it was written")
    return stored
