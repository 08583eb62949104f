"""By what a page was extracted: the names that rows carry and that decide whether a row is still valid."""

from __future__ import annotations

from functools import cache
from importlib import metadata

from quarry_dagster.extract.records import Page
from quarry_dagster.profiles.settings import Extraction as Settings

RULES = 2
"""Revision of this package's own rules; raise it with any change that changes what a page gives."""

_LIBRARIES = (
    *("trafilatura", "jusText", "lxml", "courlan"),  # text, title, author, the page's own URL
    *("htmldate", "dateparser", "python-dateutil", "regex"),  # the date
    *("py3langid", "w3lib"),  # language, encoding
)
"""Those whose code a row goes through; others are only loaded (see the test)."""


@cache
def version(library: str) -> str:
    """Of an installed library; asked once, for it reads files."""
    return metadata.version(library)


def extractor_name(page: Page, settings: Settings) -> str:
    """What the row says: library, version and mode."""
    return "plain text" if page.is_plain_text else f"trafilatura {version('trafilatura')} {settings.mode}"


def extractor_version(settings: Settings) -> str:
    """Everything that changes the result for the same page: where it is equal, a stored result is still valid.

    `page_timeout` and `worker_memory_mb` are left out: they only decide whether there is a result at all
    (outcomes timeout and error).
    """
    libraries = ", ".join(f"{name} {version(name)}" for name in _LIBRARIES)
    limits = f"min_words {settings.min_words}, max_page_mb {settings.max_page_mb:g}"
    return f"rules {RULES}, {settings.mode}, {limits}, {libraries}"
