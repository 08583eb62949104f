"""Searching what is published: the nearest texts to a vector, and the kept documents nearest to a text."""

from quarry_dagster.search.searcher import Searcher

__all__ = ["Searcher"]
