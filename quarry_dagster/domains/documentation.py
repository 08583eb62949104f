"""Technical documentation: its blocks of code by language, the version it is of, the names of the API that it explains.

A text's marks tell what is code: a brace does not.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from quarry_dagster.domains.view import PageView, filled
from quarry_dagster.extract.markdown import lines_of

_IN_URL = re.compile(r"/(?:v|version[-/]?|release[-/])?(\d+\.(?:\d+|x)(?:\.(?:\d+|x))?)(?=/|$)", re.IGNORECASE)
_VERSION_METAS = ("docsearch:version", "docusaurus_version", "doc-version", "version")
_VERSION = re.compile(r"v?(\d+(?:\.(?:\d+|x)){0,3}[\w.-]{0,20})", re.IGNORECASE)
_CODE = re.compile(r"(?<!`)`([^`\n]{2,80})`(?!`)")
_NAME = re.compile(r"(?:[A-Za-z_$][\w$]*(?:\.|::|->|#))+[A-Za-z_$][\w$]*(?:\(.{0,60}\))?|[A-Za-z_$][\w$]*\(.{0,60}\)")
_MOST_NAMES = 200


def documentation(view: PageView) -> dict[str, Any] | None:
    """`code`: how many blocks each language has ("" where none is said), `version`, `api_names`."""
    if view.page_type != "documentation":
        return None
    languages: Counter[str] = Counter()
    api_names: dict[str, None] = {}
    is_open = False
    for line, kind in lines_of(view.text):
        if kind == "fence":
            is_open = not is_open
            if is_open:
                languages[line.strip().lstrip("`~")] += 1
        elif kind == "prose" and len(api_names) < _MOST_NAMES:
            spans = _CODE.findall(line) + ([line.lstrip("# ")] if line.startswith("#") else [])
            api_names |= dict.fromkeys(span.strip() for span in spans if _NAME.fullmatch(span.strip()))
    return filled({"code": dict(languages.most_common()), "version": _version(view), "api_names": list(api_names)})


def _version(view: PageView) -> str | None:
    for said in view.head.contents(*_VERSION_METAS):
        if found := _VERSION.fullmatch(said.strip()):
            return found[1]
    found = _IN_URL.search((view.url or "").partition("?")[0].partition("://")[2])
    return found[1] if found else None
