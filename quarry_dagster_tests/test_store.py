"""Tables and snapshots appear whole or not at all, on any file system."""

import gc
import os
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarry_dagster.errors import StoreError
from quarry_dagster.store import Files, Layers, LostRace, Notes, Root, Snapshot, Snapshots, Table, digest_rows
from quarry_dagster.store.writers import token_in
from quarry_dagster.urls import CURRENT_FORM, FIRST_FORM

SCHEMA = pl.Schema({"id": pl.Int64, "text": pl.String})


@pytest.fixture(params=["local", "memory"])
def files(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Files]:
    yield Files(str(tmp_path) if request.param == "local" else f"memory://{uuid.uuid4()}")


@dataclass(frozen=True, kw_only=True)
class ThingNotes(Notes):
    content: str


@dataclass(frozen=True)
class Thing:
    """What a snapshot of a test holds."""

    snapshot: Snapshot
    fact: int

    @classmethod
    def of(cls, snapshot: Snapshot, stored: Mapping[str, Any]) -> "Thing":
        return cls(snapshot, stored["fact"])

    def stored(self) -> dict[str, Any]:
        return {"fact": self.fact}

    def files_named(self) -> list[str]:
        return [self.snapshot.path("data.json")]


def _table(files: Files, name: str = "things", schema: pl.Schema = SCHEMA) -> Table[ThingNotes]:
    return Table(files, name, schema, ThingNotes, forgets="its partition is made again")


def _write(table: Table, partition: str, ids: list[int], content: str = "") -> None:
    with table.write(partition) as writer:
        writer.append([{"id": i, "text": f"text {i}"} for i in ids])
        writer.note(ThingNotes(content=content))


def _path(table: Table, partition: str = "a") -> str:
    segment = table.segment(partition)
    assert segment is not None
    return segment.path


def _ids(table: Table, partitions: list[str] | None = None) -> list[int]:
    return sorted(table.scan(partitions).collect()["id"])


def test_a_table_is_the_latest_version_of_each_partition(files: Files) -> None:
    table = _table(files)
    assert _ids(table) == []
    _write(table, "a", [1, 2], content="x")
    _write(table, "b", [3])
    _write(table, "a", [4], content="y")
    assert _ids(table) == [3, 4]
    assert _ids(table, ["a", "unknown"]) == [4]
    segment = table.segment("a")
    assert segment is not None
    assert segment.notes == ThingNotes(content="y")
    assert segment.rows == 1


def test_rows_are_read_by_the_bytes_that_they_have(files: Files) -> None:
    """A frame never has rows of two row groups, which are written by bytes: a few large texts are not read at once."""
    table = _table(files)
    large = "".join(chr(0x4E00 + i % 20_000) for i in range(3_000_000))
    with table.write("a") as writer:
        for i in range(12):
            writer.append([{"id": i, "text": large}])
        writer.append([{"id": i, "text": "small"} for i in range(12, 500)])
        writer.note(ThingNotes(content=""))
    segment = table.segment("a")
    assert segment is not None
    frames = list(segment.batches(rows=1000))
    assert [i for frame in frames for i in frame["id"]] == [*range(500)]
    assert max(frame.filter(pl.col("id") < 12).height for frame in frames) < 12


def test_a_column_that_came_later_is_null_in_files_of_before(files: Files) -> None:
    before = _table(files)
    _write(before, "a", [1])
    table = _table(files, schema=pl.Schema({"id": pl.Int64, "later": pl.List(pl.String), "text": pl.String}))
    with table.write("b") as writer:
        writer.append([{"id": 2, "later": ["there"], "text": "text 2"}])
    rows = [{"id": 1, "later": None, "text": "text 1"}, {"id": 2, "later": ["there"], "text": "text 2"}]
    assert table.scan().collect().sort("id").to_dicts() == rows
    segments = table.segments().values()
    assert [row for s in segments for frame in s.batches() for row in frame.to_dicts()] == rows
    assert [frame.rows() for s in segments for frame in s.batches(["later", "id"])] == [[(None, 1)], [(["there"], 2)]]


