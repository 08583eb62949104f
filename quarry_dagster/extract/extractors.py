"""The ways to find a page's main text and metadata, by name.

A new one is a class with the methods of :class:`PageExtractor` and a line in `EXTRACTORS`; its name is what
`extraction.mode` of a profile says. The nursery and the worker ask the chosen one, and so does the version, which
decides whether a stored row is still valid.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import metadata
from typing import TYPE_CHECKING, Protocol

from quarry_dagster.extract import words
from quarry_dagster.extract.code_blocks import CodeBlocks
from quarry_dagster.extract.markdown import unescaped
from quarry_dagster.extract.records import Page
from quarry_dagster.extract.repairs import break_lines, escape_references, repair
from quarry_dagster.profiles.settings import Extraction as Settings

if TYPE_CHECKING:
    from lxml.html import HtmlElement

    from quarry_dagster.page import Head

RULES = 5
"""Revision of this package's own rules; raise it with any change that changes what a page gives."""

PLAIN_TEXT = "plain text"
"""What the row of a text that is no page says it was extracted by."""

_LIBRARIES = ("py3langid", "w3lib", "chardet")
"""Those whose code every row goes through, whatever the extractor: language and encoding."""


class PageExtractor(Protocol):
    """One way to find a page's main text and metadata."""

    @property
    def libraries(self) -> tuple[str, ...]:
        """Distributions whose code decides what a row holds: with another version of one, pages are extracted anew."""
        ...

    @property
    def name(self) -> str:
        """What a row says it was extracted by: library, version and mode."""
        ...

    def prepare(self) -> None:
        """Load and patch what is needed, once, in the process that workers are forked from."""
        ...

    def facts(self, head: Head, tree: HtmlElement, url: str | None, fetched_on: str) -> dict[str, str | None]:
        """`title`, `author`, `author_source`, `date` (ISO 8601, not later than `fetched_on`) and `date_source`.

        `tree` stays as it is.
        """
        ...

    def main_text(self, tree: HtmlElement, url: str | None, *, compare: bool = True) -> str | None:
        """The main text of a page in Markdown, None where there is none.

        What other extractors find is compared with it where the mode does so, unless `compare` is false: they look for
        one article, which is lost on pages of many parts. Comes last: `tree` may be changed.
        """
        ...


@dataclass(frozen=True)
class Trafilatura:
    """trafilatura; `mode` is `thorough` (with its fallbacks) or `fast` (without them)."""

    mode: str
    libraries: tuple[str, ...] = (*("trafilatura", "jusText", "lxml", "courlan"),)

    @property
    def name(self) -> str:
        return f"trafilatura {version('trafilatura')} {self.mode}"

    def prepare(self) -> None:
        from quarry_dagster.extract.expressions import ask_first

        ask_first()

    def facts(self, head: Head, tree: HtmlElement, url: str | None, fetched_on: str) -> dict[str, str | None]:
        from quarry_dagster.extract.metadata import page_metadata

        return page_metadata(head, tree, url, fetched_on)

    def main_text(self, tree: HtmlElement, url: str | None, *, compare: bool = True) -> str | None:
        from trafilatura import bare_extraction
        from trafilatura.xml import xmltotxt

        repair(tree)
        code = CodeBlocks(tree)
        document = bare_extraction(
            tree,
            url=url,
            fast=not compare or self.mode == "fast",
            # Readers' comments: they cost articles a little and give forums a little; over all page types, nothing.
            include_comments=False,
            include_tables=True,
            include_formatting=True,
            output_format="xml",  # its text is not made: below it is
        )
        assert not isinstance(document, dict)  # only with its deprecated `as_dict`
        if document is None:
            return None
        break_lines(document.body)
        escape_references(document.body)
        return code.restored(unescaped(xmltotxt(document.body, include_formatting=True)))


EXTRACTORS: dict[str, PageExtractor] = {mode: Trafilatura(mode) for mode in ("thorough", "fast")}


def chosen(settings: Settings) -> PageExtractor:
    """The extractor that the settings name."""
    return EXTRACTORS[settings.mode]


@cache
def version(library: str) -> str:
    """The version of an installed library; asked once, for it reads files."""
    return metadata.version(library)


def extractor_name(page: Page, settings: Settings) -> str:
    """What the row of a page says it was extracted by."""
    return PLAIN_TEXT if page.is_plain_text else chosen(settings).name


def extractor_version(settings: Settings) -> str:
    """Everything that changes the result for the same page: where it is equal, a stored result is still valid.

    `page_timeout` and `worker_memory_mb` are left out: they only decide whether there is a result at all
    (outcomes timeout and error). So is `min_words`, which decides what is done with it.
    """
    libraries = ", ".join(f"{name} {version(name)}" for name in chosen(settings).libraries)
    return f"rules {RULES}, {settings.mode}, {settings.text_format}, {plain_version(settings)}, {libraries}"


def plain_version(settings: Settings) -> str:
    """The same for plain texts, which no extractor touches."""
    libraries = ", ".join(f"{name} {version(name)}" for name in _LIBRARIES)
    return f"{words.VERSION}, max_page_mb {settings.max_page_mb:g}, {libraries}"
