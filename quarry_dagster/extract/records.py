"""What goes in and comes out: a page as it was crawled, and what was extracted from it."""

from __future__ import annotations

from dataclasses import dataclass

from quarry_dagster.crawl.media_types import is_plain_text


@dataclass(frozen=True, slots=True)
class Page:
    """One page as it was crawled."""

    key: str
    """The caller's name of the page; returned with the result."""
    url: str
    body: bytes
    content_type: str | None
    """Value of the HTTP Content-Type header."""

    @property
    def is_plain_text(self) -> bool:
        return is_plain_text(self.content_type)


@dataclass(frozen=True, slots=True)
class Extraction:
    """What one page gave."""

    key: str
    outcome: str
    """extracted, empty, too_short, javascript_only, timeout or error."""
    extractor: str
    detail: str | None = None
    """Why there is no text, or what may be wrong with it."""
    title: str | None = None
    author: str | None = None
    date: str | None = None
    language: str | None = None
    """ISO 639-1."""
    text: str | None = None
    """Present with outcome extracted and, to explain it, with too_short."""
    word_count: int = 0
    canonical_url: str | None = None
    """The URL that the page says is its own."""
    text_digest: str | None = None
    """Present with outcome extracted only."""
