"""What a page says of itself as JSON-LD, read with patience: what is written in pages is often no JSON.

Read are scripts in comments and CDATA, with semicolons or several values in them, with control characters, with
comments and commas too many, with escapes that JSON has not, and escaped for HTML. What cannot be read costs its
script alone. It is JSON with ids, no graph: contexts are not loaded and names not expanded, for schema.org's are used
bare by nearly all pages; its address and the prefixes that stand for it are taken off.

Bounded: `MAX_SIZE` characters of a page, `MAX_DEPTH` levels, `MAX_NODES` nodes. Ids are looked up one at a time and
never followed by themselves, so that a circle of them is no circle here.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

MAX_SIZE = 5_000_000
"""Characters of JSON-LD that are read of one page."""
MAX_DEPTH = 100
"""Levels of nesting; what lies deeper is left out."""
MAX_NODES = 10_000
"""Nodes that are kept of one page, outermost first."""
_MAX_DIGITS = 100
"""Digits of a whole number; a longer one is null."""
_MAX_PREFIXES = 20

Node = Mapping[str, Any]
"""An object of JSON-LD."""

_COMMENT = r"/\*[^*]*+(?:\*(?!/)[^*]*+)*+(?:\*/|\Z)"
_WRAPPING = re.compile(
    rf"(?:[\s;,>\x00-\x1f\ufeff]|<!--|-->|<!\[CDATA\[|<?!?\]\]>|{_COMMENT}|//(?=\s*(?:<!|-->|\]\]|>))|//[^\n]*+(?:\n|\Z))*+"
)
"""What may stand around a value: white space, separators, comments of HTML and of JavaScript, marks of CDATA."""
# A string, a comment that does not end goes to the end of the text, or each of their beginnings would be tried in turn.
_STRING = r'"(?:[^"\\]++|\\.?)*+(?:"|\Z)'
_STRUCTURE = re.compile(rf"{_STRING}|[\[{{]|[\]}}]", re.DOTALL)
_COMMENTED = re.compile(rf"({_STRING})|{_COMMENT}|(?<![:\w])//[^\n]*+", re.DOTALL)
_COMMAS = re.compile(rf"({_STRING})|,(?:\s*+,)*+(\s*+(?:[\]}}]|\Z))?", re.DOTALL)
_NO_ESCAPE = re.compile(r'\\(?:(["\\/bfnrt]|u[0-9a-fA-F]{4})|(.))', re.DOTALL)
_VOCABULARY = re.compile(r"^(?:https?://(?:www\.)?schema\.org/|schema:)", re.IGNORECASE)
_TOO_DEEP = f"what is nested deeper than {MAX_DEPTH} levels is left out"
_REFERENCE = {"@id", "@type"}
_CONTAINERS = 6
"""So many graphs and lists in each other are looked into for what is about the page."""
_IS_VOCABULARY = re.compile(r"https?://(?:www\.)?schema\.org/?#?", re.IGNORECASE)
_QUALIFIED = re.compile(r'"(?:https?://(?:www\.)?schema\.org/|[A-Za-z][\w-]{0,30}:)[A-Za-z]\w*+"', re.IGNORECASE)
"""A name with an address or a prefix."""
_DECODER = json.JSONDecoder(
    strict=False,
    parse_constant=lambda _: None,
    parse_int=lambda digits: int(digits) if len(digits) <= _MAX_DIGITS else None,
)


@dataclass(frozen=True)
class JsonLd:
    """The JSON-LD of one page."""

    nodes: tuple[Node, ...] = ()
    """Its objects, outermost first, else in their order; what only names another by its `@id` is none."""
    main: tuple[Node, ...] = ()
    """Those of them that are about the page itself: the outermost, the members of a `@graph`, a `mainEntity`."""
    problems: tuple[str, ...] = ()
    """What could not be read, a sentence each, with the number of its script."""
    _by_id: Mapping[str, Node] = field(default_factory=dict, repr=False)

    def at(self, value: Any) -> Any:
        """The node that a value names by its `@id`, where it says nothing else; any other value itself."""
        if isinstance(value, Mapping) and isinstance(name := value.get("@id"), str) and value.keys() <= _REFERENCE:
            return self._by_id.get(name, value)
        return value


def read_json_ld(scripts: Iterable[str]) -> JsonLd:
    """What the scripts of type `application/ld+json` of one page say, each given as it is written."""
    values: list[Any] = []
    problems: list[str] = []
    room = MAX_SIZE
    for number, script in enumerate(scripts, 1):
        room -= len(script)
        if room < 0:
            problems.append(f"JSON-LD script {number}: past the {MAX_SIZE:,} characters that are read of a page")
            break
        found, wrong = _values(script)
        if _QUALIFIED.search(script):
            _take_off_prefixes(found)
        values += found
        if wrong:
            problems.append(f"JSON-LD script {number}: {wrong}")
    nodes, wrong = _nodes(values)
    if wrong and not any(wrong in problem for problem in problems):
        problems.append(f"JSON-LD: {wrong}")
    by_id: dict[str, Node] = {}
    for node in nodes:
        if isinstance(name := node.get("@id"), str) and len(node) > len(by_id.get(name, ())):
            by_id[name] = node
    return JsonLd(tuple(nodes), tuple(_main(values)), tuple(problems), by_id)


def typed(nodes: Iterable[Node], types: Collection[str]) -> Iterator[Node]:
    """The nodes that have one of these types of schema.org, by names in any case."""
    wanted = {name.lower() for name in types}
    return (node for node in nodes if any(t.lower() in wanted for t in types_of(node)))


def types_of(node: Node) -> list[str]:
    """The types of a node by their names in schema.org, in its own spelling."""
    said = node.get("@type")
    return [_VOCABULARY.sub("", t.strip()) for t in (said if isinstance(said, list) else [said]) if isinstance(t, str)]


def text_in(value: Any) -> str | None:
    """The text of a value: of a list the first that has one, of an object its `@value` or its `name`; in one line."""
    for _ in range(MAX_DEPTH):
        match value:
            case str():
                return " ".join(html.unescape(value).split()) or None
            case bool() | int() | float():
                return str(value)
            case list():
                value = next((each for each in value if each), None)
            case Mapping():
                value = value.get("@value") or value.get("name")
            case _:
                return None
    return None


def _values(script: str) -> tuple[list[Any], str]:
    """The JSON values in a script, and what is wrong where one cannot be read, else ""."""
    wrong = ""
    for attempt in (_as_written, _repaired):
        text, cut = attempt(script)
        found: list[Any] = []
        at = _behind_wrapping(text, 0)
        try:
            while at < len(text):
                value, at = _DECODER.raw_decode(text, at)
                found.append(value)
                at = _behind_wrapping(text, at)
        except (ValueError, RecursionError) as e:
            wrong = wrong or f"no JSON: {e}"
            if attempt is _repaired:
                return found, wrong
        else:
            return found, cut
    return [], wrong


def _behind_wrapping(text: str, at: int) -> int:
    found = _WRAPPING.match(text, at)
    return found.end() if found else at


def _as_written(script: str) -> tuple[str, str]:
    return script, ""


def _repaired(script: str) -> tuple[str, str]:
    """The script without what JSON does not allow and pages write all the same; a cut at `MAX_DEPTH` is said."""
    if '"' not in script and "&quot;" in script:
        script = html.unescape(script)
    script = _COMMENTED.sub(lambda part: _NO_ESCAPE.sub(_escape, part[1]) if part[1] else " ", script)
    whole = _COMMAS.sub(lambda part: part[1] or part[2] or ",", script)
    shallow = _shallow(whole)
    return shallow, "" if shallow is whole else _TOO_DEEP


def _escape(escape: re.Match[str]) -> str:
    return escape[0] if escape[1] else escape[2]


def _shallow(text: str) -> str:
    """The text with null in the place of what is nested deeper than `MAX_DEPTH`."""
    depth, kept, start = 0, [], 0
    for token in _STRUCTURE.finditer(text):
        if token[0] in "[{":
            depth += 1
            if depth == MAX_DEPTH + 1:
                kept += [text[start : token.start()], "null"]
        elif token[0] in "]}":
            if depth == MAX_DEPTH + 1:
                start = token.end()
            depth -= 1
    return "".join([*kept, text[start:]]) if kept else text


def _take_off_prefixes(values: list[Any]) -> None:
    """Name properties and types by their bare names in schema.org, in place: `schema:name` is `name`.

    Besides `schema`, prefixes are those that the contexts of these values, which are of one script, give its address.
    """
    prefixes = "|".join(map(re.escape, _prefixes(values)))
    vocabulary = re.compile(rf"^(?:https?://(?:www\.)?schema\.org/|(?:{prefixes}):)(?=\w)", re.IGNORECASE)
    waiting: list[Any] = [values]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            for name in [name for name in value if ":" in name]:
                if (bare := vocabulary.sub("", name)) != name:
                    value.setdefault(bare, value.pop(name))
            types = value.get("@type")
            if isinstance(types, str | list):
                each = types if isinstance(types, list) else [types]
                value["@type"] = [vocabulary.sub("", t) if isinstance(t, str) else t for t in each]
        below = value.values() if isinstance(value, dict) else value
        waiting += (each for each in below if isinstance(each, list | dict))


def _prefixes(values: list[Any]) -> list[str]:
    found = ["schema"]
    outermost = [each for value in values for each in (value if isinstance(value, list) else [value])]
    for context in (each.get("@context") for each in outermost[:MAX_NODES] if isinstance(each, dict)):
        for names in context if isinstance(context, list) else [context]:
            if isinstance(names, dict):
                said = ((name, iri) for name, iri in names.items() if isinstance(iri, str))
                found += (name for name, iri in said if _IS_VOCABULARY.fullmatch(iri) and not name.startswith("@"))
    return list(dict.fromkeys(found))[:_MAX_PREFIXES]


def _nodes(values: list[Any]) -> tuple[list[Node], str]:
    """The objects in these values, level by level, and what is wrong where some are left out, else ""."""
    nodes: list[Node] = []
    level = values
    for _ in range(MAX_DEPTH):
        below: list[Any] = []
        for value in level:
            if isinstance(value, list):
                below += value
            elif isinstance(value, dict):
                if "@value" not in value and len(value.keys() - {"@context", "@graph"}) > ("@id" in value):
                    nodes.append(value)
                below += (each for each in value.values() if isinstance(each, list | dict))
        if not below or len(nodes) > MAX_NODES:
            break
        level = below
    else:
        return nodes[:MAX_NODES], _TOO_DEEP
    return nodes[:MAX_NODES], f"of its nodes {MAX_NODES:,} are read" if len(nodes) > MAX_NODES else ""


def _main(values: list[Any]) -> list[Node]:
    """The objects among these values that are about the page itself."""
    found: list[Node] = []
    level = values
    for _ in range(_CONTAINERS):
        below: list[Any] = []
        for value in level:
            if isinstance(value, list):
                below += value
            elif isinstance(value, dict):
                found.append(value)
                below += [value["@graph"]] if "@graph" in value else []
                below += [value["mainEntity"]] if "mainEntity" in value else []
        level = below
    return found[:MAX_NODES]
