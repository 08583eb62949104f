"""What deduplicating a frame costs: `quarry_dagster.deduplicate` on rows of invented text.

    python -m benchmarks.frames [ROWS] [--kind polars|pandas|pyarrow] [--bytes N]

Of ten rows one is the copy of an earlier row in capitals, one an earlier row with every twentieth word replaced, one
the first two thirds of an earlier row; the others are their own. Each begins with the same twenty words as the other
ninety-nine of its site. CPU seconds are of the call, all its threads together, without imports; the peak is that of
the process, which holds the frame too. The rows are made by another process.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
import time
from collections import Counter
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow.parquet as pq

from benchmarks.planted import SCRIPTS, Language
from quarry_dagster import deduplicate

_PER_SITE = 100


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.frames", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("rows", type=int, nargs="?", default=100_000)
    parser.add_argument("--kind", choices=("polars", "pandas", "pyarrow"), default="polars")
    parser.add_argument("--bytes", type=int, default=2000, help="of a text")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.parquet"
        child = get_context("spawn").Process(target=_write, args=(file, arguments.rows, arguments.bytes))
        child.start()
        child.join()
        frame = _of_kind(arguments.kind, file)
    deduplicate(frame[:2] if arguments.kind != "pyarrow" else frame.slice(0, 2), id="id")  # loads what it needs
    held, start, before = _peak(), time.monotonic(), _cpu()
    found = deduplicate(frame, id="id")
    cpu, seconds = _cpu() - before, time.monotonic() - start
    removed = Counter(str(rule) for rule in _values(found.removed, "rule"))
    print(f"{arguments.rows:,} rows of {arguments.bytes:,} bytes, {arguments.kind}")
    print(f"{cpu:.1f} CPU-seconds, {seconds:.1f} s; peak {_peak():,.0f} MiB, of these before the call {held:,.0f}")
    print(f"kept {len(found.kept):,}; removed {dict(removed)}")
    return 0


def invented(rows: int, size: int, seed: int = 0) -> pl.DataFrame:
    """Rows of `id` and `text`, each text of about so many bytes, in an order that tells nothing."""
    rng = np.random.default_rng(seed)
    language = Language(SCRIPTS[0], rng)
    letters = sum(len(word) * weight for word, weight in zip(language.words, language.weights, strict=True))
    number = int(size / (letters + 1))
    texts: list[list[str]] = []
    while len(texts) < rows:
        head = language.some(rng, 20)
        for kind, body in enumerate(rng.choice(language.words, (_PER_SITE, number - 20), p=language.weights).tolist()):
            earlier = texts[int(rng.integers(len(texts)))] if texts else body
            match kind % 10:
                case 1:
                    words = [word.upper() for word in earlier]
                case 2:
                    words = [body[i % 100] if i % 20 == 7 else word for i, word in enumerate(earlier)]
                case 3:
                    words = earlier[: len(earlier) * 2 // 3]
                case _:
                    words = [*head, *body]
            texts.append(words)
    frame = pl.DataFrame({"id": np.arange(rows), "text": [" ".join(words) for words in texts[:rows]]})
    return frame.sample(fraction=1, shuffle=True, seed=seed)


def _write(file: Path, rows: int, size: int) -> None:
    invented(rows, size).write_parquet(file, row_group_size=10_000)


def _of_kind(kind: str, file: Path) -> Any:
    if kind == "polars":
        return pl.read_parquet(file, memory_map=False)
    table = pq.read_table(file)
    return table.to_pandas() if kind == "pandas" else table


def _values(frame: Any, column: str) -> list[Any]:
    values = frame[column]
    return values.to_pylist() if hasattr(values, "to_pylist") else values.to_list()


def _cpu() -> float:
    times = os.times()
    return times.user + times.system


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    sys.exit(main())
