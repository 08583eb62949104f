"""QuarryCore on Dagster: crawl seeds to a clean, deduplicated, explained text corpus.

import quarry_dagster
quarry_dagster.scan("deduped_corpus", data="path-or-url")  # -> polars.LazyFrame
quarry_dagster.deduplicate(frame, text="text", id="id")  # -> kept, removed and skipped rows
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from quarry_dagster.frames import deduplicate
    from quarry_dagster.reader import scan

__all__ = ["deduplicate", "scan"]

__version__ = "0.2.0"


def __getattr__(name: str) -> Any:
    # On first use: a worker process that only extracts text must not pay for polars, nor fork its threads.
    if name == "scan":
        return importlib.import_module("quarry_dagster.reader").scan
    if name == "deduplicate":
        return importlib.import_module("quarry_dagster.frames").deduplicate
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
