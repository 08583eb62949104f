"""Partitioned tables: one Parquet file a partition and version; which one is current, the log says.

A segment (one file) never changes once it is there: a new version is a new file under a name of its own, so readers go
on reading the versions that they began with. Versions that nobody needs go with :mod:`quarry_dagster.stages.sweep`.

Why so: "One log for the data root" in docs/decisions.md.
"""

from __future__ import annotations

import json
from collections.abc import Collection, ItemsView, Iterable, Iterator, Mapping, Sequence, ValuesView
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

import polars as pl

from quarry_dagster.digests import digest_of
from quarry_dagster.store.files import Files, arrow_schema
from quarry_dagster.store.log import LostRace
from quarry_dagster.store.notes import FactNotes, Notes, RawPagesNotes, SignalNotes, SketchNotes, TextNotes, VectorNotes
from quarry_dagster.store.schemas import quality_signals_schema
from quarry_dagster.store.state import Entry, Line, Partitions, State, entry_of

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
    entry: Entry | None = field(default=None, repr=False, compare=False)
    """What the log says of it; None where it names it no longer."""

    @property
    def notes(self) -> N:
        """What its writer noted.

        Raises:
            StoreError: the file is damaged, or lacks a note.
        """
        try:
            if self.entry:
                return self.notes_type.of(self.entry.notes())
            return _notes(self.files, self.path, self.notes_type)  # pyright: ignore[reportArgumentType]
        except KeyError as e:
            raise self.files.damaged(self.path, f"its footer lacks {e}") from e
        except (TypeError, ValueError, AttributeError) as e:
            raise self.files.damaged(self.path, "the notes in its footer are not as they were written") from e

    @property
    def rows(self) -> int:
        if self.entry:
            return self.entry.rows
        with self.files.parquet(self.path) as f:
            return f.metadata.num_rows

    @property
    def bytes(self) -> int:
        """Size of its file."""
        if self.entry:
            return self.entry.bytes
        return self.files.size(self.path)

    def batches(self, columns: Sequence[str] | None = None, rows: int = 64) -> Iterator[pl.DataFrame]:
        """The rows in frames of at most `rows` of one row group, in file order, without holding the file in memory.

        A column that the schema was given after the file was written is null; one that it lost is left out.
        """
        with self.files.parquet(self.path) as f:
            there = f.schema_arrow.names
            later = [pl.lit(None, t).alias(c) for c, t in self.schema.items() if c not in there]
            # Row groups are written by bytes; a batch that ran across them would hold as many bytes as its rows have.
            for group in range(f.metadata.num_row_groups):
                for batch in f.iter_batches(batch_size=rows, row_groups=[group], columns=columns):
                    frame = pl.from_arrow(batch)
                    assert isinstance(frame, pl.DataFrame)
                    yield frame.with_columns(later).select(columns or self.schema.names())

    def matching(self, ids: Collection[str], columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        """The rows of these `doc_id`s, a row group at a time; of row groups without one only the ids are read."""
        with self.files.parquet(self.path) as f:
            for group in range(f.metadata.num_row_groups):
                there = f.read_row_group(group, columns=["doc_id"])["doc_id"].to_pylist()
                if not ids or not any(doc_id in ids for doc_id in there):
                    continue
                frame = pl.from_arrow(f.read_row_group(group, columns=list(columns)))
                assert isinstance(frame, pl.DataFrame)
                yield frame.filter(pl.col("doc_id").is_in(list(ids)))


PagesSegment = Segment[RawPagesNotes]
TextSegment = Segment[TextNotes]
VectorSegment = Segment[VectorNotes]
SketchSegment = Segment[SketchNotes]
FactSegment = Segment[FactNotes]
SignalSegment = Segment[SignalNotes]


@lru_cache(maxsize=65_536)
def _notes(files: Files, path: str, notes_type: type[N]) -> N:
    """Read once a process: a segment never changes."""
    with files.parquet(path) as f:
        return notes_type.of(json.loads((f.metadata.metadata or {}).get(_METADATA_KEY, b"{}")))


Forgetting = Literal[
    "its row is emptied",
    "its rows are taken out",
    "its partition is made again",
    "its rows are taken out with its text",
    "it is made again with the corpus",
]
"""How a forgotten document leaves a table: :mod:`quarry_dagster.takedown.taking_out` does it."""


class Table(Generic[N]):
    """A table partitioned by crawl batch.

    Args:
        name: the folder it lies in.
        schema: of its rows.
        notes_type: of what a segment's writer notes.
        forgets: how a forgotten document leaves it.
    """

    def __init__(self, files: Files, name: str, schema: pl.Schema, notes_type: type[N], *, forgets: Forgetting) -> None:
        self.files = files
        self.name = name
        self.schema = schema
        self.notes_type = notes_type
        self.forgets = forgets

    def segments(self, commit: int | None = None) -> Segments[N]:
        """The current segment of every partition, in order of partition; or those that were current at a commit."""
        state = self.files.state()
        if commit is None:
            return Segments(self, state.table(self.name))
        return Segments(self, Partitions(state.table_at(self.name, commit), {}))

    def segment(self, partition: str) -> Segment[N] | None:
        """The current segment of one partition, or None."""
        entry = self.files.state().table(self.name).get(partition)
        return self._of(entry) if entry else None

    def changed(self) -> int:
        """The commit that last changed a partition; -1 where none did."""
        return self.files.state().table(self.name).newest

    def scan(self, partitions: Iterable[str] | None = None) -> pl.LazyFrame:
        """The current rows of these partitions, or of all, as a lazy table."""
        paths = self.segments().paths()
        names = paths if partitions is None else [p for p in partitions if p in paths]
        return self.files.scan([paths[p] for p in names], self.schema)

    @contextmanager
    def write(
        self,
        partition: str,
        schema: pl.Schema | None = None,
        *,
        over: Segment[N] | None = None,
        since: int | None = None,
    ) -> Iterator[SegmentWriter[N]]:
        """Write the next version of a partition; it becomes current when the block ends. With an exception none does.

        `schema` is for a table whose types depend on settings (the dimension of a vector). `over` is the version whose
        rows are taken over, by default that which is current when the block begins. Where another process wrote
        a version from the same input meanwhile, that one stays, and the writer's segment is that one.

        Raises:
            LostRace: another process wrote one from another input; with `since`, any partition after that commit.
            StoreError: it cannot be written.
        """
        old = over or self.segment(partition)
        version = (old.version if old else 0) + 1
        path = f"{self.name}/{partition}/{version:06d}-{self.files.new_id()}.parquet"
        segment = Segment(self.files, path, partition, version, schema or self.schema, self.notes_type)
        with self.files.create(path) as file:
            writer = SegmentWriter(segment, file)
            yield writer
            writer.close()
        notes, sha256 = writer.notes, file.sha256
        made_from, content = notes.get("input", ""), notes.get("content", "")
        entry = entry_of(
            {"partition": partition, "path": path, "rows": writer.rows, "bytes": file.bytes}
            | {"sha256": sha256, "notes": notes},
            -1,
            datetime.min,
        )

        def decide(state: State) -> list[Line]:
            now = state.table(self.name).get(partition)
            if now and now.path == path:  # ours, of a request whose answer was lost
                return []
            is_as_before = (now.path if now else None) == (old.path if old else None)
            if since is not None and state.table(self.name).newest > since:
                is_as_before = False
            if is_as_before:
                return [entry.line(self.name, old.path if old else None), *writer.further(state)]
            if now and now.input and (now.input, now.content) == (made_from, content):
                return []
            raise LostRace(f"{self.name} of {partition} was written by another process meanwhile")

        try:
            state = self.files.log.commit(decide)
        except LostRace:
            self.files.delete([path, *writer.files])
            raise
        now = state.table(self.name).get(partition)
        is_ours = now is not None and now.path == path
        if not is_ours and path not in {*state.past()["path"]}:  # another made the same; else it came after ours
            self.files.delete([path, *writer.files])
        if now:
            writer.segment = self._of(now)

    def lock(self, partition: str) -> AbstractContextManager[None]:
        """Hold a partition, among the processes of this machine, from reading what it is made from to writing it."""
        return self.files.lock(f"{self.name}/{partition}")

    def at(self, path: str) -> Segment[N]:
        """The segment of a path that :class:`Segment` once reported."""
        _, partition, name = path.split("/")
        version = int(name.removesuffix(".parquet").partition("-")[0])
        return Segment(self.files, path, partition, version, self.schema, self.notes_type)

    def segments_at(self, paths: Mapping[str, str]) -> dict[str, Segment[N]]:
        """The segments of these paths, by partition, as something that is published names them."""
        now = self.segments()
        found: dict[str, Segment[N]] = {}
        for partition, path in paths.items():
            current = now.get(partition)
            found[partition] = current if current and current.path == path else self.at(path)
        return found

    def _of(self, entry: Entry) -> Segment[N]:
        version = int(entry.path.rpartition("/")[2].removesuffix(".parquet").partition("-")[0])
        return Segment(self.files, entry.path, entry.partition, version, self.schema, self.notes_type, entry)


class SignalTable(Table[SignalNotes]):
    """`quality_signals`, whose columns differ: a segment has one for each signal that its notes name."""

    def at(self, path: str) -> SignalSegment:
        return _with_signals(super().at(path))

    def scan(self, partitions: Iterable[str] | None = None) -> pl.LazyFrame:
        segments = self.segments()
        found = segments.values() if partitions is None else map(segments.get, partitions)
        return self.rows([segment for segment in found if segment])

    def rows(self, segments: Sequence[SignalSegment]) -> pl.LazyFrame:
        """The rows of these segments with all of their signals; one that a segment lacks is null there."""
        names = dict.fromkeys(name for segment in segments for name in segment.notes.names)
        return self.files.scan([segment.path for segment in segments], quality_signals_schema([*names]))

    def _of(self, entry: Entry) -> SignalSegment:
        return _with_signals(super()._of(entry))


def _with_signals(segment: SignalSegment) -> SignalSegment:
    return replace(segment, schema=quality_signals_schema(segment.notes.names))


class Segments(Mapping[str, Segment[N]]):
    """Segments of a table by partition, in order of partition; each is made when it is asked for."""

    def __init__(self, table: Table[N], partitions: Partitions) -> None:
        self._table = table
        self._partitions = partitions

    def __getitem__(self, partition: str) -> Segment[N]:
        if entry := self._partitions.get(partition):
            return self._table._of(entry)
        raise KeyError(partition)

    def __contains__(self, partition: object) -> bool:
        return isinstance(partition, str) and self._partitions.get(partition) is not None

    def __iter__(self) -> Iterator[str]:
        return iter(self._partitions.frame()["partition"].to_list())

    def __len__(self) -> int:
        return self._partitions.frame().height

    def items(self) -> ItemsView[str, Segment[N]]:
        return {segment.partition: segment for segment in map(self._table._of, self._partitions.entries())}.items()

    def values(self) -> ValuesView[Segment[N]]:
        return dict(self.items()).values()

    def paths(self) -> dict[str, str]:
        """The path of each, by partition."""
        return dict(self.frame().select("partition", "path").iter_rows())

    def frame(self) -> pl.DataFrame:
        """What the log says of them: columns partition, path, rows, bytes, input, content, others and more."""
        return self._partitions.frame()


class SegmentWriter(Generic[N]):
    """Writes one segment in row groups of bounded size."""

    def __init__(self, segment: Segment[N], file: Any) -> None:
        import pyarrow.parquet as pq

        from quarry_dagster.store import verified

        self.segment = segment
        """The segment that is written; after the block that which counts."""
        self.rows = 0
        self.notes: dict[str, Any] = {}
        """What was noted, as JSON values."""
        self.files: list[str] = []
        """Paths of files that come with the segment: one commit brings all."""
        self.lines: list[Line] = []
        """Lines that come with the segment."""
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
            write_page_checksum=True,
        )
        self._writer.add_key_value_metadata({verified.PATH_KEY: segment.path.encode()})
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
        self.notes = notes.stored()
        self._writer.add_key_value_metadata({_METADATA_KEY: json.dumps(self.notes, sort_keys=True).encode()})

    def further(self, state: State) -> list[Line]:
        """What the commit says besides the segment."""
        return [*self.segment.files.lines(self.files, state), *self.lines]

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
