"""Seed files: from what a user drops in the inbox to URLs to fetch and documents already at hand.

Here belongs the reading of every seed format, streamed and validated line by line, and what fetched pages name that
becomes seeds in turn. Fetching, and cutting seeds into partitions, belong elsewhere.
"""

from quarry_dagster.seeds.discovery import Discovery, Found, Issue, discover, parse_discovery, refresh_alone
from quarry_dagster.seeds.model import Place, Problem, Seed, printable, shown
from quarry_dagster.seeds.reader import (
    SUFFIXES,
    default_settings,
    is_seed_name,
    is_sidecar,
    is_table,
    is_whole,
    read_seeds,
    sidecar_of,
)
from quarry_dagster.seeds.settings import SIDECAR, InvalidSettings, SeedSettings, parse_settings

__all__ = [
    "SIDECAR",
    "SUFFIXES",
    "Discovery",
    "Found",
    "InvalidSettings",
    "Issue",
    "Place",
    "Problem",
    "Seed",
    "SeedSettings",
    "default_settings",
    "discover",
    "is_seed_name",
    "is_sidecar",
    "is_table",
    "is_whole",
    "parse_discovery",
    "parse_settings",
    "printable",
    "read_seeds",
    "refresh_alone",
    "shown",
    "sidecar_of",
]
