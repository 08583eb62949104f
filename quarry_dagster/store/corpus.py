"""What is published: the index, and the corpus that was decided on its texts, each as one typed value.

Both are read from the manifest of a snapshot; nobody else knows what a manifest looks like.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

import polars as pl

from quarry_dagster.store.files import Files
from quarry_dagster.store.layers import Layers
from quarry_dagster.store.schemas import (
    DEDUP_DECISIONS,
    DEDUPED_CORPUS,
    EXTRACTED_TEXT,
    FILTER_DECISIONS,
    KEPT,
    REMOVED_POSITIONS,
    SCORED_PAIRS,
)
from quarry_dagster.store.snapshots import Snapshot

_REMOVED = "removed.parquet"


@dataclass(frozen=True)
class ShardFiles:
    """One shard of the index: its files, and what they hold."""

    file: str
    """Path of the FAISS index."""
    texts: str
    """Path of the list of its texts (column text_digest), in the order of their positions."""
    kind: str
    """FAISS index type."""
    vectors: int
    bytes: int
    """Size of `file`."""
    sha256: str
    """SHA-256 of `file`, in hex."""


@dataclass(frozen=True, kw_only=True)
class Acceptance:
    """What somebody said to publish although it was to be refused."""

    what: str
    """`shrink`, or the name of a check."""
    who: str
    at: str
    """ISO 8601, UTC."""

    @classmethod
    def now(cls, what: str, who: str) -> Acceptance:
        """What somebody says at this moment."""
        return cls(what=what, who=who, at=datetime.now(UTC).isoformat(timespec="seconds"))


@dataclass(frozen=True, kw_only=True)
class Index:
    """A published index."""

    snapshot: Snapshot = field(compare=False)
    model: str
    """Vector id of the vectors in it."""
    kind: str
    """FAISS index type of the largest shard."""
    dim: int
    vectors: int
    """How many vectors it finds: one for each distinct text."""
    documents: int
    removed: int
    """Positions that are passed over."""
    bytes: int
    shards: Sequence[ShardFiles]
    partitions: Mapping[str, str]
    """Path of the segment of `embeddings` by partition that it was made from."""
    accepted: Sequence[Acceptance] = ()
    """Checks of what it was made from that stood failed."""

    @classmethod
    def of(cls, snapshot: Snapshot, stored: Mapping[str, Any]) -> Index | None:
        """The index of a manifest; None where it was published before there were shards, and is to be built anew."""
        if "shards" not in stored:
            return None
        facts = {name: stored[name] for name in ("model", "kind", "dim", "vectors", "documents", "removed", "bytes")}
        shards = [ShardFiles(**shard) for shard in stored["shards"]]
        accepted = [Acceptance(**each) for each in stored.get("accepted", [])]
        return cls(snapshot=snapshot, **facts, shards=shards, partitions=stored["partitions"], accepted=accepted)

    def stored(self) -> dict[str, Any]:
        """The manifest."""
        values = {name: value for name, value in vars(self).items() if name != "snapshot"}
        lists = {"shards": [asdict(shard) for shard in self.shards], "accepted": [asdict(a) for a in self.accepted]}
        return values | lists | {"partitions": dict(self.partitions)}

    @property
    def number(self) -> int:
        """The number of its snapshot."""
        return self.snapshot.number

    @property
    def removed_path(self) -> str:
        """Path of the positions that are passed over, schema REMOVED_POSITIONS."""
        return self.snapshot.path(_REMOVED)

    def files_named(self) -> list[str]:
        """Paths of the files of its shards, and of what is passed over."""
        return [*(path for shard in self.shards for path in (shard.file, shard.texts)), self.removed_path]

    def segments_named(self) -> list[str]:
        """Paths of the segments that it was made from."""
        return list(self.partitions.values())


def write_removed(snapshot: Snapshot, positions: pl.DataFrame) -> None:
    """Write which positions the index of a snapshot passes over, schema REMOVED_POSITIONS."""
    snapshot.files.write_frame(snapshot.path(_REMOVED), positions.select(REMOVED_POSITIONS.names()))


@dataclass(frozen=True, kw_only=True)
class CorpusInputs:
    """What a corpus was made from: with the same, it would be the same."""

    texts: Mapping[str, str]
    """Path of the segment of `extracted_text` by partition."""
    vectors: Mapping[str, str]
    """Path of the segment of `embeddings` by partition."""
    signals: Mapping[str, str] = field(default_factory=dict)
    """Path of the segment of `quality_signals` by partition, of those that have one."""
    policy: Mapping[str, Any] = field(default_factory=dict)
    """The quality policy and its action, as JSON values; empty where nothing was asked of the documents."""
    settings: Mapping[str, Any]
    """Section `deduplication` of the profile, as JSON values."""
    rules: Sequence[str]
    evidence: Sequence[Any]
    """What pairs and their scores depend on besides the documents; with another all are compared anew."""


@dataclass(frozen=True)
class CorpusLayers:
    """Paths of the layers of a corpus' tables, the oldest first."""

    kept: Sequence[str] = ()
    decisions: Sequence[str] = ()
    pairs: Sequence[str] = ()
    filtered: Sequence[str] = ()


