"""One FAISS index with stable ids, removal for every type, and a checked file form."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal, cast

import numpy as np

from quarry_dagster.errors import ConfigError, IndexCorruptError
from quarry_dagster.profiles import Index

if TYPE_CHECKING:
    import faiss

IndexType = Literal["IndexFlatIP", "IndexHNSWFlat", "IndexIVFFlat", "IndexIVFScalarQuantizer", "IndexIVFPQ"]

_HNSW_LINKS = 32
_HNSW_EF_CONSTRUCTION = 64
_PQ_BITS = 8
_POINTS_PER_CELL = 39  # FAISS warns below this many training points a centroid
_OUTGROWN = 4  # an IVF is trained again when it holds this many times what it was trained on
_DEAD_SHARE = 0.2  # HNSW keeps removed vectors until they are this share, then it is built anew


def choose_type(settings: Index, vectors: int) -> IndexType:
    """The index type for so many vectors: as set, or exact search while that is fast."""
    if settings.type != "auto":
        return settings.type
    return "IndexFlatIP" if vectors <= settings.exact_limit else settings.large_type


def vector_keys(text_digests: Iterable[str]) -> np.ndarray:
    """The index ids of texts, int64: the first 63 bits of each digest, so that ids need no table and no order."""
    return np.array([int(digest[:16], 16) >> 1 for digest in text_digests], dtype=np.int64)


class VectorIndex:
    """A FAISS index of unit vectors under inner product (the cosine), with int64 ids.

    `dead` are ids that were removed but that the type cannot delete (HNSW): they are never found.
    """

    def __init__(self, index: faiss.Index, kind: IndexType, trained_on: int, dead: set[int]) -> None:
        self._index = index
        self.kind: IndexType = kind
        self.trained_on = trained_on
        self.dead = dead

    @classmethod
    def create(cls, kind: IndexType, training: np.ndarray, expected: int) -> VectorIndex:
        """An empty index for about `expected` vectors.

        `training` is float32 of shape (n, dim): a sample of the vectors, used by the IVF types.

        Raises:
            ConfigError: the sample or the dimension does not suit the type.
        """
        import faiss

        dim = training.shape[1]
        if kind == "IndexFlatIP":
            return cls(faiss.IndexIDMap2(faiss.IndexFlatIP(dim)), kind, 0, set())
        if kind == "IndexHNSWFlat":
            hnsw = faiss.IndexHNSWFlat(dim, _HNSW_LINKS, faiss.METRIC_INNER_PRODUCT)
            hnsw.hnsw.efConstruction = _HNSW_EF_CONSTRUCTION
            return cls(faiss.IndexIDMap2(hnsw), kind, 0, set())
        cells = max(1, min(int(4 * expected**0.5), len(training) // _POINTS_PER_CELL))
        quantizer = faiss.IndexFlatIP(dim)
        if kind == "IndexIVFFlat":
            ivf = faiss.IndexIVFFlat(quantizer, dim, cells, faiss.METRIC_INNER_PRODUCT)
        elif kind == "IndexIVFScalarQuantizer":
            bits = faiss.ScalarQuantizer.QT_8bit
            ivf = faiss.IndexIVFScalarQuantizer(quantizer, dim, cells, bits, faiss.METRIC_INNER_PRODUCT)
        else:
            if len(training) < 2**_PQ_BITS:
                raise ConfigError(
                    f"index.type IndexIVFPQ needs {2**_PQ_BITS} vectors to train on and there are {len(training)}; "
                    "use auto or IndexFlatIP for a small corpus"
                )
            parts = next(m for m in (48, 32, 16, 8, 4, 2, 1) if dim % m == 0)
            ivf = faiss.IndexIVFPQ(quantizer, dim, cells, parts, _PQ_BITS, faiss.METRIC_INNER_PRODUCT)
        ivf.cp.seed = 1
        ivf.train(training)  # pyright: ignore[reportCallIssue]
        return cls(ivf, kind, len(training), set())

    @property
    def dim(self) -> int:
        return int(self._index.d)

    def __len__(self) -> int:
        """Vectors that can be found."""
        return int(self._index.ntotal) - len(self.dead)

    @staticmethod
    def training_size(kind: IndexType, expected: int) -> int:
        """How many vectors are worth training on; 0 where the type needs none."""
        if kind in ("IndexFlatIP", "IndexHNSWFlat"):
            return 0
        return min(expected, max(2**_PQ_BITS, int(4 * expected**0.5) * 2 * _POINTS_PER_CELL))

    def outgrown(self, kind: IndexType, expected: int) -> bool:
        """Whether an index of `expected` vectors should be built anew rather than changed."""
        if kind != self.kind:
            return True
        too_dead = len(self.dead) > _DEAD_SHARE * max(1, expected)
        return too_dead or (self.trained_on > 0 and expected > _OUTGROWN * max(self.trained_on, 2**_PQ_BITS))

    def add(self, ids: np.ndarray, vectors: np.ndarray) -> None:
        """Add float32 vectors of shape (n, dim) under int64 ids; an id that is dead comes back to life."""
        revived = np.isin(ids, np.fromiter(self.dead, dtype=np.int64, count=len(self.dead)))
        self.dead -= set(ids[revived].tolist())
        if not revived.all():
            self._index.add_with_ids(  # pyright: ignore[reportCallIssue]
                np.ascontiguousarray(vectors[~revived]), ids[~revived]
            )

    def remove(self, ids: np.ndarray) -> None:
        """Remove int64 ids; they are not found any more."""
        if self.kind == "IndexHNSWFlat":
            self.dead |= set(ids.tolist())
        elif len(ids):
            self._index.remove_ids(ids)  # pyright: ignore[reportArgumentType]

    def search(self, queries: np.ndarray, k: int, settings: Index) -> tuple[np.ndarray, np.ndarray]:
        """The k nearest: ``(ids, cosines)``, int64 and float32 of shape (n, k), best first; id -1 where fewer are.

        `queries` are unit vectors, float32 of shape (n, dim).
        """
        import faiss

        selector = None
        if self.dead:
            dead = np.fromiter(self.dead, dtype=np.int64, count=len(self.dead))
            selector = faiss.IDSelectorNot(faiss.IDSelectorBatch(dead))  # pyright: ignore[reportCallIssue]
        if self.kind == "IndexFlatIP":
            parameters = faiss.SearchParameters(sel=selector)  # pyright: ignore[reportCallIssue]
        elif self.kind == "IndexHNSWFlat":
            ef = max(k, settings.ef_search)
            parameters = faiss.SearchParametersHNSW(sel=selector, efSearch=ef)  # pyright: ignore
        else:
            parameters = faiss.SearchParametersIVF(sel=selector, nprobe=settings.nprobe)  # pyright: ignore
        index = _on_gpu(self._index) if settings.use_gpu_faiss else self._index
        cosines, ids = index.search(queries, k, params=parameters)  # pyright: ignore[reportCallIssue]
        return cast(np.ndarray, ids), cast(np.ndarray, cosines)

    def to_bytes(self) -> np.ndarray:
        """The index in FAISS' own file form, uint8."""
        import faiss

        return faiss.serialize_index(self._index)

    @classmethod
    def from_bytes(
        cls, data: np.ndarray, *, kind: IndexType, dim: int, trained_on: int, dead: set[int], sha256: str
    ) -> VectorIndex:
        """An index from its file form.

        Raises:
            IndexCorruptError: the bytes are not those of `sha256`, or the dimension is another. FAISS is not
                given bytes that fail the check: its reader trusts what it reads.
        """
        import faiss

        found = hashlib.sha256(data.data).hexdigest()
        if found != sha256:
            raise IndexCorruptError(f"the index file's sha256 is {found}, its manifest says {sha256}")
        index = faiss.deserialize_index(data)
        if index.d != dim:
            raise IndexCorruptError(f"the index has dimension {index.d}, its manifest says {dim}")
        return cls(index, kind, trained_on, dead)


def _on_gpu(index: faiss.Index) -> faiss.Index:
    import faiss

    if not hasattr(faiss, "StandardGpuResources") or faiss.get_num_gpus() == 0:
        raise ConfigError(
            "index.use_gpu_faiss is set, but this FAISS was built without GPU support or sees no GPU; "
            "build it from source (docs/hardware.md) or unset it"
        )
    return faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), 0, index)
