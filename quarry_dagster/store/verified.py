"""Reading Parquet files so that damage is never read as data: sizes are compared, and the checksum of every page.

polars reads faster, but verifies nothing; pyarrow compares the CRC that a page was written with (Parquet format,
`PageHeader.crc`). A lazy table of polars is made over it as an IO source: columns that a query does not ask for, and
row groups that its predicate rules out by their statistics, are not read.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import IO, TYPE_CHECKING, Any

import polars as pl

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

Opener = Callable[[str], Any]
"""Opens a Parquet file by its path, as a context manager that yields a `pyarrow.parquet.ParquetFile`."""

_BATCH_ROWS = 65_536
_AT_ONCE = 8 << 20
"""A file whose asked columns take so many bytes, stored, is read at once; a larger one a row group at a time."""
_MIRRORED = {"Eq": "Eq", "Gt": "Lt", "GtEq": "LtEq", "Lt": "Gt", "LtEq": "GtEq"}


def lazy(open_: Opener, paths: Sequence[str], schema: pl.Schema) -> pl.LazyFrame:
    """A lazy table over Parquet files; a column that a file lacks is null, one that `schema` lacks is left out."""
    from polars.io.plugins import register_io_source

    return register_io_source(partial(_frames, open_, list(paths), schema), schema=schema, is_pure=True)


@contextmanager
def parquet_file(file: IO[bytes], *, pre_buffer: bool) -> Iterator[pq.ParquetFile]:
    """A Parquet file whose pages are verified as they are read."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(file, page_checksum_verification=True, pre_buffer=pre_buffer) as f:
        yield f


PATH_KEY = b"quarry_path"
"""Under this key the footer of a file says which one it is: of two of one size only this tells them apart at once."""


def said_path(file: pq.ParquetFile) -> str | None:
    """The path that a file was written for; None where it is of before files said so."""
    said = (file.metadata.metadata or {}).get(PATH_KEY)
    return said.decode() if said is not None else None


def is_damage(error: BaseException) -> bool:
    """Whether an error of pyarrow, or a column of another type, says that a file is not as it was written."""
    import pyarrow as pa

    is_told = isinstance(error, pa.ArrowException | pl.exceptions.SchemaError)
    return is_told or (type(error) is OSError and error.errno is None)


def _frames(
    open_: Opener,
    paths: Sequence[str],
    schema: pl.Schema,
    with_columns: list[str] | None,
    predicate: pl.Expr | None,
    n_rows: int | None,
    batch_size: int | None,
) -> Iterator[pl.DataFrame]:
    """Yield what a query asks for, as an IO source of polars."""
    wanted = schema.names() if with_columns is None else with_columns
    asked = {*wanted, *(predicate.meta.root_names() if predicate is not None else ())}
    columns = [name for name in schema.names() if name in asked]
    tests = [] if predicate is None else _tests(predicate)
    left = n_rows
    for path in paths:
        if left == 0:
            return
        with open_(path) as file:
            for frame in _of_file(file, columns, schema, tests):
                found = frame if predicate is None else frame.filter(predicate)
                found = found.select(wanted)
                if left is not None:
                    found = found.head(left)
                    left -= found.height
                if found.height or not wanted:
                    yield found
                if left == 0:
                    break


def _of_file(
    file: pq.ParquetFile, columns: Sequence[str], schema: pl.Schema, tests: Sequence[_Test]
) -> Iterator[pl.DataFrame]:
    """Yield the rows of the row groups of a file that the tests do not rule out."""
    metadata, there = file.metadata, {*file.schema_arrow.names}
    stored = [name for name in columns if name in there]
    groups = range(metadata.num_row_groups)
    if tests:
        places = (
            {metadata.row_group(0).column(i).path_in_schema: i for i in range(metadata.num_columns)} if groups else {}
        )
        groups = [group for group in groups if _may_hold(metadata.row_group(group), places, tests)]
    if not stored:
        rows = sum(metadata.row_group(group).num_rows for group in groups)
        yield _as(pl.DataFrame(height=rows), columns, schema) if columns else pl.DataFrame(height=rows)
        return
    if not groups:
        return
    if len(groups) == metadata.num_row_groups and _stored_bytes(metadata, {*stored}) <= _AT_ONCE:
        yield _as(_frame(file.read(stored, use_threads=False)), columns, schema)
        return
    for group in groups:
        yield _as(_frame(file.read_row_group(group, stored, use_threads=False)), columns, schema)


def _frame(table: pa.Table) -> pl.DataFrame:
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    return frame


def _as(frame: pl.DataFrame, columns: Sequence[str], schema: pl.Schema) -> pl.DataFrame:
    """The frame with these columns, those that it lacks null.

    Raises:
        SchemaError: one has another type.
    """
    for name in frame.columns:
        if frame.schema[name] != schema[name]:
            raise pl.exceptions.SchemaError(f"column {name} is {frame.schema[name]}, and {schema[name]} is expected")
    missing = [pl.lit(None, schema[name]).alias(name) for name in columns if name not in frame.columns]
    return frame.with_columns(missing).select(columns)


def _stored_bytes(metadata: Any, columns: set[str]) -> int:
    """Bytes, as stored, of these columns in all row groups."""
    total = 0
    for group in range(metadata.num_row_groups):
        row_group = metadata.row_group(group)
        for i in range(metadata.num_columns):
            column = row_group.column(i)
            if column.path_in_schema.partition(".")[0] in columns:
                total += column.total_compressed_size
    return total


_Test = tuple[str, str, Any]
"""Column, comparison and value: a row that a predicate lets through satisfies it."""


def _tests(predicate: pl.Expr) -> list[_Test]:
    """What every row that a predicate lets through satisfies, as far as it can be read off it."""
    try:
        return _conjuncts(json.loads(predicate.meta.serialize(format="json")))
    except (ValueError, KeyError, TypeError, pl.exceptions.PolarsError):  # polars keeps this form to itself
        return []


def _conjuncts(node: Mapping[str, Any]) -> list[_Test]:
    match node:
        case {"BinaryExpr": {"left": left, "op": "And", "right": right}}:
            return _conjuncts(left) + _conjuncts(right)
        case {"BinaryExpr": {"left": {"Column": str() as name}, "op": str() as op, "right": {"Literal": literal}}}:
            return _test(name, op, literal)
        case {"BinaryExpr": {"left": {"Literal": literal}, "op": str() as op, "right": {"Column": str() as name}}}:
            return _test(name, _MIRRORED.get(op, ""), literal)
    return []


def _test(name: str, op: str, literal: Mapping[str, Any]) -> list[_Test]:
    match literal:
        case {"Scalar": {**typed}} | {"Dyn": {**typed}} if len(typed) == 1:
            ((kind, value),) = typed.items()
            is_known = (kind == "String" and isinstance(value, str)) or ("Int" in kind and type(value) is int)
            return [(name, op, value)] if is_known and op in _MIRRORED else []
    return []


def _may_hold(row_group: Any, places: Mapping[str, int], tests: Sequence[_Test]) -> bool:
    """Whether a row group may have a row that satisfies all tests, by the least and largest value of its columns."""
    for name, op, value in tests:
        statistics = row_group.column(places[name]).statistics if name in places else None
        if statistics is None or not statistics.has_min_max:
            continue
        least, largest = statistics.min, statistics.max
        if type(least) is not type(value):
            continue
        # Statistics of long texts may be cut short; they are bounds all the same.
        bounds = {"Eq": least <= value <= largest, "Gt": largest > value, "GtEq": largest >= value}
        bounds |= {"Lt": least < value, "LtEq": least <= value}
        if not bounds[op]:
            return False
    return True
