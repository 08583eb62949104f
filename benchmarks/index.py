"""The published index by type: build, one per cent more, opening, queries one by one and in a batch, recall, size.

    python -m benchmarks.index [--sizes 100000] [--vectors FILE.npy] [--types IndexHNSWFlat,...]

FILE holds unit vectors of real texts, float32 of shape (n, dim), which are mixed to as many as are needed; without it,
vectors are drawn with a spectrum like theirs. The shards are those that `faiss_index` would build, written to a
temporary folder. Each type runs in a process of its own; memory is what building it held.
Queries are 500 further vectors; recall@10 is against an exact search, as the index answers, and when four times as many
are ranked again by the vectors themselves, which `quarry search` does where the index holds them rounded.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np

from benchmarks.join import mixed, vectors_to_mix
from quarry_dagster.index import Shard, VectorIndex, nearest, training_size
from quarry_dagster.index.shard import INDEX_TYPES, IndexType
from quarry_dagster.profiles.settings import Index
from quarry_dagster.search.searcher import MORE

_QUERIES = 500
_K = 10
_BLOCK = 65_536
_SETTINGS: dict[IndexType, list[Index]] = {
    "IndexFlatIP": [Index()],
    "IndexHNSWFlat": [Index(ef_search=ef) for ef in (32, 64, 128, 256)],
} | {kind: [Index(nprobe=n) for n in (8, 16, 32, 64)] for kind in INDEX_TYPES if kind.startswith("IndexIVF")}  # type: ignore[dict-item]


def main() -> int:
    if sys.argv[1:2] == ["--step"]:
        return _step(Path(sys.argv[2]), cast(IndexType, sys.argv[3]))
    parser = argparse.ArgumentParser(prog="python -m benchmarks.index", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--sizes", default="100000")
    parser.add_argument("--vectors", type=Path)
    parser.add_argument("--types", default=",".join(INDEX_TYPES))
    arguments = parser.parse_args()
    base = vectors_to_mix(arguments.vectors)
    for size in map(int, arguments.sizes.split(",")):
        with tempfile.TemporaryDirectory() as folder:
            _prepare(Path(folder), base, size)
            print(f"\n{size:,} vectors of {base.shape[1]}\n")
            print("| type | build, CPU-s | s | bytes a vector | MiB held | +1 %, CPU-s | open, ms | checksum, ms |")
            print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
            tables = [_of(folder, kind) for kind in arguments.types.split(",")]
            print("\n| type | | ms a query, one by one | in a batch | recall@10 | ranked again |")
            print("| --- | --- | ---: | ---: | ---: | ---: |")
            print("\n".join(line for table in tables for line in table), flush=True)
    return 0


def _prepare(folder: Path, base: np.ndarray, size: int) -> None:
    vectors = mixed(base, size + size // 100 + _QUERIES)
    # Mixing puts the changed copies anywhere, so the last are as any other.
    np.save(folder / "vectors.npy", vectors[:size])
    np.save(folder / "more.npy", vectors[size:-_QUERIES])
    queries = vectors[-_QUERIES:]
    starts = range(0, size, _BLOCK)
    blocks = ((np.arange(s, min(s + _BLOCK, size)), vectors[s : min(s + _BLOCK, size)]) for s in starts)
    _, cosines = nearest(queries, blocks, _K)
    np.save(folder / "queries.npy", queries)
    np.save(folder / "cosines.npy", cosines)


def _of(folder: str, kind: str) -> list[str]:
    """Print the row of one type; returns its rows of the second table."""
    command = [sys.executable, "-m", "benchmarks.index", "--step", folder, kind]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    facts = json.loads(done.stdout.splitlines()[-1])
    print(facts["row"], flush=True)
    return facts["searches"]


def _step(at: Path, kind: IndexType) -> int:
    vectors = np.load(at / "vectors.npy", mmap_mode="r")
    before = _held()
    with _timed() as building:
        shard = build(kind, vectors)
        digest = _write(shard, at / kind)
    memory = _held() - before
    del shard
    more = np.load(at / "more.npy")
    with _timed() as growth:
        _write(build("IndexFlatIP", more), at / "more.faiss")
    with _timed() as checksum, (at / kind).open("rb") as f:
        assert hashlib.file_digest(f, "sha256").hexdigest() == digest
    with _timed() as opening:
        index = VectorIndex([Shard.open(str(at / kind), kind, vectors.shape[1], len(vectors))], np.empty(0, np.int64))
    size_of = (at / kind).stat().st_size
    row = (
        f"| {kind} | {building['cpu']:,.1f} | {building['wall']:,.1f} | {size_of / len(vectors):,.0f} | {memory:,.0f} "
        f"| {growth['cpu']:.2f} | {1000 * (checksum['wall'] + opening['wall']):,.0f} | {1000 * checksum['wall']:,.0f} |"
    )
    searches = [_search(index, kind, settings, at, vectors) for settings in _SETTINGS[kind]]
    (at / kind).unlink()
    print(json.dumps({"row": row, "searches": searches}))
    return 0


def build(kind: IndexType, vectors: np.ndarray) -> Shard:
    size = training_size(kind, len(vectors))
    training = vectors[:: max(1, len(vectors) // size)] if size else vectors[:0]
    shard = Shard.create(kind, np.ascontiguousarray(training), len(vectors))
    for start in range(0, len(vectors), _BLOCK):
        shard.add(vectors[start : start + _BLOCK])
    return shard


def _write(shard: Shard, path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("wb") as f:

        def write(data: bytes) -> None:
            digest.update(data)
            f.write(data)

        shard.write(write)
    return digest.hexdigest()


def _search(index: VectorIndex, kind: str, settings: Index, folder: Path, vectors: np.ndarray) -> str:
    queries, cosines = np.load(folder / "queries.npy"), np.load(folder / "cosines.npy")
    index.search(queries, _K, settings)  # the pages of the file are read
    with _timed() as batch:
        found, _ = index.search(queries, _K, settings)
    with _timed() as single:
        for query in queries[:, None]:
            index.search(query, _K, settings)
    more, _ = index.search(queries, _K * MORE, settings)
    way = {"IndexFlatIP": "", "IndexHNSWFlat": f"ef_search {settings.ef_search}"}.get(kind, f"nprobe {settings.nprobe}")
    return (
        f"| {kind} | {way} | {1000 * single['wall'] / len(queries):.2f} | {1000 * batch['wall'] / len(queries):.3f} "
        f"| {_recall(queries, cosines, found, vectors):.3f} | {_recall(queries, cosines, more, vectors):.3f} |"
    )


def _recall(queries: np.ndarray, cosines: np.ndarray, found: np.ndarray, vectors: np.ndarray) -> float:
    """The share of the exact nearest that are among those found: whatever is as near as the last is as good."""
    hits = 0
    for query, tenth, rows in zip(queries, cosines[:, -1], found, strict=True):
        near = np.sort(vectors[np.sort(rows[rows >= 0])] @ query)[::-1][:_K]
        hits += int((near >= tenth - 1e-5).sum())
    return hits / (_K * len(queries))


def _held() -> float:
    """Memory of this process that is no file's, in MiB."""
    return int(re.findall(r"RssAnon:\s+(\d+)", Path("/proc/self/status").read_text())[0]) / 1024


@contextmanager
def _timed() -> Iterator[dict[str, Any]]:
    spent: dict[str, Any] = {}
    cpu, wall = time.process_time(), time.perf_counter()
    yield spent
    spent |= {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}


if __name__ == "__main__":
    sys.exit(main())
