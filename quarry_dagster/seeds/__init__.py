"""Seed files: from what a user drops in the inbox to URLs to fetch and documents already at hand.

Here belongs the reading of every seed format, streamed and validated line by line. Fetching, and cutting seeds
into partitions, belong elsewhere.
"""

from quarry_dagster.seeds.model import Place, Problem, Seed
from quarry_dagster.seeds.reader import SUFFIXES, is_seed_name, read_seeds

__all__ = ["SUFFIXES", "Place", "Problem", "Seed", "is_seed_name", "read_seeds"]
