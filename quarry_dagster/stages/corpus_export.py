"""`corpus_export`: the datasets that the profile asks for, each brought in line with the corpus."""

from __future__ import annotations

import time
from collections.abc import Sequence

from quarry_dagster.errors import ConfigError, QuarryError
from quarry_dagster.exports import Exported, export
from quarry_dagster.exports.known import Known, is_inside, known_exports, note, place_of
from quarry_dagster.profiles.settings import Export, HardwareProfile
from quarry_dagster.stages.report import StageReport
from quarry_dagster.store import Store
from quarry_dagster.store.disk import Disk


def refresh(store: Store, profile: HardwareProfile, *, force: bool = False) -> tuple[StageReport, list[Exported]]:
    """Write what the profile asks for and is not there as it is to be.

    Raises:
        ConfigError: an export cannot be made; the others are.
        StoreError: a table or a place cannot be read or written.
    """
    start = time.monotonic()
    report, done, failed = StageReport(), list[Exported](), list[str]()
    for settings in profile.exports:
        to = place_of(store, settings.to, of_profile=True)
        try:
            made = make(store, settings, to, contact=profile.crawl.contact, force=force)
        except ConfigError as e:
            failed.append(f"exports, {settings.to}: {e}")
            continue
        done.append(made)
        report.rows += sum(made.splits.values())
        report.written += made.files if made.is_new else 0
        report.worked += sum(made.splits.values()) if made.is_new else 0
    report.seconds = time.monotonic() - start
    if failed:
        raise ConfigError("\n".join(failed))
    return report, done


def make(
    store: Store,
    settings: Export,
    to: str,
    *,
    title: str = "corpus",
    contact: str | None = None,
    since: int | str | None = None,
    force: bool = False,
) -> Exported:
    """Make one export, and remember it: as :func:`quarry_dagster.exports.export`."""
    done = export(store, settings, to, title=title, contact=contact, since=since, force=force)
    note(store, Known(to, settings, title, contact, is_inside(store, to)))
    return done


def make_again(store: Store) -> list[str]:
    """Make the exports below the data root anew, after a takedown; returns the places of the others.

    One that cannot be made again is deleted: it holds what was taken out.
    """
    elsewhere = []
    for known in known_exports(store):
        if not known.is_inside:
            elsewhere.append(known.to)
            continue
        try:
            export(store, known.settings, known.to, title=known.title, contact=known.contact)
        except QuarryError:
            place = Disk(known.to)
            place.delete(list(place.all("")))
    return elsewhere


def outside(store: Store) -> Sequence[str]:
    """The places of exports that no takedown can reach."""
    return [known.to for known in known_exports(store) if not known.is_inside]