@pytest.mark.parametrize("at", ["append", "write_table", "close"])
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_write_that_fails_leaves_no_trace_and_says_nothing_of_its_own(
    files: Files, at: str, error: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    unraisable: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda said: unraisable.append(said.exc_value))
    table = _table(files)
    _write(table, "a", [1])
    before = list(files.list(""))

    def fail(*_: object, **__: object) -> None:
        raise error("the step failed")

    with monkeypatch.context() as broken, pytest.raises(error), table.write("a") as writer:
        writer.append([{"id": 2, "text": "x" * 9_000_000}])
        if at == "append":
            fail()
        broken.setattr(pq.ParquetWriter, at, fail)
    del writer
    gc.collect()
    assert unraisable == []
    assert _ids(table) == [1]
    assert list(files.list("")) == before
    assert not [path for path in files.fs.find(files.full("")) if ".tmp-" in path], "nothing half written is left"


def test_a_reader_of_a_version_before_goes_on_with_it(files: Files) -> None:
    table = _table(files)
    _write(table, "a", [1], content="first")
    before, commit = table.scan(), files.state().number
    named = table.at(_path(table))
    _write(table, "a", [2], content="second")
    assert before.collect()["id"].to_list() == [1] and named.notes == ThingNotes(content="first")
    assert _ids(table) == [2]
    assert {s.path for s in table.segments(commit).values()} == {named.path}


def test_a_segment_streams_in_bounded_batches(files: Files) -> None:
    table = _table(files)
    _write(table, "a", list(range(1000)))
    segment = table.segment("a")
    assert segment is not None
    heights = [b.height for b in segment.batches(["id"], rows=300)]
    assert max(heights) <= 300
    assert sum(heights) == 1000


def _publish(snapshots: Snapshots[Thing], fact: int, keep: list[int]) -> int:
    current = snapshots.current()
    snapshot = snapshots.begin()
    snapshots.files.write_json(snapshot.path("data.json"), fact)
    snapshots.publish(Thing(snapshot, fact), keep=keep, over=current.snapshot.number if current else None)
    return snapshot.number


def test_a_snapshot_appears_when_it_is_published_and_stays_as_long_as_it_is_kept(files: Files) -> None:
    snapshots = Snapshots(files, "index", Thing.of)
    assert snapshots.current() is None and snapshots.latest(2) == []
    failed = snapshots.begin()
    files.write_json(failed.path("data.json"), "half")
    for number in range(1, 4):
        assert _publish(snapshots, number, keep=[number - 1]) == number, "what failed does not count"
    current = snapshots.current()
    assert current is not None and current.fact == 3
    assert [thing.fact for thing in snapshots.latest(2)] == [3, 2]
    assert [thing.fact for thing in snapshots.kept()] == [2, 3] and snapshots.at(1) is None
    snapshots.amend(Thing(current.snapshot, 30), keep=[2])
    assert [thing.fact for thing in snapshots.latest(2)] == [30, 2]
    _publish(snapshots, 4, keep=[])
    assert [thing.fact for thing in snapshots.kept()] == [4]


def test_of_two_that_publish_at_once_one_begins_again(files: Files) -> None:
    snapshots = Snapshots(files, "index", Thing.of)
    first, second = snapshots.begin(), snapshots.begin()
    for snapshot in (first, second):
        files.write_json(snapshot.path("data.json"), 1)
    snapshots.publish(Thing(first, 1), keep=[], over=None)
    with pytest.raises(LostRace):
        snapshots.publish(Thing(second, 2), keep=[], over=None)
    assert snapshots.latest(9) == [Thing(first, 1)]


