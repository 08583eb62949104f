"""Vectors of texts: the FAISS index over them, with its file form, and the joins that find all near pairs."""

from quarry_dagster.index.exact import nearest
from quarry_dagster.index.join import CellJoin, Cells, Pairs, ThresholdJoin
from quarry_dagster.index.vector_index import VectorIndex, choose_type, vector_keys

__all__ = ["CellJoin", "Cells", "Pairs", "ThresholdJoin", "VectorIndex", "choose_type", "nearest", "vector_keys"]
