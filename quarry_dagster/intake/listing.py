"""What is known of each seed: what the inbox and the ledger say, and how many documents it brought."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import polars as pl

from quarry_dagster import seeds
from quarry_dagster.intake.inbox import SEEDS, changed_at
from quarry_dagster.intake.ledger import Ledger
from quarry_dagster.store import Store
from quarry_dagster.store.schemas import ACCEPTED


@dataclass(frozen=True)
class SeedListing:
    """One seed file that is in the inbox, or was taken in."""

    seed: str
    """The file's name in the inbox."""
    name: str
    """The namespace of its ids; "" where it was not read yet."""
    mirror: bool
    lines: int
    """Lines that name a URL or carry a document, at the last reading."""
    pages: int
    """Rows of `raw_pages` and what waits to be one: those that this seed named first or changed last."""
    documents: int
    """Pages that gave a text that was accepted."""
    problem_count: int
    problems: list[str]
    """The first of them, as "file:line: reason"."""
    changed_at: str | None
    """When the file changed last, ISO 8601, UTC; None where it is no longer in the inbox."""
    taken_at: str | None
    """When it was read last, ISO 8601, UTC; None where it waits."""


def list_seeds(store: Store) -> list[SeedListing]:
    """Every seed that the data root knows, by name.

    Raises:
        StoreError: the data root cannot be read.
    """
    ledger = Ledger.read(store).entries
    inbox = {path.removeprefix(f"{SEEDS}/"): info for path, info in store.files.details(SEEDS).items()}
    waiting = {name for name in inbox if seeds.is_whole(name) and not seeds.is_sidecar(name)}
    pages, documents = _counts(store)
    found: list[SeedListing] = []
    for name in sorted({*ledger, *waiting}):
        entry, info, shown = ledger.get(name), inbox.get(name), seeds.shown(name)
        changed = datetime.fromtimestamp(changed_at(info), UTC).isoformat(timespec="seconds") if info else None
        found.append(
            SeedListing(
                seed=shown,
                name=entry.name if entry else "",
                mirror=entry is not None and entry.mirror,
                lines=entry.urls if entry else 0,
                pages=pages.get(shown, 0),
                documents=documents.get(shown, 0),
                problem_count=entry.problem_count if entry else 0,
                problems=list(entry.problems) if entry else [],
                changed_at=changed,
                taken_at=entry.taken_at or None if entry else None,
            )
        )
    return found


def _counts(store: Store) -> tuple[dict[str, int], dict[str, int]]:
    """How many pages each seed has, and how many accepted documents, by its name."""
    rows = store.batches.scan().select("doc_id", "seed")
    accepted = store.extracted_text.scan(store.batches.segments()).filter(ACCEPTED).select("doc_id")
    pages = rows.group_by("seed").agg(pl.len()).collect()
    documents = rows.join(accepted, on="doc_id", how="semi").group_by("seed").agg(pl.len()).collect()
    return dict(pages.iter_rows()), dict(documents.iter_rows())
