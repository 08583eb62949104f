"""The systems that `benchmarks.dedup` compares, each in a process of its own over one folder of texts.

    python -m benchmarks.systems NAME FOLDER

reads `texts.jsonl` (a line a document: `id`, `text`) and, where the system needs vectors, `vectors.npy` of the same
order; writes `NAME.json`: `removed` ([removed id, kept id] a removed document), `cpu` (seconds of the work, children
included, the imports before it not) and `peak` (MiB of the whole process).

Only the standard library is imported at the top: a peer may live in another environment than ours.
"""

from __future__ import annotations

import importlib
import json
import os
import random
import re
import resource
import shutil
import struct
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

Pairs = list[tuple[str, str]]
Documents = list[dict[str, str]]

_PARTITION = 1000
_GUIDE_COSINE = 0.85
_MINHASH_JACCARD = 0.8


def main() -> int:
    name, folder = sys.argv[1], Path(sys.argv[2])
    with (folder / "texts.jsonl").open(encoding="utf-8") as lines:
        documents = [json.loads(line) for line in lines]
    work, modules = SYSTEMS[name]
    for module in modules:
        importlib.import_module(module)
    before = _cpu()
    removed = work(documents, folder)
    answer = {"removed": removed, "cpu": _cpu() - before, "peak": peak()}
    (folder / f"{name}.json").write_text(json.dumps(answer))
    return 0


def embed(documents: Documents, folder: Path) -> Pairs:
    """Not a rival: the stage `embeddings`, once for all systems that use its vectors."""
    import numpy as np
    import polars as pl

    from quarry_dagster.reader import scan
    from quarry_dagster.stages import embeddings
    from quarry_dagster.store import Store

    store = Store(str(folder / "data"))
    for partition in _write_texts(store, pl.DataFrame(documents)):
        embeddings.refresh(store, partition, _profile(folder))
    by_id = dict(scan("embeddings", folder / "data").select("doc_id", "embedding").collect().iter_rows())
    np.save(folder / "vectors.npy", np.array([by_id[d["id"]] for d in documents], np.float32))
    return []


def quarry(documents: Documents, folder: Path) -> Pairs:
    """This project: the stages `faiss_index` and `deduped_corpus` over what `embed` left."""
    from quarry_dagster.reader import scan
    from quarry_dagster.stages import faiss_index
    from quarry_dagster.stages.corpus import deduped_corpus
    from quarry_dagster.store import Store

    root = folder / "quarry"
    shutil.rmtree(root, ignore_errors=True)  # made by an earlier run of this benchmark
    shutil.copytree(folder / "data", root)
    store, profile = Store(str(root)), _profile(folder)
    faiss_index.refresh(store, list(store.embeddings.segments()), profile)
    deduped_corpus.refresh(store, profile.deduplication, "benchmark")
    return list(scan("dedup_decisions", root).select("removed_id", "kept_id").collect().iter_rows())


def guide(documents: Documents, folder: Path) -> Pairs:
    """The guide's rule: a document whose cosine with an earlier kept one is at least .85, by FAISS, goes."""
    import faiss
    import numpy as np

    vectors = np.load(folder / "vectors.npy")
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)  # pyright: ignore[reportCallIssue]
    limits, _, found = index.range_search(vectors, _GUIDE_COSINE)  # pyright: ignore[reportCallIssue]
    kept_for: dict[int, int] = {}
    for i in range(len(documents)):
        for other in sorted(found[limits[i] : limits[i + 1]].tolist()):
            if other < i and other not in kept_for:
                kept_for[i] = other
                break
    return [(documents[a]["id"], documents[b]["id"]) for a, b in kept_for.items()]


def semhash(documents: Documents, folder: Path) -> Pairs:
    """SemHash with its default threshold and index, given the same vectors."""
    import numpy as np
    from semhash import SemHash  # pyright: ignore[reportMissingImports]

    records = [{"text": d["text"], "id": d["id"]} for d in documents]
    index = SemHash.from_embeddings(
        np.load(folder / "vectors.npy"),
        records,
        model=None,  # pyright: ignore[reportArgumentType]
        columns=["text"],
    )
    return [(r.record["id"], r.duplicate_of["id"]) for r in index.self_deduplicate().filtered]


def datatrove(documents: Documents, folder: Path) -> Pairs:
    """datatrove's four MinHash stages with its defaults (5-grams, 14 buckets of 8, clusters by union-find)."""
    from datatrove.executor import LocalPipelineExecutor  # pyright: ignore[reportMissingImports]
    from datatrove.pipeline.dedup import (  # pyright: ignore[reportMissingImports]
        MinhashDedupBuckets,
        MinhashDedupCluster,
        MinhashDedupFilter,
        MinhashDedupSignature,
    )
    from datatrove.pipeline.readers import JsonlReader  # pyright: ignore[reportMissingImports]

    at = {name: str(folder / "datatrove" / name) for name in ("signatures", "buckets", "clusters", "logs")}
    shutil.rmtree(folder / "datatrove", ignore_errors=True)
    reader = JsonlReader(str(folder), glob_pattern="texts.jsonl")
    steps = (
        ([reader, MinhashDedupSignature(at["signatures"])], 1),
        ([MinhashDedupBuckets(at["signatures"], at["buckets"])], 14),
        ([MinhashDedupCluster(at["buckets"], at["clusters"], save_cluster_id=True)], 1),
        ([reader, MinhashDedupFilter(at["clusters"])], 1),  # writing what is kept is left out for all
    )
    for number, (step, tasks) in enumerate(steps):
        # One log folder for all would make a step take the tasks of the one before for its own, and pass over them.
        LocalPipelineExecutor(step, tasks=tasks, workers=1, logging_dir=f"{at['logs']}/{number}").run()
    if not (Path(at["clusters"]) / "000000.remove").exists():
        return []
    removed = {n for (n,) in struct.iter_unpack("<I", (Path(at["clusters"]) / "000000.remove").read_bytes())}
    members = dict(struct.iter_unpack("<2I", (Path(at["clusters"]) / "000000.clusters").read_bytes()))
    kept = {cluster: n for n, cluster in members.items() if n not in removed}
    return [(documents[n]["id"], documents[kept[members[n]]]["id"]) for n in sorted(removed)]


