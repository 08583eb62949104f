"""Title, author and date of a page: what its head says of them, else what stands at its heading."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from quarry_dagster.extract.byline import byline
from quarry_dagster.extract.published import published
from quarry_dagster.page import Head, Node, text_in, typed, types_of

if TYPE_CHECKING:
    from lxml.html import HtmlElement

_ARTICLES = (
    *("Article", "NewsArticle", "BlogPosting", "SocialMediaPosting", "LiveBlogPosting", "ScholarlyArticle"),
    *("BackgroundNewsArticle", "OpinionNewsArticle", "ReportageNewsArticle", "MedicalScholarlyArticle"),
)
"""Types of schema.org whose headline and author are those of the page."""
_AUTHORS = (
    *("og:author", "og:article:author", "author", "article:author", "authors", "byl", "creator", "dcsext.author"),
    *("parsely-author", "rbauthors", "sailthru.author", "shareaholic:article_author_name", "atc-metaauthor"),
)
_FAMILY_FIRST = (
    *("citation_author", "dc.creator", "dc.creator.aut", "dc:creator", "dcterms.creator", "dcterms.creator.aut"),
)
"""Those that name a person each, by the family name and a comma first, where libraries made them."""
_TITLES = (
    *("og:title", "citation_title", "dc.title", "dcterms.title", "fb_title", "headline", "parsely-title"),
    *("sailthru.title", "shareaholic:title", "rbtitle", "title", "twitter:title"),
)


def page_metadata(head: Head, tree: HtmlElement, url: str | None, fetched_on: str) -> dict[str, str | None]:
    """`title`, `author`, `author_source`, `date` (ISO 8601, not later than `fetched_on`) and `date_source` of a page.

    `tree` stays as it is.
    """
    from trafilatura import metadata
    from trafilatura.settings import Document

    found = Document()
    found.title = _title(head, tree) or metadata.extract_title(tree)
    said = _author(head)
    found.author = said or byline(tree)
    found.clean_and_trim()
    facts = {name: getattr(found, name) or None for name in ("title", "author")}
    facts["author_source"] = facts["author"] and ("head" if said else "byline")
    dated = published(head, tree, head.canonical_url(url) or url, fetched_on)
    return facts | {"date": dated and dated.day, "date_source": dated and dated.source}


def _title(head: Head, tree: HtmlElement) -> str | None:
    """The title that the head gives, without the site's name where the page's only main heading says so."""
    said = next(iter(head.contents(*_TITLES)), None) or _headline(head)
    headings = tree.findall(".//h1")
    if said and len(headings) == 1:
        heading = " ".join(headings[0].text_content().split())
        is_site = heading in head.contents("og:site_name")
        if heading and not is_site and said.casefold().startswith(heading.casefold()):
            return heading
    return said


def _headline(head: Head) -> str | None:
    return next(
        (text for node in _articles(head) if (text := text_in(node.get("headline")) or text_in(node.get("name")))), None
    )


def _author(head: Head) -> str | None:
    """The names that the head gives, by its meta elements and its JSON-LD, as trafilatura writes names."""
    from trafilatura.json_metadata import normalize_authors

    author = None
    for said in (*head.contents(*_AUTHORS), *map(_in_order, head.contents(*_FAMILY_FIRST))):
        author = normalize_authors(author, said)
    if author and " " not in author:
        author = None
    for name in _names(head):
        author = normalize_authors(author, name)
    return author


def _in_order(said: str) -> str:
    """A name with the given name first."""
    family, comma, given = said.partition(",")
    return f"{given.strip()} {family.strip()}" if comma and given.strip() and "," not in given else said


def _names(head: Head) -> list[str]:
    """The names of the persons that the JSON-LD has as authors of the page."""
    names: list[str] = []
    for article in _articles(head):
        said = head.json_ld.at(article.get("author"))
        for each in said if isinstance(said, list) else [said]:
            author = head.json_ld.at(each)
            if isinstance(author, str):
                names.append(author)
            elif isinstance(author, Mapping) and (not types_of(author) or "Person" in types_of(author)):
                parts = [text_in(author.get(part)) for part in ("givenName", "additionalName", "familyName")]
                several = author.get("name")
                given = [text_in(name) for name in several] if isinstance(several, list) else [text_in(several)]
                names += [name for name in given if name] or [" ".join(filter(None, parts))]
    return [name for name in names if name]


def _articles(head: Head) -> Iterator[Node]:
    return typed(head.json_ld.main, _ARTICLES)
