"""The log of a data root: no commit is lost, none is half seen, and damage to it is named."""

import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from quarry_dagster.errors import StoreError
from quarry_dagster.store import Files, LostRace, Notes, Table
from quarry_dagster.store import files as files_module
from quarry_dagster.store.state import Line
from quarry_dagster_tests.test_store import SCHEMA, ThingNotes


@pytest.fixture(params=["local", "memory"])
def files(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Files]:
    yield Files(str(tmp_path) if request.param == "local" else f"memory://{uuid.uuid4()}")


def _set(key: str, value: Any) -> list[Line]:
    return [{"set": {"key": key, "value": value}}]


def _anew(files: Files) -> Files:
    """The same data root, as another process finds it."""
    files_module._LOGS.clear()
    return Files(files.root)


def _commits(files: Files) -> list[str]:
    return [path for path in files.list("log") if path.endswith(".json")]


def test_what_is_committed_is_found_by_whoever_comes_next(files: Files) -> None:
    assert files.state().number == -1 and not files.list("")
    files.log.set("a", lambda _: {"x": [1, "ä\udcff"]})
    files.log.set("b", lambda before: (before or 0) + 1)
    files.log.set("b", lambda before: before)  # which changes nothing, and is no commit
    assert len(_commits(files)) == 2
    for found in (files, _anew(files)):
        assert (found.log.value("a"), found.log.value("b")) == ({"x": [1, "ä\udcff"]}, 1)
    files.log.set("a", lambda _: None)
    assert _anew(files).log.values("") == {"b": 1}


def test_two_that_commit_at_once_both_do(files: Files) -> None:
    files.log.set("n", lambda _: 0)
    other = Files(files.root)
    mine, theirs = files.log, files_module.Log(other, tuple, lambda: None)

    def change(before: int) -> int:
        if before == 0:
            theirs.set("n", lambda n: n + 10)  # while mine is being decided
        return before + 1

    mine.set("n", change)
    assert mine.value("n") == 11
    theirs.set("n", lambda n: n + 1)  # who decides, asks what is there now
    assert theirs.value("n") == 12


_WRITER = """
import sys
from quarry_dagster.store import Files
files = Files(sys.argv[1])
for i in range(25):
    files.log.commit(lambda _: [{"set": {"key": f"{sys.argv[2]}/{i}", "value": i}}])
"""


def test_four_processes_that_write_lose_no_commit(tmp_path: Path) -> None:
    writers = [subprocess.Popen([sys.executable, "-c", _WRITER, str(tmp_path), str(n)]) for n in range(4)]
    assert [writer.wait(60) for writer in writers] == [0] * 4
    files = Files(str(tmp_path))
    assert len(files.log.values("")) == 100
    assert len(_commits(files)) == 100


def test_a_checkpoint_holds_what_the_commits_before_it_said(files: Files) -> None:
    table = Table(files, "things", SCHEMA, ThingNotes, forgets="its partition is made again")
    for partition in ("b", "a", "b"):
        with table.write(partition) as writer:
            writer.append([{"id": 1, "text": "x"}])
            writer.note(ThingNotes(content=partition))
    files.write_json("index/1/manifest.json", {})
    named = files.lines(["index/1/manifest.json"], files.state())
    said = {"asset": "deduped_corpus", "number": 1, "manifest": "index/1/manifest.json", "kept": []}
    files.log.commit(lambda _: [*named, {"publish": said}, {"tag": {"name": "first", "number": 1}}])
    files.log.commit(lambda _: [{"hold": {"number": 1, "who": "me", "at": "now"}}, *_set("k", [1])])
    before = files.state()
    files.log.checkpoint()
    files.delete(_commits(files))
    after = _anew(files).state()
    for name in ("number", "at", "sha256", "files", "publishes", "currents", "tags", "hold", "values"):
        assert getattr(after, name) == getattr(before, name), name
    assert after.past().equals(before.past()) and after.past().height == 1
    assert {*after.tables} == {"things"} and after.table("things").newest == 2
    assert after.table("things").frame().equals(before.table("things").frame())
    _anew(files).log.set("k", lambda before: [*before, 2])
    assert _anew(files).log.value("k") == [1, 2], "the log goes on behind it"


def test_a_log_of_many_commits_is_cut_and_read_as_before(files: Files) -> None:
    for i in range(320):
        files.log.commit(lambda _, i=i: _set(f"k{i % 7}", i))
    checkpoints = [path for path in files.list("log") if path.endswith(".parquet")]
    assert len(checkpoints) == 3
    before = files.state()
    files.log.cut()
    assert len(_commits(files)) < 140 and files.list("log")[-1] == "log/LAST"
    assert _anew(files).state().values == before.values
    files.fs.pipe_file(files.full(checkpoints[-1]), b"damaged")
    assert _anew(files).state().values == before.values, "the one before it, and the commits since"


