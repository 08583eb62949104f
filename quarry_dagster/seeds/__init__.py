"""Seed files: from what a user drops in the inbox to URLs to fetch and documents already at hand.

Here belongs the reading of every seed format, streamed and validated line by line, and what fetched pages name that
becomes seeds in turn. Fetching, and cutting seeds into partitions, belong elsewhere.
"""

from quarry_dagster.seeds.discovery import Discovery, Found, discover, parse_discovery
from quarry_dagster.seeds.model import Place, Problem, Seed, shown
from quarry_dagster.seeds.reader import SUFFIXES, is_seed_name, is_whole, read_seeds

__all__ = [
    "SUFFIXES",
    "Discovery",
    "Found",
    "Place",
    "Problem",
    "Seed",
    "discover",
    "is_seed_name",
    "is_whole",
    "parse_discovery",
    "read_seeds",
    "shown",
]
