"""What `quarry run --plan` prints."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from quarry_dagster.cli import terminal
from quarry_dagster.cli.options import print_json
from quarry_dagster.cli.seed_reports import print_reports
from quarry_dagster.environment import profile_name
from quarry_dagster.profiles.remembered import choose_for
from quarry_dagster.stages.plan import Plan, Work, plan
from quarry_dagster.stages.redo import duration
from quarry_dagster.store import Store

_HOSTS_SHOWN = 10
_NO_RATE = "this data root has nothing yet to tell by"


def show_plan(
    root: str,
    profile: str | None,
    seed_files: Sequence[str],
    *,
    force: bool,
    refetch: bool,
    only_failed: bool,
    as_json: bool,
) -> None:
    """Print what a run with these seed files, and these words, would do."""
    store = Store(root)
    choice = choose_for(store, profile_name(profile))
    found = plan(store, choice.profile, seed_files, force=force, refetch=refetch, only_failed=only_failed)
    if as_json:
        print_json({"data": root, "profile": choice.profile.name, **found.facts()})
        return

    def say(text: str, colour: str | None = None, *, indent: int = 2) -> None:
        terminal.say(text, colour=colour, indent=indent)

    say(f"profile  {choice.profile.name}: {choice.reason}", indent=9)
    print_reports(found.reports, say)
    _show(found)


def _show(plan: Plan) -> None:
    table = _table("a run would do this; nothing is changed, and no site is asked")
    table.add_row("asks for", _asked(plan))
    if plan.urls:
        table.add_row("at least", f"{_time(plan.politeness)}, because no host is asked faster")
        table.add_row("download", _about(plan.download, "as it is stored here"))
    table.add_row("texts", _work(plan.texts, "extracted"))
    table.add_row("vectors", _work(plan.vectors, "embedded"))
    free = "" if plan.free is None else f", {_size(plan.free)} free"
    table.add_row("disk", _about(plan.disk, "more") + free)
    if plan.is_to_be_confirmed:
        table.add_row("settings", "other than before: the run asks first, or needs --yes")
    _print(table)
    if plan.urls:
        _print(_hosts(plan))


def _asked(plan: Plan) -> str:
    parts = [f"{plan.urls:,} URLs of {plan.hosts.height:,} hosts"] if plan.urls else ["no URL"]
    parts += [f"{plan.new:,} for the first time"] if plan.new else []
    parts += [f"{plan.again:,} again, {plan.conditionally:,} of them only if they changed"] if plan.again else []
    parts += [f"{plan.carried:,} documents come with the seeds"] if plan.carried else []
    return "; ".join(parts)


def _hosts(plan: Plan) -> Table:
    table = _table(None)
    for name in ("host", "new", "again", "delay", "at least"):
        table.add_column(name, justify="left" if name == "host" else "right")
    for host, new, again, delay, seconds in plan.hosts.head(_HOSTS_SHOWN).iter_rows():
        table.add_row(terminal.safe(host or "no host"), f"{new:,}", f"{again:,}", f"{delay:g} s", _time(seconds))
    if not (rest := plan.hosts.slice(_HOSTS_SHOWN)).is_empty():
        new, again = (f"{rest[name].sum():,}" for name in ("new", "again"))
        longest = rest["seconds"].max()
        assert isinstance(longest, float)
        table.add_row(f"{rest.height:,} more hosts", new, again, "", _time(longest))
    return table


def _work(work: Work, done: str) -> str:
    if not work.anew:
        return f"none {done}, {work.reused:,} reused"
    time = _NO_RATE if work.seconds is None else f"about {duration(work.seconds)} on this machine"
    return f"{work.anew:,} {done} at most, {work.reused:,} reused; {time}"


def _about(size: int | None, what: str) -> str:
    return _NO_RATE if size is None else f"about {_size(size)} {what}"


def _size(size: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def _time(seconds: float) -> str:
    return duration(seconds) if seconds else "no time"


def _table(title: str | None) -> Table:
    return Table(title=title, show_header=title is None, title_justify="left", box=None, padding=(0, 2))


def _print(table: Table) -> None:
    # As wide as it gets without a terminal, and without the blanks that fill a line.
    console = Console(width=None if sys.stdout.isatty() else 160, soft_wrap=True)
    with console.capture() as printed:
        console.print(table)
    sys.stdout.write("".join(f"{line.rstrip()}\n" for line in printed.get().splitlines()))
