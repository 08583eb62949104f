"""`quarry try`: one page, without a data root."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from quarry_dagster.cli.options import json_option, print_json, profile_option
from quarry_dagster.cli.terminal import safe
from quarry_dagster.environment import allowed_addresses, profile_name
from quarry_dagster.plural import plural

if TYPE_CHECKING:
    from quarry_dagster.trial import Trial

_BEGINNING = 500
_SOURCES = {
    "head": "as the page's head names it",
    "byline": "of a byline",
    "meta": "marked in the page's head",
    "json_ld": "marked in its JSON-LD",
    "markup": "marked where it stands",
    "url": "of its address",
    "text": "written in its text",
    "later": "none: the page names a day that is yet to come",
}
"""Where an author or a date was found, in words."""


@click.command("try")
@click.argument("url_or_file", metavar="URL-or-FILE")
@click.option("--text", "all_text", is_flag=True, help="Print the whole text.")
@profile_option
@json_option
def try_page(url_or_file: str, all_text: bool, profile: str | None, as_json: bool) -> None:
    """Fetch one page (or read a file) and extract it, as a run would: what robots.txt, the page and the extractor say.

    Nothing is kept, and no data root is needed. Exit status 1 when a run would not make a document of it.
    """
    from quarry_dagster import trial
    from quarry_dagster.crawl import allowed_networks
    from quarry_dagster.profiles.choose import choose_profile

    choice = choose_profile(profile_name(profile))
    found = trial.try_page(url_or_file, choice.profile, allowed_networks(allowed_addresses()))
    if as_json:
        print_json({**asdict(found), "is_document": found.is_document, "profile": choice.profile.name})
    else:
        _print(found, all_text=all_text)
    sys.exit(0 if found.is_document else 1)


def _print(found: Trial, *, all_text: bool) -> None:
    for robots in found.robots:
        delay = f"; it asks for {robots.crawl_delay:g} s between two requests" if robots.crawl_delay else ""
        _line("robots", f"{robots.url} {robots.said}{delay}")
    _line("consent", found.consent)
    for url in found.redirects:
        _line("redirect", url)
    _line("address", found.final_url or found.url)
    facts = [found.outcome, f"HTTP {found.status}" if found.status else "", found.content_type or ""]
    facts += [plural(found.bytes, "byte") if found.bytes is not None else "", found.detail or ""]
    _line("page", ", ".join(filter(None, facts)))
    _line("remedy", found.remedy)
    if (text := found.text) is None:
        return
    _line("text", f"{text.outcome}{f', {text.detail}' if text.detail else ''}, by {text.extractor}")
    _line("title", text.title or "none")
    _line("author", _with_source(text.author, text.author_source))
    _line("date", _with_source(text.date, text.date_source))
    _line("kind", ", by ".join(filter(None, (text.page_type, text.page_type_source))) or None)
    _line("language", text.language or "too short to tell")
    _line("words", f"{text.word_count:,}{f', {text.text_format}' if text.text_format else ''}")
    shown = text.text or ""
    rest = len(shown) - _BEGINNING
    if shown:
        click.echo()
        for line in (shown if all_text else shown[:_BEGINNING]).splitlines():
            click.echo(f"  {safe(line)}")
    if not all_text and rest > 0:
        click.echo(f"  ... and {plural(rest, 'character')} more: --text prints the whole")


def _with_source(value: str | None, source: str | None) -> str:
    """The value and where it comes from, in words."""
    return f"{value}, {_SOURCES[source]}" if value and source else _SOURCES["later"] if source == "later" else "none"


def _line(name: str, what: str | None) -> None:
    if what:
        click.echo(f"{name:>9}  {safe(what)}")
