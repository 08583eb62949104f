"""`quarry search`: nearest documents by meaning."""

from __future__ import annotations

from typing import Any

import click
import polars as pl

from quarry_dagster.cli.options import data_option, json_option, print_json, profile_option
from quarry_dagster.cli.terminal import safe
from quarry_dagster.environment import data_root, profile_name
from quarry_dagster.errors import ConfigError
from quarry_dagster.explain import history
from quarry_dagster.naming import own_id_of
from quarry_dagster.profiles.remembered import choose_for
from quarry_dagster.store import Store


@click.command()
@click.argument("text", default="")
@click.option("--like", metavar="URL-or-ID", help="Search for what is near this document, in place of TEXT.")
@click.option("--filtered", is_flag=True, help="Find what the quality policy keeps out of the corpus as well.")
@click.option("-k", default=10, show_default=True, type=click.IntRange(1, 1000), help="How many documents.")
@data_option
@profile_option
@json_option
def search(
    text: str, like: str | None, filtered: bool, k: int, data: str | None, profile: str | None, as_json: bool
) -> None:
    """The K documents of the corpus nearest to TEXT by meaning, with their cosines."""
    from quarry_dagster.search import Searcher

    if bool(text.strip()) == bool(like):
        raise click.UsageError("TEXT is blank: nothing to search for" if not like else "give TEXT or --like, not both")
    root = data_root(data)
    this = history(root, like) if like else None
    if like and (this is None or not this.text):
        raise ConfigError(f"{like} is no document with a text: quarry explain says what became of it")
    store = Store(root)
    searcher = Searcher(store, choose_for(store, profile_name(profile)).profile)
    rows: list[dict[str, Any]] = []
    if searcher.index.vectors:
        nearest = searcher.like(this.text or "" if this else text, k + bool(this), filtered=filtered)
        others = nearest.filter(pl.col("doc_id") != this.doc_id) if this else nearest
        rows = others.head(k).rows(named=True)
    if as_json:
        found = [row | {"own_id": own_id_of(row["metadata"])} for row in rows]
        print_json({"data": root, "text": text or None, "like": this.url if this else None, "results": found})
        return
    if not searcher.index.vectors:
        click.echo(f"the corpus in {root} has no documents")
    for row in rows:
        start = " ".join(row["text"].split())[:160]
        note = "  (kept out by the quality policy)" if row["is_filtered"] else ""
        click.echo(
            f"{row['cosine']:.3f}  {safe(row['url'])}{note}\n       {safe(row['title'] or '')}\n       {safe(start)}"
        )
