"""The pieces of text that stand at a page's heading, where dates and bylines are."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lxml.html import HtmlElement

_UNSEEN = frozenset({"script", "style", "noscript", "template", "select", "footer", "nav", "aside"})
"""Elements whose text is not shown, or is of the site and not of the page."""


def heading_of(tree: HtmlElement) -> HtmlElement | None:
    """The page's heading, the longer one of two; None where it has none or many."""
    headings = list(islice(tree.iter("h1"), 3))
    return max(headings, key=lambda h: len(h.text_content())) if 0 < len(headings) < 3 else None


def pieces_behind(heading: HtmlElement, pieces: int, characters: int) -> Iterator[str]:
    """Up to so many pieces of text behind a heading, in order of the page, until so many characters are seen.

    Each is in one line; what has no text is left out, but counts.
    """
    return _until(_behind(heading), pieces, characters)


def pieces_before(heading: HtmlElement, pieces: int, characters: int) -> Iterator[str]:
    """As :func:`pieces_behind`, of what stands before it, the nearest first."""
    return _until(_before(heading), pieces, characters)


def _until(found: Iterator[str], pieces: int, characters: int) -> Iterator[str]:
    seen = 0
    for text in islice(found, pieces):
        if seen > characters:
            return
        if line := " ".join(text.split()):
            seen += len(line)
            yield line


def _behind(heading: HtmlElement) -> Iterator[str]:
    at: HtmlElement | None = heading
    while at is not None:
        yield at.tail or ""
        following = at.getnext()
        if following is None:
            at = at.getparent()
            continue
        yield from _texts(following)
        at = following


def _before(heading: HtmlElement) -> Iterator[str]:
    at: HtmlElement | None = heading
    while at is not None:
        previous = at.getprevious()
        if previous is None:
            at = at.getparent()
            if at is not None:
                yield at.text or ""
            continue
        yield previous.tail or ""
        yield from reversed(list(islice(_texts(previous), 1000)))
        at = previous


def _texts(element: HtmlElement) -> Iterator[str]:
    """The pieces of text in an element that a reader sees, without its tail."""
    stack: list[tuple[HtmlElement, bool]] = [(element, False)]
    while stack:
        at, is_done = stack.pop()
        if is_done:
            yield at.tail or ""
            continue
        if at is not element:
            stack.append((at, True))
        if at.tag not in _UNSEEN:
            yield at.text or ""
            stack += ((child, False) for child in reversed(at))
