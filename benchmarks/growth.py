"""What more documents cost: `deduped_corpus` built whole, with 1 % more, and with crowds of like texts.

    python -m benchmarks.growth [--vectors] [DOCUMENTS ...]        default: 5000 20000

With --vectors pairs are looked for by cosine too (`deduplication.candidates: sketches+vectors`).

Texts and vectors are invented (a model would take hours and is not what is measured): about 800 words by Zipf's law,
a site's chrome, stock phrases, near and exact copies; vectors with the spectrum that MiniLM gives web pages. Each step
runs in a process of its own; its CPU seconds are counted from after the imports, its memory from the start. A step of
half a second is at the mercy of its machine: what 1 % more costs is the median of some, each on a copy of the corpus.
"""

from __future__ import annotations

import json
import math
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import islice, pairwise
from pathlib import Path

import fsspec.implementations.local  # noqa: F401  as numpy.ma: first use would import it, and imports are not counted
import numpy as np
import numpy.ma
import pandas  # noqa: F401  pyarrow imports it where it is installed
import polars as pl
import pyarrow.compute  # noqa: F401

from quarry_dagster.dedup import candidates, shingles
from quarry_dagster.extract import count_words, text_digest
from quarry_dagster.profiles.settings import Deduplication
from quarry_dagster.stages.corpus import deduped_corpus
from quarry_dagster.store import Fingerprint, Index, Store, TextNotes, VectorNotes
from quarry_dagster.store.corpus import write_removed
from quarry_dagster.store.schemas import EXTRACTED_TEXT, REMOVED_POSITIONS, embeddings_schema

Rng = np.random.Generator

VECTORS = "--vectors"
DIM = 384
PARTITION = 1000
_VOCABULARY = np.array(
    [f"{a}{b}{c}{d}" for a in "bdfgklmnprst" for b in "aeiou" for c in "dklmnrstv" for d in "aeiouy"]
)
_VOCABULARY = np.concatenate([_VOCABULARY, np.char.add(_VOCABULARY, "s"), np.char.add("re", _VOCABULARY)])
_WEIGHTS = np.cumsum(1 / np.arange(1, len(_VOCABULARY) + 1))
_SPECTRUM = np.sqrt(1 / np.arange(1, DIM + 1)).astype(np.float32)
"""Standard deviation by principal dimension: 64 of them hold 73 % of the variance, as with MiniLM on web pages."""


