"""Exports of one corpus beside polars' own `sink_parquet`: megabytes of text a second, and peak memory.

    python -m benchmarks.exports [--documents 20000]

The corpus is made first, of invented texts of some 600 words, by the stages with the profile `raspberry_pi`. Each way
to write it has a process of its own, in turns, twice; the better of the two is printed. `sink_parquet` writes the
columns of `deduped_corpus`, and nothing else: no card, digests, splits or order.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import polars as pl

from benchmarks.pipeline import texts
from benchmarks.systems import peak
from quarry_dagster import scan
from quarry_dagster.exports import export
from quarry_dagster.extract import Extractor
from quarry_dagster.intake import take_in_seeds
from quarry_dagster.profiles.choose import load_profile
from quarry_dagster.profiles.settings import Export
from quarry_dagster.stages import embeddings, extracted_text, faiss_index, personal_data
from quarry_dagster.stages.corpus import deduped_corpus
from quarry_dagster.stages.pages import raw_pages
from quarry_dagster.store import Store

WAYS: dict[str, dict[str, object] | None] = {
    "polars, sink_parquet": None,
    "parquet": {"format": "parquet"},
    "parquet, split test 1 %": {"format": "parquet", "splits": {"test": 0.01}, "group": "document"},
    "parquet, redacted": {"format": "parquet", "redact": ["email", "phone"]},
    "jsonl": {"format": "jsonl"},
}


def main() -> int:
    if sys.argv[1:2] == ["--step"]:
        return _step(*sys.argv[2:5])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=20_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name) / "data"
        _make(root, options.documents)
        found: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
        for turn in range(2):
            for way in WAYS:
                to = Path(name) / f"{turn}-{list(WAYS).index(way)}"
                command = [sys.executable, "-m", "benchmarks.exports", "--step", way, str(root), str(to)]
                done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
                found[way].append(json.loads(done.stdout.splitlines()[-1]))
    print(f"{options.documents:,} documents, {found['parquet'][0]['text'] / 1e6:,.0f} MB of text\n")
    print("| way | s | CPU-s | MB of text a second | x sink_parquet | MB written | peak MiB |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    best = {way: min(each, key=lambda run: run["wall"]) for way, each in found.items()}
    plain = best["polars, sink_parquet"]["wall"]
    for way, run in best.items():
        print(
            f"| {way} | {run['wall']:.1f} | {run['cpu']:.1f} | {run['text'] / 1e6 / run['wall']:,.0f} "
            f"| {plain / run['wall']:.2f} | {run['bytes'] / 1e6:,.0f} | {run['peak']:,.0f} |"
        )
    return 0


def _make(root: Path, count: int) -> None:
    (root / "seeds").mkdir(parents=True)
    with (root / "seeds" / "texts.jsonl").open("w") as f:
        f.writelines(texts(count))
    store, profile = Store(str(root)), load_profile("raspberry_pi")
    take_in_seeds(store, profile, ())
    partitions = list(store.batches.segments())
    with Extractor(profile.extraction, profile.hardware.worker_count) as extractor:
        for partition in partitions:
            raw_pages.refresh(store, partition, profile.crawl, ())
            extracted_text.refresh(store, partition, extractor)
            personal_data.refresh(store, partition)
            embeddings.refresh(store, partition, profile)
    faiss_index.refresh(store, partitions, profile)
    deduped_corpus.refresh(store, profile.deduplication, "benchmark")


def _step(way: str, root: str, to: str) -> int:
    settings = WAYS[way]
    counted = scan("deduped_corpus", root).select(pl.col("text").str.len_bytes().sum())
    text = counted.collect(engine="streaming").item()
    start, cpu = time.monotonic(), time.process_time()
    if settings is None:
        scan("deduped_corpus", root).sink_parquet(f"{to}.parquet", compression="zstd")
        written = Path(f"{to}.parquet").stat().st_size
    else:
        written = export(Store(root), Export.model_validate({"to": to, **settings}), to).bytes
    spent = {"wall": time.monotonic() - start, "cpu": time.process_time() - cpu}
    print(json.dumps(spent | {"text": text, "bytes": written, "peak": peak()}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
