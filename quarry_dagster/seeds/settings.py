"""What its user says of one seed: the sidecar file `NAME.yaml` beside the seed file `NAME`.

    name: books              # the namespace of its ids; else the file's name without suffixes
    mirror: true             # documents that its newest version no longer names leave the corpus
    text: body               # which of its columns is which of ours; `a.b` is the field b of the object a
    url: metadata.url

Only tables have columns; a sidecar of another seed may say `mirror` alone.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field

import yaml

from quarry_dagster.seeds.model import shown
from quarry_dagster.settings_files import read_settings

SIDECAR = ".yaml"
"""What the name of a sidecar adds to that of its seed."""
DOCUMENT = ("url", "id", "html", "text", "content_type", "fetched_at", "discover")
"""Columns of a table that say what a row is; `url` and `id` name it."""
GIVEN = ("title", "author", "date", "language")
"""Columns that fill those of `extracted_text`, in place of what the page says."""
COLUMNS = (*DOCUMENT, *GIVEN)
"""The columns of a table that have a meaning; any other travels as metadata."""
_MAX_BYTES = 1 << 16


class InvalidSettings(ValueError):
    """A sidecar is wrong; the message names the key and the remedy."""


@dataclass(frozen=True)
class SeedSettings:
    """The settings of one seed."""

    name: str
    """The namespace of its ids."""
    mirror: bool = False
    columns: Mapping[str, str] = field(default_factory=dict)
    """The name of the seed's own column by the name of ours, where it is said."""
    sidecar: str = ""
    """What problems call the file in which this is said."""


def parse_settings(sidecar: bytes, default_name: str) -> SeedSettings:
    """The settings in a sidecar.

    Raises:
        InvalidSettings: it is no YAML mapping, or has an unknown key or a value of the wrong type.
    """
    if len(sidecar) > _MAX_BYTES:
        raise InvalidSettings(f"it is longer than {_MAX_BYTES:,} bytes")
    try:
        said = read_settings(sidecar.decode())
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as e:
        raise InvalidSettings(f"it is no YAML: {shown(str(e).partition(chr(10))[0])}") from e
    if said is None:
        said = {}
    if not isinstance(said, dict):
        raise InvalidSettings("it is no mapping; write `name: books` or `text: body`, a key a line")
    keys = ("name", "mirror", *COLUMNS)
    for key, value in said.items():
        if key not in keys:
            near = difflib.get_close_matches(str(key), keys, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are: {', '.join(keys)}"
            raise InvalidSettings(f"unknown key {shown(key)!r}; {hint}")
        wanted = bool if key == "mirror" else str
        if not isinstance(value, wanted) or (isinstance(value, str) and not value.strip()):
            example = "`mirror: true`" if key == "mirror" else f"`{key}: something`"
            raise InvalidSettings(f"{key!r} is {shown(value)!r}; write {example}")
        if isinstance(value, str) and any("\ud800" <= c <= "\udfff" for c in value):
            raise InvalidSettings(f"{key!r} has half a character (a lone surrogate); write it anew")
    columns = {name: str(said[name]).strip() for name in COLUMNS if name in said}
    return SeedSettings(str(said.get("name", default_name)).strip(), said.get("mirror") is True, columns)
