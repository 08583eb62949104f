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

_FOLDER = "warc"


def write_warc(store: Store, segment: Segment, pages: Iterable[tuple[Response, datetime | None]]) -> None:
    """Write the responses of a segment, each with the time since which it may be unchanged; no file for none.

    Raises:
        StoreError: the store cannot be written.
    """
    pages = iter(pages)
    if not (first := next(pages, None)):
        return
    with store.files.create(f"{_FOLDER}/{segment.partition}/{segment.version:06d}.warc.gz") as file:
        writer = WarcWriter(file, f"QuarryCore/{__version__}")
        for response, earlier in chain([first], pages):
            writer.write(response, earlier)


def forget_in_warcs(store: Store, forgotten: Forgotten) -> None:
    """Take out what is forgotten.

    Raises:
        StoreError: the store cannot be written.
    """
    for path in store.files.list(_FOLDER):
        with store.files.open(path) as file:
            if not any(forgotten.reason(url) for url in archived_urls(file)):
                continue
        with store.files.open(path) as file, store.files.create(path) as copy:
            rewrite_without(file, copy, forgotten.reason)
