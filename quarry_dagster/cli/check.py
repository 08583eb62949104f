"""`quarry check`: every asset check, about the tables as they are."""

from __future__ import annotations

import sys
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from quarry_dagster.checks.standing import INPUTS
from quarry_dagster.cli.options import (
    data_option,
    json_option,
    print_json,
    profile_option,
    report_checks,
    strict_option,
)
from quarry_dagster.cli.screen import Screen
from quarry_dagster.cli.terminal import safe
from quarry_dagster.environment import data_root, profile_name
from quarry_dagster.errors import ConfigError
from quarry_dagster.plural import plural
from quarry_dagster.store import Store
from quarry_dagster.store.failed_checks import WHOLE_TABLE, FailedChecks

if TYPE_CHECKING:
    from quarry_dagster.store.integrity import Damage

_GLOBAL = {"sketches": "deduped_corpus", "deduped_corpus": "deduped_corpus", "faiss_index": "faiss_index"}
"""The asset that makes the files of a folder."""


@click.command()
@data_option
@profile_option
@strict_option
@click.option("--deep", is_flag=True, help="Compare every byte of every file with what was written, and no more.")
@click.option("--rebuild-log", is_flag=True, help="Make a lost or damaged log again from the files that are there.")
@json_option
def check(data: str | None, profile: str | None, strict: bool, deep: bool, rebuild_log: bool, as_json: bool) -> None:
    """Ask every check about the corpus as it is, and materialize nothing: a gate for CI.

    Exit status 1 when a check fails whose failure is an error, with --strict when any does; it is named.
    """
    root = data_root(data)
    if rebuild_log:
        _rebuild_log(root, as_json=as_json)
        return
    store = Store.existing(root)
    if deep:
        _compare(store, as_json=as_json)
        return
    if store.deduped_corpus.current() is None:
        raise ConfigError(f"there is no corpus in {root}: quarry run makes one")

    with Screen() as screen:
        from quarry_dagster.orchestration import assets, runner
        from quarry_dagster.stages.corpus.deduped_corpus import REFUSED

        with runner.instance(root) as instance:
            outcome = runner.check(instance, data=root, profile_name=profile_name(profile), watcher=screen)
    if REFUSED in store.failed_checks().standing:
        refused = "the newest corpus was refused, and this one is of before: quarry run says why"
        asset, _, name = REFUSED.partition(".")
        outcome.answers.append(runner.Answer(asset, name, passed=False, is_error=True, summary=refused))
    if as_json:
        status = 1 if outcome.failures or (strict and outcome.warnings) else 0
        answers = [asdict(answer) for answer in outcome.answers]
        print_json({"data": root, "passed": status == 0, "checks": answers, "errors": outcome.errors})
        sys.exit(status)
    width = max((len(f"{a.asset} {a.name}") for a in outcome.answers), default=0)
    for answer in sorted(outcome.answers, key=lambda a: assets.NAMES.index(a.asset)):
        mark = "passed " if answer.passed else "failed " if answer.is_error else "warning"
        click.echo(f"{mark}  {f'{answer.asset} {answer.name}':{width}}  {safe(answer.summary)}")
    sys.exit(report_checks(outcome, strict=strict))


def _compare(store: Store, *, as_json: bool) -> None:
    """Compare every file with what was written; what is damaged and can be made again, the next run makes again."""
    from quarry_dagster.progress import track
    from quarry_dagster.store import integrity

    with Screen(), track("check", None, "files") as advance:
        found = list(integrity.compare(store.files, store.files_of_current(), advance))
    is_sound = not any(each.is_current for each in found)
    for check, partitions in _to_be_made(found).items():
        FailedChecks.note(store.files, check, partitions, partitions, datetime.now(UTC))
    if as_json:
        print_json({"data": store.files.root, "passed": is_sound, "damaged": [asdict(each) for each in found]})
    else:
        for each in found:
            click.echo(f"damaged  {safe(store.files.url(each.path))}: {each.problem}; {each.remedy}")
        click.echo(f"damaged: {plural(len(found), 'file')}" if found else "every file is as it was written")
    sys.exit(0 if is_sound else 1)


def _to_be_made(damaged: list[Damage]) -> dict[str, list[str]]:
    """The checks that stand failed by damage, with the partitions: what stands failed is made anew by the next run."""
    found: dict[str, list[str]] = {}
    for each in damaged:
        if each.table in INPUTS and each.partition:
            found.setdefault(f"{each.table}.contract", []).append(each.partition)
        elif each.is_current and (asset := _GLOBAL.get(each.path.partition("/")[0])):
            found[f"{asset}.contract"] = [WHOLE_TABLE]
    return found


def _rebuild_log(root: str, *, as_json: bool) -> None:
    """Make the log again."""
    from quarry_dagster.store import integrity

    made = integrity.rebuild_log(Store.existing(root).files)
    if as_json:
        print_json({"data": root, **asdict(made)})
        return
    click.echo(f"the log is made again: {made.partitions:,} versions of partitions, {made.values:,} values")
    for path in made.lost:
        click.echo(f"not to be read, and lost: {safe(path)}; what it said of settings, seeds or takedowns is gone")
