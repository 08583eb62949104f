"""`faiss_index` follows the partitions: it finds what is there now, writes what changed, and leaves nothing behind."""

import os
import re
import uuid
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from quarry_dagster.checks import faiss_index as quality
from quarry_dagster.errors import IndexCorruptError
from quarry_dagster.index import nearest
from quarry_dagster.profiles.settings import HardwareProfile
from quarry_dagster.search import Searcher
from quarry_dagster.search.published import members
from quarry_dagster.stages import faiss_index
from quarry_dagster.stages.sweep import sweep
from quarry_dagster.store import Fingerprint, Index, Store, VectorNotes
from quarry_dagster.store.schemas import embeddings_schema
from quarry_dagster_tests.corpus import profile

DIM = 96
MODEL = faiss_index.vector_id(profile().embedding)


def _vectors(texts: list[int]) -> np.ndarray:
    made = np.stack([np.random.default_rng(t).normal(size=DIM) for t in texts]).astype(np.float32)
    return made / np.linalg.norm(made, axis=1, keepdims=True)


def _digest(text: int) -> str:
    return f"{text:032x}"


def _put(store: Store, partition: str, texts: list[int]) -> None:
    """A partition whose documents have these texts."""
    schema = embeddings_schema(DIM)
    rows = pl.DataFrame(
        {
            "doc_id": [f"{partition}-{i}" for i in range(len(texts))],
            "text_digest": [_digest(t) for t in texts],
            "embedding": _vectors(texts) if texts else np.empty((0, DIM), np.float32),
            "model": MODEL,
            "partition": partition,
        },
        schema=schema,
    )
    with store.batches.write(partition):
        pass
    with store.embeddings.write(partition, schema) as writer:
        writer.append(rows)
        writer.note(VectorNotes(input=Fingerprint(("x",), MODEL), rows=len(texts), dim=DIM, model=MODEL))


def _refresh(store: Store, settings: HardwareProfile, **options: Any) -> Index:
    faiss_index.refresh(store, list(store.batches.segments()), settings, **options)
    snapshot = store.faiss_index.current()
    assert snapshot is not None
    return snapshot


def _check(store: Store, snapshot: Index, texts: set[int], settings: HardwareProfile, recall: float) -> None:
    """It holds these texts, and finds the nearest of them, with their cosines."""
    wanted = sorted(texts)
    assert members(snapshot)["text_digest"].sort().to_list() == [_digest(t) for t in wanted]
    queries = _vectors([1_000_000 + i for i in range(20)])
    vectors = _vectors(wanted)
    exact, _ = nearest(queries, [(np.arange(len(wanted)), vectors)], 5)
    found = Searcher(store, settings).nearest(queries, 5)
    hits = [len({d for d, _ in f} & {_digest(wanted[i]) for i in e}) / 5 for f, e in zip(found, exact, strict=True)]
    assert np.mean(hits) >= recall
    first, cosine = found[0][0]
    assert cosine == pytest.approx(float(queries[0] @ _vectors([int(first, 16)])[0]), abs=1e-5)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "data"))


@pytest.mark.parametrize(
    ("kind", "recall"),
    [
        ("IndexFlatIP", 1.0),
        ("IndexHNSWFlat", 0.95),
        ("IndexIVFFlat", 0.95),
        ("IndexIVFScalarQuantizer", 0.95),
        ("IndexIVFPQ", 0.8),
        ("IndexIVFRaBitQ", 0.4),  # a bit a dimension: vectors drawn evenly are its worst case
    ],
)
def test_after_any_history_it_finds_the_nearest_of_what_is_there(store: Store, kind: str, recall: float) -> None:
    settings = profile(index={"type": kind, "nprobe": 64})
    rng = np.random.default_rng(0)
    state: dict[str, list[int]] = {}
    for step in range(12):
        partition = f"p{rng.integers(6)}"
        state[partition] = [int(t) for t in rng.choice(3000, int(rng.integers(0, 400)), replace=False)]
        _put(store, partition, state[partition])
        snapshot = _refresh(store, settings)
        if step % 4 == 3:
            _check(store, snapshot, {t for texts in state.values() for t in texts}, settings, recall)
    store.delete_partitions(["p1"])
    state.pop("p1", None)
    _check(store, _refresh(store, settings), {t for texts in state.values() for t in texts}, settings, recall)


