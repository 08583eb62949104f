"""`quarry tag`: name a published corpus, so that it stays."""

from __future__ import annotations

from dataclasses import asdict

import click

from quarry_dagster.cli.options import data_option, json_option, print_json
from quarry_dagster.environment import data_root
from quarry_dagster.errors import ConfigError
from quarry_dagster.store import Store


@click.command()
@click.argument("name", required=False)
@data_option
@click.option("--corpus", "named", metavar="N", help="Which published corpus.  [default: the current one]")
@click.option("--delete", "is_off", is_flag=True, help="Take the tag off.")
@json_option
def tag(name: str | None, data: str | None, named: str | None, is_off: bool, as_json: bool) -> None:
    """Name a published corpus, so that it stays readable whatever is published after it; without NAME list them all.

    `quarry_dagster.scan(table, snapshot=N)` reads one by its number.
    """
    from quarry_dagster import rollback

    store = Store.existing(data_root(data))
    if name is None:
        if is_off or named:
            raise ConfigError("name the tag: quarry tag NAME")
        found = rollback.published(store)
        if as_json:
            print_json({"data": store.files.root, "corpora": [asdict(each) for each in found]})
            return
        for each in found:
            marks = ["current"] * each.is_current + ["held"] * each.is_held + [f"tag {tag}" for tag in each.tags]
            said = f", {', '.join(marks)}" if marks else ""
            click.echo(f"{each.number:>6}  {each.published_at}  {each.documents:,} documents{said}")
        if not found:
            click.echo("no corpus is published yet")
        return
    if is_off:
        rollback.untag(store, name)
        number = None
    else:
        number = rollback.tag(store, name, None if named is None else rollback.numbered(store, named))
    if as_json:
        print_json({"data": store.files.root, "tag": name, "corpus": number})
        return
    click.echo(f"{name}: taken off" if number is None else f"{name}: corpus {number}, which stays until the tag goes")
