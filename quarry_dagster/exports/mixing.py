"""How often each document is in a mix: by its rates, by how often it was found, and by the size of the whole.

Each document has a weight w and a number u from 0 to 1, which is its hash, and copies j = 0, 1, 2 ... with the keys
(u + j) / w. The copies with a key below 1 are the mix: w of them on average. Of a mix of a given size they are those
with the lowest keys (sequential Poisson sampling, Ohlsson 1998). So what is in a mix stays in it while its size grows,
and rates keep their proportions while it shrinks.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl

from quarry_dagster.errors import ConfigError
from quarry_dagster.exports.sides import TRAIN, domains, fraction
from quarry_dagster.profiles.settings import Mix

OTHERS = "*"
"""The value in a table of rates that stands for all that are not named, and for none."""
TABLES: Mapping[str, Mapping[int, float]] = {
    "fineweb2": {1: 1, 2: 2, 3: 3, 5: 5, 100: 8, 1000: 1},
}
"""Weights by how often a text was found: FineWeb-2's (Penedo et al. 2025)."""


def columns_of(mix: Mix) -> list[str]:
    """The columns that :func:`weights` asks for."""
    names = ["host" if name == "domain" else name for name in mix.rates]
    return list(dict.fromkeys([*names, *(["duplicates"] if mix.weights else [])]))


def weights(documents: pl.DataFrame, mix: Mix) -> pl.Series:
    """How often each document is to be in the mix, Float64.

    Args:
        documents: with the columns of :func:`columns_of`, and `side`: what is held out is there once at most.

    Raises:
        ConfigError: a table names quantiles that are none, or is of a column that has neither texts nor numbers.
    """
    found = np.ones(documents.height)
    for name, rates in mix.rates.items():
        values = domains(documents["host"]) if name == "domain" else documents[name]
        if values.dtype == pl.String:
            of_each = values.replace_strict(dict(rates), default=rates.get(OTHERS, 1.0), return_dtype=pl.Float64)
        elif values.dtype.is_numeric():
            of_each = _by_quantile(name, values.cast(pl.Float64), rates)
        else:
            raise ConfigError(f"mix.rates: {name} has neither texts nor numbers: {values.dtype}")
        found *= of_each.to_numpy()
    if mix.weights:
        table = sorted((TABLES[mix.weights] if isinstance(mix.weights, str) else mix.weights).items())
        times = documents["duplicates"].fill_null(0).to_numpy() + 1
        at = np.searchsorted([size for size, _ in table], times, side="right") - 1
        found *= np.array([weight for _, weight in table])[np.maximum(at, 0)]
    held_out = (documents["side"] != TRAIN).to_numpy()
    return pl.Series("weight", np.where(held_out, np.minimum(found, 1), found))


def drawn(documents: pl.DataFrame, salt: str) -> pl.DataFrame:
    """The copies that are in the mix: doc_id and `key`, a row a copy, in order of the keys.

    `documents` has the columns doc_id and `weight`.
    """
    place = pl.Series([fraction(doc_id, f"mix\n{salt}") for doc_id in documents["doc_id"]], dtype=pl.Float64)
    copies = documents.select("doc_id", "weight", place=place).filter(pl.col("place") < pl.col("weight"))
    copies = copies.with_columns(copy=pl.int_ranges((pl.col("weight") - pl.col("place")).ceil().cast(pl.Int64)))
    copies = copies.explode("copy").with_columns(key=(pl.col("place") + pl.col("copy")) / pl.col("weight"))
    return copies.select("doc_id", "key").sort("key", "doc_id")


def within(copies: pl.DataFrame, sizes: pl.DataFrame, most: int) -> pl.DataFrame:
    """The first copies, as many as have the size together or less.

    Args:
        copies: of :func:`drawn`.
        sizes: doc_id and `size` (Int64) of each document.
    """
    sized = copies.join(sizes, on="doc_id", maintain_order="left")
    return sized.filter(pl.col("size").cum_sum() <= most).drop("size")


def _by_quantile(name: str, values: pl.Series, rates: Mapping[str, float]) -> pl.Series:
    """The rate of each number, by the share of the numbers that are below it."""
    try:
        table = sorted((float(bound), rate) for bound, rate in rates.items() if bound != OTHERS)
    except ValueError:
        table = []
    if not table or not all(0 <= bound < 1 for bound, _ in table):
        raise ConfigError(f"mix.rates: {name} is a number: name the quantiles from which a rate holds, as 0.5=1,0.9=2")
    known = values.is_not_null() & values.is_not_nan().fill_null(False)
    rank = values.filter(known).rank("min").to_numpy() - 1
    at = np.searchsorted([bound for bound, _ in table], rank / max(1, len(rank)), side="right") - 1
    found = np.full(len(values), rates.get(OTHERS, 1.0))
    found[known.to_numpy()] = np.where(at < 0, found[known.to_numpy()], np.array([rate for _, rate in table])[at])
    return pl.Series(found)
