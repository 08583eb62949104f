"""Pages out to worker processes, rows back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from quarry_dagster.extract.extractors import chosen, extractor_name
from quarry_dagster.extract.page import extract_page
from quarry_dagster.extract.records import Extraction, Page
from quarry_dagster.profiles.settings import Extraction as Settings
from quarry_dagster.workers import Workers

_WARM_UP = Page(
    "warm-up",
    "https://example.org/",
    b"<html><head><title>x</title></head><body><p>Publi\xe9 le 5 mars 2020 \xe0 Gen\xe8ve en Suisse.</p></body></html>",
    "text/html",
)
"""Small, and yet it goes where something is loaded: an encoding, fallbacks, a date, a language."""


@dataclass(frozen=True, slots=True)
class Extracting:
    """The job of a worker that extracts one page."""

    page: Page

    @property
    def size(self) -> int:
        return len(self.page.body)

    @staticmethod
    def prepare(settings: Settings) -> None:
        chosen(settings).prepare()
        extract_page(_WARM_UP, settings)

    def do(self, settings: Settings) -> Extraction:
        return extract_page(self.page, settings)

    def failed(self, outcome: str, detail: str, settings: Settings) -> Extraction:
        return Extraction(self.page.key, outcome, extractor_name(self.page, settings), detail)


class Extractor(Workers[Extraction]):
    """Worker processes that extract pages."""

    def __init__(self, settings: Settings, workers: int) -> None:
        super().__init__(Extracting, settings, workers)

    def extract(self, pages: Iterable[Page]) -> Iterator[Extraction]:
        """Exactly one row for each page, in the order in which pages are done; else as :meth:`do`."""
        return self.do(map(Extracting, pages))
