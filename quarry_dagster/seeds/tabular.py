"""Tables: `.csv`, `.jsonl` and `.parquet` with a column `url`, and perhaps the documents themselves.

Each format only turns its lines into rows; what a row means is decided once, in `_Table`.
"""

from __future__ import annotations

import csv
import difflib
import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, BinaryIO

from quarry_dagster.seeds.discovery import parse_discovery
from quarry_dagster.seeds.model import Place, Problem, Seed, shown
from quarry_dagster.seeds.payload import unsupported
from quarry_dagster.seeds.text import Lines, binary_problem

if TYPE_CHECKING:
    import pyarrow as pa

USED = ("url", "html", "text", "content_type", "fetched_at", "discover")

_BATCH_ROWS = 64
_PATIENCE = 100
"""Rows without a URL that are read before a JSONL file is given up as having no column `url`."""


class _Table:
    """The rows of one file: which columns they have, and which seed each of them is."""

    def __init__(self, max_body: int) -> None:
        self._max_body = max_body
        self._unused: set[str] = set()

    def unused(self, columns: Iterable[str]) -> Iterator[Problem]:
        """One problem for each column that is not used, the first time it is seen."""
        for column in columns:
            # The bound keeps a file of ever new JSON keys from filling the memory.
            if column not in USED and column not in self._unused and len(self._unused) < 1000:
                self._unused.add(column)
                yield Problem(None, f"column {shown(column)!r} is not used; used are: {', '.join(USED)}")

    def seed(self, line: int, row: Mapping[str, Any]) -> Iterator[Seed | Problem]:
        """The seed of a row whose keys are lower case."""
        url = row.get("url")
        if isinstance(url, bytes):  # some writers of Parquet do not mark text as such
            url = url.decode(errors="replace")
        if not isinstance(url, str) or not url.strip():
            wrong = "no url in this row" if url in (None, "") else "the url is not text"
            yield Problem(line, f"{wrong}; fill its column 'url', or delete the row", shown(url or ""))
            return
        url = url.strip()
        fetched_at, wrong = _utc(row.get("fetched_at"))
        if wrong:
            yield Problem(line, wrong, shown(row["fetched_at"]))
        column = "html" if row.get("html") else "text"
        document = row.get(column)
        if not document:
            wanted = row.get("discover")
            try:
                yield Seed(url, line, discover=str(parse_discovery(str(wanted))) if wanted else None)
            except ValueError as e:
                yield Problem(line, str(e), shown(wanted))
            return
        content_type = "text/html" if column == "html" else "text/plain"
        if isinstance(document, str):
            document = document.encode(errors="replace")
            content_type += "; charset=utf-8"
        elif not isinstance(document, bytes):
            found = type(document).__name__
            yield Problem(line, f"{column!r} is no text but a {found}; write it as a string", shown(document))
            return
        elif column == "html" and isinstance(row.get("content_type"), str):
            # Only bytes need it: it may name their charset. A string has been encoded here.
            content_type = row["content_type"]
        outcome, detail = "given", None
        if len(document) > self._max_body:
            outcome, detail = "too_large", f"{len(document)} bytes"
        elif detail := unsupported(content_type, document):
            outcome = "unsupported_type"
        yield Seed(
            url,
            line,
            outcome=outcome,
            detail=detail,
            fetched_at=fetched_at,
            content_type=content_type,
            body=document if outcome == "given" else None,
        )


def read_csv(file: BinaryIO, max_body: int, place: Place) -> Iterator[Seed | Problem]:
    """RFC 4180, UTF-8, comma-separated, with a header row; quoted fields may hold newlines."""
    if problem := binary_problem(file):
        yield problem
        return
    limit = _document_line(max_body)
    # The module's limit is one for the process; raising it is all that is ever done here.
    csv.field_size_limit(max(csv.field_size_limit(), limit))
    table = _Table(max_body)
    columns: list[str] = []
    head = Place()
    for _, fields in _csv_rows(file, limit, head):
        if not isinstance(fields, Problem):
            columns = [name.strip().lower() for name in fields]
            if "url" not in columns:
                yield _no_url(name.strip() for name in fields)
                return
            break
        if not place.at:
            yield fields
    if not place.at:
        yield from table.unused(columns)
        place.line, place.at = head.line, head.at
    file.seek(place.at)
    for line, fields in _csv_rows(file, limit, place):
        if isinstance(fields, Problem):
            yield fields
        elif len(fields) != len(columns):
            reason = f"{len(fields)} fields where the header has {len(columns)}; quote fields that hold commas"
            yield Problem(line, reason, shown(",".join(fields)))
        else:
            yield from table.seed(line, dict(zip(columns, fields, strict=True)))


