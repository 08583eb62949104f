"""What Dagster costs: the same 1,000 pages crawled and deduplicated by the domain code alone, and through Dagster.

    python -m benchmarks.dagster_overhead [PAGES]

Each way runs in a process of its own with a data root of its own, over pages that a third process serves on
loopback. Through Dagster includes its import, its records in SQLite, all metadata and all asset checks.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from quarry_dagster.crawl import allowed_networks
from quarry_dagster.extract import Extractor
from quarry_dagster.intake import take_in_seeds
from quarry_dagster.profiles.choose import load_profile
from quarry_dagster.stages import corpus_report, embeddings, extracted_text, faiss_index
from quarry_dagster.stages.corpus import deduped_corpus
from quarry_dagster.stages.pages import raw_pages
from quarry_dagster.store import Store
from quarry_dagster_tests.corpus import words
from quarry_dagster_tests.site import html

PROFILE = """
hardware: {workers: 2}
partitions: {pages_per_partition: 200}
crawl: {delay_per_host: 0}
embedding: {device: cpu}
"""


def main() -> int:
    if len(sys.argv) > 2:
        {"direct": direct, "dagster": through_dagster}[sys.argv[1]](sys.argv[2], sys.argv[3])
        return 0
    pages = int(sys.argv[1]) if len(sys.argv) == 2 else 1000
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "site").mkdir()
        for i in range(pages):
            (folder / "site" / f"{i}.html").write_bytes(html(f"Page {i}", words(i, 400)))
        profile = folder / "profile.yaml"
        profile.write_text(PROFILE)
        server = subprocess.Popen(
            [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1"],
            cwd=folder / "site",
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        try:
            assert server.stdout is not None
            port = server.stdout.readline().split(" port ")[1].split()[0]
            seeds = "".join(f"http://127.0.0.1:{port}/{i}.html\n" for i in range(pages))
            print(f"{pages:,} pages, {os.cpu_count()} cores")
            figures = {way: _measure(way, folder, seeds, profile) for way in ("direct", "dagster")}
        finally:
            server.kill()
    for i, unit in enumerate(("CPU-seconds", "seconds")):
        ratio = figures["dagster"][i] / figures["direct"][i]
        print(f"{unit}: direct {figures['direct'][i]:.1f}, Dagster {figures['dagster'][i]:.1f}: {ratio - 1:+.1%}")
    return 0


def _measure(way: str, folder: Path, seeds: str, profile: Path) -> tuple[float, float]:
    """CPU-seconds of the process and its children, and seconds."""
    inbox = folder / way / "seeds"
    inbox.mkdir(parents=True)
    (inbox / "pages.txt").write_text(seeds)
    environment = os.environ | {"QUARRY_ALLOW_ADDRESSES": "127.0.0.1/32"}
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    command = [sys.executable, "-m", "benchmarks.dagster_overhead", way, str(folder / way), str(profile)]
    subprocess.run(command, env=environment, check=True)
    seconds, after = time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, seconds


def direct(root: str, profile_path: str) -> None:
    store, profile = Store(root), load_profile(profile_path)
    loopback = allowed_networks("127.0.0.1/32")
    take_in_seeds(store, profile, loopback)
    partitions = list(store.batches.segments())
    with Extractor(profile.extraction, profile.hardware.worker_count) as extractor:
        for partition in partitions:
            raw_pages.refresh(store, partition, profile.crawl, loopback)
            extracted_text.refresh(store, partition, extractor)
            embeddings.refresh(store, partition, profile)
    faiss_index.refresh(store, partitions, profile)
    deduped_corpus.refresh(store, profile.deduplication, "direct")
    corpus_report.refresh(store, profile)


def through_dagster(root: str, profile_path: str) -> None:
    from quarry_dagster.orchestration import runner
    from quarry_dagster.orchestration.partitions import sync_partitions

    store, profile = Store(root), load_profile(profile_path)
    take_in_seeds(store, profile, allowed_networks("127.0.0.1/32"))
    with runner.instance(root) as instance:
        partitions = sync_partitions(instance, store)
        outcome = runner.materialize(instance, partitions, data=root, profile_name=profile_path, profile=profile)
    assert not outcome.failures, outcome.failures


if __name__ == "__main__":
    sys.exit(main())
