"""`quarry forget`: take documents out, and keep them out."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from quarry_dagster.cli.options import data_option, json_option, print_json, profile_option
from quarry_dagster.cli.terminal import safe
from quarry_dagster.environment import data_root, profile_name, who
from quarry_dagster.plural import plural
from quarry_dagster.profiles.remembered import settings_of
from quarry_dagster.store import Acceptance, Store

if TYPE_CHECKING:
    from quarry_dagster.takedown import Plan

_SHOWN = 10


@click.command()
@click.argument("named", metavar="[URL-or-ID-or-HOST]", required=False)
@data_option
@profile_option
@click.option("--dry-run", is_flag=True, help="Only say what would go, and what would stay.")
@click.option("--with-duplicates", is_flag=True, help="Take documents with the same or a near text out, too.")
@click.option("--why", default="", metavar="TEXT", help="What is noted on the list, beside who asked and when.")
@click.option("--list", "is_list", is_flag=True, help="Show what is kept out.")
@click.option("--undo", is_flag=True, help="Take it off the list again: it may come back.")
@click.option("--yes", is_flag=True, help="Do not ask in a terminal.")
@click.option("--accept-shrink", is_flag=True, help="Publish although more documents leave than the bounds allow.")
@json_option
def forget(
    named: str | None,
    data: str | None,
    profile: str | None,
    dry_run: bool,
    with_duplicates: bool,
    why: str,
    is_list: bool,
    undo: bool,
    yes: bool,
    accept_shrink: bool,
    as_json: bool,
) -> None:
    """Take a URL, a document by its id, or every page of a host out of all tables and keep it out for good.

    Bodies, texts and vectors are deleted, not hidden; duplicates of what is taken out come back. Exit status 1, and
    nothing is changed, when the data root has no such page, nor waits for one that a crawled page named. Killed
    half-way, it is ended by the next run.
    """
    from quarry_dagster import takedown
    from quarry_dagster.stages.corpus.deduped_corpus import SHRINK
    from quarry_dagster.stages.corpus_export import unreached

    if is_list == (named is not None):
        raise click.UsageError("name a URL, an id or a host; or give --list alone")
    if undo and (dry_run or with_duplicates):
        raise click.UsageError("--undo goes with neither --dry-run nor --with-duplicates")
    store = Store.existing(data_root(data))
    if is_list:
        _list(store, as_json)
        return
    assert named is not None
    if undo:
        undone = takedown.undo(store, named)
        _say_undone(store, undone, as_json)
        return
    settings = settings_of(store, profile_name(profile))
    planned = takedown.plan(store, named, with_copies=with_duplicates)
    if not dry_run:
        if not yes and not as_json and sys.stdin.isatty():
            _say_plan(planned, "would be taken out")
            click.confirm("Take this out, and keep it out for good?", abort=True, err=True)
        accepted = [Acceptance.now(SHRINK, who())] if accept_shrink else []
        planned.pages = takedown.forget(store, settings, planned, who=who(), why=why, accepted=accepted)
    if as_json:
        others, deleted = unreached(store)
        elsewhere = {"exports_elsewhere": others, "exports_deleted": deleted}
        print_json({"data": store.files.root, "is_dry_run": dry_run, **_stored(planned), **elsewhere})
        return
    _say_plan(planned, "would be taken out" if dry_run else "taken out, and kept out for good")
    _say_exports(*unreached(store))
    if dry_run:
        click.echo("Nothing was changed.")


def _say_exports(places: Sequence[str], deleted: Mapping[str, str]) -> None:
    if deleted:
        click.echo("Exports that could not be written again, and were deleted, for they held what was taken out:")
        _say_some([f"{safe(place)}: {safe(why)}" for place, why in deleted.items()])
    if places:
        click.echo("Exports outside the data root stay as they are: write them again by quarry export, or delete them:")
        _say_some([safe(place) for place in places])


def _say_plan(planned: Plan, what: str) -> None:
    click.echo(f"{safe(planned.named)}: {plural(planned.pages, 'page')} {what}")
    urls = planned.copies["url"].to_list()
    if urls and planned.with_copies:
        click.echo(f"With {plural(len(urls), 'document')} of the same or a near text:")
    elif urls:
        click.echo(
            f"The same or a near text stays in {plural(len(urls), 'document')} (--with-duplicates takes them too):"
        )
    _say_some([safe(url) for url in urls])
    if planned.holders:
        count = plural(len(planned.holders), "further document")
        click.echo(f"Most of its text stands in {count} too, which go only where they are named themselves:")
        _say_some([safe(url) for url in planned.holders])
    if planned.held is not None:
        click.echo(f"Corpus {planned.held} is held: the hold ends with the corpus that is published")
    if planned.tags:
        click.echo(f"Corpora of before go, with their tags: {', '.join(map(safe, planned.tags))}")
    if planned.seeds:
        click.echo("Its text stays in seed files, which are yours: take it out there, or it stands on your disk")
        _say_some([f"{safe(name)}, {_lines(lines)}" for name, lines in sorted(planned.seeds.items())])


def _say_some(lines: list[str]) -> None:
    for line in lines[:_SHOWN]:
        click.echo(f"  {line}")
    if len(lines) > _SHOWN:
        click.echo(f"  and {len(lines) - _SHOWN:,} more")


def _lines(lines: list[int]) -> str:
    shown = ", ".join(f"{line:,}" for line in sorted(lines)[:_SHOWN])
    more = f" and {len(lines) - _SHOWN:,} more" if len(lines) > _SHOWN else ""
    return f"{'line' if len(lines) == 1 else 'lines'} {shown}{more}"


def _stored(planned: Plan) -> dict[str, Any]:
    return {
        "named": planned.named,
        "key": planned.key,
        "pages": planned.pages,
        "copies": planned.copies.select("doc_id", "url").to_dicts(),
        "copies_go": planned.with_copies,
        "holders": planned.holders,
        "tags": planned.tags,
        "held": planned.held,
        "seeds": planned.seeds,
    }


def _list(store: Store, as_json: bool) -> None:
    found = sorted(store.forgotten().takedowns, key=lambda each: (each.at, each.key))
    if as_json:
        print_json({"data": store.files.root, "takedowns": [{"key": each.key, **each.stored()} for each in found]})
        return
    for each in found:
        by = f" by {safe(each.who)}" if each.who else ""
        state = "" if each.applied else " (not ended: the next run ends it)"
        reason = f": {safe(each.why)}" if each.why else ""
        click.echo(f"{each.day}  {safe(each.key)}{by}{state}{reason}")
    if not found:
        click.echo("nothing is kept out")


def _say_undone(store: Store, undone: Any, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "data": store.files.root,
                "key": undone.key,
                "crawled": undone.crawled,
                "given": undone.given,
                "seeds": undone.seeds,
            }
        )
        return
    click.echo(f"{safe(undone.key)} is off the list")
    if undone.crawled:
        click.echo(f"{plural(undone.crawled, 'page')} to be crawled: with the next crawl, or quarry run --refetch")
    if undone.given:
        click.echo(f"{plural(undone.given, 'given document')}: with the next run, where these seeds are in the inbox")
        _say_some([safe(name) for name in undone.seeds])
