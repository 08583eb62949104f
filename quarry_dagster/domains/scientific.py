"""Scientific papers, by the tags that journals write for Google Scholar (Highwire Press) and by schema.org.

https://scholar.google.com/intl/en/scholar/inclusion.html#indexing
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from quarry_dagster.domains.identifiers import DOI, arxiv_id, as_doi
from quarry_dagster.domains.news import keywords
from quarry_dagster.domains.view import MOST, PageView, filled, names, said

_TYPES = ("ScholarlyArticle", "MedicalScholarlyArticle")
_DATES = ("citation_publication_date", "citation_date", "citation_online_date")
_DAY = re.compile(r"(\d{4})[/.-](\d{1,2})(?:[/.-](\d{1,2}))?")
_ARXIV = re.compile(r"(?:^|[/.])arxiv\.org/(?:abs|pdf|html)/([\w.-]+(?:/\d{7})?)", re.IGNORECASE)


def scientific(view: PageView) -> dict[str, Any] | None:
    """`title`, `authors`, `doi`, `arxiv`, `journal`, `date`, `abstract`, `keywords`."""
    head = view.head
    found = view.nodes(*_TYPES)
    node = max(found, key=len) if found else {}
    title = head.contents("citation_title", "dc.title") if head.contents("citation_title") else []
    if not title and not found:
        return None
    identifiers = " ".join(
        head.contents("citation_doi", "dc.identifier", "bepress_citation_doi", "prism.doi", "dc.identifier.doi")
        + [said(each.get("value")) or "" for each in view.at(node.get("identifier")) if isinstance(each, Mapping)]
        + names(view, node.get("identifier"))
        + names(view, node.get("sameAs"))
        + [str(node.get("@id") or "")]
    )
    doi = DOI.search(identifiers) or DOI.search(view.url or "")
    at_arxiv = _ARXIV.search(view.url or "") or _ARXIV.search(identifiers)
    arxiv = next(iter(head.contents("citation_arxiv_id")), None) or (at_arxiv[1] if at_arxiv else None)
    abstract = head.contents("citation_abstract", "dcterms.abstract", "dc.description.abstract")
    return filled(
        {
            "title": title[0] if title else said(node.get("headline")) or said(node.get("name")),
            "authors": _authors(head.contents("citation_author", "citation_authors"))
            or names(view, node.get("author"))[:MOST],
            "doi": as_doi(doi[0]) if doi else None,
            "arxiv": arxiv_id(arxiv),
            "journal": next(iter(head.contents("citation_journal_title", "citation_conference_title")), None)
            or said(view.first(node.get("isPartOf"))),
            "date": _day(next(iter(head.contents(*_DATES)), None)) or said(node.get("datePublished")),
            "abstract": said(abstract[0] if abstract else node.get("abstract")),
            "keywords": keywords(head.contents("citation_keywords")),
        }
    )


def _authors(said_authors: list[str]) -> list[str]:
    split = [name.strip() for each in said_authors for name in (each.split(";") if ";" in each else [each])]
    return list(dict.fromkeys(name for name in split if name))[:MOST]


def _day(written: str | None) -> str | None:
    """A day as libraries write it ("2020/5/3"), in ISO 8601; what is none stays as it is."""
    found = _DAY.fullmatch((written or "").strip())
    return "-".join(part.zfill(2) for part in found.groups() if part) if found else written
