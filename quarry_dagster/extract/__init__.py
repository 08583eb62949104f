"""Pages to main text: each page's text, title, author, date and language, or why it has none.

Callers need :func:`extract_pages` only. The parsers load in worker processes, never in the process that imports
this package.
"""

from quarry_dagster.extract.pool import extract_pages
from quarry_dagster.extract.records import Extraction, Page
from quarry_dagster.extract.version import extractor_version
from quarry_dagster.extract.words import count_words, text_digest

__all__ = ["Extraction", "Page", "count_words", "extract_pages", "extractor_version", "text_digest"]
