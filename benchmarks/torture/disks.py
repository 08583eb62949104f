"""A disk that fails at each write: full, broken, forbidden. The user reads our words, and the next run mends all."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.torture.processes import in_a_process
from benchmarks.torture.scenarios import SCENARIOS, Scenario, judge, seed
from quarry_dagster.errors import QuarryError
from quarry_dagster.store import Store

_FAULTS = (errno.ENOSPC, errno.EIO, errno.EACCES)
_KIB = (200, 400, 700, 1000, 1400, 1800, 2200, 2600, 2800, 3000)
"""Sizes of disks: the run needs some 3.4 MiB."""
_TRIED = ("a first run", "a run over changed seeds", "a takedown")


def disks(names: Sequence[str] = _TRIED, every: int = 1) -> bool:
    """Let every `every`-th write of these scenarios fail in each way; prints a table, and returns whether all was told
    and mended."""
    print("| scenario | fault | faults | told in our words | mended |\n| --- | --- | --- | --- | --- |")
    results = [_scenario(name, SCENARIOS[name], fault, every) for name in names for fault in _FAULTS]
    return all(results)


def small_disks() -> bool:
    """Run `quarry run` on disks too small for it and Dagster's storage; returns whether each said so."""
    told, tried = 0, 0
    with tempfile.TemporaryDirectory() as folder:
        disk = Path(folder) / "disk"
        disk.mkdir()
        seed(Path(folder), "texts", 1000, 300)
        for kib in _KIB:
            mount = subprocess.run(
                ["mount", "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", str(disk)], capture_output=True, check=False
            )
            if mount.returncode:
                print("| `quarry run` on small disks | not tried: this user may mount none |")
                return True
            command = [sys.executable, "-m", "quarry_dagster.cli", "run", f"{folder}/seeds/texts.jsonl"]
            options = ["--data", str(disk / "data"), "--profile", "raspberry_pi"]
            try:
                done = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
            finally:
                subprocess.run(["umount", str(disk)], check=True)
            tried += 1
            is_told = done.returncode == 1 and "the disk is full" in done.stderr and "Traceback" not in done.stderr
            told += is_told
            if not is_told:
                print(f"a disk of {kib} KiB: status {done.returncode}, {done.stderr.strip()[-400:]}")
    print(f"| `quarry run` on small disks | ENOSPC | {tried} | {told} | |", flush=True)
    return told == tried


def _scenario(name: str, scenario: Scenario, fault: int, every: int) -> bool:
    outcomes: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        base, clean = Path(folder) / "base", Path(folder) / "clean"
        in_a_process(lambda: scenario.prepare(base))
        shutil.copytree(base, clean)
        writes: int = in_a_process(lambda: _act(clean, scenario, -1, fault)).result["writes"]
        expected = in_a_process(lambda: judge(clean, None, forgotten=scenario.forgotten)).result["answers"]
        before = Path(folder) / "before"
        shutil.copytree(base, before)
        as_before = in_a_process(lambda: judge(before, None, forgotten=False)).result["answers"]
        for nth in range(0, writes, every):
            root = Path(folder) / "failed"
            shutil.copytree(base, root)
            said = in_a_process(lambda: _act(root, scenario, nth, fault))  # noqa: B023
            told = said.result["told"] if said.result else said.error
            done = in_a_process(lambda: judge(root, None, forgotten=scenario.forgotten))  # noqa: B023
            wrong = [done.error] if done.error else done.result["wrong"]
            is_mended = not wrong and done.result["answers"] in (expected, as_before)
            is_told = said.result is not None
            outcomes.update(["tried", *(["told"] if is_told else []), *(["mended"] if is_mended else [])])
            if not (is_told and is_mended):
                afterwards = "all is well" if is_mended else wrong or "other tables"
                print(f"{name}, {errno.errorcode[fault]} at write {nth}: {told}; afterwards {afterwards}")
            shutil.rmtree(root)
    print(
        f"| {name} | {errno.errorcode[fault]} | {outcomes['tried']} | {outcomes['told']} | {outcomes['mended']} |",
        flush=True,
    )
    return outcomes["tried"] == outcomes["told"] == outcomes["mended"]


def _act(root: Path, scenario: Scenario, nth: int, fault: int) -> dict[str, Any]:
    """Do the work with the nth write failing; returns what an error of ours said, and how many writes came."""
    with _failing(root, nth, fault) as count:
        try:
            scenario.act(Store(str(root)))
            told = ""
        except QuarryError as e:
            told = str(e)
    return {"told": told, "writes": count()}


@contextmanager
def _failing(root: Path, nth: int, fault: int) -> Iterator[Callable[[], int]]:
    """Have the nth call fail that opens a file below a root to be written, names it, or brings it to the disk."""
    writes = [0]
    names = ("fsync", "link", "replace")
    real: dict[str, Any] = {name: getattr(os, name) for name in names}
    open_path = Path.open

    def fail(where: str) -> None:
        writes[0] += 1
        if writes[0] - 1 == nth:
            raise OSError(fault, os.strerror(fault), where)

    def failing(name: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            fail(str(args[-1]))
            return real[name](*args, **kwargs)

        return call

    def failing_open(self: Path, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        if mode[0] in "wxa" and self.is_relative_to(root):
            fail(str(self))
        return open_path(self, mode, *args, **kwargs)

    for name in names:
        setattr(os, name, failing(name))
    Path.open = failing_open  # pyright: ignore[reportAttributeAccessIssue]
    try:
        yield lambda: writes[0]
    finally:
        for name in names:
            setattr(os, name, real[name])
        Path.open = open_path
