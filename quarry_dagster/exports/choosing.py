"""Which documents an export has, on which side, and how often; and how many were left out, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import polars as pl
from polars.exceptions import PolarsError

from quarry_dagster.errors import ConfigError, StoreError
from quarry_dagster.exports import leaks
from quarry_dagster.exports.mixing import columns_of, drawn, weights, within
from quarry_dagster.exports.rows import Documents
from quarry_dagster.exports.select import cannot_be_asked, check_column, chosen, condition
from quarry_dagster.exports.sides import TRAIN, check_shares, group_of, groups, sides
from quarry_dagster.profiles.settings import Export, Mix
from quarry_dagster.quality.policy import Policy, read_policy
from quarry_dagster.store import Corpus, Store

NOT_SELECTED, FAILS_POLICY, CONFLICT = "not_selected", "fails_policy", "held_out_conflict"
NOT_DRAWN, OVER_SIZE = "not_drawn", "over_size"
"""Why a document is left out."""


class Choosing:
    """Chooses the documents of one export, by its settings alone.

    `before` is the corpus from which only changes are wanted; None: all.

    Raises:
        ConfigError: a condition, a policy or a rate names what there is not; or a size is asked of changes alone.
    """

    def __init__(self, store: Store, documents: Documents, settings: Export, before: Corpus | None) -> None:
        self.store = store
        self.corpus = documents.corpus
        self.settings = settings
        self.documents = documents
        self.before = before
        self.policy: Policy | None = read_policy(settings.policy, None) if settings.policy else None
        self.condition = condition(settings.select, documents.known) if settings.select else None
        for name in columns_of(settings.mix):
            check_column("mix.rates", name, documents.known)
        if before and settings.mix.sizes:
            raise ConfigError(
                "since: a size is one of the whole corpus, and not of what changed: leave one of them out"
            )
        self.left_out: Counter[str] = Counter()
        """Documents by why they are left out."""
        self.fails: Counter[str] = Counter()
        """Documents by the rules of the export's own policy that they fail."""
        self.size: dict[str, Any] | None = None
        """The size that the whole was to have: `unit`, `asked`, `reached`."""

    def chosen(self, sizes_of: Callable[[pl.DataFrame, str], pl.DataFrame]) -> pl.DataFrame:
        """The documents to write: doc_id, partition, word_count, `side`, and `copies`: how often each is written.

        `sizes_of` measures documents in a unit of a mix: it returns doc_id and `size` (Int64).

        Raises:
            ConfigError: none is left, or a split has none, or misses its share by half.
        """
        found = pl.concat([self._of_partition(p) for p in self.documents.partitions] or [_no_documents()])
        found = self._since(found)
        if found.is_empty() and self.before:
            return found.with_columns(side=pl.lit(TRAIN), copies=pl.lit(1))
        self._check_some_are_left(found)
        if self.settings.splits:
            every = self._every()
            found = found.join(every.select("doc_id", "group", "side"), on="doc_id")
            if not self.before:
                check_shares(found, self.settings.splits)
            found = self._without_conflicts(found, every)
        else:
            found = found.with_columns(side=pl.lit(TRAIN))
        mixed = self._mixed(found, sizes_of)
        self._check_some_are_left(mixed)
        for name in self.settings.splits if not self.before else ():
            if not (mixed["side"] == name).any():
                raise ConfigError(f"split {name}: nothing of it is in the mix: set a larger share, size or rate")
        return mixed

    def _of_partition(self, partition: str) -> pl.DataFrame:
        """The kept documents of a partition that are wanted: columns doc_id, partition, word_count, and those that
        rates and weights ask for."""
        wanted, names = self.condition or (None, [])
        mixed = columns_of(self.settings.mix)
        signals = self.policy.signals if self.policy else []
        if self.policy and not self._has_signals(partition):
            raise StoreError(f"partition {partition!r} has no quality_signals of its texts: quarry run makes them")
        rows = self.documents.frame(partition, [*names, *signals, *mixed])
        before = int(self.documents.kept["partition"].eq(partition).sum())
        if wanted is not None:
            rows = chosen(rows, wanted, self.settings.select or "")
        facts = ("doc_id", "partition", "word_count", "language", "page_type", "host", *mixed)
        try:
            found = rows.select(list(dict.fromkeys([*facts, *signals]))).collect(engine="streaming")
        except PolarsError as e:
            if wanted is None:
                raise
            raise ConfigError(cannot_be_asked(self.settings.select or "", e)) from e
        self.left_out[NOT_SELECTED] += before - found.height
        if self.policy:
            failures = self.policy.failures(found)
            self.fails.update(failures.select("row", "rule").unique()["rule"])
            failing = failures["row"].unique()
            self.left_out[FAILS_POLICY] += len(failing)
            found = found.with_row_index("row").filter(~pl.col("row").is_in(failing.implode()))
        self.left_out += Counter()  # without what is 0
        return found.select("doc_id", "partition", "word_count", *mixed)

    def _has_signals(self, partition: str) -> bool:
        segment = self.documents.signals.get(partition)
        assert self.policy is not None
        return segment is not None and set(self.policy.signals) <= set(segment.notes.names)

    def _since(self, found: pl.DataFrame) -> pl.DataFrame:
        """Those of the documents that came or changed since the corpus of before."""
        if self.before is None:
            return found
        then, now = self.before.inputs.texts, self.corpus.inputs.texts
        columns = ["doc_id", "page_digest", "text_digest", "metadata"]
        old_kept = self.before.kept().select("doc_id").collect()
        same = []
        for partition in found["partition"].unique().sort():
            paths = [[p[partition]] if partition in p else [] for p in (then, now)]
            schema = self.store.extracted_text.schema
            old, new = (self.store.files.scan(path, schema).select(columns) for path in paths)
            same.append(new.join(old, on=columns, how="semi", nulls_equal=True).select("doc_id").collect())
        unchanged = pl.concat([pl.DataFrame(schema={"doc_id": pl.String}), *same]).join(old_kept, on="doc_id")
        return found.join(unchanged, on="doc_id", how="anti")

    def _every(self) -> pl.DataFrame:
        """All accepted documents, kept or not: doc_id, `group` and `side`."""
        asked = group_of(self.settings.group)
        frames = []
        for partition in self.corpus.inputs.texts:
            rows = self.documents.every(partition, asked).collect(engine="streaming")
            frames.append(rows.select("doc_id").with_columns(group=groups(rows, self.settings.group)))
        every = pl.concat([pl.DataFrame(schema={"doc_id": pl.String, "group": pl.String}), *frames])
        if self.settings.group.startswith("metadata.") and (every["group"] == every["doc_id"]).all():
            raise ConfigError(f"group: no document has {self.settings.group}")
        return every.with_columns(side=sides(every["group"], self.settings.splits, self.settings.salt))

    def _without_conflicts(self, found: pl.DataFrame, every: pl.DataFrame) -> pl.DataFrame:
        """The documents without those that are held out and share text with another side."""
        rank = {TRAIN: 0} | {name: at for at, name in enumerate(self.settings.splits, 1)}
        side = pl.col("side").replace_strict(rank, return_dtype=pl.Int64)
        sketches = leaks.SketchFrames(self.store, self.corpus)
        texts = pl.concat(frame.select("doc_id", "text_digest") for frame in sketches)
        ranks = texts.join(every.select("doc_id", rank=side), on="doc_id")
        held = found.filter(pl.col("side") != TRAIN)
        out = leaks.conflicts(held, ranks, sketches)
        if len(out):
            self.left_out[CONFLICT] += len(out)
        left = found.filter(~pl.col("doc_id").is_in(out.implode()))
        for name in self.settings.splits if not self.before else ():
            if not (left["side"] == name).any():
                raise ConfigError(
                    f"split {name}: nothing is left of it, for all of its documents share text with another side: set "
                    "another group, another salt or a larger share"
                )
        return left

    def _mixed(self, found: pl.DataFrame, sizes_of: Callable[[pl.DataFrame, str], pl.DataFrame]) -> pl.DataFrame:
        """The documents that are in the mix, with the column `copies`."""
        mix = self.settings.mix
        if mix == Mix():
            return found.with_columns(copies=pl.lit(1))
        weight = weights(found, mix)
        if self.settings.format in ("markdown", "chunks"):  # a passage is found or not: to have it twice helps nobody
            weight = weight.clip(upper_bound=1)
        copies = drawn(found.with_columns(weight), self.settings.salt)
        self.left_out[NOT_DRAWN] = found.height - copies["doc_id"].n_unique()
        for unit, most in mix.sizes.items():
            sizes = sizes_of(found.join(copies, on="doc_id", how="semi"), unit)
            fitting = within(copies, sizes, most)
            self.left_out[OVER_SIZE] = copies["doc_id"].n_unique() - fitting["doc_id"].n_unique()
            reached = fitting.join(sizes, on="doc_id")["size"].sum()
            self.size = {"unit": unit, "asked": most, "reached": reached}
            copies = fitting
        self.left_out += Counter()  # without what is 0
        return found.join(copies.group_by("doc_id").agg(copies=pl.len().cast(pl.Int64)), on="doc_id")

    def _check_some_are_left(self, found: pl.DataFrame) -> None:
        if found.is_empty():
            raise ConfigError(
                f"no document is left to export: {self.corpus.kept_documents:,} are kept"
                + "".join(f", {n:,} {reason}" for reason, n in self.left_out.items())
            )


def _no_documents() -> pl.DataFrame:
    return pl.DataFrame(schema={"doc_id": pl.String, "partition": pl.String, "word_count": pl.Int64})
