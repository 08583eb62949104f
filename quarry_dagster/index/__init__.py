"""The FAISS index over text vectors: its type, adding, removing, searching, and its file form."""

from quarry_dagster.index.exact import nearest
from quarry_dagster.index.vector_index import VectorIndex, choose_type, vector_keys

__all__ = ["VectorIndex", "choose_type", "nearest", "vector_keys"]
