"""One page to one row of `page_metadata`: what runs inside a worker process."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from quarry_dagster.domains.legal import is_of_law
from quarry_dagster.domains.medical import is_of_medicine
from quarry_dagster.domains.news import is_free
from quarry_dagster.domains.registry import fields_of, load
from quarry_dagster.domains.view import PageView, iso_date, said
from quarry_dagster.extract.decode import NotText, decode
from quarry_dagster.extract.records import Page
from quarry_dagster.page import Head, read_head, typed, types_of
from quarry_dagster.page.license import has_hint, page_license
from quarry_dagster.profiles.settings import Extraction as Settings
from quarry_dagster.workers import Workers

IDENTIFIERS = "identifiers"
"""What told the type of a page that identifiers of law or medicine made one of these."""
_BY_IDENTIFIERS = {"legal": is_of_law, "medical": is_of_medicine}
"""Domains that make a page one of theirs by their fields, where extraction found nothing more telling."""
_UNTOLD = ("article", "other", None)
_WORKS = (
    *("Article", "NewsArticle", "BlogPosting", "WebPage", "TechArticle", "ScholarlyArticle", "Recipe", "Report"),
    *("ReportageNewsArticle", "AnalysisNewsArticle", "OpinionNewsArticle", "LiveBlogPosting", "MedicalWebPage"),
)
_MODIFIED = (
    *("article:modified_time", "og:updated_time", "og:article:modified_time", "dcterms.modified", "last-modified"),
    *("datemodified", "dc.date.modified", "article.updated", "modified"),
)
_SITE_TYPES = ("WebSite",)
_METERED = ("locked", "metered", "paid", "premium", "subscriber", "registered")
_TYPES = 50
"""Types of schema.org that are kept of a page."""
_SITE_NAME = 200


@dataclass(frozen=True, slots=True)
class Facts:
    """What a page says of itself, beside its text; columns of `page_metadata`."""

    key: str
    page_type: str | None = None
    page_type_source: str | None = None
    schema_types: tuple[str, ...] = ()
    site_name: str | None = None
    canonical_url: str | None = None
    modified: str | None = None
    paywalled: bool | None = None
    license: str | None = None
    license_source: str | None = None
    fields: str | None = None
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class Describing:
    """The job of a worker that describes one page."""

    page: Page
    text: Mapping[str, Any]
    """Of its row in `extracted_text`: text, text_format, page_type, page_type_source, canonical_url, title, author,
    date."""
    own: tuple[tuple[str, str], ...] = ()
    """A user's own processors, by name and import string."""

    @property
    def size(self) -> int:
        return len(self.page.body)

    @staticmethod
    def prepare(settings: Settings) -> None:
        import lxml.html  # noqa: F401

    def do(self, settings: Settings) -> Facts:
        return describe(self.page, self.text, dict(self.own))

    def failed(self, outcome: str, detail: str, settings: Settings) -> Facts:
        own = f"; with processors of your own: {', '.join(name for name, _ in self.own)}" if self.own else ""
        return _from_text(self.page.key, self.text, detail=f"no fields: {outcome}, {detail}{own}")


class Describer(Workers[Facts]):
    """Worker processes that describe pages, by our processors and the user's own (import strings by name)."""

    def __init__(self, own: Mapping[str, str], settings: Settings, workers: int) -> None:
        super().__init__(Describing, settings, workers)
        self.own = own

    def job(self, page: Page, text: Mapping[str, Any]) -> Describing:
        """The job of describing a page, given its row in `extracted_text`."""
        return Describing(page, text, tuple(self.own.items()))


def describe(page: Page, text: Mapping[str, Any], own: Mapping[str, str]) -> Facts:
    """What a page says of itself, with what extraction found on it. Only MemoryError is raised.

    Raises:
        ConfigError: a processor of the user's own is not there.
    """
    processors = load(own)
    try:
        source = "" if page.is_plain_text else decode(page.body, page.content_type)
    except NotText as e:
        return _from_text(page.key, text, detail=str(e))
    head = read_head(source)
    view = PageView(
        page.url or None,
        source,
        head,
        text["text"] or "",
        text["text_format"] or "plain",
        *(text[name] for name in ("page_type", "title", "author", "date")),
    )
    fields, problems = fields_of(view, processors, own)
    problems += head.json_ld.problems
    license_, license_source = page_license(head, view.tree if source and has_hint(source) else None, page.url or None)
    return _from_text(
        page.key,
        text,
        **_told_by(view, text, fields),
        schema_types=_types(view),
        site_name=_site_name(head),
        modified=_modified(head, page.fetched_on),
        paywalled=_paywalled(head),
        license=license_,
        license_source=license_source,
        fields=json.dumps(fields, ensure_ascii=False) if fields else None,
        detail="; ".join(problems)[:1000] or None,
    )


def _from_text(key: str, text: Mapping[str, Any], **facts: Any) -> Facts:
    of_text = {name: text[name] for name in ("page_type", "page_type_source", "canonical_url")}
    return Facts(key, **{name: _utf8(value) for name, value in (of_text | facts).items()})


def _utf8(value: Any) -> Any:
    """A value that can be stored: JSON may name half a character, which UTF-8 has not, and "?" takes its place."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    return tuple(map(_utf8, value)) if isinstance(value, tuple) else value


def _told_by(view: PageView, text: Mapping[str, Any], fields: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """The type that identifiers give a page of which extraction could tell nothing more than that it is an article."""
    if text["page_type"] not in _UNTOLD:
        return {}
    for name, is_of in _BY_IDENTIFIERS.items():
        if is_of(view, fields.get(name, {})):
            return {"page_type": name, "page_type_source": IDENTIFIERS}
    return {}


def _types(view: PageView) -> tuple[str, ...]:
    """The types of schema.org that the page has, JSON-LD's first; microdata's only where something else parsed it."""
    nodes = [*view.head.json_ld.main, *(view.items if "tree" in vars(view) else ())]
    return tuple(dict.fromkeys(name[:100] for node in nodes for name in types_of(node)))[:_TYPES]


def _site_name(head: Head) -> str | None:
    named = head.contents("og:site_name")
    named += [name for node in typed(head.json_ld.main, _SITE_TYPES) if (name := said(node.get("name")))]
    named += head.contents("application-name", "citation_publisher")
    return named[0][:_SITE_NAME] if named else None


def _modified(head: Head, fetched_on: str) -> str | None:
    """When the page was changed; None where it says that this was later than it was fetched.

    A day later may be the same one in another time zone.
    """
    told = [said(node.get("dateModified")) for node in typed(head.json_ld.main, _WORKS)]
    days = (iso_date(value) for value in (*told, *head.contents(*_MODIFIED)) if value)
    day = next(filter(None, days), None)
    is_later = day is not None and date.fromisoformat(day[:10]) - date.fromisoformat(fetched_on) > timedelta(days=1)
    return None if is_later else day


def _paywalled(head: Head) -> bool | None:
    """Whether the page says that not everybody may read all of it; None where it says nothing."""
    works = list(typed(head.json_ld.main, _WORKS))
    said_parts = [node.get("hasPart") for node in works]
    parts = [each for said in said_parts for each in (said if isinstance(said, list) else [said])]
    nodes = [*works, *(part for part in map(head.json_ld.at, parts) if isinstance(part, Mapping))]
    answers = {is_free(node.get("isAccessibleForFree")) for node in nodes} - {None}
    if answers:
        return False in answers
    tiers = {tier.lower() for tier in head.contents("article:content_tier")}
    if tiers:
        return not tiers.isdisjoint(_METERED)
    return None
