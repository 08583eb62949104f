"""The map of the data root: which table or snapshot lies where."""

from __future__ import annotations

from functools import cached_property

from quarry_dagster.errors import StoreError
from quarry_dagster.store import schemas
from quarry_dagster.store.files import Files
from quarry_dagster.store.layers import Layers
from quarry_dagster.store.snapshots import Snapshots
from quarry_dagster.store.tables import Table

SEEDS = "seeds"


class Store:
    """Everything below one data root (a path or an fsspec URL).

    Raises:
        StoreError: the root cannot be opened.
    """

    def __init__(self, root: str) -> None:
        self.files = Files(root)

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
    def batches(self) -> Table:
        """What each partition has to fetch, or was given."""
        return Table(self.files, "batches", schemas.BATCHES)

    @cached_property
    def raw_pages(self) -> Table:
        return Table(self.files, "raw_pages", schemas.RAW_PAGES)

    @cached_property
    def extracted_text(self) -> Table:
        return Table(self.files, "extracted_text", schemas.EXTRACTED_TEXT)

    @cached_property
    def embeddings(self) -> Table:
        return Table(self.files, "embeddings", schemas.embeddings_schema(1))

    @cached_property
    def sketches(self) -> Table:
        """What deciding on a document needs of its text and vector; derived from `extracted_text` and `embeddings`."""
        return Table(self.files, "sketches", schemas.SKETCHES)

    @cached_property
    def kept(self) -> Layers:
        """The kept documents; a snapshot of `deduped_corpus` names its layers of this and the next two."""
        return Layers(self.files, "deduped_corpus/kept", schemas.KEPT, key=["doc_id"])

    @cached_property
    def decisions(self) -> Layers:
        """The decisions, a row a removed document."""
        return Layers(self.files, "deduped_corpus/decisions", schemas.DEDUP_DECISIONS, key=["removed_id"])

    @cached_property
    def pairs(self) -> Layers:
        """Scores of the pairs of texts that the decisions were drawn from."""
        return Layers(self.files, "deduped_corpus/pairs", schemas.SCORED_PAIRS, key=["left", "right"])

    @cached_property
    def faiss_index(self) -> Snapshots:
        return Snapshots(self.files, "faiss_index")

    @cached_property
    def deduped_corpus(self) -> Snapshots:
        return Snapshots(self.files, "deduped_corpus")
