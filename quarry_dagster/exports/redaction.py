"""Rows as they are given away: without the personal data that is in them."""

from __future__ import annotations

import json
import os
from collections import Counter
from typing import Any

import polars as pl

from quarry_dagster.digests import digest
from quarry_dagster.errors import ConfigError, StoreError
from quarry_dagster.personal import personal_data
from quarry_dagster.personal.redact import How, redact
from quarry_dagster.profiles.settings import Export
from quarry_dagster.stages.backlog import describes
from quarry_dagster.store import Corpus, Store

KEY = "QUARRY_PSEUDONYM_KEY"
"""The environment variable with the secret that pseudonyms are made with."""


class Redaction:
    """What replaces personal data in the rows of a corpus.

    Raises:
        ConfigError: pseudonyms are asked for, and there is no key.
    """

    def __init__(self, store: Store, corpus: Corpus, settings: Export) -> None:
        self._store = store
        self._corpus = corpus
        self._how: dict[str, How] = dict.fromkeys(settings.redact, settings.redact_with)
        self._key = os.environ.get(KEY, "").encode()
        if "pseudonym" in self._how.values() and not self._key:
            raise ConfigError(f"pseudonyms are made with a key: set {KEY} to a secret of yours, and keep it")

    @property
    def made_from(self) -> dict[str, Any]:
        """What replaced texts depend on: the files of `personal_data`, and a digest of the key; empty without kinds."""
        if not self._how:
            return {}
        key = digest(self._key) if "pseudonym" in self._how.values() else None
        return {"personal": self._store.personal_data.segments().paths(), "key": key}

    def of(self, rows: pl.DataFrame, partition: str, counted: Counter[str]) -> pl.DataFrame:
        """The rows of a partition with what was found in texts, titles, authors and own columns replaced.

        Texts are replaced as the table `personal_data` says; of the other columns it has nothing, and they are looked
        through here. `counted` counts what was replaced, by kind.

        Raises:
            StoreError: the table is not there yet, or not of these texts.
        """
        if not self._how:
            return rows
        found = self._found(rows, partition)
        texts = [self._replaced(text, found.get(doc_id, []), counted) for doc_id, text in rows["doc_id", "text"].rows()]
        own = [
            value and json.dumps(self._looked_through(json.loads(value), counted), ensure_ascii=False)
            for value in rows["metadata"]
        ]
        others = {name: [self._looked_through(value, counted) for value in rows[name]] for name in ("title", "author")}
        columns = {"text": texts, "metadata": own, **others}
        return rows.with_columns(pl.Series(name, values, pl.String) for name, values in columns.items())

    def _found(self, rows: pl.DataFrame, partition: str) -> dict[str, list[Any]]:
        """What the table has of the texts of these rows, by doc_id."""
        segment = self._store.personal_data.segment(partition)
        texts = self._store.extracted_text.at(self._corpus.inputs.texts[partition])
        if segment is None or not describes(segment, texts):
            raise StoreError(f"partition {partition!r} has no personal_data of its texts: quarry run makes it")
        frames = segment.matching(set(rows["doc_id"]), ["doc_id", "found"])
        return {doc_id: places or [] for frame in frames for doc_id, places in frame.iter_rows()}

    def _looked_through(self, value: Any, counted: Counter[str]) -> Any:
        """A value of JSON with what is found in its texts replaced; its keys stay."""
        if isinstance(value, dict):
            return {key: self._looked_through(each, counted) for key, each in value.items()}
        if isinstance(value, list):
            return [self._looked_through(each, counted) for each in value]
        if not isinstance(value, str):
            return value
        return self._replaced(value, [place._asdict() for place in personal_data(value)], counted)

    def _replaced(self, text: str, places: list[Any], counted: Counter[str]) -> str:
        wanted = [place for place in places if place["type"] in self._how]
        counted.update(place["type"] for place in wanted)
        return redact(text, wanted, self._how, key=self._key) if wanted else text
