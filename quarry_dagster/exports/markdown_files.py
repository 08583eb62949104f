"""A file of Markdown for each document, with its facts as front matter."""

from __future__ import annotations

import json
import re
from pathlib import Path

import polars as pl
import yaml

from quarry_dagster.exports.formats import File, described
from quarry_dagster.extract.markdown import MARKDOWN

_MARKUP = re.compile(r"([\\`*_\[\]<>|~&$])|^([ \t]*)([#>+=-]|\d+(?=[.)]))", re.MULTILINE)


class MarkdownFiles:
    """The files of one split: `data/NAME/ab/ab34....md`, named by the ids of the documents."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._name = name
        self._files: list[File] = []

    def write(self, rows: pl.DataFrame) -> None:
        """Write the rows, each to its file."""
        for row in rows.iter_rows(named=True):
            doc_id, text = row["doc_id"], row.pop("text")
            path = Path("data", self._name, doc_id[:2], f"{doc_id}.md")
            (self._folder / path).parent.mkdir(parents=True, exist_ok=True)
            facts = {name: value for name, value in row.items() if value is not None and name != "text_format"}
            facts["fetched_at"] = f"{row['fetched_at']:%Y-%m-%dT%H:%M:%SZ}" if row["fetched_at"] else None
            facts["metadata"] = json.loads(row["metadata"]) if row["metadata"] else None
            header = yaml.safe_dump(
                {name: value for name, value in facts.items() if value not in (None, [])},
                sort_keys=False,
                allow_unicode=True,
                width=10**6,
            )
            body = text if row["text_format"] == MARKDOWN else escaped(text)
            written = f"---\n{header}---\n\n{body}\n".encode("utf-8", "surrogatepass")
            (self._folder / path).write_bytes(written)
            self._files.append(described(self._folder, path.as_posix(), 1))

    def close(self) -> list[File]:
        """All files, in order of their names."""
        return sorted(self._files, key=lambda file: file.path)


def escaped(text: str) -> str:
    """A plain text as Markdown that shows it: nothing in it is markup."""
    return _MARKUP.sub(lambda m: f"\\{m[1]}" if m[1] else _at_begin(m[2], m[3]), text)


def _at_begin(blanks: str, mark: str) -> str:
    """A mark at the beginning of a line, after blanks; a number keeps its digits, and loses what makes a list of it."""
    return f"{blanks}{mark}\\" if mark.isdigit() else f"{blanks}\\{mark}"
