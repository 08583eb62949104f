"""The steps of `quarry run`, with all that they load."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import click

from quarry_dagster import takedown
from quarry_dagster.checks.standing import is_accepted
from quarry_dagster.checks.total_failure import total_failures
from quarry_dagster.cli.screen import Screen
from quarry_dagster.cli.seed_reports import print_passed_over, print_reports
from quarry_dagster.crawl import allowed_networks
from quarry_dagster.domains import load
from quarry_dagster.embed import check_ready
from quarry_dagster.environment import allowed_addresses, check_dagster_home, profile_name
from quarry_dagster.errors import ChecksFailedError, ConfigError, CorpusShrankError
from quarry_dagster.intake import Ledger, SeedReport, files_of, put, take_in_seeds
from quarry_dagster.intake.inbox import settings_of, waiting
from quarry_dagster.profiles.remembered import choose_for, named_classifiers, named_processors
from quarry_dagster.profiles.settings import HardwareProfile
from quarry_dagster.stages.backlog import backlog
from quarry_dagster.stages.failed import failed_partitions
from quarry_dagster.stages.quality_signals import ruling_of, scorers_of
from quarry_dagster.stages.redo import adopt, redo
from quarry_dagster.stages.sweep import sweep
from quarry_dagster.store import Store

if TYPE_CHECKING:
    from quarry_dagster.orchestration.runner import Outcome

_SEEDS_SHOWN = 5


@dataclass
class Prepared:
    """What a run works on: the settings are adopted, and the seeds taken in."""

    store: Store
    profile: str | None
    """As the user named it."""
    settings: HardwareProfile
    seed_files: Sequence[str]
    dedup_only: bool
    only_failed: bool
    reports: list[SeedReport] = field(default_factory=list)

    @property
    def inbox(self) -> str:
        return self.store.files.url("seeds")


def prepare(
    screen: Screen,
    root: str,
    profile: str | None,
    accepted: Sequence[str],
    seed_files: Sequence[str],
    *,
    dedup_only: bool,
    only_failed: bool,
    yes: bool,
) -> Prepared:
    """Settle the settings, and take in the seeds.

    Raises:
        QuarryError: what a user can act on.
    """
    store = Store(root)
    allowed_networks(allowed_addresses())  # what is wrong with the settings is told before anything is made
    check_dagster_home(Path(store.files.full(".dagster")) if store.files.is_local else None)
    choice = choose_for(store, profile_name(profile))
    if not seed_files and store.files.is_local and not store.files.exists(""):
        raise ConfigError(f"there is no data root {root}: name one by --data, or give seeds to begin it")
    settings = choice.profile
    screen.say(f"profile  {settings.name}: {choice.reason}", indent=9)
    for remark in choice.remarks:
        screen.say(f"         {remark}", "yellow", indent=9)
    load(named_processors(store, profile_name(profile), settings))  # what is missing is told before anything is done
    scorers_of(named_classifiers(store, profile_name(profile), settings))
    ruling_of(settings.quality)
    _check_names(accepted)
    if not dedup_only:
        check_ready(settings)
    files_of(seed_files)  # a name that is no seed's is told before anything is remembered
    print_passed_over(seed_files, screen.say)
    _adopt(screen, store, settings, yes=yes, texts_stay=dedup_only)
    put(store, seed_files)
    sweep(store)
    try:
        takedown.resume(store, settings)
    except (CorpusShrankError, ChecksFailedError) as e:
        screen.say(str(e), "yellow")
    prepared = Prepared(store, profile_name(profile), settings, seed_files, dedup_only, only_failed)
    if not (dedup_only or only_failed):
        prepared.reports = _take_in(screen, store, settings, [name for name, _ in files_of(seed_files)])
    return prepared


def materialize(
    screen: Screen,
    prepared: Prepared,
    *,
    force: bool,
    refetch: bool,
    accept_shrink: bool,
    accepted: Sequence[str],
) -> Outcome | None:
    """Run all assets over what was prepared; None where there is nothing to do."""
    store, settings, root = prepared.store, prepared.settings, prepared.store.files.root
    # Dagster takes a second to import: not before the user has seen that their seeds were read.
    screen.doing("starting Dagster")
    from quarry_dagster.orchestration import asset_checks, runner
    from quarry_dagster.orchestration.partitions import sync_partitions

    with runner.instance(root) as instance:
        partitions = sync_partitions(instance, store)
        wanted = [] if prepared.dedup_only else failed_partitions(store) if prepared.only_failed else partitions
        if prepared.only_failed and not wanted:
            screen.say("nothing failed: no page is asked for again", indent=9)
        if not partitions and store.deduped_corpus.current() is None:
            return None

        def found() -> list[str]:
            """Take in the pages that a crawl found for seeds that ask for more; the partitions that wait then."""
            if prepared.only_failed:
                return []
            _take_in(screen, store, settings)
            sync_partitions(instance, store)
            return list(backlog(store))

        outcome = runner.materialize(
            instance,
            wanted,
            data=root,
            profile_name=prepared.profile,
            profile=settings,
            further=found,
            config=asset_checks.run_config(
                force=force,
                refetch=refetch,
                only="failed" if prepared.only_failed else None,
                accept_shrink=accept_shrink,
                accept_check=accepted,
            ),
            tags=_tags(prepared.seed_files, settings.name),
            watcher=screen,
        )
    if not outcome.errors:
        outcome.errors += _emptied_mirrors(store, prepared.reports) or total_failures(
            store, prepared.reports, crawled=not prepared.dedup_only
        )
    return outcome


def _take_in(
    screen: Screen, store: Store, settings: HardwareProfile, at_once: Collection[str] = ()
) -> list[SeedReport]:
    """Take in what waits in the inbox, those `at_once` as they are, and say what it was.

    A file that may still be being written is waited for, for as long as one that does not change may be.
    """
    if seconds := waiting(store, Ledger.read(store), at_once=at_once).settles_in:
        screen.doing("waiting for a seed that may still be being written")
        time.sleep(seconds)
    reports = take_in_seeds(store, settings, allowed_networks(allowed_addresses()), at_once=at_once)
    print_reports(reports, screen.say)
    return reports


def _emptied_mirrors(store: Store, reports: Sequence[SeedReport]) -> list[str]:
    """What is said of mirrors that name nothing, where no other seed of the run named anything either."""
    if any(report.urls > report.invalid for report in reports):
        return []
    return [
        f"{report.name} is a mirror, and names no document now. None leaves by it, since the file may be cut off: put "
        "its rows back, or take documents out by quarry forget"
        for report in reports
        if not report.error and settings_of(store, report.name).mirror
    ]


def _check_names(accepted: Sequence[str]) -> None:
    """Refuse a name of no blocking check, before anything is done."""
    if accepted:
        from quarry_dagster.orchestration.asset_checks import BLOCKING

        if unknown := [name for name in accepted if not any(is_accepted(check, [name]) for check in BLOCKING)]:
            raise click.UsageError(f"no check {unknown[0]!r} blocks; those that do: {', '.join(BLOCKING)}")


def _adopt(screen: Screen, store: Store, settings: HardwareProfile, *, yes: bool, texts_stay: bool) -> None:
    """Say what other settings do anew, ask where it is much, and let the data root remember them."""
    planned = redo(store, settings)
    if texts_stay and (planned.extracted or planned.embedded):
        others = ", ".join(sorted(planned.sections - {"deduplication"}))
        why = f"the profile differs in {others}, too: what it leaves out is as by default" if others else planned.why
        raise ConfigError(
            f"these settings make {max(planned.extracted, planned.embedded):,} texts or vectors anew, which "
            f"--dedup-only does not ({why}); change a copy of the profile that the data root was made with in its "
            "section deduplication alone, or run without --dedup-only"
        )
    is_asked = planned.is_to_be_confirmed and not yes and sys.stdin.isatty()
    if is_asked or yes or not planned.is_to_be_confirmed:
        for line in planned.lines(store, settings):
            screen.say(f"{planned.cause}: {line}", "yellow")
    if is_asked:
        screen.confirm("Do this?")
    adopt(store, settings, confirmed=yes or is_asked, how="give --yes")


def _tags(seed_files: Sequence[str], profile: str) -> dict[str, str]:
    """What the UI shows of a run that this command made."""
    names = ", ".join(Path(seed).name for seed in seed_files[:_SEEDS_SHOWN])
    more = f" and {len(seed_files) - _SEEDS_SHOWN} more" if len(seed_files) > _SEEDS_SHOWN else ""
    seeds = {"quarry/seeds": f"{names}{more}"} if seed_files else {}
    return {"quarry/command": shlex.join(["quarry", *sys.argv[1:]]), "quarry/profile": profile} | seeds
