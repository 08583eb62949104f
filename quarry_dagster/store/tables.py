"""Partitioned tables: one Parquet file a partition and version, the highest version is current.

A segment (one file) never changes once it is there: a new version is a new file, so a snapshot can go on
reading the versions that it was made from while a partition is written again. :meth:`Table.prune` deletes
versions that nobody needs.

Why so: "Versions are files, current is the highest" in docs/decisions.md.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import polars as pl

from quarry_dagster.digests import digest_of
from quarry_dagster.store.files import Files, arrow_schema
from quarry_dagster.store.notes import Notes, RawPagesNotes, SketchNotes, TextNotes, VectorNotes

if TYPE_CHECKING:
    import pyarrow as pa

_ROW_GROUP_BYTES = 2 << 20
_VECTORS_BYTES = 512 << 10
"""Bytes of a row group with vectors: a reader of a few vectors reads only the row groups that have them."""
_PAGE_BYTES = 128 << 10
"""Bytes of a page; small, because a reader of a few texts unpacks every page that has one."""
_PAGE_STEP = 4
"""Rows after which a page may end: a body may be as large as many pages."""
_PENDING_BYTES = 16 << 20
_METADATA_KEY = b"quarry"
_NOISE = {"embedding", "hashes", "outline"}
_LARGE = {"body", "text"}

N = TypeVar("N", bound=Notes)


@dataclass(frozen=True)
class Segment(Generic[N]):
    """One version of one partition of a table; `N` is the type of its notes."""

    files: Files = field(repr=False, compare=False)
    path: str
    partition: str
    version: int
    schema: pl.Schema = field(repr=False, compare=False)
    notes_type: type[N] = field(repr=False, compare=False)

    @property
    def notes(self) -> N:
        """What its writer noted.

        Raises:
            StoreError: the file is damaged, or lacks a note.
        """
        try:
            return _notes(self.files, self.path, self.notes_type)  # pyright: ignore[reportArgumentType]
        except KeyError as e:
            raise self.files.damaged(self.path, f"its footer lacks {e}") from e
        except (TypeError, ValueError, AttributeError) as e:
            raise self.files.damaged(self.path, "the notes in its footer are not as they were written") from e

    @property
    def rows(self) -> int:
        with self.files.parquet(self.path) as f:
            return f.metadata.num_rows

    @property
    def bytes(self) -> int:
        """Size of its file."""
        return self.files.size(self.path)

    def batches(self, columns: Sequence[str] | None = None, rows: int = 64) -> Iterator[pl.DataFrame]:
        """The rows in frames of at most `rows`, in file order, without holding the file in memory.

        A column that the schema was given after the file was written is null; one that it lost is left out.
        """
        with self.files.parquet(self.path) as f:
            there = f.schema_arrow.names
            later = [pl.lit(None, t).alias(c) for c, t in self.schema.items() if c not in there]
            for batch in f.iter_batches(batch_size=rows, columns=columns):
                frame = pl.from_arrow(batch)
                assert isinstance(frame, pl.DataFrame)
                yield frame.with_columns(later).select(columns or self.schema.names())


PagesSegment = Segment[RawPagesNotes]
TextSegment = Segment[TextNotes]
VectorSegment = Segment[VectorNotes]
SketchSegment = Segment[SketchNotes]


@lru_cache(maxsize=65_536)
def _notes(files: Files, path: str, notes_type: type[N]) -> N:
    """Read once a process: a segment never changes, and a sensor asks for all of them every half minute."""
    with files.parquet(path) as f:
        return notes_type.of(json.loads((f.metadata.metadata or {}).get(_METADATA_KEY, b"{}")))


class Table(Generic[N]):
    """A table partitioned by crawl batch.

    Args:
        name: the folder it lies in.
        schema: of its rows.
        notes_type: of what a segment's writer notes.
    """

    def __init__(self, files: Files, name: str, schema: pl.Schema, notes_type: type[N]) -> None:
        self.files = files
        self.name = name
        self.schema = schema
        self.notes_type = notes_type

    def segments(self) -> dict[str, Segment[N]]:
        """The current segment of every partition, in order of partition."""
        current: dict[str, Segment[N]] = {}
        for segment in self._all():
            old = current.get(segment.partition)
            if old is None or old.version < segment.version:
                current[segment.partition] = segment
        return dict(sorted(current.items()))

    def segment(self, partition: str) -> Segment[N] | None:
        """The current segment of one partition, or None."""
        return max(self._all(partition), key=lambda s: s.version, default=None)

    def scan(self, partitions: Iterable[str] | None = None) -> pl.LazyFrame:
        """The current rows of these partitions, or of all, as a lazy table."""
        segments = self.segments()
        names = segments if partitions is None else [p for p in partitions if p in segments]
        return self.files.scan([segments[p].path for p in names], self.schema)

    @contextmanager
    def write(self, partition: str, schema: pl.Schema | None = None) -> Iterator[SegmentWriter[N]]:
        """Write the next version of a partition; it becomes current when the block ends. With an exception none does.

        `schema` is for a table whose types depend on settings (the dimension of a vector).
        """
        old = self.segment(partition)
        version = (old.version if old else 0) + 1
        path = f"{self.name}/{partition}/{version:06d}.parquet"
        segment = Segment(self.files, path, partition, version, schema or self.schema, self.notes_type)
        with self.files.create(path) as file:
            writer = SegmentWriter(segment, file)
            try:
                yield writer
            finally:
                writer.close()

    def lock(self, partition: str) -> AbstractContextManager[None]:
        """Hold a partition, among the processes of this machine, from reading what it is made from to writing it."""
        return self.files.lock(f"{self.name}/{partition}")

    def delete(self, partition: str) -> None:
        """Delete every version of a partition."""
        self.files.delete_folder(f"{self.name}/{partition}")

    def prune(
        self,
        keep: Iterable[str] = (),
        *,
        partition: str = "",
        existing: Iterable[str] | None = None,
        previous: bool = True,
    ) -> None:
        """Delete versions that are neither current nor in `keep` (paths), of one partition or of all.

        With `previous` the version before the current one stays too, so that a reader who looked a moment ago
        can finish. Of partitions that are not in `existing`, where that is given, only `keep` stays.
        """
        wanted = set(keep)
        known = None if existing is None else set(existing)
        by_partition: dict[str, list[Segment[N]]] = {}
        for segment in self._all(partition):
            by_partition.setdefault(segment.partition, []).append(segment)
        for name, versions in by_partition.items():
            if known is None or name in known:
                versions.sort(key=lambda s: -s.version)
                wanted |= {s.path for s in versions[: 2 if previous else 1]}
        self.files.delete([s.path for v in by_partition.values() for s in v if s.path not in wanted])

    def at(self, path: str) -> Segment[N]:
        """The segment of a path that :class:`Segment` once reported."""
        _, partition, name = path.split("/")
        version = int(name.removesuffix(".parquet"))
        return Segment(self.files, path, partition, version, self.schema, self.notes_type)

    def segments_at(self, paths: Mapping[str, str]) -> dict[str, Segment[N]]:
        """The segments of these paths, by partition, as something that is published names them."""
        return {partition: self.at(path) for partition, path in paths.items()}

    def _all(self, partition: str = "") -> list[Segment[N]]:
        folder = f"{self.name}/{partition}".rstrip("/")
        return [self.at(p) for p in self.files.list(folder) if p.endswith(".parquet")]


class SegmentWriter(Generic[N]):
    """Writes one segment in row groups of bounded size."""

    def __init__(self, segment: Segment[N], file: Any) -> None:
        import pyarrow.parquet as pq

        self.segment = segment
        self.rows = 0
        self._schema = segment.schema
        self._arrow = _written(arrow_schema(self._schema))
        names = self._schema.names()
        self._writer = pq.ParquetWriter(
            file,
            self._arrow,
            # Vectors and hashes are noise to a compressor, and reading them plain takes a fifth of the time.
            compression={c: "none" if c in _NOISE else "zstd" for c in names},  # pyright: ignore[reportArgumentType]
            use_dictionary=[c for c in names if c not in _NOISE | _LARGE],  # pyright: ignore[reportArgumentType]
            data_page_size=_PAGE_BYTES,
            write_batch_size=_PAGE_STEP,
        )
        self._group_bytes = _VECTORS_BYTES if "embedding" in names else _ROW_GROUP_BYTES
        self._pending: list[pl.DataFrame] = []
        self._pending_bytes = 0

    def append(self, rows: pl.DataFrame | Sequence[dict[str, Any]]) -> None:
        """Add rows: a frame, or dicts; columns that are not given are null."""
        if not isinstance(rows, pl.DataFrame):
            rows = pl.DataFrame(rows, schema=self._schema)
        if rows.is_empty():
            return
        self._pending.append(rows.select(self._schema.names()).cast(self._schema))
        self._pending_bytes += int(rows.estimated_size())
        self.rows += rows.height
        if self._pending_bytes >= _PENDING_BYTES:
            self._flush()

    def note(self, notes: N) -> None:
        """Record the segment's notes."""
        self._writer.add_key_value_metadata({_METADATA_KEY: json.dumps(notes.stored(), sort_keys=True).encode()})

    def close(self) -> None:
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        if self._pending:
            frame = pl.concat(self._pending)
            table = frame.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(self._arrow)
            rows = int(table.num_rows * self._group_bytes / self._pending_bytes) if self._pending_bytes else 1
            self._writer.write_table(table, row_group_size=max(1, rows))
            self._pending, self._pending_bytes = [], 0


def _written(schema: pa.Schema) -> pa.Schema:
    """The schema of a file: no element of a vector is null, and files that say so are read in half the time."""
    import pyarrow as pa

    for i, field_ in enumerate(schema):
        if pa.types.is_fixed_size_list(field_.type):
            element = field_.type.value_field.with_nullable(False)
            schema = schema.set(i, field_.with_type(pa.list_(element, field_.type.list_size)))
    return schema


def digest_rows(rows: pl.DataFrame) -> str:
    """A digest of a table's rows, whatever their order.

    Give bodies and texts as their digests: this is for columns of short strings.
    """
    names = sorted(rows.columns)
    columns = [pl.col(name).cast(pl.String).fill_null("\x00") for name in names]
    lines = rows.select(pl.concat_str(columns, separator="\x1f")).to_series().sort()
    return digest_of(("\x1f".join(names).encode(), *(b"\x1e" + line.encode() for line in lines)))
