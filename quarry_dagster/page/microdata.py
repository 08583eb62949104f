"""What a page's microdata says, as JSON-LD would say it, so that one reader serves both.

By the algorithm of HTML, section 5.2.5 (https://html.spec.whatwg.org/multipage/microdata.html), without `itemref`.
Bounded: `MAX_ITEMS` items of a page, `MAX_VALUES` values of an item, `MAX_TEXT` characters of a value, each of its
blocks in a line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lxml.html import HtmlElement

MAX_ITEMS = 5_000
MAX_VALUES = 200
MAX_TEXT = 2_000
_MOST_EVENTS = 2_000
"""Beginnings and ends of elements that the text of a value is looked for in."""
_BREAK = "\x1e"
_BLOCKS = frozenset(
    {
        *("p", "div", "li", "br", "tr", "dd", "dt", "ol", "ul", "section", "article"),
        *("h1", "h2", "h3", "h4", "h5", "h6"),
    }
)

_URL_OF = {
    **dict.fromkeys(("audio", "embed", "iframe", "img", "source", "track", "video"), "src"),
    **dict.fromkeys(("a", "area", "link"), "href"),
    "object": "data",
}
_VALUE_OF = {"data": "value", "meter": "value", "time": "datetime", "meta": "content"}


def read_microdata(tree: HtmlElement) -> Sequence[Mapping[str, Any]]:
    """The items of a page that are no property of another one, in their order; each as a node of JSON-LD."""
    from lxml.etree import iterwalk

    outermost: list[dict[str, Any]] = []
    items = 0
    open_items: list[tuple[HtmlElement, dict[str, Any]]] = []
    for event, element in iterwalk(tree, events=("start", "end")):
        if event == "end":
            if open_items and open_items[-1][0] is element:
                open_items.pop()
            continue
        names = (element.get("itemprop") or "").split()
        if element.get("itemscope") is not None and items < MAX_ITEMS:
            items += 1
            node: dict[str, Any] = {}
            if types := (element.get("itemtype") or "").split():
                node["@type"] = types if len(types) > 1 else types[0]
            if (identity := element.get("itemid")) is not None:
                node["@id"] = identity
            if names and open_items:
                _add(open_items[-1][1], names, node)
            else:
                outermost.append(node)
            open_items.append((element, node))
        elif names and open_items:
            _add(open_items[-1][1], names, _value(element))
    return outermost


def _add(node: dict[str, Any], names: Sequence[str], value: Any) -> None:
    for name in names:
        there = node.get(name)
        if there is None:
            node[name] = value
        elif isinstance(there, list):
            if len(there) < MAX_VALUES:
                there.append(value)
        else:
            node[name] = [there, value]


def _value(element: HtmlElement) -> str:
    if (said := element.get("content")) is not None:
        return said[:MAX_TEXT]
    tag = str(element.tag)
    if (attribute := _VALUE_OF.get(tag) or _URL_OF.get(tag)) and (said := element.get(attribute)) is not None:
        return said[:MAX_TEXT]
    lines = (" ".join(line.split()) for line in _text(element).split(_BREAK))
    return "\n".join(filter(None, lines))[:MAX_TEXT]


def _text(element: HtmlElement) -> str:
    """The text of an element, with a break where a block of it begins or ends."""
    from lxml.etree import iterwalk

    length, parts = 0, []
    for event, inner in islice(iterwalk(element, events=("start", "end")), _MOST_EVENTS):
        text = (inner.text if event == "start" else inner.tail if inner is not element else None) or ""
        is_block = inner.tag in _BLOCKS and inner is not element
        parts.append(_BREAK + text if is_block else text)
        length += len(text)
        if length > MAX_TEXT:
            break
    return "".join(parts)
