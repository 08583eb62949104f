"""Pages to main text: each page's text, title, author, date and language, or why it has none.

Callers need :class:`Extractor`, or :func:`extract_pages` for one series of pages. The parsers load in worker
processes, never in the process that imports this package.
"""

from quarry_dagster.extract.pool import Extractor, extract_pages
from quarry_dagster.extract.records import Extraction, Page
from quarry_dagster.extract.version import extractor_version
from quarry_dagster.extract.words import count_words, normal_form, text_digest

__all__ = [
    "Extraction",
    "Extractor",
    "Page",
    "count_words",
    "extract_pages",
    "extractor_version",
    "normal_form",
    "text_digest",
]
