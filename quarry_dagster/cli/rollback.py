"""`quarry rollback`: go back to a corpus of before."""

from __future__ import annotations

import click

from quarry_dagster.cli.options import data_option, json_option, print_json
from quarry_dagster.environment import data_root, who
from quarry_dagster.errors import ConfigError
from quarry_dagster.store import Store


@click.command()
@data_option
@click.option("--to", "named", metavar="N-or-TAG", help="Which published corpus.  [default: the one before]")
@click.option("--release", "is_over", is_flag=True, help="Let runs publish again.")
@json_option
def rollback(data: str | None, named: str | None, is_over: bool, as_json: bool) -> None:
    """Publish a corpus of before again, and hold it: runs go on, but publish nothing until --release."""
    from quarry_dagster import rollback as going

    store = Store.existing(data_root(data))
    if is_over and named:
        raise ConfigError("--release goes on from the corpus that is published: it takes no --to")
    if is_over:
        was_held = going.release(store)
        number = None
        said = "released: the next run publishes again" if was_held else "nothing was held"
    else:
        number = going.go_back(store, None if named is None else going.numbered(store, named), who())
        said = f"corpus {number} is published, and held: runs publish nothing until quarry rollback --release"
    if as_json:
        print_json({"data": store.files.root, "corpus": number, "is_held": not is_over})
        return
    click.echo(said)
