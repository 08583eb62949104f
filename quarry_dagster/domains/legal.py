"""Law, by identifiers alone: what a page is about only a model could say."""

from __future__ import annotations

import re
from functools import cache
from importlib.util import find_spec
from typing import Any

from quarry_dagster.domains.identifiers import CELEX, ECLI, all_in
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
    return filled({"ecli": all_in(view, ECLI), "celex": all_in(view, CELEX), "us_citations": _us_citations(view.text)})


def _us_citations(text: str) -> list[str]:
    if not _HINT.search(text) or not has_eyecite():
        return []
    from eyecite import get_citations
    from eyecite.models import FullCaseCitation, FullLawCitation

    cited = get_citations(text[:_CITED])
    full = (each.corrected_citation() for each in cited if isinstance(each, FullCaseCitation | FullLawCitation))
    return list(dict.fromkeys(full))[:MOST]


@cache
def has_eyecite() -> bool:
    """Whether the extra `research` is installed."""
    return find_spec("eyecite") is not None
