"""Texts in Markdown: their lines, the marks that an extractor writes too many, and their plain form.

Markdown as CommonMark 0.31 and, for tables and struck-out text, GitHub's flavour describe it. What is read here was
written by :mod:`quarry_dagster.extract.extractors`; any text may be given.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

MARKDOWN, PLAIN = "markdown", "plain"
TextFormat = Literal["markdown", "plain"]
"""How a text is to be read: the values of the column `text_format`."""

_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})[^`]*")
_ESCAPED = re.compile(
    r"""(?P<code>(?<!`)(?P<ticks>`+)(?!`)[^\n]{1,2000}?(?<!`)(?P=ticks)(?!`))
    |^(?P<fence>\s*(?:(?:-|\d+\.)\ )?)(?P<run>(?:\\`){3,}|(?:\\~){3,})
    |(?P<signs>\\+)(?P<sign>[*_`~\[\]<])
    |^(?P<begin>\s*(?:(?:-|\d+\.)\ )?\d*)\\(?=[#>+.)-])
    |</?(?:u|sub|sup)>""",
    re.VERBOSE | re.MULTILINE,
)
_HEADING = re.compile(r"#{1,6} +")
_ROW = re.compile(r"\|.*\|")
_RULE = re.compile(r"\|(?: *:?-+:? *\|)+")
_CELL_END = re.compile(r"(?<!\\)\|")
_BAR = re.compile(r"\\(\|)|\|")
_MARK = re.compile(r"\*\*|(?<!\*)\*(?!\*)|~~|(?<!`)`+")


def lines_of(text: str) -> Iterator[tuple[str, Literal["prose", "fence", "code"]]]:
    """The lines of a text in Markdown, and what each is: prose, the fence around code, or code."""
    fence = ""
    for line in text.split("\n"):
        found = _FENCE.fullmatch(line)
        if not found:
            yield line, "code" if fence else "prose"
        elif not fence:
            fence = found[1]
            yield line, "fence"
        elif found[1].startswith(fence) and line.strip() == found[1]:
            fence = ""
            yield line, "fence"
        else:
            yield line, "code"


def unescaped(text: str) -> str:
    """A text of trafilatura's as a person would write it: no sign is escaped outside code, and no HTML is in it."""
    return _ESCAPED.sub(_as_written, text) if "\\" in text or "<" in text else text


def _as_written(found: re.Match[str]) -> str:
    if found["code"]:
        return found["code"]
    if found["run"]:  # the rest of the text would be code
        return found["fence"] + "\\" + found["run"].replace("\\", "")
    if found["sign"]:  # its backslashes are doubled, and one is added
        return "\\" * (len(found["signs"]) // 2) + found["sign"]
    return found["begin"] or ""


def with_table_heads(text: str) -> str:
    """The text with one line between the first row of each table and the others, without which it is none.

    Rows without a word are left out.
    """
    kept: list[str] = []
    in_table = False
    for line, kind in lines_of(text):
        is_row = kind == "prose" and bool(_ROW.fullmatch(line.strip()))
        if not is_row:
            in_table = False
        elif _RULE.fullmatch(line.strip()) or not any(map(str.isalnum, line)):
            continue
        kept.append(line)
        if is_row and not in_table:
            kept.append("|" + "---|" * (len(_CELL_END.findall(line.strip())) - 1))
            in_table = True
    return "\n".join(kept)


def plain_form(text: str, text_format: str | None) -> str:
    """The text without the marks that say how it is to be shown; a text that is plain is returned as it is.

    Lines stay lines, bullets and numbers of lists and all of the code stay. Its normal form is that of the text.
    """
    if text_format != MARKDOWN:
        return text
    plain: list[str] = []
    for line, kind in lines_of(text):
        if kind == "code":
            plain.append(line)
        elif kind == "prose" and _ROW.fullmatch(line):
            if not _RULE.fullmatch(line):
                plain.append(_without_pairs(" ".join(_BAR.sub(lambda bar: bar[1] or " ", line).split())))
        elif kind == "prose":
            plain.append(_without_pairs(_HEADING.sub("", line, count=1) if line.startswith("#") else line))
    return "\n".join(plain)


def _without_pairs(line: str) -> str:
    """A line without the marks of emphasis, struck-out text and code that stand in pairs around something."""
    if not ("*" in line or "`" in line or "~" in line):
        return line
    opened: dict[str, re.Match[str]] = {}
    marks: list[tuple[int, int]] = []
    for mark in _MARK.finditer(line):
        before, after = line[mark.start() - 1 : mark.start()], line[mark.end() : mark.end() + 1]
        is_star = mark[0] == "*"
        if mark[0] in opened and before.strip() and not (is_star and after.isalnum()):
            marks += [opened.pop(mark[0]).span(), mark.span()]
        elif after.strip() and not (is_star and before.isalnum()):
            opened[mark[0]] = mark
    if not marks:
        return line
    marks.sort()
    ends = [0, *(end for _, end in marks)]
    return "".join(
        line[end:begin] for end, begin in zip(ends, [*(begin for begin, _ in marks), len(line)], strict=True)
    )
