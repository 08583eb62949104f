"""How `quarry diff` and `quarry changes` print what changed."""

from __future__ import annotations

import click

from quarry_dagster.cli.options import print_json
from quarry_dagster.cli.terminal import print_rows, safe
from quarry_dagster.differences import between, counted
from quarry_dagster.errors import ConfigError
from quarry_dagster.rollback import numbered
from quarry_dagster.store import Store
from quarry_dagster.store.state import CORPUS

_SHOWN = 10
_BY = (("change", "cause"), ("change", "host"), ("change", "language"))


def show(root: str, before: str, after: str | None, *, all_rows: bool, as_json: bool) -> None:
    """Print what changed between two corpora, named by numbers or tags; the later one is by default the current."""
    store = Store.existing(root)
    since = numbered(store, before)
    current = store.files.state().currents.get(CORPUS)
    until = current if after is None else numbered(store, after)
    if until is None:
        raise ConfigError(f"there is no corpus in {root}: quarry run makes one")
    found = between(store, store.corpus(since), store.corpus(until))
    if as_json:
        counts = {"_".join(by): counted(found, by).to_dicts() for by in _BY}
        print_json({"data": root, "since": since, "until": until, **counts, "documents": found.to_dicts()})
        return
    click.echo(f"from corpus {since} to corpus {until}: {found.height:,} documents")
    for by in _BY:
        rows = counted(found, by)
        for change, what, documents in rows.head(_SHOWN).iter_rows():
            print_rows([(change, f"{documents:,} by {by[1]} {safe(what or 'none')}")])
        if rows.height > _SHOWN:
            click.echo(f"  ... and {rows.height - _SHOWN:,} more by {by[1]}: --json has all")
    for row in found.head(found.height if all_rows else _SHOWN).iter_rows(named=True):
        detail = f" ({safe(row['detail'])})" if row["detail"] else ""
        click.echo(f"  {row['change']} {safe(row['url'])}: {row['cause']}{detail}")
    if not all_rows and found.height > _SHOWN:
        click.echo(f"  ... and {found.height - _SHOWN:,} more: --all prints them")
