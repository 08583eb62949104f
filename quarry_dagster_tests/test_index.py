"""Every index type finds, passes over what was removed, and survives storage; shards are searched as one."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from quarry_dagster.errors import ConfigError, IndexCorruptError
from quarry_dagster.index import (
    Shard,
    Size,
    VectorIndex,
    bytes_per_vector,
    choose_type,
    nearest,
    plan,
    spread,
    training_size,
)
from quarry_dagster.index.shard import INDEX_TYPES, _gpu_resources
from quarry_dagster.profiles.settings import Index

SETTINGS = Index(nprobe=64, ef_search=128)
NOTHING = np.empty(0, np.int64)


def unit_vectors(n: int, dim: int = 48, seed: int = 1) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(n, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def shard_of(kind: str, vectors: np.ndarray) -> Shard:
    shard = Shard.create(kind, vectors, len(vectors))  # pyright: ignore[reportArgumentType]
    shard.add(vectors)
    return shard


@pytest.fixture(params=INDEX_TYPES)
def shard(request: pytest.FixtureRequest) -> Shard:
    return shard_of(request.param, unit_vectors(2000))


def test_a_vector_finds_itself(shard: Shard) -> None:
    assert len(shard) == 2000
    rows, cosines = shard.search(unit_vectors(2000)[:100], 1, SETTINGS, NOTHING)
    assert (rows[:, 0] == np.arange(100)).mean() > 0.95
    assert np.median(cosines[:, 0]) > (0.7 if shard.kind in ("IndexIVFPQ", "IndexIVFRaBitQ") else 0.999)


@pytest.mark.parametrize("gpu", [None, 0])
def test_what_was_removed_is_not_found_and_others_are_in_its_place(shard: Shard, gpu: int | None) -> None:
    vectors = unit_vectors(2000)
    gone = np.arange(0, 2000, 2)
    shard = Shard(shard._index, shard.kind, gpu)
    rows, cosines = shard.search(vectors[:200], 20, SETTINGS, gone)
    assert rows.shape == cosines.shape == (200, 20)
    assert not np.isin(rows, gone).any()
    assert (rows >= 0).all() and (np.diff(cosines, axis=1) <= 0).all()
    all_rows, _ = shard.search(vectors[:200], 20, SETTINGS, np.arange(1990))
    assert set(all_rows.flat) <= {-1, *range(1990, 2000)}


def test_a_gpu_is_asked_for_no_more_than_it_can_find(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = unit_vectors(2600)
    on_gpu = Shard(shard_of("IndexFlatIP", vectors)._index, "IndexFlatIP", gpu=0)
    asked: list[int] = []
    search = on_gpu._search
    monkeypatch.setattr(on_gpu, "_search", lambda queries, k, *rest: asked.append(k) or search(queries, k, *rest))
    for gone in (NOTHING, np.array([5])):
        rows, _ = on_gpu.search(vectors[:3], 2500, SETTINGS, gone)
        assert rows.shape == (3, 2048) and asked.pop() == 2048
        positions, _ = VectorIndex([on_gpu], gone).search(vectors[:3], 2500, SETTINGS)
        assert positions.shape == (3, 2500) and (positions[:, 2048:] == -1).all() and asked.pop() == 2048


def test_shards_are_searched_as_one_index() -> None:
    vectors = unit_vectors(500)
    shards = [shard_of("IndexFlatIP", part) for part in np.split(vectors, [300, 420])]
    removed = np.array([450, 3, 299, 300])
    index = VectorIndex(shards, removed)
    assert len(index) == 496
    queries = unit_vectors(30, seed=2)
    left = np.setdiff1d(np.arange(500), removed)
    positions, cosines = index.search(queries, 7, SETTINGS)
    expected, _ = nearest(queries, [(left, vectors[left])], 7)
    assert (positions == expected).all()
    assert np.allclose(cosines, np.take_along_axis(queries @ vectors.T, expected, axis=1), atol=1e-6)
    few, _ = VectorIndex(shards[2:], NOTHING).search(queries, 90, SETTINGS)
    assert ((few >= 0).sum(axis=1) == 80).all()
    none, _ = VectorIndex([], NOTHING).search(queries, 2, SETTINGS)
    assert (none == -1).all()


def _stored(shard: Shard, path: Path) -> str:
    with path.open("wb") as f:
        shard.write(f.write)
    return str(path)


def test_an_index_is_the_same_after_storage(shard: Shard, tmp_path: Path) -> None:
    again = Shard.open(_stored(shard, tmp_path / "index"), shard.kind, 48, 2000)
    queries, gone = unit_vectors(50, seed=2), np.array([5, 17])
    for mine, theirs in zip(
        shard.search(queries, 5, SETTINGS, gone), again.search(queries, 5, SETTINGS, gone), strict=True
    ):
        assert np.array_equal(mine, theirs)


def test_a_mistaken_or_truncated_file_is_refused(shard: Shard, tmp_path: Path) -> None:
    path = _stored(shard, tmp_path / "index")
    with pytest.raises(IndexCorruptError, match="2,000 vectors of 48 dimensions, its manifest says 2,000 of 384"):
        Shard.open(path, shard.kind, 384, 2000)
    with pytest.raises(IndexCorruptError, match="its manifest says 9 of 48"):
        Shard.open(path, shard.kind, 48, 9)
    Path(path).write_bytes(Path(path).read_bytes()[:20])
    with pytest.raises(IndexCorruptError, match="cannot read"):
        Shard.open(path, shard.kind, 48, 2000)


def test_what_a_vector_takes_is_what_its_file_grows_by(shard: Shard, tmp_path: Path) -> None:
    small = Path(_stored(shard, tmp_path / "small")).stat().st_size
    shard.add(unit_vectors(2000, seed=3))
    grown = Path(_stored(shard, tmp_path / "large")).stat().st_size - small
    assert grown / 2000 == pytest.approx(bytes_per_vector(shard.kind, 48), rel=0.1)


def test_the_type_follows_the_number_of_vectors_unless_it_is_set() -> None:
    auto = Index(exact_limit=100, large_type="IndexIVFFlat")
    assert choose_type(auto, 100) == "IndexFlatIP"
    assert choose_type(auto, 101) == "IndexIVFFlat"
    assert choose_type(Index(type="IndexHNSWFlat"), 1) == "IndexHNSWFlat"


def test_too_few_vectors_for_product_quantization_are_searched_exactly() -> None:
    assert choose_type(Index(type="IndexIVFPQ"), 255) == "IndexFlatIP"
    assert choose_type(Index(type="IndexIVFPQ"), 256) == "IndexIVFPQ"
    shard_of("IndexIVFPQ", unit_vectors(256))


def test_a_type_is_trained_on_no_more_than_there_is() -> None:
    assert training_size("IndexHNSWFlat", 10**6) == 0
    assert training_size("IndexIVFFlat", 10) == 10
    assert 10_000 < training_size("IndexIVFPQ", 20_000) <= 20_000


LOG = Index(type="IndexFlatIP")


def test_little_that_is_new_becomes_a_shard_beside_the_large_ones() -> None:
    assert plan([Size("IndexFlatIP", 100_000, 100_000)], 1000, LOG, 10**9) == [0]


def test_shards_that_are_not_much_larger_are_built_anew_with_what_is_new() -> None:
    sizes = [Size("IndexFlatIP", n, n) for n in (100_000, 3000, 1000)]
    assert plan(sizes, 1000, LOG, 10**9) == [0]
    assert plan(sizes, 400, LOG, 10**9) == [0, 1, 2]


def test_over_many_changes_a_vector_is_built_a_few_times_and_shards_are_few() -> None:
    sizes: list[Size] = []
    built = most = 0
    for _ in range(500):
        stay = plan(sizes, 100, LOG, 10**9)
        new = 100 + sum(s.wanted for i, s in enumerate(sizes) if i not in stay)
        built, sizes = built + new, [*(sizes[i] for i in stay), Size("IndexFlatIP", new, new)]
        most = max(most, len(sizes))
    assert sum(s.built for s in sizes) == 50_000
    assert built < 10 * 50_000 and most < 8


def test_a_shard_of_another_type_or_with_much_passed_over_is_built_anew() -> None:
    flat, hnsw = Size("IndexFlatIP", 1000, 1000), Size("IndexHNSWFlat", 5000, 5000)
    assert plan([hnsw, flat], 0, LOG, 10**9) == []
    assert plan([flat], 0, Index(exact_limit=900), 10**9) == []
    assert plan([Size("IndexFlatIP", 1000, 800)], 0, LOG, 10**9) == [0]
    assert plan([Size("IndexFlatIP", 1000, 799)], 0, LOG, 10**9) == []
    assert plan([flat, Size("IndexFlatIP", 100, 9)], 0, LOG, 10**9) == [0]


def test_a_shard_as_large_as_memory_allows_is_left_alone() -> None:
    full = Size("IndexFlatIP", 1000, 1000)
    assert plan([full, full], 900, LOG, 1000) == [0, 1]


def test_gpu_search_without_a_gpu_faiss_is_a_clear_error(shard: Shard) -> None:
    with pytest.raises(ConfigError, match=r"docs/hardware\.md"):
        shard.on_gpu()


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[int, object]]]:
    """A FAISS that says it has two GPUs, and leaves indices where they are; what it was asked to bring where."""
    import faiss

    asked: list[tuple[int, object]] = []
    monkeypatch.setattr(faiss, "StandardGpuResources", object, raising=False)
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 2)
    bring = lambda of, gpu, index: asked.append((gpu, of)) or index  # noqa: E731
    monkeypatch.setattr(faiss, "index_cpu_to_gpu", bring, raising=False)
    _gpu_resources.cache_clear()
    yield asked
    _gpu_resources.cache_clear()


def test_shards_share_what_a_gpu_reserves(used: list[tuple[int, object]]) -> None:
    for gpu in (0, 0, 1, 1):
        assert len(shard_of("IndexFlatIP", unit_vectors(5)).on_gpu(gpu)) == 5
    assert [gpu for gpu, _ in used] == [0, 0, 1, 1] and len({id(of) for _, of in used}) == 2


def test_several_gpus_hold_parts_of_an_index_and_find_what_one_finds(used: list[tuple[int, object]]) -> None:
    vectors = unit_vectors(900)
    shards = [shard_of("IndexFlatIP", part) for part in np.split(vectors, [100, 300, 600])]
    removed = np.array([5, 250, 700])
    parts = spread(shards)
    assert [shard.gpu for shard in parts] == [1, 0, 0, 1], "the largest first, where least is held"
    assert {gpu for gpu, _ in used} == {0, 1}
    queries = unit_vectors(30, seed=2)
    alone, several = (VectorIndex(each, removed).search(queries, 9, SETTINGS) for each in (shards, parts))
    np.testing.assert_array_equal(alone[0], several[0])
    np.testing.assert_array_equal(alone[1], several[1])


def test_exact_neighbours_are_those_of_a_full_sort_however_the_vectors_are_cut() -> None:
    vectors = unit_vectors(500)
    ids = np.random.default_rng(2).permutation(500).astype(np.int64) * 7
    queries = vectors[:20]
    wanted = np.argsort(-(queries @ vectors.T), axis=1)[:, :15]
    for size in (3, 100, 500):
        blocks = ((ids[i : i + size], vectors[i : i + size]) for i in range(0, 500, size))
        found, cosines = nearest(queries, blocks, 15)
        assert (found == ids[wanted]).all()
        assert np.allclose(cosines, np.take_along_axis(queries @ vectors.T, wanted, axis=1), atol=1e-6)
    found, _ = nearest(queries, [(ids[:4], vectors[:4])], 6)
    assert (found[:, 4:] == -1).all()
