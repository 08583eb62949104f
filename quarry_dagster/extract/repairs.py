"""What trafilatura passes over is put where it looks.

It leaves out lists in cells of tables, steps that are links, figures, and each part of a page that is named like one of
those that surround a text: a chapter on cookies, too.
"""

from __future__ import annotations

import re
from collections import Counter
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
_TITLES = ("h1", "h2", "h3", "h4", "h5", "h6")
_HEADINGS = frozenset({*_TITLES, "p"})
_PARTS = ("div", "section", "main", "article")
_NOTE = re.compile(r"\[?\w{1,4}\]?")
_EXPONENT = re.compile(r"[-+−–]?\d{1,4}")
_NAVIGATION = frozenset({"nav", "aside", "footer", "header", "menu"})


def tidy_headings(tree: HtmlElement) -> None:
    """Take what is no text of theirs out of a page's headings: signs that link to them, links to edit them, scripts."""
    for heading in tree.iter(*_TITLES):
        for part in [*heading.iter("a", "span", "script", "style", "button")]:
            text = part.text_content().strip()
            is_link = part.tag == "a" and (part.get("href") or "#").startswith("#")
            is_sign = is_link and not any(map(str.isalnum, text))
            if is_sign or part.tag in ("script", "style") or "mw-editsection" in (part.get("class") or ""):
                part.drop_tree()


def repair(tree: HtmlElement) -> None:
    """Change a page's tree so that what is of its content is not passed over."""
    _join_lines(tree)
    _name_main_part(tree)
    for figure in [*tree.iter("figure")]:
        if next(figure.iter("pre", "table"), None) is not None:
            figure.tag = "div"
    for paragraph in [*tree.iter("p")]:
        _part(paragraph)
    for quoted in tree.iter("q"):
        _write_quoted(quoted)
    for raised in [*tree.iter("sup")]:
        _write_raised(raised)
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
        is_second = before is not None and before.tag == "lb" and not (before.tail or "").strip()
        is_first = behind is not None and behind.tag == "lb" and not (found.tail or "").strip()
        if is_first or is_second:  # two end a paragraph
            continue
        ended = _BREAK + (found.tail or "").lstrip()
        if before is None:
            parent.text = (parent.text or "").rstrip() + ended
        else:
            before.tail = (before.tail or "").rstrip() + ended
        parent.remove(found)


def escape_references(body: Any) -> None:
    """Escape what looks like a reference in trafilatura's tree, whose writer resolves references once more."""
    for element in body.iter():
        if element.text and "&" in element.text:
            element.text = element.text.replace("&", "&amp;")
        if element.tail and "&" in element.tail:
            element.tail = element.tail.replace("&", "&amp;")


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


def _name_main_part(tree: HtmlElement) -> None:
    """Say which part of a page is its main one, where nothing does: without it trafilatura takes paragraphs alone.

    It is the innermost one that holds at least half of what stands in paragraphs. One of several of one class is a
    chapter of it.
    """
    from lxml.html import Element
    from trafilatura.xpaths import BODY_XPATH

    if next(tree.iter("article", "main"), None) is not None or any(expression(tree) for expression in BODY_XPATH):
        return
    lengths: Counter[HtmlElement] = Counter()
    for paragraph in tree.iter("p"):
        lengths[paragraph] = len(paragraph.text_content())
    half = lengths.total() / 2
    for element in reversed([*tree.iter()]):  # each before what it stands in
        if lengths[element] and (parent := element.getparent()) is not None:
            lengths[parent] += lengths[element]
    main = tree.find("body")
    if main is None or not lengths[main]:
        return
    while (within := next((part for part in main if lengths[part] >= half), None)) is not None:
        name = within.get("class")
        if name and any(part.get("class") == name and lengths[part] and part is not within for part in main):
            break
        main = within
    while main.tag not in (*_PARTS, "body"):
        main = main.getparent()
    if main.tag == "body":
        part = Element("div")
        part.text, main.text = main.text, None
        part.extend(list(main))
        main.append(part)
        main = part
    main.set("role", "article")


def _part(paragraph: HtmlElement) -> None:
    """Make two paragraphs of one that has two breaks in a row, as between the stanzas of a poem."""
    from lxml.html import Element

    for found in reversed(paragraph.findall("br")):
        second = found.getnext()
        if second is None or second.tag != "br" or (found.tail or "").strip():
            continue
        rest = Element("p")
        rest.text, second.tail = second.tail, None
        rest.extend(list(second.itersiblings()))
        rest.tail, paragraph.tail = paragraph.tail, None
        paragraph.remove(second)
        found.drop_tree()
        paragraph.addnext(rest)


def _write_quoted(quoted: HtmlElement) -> None:
    """Write the marks that a browser puts around a quotation within a line."""
    quoted.tag, quoted.text = "span", f'"{quoted.text or ""}'
    if len(quoted):
        quoted[-1].tail = f'{quoted[-1].tail or ""}"'
    else:
        quoted.text += '"'


def _write_raised(raised: HtmlElement) -> None:
    """Write an exponent as such, and the mark of a note in brackets: raised, they would be digits of what is before."""
    text = raised.text_content().strip()
    link = raised.find(".//a")
    if _NOTE.fullmatch(text) and link is not None and "#" in (link.get("href") or ""):
        text = f"[{text.strip('[]')}]"
    elif _EXPONENT.fullmatch(text):
        text = f"^{text}"
    else:
        return
    tail = raised.tail
    raised.clear()
    raised.tag, raised.text, raised.tail = "span", text, tail


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
