"""What is done to a small data root while it is attacked, and what it must answer afterwards."""

from __future__ import annotations

import gzip
import io
import json
import os
import random
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import pyarrow.parquet as pq

from quarry_dagster import rollback, scan, takedown
from quarry_dagster.domains import Describer
from quarry_dagster.extract import Extractor
from quarry_dagster.intake import take_in_seeds
from quarry_dagster.profiles.settings import HardwareProfile
from quarry_dagster.reader import TableName
from quarry_dagster.stages import (
    embeddings,
    extracted_text,
    faiss_index,
    page_metadata,
    personal_data,
    quality_signals,
)
from quarry_dagster.stages.corpus import deduped_corpus
from quarry_dagster.stages.pages import raw_pages
from quarry_dagster.stages.sweep import _all, sweep
from quarry_dagster.store import Store

PROFILE = HardwareProfile.model_validate(
    {
        "name": "torture",
        "hardware": {"workers": 1},
        "partitions": {"pages_per_partition": 8},
        "embedding": {"backend": "static", "max_tokens": 64},
    }
)
SECRET = "zanzibarquokka"
"""A word that only the document has that the takedown names."""
_OF_BEFORE = Path(__file__).parents[2] / "quarry_dagster_tests" / "root_of_0_1" / "root"
_OF_A_RUN = ("fetched_at", "first_seen", "run_id", "partition")
"""Columns that say when, by which run, and in which cut of the seeds a row was made."""


@dataclass(frozen=True)
class Scenario:
    """A data root as it is before, what is done to it, and what is asked of it afterwards."""

    prepare: Callable[[Path], None]
    act: Callable[[Store], object]
    forgotten: bool = False
    """Whether a takedown was asked for: then no byte of SECRET may be left once it was listed."""


def run(store: Store) -> None:
    """What `quarry run` does: what was begun is ended, seeds taken in, all assets brought in line, the rest swept."""
    sweep(store)
    takedown.resume(store, PROFILE)
    take_in_seeds(store, PROFILE, ())
    with Extractor(PROFILE.extraction, 1) as extractor, Describer({}, PROFILE.extraction, 1) as describer:
        for partition in store.batches.segments():
            raw_pages.refresh(store, partition, PROFILE.crawl, ())
            extracted_text.refresh(store, partition, extractor)
            page_metadata.refresh(store, partition, describer)
            personal_data.refresh(store, partition)
            quality_signals.refresh(store, partition, {})
            embeddings.refresh(store, partition, PROFILE)
    if store.batches.segments():
        faiss_index.refresh(store, list(store.batches.segments()), PROFILE)
        ruling = quality_signals.ruling_of(PROFILE.quality)
        deduped_corpus.refresh(store, PROFILE.deduplication, "torture", quality=ruling)
    sweep(store)


def seed(root: Path, name: str, first: int, n: int) -> None:
    """Drop a seed of `n` texts, with a copy of the first in it."""
    rng = random.Random(first)
    words = ["".join(rng.choices("abcdefghijklmnop", k=rng.randint(2, 9))) for _ in range(500)]
    texts = {f"http://a.test/{first + i}": " ".join(rng.choices(words, k=150)) + f" a{i}@shore.org" for i in range(n)}
    texts |= {f"{url}?copy": text for url, text in list(texts.items())[:1]}
    if first == 0:
        texts["http://a.test/1"] += f" {SECRET}"
    path = root / "seeds" / f"{name}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps({"url": u, "text": t}) + "\n" for u, t in texts.items()))


def _seeded(root: Path) -> None:
    seed(root, "a", 0, 6)


def _built(root: Path) -> None:
    store = Store(str(root))
    for i in range(2):
        seed(root, f"{i}", 100 * i, 6)
        run(store)
    rollback.tag(store, "kept")


def _changed(root: Path) -> None:
    _built(root)
    seed(root, "0", 0, 4)
    seed(root, "1", 300, 4)


def _of_before(root: Path) -> None:
    shutil.copytree(_OF_BEFORE, root)
    written = time.time() - 86_400  # a sweep leaves what may just have been written
    for path in root.rglob("*"):
        os.utime(path, (written, written))
    seed(root, "later", 500, 4)


def _littered(root: Path) -> None:
    _changed(root)
    run(Store(str(root)))


def _forget(store: Store) -> None:
    takedown.forget(store, PROFILE, "http://a.test/1", who="torture")


def _cut(store: Store) -> None:
    for i in range(2):
        store.files.log.set("n", lambda _, i=i: i)
        store.files.log.checkpoint()
    store.files.log.cut()


SCENARIOS: Mapping[str, Scenario] = {
    "a first run": Scenario(_seeded, run),
    "a run over changed seeds": Scenario(_changed, run),
    "a takedown": Scenario(_built, _forget, forgotten=True),
    "a migration": Scenario(_of_before, run),
    "going back": Scenario(_built, lambda store: rollback.go_back(store, None, "torture")),
    "a sweep of all at once": Scenario(_littered, lambda store: sweep(store, at_once=True)),
    "checkpoints": Scenario(_built, _cut),
    "a deleted partition": Scenario(_built, lambda s: s.delete_partitions([next(iter(s.batches.segments()))])),
}


def answers(root: Path) -> dict[str, str]:
    """What a user is told: every table without what only a run decides, and what is kept out."""
    found: dict[str, str] = {}
    for table in get_args(TableName):
        rows = scan(table, root).collect()
        rows = rows.drop([name for name in _OF_A_RUN if name in rows.columns])
        found[table] = repr(rows.sort(rows.columns[0]).rows())
    found["forgotten"] = repr(sorted(each.key for each in Store(str(root)).forgotten().takedowns))
    return found


def leftovers(root: Path) -> list[str]:
    """Files that no commit names, and nobody will."""
    store = Store(str(root))
    there = list(_all(store))
    known = store.files.state().sizes(there)
    manifests = {each.manifest for each in store.files.state().publishes}
    return sorted(path for path in there if path not in known and path not in manifests)


def contents(path: Path) -> Iterator[bytes]:
    """What a file holds: its bytes, and what is packed in them."""
    content = path.read_bytes()
    yield content
    if path.suffix == ".parquet":
        for column in pq.ParquetFile(io.BytesIO(content)).read().columns:
            yield repr(column.to_pylist()).encode()
        yield repr(pq.read_metadata(io.BytesIO(content)).to_dict()).encode()
    elif path.suffix == ".gz":
        yield gzip.decompress(content)


def holding(root: Path, words: list[str]) -> dict[str, list[str]]:
    """The files below a data root that hold one of these words, by word; files of the inbox are their user's."""
    found: dict[str, list[str]] = {}
    for path in sorted(root.rglob("*")):
        if path.is_file() and path.relative_to(root).parts[0] != "seeds":
            whole = b"\n".join(contents(path))
            for word in words:
                if word.encode() in whole:
                    found.setdefault(word, []).append(str(path.relative_to(root)))
    return found


def judge(root: Path, expected: dict[str, Any] | None, *, forgotten: bool) -> dict[str, Any]:
    """What is wrong with a data root after a run, in sentences; and its answers."""
    run(Store(str(root)))
    said = answers(root)
    wrong = [f"{name} differs" for name in said if expected and said[name] != expected[name]]
    wrong += [f"left behind: {path}" for path in leftovers(root)]
    if forgotten and "a.test/1'" in said["forgotten"]:
        wrong += [f"{path} still holds the forgotten text" for path in holding(root, [SECRET]).get(SECRET, [])]
    return {"wrong": wrong, "answers": said}
