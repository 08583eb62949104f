"""`quarry search`: nearest documents by meaning."""

from __future__ import annotations

import click

from quarry_dagster.cli.options import data_option, profile_option
from quarry_dagster.cli.terminal import safe
from quarry_dagster.environment import data_root, profile_name
from quarry_dagster.profiles.remembered import choose_for
from quarry_dagster.store import Store


@click.command()
@click.argument("text")
@click.option("-k", default=10, show_default=True, type=click.IntRange(1, 1000), help="How many documents.")
@data_option
@profile_option
def search(text: str, k: int, data: str | None, profile: str | None) -> None:
    """The K documents of the corpus nearest to TEXT by meaning, with their cosines."""
    from quarry_dagster.search import Searcher

    if not text.strip():
        raise click.UsageError("TEXT is blank: nothing to search for")
    root = data_root(data)
    store = Store(root)
    searcher = Searcher(store, choose_for(store, profile_name(profile)).profile)
    if not searcher.index.vectors:
        click.echo(f"the corpus in {root} has no documents")
        return
    for row in searcher.like(text, k).iter_rows(named=True):
        start = " ".join(row["text"].split())[:160]
        click.echo(f"{row['cosine']:.3f}  {safe(row['url'])}\n       {safe(row['title'] or '')}\n       {safe(start)}")
