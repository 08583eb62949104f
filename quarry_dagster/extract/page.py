"""One page to one row: what runs inside a worker process.

The result is a function of the page and the settings alone: not of the day, of other pages, or of their order.
So trafilatura's `deduplicate` (which remembers earlier pages) stays off.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from quarry_dagster.extract.decode import NotText, decode
from quarry_dagster.extract.extractors import chosen, extractor_name
from quarry_dagster.extract.hydration import text_in_data
from quarry_dagster.extract.language import detect_language
from quarry_dagster.extract.markdown import MARKDOWN, PLAIN, plain_form, with_table_heads
from quarry_dagster.extract.noise import without_noise
from quarry_dagster.extract.records import Extraction, Page
from quarry_dagster.extract.repairs import tidy_headings
from quarry_dagster.extract.threads import as_page, item_types, likely_posts_of, posts_of
from quarry_dagster.extract.walls import is_wall
from quarry_dagster.extract.words import by_length, count_words, is_longer_than, kept_form, of_plain_text, text_digest
from quarry_dagster.page import page_type, read_head
from quarry_dagster.page.tree import parse
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
    tidy_headings(tree)
    extractor, url = chosen(settings), page.url or None
    head = read_head(source)
    posts = posts_of(tree)
    kind, told_by = page_type(head, url, item_types(tree), len(posts))
    facts: dict[str, Any] = {**extractor.facts(head, tree, url, page.fetched_on)}
    facts |= {"canonical_url": head.canonical_url(url), "page_type": kind, "page_type_source": told_by}
    if kind == "forum" and (posts := posts or likely_posts_of(tree)):
        text = extractor.main_text(as_page(posts), url, compare=False)
        if text:
            return _row(page, settings, text, facts, damage)
    text = extractor.main_text(tree, url, compare=kind != "listing")
    row = _row(page, settings, text, facts, damage) if text else None
    if row is None or row.outcome == "javascript_only":
        made = _parse(markup)[0] if (markup := text_in_data(source, head)) else None
        text = extractor.main_text(made, url, compare=False) if made is not None else None
        if text:
            return _row(page, settings, text, facts, "its text is in the data of its script")
    if row is not None:
        return row
    if head.refresh and damage is None:
        damage = f"nothing but a refresh to {head.resolved(head.refresh[1], url) or head.refresh[1]}"
    outcome, why = _why_empty(source, damage)
    return Extraction(page.key, outcome, extractor_name(page, settings), why, **facts)


def _parse(source: str) -> tuple[HtmlElement | None, str | None]:
    """The page's tree, and what the parser could not read."""
    from trafilatura.utils import repair_faulty_html

    return parse(repair_faulty_html(source, source[:50].lower()))


def _row(page: Page, settings: Settings, text: str, facts: dict[str, Any], detail: str | None = None) -> Extraction:
    extractor = extractor_name(page, settings)
    text_format = PLAIN if page.is_plain_text or settings.text_format == PLAIN else MARKDOWN
    if not page.is_plain_text:
        text = with_table_heads(without_noise(text, facts["title"]))
        if text_format == PLAIN:
            text = plain_form(text, MARKDOWN)
    text = kept_form(text)
    if is_longer_than(text, int(settings.max_page_mb * 2**20)):
        said = f"its normal form has more characters than max_page_mb {settings.max_page_mb:g} has bytes"
        return Extraction(page.key, "error", extractor, said, **facts)
    if not text:
        return Extraction(page.key, "empty", extractor, detail, **facts)
    plain = plain_form(text, text_format)
    if not page.is_plain_text and is_wall(plain):  # a plain text is no page that hides another one
        return Extraction(page.key, "javascript_only", extractor, f"the page says: {plain[:200]}", **facts)
    words = count_words(plain)
    short = by_length(words, settings.min_words)
    return Extraction(
        page.key,
        "too_short" if short else "extracted",
        extractor,
        short or detail,
        **facts,
        language=detect_language(plain),
        text=text,
        text_format=text_format,
        word_count=words,
        text_digest=None if short else text_digest(text),
    )


def _why_empty(source: str, damage: str | None) -> tuple[str, str | None]:
    """The outcome of a page without a main text, and why there is none."""
    tree = _parse(source)[0]  # anew: an extractor changes what it is given
    assert tree is not None
    seen = " ".join(" ".join(tree.xpath("//body//text()[not(parent::script or parent::style)]")).split())
    words = count_words(seen)
    if is_wall(seen):
        return "javascript_only", f"the page says: {seen[:200]}"
    if not words and tree.find(".//script") is not None:
        return "javascript_only", "scripts and no text"
    if damage is None and words >= _PAGE_WITH_TEXT:
        damage = f"no main text found among the {words} words of the page"
    return "empty", damage
