"""Rows of tables: which columns of a row are ours, and which seed it is, whatever the format it was read from.

Columns without a meaning travel along with the document (:mod:`quarry_dagster.seeds.own_columns`).
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from quarry_dagster.errors import InvalidId
from quarry_dagster.seeds.discovery import parse_discovery
from quarry_dagster.seeds.model import Problem, Seed, shown
from quarry_dagster.seeds.own_columns import given, packed
from quarry_dagster.seeds.settings import COLUMNS, GIVEN, SeedSettings
from quarry_dagster.seeds.text import without_options
from quarry_dagster.urns import own_id, parts_of, urn_of

_REMEMBERED = 1000
"""So many kinds of rows, and columns that are left out, are remembered."""


@dataclass(frozen=True)
class _Layout:
    """Which columns of a row are ours."""

    ours: Mapping[str, tuple[str, tuple[str, ...]]]
    """By the name of ours: the row's column, and the path to the value in it, () where it is the value."""
    others: Sequence[tuple[str, Sequence[tuple[str, ...]]]]
    """The columns that travel along, each with the paths to what of it is ours."""

    @classmethod
    def of(cls, columns: Sequence[str], settings: SeedSettings) -> _Layout:
        """The layout of a row with these columns."""
        folded = {column.strip().lower(): column for column in columns}
        ours: dict[str, tuple[str, tuple[str, ...]]] = {}
        for name in COLUMNS:
            wanted = settings.columns.get(name, name)
            head, *path = wanted.split(".")
            if wanted in columns:
                ours[name] = wanted, ()
            elif wanted.lower() in folded:
                ours[name] = folded[wanted.lower()], ()
            elif path and head in columns:
                ours[name] = head, tuple(path)
        whole = {column for column, path in ours.values() if not path}
        parts = {c: [path for column, path in ours.values() if column == c] for c in columns if c not in whole}
        return cls(ours, list(parts.items()))


def _at(value: Any, path: Sequence[str]) -> Any:
    """The value at the end of a path; None where it leads nowhere."""
    for part in path:
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _present(value: Any) -> Any:
    """The value; None for not-a-number, by which frames say that one is missing."""
    return None if isinstance(value, float) and math.isnan(value) else value


def _without(value: Any, path: Sequence[str]) -> Any:
    """The value without what stands at the end of a path; None where nothing else is left of it."""
    if not isinstance(value, Mapping) or path[0] not in value:
        return value
    rest = {key: each for key, each in value.items() if key != path[0]}
    if len(path) > 1:
        rest[path[0]] = _without(value[path[0]], path[1:])
    return rest or None


def _has(row: Mapping[str, Any], column: str, path: Sequence[str]) -> bool:
    """Whether a row has this field, be it null."""
    *parents, last = (column, *path)
    parent = _at(row, parents)
    return isinstance(parent, Mapping) and last in parent


def _fields(row: Mapping[str, Any]) -> Iterator[str]:
    """What a row's settings may name: its columns, and the fields of those that are objects."""
    for column, value in row.items():
        yield column
        if isinstance(value, Mapping):
            yield from (f"{column}.{field}" for field in value)


