"""`quarry search`: nearest documents by meaning."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import click

from quarry_dagster.cli.options import data_option, json_option, print_json, profile_option
from quarry_dagster.cli.terminal import safe
from quarry_dagster.errors import ConfigError

_WAITS = 60
"""Seconds that an answer of a server is waited for."""


@click.command()
@click.argument("text", default="")
@click.option("--like", metavar="URL-or-ID", help="Search for what is near this document, in place of TEXT.")
@click.option("--filtered", is_flag=True, help="Find what the quality policy keeps out of the corpus as well.")
@click.option("-k", default=10, show_default=True, type=click.IntRange(1, 1000), help="How many documents.")
@click.option("--server", metavar="URL", help="Ask this `quarry serve`, with the key in $QUARRY_SERVER_KEY, if any.")
@data_option
@profile_option
@json_option
def search(
    text: str,
    like: str | None,
    filtered: bool,
    k: int,
    server: str | None,
    data: str | None,
    profile: str | None,
    as_json: bool,
) -> None:
    """The K documents of the corpus nearest to TEXT by meaning, with their cosines."""
    if bool(text.strip()) == bool(like):
        raise click.UsageError("TEXT is blank: nothing to search for" if not like else "give TEXT or --like, not both")
    if server is not None:
        if like or filtered or data or profile:
            raise click.UsageError("--server is asked for TEXT alone: it has its own data root and profile")
        rows = _asked(server, text, k)
        if as_json:
            print_json({"server": server, "text": text, "results": rows})
            return
        _show(rows)
        return
    _search_here(text, like, filtered, k, data, profile, as_json)


def _search_here(
    text: str, like: str | None, filtered: bool, k: int, data: str | None, profile: str | None, as_json: bool
) -> None:
    import polars as pl  # here: who asks a server needs none of these

    from quarry_dagster.environment import data_root, profile_name
    from quarry_dagster.explain import history
    from quarry_dagster.naming import own_id_of
    from quarry_dagster.profiles.remembered import choose_for
    from quarry_dagster.search import Searcher
    from quarry_dagster.store import Store

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
    _show(rows)


def _show(rows: Sequence[dict[str, Any]]) -> None:
    for row in rows:
        start = " ".join((row["text"] or "").split())[:160]
        note = "  (kept out by the quality policy)" if row.get("is_filtered") else ""
        click.echo(
            f"{row['cosine']:.3f}  {safe(row['url'])}{note}\n       {safe(row['title'] or '')}\n       {safe(start)}"
        )


def _asked(server: str, text: str, k: int) -> list[dict[str, Any]]:
    """What a service answers: rows with cosine, doc_id, url, title, text.

    Raises:
        ConfigError: the address is none, it does not answer, or with a problem, which says what to do.
    """
    import json
    from urllib.error import HTTPError, URLError
    from urllib.request import Request, urlopen

    if not server.startswith(("http://", "https://")):
        raise ConfigError(f"{server!r} is no address of a service: write http:// or https:// before it")
    body = json.dumps({"text": text, "k": k, "with_text": True}).encode()
    headers = {"content-type": "application/json"}
    if key := os.environ.get("QUARRY_SERVER_KEY"):
        headers["authorization"] = f"Bearer {key}"
    try:
        with urlopen(Request(f"{server.rstrip('/')}/v1/similar", body, headers), timeout=_WAITS) as answer:
            return json.load(answer)["results"][0]
    except HTTPError as e:
        try:
            said = json.load(e)["detail"]
        except (ValueError, KeyError, TypeError):
            said = f"HTTP {e.code}: is it a quarry serve?"
        raise ConfigError(f"{server}: {said}") from e
    except (URLError, OSError, ValueError, KeyError, IndexError) as e:
        reason = e.reason if isinstance(e, URLError) else e
        raise ConfigError(f"{server} does not answer as a service: {reason}") from e
