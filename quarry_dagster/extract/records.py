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
    fetched_on: str = "9999-12-31"
    """The day on which it was fetched (UTC, ISO 8601): nothing on it was published later."""

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
    author_source: str | None = None
    """How the author was found: `head` or `byline`."""
    date: str | None = None
    """ISO 8601: a day, a month or a year."""
    date_source: str | None = None
    """How the date was found: `meta`, `json_ld`, `markup`, `url` or `text`; `later`: what the page says is later than
    it was fetched, and there is none."""
    language: str | None = None
    """ISO 639-1."""
    text: str | None = None
    """Present with outcome extracted and, to explain it, with too_short."""
    text_format: str | None = None
    """How the text is to be read: `markdown` or `plain`; null where there is none."""
    word_count: int = 0
    canonical_url: str | None = None
    """The URL that the page says is its own."""
    page_type: str | None = None
    """What kind of page it is (one of `quarry_dagster.page.PAGE_TYPES`); null for a text that is no page."""
    page_type_source: str | None = None
    """What told it (one of `PAGE_TYPE_SOURCES`); null where nothing did."""
    text_digest: str | None = None
    """Present with outcome extracted only."""