class Table:
    """The rows of one file: which columns they have, and which seed each of them is."""

    def __init__(self, max_body: int, settings: SeedSettings) -> None:
        self._max_body = max_body
        self._settings = settings
        self._layouts: dict[tuple[str, ...], _Layout] = {}
        self._said: set[str] = set()

    def layout(self, columns: Iterable[str]) -> _Layout:
        """Which of these columns are ours."""
        key = tuple(columns)
        if (known := self._layouts.get(key)) is not None:
            return known
        layout = _Layout.of(key, self._settings)
        if len(self._layouts) < _REMEMBERED:  # the bound keeps a file of ever new JSON keys from filling the memory
            self._layouts[key] = layout
        return layout

    def missing(self, columns: Iterable[str]) -> Problem | None:
        """What is wrong where these are all columns of the file: none that names a document, or holds one."""
        columns = list(columns)
        there = self.layout(columns).ours
        for name, column in self._settings.columns.items():
            if name not in there:
                return self._not_there(name, column, columns)
        if not {"url", "id"} & there.keys():
            return _no_column("url", columns, " and no column 'id'")
        if "url" not in there and not {"text", "html"} & there.keys():
            return _no_column("text", columns, " or 'html' beside the column of ids")
        return None

    def unfilled(self, rows: Iterable[Mapping[str, Any]]) -> Problem | None:
        """What is wrong where these are a file's rows: a field that the settings name, and that none of them has.

        Told once, as otherwise every row would be blamed for it, or be fetched in place of being taken as it is. No
        more rows are looked at than it takes to find each field.
        """
        lacking = dict(self._settings.columns)
        fields: dict[str, None] = {}
        for row in rows:
            ours = self.layout(row).ours
            lacking = {name: c for name, c in lacking.items() if name not in ours or not _has(row, *ours[name])}
            if not lacking:
                return None
            if len(fields) < _REMEMBERED:
                fields |= dict.fromkeys(_fields(row))
        for name, wanted in lacking.items() if fields else ():
            return self._not_there(name, wanted, list(fields), where=" in any row")
        return None

    def _not_there(self, name: str, wanted: str, columns: list[str], *, where: str = "") -> Problem:
        """The problem of a column, or a field, that the settings name for ours of that name."""
        said = f"{where}, which {self._settings.sidecar} names for {name!r}"
        return _no_column(wanted, columns, said, ours=name, remedy=f"correct it in {self._settings.sidecar}")

    def left_out(self, column: str, why: str) -> Iterator[Problem]:
        """One problem for each column that is left out, the first time it is seen."""
        if column not in self._said and len(self._said) < _REMEMBERED:
            self._said.add(column)
            yield Problem(None, f"column {shown(column)!r} is left out: {why}", costs_row=False)

    def seed(self, line: int, row: Mapping[str, Any]) -> Iterator[Seed | Problem]:
        """The seed of a row."""
        layout = self.layout(row)
        ours = {name: _present(_at(row[column], path)) for name, (column, path) in layout.ours.items()}
        named = self._named(line, ours)
        if isinstance(named, Problem):
            yield named
            return
        url, own_id = named
        own: dict[str, Any] = {}
        for name, value, wrong in given(ours):
            if wrong:
                yield Problem(line, wrong, shown(ours[name]), costs_row=False)
            elif value is not None:
                own[name] = value
        for column, paths in layout.others:
            value = row[column]
            if column in (*GIVEN, "id"):
                yield from self.left_out(column, f"its settings name another column for {column!r}")
            elif isinstance(value, bytes):
                yield from self.left_out(column, "it holds bytes, which metadata cannot; write text")
            else:
                for path in paths:
                    value = _without(value, path)
                own[column] = value
        own_columns, wrong = packed(own, own_id)
        if wrong:
            yield Problem(line, wrong, shown(own_id or url), costs_row=False)
        yield from self._document(line, url, own_id, ours, own_columns)

    def _named(self, line: int, ours: Mapping[str, Any]) -> tuple[str, str | None] | Problem:
        """The address of a row's document, and its id where it has one."""
        try:
            found = own_id(ours.get("id"))
        except InvalidId as e:
            return Problem(line, str(e), shown(ours["id"]))
        url = ours.get("url")
        if isinstance(url, bytes):  # some writers of Parquet do not mark text as such
            url = url.decode(errors="replace")
        if isinstance(url, str) and url.strip():
            return url.strip(), found
        if url is not None and not isinstance(url, str):
            return Problem(line, "the url is not text; write it as a string, or delete the row", shown(url))
        if found is not None:
            return urn_of(self._settings.name, found), found
        names = [name for name in ("url", "id") if name in ours]
        if len(names) != 1:
            return Problem(line, "no url and no id in this row; fill one, or delete the row")
        column = self._settings.columns.get(names[0], names[0])
        return Problem(line, f"no {names[0]} in this row; fill its column {column!r}, or delete the row")

    def _document(
        self, line: int, url: str, own_id: str | None, ours: Mapping[str, Any], own_columns: str | None
    ) -> Iterator[Seed | Problem]:
        """The seed of a row whose address is known, and problems of its document."""
        fetched_at, wrong = _utc(ours.get("fetched_at"))
        if wrong:
            yield Problem(line, wrong, shown(ours["fetched_at"]), costs_row=False)
        column = "html" if ours.get("html") else "text"
        document = ours.get(column)
        if not document:
            if parts_of(url):  # it can be had nowhere else
                wrong = "the document of this id is empty; fill its text, or delete the row"
                yield Problem(line, wrong, shown(own_id or url), costs_row=False)
                document = ""
            else:
                wanted = ours.get("discover")
                try:
                    address, behind = without_options(url) if "://" in url else (url, None)
                    discover = str(parse_discovery(str(wanted))) if wanted else behind
                    yield Seed(address, line, discover=discover, own_columns=own_columns)
                except ValueError as e:
                    yield Problem(line, str(e), shown(wanted or url))
                return
        content_type = "text/html" if column == "html" else "text/plain"
        if isinstance(document, str):
            document = document.encode(errors="replace")
            content_type += "; charset=utf-8"
        elif not isinstance(document, bytes):
            found = type(document).__name__
            yield Problem(line, f"{column!r} is no text but a {found}; write it as a string", shown(document))
            return
        elif column == "html" and isinstance(ours.get("content_type"), str):
            # Only bytes need it: it may name their charset. A string has been encoded here.
            content_type = ours["content_type"]
        outcome, detail = "given", None
        if len(document) > self._max_body:
            outcome, detail = "too_large", f"{len(document)} bytes"
        yield Seed(
            url,
            line,
            outcome=outcome,
            detail=detail,
            fetched_at=fetched_at,
            content_type=content_type,
            body=document,
            own_columns=own_columns,
        )


