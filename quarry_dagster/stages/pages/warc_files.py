"""WARC files beside the tables: what each version of a partition was fetched from.

The format itself belongs to :mod:`quarry_dagster.crawl.warc`.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from itertools import chain

from quarry_dagster import __version__
from quarry_dagster.crawl import Response
from quarry_dagster.crawl.warc import WarcWriter, archived_urls, rewrite_without
from quarry_dagster.store import Forgotten, Segment, Store
from quarry_dagster.store.state import State

FOLDER = "warc"


def write_warc(store: Store, segment: Segment, pages: Iterable[tuple[Response, datetime | None]]) -> str | None:
    """Write the responses of a segment, each with the time since which it may be unchanged; no file for none.

    Returns the path of the file.

    Raises:
        StoreError: the store cannot be written.
    """
    pages = iter(pages)
    if not (first := next(pages, None)):
        return None
    path = _path(store, segment.partition, f"{segment.version:06d}")
    with store.files.create(path) as file:
        writer = WarcWriter(file, f"QuarryCore/{__version__}")
        for response, earlier in chain([first], pages):
            writer.write(response, earlier)
    return path


def is_needed(path: str, state: State) -> bool:
    """Whether a file is a WARC of a partition that is there."""
    parts = path.split("/")
    return parts[0] == FOLDER and state.table("batches").get(parts[1]) is not None


def forget_in_warcs(store: Store, forgotten: Forgotten) -> None:
    """Take out what is forgotten.

    Raises:
        StoreError: the store cannot be written.
    """
    for path in store.files.list(FOLDER):
        with store.files.open(path) as file:
            if not any(forgotten.reason(url) for url in archived_urls(file)):
                continue
        copied = _path(store, path.split("/")[1], path.rpartition("/")[2].partition(".")[0].partition("-")[0])
        with store.files.open(path) as file, store.files.create(copied) as copy:
            rewrite_without(file, copy, forgotten.reason)
        store.files.log.commit(lambda state: [*store.files.lines([copied], state), {"remove": {"path": path}}])  # noqa: B023
        store.files.delete([path])


def _path(store: Store, partition: str, version: str) -> str:
    return f"{FOLDER}/{partition}/{version}-{store.files.new_id()}.warc.gz"
