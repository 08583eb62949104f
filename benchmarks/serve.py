"""What the service takes to answer: each endpoint at 1, 16 and 64 clients, and while the corpus is replaced.

    python -m benchmarks.serve [--documents 100000] [--seconds 5] [--profile raspberry_pi] [--clients 1 16 64]

Texts are those of `benchmarks.growth` (about 800 words, with near and exact copies), their vectors invented with the
spectrum of MiniLM's, in a real index. The service is `quarry serve` in a process of its own, its client another one.
Two rows of figures for each: *requests/s* of a closed loop, in which each client asks again once it is answered; and
p50, p95, p99 of an open loop at half of that rate, in which requests come at random times whatever became of those
before, and the time counts from when a request was to be sent, so that no waiting is left out.

hnswlib, where it is installed, searches the same vectors beside the published index, both without a server.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import yaml

from benchmarks import growth
from quarry_dagster.embed import vector_id
from quarry_dagster.extract import count_words, text_digest
from quarry_dagster.profiles.choose import load_profile
from quarry_dagster.profiles.settings import HardwareProfile
from quarry_dagster.rollback import go_back
from quarry_dagster.search.published import load
from quarry_dagster.stages import faiss_index
from quarry_dagster.stages.corpus import deduped_corpus
from quarry_dagster.store import Fingerprint, Store, TextNotes, VectorNotes
from quarry_dagster.store.schemas import EXTRACTED_TEXT, embeddings_schema

QUERIES = 400
"""Different requests of each kind, asked in turn."""
_OPEN_SHARE = 0.5


def main() -> int:
    if sys.argv[1:2] == ["--client"]:
        return _client(*sys.argv[2:])
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serve", description=__doc__)
    parser.add_argument("--documents", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--profile", default="raspberry_pi")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("--root", help="Keep the corpus there, and use the one that is there.")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(asked.root or Path(folder) / "data")
        profile = load_profile(asked.profile)
        queries = _made(root, asked.documents, profile)
        _search_alone(root, profile)
        path = Path(folder) / "profile.yaml"
        path.write_text(yaml.safe_dump(profile.model_dump(mode="json")))
        _measure(root, str(path), queries, asked.clients, asked.seconds, Path(folder))
    return 0


def _made(root: Path, n: int, profile: HardwareProfile) -> dict[str, list[dict[str, Any]]]:
    """A data root of n documents with two corpora, the second with 1 % more; returns what to ask, by kind."""
    store = Store(str(root))
    rng = np.random.default_rng(n)
    documents = growth.web(rng, n + n // 100)
    bodies = root / "asked.json"
    if bodies.exists():
        return json.loads(bodies.read_text())
    samples: list[str] = []
    began = time.monotonic()
    _fill(store, "web", islice(documents, n), profile, samples, n // QUERIES)
    _publish(store, profile)
    _fill(store, "more", documents, profile, samples, n)
    _publish(store, profile)
    print(f"{n:,} documents, decided on twice, in {time.monotonic() - began:.0f} s", flush=True)
    fresh = np.random.default_rng(1)
    new = [" ".join(growth.some(fresh, 250)) for _ in range(QUERIES)]
    words = [text.split() for text in samples]
    found = {
        "contains, 250 words, not in it": [{"text": text} for text in new],
        "contains, a whole document": [{"text": text} for text in samples],
        "contains, 250 words of a document": [{"text": " ".join(each[-250:])} for each in words],
        "similar, 12 words": [{"text": " ".join(each[:12])} for each in words],
        "similar, 250 words": [{"text": text} for text in new],
        "decide, 250 words": [{"document": {"text": text}} for text in new],
    }
    bodies.write_text(json.dumps(found))
    return found


def _fill(store: Store, name: str, documents: Any, profile: HardwareProfile, samples: list[str], every: int) -> None:
    """Put documents and their vectors into partitions; every so many-th text is noted among the samples."""
    model = vector_id(profile.embedding)
    number = 0
    while part := list(islice(documents, growth.PARTITION)):
        partition = f"{name}-{number:05d}"
        number += 1
        urls, texts, vectors = zip(*part, strict=True)
        samples += [text for i, text in enumerate(texts) if every and i % max(1, every) == 0]
        ids = [f"{hash(url) & (2**80 - 1):020x}" for url in urls]
        rows = pl.DataFrame(
            {
                **{"doc_id": ids, "url": urls, "final_url": urls, "text": texts, "partition": [partition] * len(ids)},
                **{"outcome": ["extracted"] * len(ids), "text_digest": [text_digest(text) for text in texts]},
                **{"word_count": [count_words(text) for text in texts], "language": ["en"] * len(ids)},
            }
        )
        lacking = [pl.lit(None, dtype).alias(c) for c, dtype in EXTRACTED_TEXT.items() if c not in rows.columns]
        made_from = Fingerprint((partition,), "benchmark")
        with store.batches.write(partition) as writer:
            writer.append(rows.select("doc_id", "url").with_columns(_nulls(store.batches.schema, rows)))
        with store.extracted_text.write(partition) as writer:
            writer.append(rows.with_columns(lacking).select(EXTRACTED_TEXT.names()))
            facts = {
                "content": partition,
                "input": made_from,
                "extractor_version": "",
                "outcomes": {"extracted": len(ids)},
            }
            writer.note(TextNotes(**facts, rows=len(ids), documents=len(ids)))
        schema = embeddings_schema(growth.DIM)
        with store.embeddings.write(partition, schema) as writer:
            embedded = rows.select("doc_id", "text_digest", "partition", model=pl.lit(model))
            array = pl.Series("embedding", np.stack(vectors).astype(np.float32), dtype=schema["embedding"])
            writer.append(embedded.with_columns(array).select(schema.names()))
            writer.note(VectorNotes(input=made_from, rows=len(ids), model=model, dim=growth.DIM))


def _nulls(schema: pl.Schema, rows: pl.DataFrame) -> list[pl.Expr]:
    return [pl.lit(None, dtype).alias(c) for c, dtype in schema.items() if c not in ("doc_id", "url")]


def _publish(store: Store, profile: HardwareProfile) -> None:
    faiss_index.refresh(store, list(store.embeddings.segments()), profile)
    deduped_corpus.refresh(store, profile.deduplication, "benchmark")


def _search_alone(root: Path, profile: HardwareProfile) -> None:
    """Print what a search of ten takes by the published index and by hnswlib, one query after the other, and the share
    of the exact ten that is found."""
    store = Store(str(root))
    index = store.faiss_index.current()
    assert index is not None
    found = load(index)
    arrays = [segment.batches(["embedding"], rows=4096) for segment in store.embeddings.segments().values()]
    vectors = np.concatenate([frame["embedding"].to_numpy() for each in arrays for frame in each])
    vectors = np.unique(vectors, axis=0)
    rng = np.random.default_rng(2)
    queries = np.stack([growth.near(rng, vectors[i], 0.5) for i in rng.integers(0, len(vectors), QUERIES)])
    truth = np.argpartition(-(queries @ vectors.T), 10, axis=1)[:, :10]
    exact = np.sort(np.take_along_axis(queries @ vectors.T, truth, axis=1), axis=1)

    def row(name: str, search: Callable[[np.ndarray], np.ndarray]) -> None:
        cosines, took = [], []
        for query in queries:
            began = time.perf_counter()
            cosines.append(search(query[None])[0])
            took.append(1000 * (time.perf_counter() - began))
        recall = np.mean([np.sum(np.array(c) >= e[0] - 5e-3) / 10 for c, e in zip(cosines, exact, strict=True)])
        p50, p99 = np.percentile(took, [50, 99])
        print(f"| {name} | {p50:.2f} | {p99:.2f} | {min(1.0, float(recall)):.3f} |", flush=True)

    print(f"\n| search alone, {len(vectors):,} vectors | p50 ms | p99 ms | recall@10 |\n| --- | --- | --- | --- |")
    for nprobe in sorted({16, 32, 64, 128, profile.index.nprobe}):
        settings = profile.index.model_copy(update={"nprobe": nprobe})
        row(f"{index.kind}, nprobe {nprobe}", lambda q, s=settings: found.search(q, 10, s)[1])
        if index.kind == "IndexFlatIP":
            break
    if find_spec("hnswlib"):
        import hnswlib  # pyright: ignore[reportMissingImports]

        peer = hnswlib.Index("ip", growth.DIM)
        peer.init_index(len(vectors), ef_construction=100, M=16)
        peer.add_items(vectors)
        for ef in (64, 256):
            peer.set_ef(ef)
            row(f"hnswlib, M 16, ef {ef}", lambda q: 1 - peer.knn_query(q, 10, num_threads=1)[1])


def _measure(
    root: Path,
    profile: str,
    queries: dict[str, list[dict[str, Any]]],
    clients: Sequence[int],
    seconds: float,
    folder: Path,
) -> None:
    command = [
        sys.executable,
        "-m",
        "quarry_dagster",
        "serve",
        "--data",
        str(root),
        "--profile",
        profile,
        "--port",
        "0",
    ]
    with (folder / "log").open("wb") as log:
        service = subprocess.Popen(command, stderr=log)
    try:
        port = _port(folder / "log")
        _until_ready(port)
        print("\n| endpoint | clients | requests/s | p50 ms | p95 ms | p99 ms | refused |")
        print("| --- | --- | --- | --- | --- | --- | --- |")
        _row("nothing (/healthz)", port, "/healthz", [None], clients, seconds, folder)
        for name, bodies in queries.items():
            _row(name, port, f"/v1/{name.partition(',')[0]}", bodies, clients, seconds, folder)
        for name in ("contains, 250 words, not in it", "similar, 250 words"):
            _during_changes(name, port, queries[name], seconds, folder, root)
        print(f"\npeak memory of the service: {_peak(service.pid):.0f} MiB", flush=True)
    finally:
        service.terminate()
        service.wait()


def _row(
    name: str, port: int, path: str, bodies: Sequence[Any], clients: Sequence[int], seconds: float, folder: Path
) -> None:
    for number in clients:
        closed = _asked(port, path, bodies, number, seconds, 0, folder)
        rate = len(closed["took"]) / seconds
        opened = _asked(port, path, bodies, number, seconds, rate * _OPEN_SHARE, folder)
        _print(name, number, rate, opened)


def _during_changes(name: str, port: int, bodies: Sequence[Any], seconds: float, folder: Path, root: Path) -> None:
    """The same with 16 clients while the service goes back to the corpus of before, and forth again."""
    store, path = Store(str(root)), f"/v1/{name.partition(',')[0]}"
    current = store.deduped_corpus.number()
    assert current is not None
    rate = len(_asked(port, path, bodies, 16, seconds, 0, folder)["took"]) / seconds * _OPEN_SHARE
    quiet = _asked(port, path, bodies, 16, 4 * seconds, rate, folder)
    _print(f"{name}, open loop", 16, rate, quiet)
    client = _start(port, path, bodies, 16, 4 * seconds, rate, folder)
    go_back(store, current - 1, "benchmark")
    time.sleep(2 * seconds)
    go_back(store, current, "benchmark")
    _print(f"{name}, while the corpus is replaced twice", 16, rate, _ended(client))


def _print(name: str, clients: int, rate: float, found: dict[str, Any]) -> None:
    p50, p95, p99 = np.percentile(found["took"] or [float("nan")], [50, 95, 99])
    refused = sum(count for status, count in found["statuses"].items() if status != "200")
    print(f"| {name} | {clients} | {rate:,.0f} | {p50:.1f} | {p95:.1f} | {p99:.1f} | {refused} |", flush=True)


def _asked(port: int, path: str, bodies: Sequence[Any], clients: int, seconds: float, rate: float, folder: Path) -> Any:
    return _ended(_start(port, path, bodies, clients, seconds, rate, folder))


def _start(
    port: int, path: str, bodies: Sequence[Any], clients: int, seconds: float, rate: float, folder: Path
) -> subprocess.Popen[bytes]:
    file = folder / "bodies.json"
    file.write_text(json.dumps(list(bodies)))
    arguments = [str(each) for each in (port, path, file, clients, seconds, rate)]
    return subprocess.Popen([sys.executable, "-m", "benchmarks.serve", "--client", *arguments], stdout=subprocess.PIPE)


def _ended(client: subprocess.Popen[bytes]) -> Any:
    out, _ = client.communicate()
    return json.loads(out)


def _client(port: str, path: str, file: str, clients: str, seconds: str, rate: str) -> int:
    """Ask, and print the milliseconds of every answer that was one, and how often each status came."""
    bodies = [b"" if body is None else json.dumps(body).encode() for body in json.loads(Path(file).read_text())]
    requests = [_request(path, body) for body in bodies]
    found = asyncio.run(_ask(int(port), requests, int(clients), float(seconds), float(rate)))
    print(json.dumps(found))
    return 0


async def _ask(port: int, requests: Sequence[bytes], clients: int, seconds: float, rate: float) -> dict[str, Any]:
    took: list[float] = []
    statuses: Counter[str] = Counter()
    connections = [await asyncio.open_connection("127.0.0.1", port) for _ in range(clients)]
    for i, (reader, writer) in enumerate(connections):  # what is loaded at first use is not counted
        await _answer(reader, writer, requests[i % len(requests)])
    free: asyncio.Queue[Any] = asyncio.Queue()
    for each in connections:
        free.put_nowait(each)
    begin = time.perf_counter()

    async def one(connection: Any, number: int, due: float) -> None:
        reader, writer = connection
        status = await _answer(reader, writer, requests[number % len(requests)])
        statuses[status] += 1
        if status == "200":
            took.append(1000 * (time.perf_counter() - due))
        free.put_nowait(connection)

    async def closed(connection: Any, first: int) -> None:
        number = first
        while time.perf_counter() - begin < seconds:
            await one(connection, number, time.perf_counter())
            number += clients

    if not rate:
        await asyncio.gather(*(closed(each, i) for i, each in enumerate(connections)))
    else:
        await _open(one, free, rate, begin, seconds)
    for _, writer in connections:
        writer.close()
    return {"took": took, "statuses": statuses}


async def _open(
    one: Callable[[Any, int, float], Awaitable[None]],
    free: asyncio.Queue[Any],
    rate: float,
    begin: float,
    seconds: float,
) -> None:
    rng = np.random.default_rng(3)
    tasks: list[asyncio.Task[None]] = []
    due, number = begin, 0
    while due - begin < seconds:
        if (wait := due - time.perf_counter()) > 0:
            await asyncio.sleep(wait)
        connection = await free.get()  # where none is free the request waits, and its time counts
        tasks.append(asyncio.ensure_future(one(connection, number, due)))
        due += float(rng.exponential(1 / rate))
        number += 1
    await asyncio.gather(*tasks)


def _request(path: str, body: bytes) -> bytes:
    method = "POST" if body else "GET"
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> str:
    writer.write(request)
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    length = next(
        int(line.partition(":")[2]) for line in head.splitlines() if line.lower().startswith("content-length")
    )
    await reader.readexactly(length)
    return head.split(" ", 2)[1]


def _port(log: Path) -> int:
    while True:
        for line in log.read_text().splitlines():
            if " serving " in line:
                return int(line.rpartition(":")[2])
        time.sleep(0.1)


def _until_ready(port: int) -> None:
    async def status() -> str:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        found = await _answer(reader, writer, _request("/readyz", b""))
        writer.close()
        return found

    began = time.monotonic()
    while True:
        try:
            if asyncio.run(status()) == "200":
                print(f"\nready after {time.monotonic() - began:.1f} s", flush=True)
                return
        except OSError:
            pass
        time.sleep(0.2)


def _peak(pid: int) -> float:
    """Peak resident memory of a process, MiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM"))


if __name__ == "__main__":
    sys.exit(main())
