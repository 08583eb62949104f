"""When a page was published: what it marks as that, what its URL says, or a date that stands at its heading.

None is better than an invented one: pages are full of dates of other things, so a text is searched near the page's
heading alone, and for dates that stand by themselves. How a page came to its day is told beside it, for one that is
marked is worth more than one that was found.

Why so: "A date is marked, or stands at the heading" in docs/decisions.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, timedelta
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from quarry_dagster.dates import day_of
from quarry_dagster.extract.near_heading import heading_of, pieces_before, pieces_behind
from quarry_dagster.page import Head, text_in, typed

if TYPE_CHECKING:
    from lxml.html import HtmlElement

OLDEST = "1995-01-01"
"""Before it the web had few pages."""
LATER = "later"
"""In place of a source: the page says a day on which it was not yet there."""
_METAS = (
    *("article:published_time", "og:published_time", "og:article:published_time", "datepublished"),
    *("rnews:datepublished", "parsely-pub-date", "sailthru.date", "citation_publication_date", "citation_date"),
    *("citation_online_date", "dc.date.issued", "dcterms.issued", "dc.date.created", "dcterms.created", "dc.date"),
    *("dcterms.date", "article.published", "published_time", "published", "pubdate", "date-pub", "publishdate"),
    *("publish-date", "publish_date", "publication_date", "publication-date", "cxenseparse:publishtime"),
    *("shareaholic:article_published_time", "ms.date", "date"),
)
_NODES = (
    *("Article", "NewsArticle", "BlogPosting", "SocialMediaPosting", "LiveBlogPosting", "ScholarlyArticle"),
    *("BackgroundNewsArticle", "OpinionNewsArticle", "ReportageNewsArticle", "MedicalScholarlyArticle", "TechArticle"),
    *("Report", "DiscussionForumPosting", "Question", "Recipe", "VideoObject"),
)
"""Types of schema.org that have a day of publication; a WebPage has one on every page of some software."""
_IN_URL = re.compile(r"/((?:19|20)\d\d)([/-])(\d\d?)\2(\d\d?)(?=[/_-]|$|\D)")
_PUBLISHED = re.compile(
    r"publi|posted|(?:entry|post|article|news|meta)[_-]*(?:date|time|meta)|date-?posted|byline|timestamp|created", re.I
)
_OF_OTHERS = re.compile(
    r"comment|repl[iy]|related|sidebar|widget|footer|modif|updat|recent|teaser|card|promo|aside|popular|listing", re.I
)
_ELSEWHERE = frozenset({"footer", "aside", "nav", "form", "select", "button"})
_BEHIND, _BEFORE = 700, 200
"""Characters of text behind and before the heading that are searched."""
_ALONE = 90
"""Characters of a piece of text that may have a date in it."""
_SEEN = 600
"""Pieces of text, or elements, that are looked at."""

_OF_A_MEMBER = re.compile(r"\b(?:joined|registered|member since|last visit)", re.IGNORECASE)
"""What a date in a member's profile is called, beside the posts of a forum."""
_SAYS = re.compile(
    r"(?:publi(?:shed|é|cado|cada|ée)|posted|veröffentlicht|pubblicato|gepubliceerd|opublikowano|опубликовано|发布|公開)"
    r"(?:\s+(?:on|at|the|date|am|le|el|em|il|op|in))*\s*[:：]?\s*",
    re.IGNORECASE,
)
"""What a text says before a date of publication."""
_TEXTS = (
    *("p", "div", "span", "time", "li", "small", "em", "strong", "b", "dt", "dd", "td", "label"),
    *("h3", "h4", "h5", "h6"),
)
_MOST = 5_000
"""Elements whose text is searched for it."""

