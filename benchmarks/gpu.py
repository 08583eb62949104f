"""The GPU rows of the deployment guide's tables: run on a machine with NVIDIA GPUs, and commit what it writes.

    python -m benchmarks.gpu [PAGES.parquet] [--pages 5000] [--texts 50000] [--vectors 1000000] [--out FILE]

Writes `benchmarks/gpu_results.json`, or FILE, with the machine and the date: the rows that `benchmarks.guide` prints,
and the speedups that the guide states, each of two measurements in this run: embedding and search on the GPU beside the
CPU. Where there is no GPU it says so, and writes nothing; so it does of the row that needs a FAISS for GPUs.
"""

from __future__ import annotations

import json
import sys

from benchmarks.guide import ROWS, Measured, arguments, as_facts, embedding, measured, search
from quarry_dagster import gpu
from quarry_dagster.profiles.choose import load_profile
from quarry_dagster.profiles.settings import Index

_FEW = 10
"""The CPU gets a tenth of the texts: it is so much slower, at least."""
_TYPES = ("IndexFlatIP", "IndexIVFFlat", "IndexIVFScalarQuantizer", "IndexIVFPQ")
"""Those that FAISS has for GPUs."""


def main() -> int:
    options = arguments(__doc__ or "")
    if not gpu.list_gpus():
        print("not run: there is no GPU (NVML finds no driver, or no card)")
        return 0
    rows: dict[str, Measured] = {}
    for row in (row for row in ROWS if row.on_gpu):
        if row.index.get("use_gpu_faiss") and not gpu.faiss_gpus():
            print(f"{row.name}: not run: this FAISS cannot use a GPU (docs/hardware.md)")
            continue
        rows[row.name] = measured(row, options)
        print(row.name, rows[row.name], flush=True)
    facts = as_facts(rows) | {"speedups": _speedups(options.texts, options.vectors)}
    options.out.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(facts["speedups"], indent=1))
    return 0


def _speedups(texts: int, vectors: int) -> dict[str, float]:
    """How many times as fast the GPU is as the CPU of the same machine."""
    profile = load_profile("gpu_workstation")
    on_cpu = {"device": "cpu", "precision": "float32", "batch_tokens": 2048}
    cpu = profile.model_copy(update={"embedding": profile.embedding.model_copy(update=on_cpu)})
    found = {"embedding": embedding(profile, texts) / embedding(cpu, texts // _FEW)}
    for kind in _TYPES if gpu.faiss_gpus() else ():
        _, there = search(Index(type=kind), vectors)
        _, here = search(Index(type=kind, use_gpu_faiss=True), vectors)
        found[f"search {kind}"] = there / here
    return found


if __name__ == "__main__":
    sys.exit(main())
