"""`corpus_report`: the corpus as one HTML page, for people.

The page depends on the tables alone. It is made anew each time, and written only where it would differ.
"""

from __future__ import annotations

import time

from quarry_dagster.profiles.settings import HardwareProfile
from quarry_dagster.report import facts, render
from quarry_dagster.stages.report import StageReport
from quarry_dagster.store import Store

PATH = "corpus_report/index.html"


def refresh(store: Store, profile: HardwareProfile) -> StageReport:
    """Bring the page in line with the tables.

    Raises:
        StoreError: the store cannot be written.
    """
    start = time.monotonic()
    with store.files.lock("corpus"):  # all numbers are of one snapshot
        found = facts(store, profile)
        page = render(found).encode()
        report = StageReport(rows=found.kept)
        if _read(store) != page:
            with store.files.create(PATH) as file:
                file.write(page)
            report.written = 1
    report.seconds = time.monotonic() - start
    return report


def _read(store: Store) -> bytes | None:
    if not store.files.exists(PATH):
        return None
    with store.files.open(PATH) as file:
        return file.read()
