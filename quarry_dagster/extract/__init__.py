"""Pages to main text: each page's text, title, author, date and language, or why it has none.

Callers need :class:`Extractor`. The parsers load in worker processes, never in the process that imports this package.
"""

from quarry_dagster.extract.extractors import extractor_version
from quarry_dagster.extract.pool import Extractor
from quarry_dagster.extract.records import Extraction, Page
from quarry_dagster.extract.words import count_words, normal_form, text_digest

__all__ = [
    "Extraction",
    "Extractor",
    "Page",
    "count_words",
    "extractor_version",
    "normal_form",
    "text_digest",
]
