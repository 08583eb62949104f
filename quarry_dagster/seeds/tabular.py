"""Tables: `.csv`, `.jsonl` and `.parquet` with a column `url` or `id`, and perhaps the documents themselves.

Each format only turns its lines into rows; what a row means is decided once, in :mod:`quarry_dagster.seeds.rows`.
"""

from __future__ import annotations

import codecs
import csv
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, BinaryIO

from quarry_dagster.seeds.model import Place, Problem, Seed, shown
from quarry_dagster.seeds.rows import Table
from quarry_dagster.seeds.settings import SeedSettings
from quarry_dagster.seeds.text import Lines, binary_problem

if TYPE_CHECKING:
    import pyarrow as pa

_BATCH_ROWS = 64
_HEAD = 1 << 16
_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
_SAYS_SEPARATOR = re.compile(rb"(?:\xef\xbb\xbf)?\"?sep=(.)\"?\r?\n", re.IGNORECASE)
"""A first line by which spreadsheets say what separates the fields."""
_PATIENCE = 100
"""Rows without URL and id that are read before a JSONL file is given up as having no such column."""
_PANDAS_INDEX = "__index_level_0__"
"""The column that pandas makes of an index without a name; nobody gave it."""


def read_csv(file: BinaryIO, max_body: int, place: Place, settings: SeedSettings) -> Iterator[Seed | Problem]:
    """RFC 4180, UTF-8, with a header row; quoted fields may hold newlines.

    Fields are separated by commas, or by semicolons or tabs where only these part the header into columns of ours.
    """
    if problem := binary_problem(file):
        yield problem
        return
    limit = _document_line(max_body)
    # The module's limit is one for the process; raising it is all that is ever done here.
    csv.field_size_limit(max(csv.field_size_limit(), limit))
    table = Table(max_body, settings)
    columns: list[str] = []
    said = _SAYS_SEPARATOR.match(file.read(_HEAD))
    start = Place(1, said.end()) if said else Place()
    separator = said[1].decode("latin-1") if said else _separator(file, limit, table)
    head = replace(start)
    file.seek(head.at)
    for _, fields in _csv_rows(file, limit, head, separator):
        if not isinstance(fields, Problem):
            columns = [name.strip() for name in fields]
            if problem := _undivided(columns) or table.missing(columns) or _twice(columns):
                yield problem
                return
            break
        if not place.at:
            yield fields
    if not place.at:
        place.line, place.at = head.line, head.at
    file.seek(place.at)
    name = _SEPARATORS.get(separator, f"{separator!r}")
    for line, fields in _csv_rows(file, limit, place, separator):
        if isinstance(fields, Problem):
            yield fields
        elif len(fields) != len(columns):
            reason = f"{len(fields)} fields where the header has {len(columns)}; quote fields that hold {name}"
            yield Problem(line, reason, shown(separator.join(fields)))
        else:
            yield from table.seed(line, dict(zip(columns, fields, strict=True)))


def _separator(file: BinaryIO, limit: int, table: Table) -> str:
    """What separates the fields, by the header alone: the first that parts it into columns that a table needs."""
    for separator in _SEPARATORS:
        file.seek(0)
        fields = next((fields for _, fields in _csv_rows(file, limit, Place(), separator)), None)
        if isinstance(fields, list) and not table.missing([name.strip() for name in fields]):
            return separator
    return ","


def _undivided(columns: Sequence[str]) -> Problem | None:
    """The problem of a header that commas do not part, where something else may: a table needs two columns or `url`."""
    if len(columns) != 1 or columns[0].lower() == "url":
        return None
    found = next((sign for sign in _SEPARATORS if sign in columns[0]), None)
    if found is None:
        return None
    names = ", ".join(shown(name.strip()) for name in columns[0].split(found)[:20])
    return Problem(
        None,
        f"{_SEPARATORS[found]} part its header, and none of its columns is 'url' or 'id'; it has: {names}; rename one",
    )


def _csv_rows(file: BinaryIO, limit: int, place: Place, separator: str) -> Iterator[tuple[int, list[str] | Problem]]:
    """Each row from `place` on, with the number of its first line.

    A row that breaks the quoting is given up after its first line, so that a quote left open does not swallow
    the rows behind it.
    """
    lines = Lines(file, limit, place)
    row = _CsvRow(lines, limit)
    reader = csv.reader(row, strict=True, delimiter=separator)
    while True:
        row.begin()
        try:
            fields = next(reader, None)
        except csv.Error as e:
            file.seek(row.first_end)
            place.line, place.at = row.first, row.first_end
            yield row.first, Problem(row.first, f"not CSV: {e}; double the quotes inside quotes", row.text)
            continue
        if row.problem:
            yield row.first, row.problem
        elif fields is None:
            return
        elif fields:
            yield row.first, fields