def rensa_r(documents: Documents, folder: Path) -> Pairs:
    """rensa's R-MinHash with its LSH index, Jaccard of word sets at least .8, each document against those kept."""
    from rensa import RMinHash, RMinHashDeduplicator  # pyright: ignore[reportMissingImports]

    sketches = RMinHash.from_token_sets([_word_set(d["text"]) for d in documents], 128, 42)
    index = RMinHashDeduplicator(_MINHASH_JACCARD, 128, use_lsh=True, num_bands=16)
    return _one_by_one(documents, sketches, index)


def rensa_c(documents: Documents, folder: Path) -> Pairs:
    """rensa's C-MinHash, the same way."""
    from rensa import CMinHash, CMinHashDeduplicator  # pyright: ignore[reportMissingImports]

    sketches = CMinHash.from_token_sets([_word_set(d["text"]) for d in documents], 128, 42)
    return _one_by_one(documents, sketches, CMinHashDeduplicator(_MINHASH_JACCARD))


SYSTEMS: dict[str, tuple[Callable[[Documents, Path], Pairs], tuple[str, ...]]] = {
    "embed": (embed, ("numpy", "polars", "torch", "sentence_transformers", "quarry_dagster.stages.embeddings")),
    "quarry": (quarry, ("faiss", "quarry_dagster.stages.faiss_index", "quarry_dagster.stages.corpus.deduped_corpus")),
    "guide": (guide, ("faiss", "numpy")),
    "semhash": (semhash, ("numpy", "semhash")),
    "datatrove": (datatrove, ("datatrove.pipeline.dedup", "datatrove.executor", "spacy", "regex", "xxhash", "nltk")),
    "rensa_r": (rensa_r, ("rensa",)),
    "rensa_c": (rensa_c, ("rensa",)),
}
"""Each with the modules it needs: one that is not importable is skipped."""

PEERS = ("semhash", "datatrove", "rensa_r", "rensa_c")
NEED_VECTORS = ("quarry", "guide", "semhash")


def _one_by_one(documents: Documents, sketches: list[Any], index: Any) -> Pairs:
    removed = []
    for document, sketch in zip(documents, sketches, strict=True):
        found = index.get_duplicates(sketch)
        if found:
            removed.append((document["id"], found[0]))
        else:
            index.add(document["id"], sketch)
    return removed


def _word_set(text: str) -> list[str]:
    return re.findall(r"\w+", unicodedata.normalize("NFKC", text).casefold())


def _profile(folder: Path) -> Any:
    from quarry_dagster.profiles.choose import load_profile

    return load_profile((folder / "profile.txt").read_text())


def _write_texts(store: Any, texts: Any) -> list[str]:
    """The tables `batches` and `extracted_text` of these documents (columns id, text); returns its partitions."""
    import polars as pl

    from quarry_dagster.extract import count_words, text_digest
    from quarry_dagster.store import Fingerprint, TextNotes, digest_rows
    from quarry_dagster.store.schemas import BATCHES, EXTRACTED_TEXT

    rows = texts.select(
        "text",
        doc_id="id",
        url=pl.format("http://benchmark.test/{}", pl.int_range(pl.len())),
        outcome=pl.lit("extracted"),
        word_count=pl.Series([count_words(t) for t in texts["text"]]),
        text_digest=pl.Series([text_digest(t) for t in texts["text"]]),
    ).with_columns(final_url="url")
    names = []
    for number, part in enumerate(rows.iter_slices(_PARTITION)):
        names.append(f"{number:05d}-benchmark")
        missing = [pl.lit(None, t).alias(c) for c, t in EXTRACTED_TEXT.items() if c not in part.columns]
        with store.extracted_text.write(names[-1]) as writer:
            writer.append(part.with_columns(missing).with_columns(partition=pl.lit(names[-1])))
            content = digest_rows(part.select("doc_id", "text_digest", "url"))
            notes = TextNotes(
                content=content,
                input=Fingerprint(("given",), "benchmark"),
                extractor_version="none",
                rows=part.height,
                documents=part.height,
                outcomes={"extracted": part.height},
            )
            writer.note(notes)
        with store.batches.write(names[-1]) as writer:
            rest = [pl.lit(None, t).alias(c) for c, t in BATCHES.items() if c not in ("doc_id", "url")]
            writer.append(part.select("doc_id", "url").with_columns(rest))
    return names


def _cpu() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


def peak() -> float:
    """Peak resident memory in MiB. Not ru_maxrss if possible: it counts what the parent had before exec."""
    try:
        status = Path("/proc/self/status").read_text()
        return int(re.findall(r"VmHWM:\s+(\d+)", status)[0]) / 1024
    except (OSError, IndexError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    random.seed(0)
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    sys.exit(main())
