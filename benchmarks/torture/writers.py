"""Many processes on one data root: commits, runs, takedowns, readers that poll, seeds and deletions meanwhile."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.torture.processes import in_a_process
from benchmarks.torture.scenarios import SCENARIOS, answers, judge, seed

_COMMITS = 25
_COMMITTER = """
import sys
from quarry_dagster.store import Files
files = Files(sys.argv[1])
for i in range(int(sys.argv[3])):
    files.log.commit(lambda _: [{"set": {"key": f"{sys.argv[2]}/{i}", "value": i}}])
"""
_RUNNER = """
import sys
from benchmarks.torture.scenarios import run
from quarry_dagster.store import Store
run(Store(sys.argv[1]))
"""
_READER = """
import sys, time
from pathlib import Path
from benchmarks.torture.scenarios import answers
until = time.monotonic() + float(sys.argv[2])
reads = 0
while time.monotonic() < until:
    answers(Path(sys.argv[1]))
    reads += 1
print(reads)
"""


def writers() -> bool:
    """Let processes write at once; prints a table, and returns whether nothing was lost."""
    print("| at once | outcome |\n| --- | --- |")
    results = [_commits(2), _commits(4), _runs(2), _runs(4), _readers()]
    if _has_namespaces():
        results.append(_namespaces())
    else:
        print("| a run in each of two PID namespaces | not tried: this user may make none |")
    return all(results)


def _start(code: str, *arguments: object, inside: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    command = [*inside, sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ)


def _ended(processes: list[subprocess.Popen[str]]) -> list[str]:
    """What those that failed said last."""
    said = [(process, process.communicate()) for process in processes]
    return [(err.strip().splitlines() or ["?"])[-1] for process, (_, err) in said if process.returncode]


def _commits(n: int) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "data"
        failed = _ended([_start(_COMMITTER, root, i, _COMMITS) for i in range(n)])
        kept: int = in_a_process(lambda: _values(root)).result
    print(f"| {n} processes, {_COMMITS} commits each | {kept} kept of {n * _COMMITS}; {failed or 'none failed'} |")
    return kept == n * _COMMITS and not failed


def _values(root: Path) -> int:
    from quarry_dagster.store import Files

    return len(Files(str(root)).log.values(""))


def _runs(n: int) -> bool:
    """So many runs at once over changed seeds, with another seed dropped meanwhile."""
    with tempfile.TemporaryDirectory() as folder:
        root, alone = Path(folder) / "data", Path(folder) / "alone"
        in_a_process(lambda: SCENARIOS["a run over changed seeds"].prepare(root))
        shutil.copytree(root, alone)
        processes = [_start(_RUNNER, root) for _ in range(n)]
        time.sleep(2)
        for each in (root, alone):
            seed(each, "dropped", 700, 3)
        failed = _ended(processes)
        said = in_a_process(lambda: judge(root, None, forgotten=False))
        expected = in_a_process(lambda: judge(alone, None, forgotten=False))
        wrong = [said.error] if said.error else _compared(said.result, expected.result)
    print(f"| {n} runs, a seed dropped meanwhile | {wrong or 'as one run'}; {failed or 'none failed'} |", flush=True)
    return not wrong and not failed


def _compared(said: dict[str, Any], expected: dict[str, Any]) -> list[str]:
    """What is wrong, and which tables differ."""
    return said["wrong"] + [
        name
        for name in ("deduped_corpus", "dedup_decisions", "forgotten")
        if said["answers"][name] != expected["answers"][name]
    ]


def _readers() -> bool:
    """Readers that poll while a run, a takedown and a sweep go on: each answer is whole, or an error that says why."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "data"
        in_a_process(lambda: SCENARIOS["a run over changed seeds"].prepare(root))
        readers = [_start(_READER, root, 12) for _ in range(2)]
        failed = _ended([_start(_RUNNER, root)])
        said = [(reader, reader.communicate()) for reader in readers]
        reads = sum(int(out or 0) for _, (out, _) in said)
        failed += [err.strip().splitlines()[-1] for reader, (_, err) in said if reader.returncode]
        in_a_process(lambda: answers(root))
    print(f"| a run, and two readers that poll | {reads} whole reads; {failed or 'none failed'} |", flush=True)
    return reads > 0 and not failed


_UNSHARE = ("unshare", "--fork", "--pid", "--mount-proc")


def _has_namespaces() -> bool:
    try:
        return subprocess.run([*_UNSHARE, "true"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


def _namespaces() -> bool:
    """Two runs, each process 1 of its own: neither takes the other for dead, or for itself."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "data"
        in_a_process(lambda: SCENARIOS["a run over changed seeds"].prepare(root))
        failed = _ended([_start(_RUNNER, root, inside=_UNSHARE) for _ in range(2)])
        done = in_a_process(lambda: judge(root, None, forgotten=False))
        wrong = [done.error] if done.error else done.result["wrong"]
    print(f"| a run in each of two PID namespaces | {wrong or 'as one run'}; {failed or 'none failed'} |", flush=True)
    return not wrong and not failed