def test_a_manifest_that_is_not_as_it_was_written_is_named(files: Files) -> None:
    snapshots = Snapshots(files, "index", Thing.of)
    _publish(snapshots, 1, keep=[])
    (manifest,) = (path for path in files.list("index") if path.endswith("manifest.json"))
    content = files.read(manifest)
    for damaged in (content.replace(b"1", b"2"), content[:-1], b""):
        files.fs.pipe_file(files.full(manifest), damaged)
        with pytest.raises(StoreError, match=f"{manifest} is damaged"):
            snapshots.current()
    files.fs.rm_file(files.full(manifest))
    with pytest.raises(StoreError, match=f"{manifest} is damaged .it is gone"):
        snapshots.current()


def test_a_note_that_is_not_there_is_named(files: Files) -> None:
    table = _table(files)
    with table.write("a") as writer:
        writer.append([{"id": 1, "text": "text 1"}])
    segment = table.segment("a")
    assert segment is not None
    with pytest.raises(StoreError, match=r"things/a/.*\.parquet is damaged \(its footer lacks 'content'\)"):
        _ = segment.notes
    for notes in (b"{oops", b"[]", b"4"):  # of a file that the log does not name
        rows = pa.table({"id": [1], "text": ["text 1"]}).replace_schema_metadata({"quarry": notes})
        path = f"things/{notes.hex()}/000001.parquet"
        with files.create(path) as file:
            pq.write_table(rows, file)  # pyright: ignore[reportArgumentType]
        with pytest.raises(StoreError, match="the notes in its footer are not as they were written"):
            _ = table.at(path).notes


def test_a_writer_that_is_killed_leaves_the_last_complete_version(tmp_path: Path) -> None:
    table = _table(Files(str(tmp_path)))
    _write(table, "a", [1])
    program = """
import os, signal, sys
from quarry_dagster_tests.test_store import _table
from quarry_dagster.store import Files
with _table(Files(sys.argv[1])).write("a") as writer:
    writer.append([{"id": 2, "text": "x" * 1000}] * 50_000)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False, env=os.environ)
    assert done.returncode == -signal.SIGKILL
    assert _ids(table) == [1]
    (left,) = (str(p.relative_to(tmp_path)) for p in tmp_path.rglob(".tmp-*"))
    assert table.files.writers.fates()[token_in(left) or ""] == "gone", "a sweep knows that nobody goes on with it"
    _write(table, "a", [5])
    assert _ids(table) == [5]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_write_permission_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StoreError, match="make it accessible"):
        Files(str(tmp_path / "data")).write_json("x.json", {})


def test_a_data_root_below_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"cannot write .*file/data"):
        Files(str(tmp_path / "file" / "data")).write_json("x.json", {})


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read anything")
def test_a_file_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    table = _table(Files(str(tmp_path)))
    _write(table, "a", [1])
    (tmp_path / _path(table)).chmod(0)
    for read in (lambda: table.scan().collect(), lambda: list(table.at(_path(table)).batches())):
        with pytest.raises(StoreError, match=r"cannot read .*a/.*\.parquet: this user may not: make it accessible"):
            read()


def _flipped(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 0x10]) + content[at + 1 :]


@pytest.mark.parametrize("damage", ["cut", "empty", "longer", "gone", "flipped", "of another"])
def test_a_file_that_is_not_as_it_was_written_is_named_by_whatever_reads_it(files: Files, damage: str) -> None:
    table = _table(files)
    _write(table, "a", list(range(500)))
    _write(table, "b", [2])
    path = _path(table)
    content, full = files.fs.cat_file(files.full(path)), files.full(path)
    assert isinstance(content, bytes)
    if damage == "gone":
        files.fs.rm_file(full)
    else:
        changed = {
            "cut": content[:-9],
            "empty": b"",
            "longer": content + b"x",
            "flipped": _flipped(content, 60),
            "of another": files.fs.cat_file(files.full(_path(table, "b"))),
        }
        files.fs.pipe_file(full, changed[damage])
    named = table.segment("a")
    assert named is not None
    for read in (lambda: list(named.batches()), table.scan().collect, table.scan().filter(pl.col("id") > 3).collect):
        with pytest.raises(StoreError, match=rf"{path} is damaged .*restore it"):
            read()


def test_of_two_files_of_one_size_none_is_read_for_the_other(files: Files) -> None:
    table = _table(files)
    _write(table, "a", [1, 2])
    first = _path(table)
    content = files.fs.cat_file(files.full(first))
    _write(table, "a", [3, 4])
    second = _path(table)
    assert files.size(first) == files.size(second), "or the size would tell them apart"
    files.fs.pipe_file(files.full(second), content)
    with pytest.raises(StoreError, match=rf"{second} is damaged.*another file, written as {first}.*restore it"):
        table.scan().collect()


def test_a_query_reads_the_columns_and_row_groups_that_it_asks_for(tmp_path: Path) -> None:
    table = _table(Files(str(tmp_path)))
    noise = ["".join(map(chr, np.random.default_rng(i).integers(97, 123, 4000))) for i in range(2000)]
    with table.write("a") as writer:
        writer.append(pl.DataFrame({"id": range(2000), "text": noise}))
        writer.note(ThingNotes(content=""))
    path = tmp_path / _path(table)
    with pq.ParquetFile(path) as file:
        last = file.metadata.row_group(file.num_row_groups - 1)
        assert file.num_row_groups > 2
    at = last.column(1).data_page_offset + last.column(1).total_compressed_size // 2
    path.write_bytes(_flipped(path.read_bytes(), at))
    assert table.scan().select("id").collect().height == 2000, "the texts are not read"
    assert table.scan().filter(pl.col("id") < 10).collect().height == 10, "nor what cannot have such a row"
    assert table.scan().filter((pl.col("id") == 7) & (pl.col("text") > "")).select("text").collect().height == 1
    assert table.scan().select("id").head(5).collect()["id"].to_list() == list(range(5))
    assert table.scan().select(pl.len()).collect().item() == 2000
    with pytest.raises(StoreError, match="is damaged"):
        table.scan().filter(pl.col("id") > 1990).collect()


def test_where_no_more_fits_the_message_names_the_place_and_the_table_is_as_it_was(tmp_path: Path) -> None:
    files = Files(str(tmp_path))
    table = _table(files)
    _write(table, "a", [1])
    program = """