def _damage(files: Files, path: str, how: str) -> None:
    content = files.read(path)
    if how == "gone":
        files.delete([path])
        return
    half = len(content) // 2
    changed = {
        "cut": content[:half],
        "empty": b"",
        "flipped": content[:half] + bytes([content[half] ^ 4]) + content[half + 1 :],
        "another": files.read("log/00000000000000000000.json"),
    }
    files.fs.pipe_file(files.full(path), changed[how])


@pytest.mark.parametrize("at", [1, 4])
@pytest.mark.parametrize("how", ["gone", "cut", "empty", "flipped", "another"])
def test_damage_to_a_commit_is_named_and_nothing_is_read_without_it(
    files: Files, at: int, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quarry_dagster.store.log._SETTLES", 0.0)
    for i in range(5):
        files.log.commit(lambda _, i=i: _set("k", "x" * 500 + str(i)))
    path = f"log/{at:020d}.json"
    _damage(files, path, how)
    with pytest.raises(StoreError, match=rf"{path} is (gone|damaged).*quarry check --rebuild-log"):
        _anew(files).state()


def test_whichever_bit_of_a_commit_s_end_is_another_one_its_file_is_named_or_the_state_is_the_same(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quarry_dagster.store.log._SETTLES", 0.0)
    for i in range(3):
        files.log.commit(lambda _, i=i: _set("k", i))
    path = f"log/{1:020d}.json"
    content = files.read(path)
    for at in range(content.rstrip().rindex(b"\n") + 1, len(content)):
        bit = 1 << (at % 7)
        files.fs.pipe_file(files.full(path), content[:at] + bytes([content[at] ^ bit]) + content[at + 1 :])
        try:
            assert _anew(files).state().values["k"] == 2, "the time may be another one"
        except StoreError as e:
            assert path in str(e) or f"log/{2:020d}.json" in str(e), (at, str(e))


def test_a_commit_that_is_still_being_written_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = Files(str(tmp_path))
    files.log.set("k", lambda _: 1)
    path = tmp_path / "log" / f"{0:020d}.json"
    content = path.read_bytes()
    path.write_bytes(content[:20])
    reads: list[str] = []
    found = _anew(files)
    read = found.log.disk.read

    def slowly(name: str) -> bytes:
        reads.append(name)
        if len(reads) == 4:
            path.write_bytes(content)
        return read(name)

    monkeypatch.setattr(found.log.disk, "read", slowly)
    assert found.log.value("k") == 1


def test_a_root_that_was_replaced_by_an_older_copy_is_seen_as_it_is(tmp_path: Path) -> None:
    files = Files(str(tmp_path))
    files.log.set("k", lambda _: 1)
    old = {path: files.read(path) for path in files.list("log")}
    files.log.set("k", lambda _: 2)
    files.delete(files.list("log"))
    for path, content in old.items():
        (tmp_path / path).write_bytes(content)
    assert files.log.value("k") == 1, "also by a process that stays up"


def test_a_log_of_a_later_version_says_so(files: Files) -> None:
    files.log.set("k", lambda _: 1)
    path = "log/00000000000000000000.json"
    files.fs.pipe_file(files.full(path), files.read(path).replace(b'"layout": 1', b'"layout": 2'))
    with pytest.raises(StoreError, match=r"written by a later version of QuarryCore .layout 2.: upgrade"):
        _anew(files).state()


@pytest.mark.parametrize("same", [True, False])
def test_a_segment_that_another_wrote_meanwhile_stays_and_only_another_input_is_begun_again(
    files: Files, same: bool
) -> None:
    table = Table(files, "texts", SCHEMA, _Made, forgets="its partition is made again")

    def write(content: str, then: Any = lambda: None) -> str:
        with table.write("a") as writer:
            writer.append([{"id": 1, "text": content}])
            writer.note(_Made(input=f"{content} maker", content=content))
            then()
        return writer.segment.path

    winner: list[str] = []
    if same:
        path = write("x", lambda: winner.append(write("x")))
        assert [path] == winner
    else:
        with pytest.raises(LostRace):
            write("x", lambda: winner.append(write("y")))
    assert table.scan().collect()["text"].to_list() == ["x" if same else "y"]
    assert [p for p in files.list("texts") if p.endswith(".parquet")] == winner, "what lost is not left"


class _Made(Notes):
    def __init__(self, *, input: str, content: str) -> None:
        object.__setattr__(self, "_said", {"input": input, "content": content})

    def stored(self) -> dict[str, Any]:
        return self._said  # pyright: ignore[reportAttributeAccessIssue]


def test_a_disk_without_links_gives_a_name_once_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_link(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_link)
    files = Files(str(tmp_path))
    for i in range(3):
        files.log.commit(lambda _, i=i: _set("k", i))
    assert files.has_single_names and _anew(files).log.value("k") == 2
    assert not files.create_once("log/00000000000000000002.json", b"")


def test_a_store_that_keeps_no_two_writers_apart_is_named(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    files = Files(f"memory://{uuid.uuid4()}")
    put = files.fs.pipe_file

    def overwrites(path: str, value: bytes, mode: str = "overwrite") -> None:
        put(path, value)

    monkeypatch.setattr(files.fs, "pipe_file", overwrites)
    files.log.set("k", lambda _: 1)
    assert not files.log.disk.has_single_names  # pyright: ignore[reportAttributeAccessIssue]
    assert "let one process at a time write to this data root" in caplog.text


def test_a_commit_stands_where_what_follows_it_fails(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table(files, "things", SCHEMA, ThingNotes, forgets="its partition is made again")

    def full(*_: object) -> None:
        raise StoreError("cannot write: the disk is full")

    monkeypatch.setattr(files.log.disk, "put", full)
    with table.write("a") as writer:
        writer.append([{"id": 1, "text": "x"}])
    assert _anew(files).state().table("things").get("a") is not None
    assert table.scan().collect()["id"].to_list() == [1], "its file was not taken back"


def test_a_commit_whose_answer_was_lost_is_not_taken_for_another_writers(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = Table(files, "things", SCHEMA, ThingNotes, forgets="its partition is made again")
    create_once, lost = files.log.disk.create_once, [True]

    def answer_lost(path: str, content: bytes) -> bool:
        written = create_once(path, content)
        return written and not (lost and lost.pop())

    monkeypatch.setattr(files.log.disk, "create_once", answer_lost)
    with table.write("a") as writer:
        writer.append([{"id": 1, "text": "x"}])
    assert table.scan().collect()["id"].to_list() == [1] and len(_commits(files)) == 1


def test_a_commit_that_was_never_ended_is_passed_over_and_its_number_given_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a disk without links a kill may leave one; on others nothing but damage can."""
    files = Files(str(tmp_path))
    files.log.set("k", lambda _: 1)
    torn = tmp_path / "log" / f"{1:020d}.json"
    torn.write_bytes(b'{"set": {"key": "k", "val')
    os.utime(torn, (0, 0))
    assert _anew(files).log.value("k") == 1
    _anew(files).log.set("k", lambda _: 2)
    assert _anew(files).log.value("k") == 2
    torn.write_bytes(torn.read_bytes()[:30])
    os.utime(torn, (0, 0))
    with pytest.raises(StoreError, match="is damaged"):  # LAST says that it was whole
        _anew(files).state()


def test_a_machine_that_went_down_leaves_an_empty_last_number_and_nothing_is_missed(tmp_path: Path) -> None:
    files = Files(str(tmp_path))
    files.log.set("k", lambda _: 1)
    (tmp_path / "log" / "LAST").write_bytes(b"")
    assert _anew(files).log.value("k") == 1


_KILLED = """
import os, signal, sys
from quarry_dagster.store import Files
files = Files(sys.argv[1])
at, calls = int(sys.argv[2]), 0
def killed(*_):
    global calls
    calls += 1
    if calls == at:
        os.kill(os.getpid(), signal.SIGKILL)
for name in ("link", "fsync", "unlink", "replace"):
    def wrapped(*a, _real=getattr(os, name), **k):
        killed()
        return _real(*a, **k)
    setattr(os, name, wrapped)
for i in range(3):
    files.log.commit(lambda _: [{"set": {"key": "n", "value": i}}])
    print(i, flush=True)
"""


@pytest.mark.parametrize("at", range(1, 12))
def test_a_kill_within_a_commit_leaves_it_whole_or_not_at_all(tmp_path: Path, at: int) -> None:
    done = subprocess.run([sys.executable, "-c", _KILLED, str(tmp_path), str(at)], capture_output=True, check=False)
    said = [int(line) for line in done.stdout.split()]
    assert done.returncode in (0, -signal.SIGKILL)
    n = Files(str(tmp_path)).log.value("n", -1)
    assert n in (len(said) - 1, len(said)), "what was said to be written is there"
    for path in Path(tmp_path, "log").glob("*.json"):
        json.loads(path.read_bytes().splitlines()[-1])
    Files(str(tmp_path)).log.set("n", lambda _: 9)
    assert _anew(Files(str(tmp_path))).log.value("n") == 9


def test_a_commit_that_was_decided_on_while_the_log_was_cut_is_decided_on_again(files: Files) -> None:
    for i in range(3):
        files.log.set("n", lambda _, i=i: i)
    other = files_module.Log(Files(files.root).log.disk, tuple, lambda: None)

    def change(before: int) -> int:
        if before == 2:
            for i in range(3, 6):
                other.set("n", lambda _, i=i: i)
            other.forget_past()
        return before + 10

    files.log.set("n", change)
    assert files.log.value("n") == _anew(files).log.value("n") == 15


def test_what_the_past_said_is_gone_and_the_log_goes_on(files: Files) -> None:
    for said in ("secret", None):
        files.log.set("n", lambda _, said=said: said)
    files.log.forget_past()
    assert not any(b"secret" in files.read(path) for path in files.list("log"))
    files.log.set("n", lambda _: 1)
    assert _anew(files).log.value("n") == 1
