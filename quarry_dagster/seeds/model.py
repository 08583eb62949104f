"""What a seed file yields: seeds, and problems; and how far it was read. No reading here."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from quarry_dagster.wire import without_credentials

_SHOWN = 200
_JOINERS = "\u200c\u200d"


@dataclass(frozen=True, slots=True)
class Seed:
    """One URL to fetch, or one document that was given or archived."""

    url: str
    """As written in the seed, stripped."""
    line: int
    """Line, row or record number, from 1."""
    outcome: str | None = None
    """None: fetch it. Else one of `store.schemas.FETCH_OUTCOMES`."""
    detail: str | None = None
    """Why there is no document."""
    discover: str | None = None
    """With outcome None: what else to look for there, as `discovery` writes it."""
    final_url: str | None = None
    status: int | None = None
    fetched_at: datetime | None = None
    """With a timezone, UTC."""
    content_type: str | None = None
    etag: str | None = None
    last_modified: str | None = None
    body: bytes | None = None
    own_columns: str | None = None
    """What else the seed says of it, a JSON object."""
    consent_headers: str | None = None
    """The headers of an archived answer that say what the page may be used for, a line each."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One bad line, or a part of it; it costs only itself."""

    line: int | None
    """None: the whole file."""
    reason: str
    """What is wrong, and the remedy."""
    text: str = ""
    """The offending text: at most 200 characters, :func:`printable`."""
    costs_row: bool = True
    """Whether the row is lost; else its document was taken in, without what is wrong."""


@dataclass(slots=True)
class Place:
    """How far a seed file was read; from there reading can go on, by another process too."""

    line: int = 0
    """All up to this line, row or record was yielded."""
    at: int = 0
    """The byte behind it, in formats that can be entered in the middle."""
    sitemaps: list[str] = field(default_factory=list)
    """Sitemaps it names that are done with, by canonical URL."""


def printable(text: object) -> str:
    """The text without what a terminal or a reader would take for more than text.

    Of a control character, an escape, a mark of direction or half a surrogate nothing but its place is left. Joiners
    stay, which Persian and many emoji are written with.
    """
    return "".join(c if c.isprintable() or c in _JOINERS else "\ufffd" for c in str(text))


def shown(text: object) -> str:
    """The text as a problem may carry it, without the user names and passwords of URLs."""
    return printable(without_credentials(str(text)[: 2 * _SHOWN])[:_SHOWN].rstrip("\r\n"))
