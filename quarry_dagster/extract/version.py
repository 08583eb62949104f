"""By what a page was extracted: the names that rows carry and that decide whether a row is still valid."""

from __future__ import annotations

from quarry_dagster.extract.extractors import chosen, version
from quarry_dagster.extract.records import Page
from quarry_dagster.profiles.settings import Extraction as Settings

RULES = 2
"""Revision of this package's own rules; raise it with any change that changes what a page gives."""

_LIBRARIES = ("py3langid", "w3lib")
"""Those whose code every row goes through, whatever the extractor: language and encoding."""


def extractor_name(page: Page, settings: Settings) -> str:
    """What the row of a page says it was extracted by."""
    return "plain text" if page.is_plain_text else chosen(settings).name


def extractor_version(settings: Settings) -> str:
    """Everything that changes the result for the same page: where it is equal, a stored result is still valid.

    `page_timeout` and `worker_memory_mb` are left out: they only decide whether there is a result at all
    (outcomes timeout and error).
    """
    libraries = ", ".join(f"{name} {version(name)}" for name in (*chosen(settings).libraries, *_LIBRARIES))
    limits = f"min_words {settings.min_words}, max_page_mb {settings.max_page_mb:g}"
    return f"rules {RULES}, {settings.mode}, {limits}, {libraries}"
