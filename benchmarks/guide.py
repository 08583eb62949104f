"""The deployment guide's benchmark table, with what this machine does beside its figures.

    python -m benchmarks.guide [PAGES.parquet] [--pages 1000] [--texts 2000] [--vectors 100000]

Embedding is documents a minute of the profile's model, loaded before, over generated texts. Search is milliseconds a
query of the ten nearest of so many vectors: one query at a time, and 500 at once. The pipeline is `quarry run` from
seeds to report over pages served on loopback, as `benchmarks.pipeline` runs it: PAGES.parquet has a column `html`;
without it the demo's pages are taken.

The rows of machines with a GPU come from `benchmarks/gpu_results.json`, which `benchmarks.gpu` writes; without that
file they say "not run".
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks.index import build
from benchmarks.join import mixed, vectors_to_mix
from benchmarks.pipeline import run, served_pages, settings_of
from benchmarks.planted import generate
from quarry_dagster import gpu
from quarry_dagster.embed import load_encoder, work_done
from quarry_dagster.extract import normal_form
from quarry_dagster.index import VectorIndex, spread
from quarry_dagster.profiles.settings import HardwareProfile, Index

RESULTS = Path(__file__).with_name("gpu_results.json")
_QUERIES = 500
_K = 10


@dataclass(frozen=True)
class Row:
    """A row of the guide's table, or a sentence of it that states a speed."""

    name: str
    said: tuple[str, str, str]
    """The guide's figures: embedding and pipeline in documents a minute, search in milliseconds a query."""
    profile: str
    index: dict[str, Any]
    """What the row has of an index: the guide's type for it."""
    on_gpu: bool = False


ROWS = (
    Row("CPU only", ("50", "0.1", "50"), "workstation", {"type": "IndexHNSWFlat", "ef_search": 64}),
    Row("Raspberry Pi", ("", "", "100-200"), "raspberry_pi", {"type": "IndexIVFScalarQuantizer", "nprobe": 16}),
    Row("GPU + CPU FAISS", ("800", "0.1", "800"), "gpu_workstation", {"type": "IndexHNSWFlat", "ef_search": 64}, True),
    Row(
        "GPU + GPU FAISS",
        ("850", "0.02", "850"),
        "gpu_workstation",
        {"type": "IndexIVFFlat", "nprobe": 16, "use_gpu_faiss": True},
        True,
    ),
)


@dataclass(frozen=True)
class Measured:
    """What a configuration did."""

    embedding: float
    """Documents a minute."""
    one_by_one: float
    at_once: float
    """Milliseconds a query."""
    pipeline: float
    """Documents a minute."""


def main() -> int:
    options = arguments(__doc__ or "")
    print(f"{machine()}, {datetime.now(UTC):%Y-%m-%d}; {options.vectors:,} vectors\n")
    print("| configuration | embedding, documents a minute | guide | search, ms a query, alone / 500 at once ", end="")
    print("| guide | pipeline, documents a minute | guide | measured on |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |")
    results = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    for row in ROWS:
        if not row.on_gpu:
            print(_line(row, measured(row, options), "this machine"), flush=True)
        elif found := results.get("rows", {}).get(row.name):
            print(_line(row, Measured(**found), f"{results['machine']}, {results['date']}"), flush=True)
        else:
            print(f"| {row.name} | not run | {row.said[0]} | not run | {row.said[1]} | not run | {row.said[2]} | |")
    return 0


def arguments(description: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parquet", nargs="?", type=Path)
    parser.add_argument("--pages", type=int, default=1000)
    parser.add_argument("--texts", type=int, default=2000)
    parser.add_argument("--vectors", type=int, default=100_000)
    parser.add_argument("--out", type=Path, default=RESULTS, help=argparse.SUPPRESS)
    return parser.parse_args()


def measured(row: Row, options: argparse.Namespace) -> Measured:
    """What the row's configuration does on this machine."""
    settings = settings_of(row.profile)
    profile = HardwareProfile.model_validate({"name": row.profile} | settings)
    rate = embedding(profile, options.texts)
    alone, at_once = search(Index.model_validate(row.index), options.vectors)
    with served_pages(options.parquet, options.pages) as folder:
        done = run(folder, row.profile, settings | {"index": settings["index"] | row.index})
    return Measured(rate, alone, at_once, done.per_minute)


def embedding(profile: HardwareProfile, count: int) -> float:
    """Documents that the profile's model embeds a minute."""
    texts = [normal_form(text) for text in generate(count, 0)["text"]]
    encoder = load_encoder(profile.embedding, profile.hardware.gpu_memory_fraction)
    encoder.encode(texts[:64])
    before = work_done()
    encoder.encode(texts)
    return 60 * (work_done() - before).texts_per_second


def search(settings: Index, count: int) -> tuple[float, float]:
    """Milliseconds a query: one at a time (the median), and many at once."""
    vectors = mixed(vectors_to_mix(None), count + _QUERIES)
    shard = build(settings.type, vectors[:count])  # pyright: ignore[reportArgumentType]
    index = VectorIndex(spread([shard]) if settings.use_gpu_faiss else [shard], np.empty(0, np.int64))
    queries = vectors[count:]
    index.search(queries, _K, settings)
    times = []
    for query in queries[:, None]:
        start = time.perf_counter()
        index.search(query, _K, settings)
        times.append(time.perf_counter() - start)
    start = time.perf_counter()
    index.search(queries, _K, settings)
    return 1000 * float(np.median(times)), 1000 * (time.perf_counter() - start) / len(queries)


def machine() -> str:
    """This machine in words: its cores, memory and GPUs."""
    found = [line.split(":")[1].strip() for line in _cpu_facts() if line.startswith("model name")]
    cards = ", ".join(card.name for card in gpu.list_gpus()) or "no GPU"
    memory = psutil.virtual_memory().total / 2**30
    return f"{os.cpu_count()} cores of {found[0] if found else platform.machine()}, {memory:.0f} GiB, {cards}"


def as_facts(rows: dict[str, Measured]) -> dict[str, Any]:
    """What a result file holds of these rows."""
    return {
        "machine": machine(),
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "rows": {name: asdict(row) for name, row in rows.items()},
    }


def _cpu_facts() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def _line(row: Row, done: Measured, where: str) -> str:
    return (
        f"| {row.name} | **{done.embedding:,.0f}** | {row.said[0]} | {done.one_by_one:.2f} / {done.at_once:.3f} "
        f"| {row.said[1]} | **{done.pipeline:,.0f}** | {row.said[2]} | {where} |"
    )


if __name__ == "__main__":
    sys.exit(main())
