"""What each guard of the rule near/1 is worth, and each of its constants, on labelled sets.

    python -m benchmarks.guards LABELLED [--sets NAME ...] [--removals FILE]

LABELLED is a folder with the sets that `benchmarks.labelled` reads. Pairs are looked for once; then everything is
decided again with one guard silenced, and with one constant at .8 and 1.25 times its value. A column a set: removals
for a document of another cluster, and planted duplicates that are found. With --removals the removals for another
cluster are written to a file, a line each, for somebody to read.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.labelled import Judge, Score, labelled_sets
from quarry_dagster.dedup import candidates, decide, near, scoring, shingles, verify
from quarry_dagster.extract import count_words, text_digest
from quarry_dagster.profiles.settings import Deduplication
from quarry_dagster.store.schemas import DOCUMENTS

NEVER = 1e9
SILENCED = {
    "length": {"shorter": 0.0},
    "lost": {"lost": NEVER},
    "passages": {"long_passages": NEVER},
    "form": {"repeated": NEVER, "repeated_below_head": NEVER},
    "head word": {"head_times": NEVER},
    "numbers": {"numbers": NEVER},
    "block": {"block_share": NEVER},
    "short": {"short_text": 0},
}
"""The constants that silence a guard."""
_RESHAPED = {"short", "head"}
"""Constants that a view is made with: another value takes another view."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.guards", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("labelled", type=Path)
    parser.add_argument("--sets", nargs="*", help="only these sets")
    parser.add_argument("--removals", type=Path, help="write the removals for another cluster here, as CSV")
    parser.add_argument("--guards-only", action="store_true", help="leave the constants as they are")
    arguments = parser.parse_args()
    sets = {n: rows for n, rows in labelled_sets(arguments.labelled).items() if n in (arguments.sets or [n])}
    table: dict[str, dict[str, str]] = {}
    removals: list[dict[str, str]] = []
    for name, labelled in sets.items():
        judged = _Judged(labelled)
        for variant, bounds in _variants(arguments.guards_only):
            found = judged.score(bounds)
            table.setdefault(variant, {})[name] = f"{len(found.others)} / {found.found:,} of {found.planted:,}"
            if variant == AS_IT_IS:
                removals += [{"set": name, "removed": a, "kept": b} for a, b in sorted(found.others)]
            print(f"{name}: {variant}: {table[variant][name]}", file=sys.stderr, flush=True)
    if arguments.removals:
        with arguments.removals.open("w", encoding="utf-8", newline="") as f:
            writer = csv.DictWriter(f, ["set", "removed", "kept"])
            writer.writeheader()
            writer.writerows(removals)
    print(f"| | {' | '.join(sets)} |\n| --- |{' --- |' * len(sets)}")
    for variant, row in table.items():
        print(f"| {variant} | {' | '.join(row[name] for name in sets)} |")
    return 0


AS_IT_IS = "near/1"


def _variants(guards_only: bool) -> Iterator[tuple[str, near.Bounds]]:
    """The names of what is tried, and the constants of each."""
    yield AS_IT_IS, near.BOUNDS
    for guard, silent in SILENCED.items():
        yield f"without `{guard}`", replace(near.BOUNDS, **silent)
    for field in fields(near.BOUNDS) if not guards_only else ():
        value = getattr(near.BOUNDS, field.name)
        for factor in (0.8, 1.25):
            other = round(value * factor) if isinstance(field.default, int) and value > 1 else value * factor
            if other != value:
                yield f"{field.name} {other:.4g}", replace(near.BOUNDS, **{field.name: other})


class _Judged:
    """A labelled set with its candidate pairs, decided on by any constants."""

    def __init__(self, labelled: pl.DataFrame) -> None:
        rows = labelled.with_columns(
            text_digest=pl.Series([text_digest(text) for text in labelled["text"]], dtype=pl.String),
            word_count=pl.Series([count_words(text) for text in labelled["text"]], dtype=pl.Int64),
        )
        self._judge = Judge(labelled)
        url = pl.format("http://{}/", pl.col("id"))
        nothing = {c: pl.lit(None, pl.String) for c in ("canonical_page", "date", "own_id")}
        documents = rows.select("text_digest", "word_count", doc_id="id", url=url, page_url=url, **nothing)
        self._documents = documents.select(DOCUMENTS.names())
        self._settings = Deduplication()
        texts = decide.in_order(self._documents, self._settings).unique(
            "text_digest", maintain_order=True, keep="first"
        )
        texts = texts.select("text_digest").join(
            rows.unique("text_digest", keep="any").select("text_digest", "text"),
            on="text_digest",
            maintain_order="left",
        )
        hashes = shingles.sketches(texts["text"].to_list())
        every = candidates.Sketches(
            np.arange(len(hashes), dtype=np.uint32), np.cumsum([len(h) for h in hashes]), np.concatenate(hashes)
        )
        numbers = pl.Series(range(len(hashes)), dtype=pl.UInt32)
        _, pairs = candidates.by_sketch(every, numbers, pl.Series(dtype=pl.UInt32))
        self._texts = near.Text.of(texts["text"].to_list())
        left, right = (pairs[side].to_numpy() for side in ("left", "right"))
        scores = verify.scores(self._texts, left, right).with_columns(
            cosine=pl.lit(None, pl.Float64),
            **{side: texts["text_digest"].gather(pairs[side]) for side in ("left", "right")},
        )
        is_kept = scores.select(scoring.WORTH_KEEPING & (pl.col("left_guards") != near.NOT_COMPARED)).to_series()
        self._scores = scores.filter(is_kept)
        ends = zip(left[is_kept.to_numpy()].tolist(), right[is_kept.to_numpy()].tolist(), strict=True)
        self._ends = list(ends)
        self._views = [near.views(self._texts[a], self._texts[b]) for a, b in self._ends]

    def score(self, bounds: near.Bounds) -> Score:
        """What the removals are worth that the rule makes with these constants."""
        left, right, cleaner = [], [], []
        is_reshaped = any(getattr(bounds, c) != getattr(near.BOUNDS, c) for c in _RESHAPED)
        for (a, b), known in zip(self._ends, self._views, strict=True):
            views = near.views(self._texts[a], self._texts[b], bounds) if is_reshaped else known
            for view in views:
                view.bounds = bounds
            mine, theirs = views
            left.append(near.compare(mine))
            right.append(near.compare(theirs))
            cleaner.append(near.is_cleaner(theirs) if 0 in (left[-1], right[-1]) else None)
        pairs = self._scores.with_columns(
            left_guards=pl.Series(left, dtype=pl.UInt8),
            right_guards=pl.Series(right, dtype=pl.UInt8),
            right_is_cleaner=pl.Series(cleaner, dtype=pl.Boolean),
        )
        decisions = decide.decide(self._documents, pairs, self._settings)
        return self._judge.score(list(decisions.select("removed_id", "kept_id").iter_rows()))


if __name__ == "__main__":
    sys.exit(main())
