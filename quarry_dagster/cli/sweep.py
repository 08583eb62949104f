"""`quarry sweep`: delete what nobody needs."""

from __future__ import annotations

from dataclasses import asdict

import click

from quarry_dagster.cli.options import data_option, json_option, print_json
from quarry_dagster.environment import data_root
from quarry_dagster.store import Store


@click.command()
@data_option
@click.option("--dry-run", is_flag=True, help="Only list what would be deleted.")
@json_option
def sweep(data: str | None, dry_run: bool, as_json: bool) -> None:
    """Delete what killed processes left half done, and versions that nothing that is kept needs.

    Every run does it too. What somebody may just be reading stays for an hour, on an object store for a day.
    """
    from quarry_dagster.stages.sweep import sweep as swept

    root = data_root(data)
    found = swept(Store.existing(root), dry_run=dry_run)
    if as_json:
        print_json({"data": root, "is_dry_run": dry_run, **asdict(found)})
        return
    if dry_run:
        for path in found.files:
            click.echo(path)
    done = "would be deleted" if dry_run else "deleted"
    click.echo(f"{len(found.files):,} files, {found.bytes:,} bytes {done}")
