"""The domain processors, by name: what a page of their domain says, as fields.

A processor is a function of a :class:`PageView` that returns its fields (JSON values by name), or nothing where the
page is none of its domain. A new one is a file with one function and a line in `PROCESSORS`; one of a user's own is
named in the section `page_metadata` of their profile.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from importlib import metadata
from pkgutil import resolve_name
from typing import Any, cast

from quarry_dagster.digests import digest
from quarry_dagster.domains.documentation import documentation
from quarry_dagster.domains.forum import forum
from quarry_dagster.domains.legal import has_eyecite, legal
from quarry_dagster.domains.medical import medical
from quarry_dagster.domains.news import news
from quarry_dagster.domains.product import product
from quarry_dagster.domains.recipe import recipe
from quarry_dagster.domains.scientific import scientific
from quarry_dagster.domains.view import PageView
from quarry_dagster.errors import ConfigError

Processor = Callable[[PageView], Mapping[str, Any] | None]

RULES = 2
"""Revision of the processors and of all that `page_metadata` says; raise it with any change of what a page gives."""

PROCESSORS: Mapping[str, Processor] = {
    "product": product,
    "forum": forum,
    "documentation": documentation,
    "scientific": scientific,
    "recipe": recipe,
    "news": news,
    "legal": legal,
    "medical": medical,
}
MAX_FIELDS = 1_000_000
"""Characters of the JSON of one page's fields: those of a processor that would pass it are left out, which is said."""


def load(own: Mapping[str, str]) -> dict[str, Processor]:
    """All processors: ours, and a user's own by their import strings, which replace ours of the same name.

    Raises:
        ConfigError: there is no such module or function.
    """
    found = dict(PROCESSORS)
    for name, where in own.items():
        try:
            processor = resolve_name(where)
        except (Exception, SystemExit) as e:
            said = f"no function {where!r} can be imported: {type(e).__name__}: {e}"
            raise ConfigError(f"page_metadata.processors.{name}: {said}") from e
        if not callable(processor):
            raise ConfigError(f"page_metadata.processors.{name}: {where!r} is no function")
        found[name] = cast(Processor, processor)
    return found


def fields_of(
    view: PageView, processors: Mapping[str, Processor], own: Collection[str] = ()
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """What the processors find on a page, by domain, and a sentence about each that failed.

    `own` names those of the user's own: each sees a copy of the page, so that it may change what it is given.
    """
    found: dict[str, dict[str, Any]] = {}
    problems: list[str] = []
    room = MAX_FIELDS
    for name, processor in processors.items():
        try:
            fields = processor(view.copy() if name in own else view)
            if fields is not None and not isinstance(fields, Mapping):
                raise TypeError(f"it returned {type(fields).__name__}, and fields are a mapping")
            size = len(json.dumps(fields, ensure_ascii=False, allow_nan=False))
        except MemoryError:
            raise
        except (Exception, SystemExit) as e:  # noqa: BLE001  a user's processor may raise anything
            problems.append(f"{name}: {type(e).__name__}: {str(e)[:200]}")
            continue
        if fields and size > room:
            problems.append(f"{name}: its fields have {size:,} characters, more than the {room:,} that are left")
        elif fields:
            found[name] = dict(fields)
            room -= size
    return found, problems


def version(own: Mapping[str, str]) -> str:
    """Everything that changes what a page gives: where it is equal, a stored row is still valid.

    A user's own processor says by `VERSION`, an attribute of its module, when it has changed.

    Raises:
        ConfigError: a processor of the user's own is not there.
    """
    load(own)
    cited = f", eyecite {metadata.version('eyecite')}" if has_eyecite() else ""
    versions = {name: str(getattr(resolve_name(where.partition(":")[0]), "VERSION", "")) for name, where in own.items()}
    mine = f", own {digest(json.dumps([dict(own), versions]).encode())[:12]}" if own else ""
    return f"page facts {RULES}{cited}{mine}"
