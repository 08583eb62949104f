"""`quarry forget`: take documents out, and keep them out."""

from __future__ import annotations

import click

from quarry_dagster.cli.options import data_option, profile_option
from quarry_dagster.environment import data_root, profile_name
from quarry_dagster.profiles.choose import choose_profile
from quarry_dagster.store import Store


@click.command()
@click.argument("url_or_host", metavar="URL-or-HOST")
@data_option
@profile_option
def forget(url_or_host: str, data: str | None, profile: str | None) -> None:
    """Take a URL, or every page of a host, out of all tables and keep it out for good.

    Bodies, texts and vectors are deleted, not hidden; duplicates of what is taken out come back.
    """
    from quarry_dagster import takedown

    store = Store.existing(data_root(data))
    pages = takedown.forget(store, choose_profile(profile_name(profile)).profile, url_or_host)
    click.echo(f"{url_or_host}: {pages} pages taken out; it will not be crawled again")
    click.echo("Seed files that you keep, in the inbox too, are not changed.")
