"""QuarryCore on Dagster: crawl seeds to a clean, deduplicated, explained text corpus.

import quarry_dagster
quarry_dagster.scan("deduped_corpus", data="path-or-url")  # -> polars.LazyFrame
"""

from importlib.metadata import version

from quarry_dagster.reader import scan

__version__ = version("quarry-dagster")

__all__ = ["__version__", "scan"]