def _no_column(wanted: str, columns: Iterable[str], what: str, *, ours: str = "", remedy: str = "") -> Problem:
    """The problem of a column that a file lacks; `ours` is what we call it, where its settings call it `wanted`."""
    found = [shown(name) for name in columns]
    listed = ", ".join(found[:20]) + (", ..." if len(found) > 20 else "")
    near = _nearest(wanted, found) or (_nearest(ours, found) if ours else None)
    remedy = remedy or ("Rename it, or say so in its settings" if near else "name it so in the header")
    hint = f"did you mean {near!r}? {remedy[0].upper()}{remedy[1:]}" if near else remedy
    return Problem(None, f"no column {shown(wanted)!r}{what}; it has: {listed}; {hint}")


_ALIASES = {
    "url": ("link", "uri", "href", "address", "page_url", "source_url"),
    "text": ("body", "content", "document", "raw_content", "article", "passage"),
}


def _nearest(wanted: str, columns: list[str]) -> str | None:
    lowered = {name.lower(): name for name in columns}
    for alias in _ALIASES.get(wanted, ()):
        if alias in lowered:
            return lowered[alias]
    containing = [name for name in columns if wanted in name.lower() and len(name) < 20]
    near = containing or difflib.get_close_matches(wanted, columns, n=1)
    return near[0] if near else None


def _utc(value: object) -> tuple[datetime | None, str]:
    """The time in UTC (taken as UTC where it names no zone), and what is wrong with it."""
    if value is None or value == "":
        return None, ""
    if isinstance(value, date) and not isinstance(value, datetime):
        value = value.isoformat()
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value.strip())
        except ValueError:
            value = None
    if not isinstance(value, datetime):
        return None, "fetched_at is no ISO 8601 time and was ignored; write 2026-01-31T12:00:00Z"
    if value.tzinfo is None:
        return value.replace(tzinfo=UTC), ""
    try:
        return value.astimezone(UTC), ""
    except OverflowError:
        return None, "fetched_at is beyond the calendar and was ignored"
