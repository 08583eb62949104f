"""Every index type adds, removes, finds and survives storage; a damaged file is never given to FAISS."""

import hashlib

import numpy as np
import pytest

from quarry_dagster.errors import ConfigError, IndexCorruptError
from quarry_dagster.index import VectorIndex, choose_type, nearest, vector_keys
from quarry_dagster.index.vector_index import IndexType
from quarry_dagster.profiles import Index

TYPES: list[IndexType] = ["IndexFlatIP", "IndexHNSWFlat", "IndexIVFFlat", "IndexIVFScalarQuantizer", "IndexIVFPQ"]
SETTINGS = Index(nprobe=64, ef_search=128)


def unit_vectors(n: int, dim: int = 48, seed: int = 1) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(n, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture(params=TYPES)
def index(request: pytest.FixtureRequest) -> VectorIndex:
    vectors = unit_vectors(2000)
    index = VectorIndex.create(request.param, vectors, 2000)
    index.add(np.arange(2000), vectors)
    return index


def test_a_vector_finds_itself_with_cosine_one(index: VectorIndex) -> None:
    assert len(index) == 2000
    ids, cosines = index.search(unit_vectors(2000)[:100], 1, SETTINGS)
    assert (ids[:, 0] == np.arange(100)).mean() > 0.95
    assert np.median(cosines[:, 0]) > (0.7 if index.kind == "IndexIVFPQ" else 0.999)


def test_what_was_removed_is_not_found_and_can_come_back(index: VectorIndex) -> None:
    vectors = unit_vectors(2000)
    gone = np.arange(0, 2000, 2)
    index.remove(gone)
    assert len(index) == 1000
    ids, _ = index.search(vectors[:200], 20, SETTINGS)
    assert not np.isin(ids, gone).any()
    index.add(gone, vectors[gone])
    assert len(index) == 2000
    ids, _ = index.search(vectors[gone[:100]], 1, SETTINGS)
    assert (ids[:, 0] == gone[:100]).mean() > 0.95


def _stored(index: VectorIndex, data: np.ndarray, sha256: str, dim: int = 48) -> VectorIndex:
    return VectorIndex.from_bytes(
        data, kind=index.kind, dim=dim, trained_on=index.trained_on, dead=index.dead, sha256=sha256
    )


def test_an_index_is_the_same_after_storage(index: VectorIndex) -> None:
    index.remove(np.array([5]))
    data = index.to_bytes()
    again = _stored(index, data, hashlib.sha256(data.data).hexdigest())
    queries = unit_vectors(50, seed=2)
    for mine, theirs in zip(index.search(queries, 5, SETTINGS), again.search(queries, 5, SETTINGS), strict=True):
        assert np.array_equal(mine, theirs)


def test_a_damaged_or_mistaken_file_is_refused(index: VectorIndex) -> None:
    data = index.to_bytes()
    digest = hashlib.sha256(data.data).hexdigest()
    damaged = data.copy()
    damaged[len(damaged) // 2] ^= 1
    with pytest.raises(IndexCorruptError, match="sha256"):
        _stored(index, damaged, digest)
    with pytest.raises(IndexCorruptError, match="dimension"):
        _stored(index, data, digest, dim=384)


def test_the_type_follows_the_number_of_vectors_unless_it_is_set() -> None:
    auto = Index(exact_limit=100, large_type="IndexIVFFlat")
    assert choose_type(auto, 100) == "IndexFlatIP"
    assert choose_type(auto, 101) == "IndexIVFFlat"
    assert choose_type(Index(type="IndexHNSWFlat"), 1) == "IndexHNSWFlat"


def test_an_index_is_built_anew_when_it_outgrew_its_training_or_is_mostly_dead() -> None:
    vectors = unit_vectors(400)
    ivf = VectorIndex.create("IndexIVFFlat", vectors, 400)
    assert not ivf.outgrown("IndexIVFFlat", 1000)
    assert ivf.outgrown("IndexIVFFlat", 2000)
    assert ivf.outgrown("IndexHNSWFlat", 400)
    hnsw = VectorIndex.create("IndexHNSWFlat", vectors, 400)
    hnsw.add(np.arange(400), vectors)
    hnsw.remove(np.arange(100))
    assert hnsw.outgrown("IndexHNSWFlat", 300)


def test_too_few_vectors_for_product_quantization_is_a_clear_error() -> None:
    with pytest.raises(ConfigError, match="256 vectors"):
        VectorIndex.create("IndexIVFPQ", unit_vectors(10), 10)


def test_gpu_search_without_a_gpu_faiss_is_a_clear_error(index: VectorIndex) -> None:
    with pytest.raises(ConfigError, match=r"docs/hardware\.md"):
        index.search(unit_vectors(1), 1, Index(use_gpu_faiss=True))


def test_keys_are_positive_and_follow_the_digest() -> None:
    keys = vector_keys(["f" * 32, "0" * 32, "8" + "0" * 31])
    assert keys.tolist() == [2**63 - 1, 0, 2**62] and keys.dtype == np.int64


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