def _csv_rows(file: BinaryIO, limit: int, place: Place) -> Iterator[tuple[int, list[str] | Problem]]:
    """Each row from `place` on, with the number of its first line.

    A row that breaks the quoting is given up after its first line, so that a quote left open does not swallow
    the rows behind it.
    """
    lines = Lines(file, limit, place)
    row = _CsvRow(lines, limit)
    reader = csv.reader(row, strict=True)
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


def read_jsonl(file: BinaryIO, max_body: int, place: Place) -> Iterator[Seed | Problem]:
    """One JSON object a line."""
    if problem := binary_problem(file):
        yield problem
        return
    table = _Table(max_body)
    without: list[Problem] | None = None if place.at else []  # None from the first row that has a url
    keys: dict[str, None] = {}
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
        names = [key.strip().lower() for key in row]
        if without is not None:
            if "url" not in names:
                keys |= dict.fromkeys(list(row)[:_PATIENCE])
                without.append(Problem(place.line, "no url in this row; add it", shown(line)))
                if len(without) == _PATIENCE:
                    break
                continue
            yield from without
            without = None
        yield from table.unused(names)
        yield from table.seed(place.line, dict(zip(names, row.values(), strict=True)))
    if without:
        yield _no_url(keys)


def _json_object(line: str, number: int) -> dict[str, Any] | Problem:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as e:
        return Problem(number, f"not JSON: {e}; write one object a line", shown(line))
    if not isinstance(row, dict):
        return Problem(number, 'not a JSON object; write {"url": ...}', shown(line))
    return row


def read_parquet(file: BinaryIO, max_body: int, place: Place) -> Iterator[Seed | Problem]:
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
    names = {name: name.strip().lower() for name in columns}
    if "url" not in names.values():
        yield _no_url(columns)
        return
    table = _Table(max_body)
    yield from table.unused(names.values())
    used = list({names[name]: name for name in columns if names[name] in USED}.values())
    line = 0
    for group in range(parquet.num_row_groups):
        end = line + parquet.metadata.row_group(group).num_rows
        if end <= place.line:
            line = end
            continue
        done = place.line
        try:
            for batch in parquet.iter_batches(_BATCH_ROWS, row_groups=[group], columns=used):
                for row in _parquet_rows(batch.rename_columns([names[name] for name in batch.schema.names])):
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


def _no_url(columns: Iterable[str]) -> Problem:
    found = [shown(name) for name in columns]
    listed = ", ".join(found[:20]) + (", ..." if len(found) > 20 else "")
    near = _nearest(found)
    hint = f"did you mean {near!r}? Rename it" if near else "name the column of the URLs so in the header"
    return Problem(None, f"no column 'url'; it has: {listed}; {hint}")


def _nearest(columns: list[str]) -> str | None:
    lowered = {name.lower(): name for name in columns}
    for alias in ("link", "uri", "href", "address", "page_url", "source_url"):
        if alias in lowered:
            return lowered[alias]
    containing = [name for name in columns if "url" in name.lower() and len(name) < 20]
    near = containing or difflib.get_close_matches("url", columns, n=1)
    return near[0] if near else None


def _utc(value: object) -> tuple[datetime | None, str]:
    """The time in UTC (taken as UTC where it names no zone), and what is wrong with it."""
    if value is None or value == "":
        return None, ""
    if isinstance(value, date) and not isinstance(value, datetime):
        value = value.isoformat()
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value.strip())
        except ValueError:
            value = None
    if not isinstance(value, datetime):
        return None, "fetched_at is no ISO 8601 time and was ignored; write 2026-01-31T12:00:00Z"
    if value.tzinfo is None:
        return value.replace(tzinfo=UTC), ""
    try:
        return value.astimezone(UTC), ""
    except OverflowError:
        return None, "fetched_at is beyond the calendar and was ignored"


def _first_line(error: BaseException) -> str:
    return shown(str(error).partition("\n")[0])
