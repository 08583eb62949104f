"""Who wrote a page, by the byline that stands in its main part: where an element is marked as one, or begins with "By".

A menu's "Sign In" and a shop's "Authorized Dealer" are no authors: what is looked at stands in the page's main element,
at its heading, or is marked as an author for machines, and has to look like a name.

Why so: "An author is named by the head, or by a byline at the heading" in docs/decisions.md.
"""

from __future__ import annotations

import re
from itertools import islice
from typing import TYPE_CHECKING

from quarry_dagster.extract.near_heading import heading_of, pieces_behind

if TYPE_CHECKING:
    from lxml.html import HtmlElement

_MARKED = (
    ".//*[@itemprop='author']//*[@itemprop='name']",
    ".//*[@itemprop='author']",
    ".//a[@rel='author']",
)
_CLASS = re.compile(r"(?:^|[\s_-])(?:byline|author|writer|autor|auteur)(?:[\s_-]*(?:name|link|fn))?(?=$|[\s_-])", re.I)
_OTHERS = re.compile(
    r"comment|repl[iy]|related|sidebar|widget|footer|recent|teaser|card|promo|popular|bio|avatar|image|photo|social",
    re.I,
)
_ELSEWHERE = frozenset({"footer", "aside", "nav", "form", "button", "select"})
_BY = re.compile(
    r"^\W{0,3}(?:(?:written|posted|published|reviewed|words|story|article|text|updated) )?"
    r"(?:by|von|par|por|di|door|av|af|od)\b:?\s+",
    re.IGNORECASE,
)
_END = re.compile(
    r"\s*(?:[|•·,;:/(\n–—‧⋅]|\s-\s|\bon\b|\bin\b|\bat\b|\bupdated\b|\bpublished\b|\bposted\b|\s\d).*", re.I | re.S
)
_NO_NAME = re.compile(
    r"\b(?:sign|log ?in|login|dealer|read|more|view|share|subscribe|follow|home|contact|about|all|posts?|articles?|"
    r"author|profile|minutes?|guest|anonymous|admin|user|the|your|our|how|what|why|best|new)\b",
    re.IGNORECASE,
)
_WORDS = 5
_ANCESTORS = 6
_SEEN, _LENGTH = 200, 500
"""Pieces of text behind the heading, and their characters, that are looked at for a byline."""


def byline(tree: HtmlElement) -> str | None:
    """The author whom the page's byline names, None where there is none."""
    for xpath in _MARKED:
        for element in islice(tree.iterfind(xpath), 5):
            if not _is_elsewhere(element) and (name := _name_in(element, least=1)):
                return name
    main = _main(tree)
    if main is not None:
        for element in islice(main.iter("a", "span", "div", "p", "address", "strong"), 3000):
            marks = element.get("class") or ""
            if _CLASS.search(marks) and not _is_elsewhere(element) and (name := _name_in(element, least=2)):
                return name
    heading = heading_of(tree)
    return _behind(heading) if heading is not None else None


def _name_in(element: HtmlElement, least: int) -> str | None:
    """The name, of at least so many words, that the first pieces of an element's text give."""
    pieces = [element.get("content") or "", *islice(element.itertext(), 12)]
    return next((name for piece in pieces if (name := _name(piece, least))), None)


def _main(tree: HtmlElement) -> HtmlElement | None:
    """The only article of the page, else its main element, else what holds its heading and more."""
    articles = tree.findall(".//article")
    if len(articles) == 1:
        return articles[0]
    main = tree.find(".//main")
    if main is not None:
        return main
    heading = heading_of(tree)
    if heading is None:
        return None
    around = list(islice(heading.iterancestors("div", "section", "header"), 2))
    return around[-1] if around else None


def _is_elsewhere(element: HtmlElement) -> bool:
    around = [element, *islice(element.iterancestors(), _ANCESTORS)]
    marks = " ".join(filter(None, (each.get("class") for each in around[:3])))
    return bool(_OTHERS.search(marks)) or not _ELSEWHERE.isdisjoint(each.tag for each in around)


def _behind(heading: HtmlElement) -> str | None:
    """The name that a piece of text behind the heading gives after "By", or the next piece where it is that alone."""
    follows = False
    for text in pieces_behind(heading, _SEEN, _LENGTH):
        if follows:
            return _name(text)
        begins = _BY.match(f"{text} ")
        if begins and begins.end() >= len(text):
            follows = True
        elif begins and (name := _name(text)):
            return name
    return None


def _name(said: str, least: int = 2) -> str | None:
    """The name in a byline, None where what it says does not look like one."""
    line = " ".join(said[:200].split())
    name = _END.sub("", _BY.sub("", f"{line} ")).strip(" .\"'“”*")
    words = name.split()
    if not least <= len(words) <= _WORDS or len(name) > 50 or _NO_NAME.search(name):
        return None
    capitals = sum(word[0].isupper() or not word[0].isascii() for word in words)
    return name if capitals >= min(len(words), 2) and all(any(map(str.isalpha, w)) for w in words) else None
