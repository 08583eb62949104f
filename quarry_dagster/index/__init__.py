"""Vectors of texts: the FAISS index over them, with its file form, and the joins that find all near pairs."""

from quarry_dagster.index.bound import SAMPLE, directions
from quarry_dagster.index.exact import nearest
from quarry_dagster.index.join import ThresholdJoin
from quarry_dagster.index.kernels import Float16, Float32, Int8, MakeKernel, Pairs, dots, fastest
from quarry_dagster.index.outlines import OUTLINE_WIDTH, may_reach, outlined
from quarry_dagster.index.shard import Shard, bytes_per_vector, choose_type, index_type, training_size
from quarry_dagster.index.vector_index import Size, VectorIndex, plan, spread

__all__ = [
    "OUTLINE_WIDTH",
    "SAMPLE",
    "Float16",
    "Float32",
    "Int8",
    "MakeKernel",
    "Pairs",
    "Shard",
    "Size",
    "ThresholdJoin",
    "VectorIndex",
    "bytes_per_vector",
    "choose_type",
    "directions",
    "dots",
    "fastest",
    "index_type",
    "may_reach",
    "nearest",
    "outlined",
    "plan",
    "spread",
    "training_size",
]
