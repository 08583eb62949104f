"""Content-Signal: what a site's owner says of the use of its pages, in robots.txt or in a header of a page.

    Content-Signal: search=yes, ai-train=no
    Content-Signal: /private/ ai-input=no

As Cloudflare writes it for its customers (contentsignals.org): `search`, `ai-input` and `ai-train`, each `yes` or `no`;
what is not named is left open. In robots.txt a line stands in a group, and may begin with a path.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

_MOST_PATHS = 100
"""Of one robots.txt; a file with more is a trap, for each is looked at for each page."""
_SIGNAL = re.compile(r"([a-z][a-z0-9-]*)\s*=\s*(yes|no)\b", re.IGNORECASE)
_LINE = re.compile(r"\s*content-signals?\s*:\s*(/\S*)?([^#]*)", re.IGNORECASE)


def is_signal(line: str) -> bool:
    """Whether a line of robots.txt is a Content-Signal."""
    return _LINE.match(line) is not None


def signals_in(text: str) -> dict[str, bool]:
    """Whether each use that a header, or the rest of a line, names is wanted; of one that comes twice a `no` counts."""
    found: dict[str, bool] = {}
    for name, value in _SIGNAL.findall(text):
        found[name.lower()] = found.get(name.lower(), True) and value.lower() == "yes"
    return found


def by_path(lines: Iterable[str]) -> dict[str, dict[str, bool]]:
    """The signals of lines of robots.txt, by the path that they are of; "" for all paths."""
    found: dict[str, dict[str, bool]] = {}
    for line in lines:
        if parts := _LINE.match(line):
            if len(found) == _MOST_PATHS and (parts[1] or "") not in found:
                continue
            for name, wanted in signals_in(parts[2]).items():
                of_path = found.setdefault(parts[1] or "", {})
                of_path[name] = of_path.get(name, True) and wanted
    return found


def unwanted(signals: dict[str, bool], obeyed: Collection[str]) -> str | None:
    """The first obeyed signal that says no."""
    return next((name for name in obeyed if signals.get(name) is False), None)


def written(signals: dict[str, bool]) -> str:
    """The signals as they are written."""
    return ", ".join(f"{name}={'yes' if wanted else 'no'}" for name, wanted in sorted(signals.items()))
