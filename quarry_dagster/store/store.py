"""The map of the data root: which table or snapshot lies where."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from functools import cached_property

from quarry_dagster.errors import ConfigError, StoreError
from quarry_dagster.store import schemas
from quarry_dagster.store.corpus import Corpus, Index, decision_layers, filter_layers, kept_layers, pair_layers
from quarry_dagster.store.failed_checks import FailedChecks
from quarry_dagster.store.files import Files
from quarry_dagster.store.forgotten import Forgotten
from quarry_dagster.store.layers import Layers
from quarry_dagster.store.notes import FactNotes, Notes, RawPagesNotes, SignalNotes, SketchNotes, TextNotes, VectorNotes
from quarry_dagster.store.root import Root
from quarry_dagster.store.snapshots import Snapshots
from quarry_dagster.store.state import CORPUS, Line, State
from quarry_dagster.store.tables import SignalTable, Table


class Store:
    """Everything below one data root (a path or an fsspec URL).

    Raises:
        StoreError: the root cannot be opened.
    """

    def __init__(self, root: str) -> None:
        self.files = Files(root)
        if self.files.is_local and self.files.exists("") and not self.files.fs.isdir(self.files.full("")):
            raise StoreError(f"{self.files.full('')} is a file: a data root is a folder")

    @classmethod
    def existing(cls, root: str) -> Store:
        """The store of a root that is there: who reads, or takes out, does not mean an empty one.

        Raises:
            StoreError: there is no such folder. Of an object store, where there are no folders, that cannot be said.
        """
        store = cls(root)
        if store.files.is_local and not store.files.exists(""):
            raise StoreError(f"there is no data root {store.files.full('')}: name the folder that quarry run wrote to")
        return store

    @cached_property
    def batches(self) -> Table[Notes]:
        """What each partition has to fetch, or was given."""
        return Table(self.files, "batches", schemas.BATCHES, Notes, forgets="its row is emptied")

    @cached_property
    def raw_pages(self) -> Table[RawPagesNotes]:
        """What fetching each seed gave."""
        return Table(self.files, "raw_pages", schemas.RAW_PAGES, RawPagesNotes, forgets="its row is emptied")

    @cached_property
    def extracted_text(self) -> Table[TextNotes]:
        """The main text of each page, or why there is none."""
        return Table(
            self.files, "extracted_text", schemas.EXTRACTED_TEXT, TextNotes, forgets="its partition is made again"
        )

    @cached_property
    def page_metadata(self) -> Table[FactNotes]:
        """What the page of each accepted document says of itself."""
        forgets = "its rows are taken out with its text"
        return Table(self.files, "page_metadata", schemas.PAGE_METADATA, FactNotes, forgets=forgets)

    @cached_property
    def personal_data(self) -> Table[FactNotes]:
        """Where the personal data of each accepted document stands."""
        schema = schemas.PERSONAL_DATA_BY_DOCUMENT
        return Table(self.files, "personal_data", schema, FactNotes, forgets="its rows are taken out with its text")

    @cached_property
    def quality_signals(self) -> SignalTable:
        """What each accepted text is like, in numbers; a segment has the columns of its signals."""
        schema = schemas.quality_signals_schema()
        return SignalTable(
            self.files, "quality_signals", schema, SignalNotes, forgets="its rows are taken out with its text"
        )

    @cached_property
    def embeddings(self) -> Table[VectorNotes]:
        """A vector for each accepted document; a segment has the dimension of its model."""
        return Table(
            self.files, "embeddings", schemas.embeddings_schema(1), VectorNotes, forgets="its partition is made again"
        )

    @cached_property
    def sketches(self) -> Table[SketchNotes]:
        """What deciding on a document needs of its text and vector; derived from `extracted_text` and `embeddings`."""
        return Table(self.files, "sketches", schemas.SKETCHES, SketchNotes, forgets="it is made again with the corpus")

    @cached_property
    def problems(self) -> Table[Notes]:
        """What the crawl of a partition found and could not use."""
        return Table(self.files, "problems", schemas.PROBLEMS, Notes, forgets="its rows are taken out")

    @cached_property
    def consent(self) -> Table[Notes]:
        """What the hosts of a partition allow."""
        return Table(self.files, "consent", schemas.CONSENT, Notes, forgets="its rows are taken out")

    def tables(self) -> list[Table]:
        """All partitioned tables."""
        documents = [self.batches, self.raw_pages, self.extracted_text, self.page_metadata, self.personal_data]
        return [*documents, self.quality_signals, self.embeddings, self.sketches, self.problems, self.consent]

    @cached_property
    def kept(self) -> Layers:
        """The kept documents; a corpus names its layers of this and the next three."""
        return kept_layers(self.files)

    @cached_property
    def decisions(self) -> Layers:
        """The decisions, a row a removed document."""
        return decision_layers(self.files)

    @cached_property
    def filtered(self) -> Layers:
        """The rules that keep documents out of the corpus."""
        return filter_layers(self.files)

    @cached_property
    def pairs(self) -> Layers:
        """Scores of the pairs of texts that the decisions were drawn from."""
        return pair_layers(self.files)

    @cached_property
    def faiss_index(self) -> Snapshots[Index]:
        """The published index, and those of before that corpora are kept with."""
        return Snapshots(self.files, "faiss_index", Index.of)

    @cached_property
    def deduped_corpus(self) -> Snapshots[Corpus]:
        """The published corpus, and those of before that are kept."""
        return Snapshots(self.files, "deduped_corpus", Corpus.of)

    def corpus(self, named: int | str) -> Corpus:
        """A published corpus that is kept, by its number or its tag.

        Raises:
            ConfigError: none is named by it.
        """
        state = self.files.state()
        number = _number(state, named)
        if number is not None and (corpus := self.deduped_corpus.at(number)):
            return corpus
        there = ", ".join(str(each.number) for each in state.publishes if each.asset == CORPUS)
        tags = f"; tags: {', '.join(sorted(state.tags))}" if state.tags else ""
        raise ConfigError(f"no corpus that is kept is named {str(named)!r}: there are {there or 'none'}{tags}")

    def commit_of(self, named: int | str) -> int:
        """The commit that published a corpus: what the tables were then, they were at it.

        Raises:
            ConfigError: none that is kept is named by it.
        """
        number = self.corpus(named).snapshot.number
        publish = self.files.state().publish(CORPUS, number)
        assert publish is not None
        return publish.commit

    def files_of_current(self) -> set[str]:
        """Paths of all files that the published index and corpus are made of, as far as their manifests can be read."""
        found: set[str] = set()
        state = self.files.state()
        for asset, number in state.currents.items():
            if publish := state.publish(asset, number):
                found.add(publish.manifest)
        for part in (0, 1):
            with suppress(StoreError):  # a manifest is damaged, which is named by itself
                content = self.published()[part]
                found.update(content.files_named() if content else ())
                found.update(content.inputs.texts.values() if isinstance(content, Corpus) else ())
        with suppress(StoreError):
            index = self.faiss_index.current()
            found.update(index.files_named() if index else ())
        return found

    def root(self) -> Root:
        """What the data root knows of itself."""
        return Root.read(self.files)

    def forgotten(self) -> Forgotten:
        """What is kept out for good, as the list stands now."""
        return Forgotten.read(self.files)

    def failed_checks(self) -> FailedChecks:
        """The blocking checks that stand failed now."""
        return FailedChecks.read(self.files)

    def published(self) -> tuple[Index | None, Corpus | None]:
        """The corpus, and the index that it was published with; the newest index where it names none that is there."""
        corpus = self.deduped_corpus.current()
        own = self.index_of(corpus) if corpus else None
        return own or self.faiss_index.current(), corpus

    def index_of(self, corpus: Corpus) -> Index | None:
        """The index that a corpus was published with; None where it is gone.

        A corpus of before corpora named it was made from the vectors that its index holds.
        """
        named = [self.faiss_index.at(corpus.index)] if corpus.index is not None else self.faiss_index.kept()
        return next((index for index in named if index and index.partitions == corpus.inputs.vectors), None)

    def delete_partitions(self, partitions: Collection[str]) -> None:
        """Take partitions out of every table, in one commit. What is published stays as it is until the next is."""
        names = sorted(partitions)

        def decide(state: State) -> list[Line]:
            found = [(table.name, state.table(table.name).get(name)) for table in self.tables() for name in names]
            gone = [(table, entry) for table, entry in found if entry]
            return [{"remove": {"table": table, "partition": e.partition, "path": e.path}} for table, e in gone]

        self.files.log.commit(decide)

    def keeping(self, corpora: int) -> list[int]:
        """The numbers of the corpora that stay readable when another is published, of so many in all, and the tagged.

        One that somebody went back to stays as long as it is published.
        """
        state = self.files.state()
        numbers = [each.number for each in state.publishes if each.asset == CORPUS]
        last = numbers[len(numbers) - max(0, corpora - 1) :]
        return sorted({*last, *state.tags.values(), *([state.hold.number] if state.hold else [])} & {*numbers})


def _number(state: State, named: int | str) -> int | None:
    """The number of a corpus that is named by its number or its tag; None where no tag is called so."""
    if isinstance(named, int):
        return named
    return state.tags.get(named, int(named) if named.isdigit() else None)