class _CsvRow:
    """The lines of one row, as the csv module asks for them."""

    def __init__(self, lines: Lines, limit: int) -> None:
        self._lines = lines
        self._limit = limit

    def begin(self) -> None:
        self.first = self.first_end = 0
        self.text = ""
        self.problem: Problem | None = None
        self._size = 0

    def __iter__(self) -> _CsvRow:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        place = self._lines.place
        if isinstance(line, Problem):
            if not self.first:
                self.first, self.first_end, self.problem = place.line, place.at, line
                raise StopIteration
            raise csv.Error(f"in line {line.line}: {line.reason}")
        if not self.first:
            self.first, self.first_end, self.text = place.line, place.at, shown(line.strip())
        self._size += len(line)
        if self._size > self._limit:
            raise csv.Error(f"a row longer than {self._limit} characters, perhaps a quote that is not closed")
        return line


def read_jsonl(file: BinaryIO, max_body: int, place: Place, settings: SeedSettings) -> Iterator[Seed | Problem]:
    """One JSON object a line."""
    if problem := binary_problem(file):
        yield problem
        return
    if problem := None if place.at else _not_lines(file):
        yield problem
        return
    table = Table(max_body, settings)
    without: list[Problem] | None = None if place.at else []  # None from the first row that has a url or an id
    keys: dict[str, None] = {}
    if settings.columns and not place.at and (problem := table.unfilled(_objects(file, max_body))):
        yield problem
        return
    file.seek(place.at)
    for line in Lines(file, _document_line(max_body), place):
        if isinstance(line, Problem):
            yield line
            continue
        if not line.strip():
            continue
        row = _json_object(line, place.line)
        if isinstance(row, Problem):
            yield row
            continue
        if without is not None:
            keys |= dict.fromkeys(list(row)[:_PATIENCE])
            if not {"url", "id"} & table.layout(row).ours.keys():
                without.append(Problem(place.line, "no url and no id in this row; add one", shown(line)))
                if len(without) == _PATIENCE:
                    break
                continue
            yield from without
            without = None
        yield from table.seed(place.line, row)
    if without:
        yield table.missing(keys) or without[0]


def _not_lines(file: BinaryIO) -> Problem | None:
    """The problem of a file of JSON whose objects are not one a line; the file is left at its start."""
    head = file.read(_HEAD).removeprefix(codecs.BOM_UTF8).split(b"\n")
    file.seek(0)
    first = next((line.strip() for line in head if line.strip()), b"")
    if first == b"{":
        return Problem(None, "an object over several lines; write one object a line, as `jq -c .` does")
    if (
        first.startswith(b"[")
        and not first.startswith(b"[[")
        and (first == b"[" or first[1:].lstrip().startswith(b"{"))
    ):
        return Problem(None, "a list of objects; write one object a line, as `jq -c '.[]'` does")
    return None


def _objects(file: BinaryIO, max_body: int) -> Iterator[dict[str, Any]]:
    """The objects of a file from its start, each as :func:`_outline` has it."""
    file.seek(0)
    for line in Lines(file, _document_line(max_body), Place()):
        if isinstance(line, str) and line.strip() and isinstance(row := _json_object(line, 0), dict):
            yield _outline(row)


def _outline(value: Any) -> Any:
    """An object with None in the place of every value that is none."""
    return {key: _outline(each) for key, each in value.items()} if isinstance(value, dict) else None


def _json_object(line: str, number: int) -> dict[str, Any] | Problem:
    try:
        row = json.loads(line, parse_constant=lambda _: None)  # NaN, as Python writes a value that is missing
    except (ValueError, RecursionError) as e:
        return Problem(number, f"not JSON: {e}; write one object a line", shown(line))
    if not isinstance(row, dict):
        return Problem(number, 'not a JSON object; write {"url": ...}', shown(line))
    return row


