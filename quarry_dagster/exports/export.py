"""One export: which documents, on which side, in which files, and what is said of them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

import quarry_dagster
from quarry_dagster.digests import digest
from quarry_dagster.embed.model import DEFAULT_MODEL
from quarry_dagster.errors import ConfigError
from quarry_dagster.exports.card import Count, Facts, Split, croissant, written_card
from quarry_dagster.exports.choosing import Choosing
from quarry_dagster.exports.chunks import CHUNKS, chunked
from quarry_dagster.exports.formats import DOLMA, WRITERS, File, Shards, described
from quarry_dagster.exports.markdown_files import MarkdownFiles
from quarry_dagster.exports.place import MADE_BY, MANIFEST, Place
from quarry_dagster.exports.redaction import Redaction
from quarry_dagster.exports.rows import WRITTEN, Documents
from quarry_dagster.exports.sides import TRAIN
from quarry_dagster.exports.tokenizer import Tokenizer
from quarry_dagster.exports.tokens import IDS, TokenWriter
from quarry_dagster.profiles.settings import Export
from quarry_dagster.progress import track
from quarry_dagster.stages.corpus.filtering import Ruling
from quarry_dagster.store import Corpus, Store
from quarry_dagster.store.schemas import HOST

VERSION = 1
"""Changes with whatever changes the bytes of an export of the same corpus and settings."""
NO_TOKENS = "no_tokens"
"""Why a document is left out of which a tokenizer makes nothing."""
_SHOWN = 20


@dataclass(frozen=True)
class Exported:
    """What an export wrote, or found as it was to be written."""

    to: str
    is_new: bool
    """False: it was there already."""
    corpus: int
    splits: Mapping[str, int]
    """Documents by split."""
    size: Mapping[str, Any] | None
    """The size that the whole was to have, where one was asked for: `unit`, `asked`, `reached`."""
    left_out: Mapping[str, int]
    files: int
    bytes: int


def export(
    store: Store,
    settings: Export,
    to: str,
    *,
    since: int | str | None = None,
    force: bool = False,
) -> Exported:
    """Write the published corpus as a dataset, where it is not there as it is to be written.

    Args:
        to: a path or an fsspec URL of a folder that this export has for itself.
        since: number or tag of a corpus: only documents that came or changed since, and the ids of those that went.
        force: write it again although it is there.

    Raises:
        ConfigError: there is no corpus; a setting is wrong, or leaves nothing; or the place holds something else.
        StoreError: a table is damaged or not there yet, or the place cannot be written.
    """
    corpus = store.deduped_corpus.current()
    if corpus is None:
        raise ConfigError(f"there is no corpus in {store.files.root}: quarry run makes one")
    job = _Job(store, corpus, settings, since)
    place = Place(to)
    earlier = place.earlier()
    if earlier and earlier.get("made_from") == job.made_from and not force and place.is_whole(earlier):
        return Exported(to, False, *_told(earlier))
    if earlier:
        place.check_nothing_else(earlier)
    documents = job.choosing.chosen(job.sizes)
    with place.writing() as folder:
        made = job.write(documents, folder)
        facts = job.facts(made)
        texts = {
            "takedowns.jsonl": "".join(json.dumps({"doc_id": each}) + "\n" for each in job.takedowns),
            "README.md": written_card(facts, job.columns, job.fields, made.files),
        }
        if settings.format in ("parquet", "huggingface"):
            texts["croissant.json"] = croissant(facts, job.columns, made.files)
        if since is not None:
            texts["removed.jsonl"] = "".join(json.dumps({"doc_id": each}) + "\n" for each in job.removed())
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
        others = [described(folder, name) for name in sorted(texts)]
        manifest = job.manifest(made, [*made.files, *others])
        (folder / MANIFEST).write_text(json.dumps(manifest, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return Exported(to, True, *_told(manifest))


def _told(manifest: Mapping[str, Any]) -> tuple[int, dict[str, int], dict[str, Any] | None, dict[str, int], int, int]:
    splits = {name: facts["documents"] for name, facts in manifest["splits"].items()}
    files = manifest["files"]
    written = sum(file["bytes"] for file in files)
    return manifest["corpus"]["number"], splits, manifest["size"], manifest["left_out"], len(files), written


@dataclass
class _Made:
    """What was written of the documents."""

    files: list[File]
    splits: list[Split]
    left_out: Counter[str]
    redacted: Counter[str]
    repeats: int
    failed: Counter[str]
    languages: Counter[str]
    hosts: Counter[str]
    licenses: Counter[str]
    page_types: Counter[str]
    extractors: Counter[str]


class _Job:
    """An export of one corpus by one set of settings."""

    def __init__(self, store: Store, corpus: Corpus, settings: Export, since: int | str | None) -> None:
        self.store = store
        self.corpus = corpus
        self.settings = settings
        self.documents = Documents.of(store, corpus)
        self.redaction = Redaction(store, corpus, settings)
        self.before = store.corpus(since) if since is not None else None
        self.choosing = Choosing(store, self.documents, settings, self.before)
        name = settings.tokenizer or (DEFAULT_MODEL if settings.format == "chunks" else None)
        self.tokenizer = Tokenizer(name, settings.tokenizer_revision, settings.end_of_text) if name else None

    @property
    def made_from(self) -> str:
        """A digest of all that the bytes depend on."""
        facts = {
            "version": VERSION,
            "made_by": quarry_dagster.__version__,
            "corpus": self.corpus.number,
            "settings": self._settings(),
            "policy": self.choosing.policy.digest if self.choosing.policy else None,
            "tokenizer": self.tokenizer.digest if self.tokenizer else None,
            "redaction": self.redaction.made_from,
            "since": self.before.number if self.before else None,
            "pages": {p: s.path for p, s in self.documents.pages.items()},
            "takedowns": self.takedowns,
        }
        return digest(json.dumps(facts, sort_keys=True).encode())

    def write(self, documents: pl.DataFrame, folder: Any) -> _Made:
        """Write the documents to shards in a folder."""
        names = [TRAIN, *self.settings.splits]
        shards = {name: self._shards(folder, name) for name in names}
        made = _Made([], [], self.choosing.left_out, Counter(), 0, *(Counter() for _ in range(6)))
        words, count, tokens = Counter[str](), Counter[str](), Counter[str]()
        with track("corpus_export", documents.height, "documents") as advance:
            for rows in self._rows(documents, made.redacted, with_tokens=self.settings.format == "tokens"):
                advance(rows.height)
                for name in names:
                    of_side = rows.filter(pl.col("side") == name)
                    shaped = self._shaped(of_side.drop("side"))
                    some = of_side.join(
                        shaped.select("doc_id").unique(), on="doc_id", how="semi", maintain_order="left"
                    )
                    made.left_out[NO_TOKENS] += of_side.height - some.height
                    if some.height:
                        shards[name].write(_repeated(shaped).drop("copies", strict=False))
                        made.repeats -= some.height
                        some = _repeated(some)
                        made.repeats += some.height
                        _count(made, some)
                        words[name] += int(some["word_count"].sum())
                        count[name] += some.height
                        tokens[name] += int(some[IDS].list.len().sum()) if IDS in some.columns else 0
        if documents.height and not count:
            raise ConfigError(f"the tokenizer {self.settings.tokenizer} makes nothing of any document")
        for name in filter(count.__getitem__, names):  # readers cannot load a file without rows
            files = shards[name].close()
            made.files += files
            size = sum(file.bytes for file in files)
            told = tokens[name] if self.settings.format == "tokens" else None
            made.splits.append(Split(name, count[name], words[name], size, told))
        made.left_out += Counter()  # without what is 0
        return made

    @property
    def columns(self) -> pl.Schema:
        """The columns of the rows that are written."""
        if self.settings.format == "tokens":
            return TokenWriter.columns(WRITTEN)
        return CHUNKS if self.settings.format == "chunks" else WRITTEN

    @property
    def fields(self) -> Sequence[str]:
        """The names of the columns, as the files have them."""
        return DOLMA if self.settings.names == "dolma" else self.columns.names()

    def _shards(self, folder: Path, name: str) -> Shards | MarkdownFiles:
        """What the rows of a split are written to."""
        if self.settings.format == "markdown":
            return MarkdownFiles(folder, name)
        if self.settings.format == "tokens":
            assert self.tokenizer is not None
            return Shards(folder, name, partial(TokenWriter, schema=WRITTEN, dtype=self.tokenizer.dtype))
        make = WRITERS["jsonl" if self.settings.format == "jsonl" else "parquet", self.settings.names]
        return Shards(folder, name, partial(make, schema=self.columns))

    def _shaped(self, documents: pl.DataFrame) -> pl.DataFrame:
        """The rows that are written of documents."""
        if self.settings.format == "tokens":
            return documents.filter(pl.col(IDS).list.len() > 0)
        if self.settings.format != "chunks":
            return documents
        assert self.tokenizer is not None
        return chunked(documents, self.tokenizer, self.settings.chunk_tokens, self.settings.chunk_overlap)

    def _rows(self, documents: pl.DataFrame, redacted: Counter[str], *, with_tokens: bool) -> Iterator[pl.DataFrame]:
        """The rows of documents as they are written, as many at once as memory holds, by partition and id: the columns
        WRITTEN, all others of `documents`, and token ids where they are wanted."""
        for partition in documents["partition"].unique().sort():
            wanted = documents.filter(pl.col("partition") == partition)
            for rows in self.documents.in_blocks(partition, wanted):
                rows = self.redaction.of(rows, partition, redacted)
                if with_tokens:
                    assert self.tokenizer is not None
                    ids = list(self.tokenizer.encode(rows["text"].to_list()))
                    rows = rows.with_columns(pl.Series(IDS, ids, pl.List(pl.UInt32)))
                own = wanted.select("doc_id", *(set(wanted.columns) & {"side", "copies"}))
                yield rows.join(own, on="doc_id", maintain_order="left")

    def sizes(self, documents: pl.DataFrame, unit: str) -> pl.DataFrame:
        """How much of a size each document takes: doc_id, `size`."""
        if unit == "documents":
            return documents.select("doc_id", size=pl.lit(1, pl.Int64))
        size = pl.col(IDS).list.len() if unit == "tokens" else pl.col("text").str.len_bytes()
        with track("corpus_export", documents.height, "documents measured") as advance:
            found = [pl.DataFrame(schema={"doc_id": pl.String, "size": pl.Int64})]
            for rows in self._rows(documents, Counter(), with_tokens=unit == "tokens"):
                found.append(rows.select("doc_id", size=size.cast(pl.Int64)))
                advance(rows.height)
        return pl.concat(found)

    def removed(self) -> list[str]:
        """The ids of the documents that the corpus of before has, and this one has not."""
        assert self.before is not None
        ids = self.before.kept().select("doc_id").collect()["doc_id"]
        return ids.filter(~ids.is_in(self.documents.kept["doc_id"].implode())).sort().to_list()

    @cached_property
    def takedowns(self) -> list[str]:
        """The ids of the documents that are taken down, sorted."""
        forgotten = self.store.forgotten()
        if not forgotten.takedowns:
            return []
        rows = self.store.raw_pages.scan().filter(pl.col("outcome") == "opted_out").select("doc_id", "url").collect()
        return sorted({doc_id for doc_id, url in rows.iter_rows() if forgotten.reason(url)})

    def facts(self, made: _Made) -> Facts:
        """What the card says."""
        batches = self.documents.batches.values()
        pages = self.store.raw_pages.segments(self.store.commit_of(self.corpus.number)).values()
        outcomes = self.store.files.scan([s.path for s in pages], self.store.raw_pages.schema)
        fetched = outcomes.group_by("outcome").len().collect(engine="streaming").sort("len", "outcome", descending=True)
        by_rule = self.corpus.decisions().group_by("rule").len().collect().sort("len", "rule", descending=[True, False])
        filtered = self.corpus.filtered().group_by("rule").agg(pl.col("doc_id").n_unique()).collect()
        ruling = Ruling.of(self.corpus.inputs.policy)
        written = sum(split.documents for split in made.splits)
        return Facts(
            title=self.settings.title,
            documents=written,
            words=sum(split.words for split in made.splits),
            splits=made.splits,
            languages=_most(made.languages),
            hosts=_most(made.hosts),
            licenses=_most(made.licenses),
            page_types=_most(made.page_types),
            funnel=[
                Count("seeds", sum(segment.rows for segment in batches)),
                Count("accepted texts", self.corpus.decided),
                Count("kept documents", self.corpus.kept_documents),
                Count("in this export", written),
            ],
            fetch_outcomes=[Count(*row) for row in fetched.iter_rows()],
            removed=[Count(*row) for row in by_rule.iter_rows()],
            filtered=[Count(*row) for row in filtered.sort("doc_id", "rule", descending=[True, False]).iter_rows()],
            failed=_most(made.failed),
            policy=ruling.policy.stamp if ruling and ruling.policy.rules else None,
            of_export=_most(self.choosing.fails),
            left_out=_most(made.left_out),
            redacted=_most(made.redacted),
            repeats=made.repeats,
            size=self.choosing.size,
            extractors=sorted(made.extractors),
            settings=self._settings(),
            contact=self.settings.contact,
            corpus=self.corpus.number,
            since=self.before.number if self.before else None,
            made_by=f"{MADE_BY} {quarry_dagster.__version__}",
        )

    def manifest(self, made: _Made, files: Sequence[File]) -> dict[str, Any]:
        """What `manifest.json` says: no clock, host or path of this machine is in it."""
        batches = self.documents.batches
        ruling = Ruling.of(self.corpus.inputs.policy)
        return {
            "made_by": f"{MADE_BY} {quarry_dagster.__version__}",
            "made_from": self.made_from,
            "format": self.settings.format,
            "corpus": {
                "number": self.corpus.number,
                "kept": self.corpus.kept_documents,
                "outcomes": dict(self.corpus.outcomes),
                "rules": list(self.corpus.inputs.rules),
                "deduplication": dict(self.corpus.inputs.settings),
                "policy": ruling.policy.stamp if ruling else None,
                "made_with": dict(self.corpus.made_with),
            },
            "settings": self._settings(),
            "since": self.before.number if self.before else None,
            "extractors": sorted(made.extractors),
            "seeds": [{"partition": p, "rows": s.rows, "sha256": _sha256(s)} for p, s in batches.items()],
            "columns": list(self.fields),
            "splits": {split.name: _facts(split) for split in made.splits},
            "size": self.choosing.size,
            "repeats": made.repeats,
            "tokenizer": {"digest": self.tokenizer.digest} if self.tokenizer else None,
            "left_out": dict(sorted(made.left_out.items())),
            "redacted": dict(sorted(made.redacted.items())),
            "files": [asdict(file) for file in files],
        }

    def _settings(self) -> dict[str, Any]:
        """The settings without the paths of this machine."""
        told = self.settings.model_dump(mode="json", exclude={"to"})
        return told | {
            "policy": self.choosing.policy.stamp if self.choosing.policy else None,
            "tokenizer": Path(self.tokenizer.name).name if self.tokenizer else None,
        }


def _repeated(rows: pl.DataFrame) -> pl.DataFrame:
    """Each row as often as its column `copies` says, and once where there is no such column."""
    if "copies" not in rows.columns:
        return rows
    return rows[np.repeat(np.arange(rows.height), rows["copies"].to_numpy())]


def _facts(split: Split) -> dict[str, int]:
    return {name: value for name, value in asdict(split).items() if name != "name" and value is not None}


def _count(made: _Made, rows: pl.DataFrame) -> None:
    host = pl.when(pl.col("url").str.starts_with("urn:")).then(pl.lit("given without a URL")).otherwise(HOST)
    made.failed.update(rows["failed_rules"].explode().drop_nulls())
    for counter, column in (
        (made.languages, pl.col("language").fill_null("unknown")),
        (made.hosts, host.fill_null("unknown")),
        (made.licenses, pl.col("license").fill_null("none stated")),
        (made.page_types, pl.col("page_type").fill_null("not told")),
        (made.extractors, pl.col("extractor").fill_null("unknown")),
    ):
        counter.update(dict(rows.select(value=column).group_by("value").len().iter_rows()))


def _most(counter: Counter[str]) -> list[Count]:
    ordered = sorted(counter.items(), key=lambda item: (-item[1], item[0]))
    rest = sum(n for _, n in ordered[_SHOWN:])
    return [Count(*item) for item in ordered[:_SHOWN]] + ([Count("others", rest)] if rest else [])


def _sha256(segment: Any) -> str | None:
    return segment.entry.sha256 if segment.entry else None
