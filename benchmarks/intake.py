"""What taking in seeds costs: CPU seconds and memory for a file of many URLs, by its format.

python -m benchmarks.intake [URLS] [PROFILE ...]        default: 1000000, workstation and raspberry_pi
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import polars as pl

from quarry_dagster.intake import put, take_in_seeds
from quarry_dagster.profiles.choose import load_profile
from quarry_dagster.store import Store

FORMATS = ("txt", "csv", "jsonl", "parquet")


def main() -> int:
    if sys.argv[1:2] == ["--step"]:
        return _step(*sys.argv[2:])
    urls = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    print(f"{urls:,} URLs\n\n| format | profile | partitions | CPU-s | peak MiB |\n| --- | --- | ---: | ---: | ---: |")
    with tempfile.TemporaryDirectory() as folder:
        for kind in FORMATS:
            seeds = _seeds(Path(folder), kind, urls)
            for profile in sys.argv[2:] or ["workstation", "raspberry_pi"]:
                command = [sys.executable, "-m", "benchmarks.intake", "--step", str(seeds), profile]
                print(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout, end="", flush=True)
    return 0


def _seeds(folder: Path, kind: str, urls: int) -> Path:
    path = folder / f"seeds.{kind}"
    table = pl.DataFrame({"url": [f"https://host{i % 5000}.example/section/{i}" for i in range(urls)]})
    if kind == "txt":
        table.write_csv(path, include_header=False)
    elif kind == "csv":
        table.write_csv(path)
    elif kind == "jsonl":
        table.write_ndjson(path)
    else:
        table.write_parquet(path)
    return path


def _step(seeds: str, name: str) -> int:
    profile = load_profile(name)
    with tempfile.TemporaryDirectory() as root:
        store = Store(root)
        put(store, [seeds])
        start = time.process_time()
        take_in_seeds(store, profile, ())
        cpu = time.process_time() - start
        partitions = len(store.batches.segments())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"| .{Path(seeds).suffix[1:]} | {name} | {partitions:,} | {cpu:.1f} | {peak:.0f} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
