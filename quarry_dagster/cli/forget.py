"""`quarry forget`: take documents out, and keep them out."""

from __future__ import annotations

import click

from quarry_dagster.cli.options import data_option, json_option, print_json, profile_option
from quarry_dagster.cli.terminal import safe
from quarry_dagster.environment import data_root, profile_name, who
from quarry_dagster.plural import plural
from quarry_dagster.profiles.remembered import settings_of
from quarry_dagster.store import Acceptance, Store


@click.command()
@click.argument("url_or_host", metavar="URL-or-ID-or-HOST")
@data_option
@profile_option
@click.option("--accept-shrink", is_flag=True, help="Publish although more documents leave than the bounds allow.")
@json_option
def forget(url_or_host: str, data: str | None, profile: str | None, accept_shrink: bool, as_json: bool) -> None:
    """Take a URL, a document by its id, or every page of a host out of all tables and keep it out for good.

    Bodies, texts and vectors are deleted, not hidden; duplicates of what is taken out come back. Exit status 1, and
    nothing is changed, when the data root has no such page, nor waits for one that a crawled page named.
    """
    from quarry_dagster import takedown
    from quarry_dagster.stages.corpus.deduped_corpus import SHRINK

    store = Store.existing(data_root(data))
    accepted = [Acceptance.now(SHRINK, who())] if accept_shrink else []
    pages = takedown.forget(store, settings_of(store, profile_name(profile)), url_or_host, accepted=accepted)
    if as_json:
        print_json({"data": store.files.root, "named": url_or_host, "pages": pages})
        return
    click.echo(f"{safe(url_or_host)}: {plural(pages, 'page')} taken out; it will not be crawled again")
    click.echo("Seed files that you keep, in the inbox too, are not changed.")
