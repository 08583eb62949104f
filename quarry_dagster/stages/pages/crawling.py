"""The crawl of one partition: responses go to a journal on disk as they come, so that a kill costs few of them.

What is asked for, and what becomes of the responses, belongs to `raw_pages`.

Why so: "A crawl writes a journal, then the table" in docs/decisions.md.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from quarry_dagster.crawl import Request, crawl
from quarry_dagster.crawl.addresses import Network
from quarry_dagster.crawl.journal import Journal
from quarry_dagster.environment import cache_folder
from quarry_dagster.errors import StoreError
from quarry_dagster.profiles.settings import Crawl
from quarry_dagster.progress import track
from quarry_dagster.store import Segment, Store


def journals(store: Store) -> Path:
    """The folder of the journals of crawls under way: beside the tables, or on this machine for an object store."""
    if store.files.is_local:
        return Path(store.files.full("crawling"))
    return cache_folder() / "crawling" / hashlib.sha256(store.files.root.encode()).hexdigest()[:16]


def origins_file(store: Store) -> Path:
    """Where what origins say is kept from crawl to crawl."""
    return journals(store) / "origins.sqlite"


def open_journal(
    store: Store,
    partition: str,
    old: Segment | None,
    settings: Crawl,
    allow_addresses: Sequence[Network],
    *,
    anew: bool,
) -> Journal:
    """The journal of a partition's crawl, with what killed attempts at the same crawl left.

    `anew` is a crawl that asks for each page unconditionally.

    Raises:
        StoreError: it cannot be written.
    """
    version = old.version if old else 0  # a 304 says that the body of this version stays
    allowed = " ".join(map(str, allow_addresses))
    try:
        return Journal(
            journals(store) / partition, f"{version} {settings.model_dump_json()} {allowed}{' anew' if anew else ''}"
        )
    except OSError as e:
        raise StoreError(f"cannot write {journals(store)}: {e.strerror or e}; make it writable") from e


def fetch(
    store: Store,
    requests: Iterable[Request],
    journal: Journal,
    settings: Crawl,
    allow_addresses: Sequence[Network],
    *,
    total: int,
    carried: int,
) -> int:
    """Put into the journal the responses it has not got; returns how many that were.

    `total` counts the pages of the partition, `carried` those that need no request.
    """
    done = journal.done()
    fetched = 0
    with track("raw_pages", total, "pages", done=carried + len(done)) as advance:
        missing = (request for request in requests if request.url not in done)
        for response in crawl(missing, settings, allow_addresses=allow_addresses, origins=origins_file(store)):
            journal.append(response)
            fetched += 1
            advance(1, None if response.outcome in ("fetched", "not_modified") else response.outcome)
    return fetched
