"""Pages that a script makes: their text in the data that the script is given.

Next.js, Nuxt, Discourse and others send what a page shows as JSON (to "hydrate" the page), and JSON-LD may hold an
article's body. It is read where a page shows a robot nothing else.

Bounded: so much JSON of a page, so many levels and values.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from typing import Any

from quarry_dagster.extract.words import count_words
from quarry_dagster.page import Head, text_in
from quarry_dagster.page.tags import elements

_MOST_CHARACTERS = 5_000_000
_MOST_VALUES = 200_000
_DEPTH = 60
_BODIES = ("articleBody", "text", "reviewBody", "recipeInstructions")
"""What JSON-LD calls the text of a page."""
_CONTENT = re.compile(
    r"(?:.*[_-])?(?:article|post|page|main|raw|full|rich|html)?[_-]?"
    r"(?:body|content|contents|text|html|cooked|markdown|rendered|paragraph|description|story|summary|value|children)s?"
    r"(?:[_-]?(?:html|text|raw|rendered|markdown))?",
    re.IGNORECASE,
)
"""Names that such data gives to what is shown as text."""
_ASSIGNED = re.compile(r"^\s*(?:window|self|globalThis)?\.?\w+(?:\.\w+)*\s*=\s*(?=[{\[])")
_TAG = re.compile(
    r"</?(?:p|div|h[1-6]|ul|ol|li|br|span|a|strong|em|blockquote|table|pre)\b[^<>]{0,500}>", re.IGNORECASE
)
_PUSHED = re.compile(r"self\.__next_f\.push\((?=\[)")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*+"')
_SENTENCES = 20
"""Words from which a value without a name is text."""
_PROSE = 8
"""Words from which a value is prose; a list of labels has fewer in each."""
_ENOUGH = 40
"""Words of prose from which they are a page's text."""


def text_in_data(source: str, head: Head) -> str | None:
    """Markup of the text that a page's data holds, for an extractor to read; None where there is none."""
    bodies = [text for node in head.json_ld.main for name in _BODIES if (text := _body(node.get(name)))]
    if _words(bodies) < _ENOUGH:
        bodies = list(dict.fromkeys(_texts(source)))
    if _words(bodies) < _ENOUGH:
        return None
    return f"<html><body><article>{''.join(map(_markup, bodies))}</article></body></html>"


def _body(value: Any) -> str | None:
    return value if isinstance(value, str) else text_in(value)


def _words(texts: list[str]) -> int:
    return sum(count_words(_TAG.sub(" ", text)) for text in texts)


def _markup(text: str) -> str:
    """A value as markup: most are markup already, the others are paragraphs of plain text."""
    if _TAG.search(text):
        return f"<div>{text}</div>"
    return "".join(f"<p>{html.escape(line)}</p>" for line in text.split("\n") if line.strip())


def _texts(source: str) -> Iterator[str]:
    """Yield the values of a page's data that are shown as text, in their order."""
    room = [_MOST_VALUES]
    for data in _data(source):
        yield from _prose(data, "", 0, room)
    for script in _scripts(source):
        yield from _said(script)


def _data(source: str) -> Iterator[Any]:
    room = _MOST_CHARACTERS
    for element in elements(source, ("script", "div")):
        if element.name == "div":
            said = element.attributes().get("data-preloaded") if "data-preloaded" in element.tag else None
        else:
            said = element.content
        if not said or len(said) > room:
            continue
        found = _ASSIGNED.match(said)
        begin = found.end() if found else len(said) - len(said.lstrip())
        if said[begin : begin + 1] not in ("{", "["):
            continue
        room -= len(said)
        try:
            yield json.JSONDecoder(strict=False).raw_decode(said, begin)[0]
        except (ValueError, RecursionError):
            continue  # a script that is no data


def _scripts(source: str) -> Iterator[str]:
    """The scripts that are given data in a form which is no JSON: Nuxt's, and what Next.js streams, put together."""
    streamed: list[str] = []
    room = _MOST_CHARACTERS
    for element in elements(source, ("script",)):
        script = element.content
        if len(script) > room or not ("__NUXT" in script or "__NUXT" in element.tag or "__next_f" in script):
            continue
        room -= len(script)
        if pushed := _PUSHED.search(script):
            try:
                said = json.JSONDecoder(strict=False).raw_decode(script, pushed.end())[0]
            except (ValueError, RecursionError):
                continue
            streamed += (part for part in said if isinstance(part, str))
        else:
            yield script
    if streamed:
        yield "".join(streamed)


def _said(script: str) -> Iterator[str]:
    """Yield the texts among the strings of a script, whatever holds them."""
    for literal in _STRING.findall(script):
        try:
            said = json.loads(literal, strict=False)
        except ValueError:
            continue
        words = count_words(_TAG.sub(" ", said))
        if words >= _SENTENCES or (words >= _PROSE and _TAG.search(said)):
            yield said


def _prose(value: Any, name: str, depth: int, room: list[int]) -> Iterator[str]:
    room[0] -= 1
    if depth > _DEPTH or room[0] < 0:
        return
    match value:
        case dict():
            for key, each in value.items():
                yield from _prose(each, key, depth + 1, room)
        case list():
            for each in value:
                yield from _prose(each, name, depth + 1, room)
        case str() if value[:1] in "{[" and value[-1:] in "}]" and value:
            try:
                yield from _prose(json.loads(value), name, depth + 1, room)
            except (ValueError, RecursionError):
                return
        case str() if _CONTENT.fullmatch(name) and count_words(_TAG.sub(" ", value)) >= _PROSE:
            yield value
        case _:
            return