import resource, sys
import numpy as np, polars as pl
from quarry_dagster_tests.test_store import _table
from quarry_dagster.errors import StoreError
from quarry_dagster.store import Files
files = Files(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))  # as a full disk, but for the number of the error
noise = pl.DataFrame({"id": np.random.default_rng(0).integers(0, 2**62, 100_000), "text": "x"})
try:
    with _table(files).write("a") as writer:
        writer.append(noise)
except StoreError as e:
    print(e)
try:
    files.write_frame("frame.parquet", noise)
except StoreError as e:
    print(e)
"""
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True, capture_output=True, text=True)
    of_table, of_frame = done.stdout.splitlines()
    assert of_table.startswith(f"cannot write {tmp_path}/things/a/000002-") and "larger than this disk" in of_table
    assert of_frame.startswith(f"cannot write {tmp_path}/frame.parquet: ") and "larger than this disk" in of_frame
    assert files.list("things") == [_path(table)] and not files.exists("frame.parquet")


def test_a_disk_that_takes_no_note_of_a_writer_is_named_and_may_be_mended(tmp_path: Path) -> None:
    table = _table(Files(str(tmp_path)))
    (tmp_path / ".writers").symlink_to("/proc")  # where nobody makes a file
    with pytest.raises(StoreError, match=r"cannot write .*\.writers/"):
        _write(table, "a", [1])
    (tmp_path / ".writers").unlink()
    _write(table, "a", [1])
    assert len(list((tmp_path / ".writers").iterdir())) == 1, "the writer is noted by then"


def test_an_unknown_kind_of_data_root_is_named() -> None:
    with pytest.raises(StoreError, match="nosuch://"):
        Files("nosuch://bucket")


@pytest.mark.parametrize(
    ("root", "full"),
    [("memory://", "/x"), ("memory://a/", "/a/x"), ("file:///b/", "/b/x"), ("/c//", "/c/x"), ("/", "/x")],
)
def test_slashes_at_the_end_of_a_data_root_do_not_matter(root: str, full: str) -> None:
    files = Files(root)
    assert files.full("x") == full
    assert files.is_local == (not root.startswith("memory"))


def test_a_digest_of_rows_is_blind_to_their_order_and_to_nothing_else() -> None:
    rows = pl.DataFrame({"a": ["x", "y", None], "b": [1, 2, 3]})
    assert digest_rows(rows) == digest_rows(rows.reverse().select("b", "a"))
    assert digest_rows(rows) != digest_rows(rows.head(2))
    assert digest_rows(rows) != digest_rows(rows.with_columns(a=pl.col("a").fill_null("")))
    assert digest_rows(rows) != digest_rows(rows.rename({"a": "c"}))


@given(history=st.lists(st.dictionaries(st.integers(0, 20), st.integers(0, 3)), min_size=1, max_size=12))
def test_layers_hold_each_state_that_was_written_and_few_files(history: list[dict[int, int]]) -> None:
    schema = pl.Schema({"key": pl.Int64, "value": pl.Int64})
    with tempfile.TemporaryDirectory() as root:
        layers = Layers(Files(root), "numbers", schema, ["key"])
        states: list[tuple[list[str], dict[int, int]]] = []
        paths: list[str] = []
        for state in history:
            after = pl.DataFrame(list(state.items()), schema=schema, orient="row")
            before, paths = paths, layers.extend(paths, after)
            states.append((paths, state))
            assert len(paths) <= 6
            if before and len(states) > 1 and states[-2][1] == state:
                assert paths == before  # nothing changed, nothing written
        for at, state in states:
            assert dict(layers.read(at).collect().iter_rows()) == state


def test_a_small_change_of_a_large_table_is_a_small_layer(tmp_path: Path) -> None:
    schema = pl.Schema({"key": pl.Int64, "value": pl.Int64})
    layers = Layers(Files(str(tmp_path)), "numbers", schema, ["key"])
    rows = pl.DataFrame({"key": range(100_000), "value": range(100_000)}, schema=schema)
    first = layers.extend([], rows)
    second = layers.extend(first, rows.filter(pl.col("key") != 7))
    assert second[:-1] == first
    assert layers.files.size(second[-1]) < layers.files.size(first[0]) / 100
    assert layers.read(second).collect().height == 99_999


def test_a_root_is_of_before_only_where_it_has_batches_and_does_not_say_its_form(files: Files) -> None:
    assert Root.read(files).urls == CURRENT_FORM
    _write(_table(files, "batches"), "a", [1])
    assert Root.read(files).urls == FIRST_FORM
    files.log.set("root", lambda _: {"urls": CURRENT_FORM})
    assert Root.read(files).urls == CURRENT_FORM
    files.log.set("root", lambda _: {})
    assert Root.read(files).urls == FIRST_FORM


def test_what_a_later_version_says_of_a_root_stays_when_it_is_written(files: Files) -> None:
    files.log.set("root", lambda _: {"urls": FIRST_FORM, "later": 1})
    Root.read(files).write(files)
    assert files.log.value("root").items() >= {"urls": FIRST_FORM, "later": 1}.items()


@pytest.mark.parametrize(
    "stored",
    [[], {"made_with": 3}, {"settings": [1]}, {"settings": {"crawl": 1}}, {"confirmed": None}, {"urls": "url-9"}],
)
def test_a_root_of_before_that_is_not_as_it_was_written_is_named(files: Files, stored: Any) -> None:
    files.write_json("root.json", stored)
    with pytest.raises(StoreError, match=r"root\.json is damaged"):
        Root.read(files)
