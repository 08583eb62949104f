"""Lines of text: the `.txt` format, and the numbered lines that the other line formats read.

What stands in a line of another format belongs to that format.
"""

from __future__ import annotations

import codecs
import difflib
import re
from collections.abc import Iterator
from typing import BinaryIO

from quarry_dagster.seeds.discovery import parse_discovery
from quarry_dagster.seeds.model import Place, Problem, Seed, shown

_MAX_URL_LINE = 64 * 1024
_HEAD = 64 * 1024
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1f\x7f]")
_COMMENT = re.compile(r"(?:^|\s)#.*")
_SECOND_URL = re.compile(r"(?:^|\s)https?://", re.IGNORECASE)
_OPTION = re.compile(r"(\w+)\s*=(.*)", re.DOTALL)
_OPTIONS = ("discover",)
GIVE_TEXTS = "give texts in a table (.jsonl, .csv or .parquet) with the columns id and text"
"""What to do where texts stand in place of URLs."""


class Lines:
    """UTF-8 lines with their numbers, none of them held in memory beyond `limit` bytes.

    Iterating gives a line as text, or the problem that took its place; `place` is where the last one stood. The
    file must stand at `place` at the start.
    """

    def __init__(self, file: BinaryIO, limit: int, place: Place) -> None:
        self._file = file
        self._limit = limit
        self.place = place

    def __iter__(self) -> Lines:
        return self

    def __next__(self) -> str | Problem:
        raw = self._file.readline(self._limit)
        if not raw:
            raise StopIteration
        self.place.line += 1
        self.place.at += len(raw)
        if len(raw) == self._limit and not raw.endswith(b"\n"):
            return self._skip_rest(raw)
        raw = raw.removeprefix(codecs.BOM_UTF8)  # of any line: files are put together of several
        try:
            return raw.decode()
        except UnicodeDecodeError:
            text = shown(raw[:1000].decode(errors="replace"))
            return Problem(self.place.line, "not UTF-8; save the file as UTF-8", text)

    def _skip_rest(self, start: bytes) -> Problem:
        while raw := self._file.readline(self._limit):
            self.place.at += len(raw)
            if raw.endswith(b"\n"):
                break
        return Problem(
            self.place.line,
            f"the line is longer than {self._limit} bytes; split it, or leave its document out",
            shown(start[:1000].decode(errors="replace")),
        )


def binary_problem(file: BinaryIO) -> Problem | None:
    """The problem of a file that is no text at all; the file is left at its start."""
    head = file.read(_HEAD)
    file.seek(0)
    # A character cut by the end of the head is one replacement, far below a tenth.
    undecodable = head.decode(errors="replace").count("\ufffd")
    is_other = undecodable * 10 > max(len(head), 100)
    # Lines without control characters are a text in another encoding, each of which is told by itself.
    if b"\0" in head or (is_other and (_CONTROL.search(head) or b"\n" not in head)):
        return Problem(
            None,
            "a binary file, not UTF-8 text; decompress or convert it, or give it the suffix of its format",
            shown(head[:40].decode(errors="replace")),
        )
    return None


def prose_problem(file: BinaryIO) -> Problem | None:
    """The problem of a file that holds texts where URLs belong; the file is left at its start.

    It is told once, by the file's beginning: no URL in it, and more lines of several words than of one.
    """
    head = file.read(_HEAD).decode(errors="replace")
    file.seek(0)
    lines = [line for each in head.splitlines() if (line := _COMMENT.sub("", each).strip())]
    if "://" in head or sum(len(line.split()) > 1 for line in lines) * 2 <= len(lines):
        return None
    return Problem(None, f"words and no URL: a .txt is a list of URLs, one a line; {GIVE_TEXTS}", shown(lines[0]))


def without_options(line: str) -> tuple[str, str | None]:
    """The URL of a line, and its `discover` as `discovery` writes it.

    Raises:
        ValueError: the words behind the URL are no option, or white space stands in it; the message has the remedy.
    """
    url, *behind = line.split(maxsplit=1)
    if not behind:
        return url, None
    rest = behind[0].strip()
    option = _OPTION.match(rest)
    if option is None or _SECOND_URL.match(rest):
        if _SECOND_URL.search(rest):
            raise ValueError("more than one URL on the line; write one a line")
        if "://" not in url:
            return line, None  # words, and no URL: the line has a row that says so
        try:
            meant = str(parse_discovery(rest))
        except ValueError:
            raise ValueError("white space in the URL; write %20 for a space, or # before a comment") from None
        raise ValueError(f"{rest!r} behind the URL is no option; did you mean 'discover={meant}'?")
    name = option[1].lower()
    if name not in _OPTIONS:
        near = difflib.get_close_matches(name, _OPTIONS, 1)
        hint = f"did you mean {near[0]!r}?" if near else "known is discover, as in discover=links:1"
        raise ValueError(f"unknown option {shown(option[1])!r}; {hint}")
    return url, str(parse_discovery(option[2]))


def read_text(file: BinaryIO, max_body: int, place: Place) -> Iterator[Seed | Problem]:
    """A URL per line, perhaps with `discover=...`; `#` starts a comment, at the line's start or after whitespace."""
    if problem := binary_problem(file) or prose_problem(file):
        yield problem
        return
    file.seek(place.at)
    for line in Lines(file, _MAX_URL_LINE, place):
        if isinstance(line, Problem):
            yield line
            continue
        url = (_COMMENT.sub("", line) if "#" in line else line).strip()
        if not url:
            continue
        try:
            url, discover = without_options(url)
        except ValueError as e:
            yield Problem(place.line, str(e), shown(url))
        else:
            yield Seed(url, place.line, discover=discover)
