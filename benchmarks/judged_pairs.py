"""Pairs of web pages that a person judged: what the stage decides, beside what one number could."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.systems import embed, quarry
from quarry_dagster.dedup import near, verify
from quarry_dagster.extract import count_words

EQUIVALENT = 2.0
"""Label from which a person called the contents the same."""


def judged_pairs(pairs: pl.DataFrame, profile: str) -> str:
    """A table of precision and recall; columns of `pairs`: label, src, tgt (texts)."""
    truth = pairs["label"].cast(pl.Float64).to_numpy() >= EQUIVALENT
    rows = []
    for left, right in pairs.select("src", "tgt").iter_rows():
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "profile.txt").write_text(profile)
            documents = [{"id": "a", "text": left}, {"id": "b", "text": right}]
            embed(documents, folder)
            a, b = np.load(folder / "vectors.npy")
            rows.append((bool(quarry(documents, folder)), _jaccard(left, right), float(a @ b)))
    decided, jaccard, cosine = (np.array(c) for c in zip(*rows, strict=True))
    texts, n = [*pairs["src"], *pairs["tgt"]], pairs.height
    scores = verify.scores(near.Text.of(texts), np.arange(n), np.arange(n) + n)
    words = np.array([count_words(t) for t in texts]).reshape(2, n)
    shorter = np.where(words[0] <= words[1], scores["left_in_right"], scores["right_in_left"])
    containment = shorter * words.min(axis=0) / words.max(axis=0)
    recall = (decided & truth).sum() / truth.sum()
    by_jaccard, by_cosine = _at_recall(jaccard, truth, recall), _at_recall(cosine, truth, recall)
    lines = [
        f"\n## judged pairs: {len(truth)}, {truth.sum()} of them equivalent\n",
        "| | precision | recall |",
        "| --- | --- | --- |",
        _line("QuarryCore", decided, truth),
        _line("word 3-gram Jaccard >= .8", jaccard >= 0.8, truth),
        _line(f"the same >= {by_jaccard:.3f}: the recall above", jaccard >= by_jaccard, truth),
        _line("cosine >= .85", cosine >= 0.85, truth),
        _line(f"the same >= {by_cosine:.3f}: the recall above", cosine >= by_cosine, truth),
    ]
    lines += [
        "",
        "| ranked by | average precision | precision at recall .50 | .80 | .98 |",
        "| --- | --- | --- | --- | --- |",
    ]
    lines += [
        _curve("containment of the shorter in the longer, times the ratio of lengths", containment, truth),
        _curve("word 3-gram Jaccard", jaccard, truth),
        _curve("cosine", cosine, truth),
    ]
    return "\n".join(lines)


def _curve(name: str, score: np.ndarray, truth: np.ndarray) -> str:
    ranked = truth[np.argsort(-score, kind="stable")]
    average = float(((np.cumsum(ranked) / np.arange(1, len(ranked) + 1)) * ranked).sum() / ranked.sum())
    at = [score >= _at_recall(score, truth, recall) for recall in (0.5, 0.8, 0.98)]
    return f"| {name} | {average:.3f} | " + " | ".join(f"{(m & truth).sum() / m.sum():.3f}" for m in at) + " |"


def _line(name: str, decided: np.ndarray, truth: np.ndarray) -> str:
    hits = (decided & truth).sum()
    return f"| {name} | {hits / max(1, decided.sum()):.3f} | {hits / truth.sum():.3f} |"


def _at_recall(score: np.ndarray, truth: np.ndarray, recall: float) -> float:
    """The highest threshold whose recall is at least this."""
    right = np.sort(score[truth])[::-1]
    return float(right[max(0, int(np.ceil(recall * len(right))) - 1)])


def _jaccard(left: str, right: str) -> float:
    a, b = (
        {tuple(w[i : i + 3]) for i in range(len(w) - 2)} for w in (left.casefold().split(), right.casefold().split())
    )
    return len(a & b) / max(1, len(a | b))
