"""Storage: tables and snapshots as Parquet below one data root. :class:`Store` names what is kept where."""

from quarry_dagster.store.files import Files
from quarry_dagster.store.layers import Layers
from quarry_dagster.store.snapshots import Snapshot, Snapshots
from quarry_dagster.store.store import Store
from quarry_dagster.store.tables import Segment, SegmentWriter, Table, digest_rows

__all__ = ["Files", "Layers", "Segment", "SegmentWriter", "Snapshot", "Snapshots", "Store", "Table", "digest_rows"]
