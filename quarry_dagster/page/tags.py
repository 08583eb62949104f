"""The elements of a page, read before anything is known of the page: in one pass, whatever it is.

Not by a parser: nested elements take lxml's quadratic time, and this is asked of every page by the process that
crawls.

Why so: "Links are found by a scanner of tags, not by a parser" in docs/decisions.md.
"""

from __future__ import annotations

import html
import re
from collections.abc import Collection, Iterator
from functools import cache
from html.entities import html5
from typing import NamedTuple

_LONGEST = 8192
"""Characters of one tag's attributes: bounds the work a hostile page can cause."""
_RAW = ("script", "style", "title", "textarea", "template")
"""Elements in which nothing is a tag but their end."""
_END_OF = {name: re.compile(rf"</{name}(?=[\s/>]|$)", re.IGNORECASE) for name in _RAW}
_END_OF_COMMENT = re.compile(r"--!?>")
_END_OF_TAG = re.compile(r"""(?:[^>"']|"[^"]*"|'[^']*')*+>""")
# Looked for at its beginning alone: from each letter of a long name on would take quadratic time.
_ATTRIBUTE = re.compile(r"""(?<![^\s"'>/=])([^\s"'>/=]++)\s*+=\s*+(?:"([^"]*)"|'([^']*)'|([^\s"'>][^\s>]*))""")
_REFERENCE = re.compile(r"&(?:#[0-9]+;?|#[xX][0-9a-fA-F]+;?|([A-Za-z][A-Za-z0-9]*+(?:;|(?!=))))")


class Element(NamedTuple):
    """A start tag, and what stands behind it."""

    name: str
    """In lower case."""
    tag: str
    """The attributes, as they are written."""
    content: str
    """What is in a script, style, title, textarea or template, as it is written; of other elements ""."""
    end: int
    """Where what follows it begins in the markup."""

    def attributes(self) -> dict[str, str]:
        """The attributes, names in lower case; of one that comes twice the first counts."""
        return {
            name.lower(): _REFERENCE.sub(_character, value) if "&" in value else value
            for name, double, single, bare in reversed(_ATTRIBUTE.findall(self.tag))
            for value in (double or single or bare,)
        }


def elements(markup: str, names: Collection[str], start: int = 0) -> Iterator[Element]:
    """Each element of these names (in lower case) outside comments, scripts and the like, in order, from `start` on.

    Goes forward only and never looks at a character more than twice: a regular expression for comments takes quadratic
    time on a page of `<!--`.
    """
    beginnings = _beginnings(frozenset(names))
    at = start
    while point := beginnings.search(markup, at):
        comment, name = point.groups()
        at = point.end()
        if comment:
            # `<!-->` is a whole comment.
            end = _END_OF_COMMENT.search(markup, at - 2)
            if end is None:
                return
            at = end.end()
            continue
        name = name.lower()
        # A quote that does not end does not hide the end of the tag.
        end = _END_OF_TAG.match(markup, at, at + _LONGEST)
        behind = end.end() if end else markup.find(">", at) + 1
        if not behind:
            return
        tag, content = markup[at : min(behind, at + _LONGEST)], ""
        if name in _RAW:
            end = _END_OF[name].search(markup, behind)
            content = markup[behind : end.start() if end else len(markup)] if name in names else ""
            behind = end.end() if end else len(markup)
        at = behind
        if name in names:
            yield Element(name, tag, content, at)


def start_tags(page: str | bytes, names: Collection[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """Name and attributes of each element of these names; bytes are read as UTF-8, whatever they are."""
    markup = page if isinstance(page, str) else page.decode("utf-8", "replace")
    return ((element.name, element.attributes()) for element in elements(markup, names))


@cache
def _beginnings(names: frozenset[str]) -> re.Pattern[str]:
    wanted = "|".join(sorted({*names, *_RAW}))
    return re.compile(rf"<(?:(!--)|({wanted})(?=[\s/>]))", re.IGNORECASE)


def _character(reference: re.Match[str]) -> str:
    """The character that a reference in an attribute stands for.

    One without a semicolon stays as it is where `=` or a letter follows (HTML, 13.2.5.73): most likely it is a
    parameter of a URL whose `&` was not escaped.
    """
    name = reference[1]
    return reference[0] if name and name not in html5 else html.unescape(reference[0])
