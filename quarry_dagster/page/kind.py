"""What kind of page this is: one of `PAGE_TYPES`, and what told it.

The page's own word comes first: schema.org's types, then OpenGraph's, the software that made it, its address, and last
what it is made of. A page that none of them tells is `other`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from urllib.parse import urlsplit

from quarry_dagster.page.head import Head
from quarry_dagster.page.json_ld import types_of

PAGE_TYPES = (*("article", "forum", "documentation", "product", "listing", "recipe", "scientific", "service", "other"),)
PAGE_TYPE_SOURCES = ("schema.org", "opengraph", "generator", "url", "structure")

_POSTS = 2
"""So many posts are a discussion."""
_SCHEMA = {
    "forum": ("DiscussionForumPosting", "QAPage"),
    "recipe": ("Recipe",),
    "scientific": ("ScholarlyArticle", "MedicalScholarlyArticle"),
    "documentation": ("TechArticle", "APIReference"),
    "article": (
        *("Article", "NewsArticle", "BlogPosting", "LiveBlogPosting", "BackgroundNewsArticle", "OpinionNewsArticle"),
        *("ReportageNewsArticle", "ReviewNewsArticle", "AnalysisNewsArticle", "AdvertiserContentArticle"),
    ),
    "product": ("Product", "ProductGroup", "IndividualProduct", "ProductModel", "ItemPage"),
    "listing": ("CollectionPage", "SearchResultsPage", "ProductCollection", "SomeProducts"),
    "service": ("Service", "FinancialProduct"),
}
"""Types of schema.org by kind, in their order: a page that has several is of the first of these kinds."""
_OPENGRAPH = {
    "forum": ("forum",),
    "product": ("product", "product.item", "og:product"),
    "listing": ("product.group", "product:group"),
}
_GENERATORS = {
    "forum": ("discourse", "phpbb", "vbulletin", "xenforo", "mybb", "smf", "flarum", "nodebb", "invision", "vanilla"),
    "documentation": (
        *("sphinx", "mkdocs", "docusaurus", "gitbook", "vitepress", "mediawiki", "doxygen", "javadoc", "antora"),
        *("mdbook", "docfx", "rustdoc", "nextra", "starlight", "asciidoctor", "docutils", "dokuwiki"),
    ),
}
_HOSTS = (
    ("forum", r"forums?|community|discuss(?:ion)?s?|boards?|bbs|answers|talk"),
    ("documentation", r"docs?|documentation|developers?|api|wiki|help|support|learn|manual"),
    ("product", r"shop|store"),
    ("article", r"blogs?|news"),
)
_PATHS = (
    (
        "forum",
        r"forums?|threads?|topic/\d+[^/]*|discussions?|(?:view|show)(?:topic|thread)\.\w+|ShowTopic-[^/]+"
        r"|questions/\d+|t/[\w-]+/\d+|r/\w+/comments|boards?|community/t",
    ),
    ("scientific", r"abs|pubmed|pmc|doi|10\.\d{4,}"),
    ("recipe", r"recipes?"),
    ("documentation", r"docs?|documentation|reference|api|manual|guides?|tutorials?|wiki|kb|help|man\d?|handbook"),
    (
        "listing",
        r"categor(?:y|ies)|tags?|collections?|archives?|search|listings?|topics?|authors?|page/\d+|catalog(?:ue)?",
    ),
    ("product", r"products?|p|dp|item|itm|shop|store|buy"),
    ("article", r"blogs?|news|articles?|story|stories|posts?|(?:19|20)\d\d/\d\d?|opinion|features?"),
    ("service", r"services?|pricing|solutions?|features|about(?:-us)?|plans"),
)


def _segments(pattern: str) -> re.Pattern[str]:
    return re.compile(rf"/(?:{pattern})(?=[/?.]|$)", re.IGNORECASE)


_BY_HOST = [(kind, re.compile(rf"^(?:www\.)?(?:[\w-]+\.)?(?:{p})\.[\w-]+\.", re.IGNORECASE)) for kind, p in _HOSTS]
_BY_QUERY = re.compile(r"(?:^|[&;/])(?:topic|showtopic|threadid)[=/]\d")
_BY_PATH = [(kind, _segments(pattern)) for kind, pattern in _PATHS]


def page_type(head: Head, url: str | None, item_types: Iterable[str] = (), posts: int = 0) -> tuple[str, str | None]:
    """The kind of a page, and what told it (one of `PAGE_TYPE_SOURCES`; None where nothing did).

    `item_types` are the types that its microdata has, `posts` counts the posts of a discussion in its markup.
    """
    types = {name.lower() for node in head.json_ld.main for name in types_of(node)}
    types |= {name.rpartition("/")[2].lower() for name in item_types}
    if found := _first(_SCHEMA, lambda name: name.lower() in types):
        return found, "schema.org"
    if head.contents("citation_title") and head.contents("citation_doi", "citation_journal_title", "citation_arxiv_id"):
        return "scientific", "schema.org"
    said = {kind.lower() for kind in head.contents("og:type")}
    if found := _first(_OPENGRAPH, said.__contains__):
        return found, "opengraph"
    made_by = (head.generator or "").lower()
    if found := _first(_GENERATORS, made_by.startswith):
        return found, "generator"
    if posts >= _POSTS:
        return "forum", "structure"
    try:
        parts = urlsplit(url or "")
    except ValueError:
        parts = urlsplit("")
    if _BY_QUERY.search(parts.query):
        return "forum", "url"
    for kind, pattern in _BY_HOST:
        if kind in ("forum", "documentation") and pattern.match(parts.hostname or ""):
            return kind, "url"
    for kind, pattern in _BY_PATH:
        if pattern.search(parts.path):
            return kind, "url"
    if "article" in said or head.contents("article:published_time"):
        return "article", "opengraph"
    for kind, pattern in _BY_HOST:
        if pattern.match(parts.hostname or ""):
            return kind, "url"
    return "other", None


def _first(kinds: Mapping[str, Iterable[str]], says: Callable[[str], bool]) -> str | None:
    return next((kind for kind, names in kinds.items() if any(map(says, names))), None)
