"""One FAISS index of bounded size that is built once and never changes."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from contextlib import nullcontext
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

import numpy as np

from quarry_dagster.errors import ConfigError, IndexCorruptError
from quarry_dagster.gpu import faiss_gpus
from quarry_dagster.profiles.settings import Index

if TYPE_CHECKING:
    import faiss

IndexType = Literal[
    "IndexFlatIP", "IndexHNSWFlat", "IndexIVFFlat", "IndexIVFScalarQuantizer", "IndexIVFPQ", "IndexIVFRaBitQ"
]
INDEX_TYPES: tuple[IndexType, ...] = get_args(IndexType)
LOSSY: tuple[IndexType, ...] = ("IndexIVFScalarQuantizer", "IndexIVFPQ", "IndexIVFRaBitQ")
"""Types that hold vectors rounded: what they find is worth ranking again by the vectors themselves."""

_HNSW_LINKS = 32
_HNSW_EF_CONSTRUCTION = 64
_PQ_BITS = 8
_PQ_POINTS = 64  # training points a centroid of a quantizer: more takes minutes and finds no more
_MOST_FROM_GPU = 2048  # neighbours that FAISS can find there at once
_POINTS_PER_CELL = 39  # fewer training points make poor centroids


def index_type(name: str) -> IndexType:
    """The type of this name, as a manifest has it.

    Raises:
        IndexCorruptError: there is no such type.
    """
    for kind in INDEX_TYPES:
        if kind == name:
            return kind
    raise IndexCorruptError(f"no index type {name!r}: there are {', '.join(INDEX_TYPES)}")


def choose_type(settings: Index, vectors: int) -> IndexType:
    """The index type for so many vectors: as set, or exact search while that is fast.

    A product quantizer cannot be trained on a few vectors: those are searched exactly.
    """
    wanted = settings.type
    if wanted == "auto":
        wanted = "IndexFlatIP" if vectors <= settings.exact_limit else settings.large_type
    return "IndexFlatIP" if wanted == "IndexIVFPQ" and vectors < 2**_PQ_BITS else wanted


def bytes_per_vector(kind: IndexType, dim: int) -> int:
    """What one vector takes in an index of this type, without the share of its centroids."""
    return {
        "IndexFlatIP": 4 * dim,
        "IndexHNSWFlat": 4 * dim + 4 * (2 * _HNSW_LINKS + 3),
        "IndexIVFFlat": 4 * dim + 8,
        "IndexIVFScalarQuantizer": dim + 8,
        "IndexIVFPQ": _parts(dim) + 8,
        "IndexIVFRaBitQ": -(-dim // 8) + 8 + 8,
    }[kind]


def training_size(kind: IndexType, vectors: int) -> int:
    """How many vectors are worth training on; 0 where the type needs none."""
    if kind in ("IndexFlatIP", "IndexHNSWFlat"):
        return 0
    points = _cells(vectors) * _POINTS_PER_CELL
    return min(vectors, max(points, _PQ_POINTS * 2**_PQ_BITS if kind == "IndexIVFPQ" else 0))


class Shard:
    """A FAISS index of unit vectors under inner product (the cosine); a vector's id is its row, in order of adding."""

    def __init__(self, index: faiss.Index, kind: IndexType, gpu: int | None = None) -> None:
        """`gpu`: the number of the GPU that holds the index; None: it is searched on the CPU."""
        self._index = index
        self.kind: IndexType = kind
        self.gpu = gpu

    @classmethod
    def create(cls, kind: IndexType, training: np.ndarray, expected: int) -> Shard:
        """An empty index for about `expected` vectors.

        `training` is float32 of shape (n, dim): :func:`training_size` of the vectors, used by the IVF types.
        """
        import faiss

        dim = training.shape[1]
        metric = faiss.METRIC_INNER_PRODUCT
        if kind == "IndexFlatIP":
            return cls(faiss.IndexFlatIP(dim), kind)
        if kind == "IndexHNSWFlat":
            hnsw = faiss.IndexHNSWFlat(dim, _HNSW_LINKS, metric)
            hnsw.hnsw.efConstruction = _HNSW_EF_CONSTRUCTION
            return cls(hnsw, kind)
        cells = max(1, min(_cells(expected), len(training) // _POINTS_PER_CELL))
        quantizer = faiss.IndexFlatIP(dim)
        if kind == "IndexIVFFlat":
            ivf = faiss.IndexIVFFlat(quantizer, dim, cells, metric)
        elif kind == "IndexIVFScalarQuantizer":
            ivf = faiss.IndexIVFScalarQuantizer(quantizer, dim, cells, faiss.ScalarQuantizer.QT_8bit, metric)
        elif kind == "IndexIVFPQ":
            ivf = faiss.IndexIVFPQ(quantizer, dim, cells, _parts(dim), _PQ_BITS, metric)
            ivf.pq.cp.min_points_per_centroid, ivf.pq.cp.max_points_per_centroid = 1, _PQ_POINTS
        else:
            ivf = faiss.IndexIVFRaBitQ(quantizer, dim, cells, metric)
        ivf.cp.seed = 1
        ivf.cp.min_points_per_centroid = 1  # a shard of a few vectors is one cell: no warning
        ivf.train(training)  # pyright: ignore[reportCallIssue]
        return cls(ivf, kind)

    def __len__(self) -> int:
        return int(self._index.ntotal)

    def add(self, vectors: np.ndarray) -> None:
        """Add float32 vectors of shape (n, dim) as the next rows."""
        self._index.add(np.ascontiguousarray(vectors))  # pyright: ignore[reportCallIssue]

    def search(
        self, queries: np.ndarray, k: int, settings: Index, without: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """The k nearest: ``(rows, cosines)``, int64 and float32 of shape (n, k), best first; row -1 where fewer are.

        `queries` are unit vectors, float32 of shape (n, dim). The rows `without` (int64) are not found. A GPU gives
        no more than :data:`_MOST_FROM_GPU`, and to one thread after the other.
        """
        if self.gpu is None:  # only there can FAISS pass over rows while it searches
            return self._search(queries, k, settings, without)
        most = min(len(self), _MOST_FROM_GPU)
        if not len(without):
            return self._search(queries, min(k, most), settings, without)
        asked = k
        while True:
            asked = min(2 * asked, most)
            rows, cosines = self._search(queries, asked, settings, without[:0])
            passed = np.isin(rows, without)
            if asked == most or ((rows >= 0) & ~passed).sum(axis=1).min() >= k:
                break
        first = np.argsort(passed, axis=1, kind="stable")[:, :k]
        rows = np.where(passed, -1, rows)
        return np.take_along_axis(rows, first, axis=1), np.take_along_axis(cosines, first, axis=1)

    def _search(
        self, queries: np.ndarray, k: int, settings: Index, without: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        import faiss

        selector = None
        if len(without):
            found = np.ones(len(self), np.bool_)
            found[without] = False
            selector = faiss.IDSelectorBitmap(np.packbits(found, bitorder="little"))  # pyright: ignore[reportCallIssue]
        if self.kind == "IndexFlatIP":
            parameters = faiss.SearchParameters(sel=selector) if selector else None  # pyright: ignore[reportCallIssue]
        elif self.kind == "IndexHNSWFlat":
            ef = max(k, settings.ef_search)
            parameters = faiss.SearchParametersHNSW(sel=selector, efSearch=ef)  # pyright: ignore
        else:
            parameters = faiss.SearchParametersIVF(sel=selector, nprobe=settings.nprobe)  # pyright: ignore
        with nullcontext() if self.gpu is None else _gpu_lock(self.gpu):
            cosines, rows = self._index.search(queries, k, params=parameters)  # pyright: ignore[reportCallIssue]
        return cast(np.ndarray, rows), cast(np.ndarray, cosines)

    def on_gpu(self, gpu: int = 0) -> Shard:
        """The same on a GPU. FAISS has IndexFlatIP, IndexIVFFlat, IndexIVFScalarQuantizer and IndexIVFPQ there.

        Raises:
            ConfigError: FAISS cannot use a GPU, or not for this type (an index of before the profile named another).
        """
        import faiss

        if not faiss_gpus():
            raise ConfigError(
                "index.use_gpu_faiss is set, but this FAISS was built without GPU support or sees no GPU: put "
                "faiss-gpu in the place of faiss-cpu, or build it (docs/hardware.md), or unset it"
            )
        if "torch" in sys.modules:
            sys.modules["torch"].cuda.empty_cache()  # what torch keeps for later, FAISS cannot have
        try:
            index = faiss.index_cpu_to_gpu(_gpu_resources(gpu), gpu, self._index)
        except RuntimeError as e:
            raise ConfigError(
                f"index.use_gpu_faiss is set, but FAISS cannot bring this {self.kind} to a GPU: {e}; "
                "materialize faiss_index with a type that it can (docs/hardware.md), or unset it"
            ) from e
        return Shard(index, self.kind, gpu)

    def write(self, write: Callable[[bytes], object]) -> None:
        """Hand the index in FAISS' own file form to `write`, a part at a time."""
        import faiss

        faiss.write_index(self._index, faiss.PyCallbackIOWriter(write))  # pyright: ignore

    @classmethod
    def open(cls, path: str, kind: IndexType, dim: int, vectors: int) -> Shard:
        """An index from a local file, which stays on disk: pages are read as searches touch them.

        FAISS' reader trusts what it reads: give it files whose checksum was compared.

        Raises:
            IndexCorruptError: FAISS cannot read it, or it holds other vectors than it should.
        """
        import faiss

        try:
            index = faiss.read_index(path, faiss.IO_FLAG_MMAP_IFC)
        except RuntimeError as e:
            raise IndexCorruptError(f"FAISS cannot read {path}: {e}") from e
        if (index.d, index.ntotal) != (dim, vectors):
            raise IndexCorruptError(
                f"{path} holds {index.ntotal:,} vectors of {index.d} dimensions, its manifest says {vectors:,} of {dim}"
            )
        return cls(index, kind)


@cache
def _gpu_resources(gpu: int) -> Any:
    """One for all shards of a process on that GPU: each reserves 1.5 GiB of it to compute in."""
    import faiss

    return faiss.StandardGpuResources()  # pyright: ignore[reportAttributeAccessIssue]


@cache
def _gpu_lock(gpu: int) -> threading.Lock:
    """What is reserved on a GPU can be used by one thread at a time (FAISS wiki, "Threads and asynchronous calls")."""
    return threading.Lock()


def _cells(vectors: int) -> int:
    return max(1, int(2 * vectors**0.5))


def _parts(dim: int) -> int:
    """Parts that a product quantizer cuts a vector into, a byte each."""
    return next(m for m in (48, 32, 16, 8, 4, 2, 1) if dim % m == 0)
