"""The whole pipeline by profile: pages to corpus in documents a minute, and the memory of every step as a corpus grows.

    python -m benchmarks.pipeline [PAGES.parquet] [--pages 1000] [--profiles workstation,raspberry_pi]
                                  [--documents workstation=1000,4000 raspberry_pi=5000,50000]

Speed is that of `quarry run`, Dagster, checks and report included, over pages served on loopback. PAGES.parquet has a
column `html` of bytes; without it the demo's pages are taken. When they are used up they are used again with other
words, so that every page is a document of its own and has to be embedded. Of the profile's settings the pause between
two requests to one host alone is left out, for all pages are one host's.

Memory is that of the stages, each in a process of its own over all partitions, with invented texts in the seeds.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import yaml

from benchmarks.crawl import DEMO, served
from benchmarks.growth import some
from benchmarks.systems import peak
from quarry_dagster.extract import Extractor
from quarry_dagster.intake import take_in_seeds
from quarry_dagster.profiles.choose import configs_dir, load_profile
from quarry_dagster.stages import corpus_report, embeddings, extracted_text, faiss_index
from quarry_dagster.stages.corpus import deduped_corpus
from quarry_dagster.stages.pages import raw_pages
from quarry_dagster.store import Store

STAGES = ("intake", "raw_pages", "extracted_text", "embeddings", "faiss_index", "deduped_corpus", "corpus_report")
_GUIDE = {"raspberry_pi": "100-200", "workstation": "50", "gpu_workstation": "800", "enterprise_gpu": "850"}
"""Documents a minute that the deployment guide names for the configuration."""


def main() -> int:
    if sys.argv[1:2] == ["--step"]:
        return _step(*sys.argv[2:5])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parquet", nargs="?", type=Path)
    parser.add_argument("--pages", type=int, default=1000)
    parser.add_argument("--profiles", default="workstation,raspberry_pi")
    parser.add_argument("--documents", nargs="*", default=["workstation=1000,4000", "raspberry_pi=5000,50000"])
    options = parser.parse_args()
    if options.profiles:
        _speed(options.parquet, options.pages, options.profiles.split(","))
    for wish in options.documents:
        profile, sizes = wish.split("=")
        _memory(profile, [int(n) for n in sizes.split(",")])
    return 0


def _speed(parquet: Path | None, count: int, profiles: list[str]) -> None:
    with served_pages(parquet, count) as folder:
        print("| profile | documents a minute | guide | documents | kept | s | CPU-s | MiB, in a worker | s by stage |")
        print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |")
        for profile in profiles:
            print(_row(profile, run(folder, profile, settings_of(profile))), flush=True)


@contextmanager
def served_pages(parquet: Path | None, count: int) -> Iterator[Path]:
    """A folder with `seeds.txt`, which names so many pages that are served on loopback meanwhile."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "pages").mkdir()
        _write_pages(parquet, count, folder / "pages")
        with served(folder / "pages") as port:
            (folder / "seeds.txt").write_text("".join(f"http://127.0.0.1:{port}/{i}\n" for i in range(count)))
            yield folder


def _write_pages(parquet: Path | None, count: int, folder: Path) -> None:
    bodies = [p.read_bytes() for p in sorted(DEMO.rglob("*.html"))]
    if parquet is not None:
        bodies = pl.read_parquet(parquet, columns=["html"])["html"].to_list()
    size = sum(map(len, bodies)) // len(bodies)
    print(f"{count:,} pages of {size:,} bytes on average, {len(bodies):,} as they were\n", file=sys.stderr)
    for i, body in zip(range(count), itertools.cycle(bodies), strict=False):
        (folder / str(i)).write_bytes(body if i < len(bodies) else with_other_words(body, i))


def with_other_words(page: bytes, seed: int) -> bytes:
    """The same page, each of its longer words between tags as another one: as long to parse and to embed."""
    rng = np.random.default_rng(seed)
    other: dict[bytes, bytes] = {}

    def word(match: re.Match[bytes]) -> bytes:
        if match[0] not in other:
            other[match[0]] = some(rng, 1)[0].encode()
        return other[match[0]]

    return re.sub(rb">[^<>{}]{20,}<", lambda text: re.sub(rb"[a-zA-Z]{4,}", word, text[0]), page)


