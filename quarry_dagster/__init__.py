"""QuarryCore on Dagster: crawl seeds to a clean, deduplicated, explained text corpus.

import quarry_dagster
quarry_dagster.scan("deduped_corpus", data="path-or-url")  # -> polars.LazyFrame
quarry_dagster.changes("path-or-url", since=3)  # -> documents that came, went or differ, each with its cause
quarry_dagster.open("path-or-url")  # -> a corpus to ask: .scan .contains .similar .decide .explain
quarry_dagster.deduplicate(frame, text="text", id="id")  # -> kept, removed and skipped rows
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from quarry_dagster.asking.opened import open
    from quarry_dagster.differences import changes
    from quarry_dagster.frames import deduplicate
    from quarry_dagster.reader import scan

__all__ = ["changes", "deduplicate", "open", "scan"]

__version__ = "0.2.0"

_MODULES = {"changes": "differences", "deduplicate": "frames", "open": "asking.opened", "scan": "reader"}
"""Where each is."""


def __getattr__(name: str) -> Any:
    # On first use: a worker process that only extracts text must not pay for polars, nor fork its threads.
    if name in _MODULES:
        return getattr(importlib.import_module(f"quarry_dagster.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
