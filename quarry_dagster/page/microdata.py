"""What a page's microdata says, as JSON-LD would say it, so that one reader serves both.

By the algorithm of HTML, section 5.2.5 (https://html.spec.whatwg.org/multipage/microdata.html), without `itemref`.
Bounded: `MAX_ITEMS` items of a page, `MAX_VALUES` values of an item, `MAX_TEXT` characters of a value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lxml.html import HtmlElement

MAX_ITEMS = 5_000
MAX_VALUES = 200
MAX_TEXT = 2_000

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
    length, parts = 0, []
    for text in element.itertext():
        parts.append(text)
        length += len(text)
        if length > MAX_TEXT:
            break
    return " ".join("".join(parts).split())[:MAX_TEXT]