def settings_of(name: str) -> dict[str, Any]:
    """The settings of a shipped profile, as its YAML has them."""
    return yaml.safe_load((configs_dir() / f"{name}.yaml").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Run:
    """What one run of the pipeline gave and took."""

    documents: int
    kept: int
    seconds: float
    cpu: float
    memory: dict[str, float]
    """Peak MiB of the process and of a worker."""
    stages: dict[str, float]
    """Seconds of each."""

    @property
    def per_minute(self) -> float:
        """Documents."""
        return 60 * self.documents / self.seconds


def run(folder: Path, name: str, settings: dict[str, Any]) -> Run:
    """Run the pipeline over `seeds.txt` of a folder into a data root of that name, which is new there."""
    settings = settings | {"crawl": settings.get("crawl", {}) | {"delay_per_host": 0}}
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(settings))
    command = [sys.executable, "-m", "quarry_dagster.cli", "run", str(folder / "seeds.txt")]
    command += ["--data", str(folder / name), "--profile", str(folder / f"{name}.yaml"), "--json"]
    environment = os.environ | {"QUARRY_ALLOW_ADDRESSES": "127.0.0.1/32"}
    before, start = _cpu_of_children(), time.monotonic()
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    seconds, cpu = time.monotonic() - start, _cpu_of_children() - before
    said = json.loads(done.stdout)
    kept = said["pages"]["kept"]
    documents = kept + sum(said["pages"]["duplicates"].values())
    return Run(documents, kept, seconds, cpu, said["memory"], said["stage_seconds"])


def _row(name: str, done: Run) -> str:
    memory = " / ".join(f"{done.memory[whose]:,.0f}" for whose in ("process", "worker"))
    stages = ", ".join(f"{stage} {each}" for stage, each in done.stages.items())
    return (
        f"| {name} | **{done.per_minute:,.0f}** | {_GUIDE.get(name, '')} | {done.documents:,} | {done.kept:,} "
        f"| {done.seconds:.0f} | {done.cpu:.0f} | {memory} | {stages} |"
    )


def _cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _memory(profile: str, sizes: list[int]) -> None:
    budget = load_profile(profile).hardware.memory_budget_mb
    print(f"\nProfile {profile}, budget {budget:,} MiB: peak MiB of each step (CPU-seconds)\n")
    print(f"| documents | {' | '.join(STAGES)} |\n| ---: |{' ---: |' * len(STAGES)}")
    for size in sizes:
        with tempfile.TemporaryDirectory() as name:
            root = Path(name)
            (root / "seeds").mkdir()
            with (root / "seeds" / "texts.jsonl").open("w") as f:
                f.writelines(texts(size))
            cells = []
            for stage in STAGES:
                command = [sys.executable, "-m", "benchmarks.pipeline", "--step", stage, name, profile]
                said = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout
                facts = json.loads(said.splitlines()[-1])
                worker = f" + {facts['worker']:,.0f} a worker" if facts["worker"] else ""
                cells.append(f"{facts['peak']:,.0f}{worker} ({facts['cpu']:,.1f})")
            print(f"| {size:,} | {' | '.join(cells)} |", flush=True)


def texts(count: int) -> Iterator[str]:
    rng = np.random.default_rng(0)
    for i in range(count):
        of_its_own = some(rng, 150)  # else all texts have one subject, and are neighbours of each other
        text = " ".join(rng.choice(of_its_own, int(600 * np.exp(0.6 * rng.standard_normal())) + 30))
        yield json.dumps({"url": f"http://site{i // 100}.test/{i}", "text": text}) + "\n"


def _step(stage: str, root: str, name: str) -> int:
    store, profile = Store(root), load_profile(name)
    partitions = list(store.batches.segments())
    before = time.process_time()
    if stage == "intake":
        take_in_seeds(store, profile, ())
    elif stage == "raw_pages":
        for p in partitions:
            raw_pages.refresh(store, p, profile.crawl, ())
    elif stage == "extracted_text":
        with Extractor(profile.extraction, profile.hardware.worker_count) as extractor:
            for p in partitions:
                extracted_text.refresh(store, p, extractor)
    elif stage == "embeddings":
        for p in partitions:
            embeddings.refresh(store, p, profile)
    elif stage == "faiss_index":
        faiss_index.refresh(store, partitions, profile)
    elif stage == "deduped_corpus":
        deduped_corpus.refresh(store, profile.deduplication, "benchmark")
    else:
        corpus_report.refresh(store, profile)
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = time.process_time() - before + children.ru_utime + children.ru_stime
    worker = children.ru_maxrss / 1024 if stage == "extracted_text" else 0
    print(json.dumps({"cpu": cpu, "peak": peak(), "worker": worker}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
