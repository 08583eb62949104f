"""What the layout of a page left in its text, and no reader of the page saw."""

from __future__ import annotations

import re

from quarry_dagster.extract.markdown import lines_of
from quarry_dagster.extract.words import normal_form

_RUN = re.compile(r"[^\S\n]{2,}|\t")
_MARKER = re.compile(r"^\s*(?:[-*] |\d+\. |#+ )?")
_LONG = 60
"""Characters of a line from which a second one like it is noise: shorter ones repeat in tables and verse."""


def without_noise(text: str, title: str | None) -> str:
    """The text of a page without runs of blanks and of empty lines, long lines that are repeated, and a first line that
    says the title once more.

    Code between fences keeps its lines and its blanks.
    """
    kept: list[str] = []
    seen: set[str] = set()
    for line, kind in lines_of(text):
        if kind != "prose":
            kept.append(line)
            continue
        begin = line[: len(line) - len(line.lstrip())]
        line = begin + _RUN.sub(" ", line.strip())
        if not line.strip() and (not kept or not kept[-1]):
            continue
        said = _MARKER.sub("", line)
        if len(said) >= _LONG and said in seen:
            continue
        seen.add(said)
        kept.append(line.rstrip())
    first = next((i for i, line in enumerate(kept) if line), 0)
    says_more = any(map(str.strip, kept[first + 1 :]))
    if title and says_more and _letters(kept[first]) == _letters(title):
        del kept[first]
    return "\n".join(kept)


def _letters(line: str) -> str:
    """The letters and digits of a line, as they are compared."""
    return "".join(filter(str.isalnum, normal_form(line)))
