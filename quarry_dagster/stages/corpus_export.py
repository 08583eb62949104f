"""`corpus_export`: the datasets that the profile asks for, each brought in line with the corpus."""

from __future__ import annotations

import logging
import time
from dataclasses import replace

from quarry_dagster.errors import ConfigError, QuarryError
from quarry_dagster.exports import Exported, export
from quarry_dagster.exports.known import Known, is_inside, known_exports, note, place_of
from quarry_dagster.exports.place import Place
from quarry_dagster.profiles.settings import Export, HardwareProfile
from quarry_dagster.stages.report import StageReport
from quarry_dagster.store import Store

log = logging.getLogger("quarry_dagster")


def refresh(store: Store, profile: HardwareProfile, *, force: bool = False) -> tuple[StageReport, list[Exported]]:
    """Write what the profile asks for and is not there as it is to be.

    Raises:
        ConfigError: an export cannot be made; the others are.
        StoreError: a table or a place cannot be read or written.
    """
    start = time.monotonic()
    report, done, failed = StageReport(), list[Exported](), list[str]()
    for settings in profile.exports:
        try:
            to = place_of(store, settings.to, of_profile=True)
            made = make(store, settings.with_contact(profile.crawl.contact), to, force=force)
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


def make(store: Store, settings: Export, to: str, *, since: int | str | None = None, force: bool = False) -> Exported:
    """Make one export, and remember it: as :func:`quarry_dagster.exports.export`."""
    done = export(store, settings, to, since=since, force=force)
    number = store.corpus(since).number if since is not None else None
    note(store, Known(to, settings, number, is_inside(store, to)))
    return done


def make_again(store: Store) -> None:
    """Make the exports below the data root anew, after a takedown.

    One that cannot be is deleted, for it holds what was taken out; why is noted, for `quarry forget` to tell.
    """
    for known in known_exports(store):
        if not known.is_inside or known.deleted:
            continue
        try:
            if known.settings is None:
                raise ConfigError("another version made it, with settings that this one does not know")
            export(store, known.settings, known.to, since=known.since)
        except QuarryError as e:
            log.warning("%s could not be written again, and is deleted: %s", known.to, e)
            place = Place(known.to)
            place.delete(place.earlier() or {"files": []})
            note(store, replace(known, deleted=str(e)))


def unreached(store: Store) -> tuple[list[str], dict[str, str]]:
    """The places of exports that no takedown can reach; and why those were deleted that could not be made again."""
    known = known_exports(store)
    return [each.to for each in known if not each.is_inside], {each.to: each.deleted for each in known if each.deleted}
