"""Identifiers of papers, trials and laws, as they stand in texts; each pattern takes linear time."""

from __future__ import annotations

import re
from collections.abc import Iterable

from quarry_dagster.domains.view import MOST, PageView

DOI = re.compile(r"(?:(?<![\w./-])|(?<=doi\.org/))10\.\d{4,9}/[\w.;()/:<>\[\]+-]{0,300}[\w)>\]]", re.ASCII)
"""A DOI, as https://www.crossref.org/blog/dois-and-matching-regular-expressions/ writes it."""
PMID = re.compile(r"\b(?:PMID|PubMed(?: ID)?)[:#\s]{1,3}(\d{4,8})\b|pubmed\.ncbi\.nlm\.nih\.gov/(\d{4,8})\b", re.ASCII)
PMCID = re.compile(r"\bPMC\d{5,8}\b", re.ASCII)
NCT = re.compile(r"\bNCT\d{8}\b", re.ASCII)
"""The number of a trial at ClinicalTrials.gov."""
ECLI = re.compile(r"\bECLI:[A-Z]{2}:[A-Z0-9]{1,7}:\d{4}:[A-Z0-9.]{0,24}[A-Z0-9]\b", re.ASCII)
"""The European Case Law Identifier: OJ C 127/01 of 29.4.2011."""
CELEX = re.compile(r"(?<![\w/.-])(?:CELEX:)?([1-9CE]\d{4}(?:[A-Z]{1,2})\d{4}(?:\(\d{2}\))?)(?![\w-])", re.ASCII)
"""The number of a document of EU law: sector, year, type, number."""
CELEX_LABEL = re.compile(r"CELEX(?::|%3A)[1-9CE]\d{4}[A-Z]{1,2}\d{4}", re.ASCII)
"""A CELEX number that is called one, in words or in an address of EUR-Lex."""
_TYPE_OF_SECTOR = {
    "1": "[A-Z]{1,2}",
    "2": "[ADPX]",
    "3": "[A-HJKLMOQRSXY]",
    "4": "[ADXYZ]",
    "5": "[A-Z]{2}",
    "6": "[CFT][A-Z]",
    "8": "[A-Z]{2}",
    "9": "[A-Z]",
    "C": "[A-Z]?",
    "E": "[ACGJOPX]",
}
"""Letters of the types of documents by sector: https://eur-lex.europa.eu/content/help/eurlex-content/celex-number.html."""
_CLOSING = {")": "(", "]": "[", ">": "<"}
_ARXIV = re.compile(r"(?:arxiv:)?(\d{4}\.\d{4,5}|[a-z-]+(?:\.[A-Z]{2})?/\d{7})(?:v\d+)?(?:\.pdf)?", re.IGNORECASE)


def all_in(view: PageView, pattern: re.Pattern[str]) -> list[str]:
    """What a pattern finds in the page's text, its address and the contents of its head, each once."""
    places: Iterable[str] = (view.text, view.url or "", *(meta.content for meta in view.head.metas[:MOST]))
    found = (match for place in places for match in pattern.finditer(place))
    named = (next((group for group in match.groups() if group), match[0]) for match in found)
    return list(dict.fromkeys(named))[:MOST]


def is_celex(number: str) -> bool:
    """Whether a number with the form of CELEX can be one: of a sector, a year and a type that there are."""
    sector, year, types = number[0], int(number[1:5]), "".join(filter(str.isalpha, number[5:7]))
    return 1951 <= year <= 2050 and bool(re.fullmatch(_TYPE_OF_SECTOR.get(sector, "$."), types))


def arxiv_id(said: str | None) -> str | None:
    """The identifier of a paper at arXiv, without its version."""
    found = _ARXIV.fullmatch((said or "").strip())
    return found[1] if found else None


def as_doi(found: str) -> str:
    """A DOI as it is compared: in lower case, without what closes a sentence or brackets that it did not open."""
    doi = found.casefold().rstrip(".")
    while doi and doi[-1] in _CLOSING and doi.count(doi[-1]) > doi.count(_CLOSING[doi[-1]]):
        doi = doi[:-1].rstrip(".")
    return doi
