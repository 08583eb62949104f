"""`quarry explain`: what became of a document, step by step."""

from __future__ import annotations

import difflib
import sys
from dataclasses import asdict
from typing import Any

import click

from quarry_dagster.cli.options import data_option, json_option, print_json
from quarry_dagster.cli.terminal import safe
from quarry_dagster.dedup import decide
from quarry_dagster.environment import data_root
from quarry_dagster.explain import Compared, History, compared, history
from quarry_dagster.report.passages import marked

_WIDTH = 58
_LINES = 24


@click.command()
@click.argument("document", metavar="URL-or-ID")
@click.option("--with", "other", metavar="URL-or-ID", help="Compare it with this document, as deduplication does.")
@data_option
@json_option
def explain(document: str, other: str | None, data: str | None, as_json: bool) -> None:
    """What became of this document, step by step, and the kept one side by side if it was removed.

    It is named by its URL, its doc_id, or the id that its seed gave it. Exit status 1 when the document is not known.
    """
    if other is not None:
        _compare(data_root(data), document, other, as_json)
        return
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


def _compare(data: str, document: str, other: str, as_json: bool) -> None:
    """Say of two documents what speaks against removing either one for the other; exit status 1 without two texts."""
    found = compared(data, document, other)
    if as_json:
        print_json(_comparison(document, other, found))
    elif found is None:
        click.echo(f"{safe(document)} and {safe(other)} cannot be compared: one of them is not known, or has no text")
    else:
        sides = (found.first, found.second, found.against_first), (found.second, found.first, found.against_second)
        for (mine, theirs, against), share in zip(sides, found.containment, strict=True):
            click.echo(f"{safe(mine.url)}  beside  {safe(theirs.url)}")
            click.echo(f"  {share:.0%} of its word 3-grams stand in the other one")
            for reason in against:
                click.echo(f"  stays: {safe(reason.sentence)}  ({reason.guard})")
            if not against:
                click.echo(f"  goes: nothing speaks against removing it for the other one ({decide.NEAR_RULE})")
        click.echo()
        texts = found.first.text or "", found.second.text or ""
        _beside(found.first.url, found.second.url, marked(*texts), marked(*reversed(texts)))
    sys.exit(0 if found else 1)


def _comparison(document: str, other: str, found: Compared | None) -> dict[str, Any]:
    """The comparison as JSON values."""
    if found is None:
        return {"document": document, "with": other, "known": False}
    reasons = [[asdict(r) for r in against] for against in (found.against_first, found.against_second)]
    facts = zip((found.first, found.second), found.containment, reasons, strict=True)
    keys = ("doc_id", "url", "text")
    sides = [{k: getattr(h, k) for k in keys} | {"containment": c, "against": r} for h, c, r in facts]
    return {"document": document, "with": other, "known": True, "sides": sides}


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
        "page_metadata": found.page,
        "personal_data": [] if found.personal is None else found.personal.drop("doc_id", "partition").to_dicts(),
        "failed_rules": found.failed,
        "decision": found.decision,
        "witness_text": found.witness_text,
        "stands_for": stands_for,
    }


def _side_by_side(found: History) -> None:
    """Both texts, sentence by sentence where they differ; equal stretches are folded."""
    _beside("removed", f"kept: {found.witness_url}", found.text or "", found.witness_text or "")


def _beside(title: str, other_title: str, text: str, other: str) -> None:
    left, right = _wrap(text), _wrap(other)
    click.echo(f"    {safe(title):<{_WIDTH}}   {safe(other_title)}")
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
