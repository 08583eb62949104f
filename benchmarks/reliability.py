"""What survives: commits of many writers, damage to every file; and what the log costs at 30,000 partitions.

    python -m benchmarks.reliability writers [--s3]
    python -m benchmarks.reliability damage
    python -m benchmarks.reliability scale [PARTITIONS]
    python -m benchmarks.reliability scan

`--s3` needs `moto[server]` and `s3fs`: the S3 protocol over HTTP on this machine. Damage is judged from outside: every
table and a search are compared with those of the undamaged build; an answer that differs without an error is silent.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args

import polars as pl
import psutil

from quarry_dagster import scan
from quarry_dagster.domains import Describer
from quarry_dagster.errors import QuarryError
from quarry_dagster.extract import Extractor
from quarry_dagster.intake import take_in_seeds
from quarry_dagster.profiles.settings import HardwareProfile
from quarry_dagster.reader import TableName
from quarry_dagster.search import Searcher
from quarry_dagster.stages import (
    embeddings,
    extracted_text,
    faiss_index,
    page_metadata,
    personal_data,
    quality_signals,
)
from quarry_dagster.stages.backlog import backlog
from quarry_dagster.stages.corpus import deduped_corpus
from quarry_dagster.stages.pages import raw_pages
from quarry_dagster.store import Files, Fingerprint, Store, TextNotes
from quarry_dagster.store import files as files_module
from quarry_dagster.store.state import Line

_WRITERS, _COMMITS = 4, 25
_WRITER = """
import sys
from quarry_dagster.store import Files
files = Files(sys.argv[1])
for i in range(int(sys.argv[3])):
    files.log.commit(lambda _: [{"set": {"key": f"{sys.argv[2]}/{i}", "value": i}}])
