"""Precision and recall of the near level on labelled duplicates, with what each kind of change costs.

    python -m benchmarks.dedup PLANTED.parquet [--limit N]

The file has a row a document: `id`, `text`, `cluster` (same cluster: duplicates) and `kind` (how the document was
made from its cluster's base).
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections import Counter
from pathlib import Path

import polars as pl

from quarry_dagster.extract import count_words, text_digest
from quarry_dagster.profiles import load_profile
from quarry_dagster.reader import scan
from quarry_dagster.stages import deduped_corpus, embeddings, faiss_index
from quarry_dagster.store import Store, digest_rows
from quarry_dagster.store.schemas import EXTRACTED_TEXT

_PARTITION = 1000
_NATURAL = 0.6


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dedup", description=__doc__)
    parser.add_argument("planted", type=Path)
    parser.add_argument("--limit", type=int, help="only the first N clusters")
    parser.add_argument("--profile", default="workstation")
    arguments = parser.parse_args()
    labelled = pl.read_parquet(arguments.planted)
    if arguments.limit:
        clusters = labelled["cluster"].unique(maintain_order=True).head(arguments.limit)
        labelled = labelled.filter(pl.col("cluster").is_in(clusters.to_list()))
    profile = load_profile(arguments.profile)
    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder)
        partitions = _write_texts(store, labelled)
        seconds: dict[str, float] = {}
        for name, step in {
            "embeddings": lambda: [embeddings.refresh(store, p, profile) for p in partitions],
            "faiss_index": lambda: faiss_index.refresh(store, partitions, profile),
            "deduped_corpus": lambda: deduped_corpus.refresh(store, profile.deduplication, "benchmark"),
        }.items():
            start = time.process_time()
            step()
            seconds[name] = time.process_time() - start
        _report(labelled, scan("dedup_decisions", folder).collect(), seconds)


def _write_texts(store: Store, labelled: pl.DataFrame) -> list[str]:
    rows = labelled.select(
        "text",
        doc_id="id",
        url=pl.format("http://planted.test/{}", pl.int_range(pl.len())),
        outcome=pl.lit("extracted"),
        word_count=pl.Series([count_words(t) for t in labelled["text"]]),
        text_digest=pl.Series([text_digest(t) for t in labelled["text"]]),
    ).with_columns(final_url="url")
    names = []
    for number, part in enumerate(rows.iter_slices(_PARTITION)):
        names.append(f"{number:05d}-planted")
        missing = [pl.lit(None, t).alias(c) for c, t in EXTRACTED_TEXT.items() if c not in part.columns]
        with store.extracted_text.write(names[-1]) as writer:
            writer.append(part.with_columns(missing).with_columns(partition=pl.lit(names[-1])))
            content = digest_rows(part.select("doc_id", "text_digest", "url"))
            writer.note(content=content, documents=part.height)
    return names


def _report(labelled: pl.DataFrame, decisions: pl.DataFrame, seconds: dict[str, float]) -> None:
    of = {i: (c, k) for i, c, k in labelled.select("id", "cluster", "kind").iter_rows()}
    removed = {r["removed_id"]: r for r in decisions.iter_rows(named=True)}
    wrong = [
        r
        for r in removed.values()
        if of[r["removed_id"]][0] != of[r["kept_id"]][0] and max(r["containment"], r["jaccard"]) < _NATURAL
    ]
    natural = sum(of[r["removed_id"]][0] != of[r["kept_id"]][0] for r in removed.values()) - len(wrong)
    kept_per_cluster = Counter(of[i][0] for i in of if i not in removed)
    surplus = Counter({c: n - 1 for c, n in kept_per_cluster.items() if n > 1})
    duplicates = sum(n - 1 for n in Counter(c for c, _ in of.values()).values())
    found = duplicates - sum(surplus.values())
    missed = Counter(of[i][1] for i in of if i not in removed and of[i][1] not in ("base", "hardneg"))
    print(f"{labelled.height:,} documents, {duplicates:,} duplicates, {len(removed):,} removed")
    print(f"recall {found / max(1, duplicates):.4f}   precision {1 - len(wrong) / max(1, len(removed)):.4f}")
    print(f"removed in favour of another cluster: {len(wrong)} wrongly, {natural} that are natural near duplicates")
    print(f"hard negatives removed: {sum(of[i][1] == 'hardneg' for i in removed)}")
    print("kept though planted, by kind:", dict(missed))
    print("levels and rules:", dict(Counter((r["level"], r["rule"]) for r in removed.values())))
    print("CPU seconds:", {k: round(s, 1) for k, s in seconds.items()})
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MiB")


if __name__ == "__main__":
    main()
