"""The face of a published corpus in Python: `quarry_dagster.open`."""

from __future__ import annotations

import os
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import polars as pl

from quarry_dagster.asking import questions
from quarry_dagster.asking.following import Following
from quarry_dagster.asking.questions import Contained, Neighbour
from quarry_dagster.asking.snapshot import FATES, Filters, Snapshot
from quarry_dagster.asking.what_if import Given, Verdict, decide_on
from quarry_dagster.errors import ConfigError
from quarry_dagster.extract import normal_form
from quarry_dagster.profiles.remembered import choose_for, named_classifiers
from quarry_dagster.reader import TableName, root_of, scan
from quarry_dagster.search.model import encoder_of
from quarry_dagster.stages.quality_signals import scorers_of
from quarry_dagster.store import Store

if TYPE_CHECKING:
    from quarry_dagster.explain import History


class Corpus:
    """A published corpus that is asked again and again: what it needs is loaded once.

    It stays with the corpus that it opened until :meth:`refresh` is called. `with` closes it, as :meth:`close` does.
    """

    def __init__(self, store: Store, profile: str | None) -> None:
        self._store = store
        self._profile = choose_for(store, profile).profile
        self._classifiers = named_classifiers(store, profile, self._profile)
        self._folder = TemporaryDirectory(prefix="quarry-corpus-")
        self._following = Following(store, self._profile, Path(self._folder.name))
        self._finalizer = weakref.finalize(self, self._folder.cleanup)
        self._following.refresh()

    @property
    def number(self) -> int:
        """The number of the corpus that answers."""
        return self._snapshot.number

    def refresh(self) -> bool:
        """Follow what was published since; returns whether there was anything."""
        return self._following.refresh()

    def close(self) -> None:
        """Give back the files that were made for it."""
        self._finalizer()

    def __enter__(self) -> Corpus:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def scan(self, table: TableName) -> pl.LazyFrame:
        """A table as it was when the corpus was published, see :func:`quarry_dagster.scan`."""
        return scan(table, self._store.files.root, snapshot=self.number)

    def contains(self, texts: Sequence[str]) -> list[Contained]:
        """Of each text, whether the corpus has it or what makes it needless, by which rule, and the witness."""
        return [questions.contains(self._snapshot, text) for text in _listed(texts)]

    def similar(
        self,
        texts: Sequence[str],
        k: int = 10,
        *,
        language: str | None = None,
        host: str | None = None,
        page_type: str | None = None,
        include_removed: bool = False,
    ) -> list[list[Neighbour]]:
        """Of each text, the k documents nearest to it by meaning, best first; those that were removed or kept out only
        where they are asked for.

        Raises:
            ConfigError: the profile names another model than the index was made with, or k is less than 1.
            ModelError: the model cannot be loaded.
        """
        if k < 1:
            raise ConfigError(f"k is {k}: ask for one document or more")
        texts = _listed(texts)
        if not texts:
            return []
        fates = frozenset(FATES if include_removed else ("kept",))
        filters = Filters(language, host, page_type, fates)
        vectors = encoder_of(self._snapshot.index, self._profile).encode([normal_form(text) for text in texts])
        return questions.similar(self._snapshot, vectors, k, filters, with_text=True)

    def decide(self, texts: Sequence[str | Mapping[str, str] | Given]) -> list[Verdict]:
        """Of each text, or document as a seed would give it, what a run would do with it if nothing else came.

        A mapping has `text`, and may have `url`, `id`, `name` (of the seed), `date`, `language`.

        Raises:
            ConfigError: a URL or an id is none, or the corpus is decided on cosines too.
        """
        scorers = scorers_of(self._classifiers)
        return [decide_on(self._snapshot, _given(each), scorers) for each in _listed(texts)]

    def document(self, doc_id: str, *, include_removed: bool = False) -> dict[str, Any] | None:
        """What is known of a document by its doc_id, with its text; None where the corpus does not keep it, or does not
        know it where removed ones are asked for too."""
        return questions.document(self._snapshot, doc_id.lower(), include_removed=include_removed)

    def explain(self, document: str) -> History | None:
        """What became of a document named by URL, URN, doc_id or the id of its seed; None where it is not known."""
        from quarry_dagster.explain import history

        return history(self._store.files.root, document)

    @property
    def _snapshot(self) -> Snapshot:
        snapshot = self._following.current
        assert snapshot is not None  # refresh raises where there is none
        return snapshot


def open(data: str | os.PathLike[str] | None = None, *, profile: str | None = None) -> Corpus:
    """Open the published corpus of a data root, to ask it again and again.

    Args:
        data: the data root, a path or an fsspec URL; `$QUARRY_DATA` where it is not given.
        profile: name or path of the profile; without it what the data root remembers.

    Raises:
        ConfigError: no data root is named, it has no corpus, or another version made it.
        StoreError: there is no such folder, or a file is damaged.
        IndexCorruptError: a file of the index is not the one that was published.
    """
    return Corpus(Store.existing(root_of(data)), profile)


def _listed(texts: Sequence[object]) -> list:
    if isinstance(texts, str | Mapping):
        raise ConfigError("give a list of texts, as ['a text']: one by itself may be meant as its characters")
    return list(texts)


def _given(each: str | Mapping[str, str] | Given) -> Given:
    if isinstance(each, Given):
        return each
    if isinstance(each, str):
        return Given(each)
    try:
        return Given(**each)
    except TypeError as e:
        raise ConfigError(f"a document has text, url, id, name, date and language: {e}") from e
