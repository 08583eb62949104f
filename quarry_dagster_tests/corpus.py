"""A data root and what tests do with it: drop seeds, run the stages, read the tables."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from quarry_dagster import scan
from quarry_dagster.dedup import decide, near, verify
from quarry_dagster.domains import Describer
from quarry_dagster.extract import Extractor
from quarry_dagster.intake import SeedReport, take_in_seeds
from quarry_dagster.profiles.choose import load_profile
from quarry_dagster.profiles.settings import Deduplication, Extraction, HardwareProfile
from quarry_dagster.reader import TableName
from quarry_dagster.stages import (
    embeddings,
    extracted_text,
    faiss_index,
    page_metadata,
    personal_data,
    quality_signals,
)
from quarry_dagster.stages.corpus import deduped_corpus
from quarry_dagster.stages.pages import raw_pages
from quarry_dagster.stages.report import StageReport
from quarry_dagster.store import Corpus as PublishedCorpus
from quarry_dagster.store import Files, Fingerprint, Index, Store, TextNotes
from quarry_dagster.store.corpus import write_removed
from quarry_dagster.store.schemas import REMOVED_POSITIONS
from quarry_dagster.store.state import State

LOOPBACK = (ip_network("127.0.0.0/8"),)
PAGES = 40
"""Pages of the site that the fixture `crawled` is a corpus of."""
LARGER: dict[str, object] = {"pages_per_partition": 20}
"""Partitions where the command runs: each costs a run some steps of Dagster."""
Quarry = Callable[..., tuple[int, str, str]]
"""What the fixture `quarry` gives: a call runs `quarry ARGUMENTS`, and returns exit status, stdout and stderr."""


def profile(**sections: Mapping[str, object]) -> HardwareProfile:
    """A profile for tests: no delays, few workers, small partitions and the static model unless `sections` differ."""
    quick: dict[str, dict[str, object]] = {
        "hardware": {"workers": 2},
        "partitions": {"pages_per_partition": 10},
        "crawl": {"delay_per_host": 0, "page_timeout": 5, "retries": 0},
        "embedding": {"backend": "static", "max_tokens": 64},
    }
    merged = {k: {**quick.get(k, {}), **sections.get(k, {})} for k in quick | sections}
    return HardwareProfile.model_validate({"name": "test"} | merged)


def shipped(name: str, **sections: Mapping[str, object]) -> HardwareProfile:
    """A profile that we ship, with small partitions unless `sections` say otherwise."""
    settings = load_profile(name).model_dump()
    settings["partitions"]["pages_per_partition"] = 10
    for section, changed in sections.items():
        settings[section] |= changed
    return HardwareProfile.model_validate(settings)


def verdict(settings: Deduplication, cosine: float, containment: float, *guards: str) -> tuple[str, str] | None:
    """Level and rule by which a pair with these scores removes a text, from which they are seen; None: it stays."""
    bits = sum(near.BITS[guard] for guard in guards)
    scores = pl.DataFrame({"cosine": [cosine], "containment": [containment], "guards": [bits]})
    row = decide.verdicts(scores.cast({"guards": pl.UInt8}), settings).row(0, named=True)
    return (row["level"], row["rule"]) if row["rule"] else None


def justified(settings: Deduplication, decision: dict[str, Any], removed: str, witness: str) -> bool:
    """Whether the texts of a removed document and its witness satisfy the rule of the decision."""
    scores = verify.scores(near.Text.of([witness, removed]), np.array([0]), np.array([1]))
    pair = scores.with_columns(left=pl.lit("witness"), right=pl.lit("removed"), cosine=pl.lit(decision["cosine"]))
    named = pl.DataFrame({"text": ["removed"], "other": ["witness"], "rule": [decision["rule"]]})
    (row,) = decide.rules_again(named, decide.seen_from_both(pair, settings)).rows(named=True)
    return row["rule_now"] == decision["rule"]


def text_notes(documents: int) -> TextNotes:
    """Notes of a segment of so many accepted texts that no extractor made."""
    made_from = Fingerprint(("x",), "a test")
    return TextNotes(
        content="x", input=made_from, extractor_version="", rows=documents, documents=documents, outcomes={}
    )


def publish_index(store: Store, model: str) -> None:
    """Publish an index of no file over the vectors there are: only what it covers is asked for."""
    partitions = {partition: segment.path for partition, segment in store.embeddings.segments().items()}
    facts = {"kind": "IndexFlatIP", "dim": 1, "vectors": 0, "documents": 0, "removed": 0, "bytes": 0}
    snapshot = store.faiss_index.begin()
    index = Index(snapshot=snapshot, model=model, shards=[], partitions=partitions, **facts)
    write_removed(snapshot, pl.DataFrame(schema=REMOVED_POSITIONS))
    store.faiss_index.publish(index, keep=[], over=store.faiss_index.number())


def overwrite(corpus: PublishedCorpus) -> None:
    """Put another content in the place of the published one, as no writer of ours would."""
    Store(corpus.snapshot.files.root).deduped_corpus.amend(corpus, keep=[])


def as_written(files: Files, path: str) -> None:
    """Have the log take a file that was overwritten for what was written there first."""
    files.log.commit(lambda _: [{"remove": {"path": path}}, *files.lines([path], State())])


def words(seed: int, n: int = 120) -> str:
    """A text of its own, in sentences, of n words."""
    rng = np.random.default_rng(seed)
    vocabulary = [
        f"{a}{b}{c}" for a in "bdfglmnprst" for b in ("a", "ei", "o", "u") for c in ("ne", "ro", "st", "vik", "lle")
    ]
    picked = [vocabulary[i] for i in rng.integers(0, len(vocabulary), n)]
    sentences = [" ".join(picked[i : i + 12]).capitalize() + "." for i in range(0, n, 12)]
    return "\n\n".join(" ".join(sentences[i : i + 3]) for i in range(0, len(sentences), 3))


_EXTRACTORS: dict[Extraction, Extractor] = {}


def extractor(settings: Extraction) -> Extractor:
    """One for all corpora of a test process: to start one loads the parsers. Its workers end with this process."""
    found = _EXTRACTORS.get(settings)
    if found is None or found._busy:  # a test that failed left pages with its workers
        found = _EXTRACTORS[settings] = Extractor(settings, workers=2)
    return found


_DESCRIBERS: dict[tuple[Extraction, tuple[tuple[str, str], ...]], Describer] = {}


def describer(settings: Extraction, own: Mapping[str, str]) -> Describer:
    """The same, for what pages say of themselves."""
    key = settings, tuple(own.items())
    found = _DESCRIBERS.get(key)
    if found is None or found._busy:
        found = _DESCRIBERS[key] = Describer(own, settings, workers=2)
    return found


@dataclass
class Corpus:
    """One data root under one profile."""

    root: Path
    profile: HardwareProfile

    @cached_property
    def store(self) -> Store:
        return Store(str(self.root))

    @property
    def extractor(self) -> Extractor:
        return extractor(self.profile.extraction)

    @property
    def describer(self) -> Describer:
        return describer(self.profile.extraction, self.profile.page_metadata.processors)

    def copy(self, root: Path) -> Corpus:
        """The same corpus in another data root."""
        return Corpus(Path(shutil.copytree(self.root, root)), self.profile)

    def seed(self, name: str, content: str | bytes) -> None:
        path = self.root / "seeds" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)

    def seed_texts(self, name: str, texts: dict[str, str]) -> None:
        """A .jsonl that carries these texts, by URL."""
        self.seed(name, "".join(json.dumps({"url": u, "text": t}) + "\n" for u, t in texts.items()))

    def take_in(self) -> list[SeedReport]:
        return take_in_seeds(self.store, self.profile, LOOPBACK)

    def run(self, partitions: Iterable[str] | None = None) -> dict[str, StageReport]:
        """Take in what waits and run all stages; `partitions` names those to refresh, by default all."""
        self.take_in()
        return self._run(partitions, is_whole=True)

    def run_five(self) -> dict[str, StageReport]:
        """The same without what `deduped_corpus` can do without: what pages say, personal data, signals."""
        self.take_in()
        return self._run(None, is_whole=False)

    def _run(self, partitions: Iterable[str] | None, *, is_whole: bool) -> dict[str, StageReport]:
        existing = list(self.store.batches.segments())
        scorers = quality_signals.scorers_of(self.profile.quality.classifiers)
        made = ("raw_pages", "extracted_text", "page_metadata", "personal_data", "quality_signals", "embeddings")
        reports = {n: StageReport() for n in made}
        for p in existing if partitions is None else partitions:
            reports["raw_pages"] += raw_pages.refresh(self.store, p, self.profile.crawl, LOOPBACK)
            reports["extracted_text"] += extracted_text.refresh(self.store, p, self.extractor)
            if is_whole:
                reports["page_metadata"] += page_metadata.refresh(self.store, p, self.describer)
                reports["personal_data"] += personal_data.refresh(self.store, p)
                reports["quality_signals"] += quality_signals.refresh(self.store, p, scorers)
            reports["embeddings"] += embeddings.refresh(self.store, p, self.profile)
        reports["faiss_index"] = faiss_index.refresh(self.store, existing, self.profile)
        reports["deduped_corpus"] = deduped_corpus.refresh(
            self.store,
            self.profile.deduplication,
            "test",
            quality=quality_signals.ruling_of(self.profile.quality),
        )
        return reports

    def read(self, table: TableName) -> pl.DataFrame:
        return scan(table, self.root).collect()

    def urls(self) -> set[str]:
        """URLs of the kept documents."""
        return set(self.read("deduped_corpus")["url"])

    def files(self) -> dict[str, int]:
        """Data files below the root, with their times of change."""
        return {
            str(p.relative_to(self.root)): p.stat().st_mtime_ns
            for p in self.root.rglob("*")
            if p.is_file() and ".dagster" not in p.parts
        }

    def result(self) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Both tables of `deduped_corpus`, sorted, without times and run ids: what I3 compares."""
        kept = self.read("deduped_corpus").drop("fetched_at").sort("doc_id")
        return kept, self.read("dedup_decisions").drop("run_id").sort("removed_id")