def read_parquet(file: BinaryIO, max_body: int, place: Place, settings: SeedSettings) -> Iterator[Seed | Problem]:
    """Rows by small batches; a damaged row group costs only itself, one that was read before nothing."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    bad_content = (pa.ArrowException, OSError, ValueError)
    try:
        # Without read-ahead, memory is bounded by pages rather than row groups.
        parquet = pq.ParquetFile(file, pre_buffer=False, buffer_size=1 << 20)
        columns = parquet.schema_arrow.names
    except bad_content as e:
        yield Problem(None, f"not a Parquet file: {_first_line(e)}; write it again")
        return
    table = Table(max_body, settings)
    if problem := table.missing(columns) or _twice(columns):
        yield problem
        return
    if problem := table.unfilled([_outline_of(parquet.schema_arrow)]):
        yield problem
        return
    ours = {column for column, _ in table.layout(columns).ours.values()}
    for column in parquet.schema_arrow:
        if _is_bytes(column.type) and column.name not in ours:  # an image would be read for nothing
            yield from table.left_out(column.name, "it holds bytes, which metadata cannot; write text")
            columns.remove(column.name)
    used = [name for name in columns if name != _PANDAS_INDEX or name in ours]
    line = 0
    for group in range(parquet.num_row_groups):
        end = line + parquet.metadata.row_group(group).num_rows
        if end <= place.line:
            line = end
            continue
        done = place.line
        if average := _too_large_on_average(parquet.metadata.row_group(group), used, _document_line(max_body)):
            rows = f"rows {line + 1} to {end}" if end > line + 1 else f"row {end}"
            yield Problem(line + 1, f"{rows} cannot be read: a value has {average:,} bytes unpacked; leave it out")
            line = end
            continue
        try:
            for batch in parquet.iter_batches(_BATCH_ROWS, row_groups=[group], columns=used):
                for row in _parquet_rows(batch):
                    line += 1
                    if line <= done:
                        continue
                    place.line = line
                    if isinstance(row, ValueError):
                        yield Problem(line, f"the row cannot be read: {_first_line(row)}; write it again")
                    else:
                        yield from table.seed(line, row)
        except bad_content as e:
            reason = f"rows {line + 1} to {end} cannot be read: {_first_line(e)}; write the file again"
            yield Problem(line + 1, reason)
        line = end


def _too_large_on_average(group: Any, columns: Sequence[str], limit: int) -> int | None:
    """The bytes that a value of one of these columns has at least, in a row group, where they are over a limit.

    The footer says how large a column is unpacked: it is told before memory is taken. None where none is too large.
    """
    for i in range(group.num_columns):
        column = group.column(i)
        size = column.total_uncompressed_size // max(1, column.num_values)
        if column.path_in_schema.split(".")[0] in columns and size > limit:
            return size
    return None


def _outline_of(fields: Iterable[pa.Field]) -> dict[str, Any]:
    """What :func:`_outline` makes of rows with these columns."""
    import pyarrow.types as types

    return {f.name: _outline_of(f.type.fields) if types.is_struct(f.type) else None for f in fields}


def _parquet_rows(batch: pa.RecordBatch) -> Iterator[dict[str, Any] | ValueError]:
    import pyarrow as pa

    for i, column in enumerate(batch.schema):
        if pa.types.is_timestamp(column.type) and column.type.unit == "ns":  # Python's times have no nanoseconds
            times = batch.column(i).cast(pa.timestamp("us", column.type.tz), safe=False)
            batch = batch.set_column(i, column.name, times)
    try:
        yield from batch.to_pylist()
    except ValueError:  # a text that is not UTF-8, a time beyond the calendar: then row by row
        for i in range(batch.num_rows):
            try:
                yield {name: batch.column(name)[i].as_py() for name in batch.schema.names}
            except ValueError as e:
                yield e


def _document_line(max_body: int) -> int:
    """Bytes a line may have that carries a document of `max_body`, with what quoting and escapes add."""
    return 4 * max_body + (64 << 10)


def _is_bytes(kind: pa.DataType) -> bool:
    import pyarrow.types as types

    return types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind)


def _twice(columns: Sequence[str]) -> Problem | None:
    """The problem of two columns of one name: nobody could say which is meant."""
    double = next((name for name in columns if columns.count(name) > 1), None)
    return Problem(None, f"two columns {shown(double)!r}; rename one") if double is not None else None


def _first_line(error: BaseException) -> str:
    return shown(str(error).partition("\n")[0])