def _written(store: Store, before: Collection[str]) -> int:
    files = {p: store.files.size(p) for p in store.files.list("faiss_index") if p.endswith((".faiss", ".parquet"))}
    return sum(size for p, size in files.items() if p not in before)


def test_a_small_change_writes_a_small_file(store: Store) -> None:
    _put(store, "a", list(range(2000)))
    first = _refresh(store, profile())
    before = store.files.list("faiss_index")
    _put(store, "b", list(range(2000, 2020)))
    second = _refresh(store, profile())
    assert second.shards[0] == first.shards[0]
    assert _written(store, before) < 0.05 * first.bytes
    _check(store, second, set(range(2020)), profile(), 1.0)


def test_a_text_that_comes_back_is_found_again_without_writing_its_vector(store: Store) -> None:
    _put(store, "a", list(range(100)))
    _refresh(store, profile())
    _put(store, "a", list(range(1, 100)))
    gone = _refresh(store, profile())
    assert gone.removed == 1
    _check(store, gone, set(range(1, 100)), profile(), 1.0)
    _put(store, "b", [0])
    back = _refresh(store, profile())
    assert (back.removed, back.shards) == (0, gone.shards)
    _check(store, back, set(range(100)), profile(), 1.0)


def test_what_no_snapshot_names_is_deleted(store: Store) -> None:
    _put(store, "a", list(range(10)))
    _refresh(store, profile())
    left = "faiss_index/shards/000099.parquet"
    store.files.write_frame(left, pl.DataFrame({"text_digest": ["of a version that gave such names"]}))
    os.utime(store.files.full(left), (0, 0))
    for i in range(6):
        _put(store, f"b{i}", list(range(100 * i, 100 * i + 100)))
        _refresh(store, profile())
    index = store.faiss_index.current()
    assert index is not None
    young = set(store.files.list("faiss_index/shards"))
    sweep(store)
    assert set(store.files.list("faiss_index/shards")) == young - {left}, "somebody may be reading it"
    sweep(store, at_once=True)
    assert set(store.files.list("faiss_index/shards")) == set(index.files_named()) - {index.removed_path}
    assert [found.number for found in store.faiss_index.kept()] == [index.number]


def test_anew_nothing_is_left_of_what_was_removed(store: Store) -> None:
    _put(store, "a", list(range(50)))
    _refresh(store, profile())
    before = set(store.files.list("faiss_index/shards"))
    _put(store, "a", list(range(1, 50)))
    snapshot = _refresh(store, profile(), anew=True)
    assert snapshot.removed == 0
    sweep(store, at_once=True)
    assert not before & set(store.files.list("faiss_index/shards"))
    _check(store, snapshot, set(range(1, 50)), profile(), 1.0)


def test_a_shard_stays_inside_the_memory_budget(store: Store) -> None:
    settings = profile(hardware={"memory_budget_mb": 1})  # half of it: 1,365 vectors of 96 dimensions
    _put(store, "a", list(range(2000)))
    snapshot = _refresh(store, settings)
    assert [s.vectors for s in snapshot.shards] == [1365, 635]
    assert faiss_index.refresh(store, ["a"], settings, compact=True).written == 0, "fewer shards cannot be"
    _check(store, snapshot, set(range(2000)), settings, 1.0)


def test_compaction_makes_as_few_shards_as_can_be(store: Store) -> None:
    _put(store, "a", list(range(1000)))
    _refresh(store, profile())
    _put(store, "b", list(range(1000, 1010)))
    assert len(_refresh(store, profile()).shards) == 2
    snapshot = _refresh(store, profile(), compact=True)
    assert (len(snapshot.shards), snapshot.removed) == (1, 0)
    _put(store, "b", list(range(1000, 1009)))
    assert _refresh(store, profile()).removed == 1
    assert _refresh(store, profile(), compact=True).removed == 0
    assert faiss_index.refresh(store, ["a", "b"], profile(), compact=True).written == 0


