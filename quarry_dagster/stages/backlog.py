"""Which partitions are behind: not crawled, extracted and embedded from their batch as it is now."""

from __future__ import annotations

from quarry_dagster.store import Segment, Store


def backlog(store: Store) -> dict[str, str]:
    """The partitions that are behind, in order, each with the versions that its tables have.

    As long as these stay the same, another run would do what the last one did.
    """
    tables = (store.raw_pages.segments(), store.extracted_text.segments(), store.embeddings.segments())
    found: dict[str, str] = {}
    for partition, batch in store.batches.segments().items():
        made = [table.get(partition) for table in tables]
        if not _in_line(batch, *made):
            found[partition] = ".".join(str(s.version if s else 0) for s in (batch, *made))
    return found


def _in_line(batch: Segment, raw: Segment | None, texts: Segment | None, vectors: Segment | None) -> bool:
    if raw is None or texts is None or vectors is None:
        return False
    return (
        raw.metadata["batch"] == batch.version
        and texts.metadata["input"].startswith(raw.metadata["content"])
        and vectors.metadata["input"].startswith(texts.metadata["content"])
    )
