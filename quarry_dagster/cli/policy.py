"""`quarry policy`: what quality policies there are, what one says, and what it would take."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from quarry_dagster.cli.options import data_option, json_option, print_json
from quarry_dagster.cli.terminal import safe
from quarry_dagster.environment import data_root
from quarry_dagster.errors import ConfigError
from quarry_dagster.plural import plural

if TYPE_CHECKING:
    import polars as pl

    from quarry_dagster.policy_report import OfRule, PolicyReport
    from quarry_dagster.quality.policy import Policy, Rule

_SHOWN = 10


@click.group()
def policy() -> None:
    """Quality policies: the rules by which documents are kept out of the corpus, or said to fail.

    A profile names one in `quality.policy`; the commands here change nothing.
    """


@policy.command("list")
@json_option
def list_policies(as_json: bool) -> None:
    """The policies that come with QuarryCore."""
    found = [_read(name) for name in _shipped()]
    if as_json:
        print_json({"policies": [{"policy": n, **_facts(each)} for n, each in zip(_shipped(), found, strict=True)]})
        return
    for name, each in zip(_shipped(), found, strict=True):
        click.echo(
            f"{name:<12} {each.action:<9} {plural(len(each.rules), 'rule'):<9} {' '.join(each.description.split())}"
        )


@policy.command()
@click.argument("name")
@json_option
def show(name: str, as_json: bool) -> None:
    """The rules of policy NAME, a name or the path of a YAML: a document of which a comparison holds fails it."""
    found = _read(name)
    if as_json:
        print_json(_facts(found))
        return
    click.echo(f"{safe(found.title)}  {found.digest}  {found.action}")
    for said in filter(None, (found.description, found.source)):
        click.echo(f"  {safe(said)}")
    for rule in found.rules:
        click.echo(f"  {safe(rule.name):<28} {_comparison(rule)}")


@policy.command()
@click.argument("name")
@data_option
@click.option("--labels", metavar="FILE", help="JSONL with doc_id or url, and keep: how often the policy is wrong.")
@click.option("--rule", "only", metavar="RULE", help="Show the texts nearest the threshold of this rule.")
@click.option("--texts", default=20, show_default=True, type=click.IntRange(0), help="So many on each side of it.")
@json_option
def report(name: str, data: str | None, labels: str | None, only: str | None, texts: int, as_json: bool) -> None:
    """What policy NAME would take of the documents that have signals, and change nothing."""
    from quarry_dagster.policy_report import policy_report
    from quarry_dagster.store import Store

    found = policy_report(Store.existing(data_root(data)), name, labels=labels, texts=texts)
    rules = {each.rule.name: each for each in found.rules}
    if only is not None and only not in rules:
        raise ConfigError(f"{found.policy.title} has no rule {only!r}; it has {', '.join(rules)}")
    if as_json:
        print_json(_as_json(found, only))
    elif only is not None:
        _print_rule(rules[only])
    else:
        _print_report(name, found)


def _shipped() -> list[str]:
    from quarry_dagster.quality.policy import shipped

    return shipped()


def _read(name: str) -> Policy:
    from quarry_dagster.quality.policy import read_policy

    return read_policy(name, None)


def _facts(found: Policy) -> dict[str, Any]:
    """A policy as JSON values."""
    return found.model_dump(mode="json", exclude_defaults=True) | {"action": found.action, "digest": found.digest}


def _comparison(rule: Rule) -> str:
    """What a rule compares, and for which documents."""
    among = [
        f"{'not ' if key.startswith('not_') else ''}{key.removeprefix('not_')} {'/'.join(values)}"
        for key in ("language", "not_language", "page_type", "not_page_type", "host")
        if (values := getattr(rule, key))
    ]
    return f"{rule.signal} {rule.op} {rule.threshold:g}" + (f"  ({', '.join(map(safe, among))})" if among else "")


def _print_report(name: str, found: PolicyReport) -> None:
    click.echo(
        f"{safe(found.policy.title)} would take {found.taken:,} of {plural(found.documents, 'document')}"
        f" ({_share(found.taken, found.documents)}); {found.kept_now:,} of them are in the corpus now"
    )
    if not found.documents:
        click.echo("no document has signals yet: materialize quality_signals")
        return
    click.echo("\nrule                         documents  by it alone")
    for each in sorted(found.rules, key=lambda each: -each.documents):
        if each.documents:
            rule, what = safe(each.rule.name), _comparison(each.rule)
            click.echo(f"{rule:<28} {each.documents:>9,}  {each.alone:>11,}  {what}")
    for title, table in (("host", found.hosts), ("language", found.languages), ("page type", found.page_types)):
        _print_table(title, table)
    click.echo(f"\n{'another policy':<28} {'both':>9}  {'only this':>11}  only that")
    for title, (both, mine, theirs) in found.overlaps.items():
        click.echo(f"{title:<28} {both:>9,}  {mine:>11,}  {theirs:>9,}")
    if said := found.labelled:
        good, bad = _share(said.good_taken, said.good), _share(said.bad_taken, said.bad)
        click.echo(
            f"\nlabels: of {said.good:,} to keep {said.good_taken:,} would be taken ({good}, wrongly), "
            f"of {said.bad:,} others {said.bad_taken:,} ({bad})"
            + (f"; {said.unknown:,} are of no document here" if said.unknown else "")
        )
    click.echo(f"\nquarry policy report {safe(name)} --rule RULE shows the texts nearest its threshold")


def _print_table(title: str, table: pl.DataFrame) -> None:
    rows = table.filter(table["taken"] > 0)
    if rows.is_empty():
        return
    click.echo(f"\n{title:<28}     taken           of")
    for value, documents, taken in rows.head(_SHOWN).select("value", "documents", "taken").iter_rows():
        click.echo(f"{safe(value):<28} {taken:>9,}  {documents:>11,}  {_share(taken, documents)}")
    if rows.height > _SHOWN:
        click.echo(f"and {rows.height - _SHOWN:,} more")


def _print_rule(each: OfRule) -> None:
    click.echo(f"{safe(each.rule.name)}: {_comparison(each.rule)}; takes {plural(each.documents, 'document')}")
    for fails, title in ((True, "just taken"), (False, "just left")):
        click.echo(f"\n{title}:")
        for near in each.nearest:
            if near.fails == fails:
                click.echo(
                    f"  {near.value:<10.4g} {safe(near.url)}  ({near.doc_id})\n             {safe(near.opening)}"
                )


def _as_json(found: PolicyReport, only: str | None) -> dict[str, Any]:
    """The report as JSON values."""
    rules = [each for each in found.rules if only in (None, each.rule.name)]
    return {
        "policy": found.policy.stamp,
        "documents": found.documents,
        "taken": found.taken,
        "kept_now": found.kept_now,
        "rules": [
            {
                **each.rule.model_dump(mode="json", exclude_defaults=True),
                "documents": each.documents,
                "alone": each.alone,
                "without_value": each.without_value,
                "nearest": [asdict(near) for near in each.nearest],
            }
            for each in rules
        ],
        "hosts": found.hosts.to_dicts(),
        "languages": found.languages.to_dicts(),
        "page_types": found.page_types.to_dicts(),
        "overlaps": {
            title: dict(zip(("both", "only_this", "only_that"), counts, strict=True))
            for title, counts in found.overlaps.items()
        },
        "labels": asdict(found.labelled) if found.labelled else None,
    }


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "none"