def main() -> int:
    if sys.argv[1:2] == ["--sketch"]:
        return _sketch(int(sys.argv[2]))
    if "--step" in sys.argv:
        return _step(sys.argv[-1])
    sizes = [int(a) for a in sys.argv[1:] if a != VECTORS] or [5000, 20000]
    print("| documents | build, CPU-s | documents per CPU-s | peak MiB | MB | +1 %, CPU-s | +1 %, MB | again, CPU-s |")
    print("|---|---|---|---|---|---|---|---|")
    builds: list[tuple[int, float]] = []
    for n in sizes:
        with tempfile.TemporaryDirectory() as root:
            documents = web(np.random.default_rng(n), n + n // 100)
            _fill(root, "web", islice(documents, n))
            build = _run(root)
            builds.append((n, build["cpu"]))
            _fill(root, "new", documents)
            more = _median_of_copies(root)
            _run(root)
            again = _run(root)
        print(
            f"| {n:,} | {build['cpu']:.1f} | {n / build['cpu']:,.0f} | {build['peak']:.0f} "
            f"| {build['bytes'] / 1e6:.1f} | {more['cpu']:.2f} ({more['cpu'] / build['cpu']:.1%}) "
            f"| {more['bytes'] / 1e6:.2f} ({more['bytes'] / build['bytes']:.1%}) | {again['cpu']:.2f} |",
            flush=True,
        )
    for (n, a), (m, b) in pairwise(builds):
        print(f"\ngrowth from {n:,} to {m:,}: N^{math.log(b / a) / math.log(m / n):.2f}")
    subprocess.run([sys.executable, "-m", "benchmarks.growth", "--sketch", str(min(20_000, sizes[-1]))], check=True)
    print("\n| crowd | documents | kept | CPU-s | peak MiB | one more, CPU-s |\n|---|---|---|---|---|---|")
    for name, crowd in CROWDS.items():
        with tempfile.TemporaryDirectory() as root:
            documents = list(crowd(np.random.default_rng(0)))
            _fill(root, "crowd", iter(documents[:-1]))
            build = _run(root)
            _fill(root, "more", iter(documents[-1:]))
            more = _run(root)
        print(
            f"| {name} | {len(documents) - 1:,} | {build['kept']:,} | {build['cpu']:.1f} | {build['peak']:.0f} "
            f"| {more['cpu']:.2f} |",
            flush=True,
        )
    return 0


Document = tuple[str, str, np.ndarray]
"""URL, text, vector."""


def web(rng: Rng, n: int) -> Iterator[Document]:
    """Pages of sites of a hundred pages: 5 % are near copies of an earlier one, 2 % exact copies."""
    phrases = [some(np.random.default_rng(i), 8) for i in range(60)]
    site = int(rng.integers(1 << 40))
    seen: list[tuple[list[str], np.ndarray]] = []
    chrome: list[str] = []
    for i in range(n):
        if i % 100 == 0:
            chrome = some(rng, 40)
        kind = rng.random() if len(seen) > 50 else 1
        if kind < 0.07:
            words, vector = seen[int(rng.integers(len(seen)))]
            if kind < 0.05:
                words, vector = edited(rng, words, 0.05), near(rng, vector, 0.15)
        else:
            words = some(rng, int(800 * math.exp(0.6 * rng.standard_normal())) + 30)
            for at in rng.integers(0, len(words), 3):
                words[at:at] = phrases[int(rng.integers(60))]
            words, vector = chrome + words, unit(rng.standard_normal(DIM).astype(np.float32) * _SPECTRUM)
        if len(seen) < 5000:
            seen.append((words, vector))
        yield f"http://s{site + i // 100}.test/{i}", " ".join(words), vector


def template(rng: Rng, n: int = 5001) -> Iterator[Document]:
    chrome, of_site = some(rng, 300), _vector(rng)
    for i in range(n):
        yield f"http://t.test/{i}", " ".join(chrome + some(rng, 300)), near(rng, of_site, 0.4)


def copies(rng: Rng, n: int = 10_001) -> Iterator[Document]:
    text, vector = " ".join(some(rng, 800)), _vector(rng)
    yield from ((f"http://c{i}.test/", text, vector) for i in range(n))


def edits(rng: Rng, n: int = 10_001) -> Iterator[Document]:
    words, vector = some(rng, 800), _vector(rng)
    for i in range(n):
        yield f"http://e{i}.test/", " ".join(edited(rng, words, 0.03)), near(rng, vector, 0.15)


def one_host(rng: Rng, n: int = 501) -> Iterator[Document]:
    text, vector = " ".join(some(rng, 800)), _vector(rng)
    yield from ((f"http://h.test/page?id={i}", text, vector) for i in range(n))


CROWDS = {
    "pages of one template": template,
    "exact copies of one text": copies,
    "edits of one text": edits,
    "one text at many URLs of a host": one_host,
}


def some(rng: Rng, n: int) -> list[str]:
    return _VOCABULARY[np.searchsorted(_WEIGHTS, rng.random(n) * _WEIGHTS[-1])].tolist()


def edited(rng: Rng, words: list[str], share: float) -> list[str]:
    out = words.copy()
    for at in rng.integers(0, len(out), max(1, int(share * len(out)))):
        out[at] = some(rng, 1)[0]
    return out


def unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


def near(rng: Rng, vector: np.ndarray, distance: float) -> np.ndarray:
    return unit(vector + distance * unit(rng.standard_normal(DIM).astype(np.float32)))


def _vector(rng: Rng) -> np.ndarray:
    return unit(rng.standard_normal(DIM).astype(np.float32) * _SPECTRUM)


def _fill(root: str, name: str, documents: Iterator[Document]) -> None:
    """Put documents where crawling, extraction and embedding would have."""
    store = Store(root)
    while rows := list(islice(documents, PARTITION)):
        partition = f"{len(store.batches.segments()):05d}-{name}"
        urls, texts, vectors = zip(*rows, strict=True)
        frame = pl.DataFrame(
            {
                "doc_id": [text_digest(u)[:20] for u in urls],
                "url": urls,
                "final_url": urls,
                "text": texts,
                "word_count": [count_words(t) for t in texts],
                "text_digest": [text_digest(t) for t in texts],
            }
        ).with_columns(outcome=pl.lit("extracted"), partition=pl.lit(partition))
        nulls = [pl.lit(None, dtype).alias(c) for c, dtype in EXTRACTED_TEXT.items() if c not in frame.columns]
        with store.extracted_text.write(partition) as writer:
            writer.append(frame.with_columns(nulls))
            made_from = Fingerprint((partition,), "invented")
            n = len(rows)
            notes = TextNotes(
                content=partition, input=made_from, extractor_version="", rows=n, documents=n, outcomes={}
            )
            writer.note(notes)
        with store.embeddings.write(partition, embeddings_schema(DIM)) as writer:
            columns = frame.select("doc_id", "text_digest", "partition", model=pl.lit("invented"))
            writer.append(columns.with_columns(embedding=pl.Series(np.stack(vectors), dtype=pl.Array(pl.Float32, DIM))))
            writer.note(VectorNotes(input=made_from, rows=len(rows), model="invented", dim=DIM))
        with store.batches.write(partition):
            pass
    # No index: only what it covers is asked for.
    facts = {"kind": "IndexFlatIP", "dim": DIM, "vectors": 0, "documents": 0, "removed": 0, "bytes": 0}
    paths = {partition: segment.path for partition, segment in store.embeddings.segments().items()}
    snapshot = store.faiss_index.begin()
    write_removed(snapshot, pl.DataFrame(schema=REMOVED_POSITIONS))
    index = Index(snapshot=snapshot, model="invented", shards=[], partitions=paths, **facts)
    store.faiss_index.publish(index, keep=[], over=store.faiss_index.number())


def _run(root: str) -> dict[str, float]:
    by_vector = [VECTORS] if VECTORS in sys.argv else []
    command = [sys.executable, "-m", "benchmarks.growth", *by_vector, "--step", root]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def _median_of_copies(root: str, times: int = 5) -> dict[str, float]:
    """The run of median CPU time, of some that begin alike."""
    runs = []
    for _ in range(times):
        with tempfile.TemporaryDirectory() as folder:
            copy = shutil.copytree(root, Path(folder) / "data", copy_function=os.link)  # no file is ever changed
            runs.append(_run(str(copy)))
    return sorted(runs, key=lambda run: run["cpu"])[times // 2]


def _step(root: str) -> int:
    store = Store(root)
    before = _files(root)
    start = time.process_time()
    settings = Deduplication(candidates="sketches+vectors" if VECTORS in sys.argv else "sketches")
    report = deduped_corpus.refresh(store, settings, "benchmark")
    cpu = time.process_time() - start
    written = sum(size for path, size in _files(root).items() if path not in before)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"cpu": cpu, "bytes": written, "peak": peak, "kept": report.rows}))
    return 0


def _sketch(n: int) -> int:
    """Sketch n documents and join them by their sketches, in memory."""
    texts = [text for _, text, _ in web(np.random.default_rng(n), n)]
    words = float(np.median([text.count(" ") + 1 for text in texts]))
    start = time.process_time()
    made: list[np.ndarray] = []
    for block in range(0, n, 1024):
        made += shingles.sketches(texts[block : block + 1024])
    sketched = time.process_time() - start
    numbers = np.arange(n, dtype=np.uint32)
    every = candidates.Sketches(numbers, np.cumsum([len(hashes) for hashes in made]), np.concatenate(made))
    wanted = pl.Series(numbers)
    found = candidates.sketch_pairs(wanted, every.sharing(wanted), every.sizes()).height
    cpu = time.process_time() - start
    print(
        f"\nSketch and join of {n:,} documents, {words:.0f} words in the median: {n / cpu:,.0f} a CPU-second "
        f"(sketch alone {n / sketched:,.0f}), {found:,} pairs."
    )
    return 0


def _files(root: str) -> dict[str, int]:
    return {str(p): p.stat().st_size for p in Path(root).rglob("*") if p.is_file()}


if __name__ == "__main__":
    sys.exit(main())
