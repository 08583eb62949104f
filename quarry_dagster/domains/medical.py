"""Medicine, by identifiers alone: what a page is about only a model could say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from quarry_dagster.domains.identifiers import DOI, NCT, PMCID, PMID, all_in, as_doi
from quarry_dagster.domains.view import PageView, filled


def is_of_medicine(view: PageView, fields: Mapping[str, Any]) -> bool:
    """Whether these fields, or nothing else, make a page one of medicine: any identifier but a DOI does."""
    return not fields.keys().isdisjoint(("pmid", "pmcid", "nct"))


def medical(view: PageView) -> dict[str, Any] | None:
    """`pmid`, `pmcid`, `nct`, and beside one of them `doi`."""
    found = filled({"pmid": all_in(view, PMID), "pmcid": all_in(view, PMCID), "nct": all_in(view, NCT)})
    if found and (dois := list(dict.fromkeys(map(as_doi, all_in(view, DOI))))):
        found["doi"] = dois
    return found
