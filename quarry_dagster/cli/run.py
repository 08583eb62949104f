"""`quarry run`: seeds to corpus, through Dagster, with progress and a summary."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import asdict

import click

from quarry_dagster.cli.options import (
    data_option,
    json_option,
    print_json,
    profile_option,
    report_checks,
    strict_option,
)
from quarry_dagster.cli.screen import Screen
from quarry_dagster.environment import data_root


@click.command()
@click.argument("seed_files", metavar="[SEEDS]...", nargs=-1, type=click.Path())
@data_option
@profile_option
@strict_option
@json_option
@click.option("--plan", "is_plan", is_flag=True, help="Say what would be fetched and made, and change nothing.")
@click.option("--dedup-only", is_flag=True, help="Decide again on the texts that are there: crawl and embed nothing.")
@click.option("--force", is_flag=True, help="Do all work again although nothing changed; never passes a failed check.")
@click.option("--refetch", is_flag=True, help="Ask for every page again, whether or not it changed.")
@click.option("--only", type=click.Choice(["failed"]), help="Ask again for what failed, and for nothing else.")
@click.option("--accept-shrink", is_flag=True, help="Publish although more documents leave than the bounds allow.")
@click.option(
    "--accept-check",
    "accepted",
    metavar="NAME",
    multiple=True,
    help="Publish although this check stands failed, such as contract or raw_pages.contract; may be repeated.",
)
@click.option(
    "--yes", is_flag=True, help="Other settings are meant: what they make anew, and what leaves the corpus by them."
)
def run(
    seed_files: Sequence[str],
    data: str | None,
    profile: str | None,
    strict: bool,
    is_plan: bool,
    dedup_only: bool,
    force: bool,
    refetch: bool,
    only: str | None,
    accept_shrink: bool,
    accepted: Sequence[str],
    yes: bool,
    as_json: bool,
) -> None:
    """Take in SEEDS (and whatever waits in the inbox), make all assets from pages to the report, print a summary.

    Seeds: .txt, .csv, .jsonl, .parquet, .xml (sitemap), .warc, .warc.gz, .wacz, and folders of these; they are copied
    to the inbox.
    Exit status 1 when an asset or a blocking check failed, when no seed line was usable, no page came or no document
    of this run was accepted; what failed is named.
    """
    if only and (seed_files or refetch or dedup_only):
        raise click.UsageError("--only failed takes in no seeds, and goes neither with --refetch nor with --dedup-only")
    if dedup_only and (seed_files or refetch):
        raise click.UsageError("--dedup-only takes in no seeds, and asks for no page")
    if is_plan and dedup_only:
        raise click.UsageError("--plan is about what is fetched, and --dedup-only fetches nothing")
    start = time.monotonic()
    root = data_root(data)
    if is_plan:
        from quarry_dagster.cli.plan import show_plan

        show_plan(root, profile, seed_files, force=force, refetch=refetch, only_failed=bool(only), as_json=as_json)
        return
    with Screen() as screen:
        # Before all that is slow to load: whoever started this is to see at once that it runs.
        screen.say(f"data     {root}", indent=9)
        from quarry_dagster.cli import steps, summary

        prepared = steps.prepare(
            screen, root, profile, accepted, seed_files, dedup_only=dedup_only, only_failed=bool(only), yes=yes
        )
        outcome = steps.materialize(
            screen,
            prepared,
            force=force,
            refetch=refetch,
            accept_shrink=accept_shrink,
            accepted=accepted,
        )
    if outcome is None and as_json:
        print_json({"data": root, "nothing_to_do": True, "seeds": [asdict(r) for r in prepared.reports]})
        sys.exit(1 if any(r.problem_count for r in prepared.reports) else 0)
    if outcome is None:
        is_bad = any(r.problem_count for r in prepared.reports)
        none = f"no seeds in {prepared.inbox}; give seed files or drop some there"
        click.echo(f"nothing to do: {'no seed could be read; what is wrong is said above' if is_bad else none}")
        sys.exit(1 if is_bad else 0)
    try:
        found = summary.summarize(prepared.store, outcome, time.monotonic() - start)
        if as_json:
            print_json(summary.facts(found, prepared.reports, outcome))
        else:
            summary.print_summary(found)
    finally:  # what failed is named even where it left no table to sum up
        status = report_checks(outcome, strict=strict)
    sys.exit(status)