def test_another_type_is_built_anew(store: Store) -> None:
    _put(store, "a", list(range(300)))
    _refresh(store, profile())
    settings = profile(index={"type": "IndexHNSWFlat"})
    snapshot = _refresh(store, settings)
    assert [s.kind for s in snapshot.shards] == ["IndexHNSWFlat"]
    _check(store, snapshot, set(range(300)), settings, 0.95)


def test_an_index_of_before_there_were_shards_is_built_anew(store: Store) -> None:
    manifest = {"model": MODEL, "vectors": 9, "partitions": {}, "kind": "IndexFlatIP"}
    store.files.write_json("faiss_index/000001/manifest.json", manifest)
    store.files.write_json("faiss_index/CURRENT.json", {"snapshot": 1, "previous": None})
    assert store.faiss_index.current() is None
    _put(store, "a", list(range(30)))
    _check(store, _refresh(store, profile()), set(range(30)), profile(), 1.0)


def test_a_damaged_file_is_never_given_to_faiss(store: Store) -> None:
    _put(store, "a", list(range(30)))
    snapshot = _refresh(store, profile())
    path = Path(store.files.full(snapshot.shards[0].file))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(IndexCorruptError, match=r"\.faiss: its sha256 is .*have it made again: quarry check --deep"):
        Searcher(store, profile()).nearest(_vectors([1]), 1)
    path.unlink()
    with pytest.raises(IndexCorruptError, match=r"\.faiss: it is gone"):
        Searcher(store, profile()).nearest(_vectors([1]), 1)


@pytest.mark.parametrize("root", ["", "memory://"])
@pytest.mark.parametrize("lost", [True, False], ids=["lost", "damaged"])
@pytest.mark.parametrize("kind", ["texts", "removed"])
def test_a_lost_or_damaged_list_is_named_with_the_remedy_and_the_remedy_works(
    tmp_path: Path, root: str, lost: bool, kind: str
) -> None:
    store = Store(f"{root}{uuid.uuid4()}" if root else str(tmp_path / "data"))
    _put(store, "a", list(range(30)))
    snapshot = _refresh(store, profile())
    path = snapshot.shards[0].texts if kind == "texts" else snapshot.removed_path
    if lost:
        store.files.delete([path])
    else:
        store.files.fs.pipe_file(store.files.full(path), b"no Parquet")
    message = (
        f"{path}.*it {'is gone' if lost else 'has 10 bytes'}.*have it made again: quarry check --deep, then quarry run"
    )
    with pytest.raises(IndexCorruptError, match=message):
        Searcher(store, profile()).nearest(_vectors([1]), 1)
    for check in (quality.contract, quality.recall_at_10):
        finding = check(store, profile())
        assert not finding.passed and re.search(message, finding.summary)
    _put(store, "b", [30])
    with pytest.raises(IndexCorruptError, match=message):
        _refresh(store, profile())
    _check(store, _refresh(store, profile(), force=True), set(range(31)), profile(), 1.0)


def test_an_index_on_an_object_store_is_read_from_a_copy() -> None:
    store = Store("memory://index-test")
    _put(store, "a", list(range(40)))
    _check(store, _refresh(store, profile()), set(range(40)), profile(), 1.0)


def test_measuring_recall_holds_the_vectors_that_it_compares_alone(store: Store) -> None:
    for p in range(3):
        _put(store, f"p{p}", list(range(100 * p, 100 * p + 100)))
    snapshot = _refresh(store, profile())
    number_of = {_digest(t): t for t in range(300)}
    kept = {_digest(t): np.zeros(DIM, np.float32) for t in (5, 105, 299)}
    assert sum(len(v) for _, v in quality._everything(store, snapshot, number_of, kept)) == 300
    np.testing.assert_array_equal(np.stack(list(kept.values())), _vectors([5, 105, 299]))
    assert all(v.base is None for v in kept.values())


def test_without_any_vector_there_is_an_empty_index(store: Store) -> None:
    _put(store, "a", [])
    snapshot = _refresh(store, profile())
    assert snapshot.vectors == 0
    assert Searcher(store, profile()).nearest(_vectors([1]), 3) == [[]]