_MONTHS = (
    *(
        "january|jan|januar|januari|jänner|janvier|janv|enero|ene|gennaio|gen|janeiro|января|styczeń|stycznia|leden|ledna",
    ),
    *("february|feb|februar|februari|février|févr|fevrier|febrero|febbraio|fevereiro|fev|февраля|luty|lutego|února",),
    *("march|mar|märz|maerz|maart|mars|marzo|março|марта|marzec|marca|března",),
    *("april|apr|avril|avr|abril|abr|aprile|апреля|kwiecień|kwietnia|dubna",),
    *("may|mai|mei|mayo|maggio|mag|maio|maj|мая|maja|května",),
    *("june|jun|juni|juin|junio|giugno|giu|junho|июня|czerwiec|czerwca|června",),
    *("july|jul|juli|juillet|juil|julio|luglio|lug|julho|июля|lipiec|lipca|července",),
    *("august|aug|augustus|augusti|août|aout|agosto|ago|августа|sierpień|sierpnia|srpna",),
    *("september|sept|sep|septembre|septiembre|settembre|set|setembro|сентября|wrzesień|września|září",),
    *("october|oct|okt|oktober|octobre|octubre|ottobre|ott|outubro|out|октября|październik|października|října",),
    *("november|nov|novembre|noviembre|novembro|ноября|listopad|listopada|listopadu",),
    *(
        "december|dec|dez|dezember|décembre|déc|decembre|diciembre|dic|dicembre|dezembro|декабря|grudzień|grudnia|prosince",
    ),
)
_MONTH_OF = {name: number for number, names in enumerate(_MONTHS, 1) for name in names.split("|")}
_NAME = "|".join(sorted(_MONTH_OF, key=len, reverse=True))
_YEAR = r"(?P<y>(?:19|20)\d\d)(?!\.?\d)"
_DAY = r"(?P<d>[0-3]?\d)"
_DATES = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"(?<![\w])(?P<n>{_NAME})\.?\s{{1,3}}{_DAY}(?:st|nd|rd|th)?\s?,?\s{{0,3}}{_YEAR}",
        rf"(?<!\d){_DAY}(?:st|nd|rd|th|\.|er|º)?\s{{0,3}}(?:de |of )?(?P<n>{_NAME})\.?,?\s{{0,3}}(?:de |of )?{_YEAR}",
        rf"(?<![\d.-])(?P<y>(?:19|20)\d\d)\s?[-/.年]\s?(?P<m>[01]?\d)\s?[-/.月]\s?{_DAY}(?!\d)",
        rf"(?<![\d.]){_DAY}\.\s?(?P<m>[01]?\d)\.\s?{_YEAR}",
        rf"(?<![\d/-])(?P<a>[0-3]?\d)([/-])(?P<b>[0-3]?\d)\2{_YEAR}",
    )
)


class Published(NamedTuple):
    """A day, month or year (ISO 8601), and how it was found: `meta`, `json_ld`, `markup`, `url` or `text`."""

    day: str | None
    """None where the source is `later`."""
    source: str


def published(head: Head, tree: HtmlElement, url: str | None, fetched_on: str) -> Published | None:
    """When the page was published; None where nothing says it.

    What is marked as later than the page was fetched is no date, and none is looked for in its place (`later`); a day
    later may be the same in another time zone, and is the day on which it was fetched. Bounded: some hundreds of pieces
    of text are looked at.
    """
    ways = (("meta", _in_metas(head)), ("json_ld", _in_json_ld(head)), ("markup", _in_markup(tree)))
    for source, days in (*ways, ("url", _in_url(url)), ("text", _at_heading(tree)), ("text", _said(tree))):
        for day in days:
            if day < OLDEST[: len(day)]:
                continue
            if day <= fetched_on:
                return Published(day, source)
            if day == _after(fetched_on):
                return Published(fetched_on, source)
            if source != "text":
                return Published(None, LATER)
    return None


def _after(day: str) -> str | None:
    found = date.fromisoformat(day)
    return (found + timedelta(days=1)).isoformat() if found < date.max else None


def day_in(text: str) -> str | None:
    """The first date that is written out in a text, as a day in ISO 8601.

    One of two numbers that may both be the month is none.
    """
    found = ((match.start(), day) for pattern in _DATES for match in pattern.finditer(text) if (day := _day(match)))
    return min(found, default=(0, None))[1]