"""
_PROFILE = HardwareProfile.model_validate(
    {
        "name": "reliability",
        "hardware": {"workers": 2},
        "partitions": {"pages_per_partition": 8},
        "embedding": {"backend": "static", "max_tokens": 64},
    }
)
_NOT_OURS = (".dagster", ".locks", ".writers", "seeds", "corpus_report")


def main() -> int:
    what, *rest = sys.argv[1:] or [""]
    if what == "writers":
        with _s3() if "--s3" in rest else _folder() as root:
            _writers(root)
    elif what == "damage":
        with _folder() as root:
            _damage(Path(root))
    elif what == "scale":
        with _folder() as root:
            _scale(root, int(rest[0]) if rest else 30_000)
    elif what == "scan":
        with _folder() as root:
            _scan(root)
    else:
        print(__doc__)
        return 2
    return 0


@contextmanager
def _folder() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as name:
        yield str(Path(name) / "data")


@contextmanager
def _s3() -> Iterator[str]:
    """A bucket on a server of this machine that speaks S3."""
    command = [sys.executable, "-m", "moto.server", "-p", "5599", "-H", "127.0.0.1"]
    settings = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_ENDPOINT_URL": "http://127.0.0.1:5599"}
    os.environ.update(settings | {"AWS_DEFAULT_REGION": "us-east-1"})
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            import s3fs  # pyright: ignore[reportMissingImports]

            for _ in range(100):
                time.sleep(0.2)
                try:
                    s3fs.S3FileSystem().mkdir("corpora")
                    break
                except Exception:  # noqa: BLE001  it is not up yet
                    continue
            yield "s3://corpora/data"
        finally:
            server.terminate()


def _writers(root: str) -> None:
    start = time.monotonic()
    command = [sys.executable, "-c", _WRITER, root]
    writers = [subprocess.Popen([*command, str(n), str(_COMMITS)]) for n in range(_WRITERS)]
    failed = sum(writer.wait() != 0 for writer in writers)
    kept = len(Files(root).log.values(""))
    seconds = time.monotonic() - start
    print(f"{_WRITERS} writers of {_COMMITS} commits each: {kept} kept of {_WRITERS * _COMMITS}, ", end="")
    print(f"{failed} writers failed, {seconds:.1f} s")


def _texts(first: int, n: int) -> dict[str, str]:
    rng = random.Random(first)
    words = ["".join(rng.choices("abcdefghijklmnop", k=rng.randint(2, 9))) for _ in range(500)]
    return {f"http://a.test/{first + i}": " ".join(rng.choices(words, k=150)) + f" a{i}@shore.org" for i in range(n)}


def _run(store: Store) -> None:
    take_in_seeds(store, _PROFILE, ())
    with Extractor(_PROFILE.extraction, 2) as extractor, Describer({}, _PROFILE.extraction, 1) as describer:
        for partition in store.batches.segments():
            raw_pages.refresh(store, partition, _PROFILE.crawl, ())
            extracted_text.refresh(store, partition, extractor)
            page_metadata.refresh(store, partition, describer)
            personal_data.refresh(store, partition)
            quality_signals.refresh(store, partition, {})
            embeddings.refresh(store, partition, _PROFILE)
    faiss_index.refresh(store, list(store.batches.segments()), _PROFILE)
    ruling = quality_signals.ruling_of(_PROFILE.quality)
    deduped_corpus.refresh(store, _PROFILE.deduplication, "benchmark", quality=ruling)


def _build(root: Path) -> None:
    store = Store(str(root))
    for i in range(3):
        texts = _texts(100 * i, 12)
        texts |= {f"{url}?copy": text for url, text in list(texts.items())[:3]}
        seed = root / "seeds" / f"{i}.jsonl"
        seed.parent.mkdir(parents=True, exist_ok=True)
        seed.write_text("".join(json.dumps({"url": u, "text": t}) + "\n" for u, t in texts.items()))
        _run(store)
        if i == 1:
            store.files.log.checkpoint()


def _answers(root: Path) -> dict[str, Any]:
    """What a user is told: every table, what is kept out, and what is near a text."""
    files_module._LOGS.clear()
    found: dict[str, Any] = {}
    for table in get_args(TableName):
        rows = scan(table, root).collect()
        found[table] = repr(rows.sort(rows.columns[0]).rows())
    store = Store(str(root))
    found["values"] = json.dumps(dict(store.files.state().values), sort_keys=True)
    text = next(iter(_texts(0, 1).values()))
    found["search"] = Searcher(store, _PROFILE).like(text, 5).select("url", pl.col("cosine").round(4)).write_json()
    return found


def _changes(content: bytes, others: list[bytes], rng: random.Random) -> dict[str, Callable[[], bytes | None]]:
    at, block = rng.randrange(max(1, len(content))), min(len(content), 512)

    def flipped() -> bytes:
        return content[:at] + bytes([content[at] ^ (1 << rng.randrange(8))]) + content[at + 1 :]

    return {
        "a bit": flipped,
        "a byte": lambda: content[:at] + bytes([(content[at] + 97) % 256]) + content[at + 1 :],
        "a block of zeros": lambda: content[:at] + bytes(min(block, len(content) - at)) + content[at + block :],
        "cut": lambda: content[: len(content) // 2],
        "empty": lambda: b"",
        "gone": lambda: None,
        "another file of its kind": lambda: rng.choice(others) if others else None,
        "longer": lambda: content + b"\0" * 7,
    }


def _damage(root: Path) -> None:
    _build(root)
    expected = _answers(root)
    paths = [p for p in sorted(root.rglob("*")) if p.is_file() and not {*p.relative_to(root).parts} & {*_NOT_OURS}]
    rng = random.Random(0)
    outcomes: Counter[tuple[str, str]] = Counter()
    for path in paths:
        content = path.read_bytes()
        others = [
            p.read_bytes()
            for p in paths
            if p != path and p.suffix == path.suffix and p.parent.parent == path.parent.parent
        ]
        for kind, change in _changes(content, others, rng).items():
            if not content and kind in ("a bit", "a byte"):
                continue
            changed = change()
            if changed is None:
                path.unlink()
            else:
                path.write_bytes(changed)
            outcome = "harmless" if changed == content else _outcome(root, expected, path)
            outcomes[kind, outcome] += 1
            if outcome in ("silent", "unnamed"):
                print(f"{outcome}: {kind} of {path.relative_to(root)}")
            path.write_bytes(content)
    assert _answers(root) == expected
    print(f"{len(paths)} files, {sum(outcomes.values())} damages")
    kinds = list(dict.fromkeys(kind for kind, _ in outcomes))
    names = ("named", "harmless", "unnamed", "silent")
    print(f"| damage | {' | '.join(names)} |\n| --- |{' --- |' * len(names)}")
    for kind in kinds:
        print(f"| {kind} | {' | '.join(str(outcomes[kind, name]) for name in names)} |")


def _outcome(root: Path, expected: dict[str, Any], path: Path) -> str:
    try:
        return "harmless" if _answers(root) == expected else "silent"
    except QuarryError as e:
        return "named" if path.name in str(e) else "unnamed"
    except Exception as e:  # noqa: BLE001  whatever a user would see
        print(f"  {type(e).__name__}: {e}"[:200])
        return "unnamed"


def _scale(root: str, partitions: int) -> None:
    """The log alone, without files: what opening it, a tick and a commit take."""
    files = Files(root)
    tables = ("batches", "raw_pages", "extracted_text", "embeddings")
    for start in range(0, partitions, 5000):
        files.log.commit(
            lambda _, start=start: [
                _entry(table, n) for n in range(start, min(partitions, start + 5000)) for table in tables
            ]
        )
    files.log.checkpoint()
    del files
    files_module._LOGS.clear()
    command = [sys.executable, "-m", "benchmarks.reliability", "--opened", root]
    print(subprocess.run(command, capture_output=True, text=True, check=True).stdout, end="")


def _scan(root: str) -> None:
    """Reading with verification beside polars' own reading of the same files."""
    store = Store(root)
    for n in range(100):
        texts = [f"{n} {i} {text}" for i, text in enumerate(_texts(n, 1).values()) for _ in range(1000)]
        ids = [f"{n * 1000 + i:020x}" for i in range(len(texts))]
        notes = TextNotes(
            content=str(n),
            input=Fingerprint((str(n),), "x"),
            extractor_version="",
            rows=1000,
            documents=1000,
            outcomes={},
        )
        with store.extracted_text.write(f"{n:05d}") as writer:
            rows = zip(ids, texts, range(1000), strict=True)
            writer.append([{"doc_id": i, "text": t, "word_count": w, "partition": f"{n:05d}"} for i, t, w in rows])
            writer.note(notes)
    paths = [str(Path(root) / path) for path in store.extracted_text.segments().paths().values()]
    queries: dict[str, Callable[[pl.LazyFrame], pl.LazyFrame]] = {
        "all columns": lambda rows: rows,
        "one column of numbers": lambda rows: rows.select("word_count"),
        "a filter that one file passes": lambda rows: rows.filter(pl.col("partition") == "00042"),
        "a filter by a number": lambda rows: rows.filter(pl.col("word_count") > 990).select("text"),
        "how many rows": lambda rows: rows.select(pl.len()),
    }
    print(
        "| query over 100 files of 1,000 rows | plain, CPU-ms | verified, CPU-ms | ratio |\n| --- | --- | --- | --- |"
    )
    for name, query in queries.items():
        plain = _best(lambda query=query: query(pl.scan_parquet(paths, glob=False)).collect())
        ours = _best(lambda query=query: query(store.extracted_text.scan()).collect())
        print(f"| {name} | {plain:.0f} | {ours:.0f} | {ours / plain:.1f} |")


