"""Law, by identifiers alone: what a page is about only a model could say."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from typing import Any

from quarry_dagster.domains.identifiers import CELEX, CELEX_LABEL, ECLI, all_in, is_celex
from quarry_dagster.domains.view import MOST, PageView, filled

_HINT = re.compile(
    r"\d (?:U\.S\.(?:C\.)?|F\.(?: ?[234]d| ?4th| ?Supp)|S\. ?Ct\.|L\. ?Ed\.|C\.F\.R\.|[A-Z]\w{1,4}\. ?[23]d) "
    r"(?:§+ ?)?\d"
)
"""One of these is in a text with a citation of American law that is worth looking for."""
_CITED = 200_000
"""Characters of a text in which citations are looked for."""


def legal(view: PageView) -> dict[str, Any] | None:
    """`ecli`, `celex`, and with the extra `research` `us_citations` (by eyecite)."""
    celex = [number for number in all_in(view, CELEX) if is_celex(number)]
    return filled({"ecli": all_in(view, ECLI), "celex": celex, "us_citations": _us_citations(view.text)})


def is_of_law(view: PageView, fields: Mapping[str, Any]) -> bool:
    """Whether these fields make a page one of law.

    An ECLI does, a CELEX number that is called one, or any two different identifiers: a single one may be in passing,
    or only look like one.
    """
    if "ecli" in fields or any(CELEX_LABEL.search(place) for place in (view.text, view.url or "")):
        return True
    return sum(map(len, fields.values())) >= 2


def _us_citations(text: str) -> list[str]:
    if not _HINT.search(text) or not has_eyecite():
        return []
    from eyecite import get_citations
    from eyecite.models import FullCaseCitation, FullLawCitation

    cited = get_citations(text[:_CITED])
    cases = (each for each in cited if isinstance(each, FullCaseCitation) and _is_of_case(each.metadata))
    laws = (each for each in cited if isinstance(each, FullLawCitation))
    return list(dict.fromkeys(each.corrected_citation() for each in (*cases, *laws)))[:MOST]


def _is_of_case(metadata: Any) -> bool:
    """Whether a citation names a party or the year of its case: "3 U.S. 2" alone may be a score."""
    return bool(metadata.year or metadata.plaintiff or metadata.defendant)


@cache
def has_eyecite() -> bool:
    """Whether the extra `research` is installed."""
    return find_spec("eyecite") is not None
