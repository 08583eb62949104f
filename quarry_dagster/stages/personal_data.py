"""`personal_data` of one partition: where e-mail addresses, phones and the like stand in every accepted text.

A text is read anew only where it changed.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

from quarry_dagster.digests import digest
from quarry_dagster.errors import StoreError
from quarry_dagster.personal import personal_data, version
from quarry_dagster.progress import track
from quarry_dagster.stages.report import StageReport
from quarry_dagster.store import FactNotes, FactSegment, Fingerprint, Store, again
from quarry_dagster.store.schemas import ACCEPTED

_AT_ONCE = 256


def refresh(store: Store, partition: str, *, force: bool = False) -> StageReport:
    """Bring one partition of `personal_data` up to date with its texts.

    `force` reads its texts anew although nothing changed.

    Raises:
        StoreError: the partition has no texts, or the store cannot be written.
    """
    with store.personal_data.lock(partition):
        return again(lambda: _refresh(store, partition, force))


def _refresh(store: Store, partition: str, force: bool) -> StageReport:
    start = time.monotonic()
    texts = store.extracted_text.segment(partition)
    if texts is None:
        raise StoreError(f"partition {partition!r} has no extracted_text yet: materialize extracted_text first")
    fingerprint = Fingerprint((texts.path,), version())
    old = store.personal_data.segment(partition)
    report = StageReport(rows=texts.notes.documents)
    if old is not None and old.notes.input == fingerprint and not force:
        report.outcomes = Counter({"unchanged": report.rows})
        report.seconds = time.monotonic() - start
        return report
    earlier = _earlier(old, fingerprint.maker) if not force else {}
    with store.personal_data.write(partition) as writer, track("personal_data", report.rows, "texts") as advance:
        for frame in texts.batches(["doc_id", "outcome", "text"], rows=_AT_ONCE):
            rows: list[dict[str, Any]] = []
            for doc_id, text in frame.filter(ACCEPTED).select("doc_id", "text").iter_rows():
                made_from = digest((text or "").encode("utf-8", "surrogatepass"))
                found = earlier.get(made_from)
                if found is None:
                    found = [each._asdict() for each in personal_data(text or "")]
                    report.worked += 1
                report.outcomes.update(each["type"] for each in found)
                rows.append({"doc_id": doc_id, "made_from": made_from, "found": found, "partition": partition})
            writer.append(rows)
            advance(len(rows))
        writer.note(FactNotes(input=fingerprint, rows=writer.rows))
    report.written = 1
    report.seconds = time.monotonic() - start
    return report


def _earlier(old: FactSegment | None, maker: str) -> dict[str, list[dict[str, Any]]]:
    """What was found in the texts of the earlier version, by their digest, where the same rules looked for it."""
    if old is None or old.notes.input.maker != maker:
        return {}
    frames = old.batches(["made_from", "found"], rows=4096)
    return {made_from: list(found or ()) for frame in frames for made_from, found in frame.iter_rows()}
