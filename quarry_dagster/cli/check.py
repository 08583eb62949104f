"""`quarry check`: every asset check, about the tables as they are."""

from __future__ import annotations

import sys
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
from quarry_dagster.cli.terminal import safe
from quarry_dagster.environment import data_root, profile_name
from quarry_dagster.errors import ConfigError
from quarry_dagster.store import Store


@click.command()
@data_option
@profile_option
@strict_option
@json_option
def check(data: str | None, profile: str | None, strict: bool, as_json: bool) -> None:
    """Ask every check about the corpus as it is, and materialize nothing: a gate for CI.

    Exit status 1 when a check fails whose failure is an error, with --strict when any does; it is named.
    """
    root = data_root(data)
    store = Store(root)
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
