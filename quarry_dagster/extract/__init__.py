"""Pages to main text: each page's text, title, author, date and language, or why it has none.

Callers need :class:`Extractor`. The parsers load in worker processes, never in the process that imports this package.
"""

from quarry_dagster.extract.extractors import PLAIN_TEXT, extractor_version, plain_version
from quarry_dagster.extract.markdown import plain_form
from quarry_dagster.extract.pool import Extractor
from quarry_dagster.extract.records import Extraction, Page
from quarry_dagster.extract.words import by_length, count_words, normal_form, text_digest

__all__ = [
    "PLAIN_TEXT",
    "Extraction",
    "Extractor",
    "Page",
    "by_length",
    "count_words",
    "extractor_version",
    "normal_form",
    "plain_form",
    "plain_version",
    "text_digest",
]
