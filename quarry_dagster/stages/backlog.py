"""Which partitions are behind: not crawled, extracted and embedded from their batch as it is now."""

from __future__ import annotations

from quarry_dagster.store import Notes, PagesSegment, Segment, Store, TextSegment, VectorSegment


def backlog(store: Store) -> dict[str, str]:
    """The partitions that are behind, in order, each with the versions that its tables have.

    As long as these stay the same, another run would do what the last one did.
    """
    raw, texts, vectors = store.raw_pages.segments(), store.extracted_text.segments(), store.embeddings.segments()
    found: dict[str, str] = {}
    for partition, batch in store.batches.segments().items():
        made = (raw.get(partition), texts.get(partition), vectors.get(partition))
        if not _in_line(batch, *made):
            found[partition] = ".".join(str(segment.version if segment else 0) for segment in (batch, *made))
    return found


def _in_line(
    batch: Segment[Notes],
    raw: PagesSegment | None,
    texts: TextSegment | None,
    vectors: VectorSegment | None,
) -> bool:
    """Whether each table of a partition is made from what the one before it holds now."""
    if raw is None or texts is None or vectors is None:
        return False
    return raw.notes.batch == batch.version and follows(texts, raw) and follows(vectors, texts)


def follows(made: TextSegment | VectorSegment, source: PagesSegment | TextSegment) -> bool:
    """Whether a segment is made from what its source holds now; otherwise it waits to be materialized again."""
    return made.notes.input.inputs == (source.notes.content,)
