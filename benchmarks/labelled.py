"""Labelled documents that deduplication is judged on, and what a system's removals are worth by their labels."""

from __future__ import annotations

import json
import re
import unicodedata
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from benchmarks.planted import BASE

NATURAL = 0.6
"""5-gram containment from which a removal in favour of another cluster is right: the two are natural duplicates."""
LOSES = 0.6
"""Share of word pairs below which the kept document does not hold what the removed one says."""
HARD = "hard"
"""How the kind begins of a document that is like another one and says something else."""

_COLUMNS = ("id", "text", "cluster", "kind")


def labelled_sets(folder: Path) -> dict[str, pl.DataFrame]:
    """The labelled sets that are in a folder, by name: columns id, text, cluster, kind."""
    sets = {}
    for name in ("planted", "planted_ml", "docs_react", "forms_tldr"):
        if (folder / f"{name}.parquet").is_file():
            sets[name] = pl.read_parquet(folder / f"{name}.parquet").select(_COLUMNS)
    if (folder / "recrawl.parquet").is_file():
        heads = pl.read_parquet(folder / "recrawl_heads.parquet").with_columns(cluster="id", kind=pl.lit(BASE))
        tenths = (pl.col("jaccard5") * 5).floor().clip(0, 4).cast(pl.Int64) * 2
        kind = pl.format("Jaccard from .{}", tenths)
        versions = pl.read_parquet(folder / "recrawl.parquet").with_columns(cluster="head", kind=kind)
        sets["recrawl"] = pl.concat([versions.select(_COLUMNS), heads.select(_COLUMNS)])
    if (folder / "small_cases.jsonl").is_file():
        lines = (folder / "small_cases.jsonl").read_text(encoding="utf-8").splitlines()
        sets["small_cases"] = pl.DataFrame([_small_case(json.loads(line)) for line in lines], orient="row")
    if not sets:
        raise SystemExit(f"{folder}: none of the labelled sets is there")
    return sets


def _small_case(row: dict[str, str]) -> dict[str, str]:
    """A row of the small cases: all of them stay but one of the two that differ in their vowel signs."""
    *_, group, member = row["url"].split("/")
    cluster = group if group == "arabic-vowels" else f"{group}/{member}"
    kind = "vowel signs" if (group, member) == ("arabic-vowels", "without") else BASE
    return {"id": f"{group}/{member}", "text": row["text"], "cluster": cluster, "kind": kind}


@dataclass
class Score:
    """What a system's removals are worth."""

    found: int
    """Planted duplicates that are found."""
    planted: int
    others: list[tuple[str, str]]
    """Removals for a document of another cluster, (removed id, kept id)."""
    wrong: list[tuple[str, str]]
    """Those of them that are no natural duplicates."""
    hard_negatives: int
    losing: int
    """Removals for a document that lacks much of what the removed one says."""
    lost: int
    """Distinct 3-grams of removed documents that are in no document that is kept."""
    removed: int
    by_kind: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Of each kind, how many are found, and how many there are."""

    @property
    def recall(self) -> float:
        return self.found / max(1, self.planted)

    @property
    def precision(self) -> float:
        return 1 - len(self.wrong) / max(1, self.removed)


class Judge:
    """Judges the removals of any number of systems on one labelled set (columns id, text, cluster, kind).

    A removal is right if both documents are of one cluster or natural duplicates (NATURAL). A planted duplicate is
    found if it or its base was rightly removed: not both are left. A removal loses text if the kept document has
    less than LOSES of the removed one's word pairs, whatever the labels say: the shorter was kept, or another text.
    """

    def __init__(self, labelled: pl.DataFrame) -> None:
        self._rows = {r["id"]: r for r in labelled.iter_rows(named=True)}
        self._grams: dict[tuple[str, int], set[tuple[str, ...]]] = {}

    def score(self, removed: list[tuple[str, str]]) -> Score:
        """Judge removals, pairs (removed id, kept id)."""
        rows = self._rows
        right, others, wrong, losing = set(), [], [], 0
        for a, b in removed:
            losing += self._containment(a, b, 2) < LOSES
            same = rows[a]["cluster"] == rows[b]["cluster"]
            natural = not same and max(self._containment(a, b, 5), self._containment(b, a, 5)) >= NATURAL
            if not same:
                others.append((a, b))
            if same or natural:
                right.add(a)
            else:
                wrong.append((a, b))
        bases = {r["cluster"]: i for i, r in rows.items() if r["kind"] == BASE}
        found: dict[str, list[bool]] = defaultdict(list)
        for i, row in rows.items():
            base = bases.get(row["cluster"], i)
            if base != i:
                found[row["kind"]].append(i in right or base in right)
        every = [hit for hits in found.values() for hit in hits]
        return Score(
            found=sum(every),
            planted=len(every),
            others=others,
            wrong=wrong,
            hard_negatives=sum(rows[i]["kind"].startswith(HARD) for i, _ in others),
            losing=losing,
            lost=self._lost({a for a, _ in removed}),
            removed=len(removed),
            by_kind={kind: (sum(hits), len(hits)) for kind, hits in sorted(found.items())},
        )

    def _lost(self, removed: set[str]) -> int:
        gone = {gram for i in removed for gram in self._grams_of(i, 3)}
        for i in self._rows:
            if i not in removed:
                gone -= self._grams_of(i, 3)
        return len(gone)

    def _containment(self, a: str, b: str, n: int) -> float:
        mine, theirs = self._grams_of(a, n), self._grams_of(b, n)
        if not mine:
            return float(words(self._rows[a]["text"]) == words(self._rows[b]["text"]))
        return len(mine & theirs) / len(mine)

    def _grams_of(self, i: str, n: int) -> set[tuple[str, ...]]:
        if (i, n) not in self._grams:
            found = words(self._rows[i]["text"])
            self._grams[i, n] = set(zip(*(found[k:] for k in range(n)), strict=False))
        return self._grams[i, n]


# Not the project's own shingles: the judge must not share an error with the judged.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+")


def words(text: str) -> list[str]:
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())