def _day(match: re.Match[str]) -> str | None:
    parts = match.groupdict()
    if name := parts.get("n"):
        month, day = _MONTH_OF[name.lower()], int(parts["d"])
    elif "a" in parts:
        one, two = int(parts["a"]), int(parts["b"])
        if one <= 12 and two <= 12 and one != two:
            return None
        month, day = (one, two) if one <= 12 else (two, one)
    else:
        month, day = int(parts["m"]), int(parts["d"])
    try:
        return date(int(parts["y"]), month, day).isoformat()
    except ValueError:
        return None


def _written(said: str | None) -> str | None:
    """The day that a marked value says, in ISO 8601 or written out."""
    said = (said or "").strip()[:100]
    if len(said) >= 8 and said[:8].isdigit():
        said = f"{said[:4]}-{said[4:6]}-{said[6:8]}"
    return day_of(said) or day_of(said[:10]) or day_in(said)


def _in_metas(head: Head) -> Iterator[str]:
    yield from filter(None, map(_written, head.contents(*_METAS)))


def _in_json_ld(head: Head) -> Iterator[str]:
    for node in typed(head.json_ld.main, _NODES):
        if day := _written(text_in(node.get("datePublished") or node.get("dateCreated") or node.get("uploadDate"))):
            yield day


def _in_url(url: str | None) -> Iterator[str]:
    if url and (found := _IN_URL.search(url)):
        try:
            yield date(int(found[1]), int(found[3]), int(found[4])).isoformat()
        except ValueError:
            return


def _in_markup(tree: HtmlElement) -> Iterator[str]:
    """Days that elements say: those that are marked as of publication, then a `time` that stands for all there are."""
    for element in tree.xpath("//*[@itemprop='datePublished']"):
        said = element.get("datetime") or element.get("content") or element.text_content()
        if day := _written(said):
            yield day
    times: list[str] = []
    for element in islice(tree.iter("time"), _SEEN):
        day = _written(element.get("datetime")) or _written(element.text_content())
        around = [element, *islice(element.iterancestors(), 6)]
        marks = " ".join(filter(None, (each.get(key) for each in around[:4] for key in ("class", "itemprop", "id"))))
        if not day or _OF_OTHERS.search(marks) or not _ELSEWHERE.isdisjoint(each.tag for each in around):
            continue
        if element.get("pubdate") is not None or _PUBLISHED.search(marks):
            yield day
        times.append(day)
    if len(set(times)) == 1:
        yield times[0]


def _at_heading(tree: HtmlElement) -> Iterator[str]:
    """Days that stand by themselves near the page's heading, those behind it first."""
    heading = heading_of(tree)
    if heading is None:
        return
    for pieces in (pieces_behind(heading, _SEEN, _BEHIND), pieces_before(heading, _SEEN, _BEFORE)):
        label = ""
        for line in pieces:
            if len(line) <= _ALONE and not _OF_A_MEMBER.search(f"{label} {line}") and (day := day_in(line)):
                yield day
            label = line


def _said(tree: HtmlElement) -> Iterator[str]:
    """The day that the text of a page says it was published on, where it says one alone."""
    days: set[str] = set()
    before = ""
    for element in islice(tree.iter(*_TEXTS), _MOST):
        text = (element.text or "").strip()
        if not text or len(text) > _ALONE:
            before = ""
            continue
        found = _SAYS.match(text)
        said = text[found.end() :] if found else text if before else ""
        day = day_in(said[:30]) if said else None
        if day and not _is_of_another(element):
            days.add(day)
        before = text if found and not said else ""
    if len(days) == 1:
        yield from days


def _is_of_another(element: HtmlElement) -> bool:
    around = [element, *islice(element.iterancestors(), 8)]
    marks = " ".join(filter(None, (each.get(key) for each in around for key in ("class", "id"))))
    return bool(_OF_OTHERS.search(marks)) or not _ELSEWHERE.isdisjoint(each.tag for each in around)
