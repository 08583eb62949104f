"""One page, as a domain's processor sees it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from quarry_dagster.page import Head, Node, text_in, typed
from quarry_dagster.page.microdata import read_microdata
from quarry_dagster.page.tree import parse

if TYPE_CHECKING:
    from lxml.html import HtmlElement

_WITHIN_WORD = re.compile(r"</?(?:wbr|b|i|em|strong|span|sub|sup|u|a)\b[^<>]*>", re.IGNORECASE)
_LINE = re.compile(r"\n+|<br\s*/?>", re.IGNORECASE)
_TAG = re.compile(r"</?[a-zA-Z][^<>]*>")
_ISO = re.compile(r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d)?)(?:\.\d+)?\s?(Z|[+-]\d\d:?\d\d)?)?")
_EPOCH = re.compile(r"1\d{9}(?:\d{3})?")
_TYPE = re.compile(r"schema\.org/(\w+)")
MOST = 1_000
"""Values that are kept of one list of a page: posts, ingredients, identifiers."""
LONGEST = 2_000
"""Characters that are kept of one value."""


@dataclass
class PageView:
    """What is known of one page: its head, its markup, and what extraction made of it."""

    url: str | None
    """Where it was, after redirects."""
    source: str
    """The markup, decoded; "" for a text that is no page."""
    head: Head
    text: str
    """The main text, in Markdown where `text_format` is `markdown`."""
    text_format: str
    page_type: str | None
    title: str | None = None
    author: str | None = None
    date: str | None = None

    def copy(self) -> PageView:
        """The same page, whose nodes and elements are read anew where they are asked for, and shared with nobody."""
        return replace(self, head=replace(self.head, links=deepcopy(self.head.links)))

    @cached_property
    def tree(self) -> HtmlElement | None:
        """The page's elements; parsed when they are first asked for, which costs some milliseconds."""
        return parse(self.source)[0] if self.source else None

    @cached_property
    def items(self) -> Sequence[Node]:
        """The outermost items of the page's microdata, as nodes of JSON-LD."""
        has_some = "itemtype" in self.source or "ITEMTYPE" in self.source
        return read_microdata(self.tree) if has_some and self.tree is not None else []

    def nodes(self, *types: str) -> list[Node]:
        """What the page says of itself by these types of schema.org: in JSON-LD, else in microdata."""
        found = list(typed(self.head.json_ld.main, types))
        if found or self._types_in_markup.isdisjoint(types):
            return found
        return self.item_nodes(*types)

    def item_nodes(self, *types: str) -> list[Node]:
        """What the page's microdata says of itself by these types of schema.org."""
        return [] if self._types_in_markup.isdisjoint(types) else list(typed(self.items, types))

    @cached_property
    def _types_in_markup(self) -> frozenset[str]:
        """The types of schema.org that the markup has the addresses of, whatever they are there for."""
        return frozenset(_TYPE.findall(self.source))

    def at(self, value: Any) -> list[Any]:
        """The values of a property, a list of them or one, each with its node where it names one by its id."""
        values = value if isinstance(value, list) else [value]
        return [self.head.json_ld.at(each) for each in values[:MOST] if each not in (None, "", [], {})]

    def first(self, value: Any) -> Any:
        """The first of the values of a property; None where there is none."""
        return next(iter(self.at(value)), None)


def said(value: Any) -> str | None:
    """What a value says, in one line without markup, of at most `LONGEST` characters; None where it is no text."""
    text = text_in(value)
    if text and "<" in text:
        text = " ".join(_TAG.sub(" ", _WITHIN_WORD.sub("", text)).split())
    return text[:LONGEST] if text else None


def names(view: PageView, value: Any) -> list[str]:
    """The names that a property has, each once."""
    return list(dict.fromkeys(name for each in view.at(value) if (name := person(view, each))))


def filled(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that say something."""
    return {name: value for name, value in fields.items() if value not in (None, "", [], {})}


def lines_in(value: Any, depth: int = 5) -> Iterator[str]:
    """The texts in a value, in their order, in lists and objects of schema.org (sections and steps) up to a depth."""
    match value:
        case str():
            yield from filter(None, map(said, _LINE.split(value)))
        case list() if depth:
            for each in value[:MOST]:
                yield from lines_in(each, depth - 1)
        case Mapping() if depth:
            yield from lines_in(value.get("itemListElement") or value.get("text") or value.get("name"), depth - 1)


def person(view: PageView, value: Any) -> str | None:
    """The name of a person, from its parts where it is given by these."""
    if isinstance(value, Mapping) and not value.get("name"):
        parts = [said(value.get(part)) for part in ("givenName", "additionalName", "familyName")]
        return " ".join(filter(None, parts)) or None
    return said(value)


def iso_date(value: str) -> str | None:
    """A day or time that a page writes for machines, or as seconds since 1970, in ISO 8601; else None."""
    value = value.strip()[:100]
    if _EPOCH.fullmatch(value):
        return datetime.fromtimestamp(int(value[:10]), UTC).isoformat()
    found = _ISO.match(value)
    if not found:
        return None
    day, time, zone = found.groups()
    written = f"{day}T{time}{'+00:00' if zone == 'Z' else zone or ''}" if time else day
    try:
        return datetime.fromisoformat(written).isoformat() if time else date.fromisoformat(day).isoformat()
    except ValueError:
        return None