def _best(work: Callable[[], object]) -> float:
    """CPU-milliseconds of the best of five."""
    found = []
    for _ in range(5):
        start = time.process_time()
        work()
        found.append(1000 * (time.process_time() - start))
    return min(found)


def _entry(table: str, n: int) -> Line:
    partition, content = f"{n:05d}-seeds-{n % 997:06x}", f"{n:032x}"
    notes: dict[str, dict[str, Any]] = {
        "batches": {},
        "raw_pages": {
            "batch": 1,
            "content": content,
            "rows": 1000,
            "policy": "consent True noindex False up to 10 MiB",
        },
        "extracted_text": {
            "content": content,
            "input": f"{content} rules 2, thorough, min_words 20, trafilatura 2.0, and what else a version names",
            "extractor_version": "rules 2, thorough, min_words 20, trafilatura 2.0, and what else a version names",
            "rows": 1000,
            "documents": 900,
            "outcomes": {"extracted": 900, "too_short": 100},
            "languages": {"en": 700, "de": 200},
        },
        "embeddings": {
            "input": f"{content} all-MiniLM-L6-v2 int8 256t",
            "rows": 900,
            "model": "all-MiniLM-L6-v2",
            "dim": 384,
        },
    }
    said = {"table": table, "partition": partition, "path": f"{table}/{partition}/000001-0123abcd-{n:x}.parquet"}
    return {"add": {**said, "over": None, "rows": 1000, "bytes": 1, "sha256": f"{n:064x}", "notes": notes[table]}}


def _opened(root: str) -> None:
    def cpu() -> float:
        return time.process_time()

    before = psutil.Process().memory_info().rss
    store = Store(root)
    start = cpu()
    state = store.files.state()
    print(f"opening: {cpu() - start:.2f} CPU-s, ", end="")
    print(f"{(psutil.Process().memory_info().rss - before) / 2**20:.0f} MiB more")
    for name in ("the first tick", "a tick"):
        start = cpu()
        behind = backlog(store), faiss_index.behind(store), deduped_corpus.behind(store)
        print(f"{name}: {cpu() - start:.3f} CPU-s ({len(behind[0])} partitions behind)")
    start, n = cpu(), 50
    for i in range(n):
        store.files.log.commit(lambda _, i=i: [_entry("raw_pages", i)])
    print(f"a commit: {1000 * (cpu() - start) / n:.1f} CPU-ms")
    start = cpu()
    behind = backlog(store), faiss_index.behind(store), deduped_corpus.behind(store)
    print(f"a tick after commits: {cpu() - start:.3f} CPU-s")
    assert state.number >= 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--opened"]:
        _opened(sys.argv[2])
    else:
        sys.exit(main())
