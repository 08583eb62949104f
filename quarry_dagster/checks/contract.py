"""Checking a table against a declared schema, a key, and rules that no row may break."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from quarry_dagster.store import Segment


def wrong_columns(segment: Segment, schema: pl.Schema) -> list[str]:
    """What is wrong with the columns of a segment's file, in a sentence.

    Asked of the file itself: a scan promises its schema, whatever the file has. A column that the file lacks came
    later than it, and is null (see :meth:`Segment.batches`).
    """
    with segment.files.parquet(segment.path) as f:
        found = pl.Schema(f.schema_arrow)
    wrong = [
        f"{name}: {t} instead of {schema.get(name, 'nothing')}" for name, t in found.items() if schema.get(name) != t
    ]
    return [f"{segment.partition}: columns differ from the contract ({', '.join(wrong)})"] if wrong else []


def breaches(
    where: str, rows: pl.LazyFrame, key: str, rules: Mapping[str, pl.Expr], *, named: str | None = None
) -> list[str]:
    """What is wrong with these rows, a sentence each, with a count and one example by its key, or the column `named`.

    `rules` name what is wrong and say when, as an expression that is true for a bad row.
    """
    everything = {f"without {key}": pl.col(key).is_null(), f"{key} twice": pl.col(key).is_duplicated()} | dict(rules)
    bad = {name: rule.fill_null(True) for name, rule in everything.items()}
    counted = [rule.sum().alias(f"n {name}") for name, rule in bad.items()]
    examples = [pl.col(named or key).filter(rule).first().alias(f"example {name}") for name, rule in bad.items()]
    row = rows.select(*counted, *examples).collect(engine="streaming").row(0, named=True)
    return [
        f"{where}: {row[f'n {name}']:,} rows {name} (first: {row[f'example {name}']})"
        for name in bad
        if row[f"n {name}"]
    ]


def missing(where: str, expected: pl.DataFrame, found: pl.DataFrame, key: str) -> list[str]:
    """A sentence on rows that `found` lacks, and one on rows that `expected` does not have, told apart by `key`."""
    lost = expected.join(found, on=key, how="anti")[key]
    unknown = found.join(expected, on=key, how="anti")[key]
    out = [f"{where}: {len(lost):,} rows are missing (first: {lost[0]})"] if len(lost) else []
    return out + ([f"{where}: {len(unknown):,} rows come from nowhere (first: {unknown[0]})"] if len(unknown) else [])
