"""One export: which documents, on which side, in which files, and what is said of them."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import polars as pl
from polars.exceptions import PolarsError

import quarry_dagster
from quarry_dagster.digests import digest
from quarry_dagster.errors import ConfigError, StoreError
from quarry_dagster.exports import leaks
from quarry_dagster.exports.card import Count, Facts, Split, croissant, written_card
from quarry_dagster.exports.formats import WRITERS, File, Shards, described
from quarry_dagster.exports.place import MADE_BY, MANIFEST, Place
from quarry_dagster.exports.rows import WRITTEN, Documents
from quarry_dagster.exports.select import cannot_be_asked, chosen, condition
from quarry_dagster.exports.sides import TRAIN, check_shares, group_of, groups, sides
from quarry_dagster.personal.redact import How, redact
from quarry_dagster.profiles.settings import Export
from quarry_dagster.progress import track
from quarry_dagster.quality.policy import Policy, read_policy
from quarry_dagster.stages.backlog import describes
from quarry_dagster.stages.corpus.filtering import Ruling
from quarry_dagster.store import Corpus, Store
from quarry_dagster.store.schemas import SKETCHES

VERSION = 1
"""Changes with whatever changes the bytes of an export of the same corpus and settings."""
KEY = "QUARRY_PSEUDONYM_KEY"
NOT_SELECTED, FAILS_POLICY, CONFLICT = "not_selected", "fails_policy", "held_out_conflict"
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
    left_out: Mapping[str, int]
    files: int
    bytes: int


def export(
    store: Store,
    settings: Export,
    to: str,
    *,
    title: str = "corpus",
    contact: str | None = None,
    since: int | str | None = None,
    force: bool = False,
) -> Exported:
    """Write the published corpus as a dataset, where it is not there as it is to be written.

    Args:
        to: a path or an fsspec URL of a folder that this export has for itself.
        title: of the dataset.
        contact: where its card says that somebody can write to.
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
    if earlier and earlier.get("made_from") == job.made_from and not force:
        return _found(to, earlier)
    documents = job.chosen()
    with place.writing() as folder:
        made = job.write(documents, folder)
        facts = job.facts(made, title, contact)
        suffix = WRITERS[settings.format, settings.names].suffix  # pyright: ignore[reportFunctionMemberAccess]
        texts = {
            "takedowns.jsonl": "".join(json.dumps({"doc_id": each}) + "\n" for each in job.takedowns),
            "README.md": written_card(facts, WRITTEN, made.files),
        }
        if settings.format in ("parquet", "huggingface"):
            texts["croissant.json"] = croissant(facts, WRITTEN, made.files, suffix)
        if since is not None:
            texts["removed.jsonl"] = "".join(json.dumps({"doc_id": each}) + "\n" for each in job.removed())
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
        others = [described(folder, name) for name in sorted(texts)]
        manifest = job.manifest(made, [*made.files, *others])
        (folder / MANIFEST).write_text(json.dumps(manifest, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return Exported(to, True, *_told(manifest))


def _found(to: str, manifest: Mapping[str, Any]) -> Exported:
    return Exported(to, False, *_told(manifest))


def _told(manifest: Mapping[str, Any]) -> tuple[int, dict[str, int], dict[str, int], int, int]:
    splits = {name: facts["documents"] for name, facts in manifest["splits"].items()}
    files = manifest["files"]
    return manifest["corpus"]["number"], splits, manifest["left_out"], len(files), sum(f["bytes"] for f in files)


@dataclass
class _Made:
    """What was written of the documents."""

    files: list[File]
    splits: list[Split]
    left_out: Counter[str]
    redacted: Counter[str]
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
        self.key = os.environ.get(KEY, "").encode()
        if settings.redact and settings.redact_with == "pseudonym" and not self.key:
            raise ConfigError(f"pseudonyms are made with a key: set {KEY} to a secret of yours, and keep it")
        self.policy: Policy | None = read_policy(settings.policy, None) if settings.policy else None
        self.before = store.corpus(since) if since is not None else None
        self.condition = condition(settings.select, self.documents.known) if settings.select else None
        self.left_out: Counter[str] = Counter()

    @property
    def made_from(self) -> str:
        """A digest of all that the bytes depend on."""
        personal = self.store.personal_data.segments().paths() if self.settings.redact else {}
        facts = {
            "version": VERSION,
            "made_by": quarry_dagster.__version__,
            "corpus": self.corpus.number,
            "settings": self._settings(),
            "policy": self.policy.digest if self.policy else None,
            "key": digest(self.key) if self.key and self.settings.redact else None,
            "since": self.before.number if self.before else None,
            "pages": {p: s.path for p, s in self.documents.pages.items()},
            "personal": personal,
            "takedowns": self.takedowns,
        }
        return digest(json.dumps(facts, sort_keys=True).encode())

    def chosen(self) -> pl.DataFrame:
        """The documents to write: columns doc_id, partition, word_count and `side`.

        Raises:
            ConfigError: none is left, or a split misses its share by half.
        """
        found = pl.concat([self._of_partition(p) for p in self.documents.partitions] or [_no_documents()])
        found = self._since(found)
        if found.is_empty():
            if self.before:
                return found.with_columns(side=pl.lit(TRAIN))
            raise ConfigError(
                f"no document is left to export: {self.corpus.kept_documents:,} are kept"
                + "".join(f", {n:,} {reason}" for reason, n in self.left_out.items())
            )
        if not self.settings.splits:
            return found.with_columns(side=pl.lit(TRAIN))
        every = self._every()
        found = found.join(every.select("doc_id", "group", "side"), on="doc_id")
        if not self.before:
            check_shares(found, self.settings.splits)
        return self._without_conflicts(found, every)

    def write(self, documents: pl.DataFrame, folder: Any) -> _Made:
        """Write the documents to shards in a folder."""
        make = WRITERS[self.settings.format, self.settings.names]
        names = [TRAIN, *self.settings.splits]
        shards = {name: Shards(folder, name, make, WRITTEN) for name in names}
        made = _Made([], [], self.left_out, *(Counter() for _ in range(6)))
        words: Counter[str] = Counter()
        count: Counter[str] = Counter()
        with track("corpus_export", documents.height, "documents") as advance:
            for partition in documents["partition"].unique().sort():
                wanted = documents.filter(pl.col("partition") == partition)
                side_of = dict(wanted.select("doc_id", "side").iter_rows())
                for rows in self.documents.in_blocks(partition, wanted):
                    rows = self._redacted(rows, partition, made.redacted)
                    _count(made, rows)
                    each_side = rows["doc_id"].replace_strict(side_of, return_dtype=pl.String)
                    for name in names:
                        some = rows.filter(each_side == name)
                        if some.height:
                            shards[name].write(some)
                            words[name] += int(some["word_count"].sum())
                            count[name] += some.height
                    advance(rows.height)
        for name in names:
            files = shards[name].close()
            made.files += files
            made.splits.append(Split(name, count[name], words[name], sum(file.bytes for file in files)))
        return made

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

    def facts(self, made: _Made, title: str, contact: str | None) -> Facts:
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
            title=title,
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
            policy=ruling.policy.stamp if ruling and ruling.policy.rules else None,
            left_out=_most(made.left_out),
            redacted=_most(made.redacted),
            extractors=sorted(made.extractors),
            settings=self._settings(),
            contact=contact,
            corpus=self.corpus.number,
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
            "columns": list(WRITTEN),
            "splits": {s.name: {"documents": s.documents, "words": s.words, "bytes": s.bytes} for s in made.splits},
            "left_out": dict(sorted(made.left_out.items())),
            "redacted": dict(sorted(made.redacted.items())),
            "files": [asdict(file) for file in files],
        }

    def _settings(self) -> dict[str, Any]:
        return self.settings.model_dump(mode="json", exclude={"to"})

    def _of_partition(self, partition: str) -> pl.DataFrame:
        """The kept documents of a partition that are wanted: columns doc_id, partition, word_count."""
        wanted, names = self.condition or (None, [])
        signals = self.policy.signals if self.policy else []
        if self.policy and not self._has_signals(partition):
            raise StoreError(f"partition {partition!r} has no quality_signals of its texts: quarry run makes them")
        rows = self.documents.frame(partition, [*names, *signals])
        before = int(self.documents.kept["partition"].eq(partition).sum())
        if wanted is not None:
            rows = chosen(rows, wanted, self.settings.select or "")
        facts = ("doc_id", "partition", "word_count", "language", "page_type", "host")
        try:
            found = rows.select(list(dict.fromkeys([*facts, *signals]))).collect(engine="streaming")
        except PolarsError as e:
            if wanted is None:
                raise
            raise ConfigError(cannot_be_asked(self.settings.select or "", e)) from e
        self.left_out[NOT_SELECTED] += before - found.height
        if self.policy:
            failing = self.policy.failures(found)["row"].unique()
            self.left_out[FAILS_POLICY] += len(failing)
            found = found.with_row_index("row").filter(~pl.col("row").is_in(failing.implode()))
        self.left_out += Counter()  # without what is 0
        return found.select("doc_id", "partition", "word_count")

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
        return every.with_columns(side=sides(every["group"], self.settings.splits, self.settings.salt))

    def _without_conflicts(self, found: pl.DataFrame, every: pl.DataFrame) -> pl.DataFrame:
        """The documents without those that are held out and share text with another side."""
        rank = {TRAIN: 0} | {name: at for at, name in enumerate(self.settings.splits, 1)}
        side = pl.col("side").replace_strict(rank, return_dtype=pl.Int64)
        texts = pl.concat(frame.select("doc_id", "text_digest") for frame in self._sketches())
        ranks = texts.join(every.select("doc_id", rank=side), on="doc_id")
        held = found.filter(pl.col("side") != TRAIN)
        out = leaks.conflicts(held, ranks, leaks.Again(self._sketches))
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

    def _sketches(self) -> Iterator[pl.DataFrame]:
        for path in self.corpus.sketches.values():
            yield self.store.files.scan([path], SKETCHES).select("doc_id", "text_digest", "hashes").collect()

    def _redacted(self, rows: pl.DataFrame, partition: str, counted: Counter[str]) -> pl.DataFrame:
        """The rows with the personal data in their texts replaced."""
        kinds = self.settings.redact
        if not kinds:
            return rows
        segment = self.store.personal_data.segment(partition)
        texts = self.store.extracted_text.at(self.corpus.inputs.texts[partition])
        if segment is None or not describes(segment, texts):
            raise StoreError(f"partition {partition!r} has no personal_data of its texts: quarry run makes it")
        how: dict[str, How] = dict.fromkeys(kinds, self.settings.redact_with)
        found: dict[str, list[Any]] = {}
        for frame in segment.matching(set(rows["doc_id"]), ["doc_id", "found"]):
            found |= {doc_id: places or [] for doc_id, places in frame.iter_rows()}
        made = []
        for doc_id, text in rows.select("doc_id", "text").iter_rows():
            places = [place for place in found.get(doc_id, []) if place["type"] in kinds]
            counted.update(place["type"] for place in places)
            made.append(redact(text, places, how, key=self.key) if places else text)
        return rows.with_columns(text=pl.Series(made, dtype=pl.String))


def _no_documents() -> pl.DataFrame:
    return pl.DataFrame(schema={"doc_id": pl.String, "partition": pl.String, "word_count": pl.Int64})


def _count(made: _Made, rows: pl.DataFrame) -> None:
    host = pl.coalesce(
        pl.col("url").str.extract(r"^[A-Za-z]+://(?:[^/?#@]*@)?([^/?#:]+)", 1), pl.lit("given without a URL")
    )
    for counter, column in (
        (made.languages, pl.col("language").fill_null("unknown")),
        (made.hosts, host),
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
