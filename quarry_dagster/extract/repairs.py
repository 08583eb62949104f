"""What trafilatura passes over is put where it looks.

It leaves out lists in cells of tables, steps that are links, figures, and each part of a page that is named like one of
those that surround a text: a chapter on cookies, too.
"""

from __future__ import annotations

import re
from itertools import islice
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lxml.html import HtmlElement

_AS_WRITTEN = frozenset({"pre", "textarea", "script", "style"})
_LINE_END = re.compile(r"\s*\n\s*")
_BREAK = "\u2028"
"""Ends a line for `str.splitlines`, and is white space for what tidies text."""
_LISTS = ("ul", "ol")
_STEPS = 30
"""So many items are steps; a longer list of links is an index."""
_ANCHORS = 4
"""Children of a chapter among which its heading is looked for."""
_HEADINGS = frozenset({"h1", "h2", "h3", "h4", "h5", "h6", "p"})
_NAVIGATION = frozenset({"nav", "aside", "footer", "header", "menu"})


def repair(tree: HtmlElement) -> None:
    """Change a page's tree so that what is of its content is not passed over."""
    _join_lines(tree)
    for figure in [*tree.iter("figure")]:
        if next(figure.iter("pre", "table"), None) is not None:
            figure.tag = "div"
    for chapter in tree.iter("section", "div"):
        name, heading = chapter.get("id"), _heading_slug(chapter)
        if name and heading and _slug(name).endswith(heading):
            del chapter.attrib["id"]  # it is its heading's
    for found in [*tree.iter(*_LISTS)]:
        items = found.findall("li")
        if not items:
            continue
        if _is_in_cell(found):
            if not _is_of_links(found):
                _write_out(found)
        elif found.tag == "ol" and len(items) <= _STEPS and _is_below_heading(found):
            for link in [*found.iter("a")]:
                if not (link.get("href") or "#").startswith("#"):  # else a table of contents
                    link.tag = "span"


def break_lines(body: Any) -> None:
    """Make the breaks within a paragraph of trafilatura's tree ends of lines; it writes a new paragraph for each."""
    for found in [*body.iter("lb")]:
        parent, before, behind = found.getparent(), found.getprevious(), found.getnext()
        if parent is None or parent.tag not in ("p", "quote"):
            continue
        if any(beside is not None and beside.tag == "lb" for beside in (before, behind)):  # two end a paragraph
            continue
        ended = _BREAK + (found.tail or "").lstrip()
        if before is None:
            parent.text = (parent.text or "").rstrip() + ended
        else:
            before.tail = (before.tail or "").rstrip() + ended
        parent.remove(found)


def _join_lines(tree: HtmlElement) -> None:
    """Make each text one line: where a line of markup ends, none of the page does."""
    from lxml.etree import iterwalk

    walk = iterwalk(tree, events=("start",))
    for _, element in walk:
        if element.tag in _AS_WRITTEN:
            walk.skip_subtree()
        elif (text := element.text) and "\n" in text and not text.isspace():
            element.text = _LINE_END.sub(" ", text)
        if (text := element.tail) and "\n" in text and not text.isspace():
            element.tail = _LINE_END.sub(" ", text)


def _slug(text: str) -> str:
    return "".join(filter(str.isalnum, text)).casefold()


def _heading_slug(chapter: HtmlElement) -> str:
    """The letters of the heading with which a chapter begins; anchors may stand before it."""
    for child in islice(chapter, _ANCHORS):
        if child.tag in _HEADINGS and child.tag != "p":
            return _slug(child.text_content())
    return ""


def _is_in_cell(found: HtmlElement) -> bool:
    parent = found.getparent()
    for _ in range(3):
        if parent is None or parent.tag in ("td", "th"):
            break
        parent = parent.getparent()
    return parent is not None and parent.tag in ("td", "th")


def _is_of_links(found: HtmlElement) -> bool:
    """Whether most of a list's text is in links."""
    linked = sum(len(link.text_content()) for link in found.iter("a"))
    return linked * 2 > len(found.text_content())


def _write_out(found: HtmlElement) -> None:
    """Make the items of a list lines of its cell."""
    from lxml.html import Element

    for item in found.findall("li"):
        item.tag = "span"
        line = Element("br")
        line.tail, item.tail = item.tail, None
        item.addnext(line)
    found.tag = "span"


def _is_below_heading(found: HtmlElement) -> bool:
    """Whether a heading or a paragraph stands right before a list, and nothing around it is navigation."""
    before = found.getprevious()
    return (
        before is not None
        and before.tag in _HEADINGS
        and not any(up.tag in _NAVIGATION for up in found.iterancestors())
    )
