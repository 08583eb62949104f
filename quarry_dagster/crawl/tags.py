"""A page's start tags, read before anything is known of the page: in one pass, whatever it is.

Not by a parser: nested elements take lxml's quadratic time, and this is asked of every page by the process that
crawls.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from quarry_dagster.crawl.character_references import attribute_value

_LONGEST = 2048
"""Bytes of one tag's attributes: bounds the work a hostile page can cause."""
_RAW = ("script", "style", "title", "textarea", "template")
"""Elements in which nothing is a tag but their end."""
_END_OF = {name: re.compile(rb"</%s" % name.encode(), re.IGNORECASE) for name in _RAW}
_END_OF_TAG = re.compile(rb"""(?:[^>"']|"[^"]*"|'[^']*')*+>""")
# Looked for at its beginning alone: from each letter of a long name on would take quadratic time.
_ATTRIBUTE = re.compile(r"""(?<![a-z:_-])([a-z:_-]++)\s*+=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'>]+))""", re.IGNORECASE)


def start_tags(page: bytes, names: Collection[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """Name and attributes of each start tag of these names outside comments, scripts and the like.

    Names are in lower case; of an attribute that comes twice the first counts. Goes forward only and never looks at a
    byte more than twice: a regular expression for comments takes quadratic time on a page of `<!--`.
    """
    wanted = "|".join(names)
    point_of = re.compile(rf"<(?:(!--)|({'|'.join(_RAW)})\b|({wanted})\b)".encode(), re.IGNORECASE)
    at = 0
    while point := point_of.search(page, at):
        comment, raw, name = point.groups()
        if raw or comment:
            end = _END_OF[raw.decode().lower()].search(page, point.end()) if raw else None
            at = end.end() if end else page.find(b"-->", point.end()) if comment else -1
        else:
            # A quote that does not end does not hide the end of the tag.
            end = _END_OF_TAG.match(page, point.end(), point.end() + _LONGEST)
            at = end.end() if end else page.find(b">", point.end())
            if at >= 0:
                yield name.decode().lower(), _attributes(page[point.end() : min(at, point.end() + _LONGEST)])
        if at < 0:
            return


def _attributes(tag: bytes) -> dict[str, str]:
    found = _ATTRIBUTE.findall(tag.decode("utf-8", "replace"))
    return {name.lower(): attribute_value(double or single or bare) for name, double, single, bare in reversed(found)}
