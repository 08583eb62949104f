"""`quality_signals` of one partition: what every accepted text is like, in numbers.

A text is looked at anew only where it changed; equal texts of a partition are looked at once.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping

import polars as pl

from quarry_dagster.digests import digest
from quarry_dagster.errors import ConfigError, StoreError
from quarry_dagster.extract.markdown import plain_form
from quarry_dagster.profiles.settings import Classifier, Quality
from quarry_dagster.progress import track
from quarry_dagster.quality.classifiers import Scorer, fasttext_scorer, python_scorer, version_of
from quarry_dagster.quality.policy import read_policy
from quarry_dagster.quality.signals import SIGNALS, VERSION, Text, signals
from quarry_dagster.stages.corpus.filtering import Ruling
from quarry_dagster.stages.report import StageReport
from quarry_dagster.store import Fingerprint, SignalNotes, SignalSegment, Store, again
from quarry_dagster.store.schemas import ACCEPTED, quality_signals_schema

_AT_ONCE = 256
_READ = ("doc_id", "outcome", "text_digest", "text", "text_format", "language", "page_type")
NAMES = tuple(signal.name for signal in SIGNALS)
"""The signals that every text has."""


def scorers_of(classifiers: Mapping[str, Classifier]) -> dict[str, Scorer]:
    """The classifiers of a profile, ready to be asked, by the names of their signals.

    Raises:
        ConfigError: one cannot be loaded, or has the name of a signal that there is.
    """
    found: dict[str, Scorer] = {}
    for name, each in classifiers.items():
        if name in quality_signals_schema(NAMES):
            raise ConfigError(f"quality.classifiers.{name}: there is a column of this name already")
        if each.python:
            found[name] = python_scorer(name, each.python)
        elif each.fasttext and each.label:
            found[name] = fasttext_scorer(name, each.fasttext, each.label)
    return found


def ruling_of(settings: Quality) -> Ruling:
    """The policy of a profile, and its action.

    Raises:
        ConfigError: as :func:`quarry_dagster.quality.policy.read_policy`.
    """
    policy = read_policy(settings.policy, [*NAMES, *settings.classifiers])
    return Ruling(policy, settings.action or policy.action)


def refresh(store: Store, partition: str, scorers: Mapping[str, Scorer], *, force: bool = False) -> StageReport:
    """Bring one partition of `quality_signals` up to date with its texts.

    `scorers` give further signals, by name. `force` looks at its texts anew although nothing changed.

    Raises:
        ConfigError: a scorer of the user's own fails.
        StoreError: the partition has no texts, or the store cannot be written.
    """
    with store.quality_signals.lock(partition):
        return again(lambda: _refresh(store, partition, scorers, force))


def _refresh(store: Store, partition: str, scorers: Mapping[str, Scorer], force: bool) -> StageReport:
    start = time.monotonic()
    texts = store.extracted_text.segment(partition)
    if texts is None:
        raise StoreError(f"partition {partition!r} has no extracted_text yet: materialize extracted_text first")
    names = [*NAMES, *scorers]
    fingerprint = Fingerprint((texts.path,), " ".join(filter(None, (VERSION, version_of(scorers)))))
    old = store.quality_signals.segment(partition)
    report = StageReport(rows=texts.notes.documents)
    if old is not None and old.notes.input == fingerprint and not force:
        report.outcomes = Counter({"unchanged": report.rows})
        report.seconds = time.monotonic() - start
        return report
    schema = quality_signals_schema(names)
    known = pl.DataFrame(schema=schema) if force else _earlier(old, fingerprint.maker, schema)
    with (
        store.quality_signals.write(partition, schema) as writer,
        track("quality_signals", report.rows, "texts") as advance,
    ):
        for frame in texts.batches(_READ, rows=_AT_ONCE):
            documents = frame.filter(ACCEPTED).drop("outcome")
            documents = documents.with_columns(pl.Series("made_from", _made_from(documents), dtype=pl.String))
            distinct = documents.unique("made_from", keep="first", maintain_order=True)
            new = distinct.filter(~pl.col("made_from").is_in(known["made_from"].implode()))
            if not new.is_empty():
                found = rated(new, scorers).with_columns(made_from=new["made_from"])
                known = pl.concat([known, found], how="diagonal").select(schema.names())
                report.worked += new.height
            values = known.select("made_from", *names)
            rows = documents.drop("text", "text_format").join(values, on="made_from", how="left", maintain_order="left")
            writer.append(rows.with_columns(signals=pl.lit(VERSION), partition=pl.lit(partition)))
            advance(documents.height)
        writer.note(SignalNotes(input=fingerprint, rows=writer.rows, names=names))
    report.written = 1
    report.outcomes = +Counter(rated=report.worked, reused=writer.rows - report.worked)
    report.seconds = time.monotonic() - start
    return report


def _made_from(documents: pl.DataFrame) -> list[str]:
    """What the signals of each document depend on: its text, how that is to be read, and its language."""
    rows = documents.select("text", "text_format", "language").iter_rows()
    return [digest("\x1f".join(map(str, row)).encode("utf-8", "surrogatepass")) for row in rows]


def rated(documents: pl.DataFrame, scorers: Mapping[str, Scorer]) -> pl.DataFrame:
    """The signals of documents (columns text, text_format, language), a Float32 column each."""
    texts = [Text(text or "", *others) for text, *others in documents.select("text", "text_format", "language").rows()]
    found = signals(texts)
    plain = [plain_form(text.text, text.text_format) for text in texts] if scorers else []
    scores = [pl.Series(name, scorer.score(plain), dtype=pl.Float32) for name, scorer in scorers.items()]
    return found.with_columns(scores)


def _earlier(old: SignalSegment | None, maker: str, schema: pl.Schema) -> pl.DataFrame:
    """The rows of the earlier version, a text once, where the same definitions made them."""
    if old is None or old.notes.input.maker != maker:
        return pl.DataFrame(schema=schema)
    rows = [pl.DataFrame(schema=schema), *old.batches(schema.names(), rows=4096)]
    return pl.concat(rows).unique("made_from", keep="first")
