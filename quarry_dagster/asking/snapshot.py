"""One published corpus, loaded: it never changes, and whoever asks it twice gets the same answer.

It is built once into a folder of mapped files, outside of the data root, and opened from there by every process that
answers. What is mapped is read as it is asked for. Texts and vectors are not copied: texts are read from the data root
when two are compared, the index is the published one.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Literal

import numpy as np
import polars as pl

from quarry_dagster.asking import mapped
from quarry_dagster.asking.mapped import ByNumber, ByText
from quarry_dagster.asking.standing import Standing
from quarry_dagster.dedup import candidates, decide, near, verify
from quarry_dagster.errors import ConfigError
from quarry_dagster.index import VectorIndex
from quarry_dagster.profiles.settings import Deduplication, HardwareProfile
from quarry_dagster.search.published import load, members
from quarry_dagster.stages.corpus import evidence, sketches
from quarry_dagster.stages.corpus.filtering import Ruling, judge
from quarry_dagster.store import Corpus, Index, Store
from quarry_dagster.store.schemas import HOST

Fate = Literal["kept", "removed", "filtered", "waiting"]
FATES: tuple[Fate, ...] = ("kept", "removed", "filtered", "waiting")
"""What became of a document; `waiting`: the policy drops what fails, and it has no signals yet."""
KEPT, REMOVED, FILTERED, WAITING = range(4)

_SHINGLES_IN_MEMORY = 2_000_000
"""Shingles of texts that are kept for the next questions: some 80 MB."""
_FILTERS = 8
"""So many filters of `similar` are kept ready."""
_DOCUMENTS, _PAIRS = "documents.arrow", "pairs.arrow"


@dataclass(frozen=True)
class Published:
    """What is published now, before it is loaded."""

    index: Index
    corpus: Corpus

    @classmethod
    def now(cls, store: Store) -> Published:
        """What is published in a data root.

        Raises:
            ConfigError: there is no corpus, or no index that it was published with.
            StoreError: the data root cannot be read.
        """
        index, corpus = store.published()
        if corpus is None or index is None:
            raise ConfigError(f"there is no corpus in {store.files.root}: quarry run makes one")
        return cls(index, corpus)


def key_of(store: Store) -> str | None:
    """Names what is published now, in a data root; None where nothing is. With another name something else is."""
    state = store.files.state()
    found = [state.publish(asset, number) for asset, number in sorted(state.currents.items())]
    corpus = state.currents.get(store.deduped_corpus.name)
    if corpus is None:
        return None
    return " ".join(each.manifest for each in found if each)


def build(store: Store, published: Published, folder: Path) -> None:
    """Write what answering needs of a published corpus into an empty folder.

    Raises:
        ConfigError: another version made it, and its sketches or scores cannot be compared with ours.
        StoreError: a file of it is damaged.
    """
    corpus = published.corpus
    versions = [sketches.VERSION, candidates.VERSION, verify.VERSION]
    if list(corpus.inputs.evidence[:3]) != versions:
        raise ConfigError(
            f"another version of QuarryCore made the corpus in {store.files.root}, and what it noted of texts is not "
            "what this one notes: quarry run makes it anew"
        )
    settings = Deduplication.model_validate(corpus.inputs.settings)
    segments = store.sketches.segments_at(corpus.sketches)
    found = sketches.documents(store, segments.values()).with_row_index("row")
    ordered = decide.in_order(found, settings)
    texts = ordered.unique("text_digest", keep="first", maintain_order=True)
    texts = texts.select("text_digest", "row").with_row_index("text")
    every, _ = evidence.read_sketches(store, list(segments.values()), texts, 0)
    Standing.write(folder, every)
    del every
    documents = ordered.drop("row").join(texts.select("text_digest", "text"), on="text_digest", maintain_order="left")
    documents = _with_facts(store, corpus, documents)
    documents = _with_fates(store, corpus, documents)
    mapped.write_frame(folder / _DOCUMENTS, documents)
    ByText.write(folder, "ids", documents["doc_id"])
    ByText.write(folder, "pages", documents["page_url"])
    ByText.write(folder, "digests", texts["text_digest"])
    ByNumber.write(folder, "of_text", documents["text"].to_numpy(), texts.height)
    _write_pairs(folder, corpus, texts, settings)
    at = members(published.index).join(texts.select("text_digest", "text"), on="text_digest", how="left")
    text_at = np.full(sum(shard.vectors for shard in published.index.shards), -1, np.int32)
    text_at[at["position"].to_numpy()] = at["text"].cast(pl.Int32).fill_null(-1).to_numpy()
    mapped.write(folder, {"text_at": text_at})


def _with_facts(store: Store, corpus: Corpus, documents: pl.DataFrame) -> pl.DataFrame:
    """Documents with what their rows in `extracted_text` say, and where these are: the row group, and the row in it."""
    columns = ["doc_id", "title", "language", "page_type"]
    schema = dict.fromkeys(columns, pl.String) | {"group": pl.UInt32, "at": pl.UInt32}
    rows = [pl.DataFrame(schema=schema)]
    wanted = documents["doc_id"].implode()
    for path in corpus.inputs.texts.values():
        with store.files.parquet(path) as file:
            for group in range(file.num_row_groups):
                frame = pl.from_arrow(file.read_row_group(group, columns=columns))
                assert isinstance(frame, pl.DataFrame)
                frame = frame.with_row_index("at").with_columns(group=pl.lit(group, pl.UInt32))
                rows.append(frame.select(*schema).filter(pl.col("doc_id").is_in(wanted)))
    return documents.join(pl.concat(rows), on="doc_id", how="left", maintain_order="left").with_columns(
        HOST.alias("host")
    )


def _with_fates(store: Store, corpus: Corpus, documents: pl.DataFrame) -> pl.DataFrame:
    """Documents with what became of each: `fate` (UInt8, a place in FATES), `is_failing`, and of those that were
    removed `kept` and `witness` (ids), level, rule, jaccard, containment."""
    judged = judge(store, documents, corpus.inputs.signals, Ruling.of(corpus.inputs.policy))
    columns = ("level", "rule", "jaccard", "containment")
    decisions = corpus.decisions().select(*columns, doc_id="removed_id", kept="kept_id", witness="witness_id")
    kept = corpus.kept().select("doc_id").collect()["doc_id"].implode()
    doc_id = pl.col("doc_id")
    fate = (
        pl.when(doc_id.is_in(kept))
        .then(KEPT)
        .when(doc_id.is_in(judged.waiting.implode()))
        .then(WAITING)
        .when(pl.col("level").is_not_null())
        .then(REMOVED)
        .otherwise(FILTERED)
    )
    return documents.join(decisions.collect(), on="doc_id", how="left", maintain_order="left").with_columns(
        fate=fate.cast(pl.UInt8), is_failing=doc_id.is_in(judged.failing.implode())
    )


def _write_pairs(folder: Path, corpus: Corpus, texts: pl.DataFrame, settings: Deduplication) -> None:
    """Write the scored pairs, and which of them each text is in by a rule."""
    pairs = corpus.pairs().collect()
    number = texts.select("text_digest", "text")
    for side in ("left", "right"):
        named = number.rename({"text_digest": side, "text": f"{side}_text"})
        pairs = pairs.join(named, on=side, maintain_order="left")
    rule = decide.seen_from_both(pairs, settings)["rule"].is_not_null()
    holds = rule[: pairs.height] | rule[pairs.height :]
    mapped.write(folder, {"holds": holds.to_numpy()})
    mapped.write_frame(folder / _PAIRS, pairs)
    both = np.concatenate([pairs["left_text"].to_numpy(), pairs["right_text"].to_numpy()])
    ByNumber.write(folder, "of_pair", both, texts.height)


class Texts:
    """Texts of a corpus, read from the data root where they are asked for; their shingles are kept for a while."""

    def __init__(self, store: Store, corpus: Corpus, documents: pl.DataFrame) -> None:
        self._store = store
        self._paths = corpus.inputs.texts
        self._documents = documents
        self._kept: OrderedDict[int, near.Text] = OrderedDict()
        self._size = 0
        self._lock = Lock()

    def text(self, row: int) -> str:
        """The text of a document, by its row.

        Raises:
            StoreError: its file is gone or damaged.
        """
        partition, group, at = self._documents.select("partition", "group", "at").row(row)
        with self._store.files.parquet(self._paths[partition]) as file:
            return file.read_row_group(group, columns=["text"], use_threads=False)["text"][at].as_py()

    def shingled(self, rows: Sequence[int]) -> list[near.Text]:
        """The texts of documents by their rows, cut into shingles.

        Raises: as :meth:`text`.
        """
        with self._lock:
            found = {row: self._kept[row] for row in rows if row in self._kept}
        missing = [row for row in rows if row not in found]
        made = dict(zip(missing, near.Text.of([self.text(row) for row in missing]), strict=True))
        with self._lock:
            for row, text in (found | made).items():
                self._size += 0 if row in self._kept else len(text.order)
                self._kept[row] = text
                self._kept.move_to_end(row)
            while self._size > _SHINGLES_IN_MEMORY and len(self._kept) > 1:
                self._size -= len(self._kept.popitem(last=False)[1].order)
        return [found[row] if row in found else made[row] for row in rows]


@dataclass(frozen=True)
class Filters:
    """Which documents `similar` may answer with: each that is given must hold."""

    language: str | None = None
    host: str | None = None
    page_type: str | None = None
    fates: frozenset[Fate] = field(default=frozenset({"kept"}))


@dataclass(frozen=True, eq=False)
class Snapshot:
    """One published corpus, with the index that it was published with."""

    store: Store
    index: Index
    corpus: Corpus
    settings: Deduplication
    """Of the corpus: by these it was decided."""
    ruling: Ruling | None
    """The quality policy of the corpus."""
    documents: pl.DataFrame
    """A row a document, in the order of keeping."""
    ids: ByText
    pages: ByText
    digests: ByText
    """Of the texts, by their numbers."""
    of_text: ByNumber
    """The documents of each text."""
    standing: Standing
    pairs: pl.DataFrame
    holds: np.ndarray
    """Of each pair, whether a rule says that one of the two goes for the other: bool."""
    of_pair: ByNumber
    """The pairs of each text; those above the number of pairs are the same ones, seen from the right text."""
    text_at: np.ndarray
    """The text of each position of the index, -1 for none: int32."""
    vectors: VectorIndex
    texts: Texts
    profile: HardwareProfile
    """Of this machine: how the index is searched, which model makes the vectors, what is a document."""
    _searched: OrderedDict[Filters, tuple[VectorIndex, np.ndarray]] = field(default_factory=OrderedDict)
    _lock: Lock = field(default_factory=Lock)

    @classmethod
    def open(cls, store: Store, published: Published, folder: Path, profile: HardwareProfile) -> Snapshot:
        """The snapshot that :func:`build` wrote into a folder.

        Raises:
            IndexCorruptError: a file of the index is not the one that was published, or gone.
        """
        documents = mapped.frame(folder / _DOCUMENTS)
        corpus, index = published.corpus, published.index
        return cls(
            store,
            index,
            corpus,
            Deduplication.model_validate(corpus.inputs.settings),
            Ruling.of(corpus.inputs.policy),
            documents,
            ByText.read(folder, "ids"),
            ByText.read(folder, "pages"),
            ByText.read(folder, "digests"),
            ByNumber.read(folder, "of_text"),
            Standing.read(folder),
            mapped.frame(folder / _PAIRS),
            mapped.read(folder, "holds"),
            ByNumber.read(folder, "of_pair"),
            mapped.read(folder, "text_at"),
            load(index, on_gpu=profile.index.use_gpu_faiss),
            Texts(store, corpus, documents),
            profile,
        )

    @property
    def number(self) -> int:
        """The number of the corpus, by which every answer names it."""
        return self.corpus.number

    @property
    def count(self) -> int:
        """How many texts there are."""
        return len(self.of_text.starts) - 1

    def row_of_id(self, doc_id: str) -> int | None:
        """The row of the document with this id."""
        return next((row for row in self.ids.of(doc_id) if self.documents["doc_id"][row] == doc_id), None)

    def rows_of_page(self, page_url: str) -> list[int]:
        """The rows of the documents of this page."""
        return [row for row in self.pages.of(page_url) if self.documents["page_url"][row] == page_url]

    def text_of_digest(self, digest: str) -> int | None:
        """The number of the text with this digest."""
        return next((text for text in self.digests.of(digest) if self.digest(text) == digest), None)

    def first(self, text: int) -> int:
        """The row of the first document with this text, in the order of keeping."""
        return int(self.of_text.of(text)[0])

    def digest(self, text: int) -> str:
        """The digest of a text."""
        return self.documents["text_digest"][self.first(text)]

    def rivals(self, text: int) -> np.ndarray:
        """The rows of the pairs that this text is in, and of which a rule says that one goes for the other."""
        rows = self.known_pairs(text)
        return rows[self.holds[rows]]

    def known_pairs(self, text: int) -> np.ndarray:
        """The rows of all scored pairs that this text is in."""
        return self.of_pair.of(text) % max(1, self.pairs.height)

    def fate(self, row: int) -> Fate:
        """What became of a document."""
        return FATES[self.documents["fate"][row]]

    def searched(self, filters: Filters) -> tuple[VectorIndex, np.ndarray]:
        """The index with the texts alone of which a document passes, and whether each document passes (bool)."""
        with self._lock:
            if (found := self._searched.get(filters)) is not None:
                self._searched.move_to_end(filters)
                return found
        made = self._search(filters)
        with self._lock:
            self._searched[filters] = made
            if len(self._searched) > _FILTERS:
                self._searched.popitem(last=False)
        return made

    def _search(self, filters: Filters) -> tuple[VectorIndex, np.ndarray]:
        passes = [pl.col("fate").is_in([FATES.index(each) for each in sorted(filters.fates)])]
        for column in ("language", "host", "page_type"):
            if (wanted := getattr(filters, column)) is not None:
                passes.append((pl.col(column) == wanted).fill_null(False))
        passing = self.documents.select(pl.all_horizontal(passes).alias("is"))["is"].to_numpy()
        has_one = np.zeros(self.count + 1, np.bool_)  # the last is of positions without a text
        has_one[self.documents["text"].to_numpy()[passing]] = True
        return self.vectors.without(np.flatnonzero(~has_one[self.text_at])), passing