@dataclass(frozen=True)
class DirectionsFile:
    """The file of the directions that vectors were outlined along, and what they were made of."""

    path: str
    model: str
    made_of: int
    """How many vectors they were computed from."""
    dim: int


@dataclass(frozen=True, kw_only=True)
class Past:
    """What is remembered of a corpus that was published, so that a later one can be compared with it."""

    stood_until: str
    """When the next one was published, ISO 8601, UTC."""
    documents: int
    """How many it kept."""
    kept: Sequence[str]
    """Paths of the layers of its kept documents."""
    made_with: Mapping[str, str]
    """Digest of each section of the settings that its rows were made with."""


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """A published corpus."""

    snapshot: Snapshot = field(compare=False)
    index: int | None
    """The number of the index that it was published with; None where it was published before corpora named it."""
    published_at: str | None
    """ISO 8601, UTC; None as above."""
    made_with: Mapping[str, str]
    """Digest of each section of the settings that its rows were made with; empty where they were not remembered."""
    larger: Sequence[Past] = ()
    """Corpora of before, the largest first, each larger than all that came after it; losses count against the first."""
    accepted: Sequence[Acceptance] = ()
    inputs: CorpusInputs
    layers: CorpusLayers
    sketches: Mapping[str, str]
    """Path of the segment of `sketches` by partition."""
    directions: DirectionsFile | None
    decided: int
    """Documents that were decided on."""
    kept_documents: int
    outcomes: Mapping[str, int]
    """Documents: kept, removed by level, and filtered: kept out by the policy."""

    @classmethod
    def of(cls, snapshot: Snapshot, stored: Mapping[str, Any]) -> Corpus:
        """The corpus of a manifest."""
        made_from, directions = stored["inputs"], stored["directions"]
        return cls(
            snapshot=snapshot,
            index=stored.get("index"),
            published_at=stored.get("published_at"),
            made_with=stored.get("made_with", {}),
            larger=[Past(**past) for past in stored.get("larger", [])],
            accepted=[Acceptance(**each) for each in stored.get("accepted", [])],
            inputs=CorpusInputs(
                texts=made_from["extracted_text"],
                vectors=made_from["embeddings"],
                signals=made_from.get("quality_signals", {}),
                policy=made_from.get("policy", {}),
                settings=made_from["settings"],
                rules=made_from["code"],
                evidence=made_from["evidence"],
            ),
            layers=CorpusLayers(**stored["layers"]),
            sketches=stored["sketches"],
            directions=DirectionsFile(**directions) if directions else None,
            decided=stored["documents"],
            kept_documents=stored["kept"],
            outcomes=stored["outcomes"],
        )

    def stored(self) -> dict[str, Any]:
        """The manifest."""
        return {
            "index": self.index,
            "published_at": self.published_at,
            "made_with": dict(self.made_with),
            "larger": [asdict(past) for past in self.larger],
            "accepted": [asdict(each) for each in self.accepted],
            "inputs": {
                "extracted_text": dict(self.inputs.texts),
                "embeddings": dict(self.inputs.vectors),
                "quality_signals": dict(self.inputs.signals),
                "policy": dict(self.inputs.policy),
                "settings": dict(self.inputs.settings),
                "code": list(self.inputs.rules),
                "evidence": list(self.inputs.evidence),
            },
            "layers": {name: list(paths) for name, paths in vars(self.layers).items()},
            "sketches": dict(self.sketches),
            "directions": asdict(self.directions) if self.directions else None,
            "documents": self.decided,
            "kept": self.kept_documents,
            "outcomes": dict(self.outcomes),
        }

    @property
    def number(self) -> int:
        """The number of its snapshot."""
        return self.snapshot.number

    def files_named(self) -> list[str]:
        """Paths of its layers, its directions, and the layers of corpora that a later one is compared with."""
        layers = [path for paths in vars(self.layers).values() for path in paths]
        pasts = [path for past in self.larger for path in past.kept]
        return [*layers, *pasts, *([self.directions.path] if self.directions else [])]

    def segments_named(self) -> list[str]:
        """Paths of the segments that it was made from, and of its sketches."""
        named = (self.inputs.texts, self.inputs.vectors, self.inputs.signals, self.sketches)
        return [path for paths in named for path in paths.values()]

    def documents(self) -> pl.LazyFrame:
        """The kept documents with their texts, schema DEDUPED_CORPUS."""
        failed_rules = pl.col("failed").str.split(" ").list.filter(pl.element() != "")
        kept = self.kept().with_columns(failed_rules=failed_rules)
        return self.texts().join(kept, on=["doc_id", "partition"]).select(DEDUPED_CORPUS.names())

    def texts(self) -> pl.LazyFrame:
        """The rows of `extracted_text` as the corpus was made from them, schema EXTRACTED_TEXT."""
        return self.snapshot.files.scan(list(self.inputs.texts.values()), EXTRACTED_TEXT)

    def kept(self) -> pl.LazyFrame:
        """The kept documents, schema KEPT."""
        return kept_layers(self.snapshot.files).read(self.layers.kept)

    def decisions(self) -> pl.LazyFrame:
        """A row a removed document, schema DEDUP_DECISIONS."""
        return decision_layers(self.snapshot.files).read(self.layers.decisions)

    def filtered(self) -> pl.LazyFrame:
        """A row a rule that keeps a document out, schema FILTER_DECISIONS."""
        return filter_layers(self.snapshot.files).read(self.layers.filtered)

    def pairs(self) -> pl.LazyFrame:
        """The scores that the decisions were drawn from, schema SCORED_PAIRS."""
        return pair_layers(self.snapshot.files).read(self.layers.pairs)


def kept_layers(files: Files) -> Layers:
    """The layers of the kept documents."""
    return Layers(files, "deduped_corpus/kept", KEPT, key=["doc_id"])


def decision_layers(files: Files) -> Layers:
    """The layers of the decisions."""
    return Layers(files, "deduped_corpus/decisions", DEDUP_DECISIONS, key=["removed_id"])


def filter_layers(files: Files) -> Layers:
    """The layers of the rules that keep documents out."""
    return Layers(files, "deduped_corpus/filtered", FILTER_DECISIONS, key=["doc_id", "rule"])


def pair_layers(files: Files) -> Layers:
    """The layers of the scored pairs of texts."""
    return Layers(files, "deduped_corpus/pairs", SCORED_PAIRS, key=["left", "right"])
