"""What it costs to wait for seeds: memory of `dagster dev` at rest, and the time from a seed dropped to its run.

    python -m benchmarks.automation [SEEDS]

Starts `dagster dev` over an empty data root with all automation on, looks at its processes, and drops seed files one
after the other. Memory is the proportional set size of all its processes (Linux).
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import psutil

from quarry_dagster.profiles.choose import configs_dir

_RUNS = "{ runsOrError { ... on Runs { results { jobName status creationTime startTime } } } }"
_PROFILE = "automation: {enabled: true}\nembedding: {device: cpu}\n"
_REST_S = 60


def main() -> int:
    drops = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "profile.yaml").write_text(_PROFILE)
        inbox, home = folder / "data" / "seeds", folder / "data" / ".dagster"
        inbox.mkdir(parents=True)
        home.mkdir()
        shutil.copy(configs_dir() / "dagster.yaml", home / "dagster.yaml")
        settings = {"QUARRY_DATA": str(folder / "data"), "QUARRY_PROFILE": str(folder / "profile.yaml")}
        command = [sys.executable, "-m", "dagster", "dev", "-m", "quarry_dagster.definitions", "-p", "3990"]
        with subprocess.Popen(
            command,
            cwd=folder,
            env=os.environ | settings | {"DAGSTER_HOME": str(home)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as server:
            try:
                time.sleep(_REST_S)
                family = [psutil.Process(server.pid), *psutil.Process(server.pid).children(recursive=True)]
                memory = sum(p.memory_full_info().pss for p in family) / 2**20
                cpu = sum(sum(p.cpu_times()[:2]) for p in family)
                time.sleep(_REST_S)
                busy = (sum(sum(p.cpu_times()[:2]) for p in family) - cpu) / _REST_S
                print(f"at rest: {memory:.0f} MiB in {len(family)} processes, {busy:.1%} of a core")
                waits = [_drop(inbox, i) for i in range(drops)]
            finally:
                server.terminate()
    print(f"dropped to started: {', '.join(f'{w:.0f}' for w in waits)} s; median {statistics.median(waits):.0f} s")
    return 0


def _drop(inbox: Path, number: int) -> float:
    """Seconds from a seed dropped to the start of the run that it caused."""
    text = f"This is text number {number} of the benchmark, " + " ".join(f"word{number}x{i}" for i in range(60))
    at = time.time()
    row = {"url": f"https://example.org/{number}", "text": text}
    (inbox / f"{number}.jsonl").write_text(json.dumps(row) + "\n")
    while True:
        starts = [r["startTime"] for r in _runs() if r["jobName"] == "ingest" and (r["startTime"] or 0) > at]
        idle = all(r["status"] in ("SUCCESS", "FAILURE") for r in _runs())
        if starts and idle:
            return min(starts) - at
        time.sleep(1)


def _runs() -> list[dict]:
    body = json.dumps({"query": _RUNS}).encode()
    request = urllib.request.Request("http://127.0.0.1:3990/graphql", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)["data"]["runsOrError"]["results"]


if __name__ == "__main__":
    sys.exit(main())
