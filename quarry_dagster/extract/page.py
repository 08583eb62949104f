"""One page to one row: what runs inside a worker process.

The result is a function of the page and the settings alone: not of the day, of other pages, or of their order.
So trafilatura's `deduplicate` (which remembers earlier pages) stays off.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from quarry_dagster.extract.decode import NotText, decode
from quarry_dagster.extract.extractors import chosen, extractor_name
from quarry_dagster.extract.language import detect_language
from quarry_dagster.extract.records import Extraction, Page
from quarry_dagster.extract.walls import is_wall
from quarry_dagster.extract.words import count_words, is_longer_than, kept_form, of_plain_text, text_digest
from quarry_dagster.page import read_head
from quarry_dagster.plural import plural
from quarry_dagster.profiles.settings import Extraction as Settings

if TYPE_CHECKING:
    from lxml.html import HtmlElement

_PAGE_WITH_TEXT = 50
"""Words on a page from which finding no main text among them is worth a word."""


def extract_page(page: Page, settings: Settings) -> Extraction:
    """The page's text and metadata, or why there are none. Only MemoryError is raised."""
    try:
        if page.is_plain_text:
            return _from_plain_text(page, settings)
        return _from_html(page, settings)
    except MemoryError:
        raise
    except NotText as e:
        return Extraction(page.key, "error", extractor_name(page, settings), str(e))
    except Exception as e:  # noqa: BLE001  whatever a parser does to a page is that page's outcome
        return Extraction(page.key, "error", extractor_name(page, settings), f"{type(e).__name__}: {e}")


def _from_plain_text(page: Page, settings: Settings) -> Extraction:
    return _row(page, settings, of_plain_text(decode(page.body, page.content_type, is_markup=False)), {})


def _from_html(page: Page, settings: Settings) -> Extraction:
    source = decode(page.body, page.content_type)
    if "<" not in source:
        return Extraction(page.key, "empty", extractor_name(page, settings), "not HTML: no tags")
    tree, damage = _parse(source)
    if tree is None:
        return Extraction(page.key, "empty", extractor_name(page, settings), damage or "nothing to parse")
    extractor, url = chosen(settings), page.url or None
    head = read_head(source)
    canonical = head.canonical_url(url)
    facts = extractor.facts(head, tree, url) | {"canonical_url": canonical}
    text = extractor.main_text(tree, url)
    if text is None:
        if head.refresh and damage is None:
            damage = f"nothing but a refresh to {head.resolved(head.refresh[1], url) or head.refresh[1]}"
        return replace(_without_text(page, settings, tree, damage), canonical_url=canonical)
    return _row(page, settings, text, facts, damage)


def _parse(source: str) -> tuple[HtmlElement | None, str | None]:
    """The page's tree, and what the parser could not read.

    Not trafilatura's own parsing, which gives up at 256 nested elements without a word and keeps what came before.
    """
    from lxml.etree import ElementDefaultClassLookup, ErrorLevels, ErrorTypes, ParserError
    from lxml.html import HtmlElement, HTMLParser, document_fromstring
    from trafilatura.utils import repair_faulty_html

    parser = HTMLParser(
        collect_ids=False,
        default_doctype=False,
        encoding="utf-8",
        huge_tree=True,
        remove_comments=True,
        remove_pis=True,
    )
    # lxml looks for a class for forms, labels and the like by a Python call for each element; nobody here needs them.
    parser.set_element_class_lookup(ElementDefaultClassLookup(element=HtmlElement))
    repaired = repair_faulty_html(source, source[:50].lower())
    try:
        tree = document_fromstring(repaired.encode("utf-8", "replace"), parser=parser)
    except ParserError:  # "Document is empty"
        tree = None
    for entry in parser.error_log.filter_from_level(ErrorLevels.FATAL):
        if entry.type == ErrorTypes.ERR_RESOURCE_LIMIT:
            return tree, f"cut by the parser: {entry.message.partition(', use')[0]}"
    return tree, None


def _row(page: Page, settings: Settings, text: str, facts: dict[str, Any], detail: str | None = None) -> Extraction:
    extractor = extractor_name(page, settings)
    text = kept_form(text)
    if is_longer_than(text, int(settings.max_page_mb * 2**20)):
        said = f"its normal form has more characters than max_page_mb {settings.max_page_mb:g} has bytes"
        return Extraction(page.key, "error", extractor, said, **facts)
    words = count_words(text)
    if not text:
        return Extraction(page.key, "empty", extractor, detail, **facts)
    if not page.is_plain_text and is_wall(text):  # a plain text is no page that hides another one
        return Extraction(page.key, "javascript_only", extractor, f"the page says: {text[:200]}", **facts)
    short = words < settings.min_words
    return Extraction(
        page.key,
        "too_short" if short else "extracted",
        extractor,
        f"{plural(words, 'word')}, less than min_words {settings.min_words}" if short else detail,
        **facts,
        language=detect_language(text),
        text=text,
        word_count=words,
        text_digest=None if short else text_digest(text),
    )


def _without_text(page: Page, settings: Settings, tree: HtmlElement, damage: str | None) -> Extraction:
    """Why the extractor found nothing."""
    extractor = extractor_name(page, settings)
    seen = _visible_text(tree)
    words = count_words(seen)
    if is_wall(seen):
        return Extraction(page.key, "javascript_only", extractor, f"the page says: {seen[:200]}")
    if not words and tree.find(".//script") is not None:
        return Extraction(page.key, "javascript_only", extractor, "scripts and no text")
    if damage is None and words >= _PAGE_WITH_TEXT:
        damage = f"no main text found among the {words} words of the page"
    return Extraction(page.key, "empty", extractor, damage)


def _visible_text(tree: HtmlElement) -> str:
    texts = tree.xpath("//body//text()[not(parent::script or parent::style)]")
    return " ".join(" ".join(texts).split())
