"""SIGKILL at every named write point of what a data root goes through; the next run must mend all.

A point is a kind of write (a file that is created, a commit, a deletion...), the kind of its file, and the moment:
before it, in the middle of it, after it. Each point that a scenario comes to is hit: the first and the last time, and
as often between as is asked for.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.torture.processes import in_a_process
from benchmarks.torture.scenarios import SCENARIOS, Scenario, judge
from quarry_dagster.store import Files, Store
from quarry_dagster.store.disk import Disk, Written

Reached = Callable[[str], None]


def kills(names: Sequence[str], between: int) -> bool:
    """Kill the scenarios of these names at all their points; prints a table, and returns whether all was mended."""
    print("| scenario | write points | hit | kills | mended |\n| --- | --- | --- | --- | --- |")
    results = [_scenario(name, SCENARIOS[name], between) for name in names]
    return all(results)


def _scenario(name: str, scenario: Scenario, between: int) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        base, clean = Path(folder) / "base", Path(folder) / "clean"
        prepared = in_a_process(lambda: scenario.prepare(base))
        if prepared.error:
            raise RuntimeError(f"{name}: {prepared.error}")
        shutil.copytree(base, clean)
        traced = in_a_process(lambda: _trace(clean, scenario))
        undisturbed = in_a_process(lambda: judge(clean, None, forgotten=scenario.forgotten))
        if traced.error or undisturbed.error or undisturbed.result["wrong"]:
            raise RuntimeError(f"{name}: {traced.error or undisturbed.error or undisturbed.result['wrong']}")
        counts: dict[str, int] = traced.result
        hit: Counter[str] = Counter()
        mended = 0
        for point, nth in _chosen(counts, between):
            root = Path(folder) / "killed"
            shutil.copytree(base, root)
            ended = in_a_process(lambda: _act(root, scenario, _killer(point, nth)))  # noqa: B023
            hit[point] += ended.killed
            done = in_a_process(lambda: judge(root, None, forgotten=scenario.forgotten))  # noqa: B023
            wrong = [done.error] if done.error else done.result["wrong"]
            if not wrong and not _is_one_of(done.result["answers"], undisturbed.result["answers"], base):
                wrong = ["its tables are neither those of before nor those of after"]
            mended += not wrong
            if wrong or not ended.killed:
                print(f"{name}, {point}, time {nth}: {wrong if ended.killed else 'not reached'}")
            shutil.rmtree(root)
    tried = sum(hit.values())
    print(f"| {name} | {len(counts)} | {len(hit)} | {tried} | {mended} |", flush=True)
    return len(hit) == len(counts) and mended == tried


_BEFORE: dict[Path, dict[str, str]] = {}


def _is_one_of(said: dict[str, str], after: dict[str, str], base: Path) -> bool:
    """Whether these are the answers after the work, or those of a root on which it was never begun."""
    if said == after:
        return True
    if base not in _BEFORE:
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / "data"
            shutil.copytree(base, copy)
            _BEFORE[base] = in_a_process(lambda: judge(copy, None, forgotten=False)).result["answers"]
    return said == _BEFORE[base]


def _chosen(counts: dict[str, int], between: int) -> Iterator[tuple[str, int]]:
    """Which time of each point: the first, the last, and some between."""
    rng = random.Random(0)
    for point, count in counts.items():
        middle = rng.sample(range(2, count), min(between, count - 2)) if count > 2 else []
        for nth in sorted({1, count, *middle}):
            yield point, nth


def _killer(point: str, nth: int) -> Reached:
    left = [nth]

    def reached(name: str) -> None:
        if name == point:
            left[0] -= 1
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)

    return reached


def _trace(root: Path, scenario: Scenario) -> dict[str, int]:
    found: Counter[str] = Counter()
    _act(root, scenario, lambda point: found.update([point]))
    return dict(found)


def _act(root: Path, scenario: Scenario, reached: Reached) -> None:
    with watched(reached):
        scenario.act(Store(str(root)))


@contextmanager
def watched(reached: Reached) -> Iterator[None]:
    """Tell of every write point that the block comes to."""
    create, create_once, put, delete = Files.create, Disk.create_once, Disk.put, Disk.delete

    @contextmanager
    def watched_create(self: Files, path: str) -> Iterator[Written]:
        kind = f"create {_kind(path)}"
        reached(f"{kind}, before")
        with create(self, path) as file:
            yield file
            file.flush()
            reached(f"{kind}, when it is written and has no name yet")
        reached(f"{kind}, after")

    def watched_once(self: Disk, path: str, content: bytes) -> bool:
        reached(f"{_kind(path)}, before")
        is_new = create_once(self, path, content)
        reached(f"{_kind(path)}, after")
        return is_new

    def watched_put(self: Disk, path: str, content: bytes) -> None:
        put(self, path, content)
        reached(f"put {_kind(path)}, after")

    def watched_delete(self: Disk, paths: Sequence[str]) -> None:
        for path in paths:
            reached(f"delete {_kind(path)}, before")
            delete(self, [path])
        if paths:
            reached(f"delete {_kind(paths[-1])}, after the last")

    replaced: list[tuple[type, str, Callable[..., object]]] = [
        (Files, "create", watched_create),
        (Disk, "create_once", watched_once),
        (Disk, "put", watched_put),
        (Disk, "delete", watched_delete),
    ]
    real = [(owner, name, owner.__dict__[name]) for owner, name, _ in replaced]
    for owner, name, function in replaced:
        setattr(owner, name, function)
    try:
        yield
    finally:
        for owner, name, function in real:
            setattr(owner, name, function)


def _kind(path: str) -> str:
    """The kind of a file, as the table names it."""
    folder, _, name = path.rpartition("/")
    top = path.split("/")[0]
    if folder == "log":
        return "commit" if name.endswith(".json") else "checkpoint" if name.endswith(".parquet") else "hint"
    suffix = name.rpartition(".")[2]
    return f"{top}/*.{suffix}" if "." in name else top
