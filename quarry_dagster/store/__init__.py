"""Storage: tables and snapshots as Parquet below one data root. :class:`Store` names what is kept where.

Nothing here knows what is above it: who reads and writes the tables, and why.
"""

from quarry_dagster.store.corpus import (
    Acceptance,
    Corpus,
    CorpusInputs,
    CorpusLayers,
    DirectionsFile,
    Index,
    Past,
    ShardFiles,
)
from quarry_dagster.store.files import Files
from quarry_dagster.store.forgotten import Forgotten, Takedown
from quarry_dagster.store.layers import Layers
from quarry_dagster.store.log import LostRace, again
from quarry_dagster.store.notes import (
    FactNotes,
    Fingerprint,
    Notes,
    RawPagesNotes,
    SignalNotes,
    SketchNotes,
    TextNotes,
    VectorNotes,
)
from quarry_dagster.store.root import Root
from quarry_dagster.store.snapshots import Snapshot, Snapshots
from quarry_dagster.store.store import Store
from quarry_dagster.store.tables import (
    FactSegment,
    PagesSegment,
    Segment,
    Segments,
    SegmentWriter,
    SignalSegment,
    SignalTable,
    SketchSegment,
    Table,
    TextSegment,
    VectorSegment,
    digest_rows,
)

__all__ = [
    "Acceptance",
    "Corpus",
    "CorpusInputs",
    "CorpusLayers",
    "DirectionsFile",
    "FactNotes",
    "FactSegment",
    "Files",
    "Fingerprint",
    "Forgotten",
    "Index",
    "Layers",
    "LostRace",
    "Notes",
    "PagesSegment",
    "Past",
    "RawPagesNotes",
    "Root",
    "Segment",
    "SegmentWriter",
    "Segments",
    "ShardFiles",
    "SignalNotes",
    "SignalSegment",
    "SignalTable",
    "SketchNotes",
    "SketchSegment",
    "Snapshot",
    "Snapshots",
    "Store",
    "Table",
    "Takedown",
    "TextNotes",
    "TextSegment",
    "VectorNotes",
    "VectorSegment",
    "again",
    "digest_rows",
]
