"""`quarry run`: seeds to corpus, through Dagster, with progress and a summary."""

from __future__ import annotations

import logging
import resource
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
import polars as pl
from rich.console import Console
from rich.table import Table

from quarry_dagster import takedown
from quarry_dagster.checks.standing import is_accepted
from quarry_dagster.checks.total_failure import total_failures
from quarry_dagster.cli.options import data_option, profile_option, report_checks, strict_option
from quarry_dagster.cli.plan import show
from quarry_dagster.cli.seed_reports import print_reports
from quarry_dagster.crawl import allowed_networks
from quarry_dagster.crawl.addresses import REMEDY
from quarry_dagster.embed import check_ready
from quarry_dagster.environment import allowed_addresses, data_root, profile_name
from quarry_dagster.errors import ConfigError
from quarry_dagster.intake import put, take_in_seeds
from quarry_dagster.profiles.remembered import choose_for
from quarry_dagster.profiles.settings import HardwareProfile
from quarry_dagster.reader import scan
from quarry_dagster.stages import corpus_report
from quarry_dagster.stages.backlog import backlog
from quarry_dagster.stages.failed import failed_partitions
from quarry_dagster.stages.plan import plan
from quarry_dagster.stages.redo import adopt, redo
from quarry_dagster.store import Store
from quarry_dagster.store.schemas import CAME_OF_IT, EXTRACTED, HELD

if TYPE_CHECKING:
    from quarry_dagster.orchestration.runner import Outcome

_SEEDS_SHOWN = 5


@click.command()
@click.argument("seed_files", metavar="[SEEDS]...", nargs=-1, type=click.Path())
@data_option
@profile_option
@strict_option
@click.option("--plan", "is_plan", is_flag=True, help="Say what would be fetched and made, and change nothing.")
@click.option("--dedup-only", is_flag=True, help="Decide again on the texts that are there: crawl and embed nothing.")
@click.option("--force", is_flag=True, help="Do all work again although nothing changed; never passes a failed check.")
@click.option("--refetch", is_flag=True, help="Ask for every page again, whether or not it changed.")
@click.option(
    "--only", type=click.Choice(["failed"]), help="Ask again only for what failed, and for no page that came; no SEEDS."
)
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
) -> None:
    """Take in SEEDS (and whatever waits in the inbox), materialize all five assets, print a summary.

    Seeds: .txt, .csv, .jsonl, .parquet, .xml (sitemap), .warc, .warc.gz, .wacz; they are copied to the inbox.
    Exit status 1 when an asset or a blocking check failed, when no seed line was usable, no page came or no document
    of this run was accepted; what failed is named.
    """
    if dedup_only and (seed_files or refetch):
        raise click.UsageError("--dedup-only takes in no seeds, and asks for no page")
    if is_plan and dedup_only:
        raise click.UsageError("--plan is about what is fetched, and --dedup-only fetches nothing")
    if only and (seed_files or refetch or dedup_only):
        raise click.UsageError("--only failed takes in no seeds, and goes neither with --refetch nor with --dedup-only")
    start = time.monotonic()
    _log_progress()
    root = data_root(data)
    store = Store(root)
    choice = choose_for(store, profile_name(profile))
    settings = choice.profile
    click.echo(f"profile {settings.name}: {choice.reason}", err=True)
    _check_names(accepted)
    if is_plan:
        show(plan(store, settings, seed_files, force=force, refetch=refetch, only_failed=only is not None))
        return
    if not dedup_only:
        check_ready(settings)
    _adopt(store, settings, yes=yes, texts_stay=dedup_only)
    put(store, seed_files)
    store.sweep()
    if takedown.is_unfinished(store):
        takedown.empty(store, store.forgotten())  # one that was killed; the corpus of this run ends it
    reports = []
    if not dedup_only and not only:
        reports = take_in_seeds(store, settings, allowed_networks(allowed_addresses()))
    print_reports(reports)

    # Dagster takes a second to import: not before the user has seen that their seeds were read.
    from quarry_dagster.orchestration import asset_checks, runner
    from quarry_dagster.orchestration.partitions import sync_partitions

    with runner.instance(root) as instance:
        partitions = sync_partitions(instance, store)
        if not partitions and store.deduped_corpus.current() is None:
            click.echo(f"nothing to do: no seeds in {store.files.url('seeds')}; give seed files or drop some there")
            sys.exit(0 if not any(r.problem_count for r in reports) else 1)

        if only:
            partitions = failed_partitions(store)
            if not partitions:
                click.echo("nothing failed: no page is asked for again", err=True)

        def found() -> list[str]:
            """Take in the pages that a crawl found for seeds that ask for more; the partitions that wait then."""
            if only:
                return []
            more = take_in_seeds(store, settings, allowed_networks(allowed_addresses()))
            print_reports(more)
            sync_partitions(instance, store)
            return list(backlog(store))

        outcome = runner.materialize(
            instance,
            [] if dedup_only else partitions,
            data=root,
            profile_name=profile_name(profile),
            profile=settings,
            further=found,
            config=asset_checks.run_config(
                force=force, refetch=refetch, only=only, accept_shrink=accept_shrink, accept_check=accepted
            ),
            tags=_tags(seed_files, settings.name),
        )
    if not outcome.errors:
        outcome.errors += total_failures(store, reports, crawled=not dedup_only)
    try:
        _print_summary(store, outcome, time.monotonic() - start)
    finally:  # what failed is named even where it left no table to sum up
        status = report_checks(outcome, strict=strict)
    sys.exit(status)


