"""Checking rows against a declared schema, a key, and rules that no row may break."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl


def breaches(where: str, rows: pl.LazyFrame, schema: pl.Schema, key: str, rules: Mapping[str, pl.Expr]) -> list[str]:
    """What is wrong with these rows, a sentence each, with a count and one example by its key.

    `rules` name what is wrong and say when, as an expression that is true for a bad row.
    """
    found = rows.collect_schema()
    if found != schema:
        wrong = [
            f"{name}: {found.get(name, 'missing')} instead of {schema.get(name, 'nothing')}"
            for name in dict.fromkeys([*schema, *found])
            if found.get(name) != schema.get(name)
        ]
        return [f"{where}: columns differ from the contract ({', '.join(wrong) or 'in their order'})"]
    everything = {f"without {key}": pl.col(key).is_null(), f"{key} twice": pl.col(key).is_duplicated()} | dict(rules)
    bad = {name: rule.fill_null(True) for name, rule in everything.items()}
    counted = [rule.sum().alias(f"n {name}") for name, rule in bad.items()]
    examples = [pl.col(key).filter(rule).first().alias(f"example {name}") for name, rule in bad.items()]
    row = rows.select(*counted, *examples).collect(engine="streaming").row(0, named=True)
    return [
        f"{where}: {row[f'n {name}']:,} rows {name} (first: {row[f'example {name}']})"
        for name in bad
        if row[f"n {name}"]
    ]


def missing(where: str, expected: pl.DataFrame, found: pl.DataFrame, key: str) -> list[str]:
    """Rows of `expected` that `found` has none for, and the other way round, by `key`."""
    lost = expected.join(found, on=key, how="anti")[key]
    unknown = found.join(expected, on=key, how="anti")[key]
    out = [f"{where}: {len(lost):,} rows are missing (first: {lost[0]})"] if len(lost) else []
    return out + ([f"{where}: {len(unknown):,} rows come from nowhere (first: {unknown[0]})"] if len(unknown) else [])
