"""What `quarry run --plan` prints."""

from __future__ import annotations

from collections.abc import Sequence

from quarry_dagster.cli import terminal
from quarry_dagster.cli.options import print_json
from quarry_dagster.cli.seed_reports import print_passed_over, print_reports
from quarry_dagster.environment import profile_name
from quarry_dagster.plural import plural
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
    for remark in choice.remarks:
        say(f"         {remark}", "yellow", indent=9)
    print_passed_over(seed_files, say)
    print_reports(found.reports, say)
    terminal.print_rows(_rows(found))


def _rows(plan: Plan) -> list[tuple[str, str]]:
    rows = [("a run would", f"ask for {_asked(plan)}; now nothing is changed, and no site is asked")]
    if plan.urls:
        rows += _hosts(plan)
        rows += [
            ("at least", f"{_time(plan.politeness)}, because no host is asked faster"),
            ("download", _about(plan.download, "as it is stored here")),
        ]
    free = "" if plan.free is None else f", {_size(plan.free)} free"
    rows += [
        ("texts", _work(plan.texts, "extracted")),
        ("vectors", _work(plan.vectors, "embedded")),
        ("disk", _about(plan.disk, "more") + free),
    ]
    if plan.is_to_be_confirmed:
        rows.append(("settings", "other than before: the run asks first, or needs --yes"))
    return rows


def _asked(plan: Plan) -> str:
    of = f" of {plural(plan.hosts.height, 'host')}"
    parts = [plural(plan.urls, "URL") + of] if plan.urls else ["no URL"]
    parts += [f"{plan.new:,} for the first time"] if plan.new else []
    parts += [f"{plan.again:,} again, {plan.conditionally:,} of them only if they changed"] if plan.again else []
    comes = "document comes with the seeds", "documents come with the seeds"
    parts += [plural(plan.carried, *comes)] if plan.carried else []
    return "; ".join(parts)


def _hosts(plan: Plan) -> list[tuple[str, str]]:
    """A row a host, those first that take longest."""
    told = [
        _host(terminal.safe(name or "no host"), new, again, f", one each {delay:g} s" if delay else "", seconds)
        for name, new, again, delay, seconds in plan.hosts.head(_HOSTS_SHOWN).iter_rows()
    ]
    if not (rest := plan.hosts.slice(_HOSTS_SHOWN)).is_empty():
        longest = rest["seconds"].max()
        assert isinstance(longest, float)
        told.append(_host(f"{rest.height:,} more", int(rest["new"].sum()), int(rest["again"].sum()), "", longest))
    return [("" if place else "hosts", text) for place, text in enumerate(told)]


def _host(name: str, new: int, again: int, delay: str, seconds: float) -> str:
    counts = [f"{count:,} {what}" for count, what in ((new, "new"), (again, "again")) if count]
    return f"{name}: {' and '.join(counts)}{delay}, at least {_time(seconds)}"


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