def _check_names(accepted: Sequence[str]) -> None:
    """Refuse a name of no blocking check, before anything is done."""
    if accepted:
        from quarry_dagster.orchestration.asset_checks import BLOCKING

        if unknown := [name for name in accepted if not any(is_accepted(check, [name]) for check in BLOCKING)]:
            raise click.UsageError(f"no check {unknown[0]!r} blocks; those that do: {', '.join(BLOCKING)}")


def _adopt(store: Store, settings: HardwareProfile, *, yes: bool, texts_stay: bool) -> None:
    """Say what other settings do anew, ask where it is much, and let the data root remember them."""
    planned = redo(store, settings)
    if texts_stay and (planned.extracted or planned.embedded):
        raise ConfigError(
            f"these settings make {max(planned.extracted, planned.embedded):,} texts or vectors anew, which "
            "--dedup-only does not: run without it, or with settings that differ in deduplication alone"
        )
    is_asked = planned.is_to_be_confirmed and not yes and sys.stdin.isatty()
    if is_asked or yes or not planned.is_to_be_confirmed:
        for line in planned.lines(store, settings):
            click.secho(f"{planned.cause}: {line}", fg="yellow", err=True)
    if is_asked:
        click.confirm("Do this?", abort=True, err=True)
    adopt(store, settings, confirmed=yes or is_asked, how="give --yes")


def _tags(seed_files: Sequence[str], profile: str) -> dict[str, str]:
    """What the UI shows of a run that this command made."""
    names = ", ".join(Path(seed).name for seed in seed_files[:_SEEDS_SHOWN])
    more = f" and {len(seed_files) - _SEEDS_SHOWN} more" if len(seed_files) > _SEEDS_SHOWN else ""
    seeds = {"quarry/seeds": f"{names}{more}"} if seed_files else {}
    return {"quarry/command": shlex.join(["quarry", *sys.argv[1:]]), "quarry/profile": profile} | seeds


def _log_progress() -> None:
    """Our own log lines go to stderr as they are; those of libraries stay out of the way."""
    logger = logging.getLogger("quarry_dagster")
    logger.setLevel(logging.INFO)
    logger.addHandler(logging.StreamHandler())
    logger.propagate = False


def _print_summary(store: Store, outcome: Outcome, seconds: float) -> None:
    root = store.files.root
    pages = dict(scan("raw_pages", root).group_by(CAME_OF_IT).len().sort("outcome").collect().iter_rows())
    held = scan("raw_pages", root).filter(HELD).select(pl.len()).collect().item()
    texts = dict(scan("extracted_text", root).group_by("outcome").len().sort("outcome").collect().iter_rows())
    removed = dict(scan("dedup_decisions", root).group_by("level").len().sort("level").collect().iter_rows())
    kept = scan("deduped_corpus", root).select(pl.len()).collect().item()
    table = Table(title="QuarryCore", show_header=False, title_justify="left", box=None, padding=(0, 2))
    table.add_row("pages", _counts(pages))
    if held:
        table.add_row("held", f"{held:,} pages that did not come this time, as they were before")
    if "blocked_address" in pages:
        table.add_row("blocked", REMEDY)
    table.add_row("documents", f"{texts.get(EXTRACTED, 0):,} accepted of {sum(texts.values()):,}")
    table.add_row("not accepted", _counts({k: n for k, n in texts.items() if k != EXTRACTED}))
    table.add_row("kept", f"{kept:,}" + (", of before: the new corpus is refused" if outcome.shrank else ""))
    if outcome.loss:
        table.add_row("left", outcome.loss)
    table.add_row("removed", _counts(removed))
    table.add_row("checks", _judged(outcome))
    table.add_row("worked on", _counts(outcome.worked))
    table.add_row("time", f"{seconds:.1f} s" + "".join(f", {k} {s:.1f}" for k, s in outcome.seconds.items()))
    table.add_row("memory", f"{_peak_mib():,.0f} MiB at its peak, {_peak_mib(workers=True):,.0f} in a worker process")
    table.add_row("files written", f"{outcome.written:,}")
    if (files := store.files).exists(corpus_report.PATH):
        table.add_row("report", files.url(corpus_report.PATH))
    table.add_row("corpus", f'{root}: quarry_dagster.scan("deduped_corpus", data="{root}")')
    Console(width=None if sys.stdout.isatty() else 160, soft_wrap=True).print(table)


def _judged(outcome: Outcome) -> str:
    """How many checks passed, failed and warned."""
    failed = len([a for a in outcome.answers if not a.passed and a.is_error])
    warned, passed = len(outcome.warnings), len([a for a in outcome.answers if a.passed])
    parts = [f"{passed} passed", *([f"{failed} failed"] if failed else []), *([f"{warned} warned"] if warned else [])]
    return ", ".join(parts)


def _peak_mib(*, workers: bool = False) -> float:
    """The most memory that this process has had, or any of its children."""
    peak = resource.getrusage(resource.RUSAGE_CHILDREN if workers else resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def _counts(counts: dict[str, int]) -> str:
    total = sum(counts.values())
    return f"{total:,}" + (f" ({', '.join(f'{n:,} {k}' for k, n in counts.items())})" if counts else "")
