"""`quarry explain`: what became of a document, step by step."""

from __future__ import annotations

import difflib
import sys
from typing import Any

import click

from quarry_dagster.cli.options import data_option, json_option, print_json
from quarry_dagster.cli.terminal import safe
from quarry_dagster.environment import data_root
from quarry_dagster.explain import History, history

_WIDTH = 58
_LINES = 24


@click.command()
@click.argument("document", metavar="URL-or-ID")
@data_option
@json_option
def explain(document: str, data: str | None, as_json: bool) -> None:
    """What became of this document, step by step, and its witness side by side if it was removed.

    It is named by its URL, its doc_id, or the id that its seed gave it. Exit status 1 when the document is not known.
    """
    found = history(data_root(data), document)
    if as_json:
        print_json(_facts(document, found))
        sys.exit(0 if found else 1)
    if found is None:
        click.echo(f"{safe(document)} is not known: no seed named it (or its line was reported as broken)")
        sys.exit(1)
    own = f", id {safe(found.own_id)}" if found.own_id else ""
    click.echo(f"{safe(found.url)}  ({found.doc_id}{own})")
    for step, what in found.steps:
        click.echo(f"  {step:<15} {safe(what)}")
    if found.witness_text is not None:
        click.echo()
        _side_by_side(found)
    if found.removed is not None and not found.removed.is_empty():
        click.echo("\n  it stands for:")
        for row in found.removed.iter_rows(named=True):
            scored = f"{row['level']}, {row['rule']}, containment {row['containment']}"
            click.echo(f"    {safe(row['removed_url'])}  {scored}")


def _facts(document: str, found: History | None) -> dict[str, Any]:
    """The history as JSON values."""
    if found is None:
        return {"document": document, "known": False}
    stands_for = [] if found.removed is None else found.removed.select("removed_url", "removed_own_id").rows(named=True)
    return {
        "document": document,
        "known": True,
        "doc_id": found.doc_id,
        "url": found.url,
        "own_id": found.own_id,
        "steps": [{"step": step, "what": what} for step, what in found.steps],
        "text": found.text,
        "decision": found.decision,
        "witness_text": found.witness_text,
        "stands_for": stands_for,
    }


def _side_by_side(found: History) -> None:
    """Both texts, sentence by sentence where they differ; equal stretches are folded."""
    left, right = _wrap(found.text or ""), _wrap(found.witness_text or "")
    click.echo(f"    {'removed':<{_WIDTH}}   kept: {safe(found.witness_url)}")
    shown = 0
    for tag, a, b, c, d in difflib.SequenceMatcher(None, left, right).get_opcodes():
        if tag == "equal":
            click.echo(f"    = {b - a} equal lines")
            continue
        for i in range(max(b - a, d - c)):
            l_line = left[a + i] if a + i < b else ""
            r_line = right[c + i] if c + i < d else ""
            click.echo(f"    {l_line:<{_WIDTH}} | {r_line}")
            shown += 1
            if shown >= _LINES:
                click.echo("    ...")
                return


def _wrap(text: str) -> list[str]:
    words, lines, line = safe(text).split(), [], ""
    for word in words:
        while len(word) > _WIDTH:  # scripts without spaces
            lines.append(line) if line else None
            line, word = "", word
            lines.append(word[:_WIDTH])
            word = word[_WIDTH:]
        if len(line) + len(word) + 1 > _WIDTH:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}".strip()
    return [*lines, line] if line else lines
