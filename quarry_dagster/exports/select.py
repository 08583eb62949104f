"""A condition on rows, as it stands behind WHERE in SQL: columns, comparisons and a few functions, and nothing else."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection

import polars as pl
from polars.exceptions import PolarsError

from quarry_dagster.errors import ConfigError

FUNCTIONS = (
    *("lower", "upper", "length", "char_length", "starts_with", "ends_with", "trim", "strpos", "substr", "left"),
    *("right", "replace", "concat", "regexp_like", "coalesce", "nullif", "abs", "round", "floor", "ceil"),
    *("array_contains", "array_length", "date_part", "strftime", "cast", "try_cast", "extract"),
)
"""Functions of polars' SQL that give a value for each row."""
_WORDS = ("and", "or", "not", "in", "like", "ilike", "when", "then", "else", "between", "is", "as", "any", "from", "if")
"""Words that a parenthesis may follow, and that are no functions."""
_REFUSED = ("select", "exists", "columns", "over", "with", "union", "join")
_LITERALS = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|--[^\n]*|/\*.*?\*/", re.DOTALL)
_KEYED = re.compile(r"\b(metadata|fields)\.([A-Za-z_]\w*)")
_LONGEST = 10_000


def condition(text: str, known: Collection[str]) -> tuple[pl.Expr, list[str]]:
    """The condition as an expression, and the columns that it names.

    A key of `metadata` or `fields` is a column too, as `metadata.topic`; its values are texts.

    Raises:
        ConfigError: it is none, or names a column or a function that is not known; the message names the nearest.
    """
    if len(text) > _LONGEST:
        raise ConfigError(f"select: a condition has at most {_LONGEST:,} characters, and this one {len(text):,}")
    bare = _LITERALS.sub(lambda m: "''" if m[0].startswith("'") else " ", text)
    refused = next((word for word in re.findall(r"\w+", bare.lower()) if word in _REFUSED), None)
    if refused:
        raise ConfigError(f"select: {refused.upper()} has no place in a condition: write what may stand behind WHERE")
    for name in re.findall(r"\b([A-Za-z_]\w*)\s*\(", bare):
        if name.lower() not in (*FUNCTIONS, *_WORDS):
            raise ConfigError(f"select: {unknown('function', name, FUNCTIONS)}")
    parts = _LITERALS.split(text)
    kept = _LITERALS.findall(text)
    quoted = [_KEYED.sub(r'"\1.\2"', part) for part in parts]
    whole = "".join(a + b for a, b in zip(quoted, [*kept, ""], strict=True))
    try:
        expression = pl.sql_expr(whole)
        names = list(dict.fromkeys(expression.meta.root_names()))
    except PolarsError as e:
        raise ConfigError(f"select: {text!r} is no condition: {str(e).splitlines()[0]}") from e
    for name in names:
        check_column("select", name, known)
    if not names:
        raise ConfigError(f"select: {text!r} names no column")
    return expression, names


def chosen(frame: pl.LazyFrame, wanted: pl.Expr, text: str) -> pl.LazyFrame:
    """The rows of which a condition holds.

    Raises:
        ConfigError: it compares what cannot be compared, or is no condition.
    """
    try:
        kind = frame.select(wanted.alias("wanted")).collect_schema()["wanted"]
        # A row of nulls, for some of what cannot be asked is told by values alone, and then as if a file were damaged.
        schema = frame.collect_schema()
        pl.DataFrame({name: [None] for name in schema}, schema).select(wanted)
    except PolarsError as e:
        raise ConfigError(cannot_be_asked(text, e)) from e
    if kind != pl.Boolean:
        raise ConfigError(f"select: {text!r} is a value ({kind}), and no condition: compare it with something")
    return frame.filter(wanted)


def cannot_be_asked(text: str, error: Exception) -> str:
    """What is said of a condition that polars refuses, for a number is compared with a text."""
    return f"select: {text!r} cannot be asked of these columns: {str(error).splitlines()[0]}"


def check_column(setting: str, name: str, known: Collection[str]) -> None:
    """Look whether there is a column of this name, or a key of one.

    Raises:
        ConfigError: there is none; the message names the nearest.
    """
    if name not in known and not re.match(r"(?:metadata|fields)\.", name):
        raise ConfigError(f"{setting}: {unknown('column', name, known)}")


def unknown(what: str, name: str, known: Collection[str]) -> str:
    """What is said of a name that is not known."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.0)
    return f"there is no {what} {name!r}" + (f"; the nearest is {near[0]!r}" if near else "")
