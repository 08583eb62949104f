"""Memory by the kernel's own account: the peak of a run over 1, 10 and 100 times the texts, and over texts of 4 MB."""

from __future__ import annotations

import json
import random
import tempfile
from pathlib import Path

from benchmarks.torture.processes import in_a_process
from benchmarks.torture.scenarios import PROFILE, run
from quarry_dagster.store import Store

_TEXTS = 200
_WORDS = 300


def memory() -> bool:
    """Print a table of peaks; returns whether each is inside the budget of the profile."""
    budget = PROFILE.hardware.memory_budget_mb
    print(f"| input | peak, MiB (budget {budget}) |\n| --- | --- |")
    peaks = [
        _peak(f"{times * _TEXTS:,} texts of {_WORDS} words", lambda root, n=times * _TEXTS: _texts(root, n, _WORDS))
        for times in (1, 10, 100)
    ]
    peaks.append(_peak("20 texts of 4 MB", lambda root: _texts(root, 20, 600_000)))
    peaks.append(_peak("2,000 near copies of one text", lambda root: _copies(root, 2_000)))
    peaks.append(_peak("4 MB of a ligature that stands for 18 characters", _ligatures))
    return all(peak < budget for peak in peaks)


def _peak(name: str, drop: object) -> float:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "data"
        (root / "seeds").mkdir(parents=True)
        drop(root)  # pyright: ignore[reportCallIssue]
        ended = in_a_process(lambda: run(Store(str(root))), limit=3600)
    print(f"| {name} | {ended.peak_mib:,.0f}{f', {ended.error}' if ended.error else ''} |", flush=True)
    return float("inf") if ended.error or ended.killed else ended.peak_mib


def _vocabulary() -> list[str]:
    rng = random.Random(0)
    return ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(3, 9))) for _ in range(20_000)]


def _texts(root: Path, n: int, words: int) -> None:
    rng, vocabulary = random.Random(1), _vocabulary()
    with (root / "seeds" / "a.jsonl").open("w") as file:
        for i in range(n):
            text = " ".join(rng.choices(vocabulary, k=words))
            file.write(json.dumps({"url": f"http://a.test/{i}", "text": text}) + "\n")


def _copies(root: Path, n: int) -> None:
    rng = random.Random(2)
    text = rng.choices(_vocabulary(), k=_WORDS)
    with (root / "seeds" / "a.jsonl").open("w") as file:
        for i in range(n):
            text[rng.randrange(_WORDS)] = f"w{i}"
            file.write(json.dumps({"url": f"http://a.test/{i}", "text": " ".join(text)}) + "\n")


def _ligatures(root: Path) -> None:
    row = {"url": "http://a.test/", "text": "\ufdfa" * 1_333_333}
    (root / "seeds" / "a.jsonl").write_text(json.dumps(row))
