"""trafilatura's XPath expressions, made cheaper.

Most of them test an attribute by a regular expression, which lxml does by a call into Python for each element, with
the attribute as an object that knows its parent. Asked first whether an element has the attribute, and given its bare
string, they find the same elements.
"""

from __future__ import annotations

import re

_TEST = re.compile(r"""re:test\((?P<attribute>@[\w|@-]+), *(?P<pattern>'[^']*'|"[^"]*")\)""")
_NAMESPACES = {"re": "http://exslt.org/regular-expressions"}


def ask_first() -> None:
    """Put cheaper expressions in the place of trafilatura's own, in this process."""
    from lxml.etree import XPath
    from trafilatura import xpaths

    for expressions in vars(xpaths).values():
        if isinstance(expressions, list) and all(isinstance(e, XPath) for e in expressions):
            # Its modules all hold this very list.
            expressions[:] = [XPath(asking_first(e.path), namespaces=_NAMESPACES) for e in expressions]


def asking_first(expression: str) -> str:
    """An XPath expression that finds what this one does, and tests no attribute of an element that lacks it."""
    return _TEST.sub(_asking_first, expression)


def _asking_first(test: re.Match[str]) -> str:
    attribute, pattern = test["attribute"], test["pattern"]
    if re.search(pattern[1:-1], ""):  # this one holds without the attribute too
        return test[0]
    # Of several attributes XPath and lxml take another one for the string.
    value = attribute if "|" in attribute else f"string({attribute})"
    return f"({attribute} and re:test({value}, {pattern}))"
