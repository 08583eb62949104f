"""`sketches`: what deciding on an embedded document needs, so that neither its text nor its vector is read again."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import polars as pl

from quarry_dagster.dedup import shingles
from quarry_dagster.index import outlined
from quarry_dagster.progress import counted
from quarry_dagster.stages.corpus.directions import Directions
from quarry_dagster.stages.vectors import read_vectors
from quarry_dagster.store import Fingerprint, SketchNotes, SketchSegment, Store, TextSegment, VectorSegment
from quarry_dagster.store.schemas import DOCUMENTS, EXTRACTED_TEXT, SKETCHES, embeddings_schema, own_id_in
from quarry_dagster.urls import SAME_PAGE_VERSION, host_of, same_page_url

VERSION = f"{shingles.VERSION}/{SAME_PAGE_VERSION}/uint64"
"""Changes whenever the same documents would give other sketches."""


def of_texts(version: str) -> str:
    """What of a VERSION says how texts are sketched: without what only says how URLs of pages are compared."""
    return re.sub(r"/page-\d+/", "/", version)


def refresh(
    store: Store,
    texts: Mapping[str, TextSegment],
    vectors: Mapping[str, VectorSegment],
    directions: Directions | None,
    *,
    anew: bool = False,
) -> dict[str, SketchSegment]:
    """Bring the sketches of partitions in line with their texts and vectors; returns their segments by partition.

    Vectors are outlined along `directions`; these are None where there is no vector. `anew` makes all again, and reads
    none of those that there are.

    Raises:
        StoreError: the store cannot be written.
    """
    existing = store.sketches.segments()
    current = {}
    for partition, segment in counted(texts.items(), "deduped_corpus", len(texts), "partitions sketched"):
        outlined_along = str(directions.file.path if directions else None)
        made_from = Fingerprint((segment.path, vectors[partition].path, outlined_along), VERSION)
        old = existing.get(partition)
        if old and old.notes.input == made_from and not anew:
            current[partition] = old
        else:
            taken_over = None if anew else old
            current[partition] = _sketch(store, segment, vectors[partition], directions, taken_over, made_from)
    return current


def documents(store: Store, segments: Iterable[SketchSegment]) -> pl.DataFrame:
    """The documents to decide on, schema DOCUMENTS and the column `partition`, in the order of the segments' rows."""
    rows = store.files.scan([s.path for s in segments], SKETCHES)
    return rows.select(*DOCUMENTS.names(), "partition").collect()


def embedded_documents(
    store: Store, texts: Mapping[str, TextSegment], vectors: Mapping[str, VectorSegment]
) -> pl.DataFrame:
    """The documents that have both a text and its vector, sorted by doc_id.

    A document whose text changed after its partition was last embedded is not among them: it waits to be embedded.

    Returns:
        Columns doc_id, url, final_url, canonical_url, text_digest, word_count, date, partition, typed as in
        EXTRACTED_TEXT; own_id.
    """
    columns = ("doc_id", "url", "final_url", "canonical_url", "text_digest", "word_count", "date", "partition")
    frames = [pl.DataFrame(schema={c: EXTRACTED_TEXT[c] for c in columns} | {"own_id": pl.String})]
    for partition, segment in texts.items():
        schema = embeddings_schema(vectors[partition].notes.dim)
        embedded = store.files.scan([vectors[partition].path], schema).select("doc_id", "text_digest")
        rows = store.files.scan([segment.path], EXTRACTED_TEXT).select(*columns, own_id=own_id_in("metadata"))
        frames.append(rows.join(embedded, on=["doc_id", "text_digest"], how="semi").collect())
    return pl.concat(frames).sort("doc_id")


def with_page_urls(documents: pl.DataFrame) -> pl.DataFrame:
    """The documents of :func:`embedded_documents` with schema DOCUMENTS and the column `partition`."""
    pages, canonical = [], []
    for final, url, says in documents.select("final_url", "url", "canonical_url").iter_rows():
        own = final or url
        pages.append(same_page_url(own))
        canonical.append(same_page_url(says) if says and host_of(says) == host_of(own) else None)
    found = {"page_url": pages, "canonical_page": canonical}
    columns = [pl.Series(name, values, dtype=pl.String) for name, values in found.items()]
    return documents.with_columns(columns).select(*DOCUMENTS.names(), "partition")


def _sketch(
    store: Store,
    text: TextSegment,
    vectors: VectorSegment,
    directions: Directions | None,
    old: SketchSegment | None,
    made_from: Fingerprint,
) -> SketchSegment:
    """Write the sketches of one partition; those that `old` has of the same texts are taken over."""
    rows = with_page_urls(embedded_documents(store, {text.partition: text}, {text.partition: vectors}))
    first = rows.unique("text_digest", keep="first", maintain_order=True).select("doc_id", "text_digest")
    is_same = old is not None and of_texts(old.notes.input.maker) == of_texts(VERSION)
    known = store.files.scan([old.path] if old and is_same else [], SKETCHES).filter(pl.col("hashes").is_not_null())
    made = [known.select("text_digest", "hashes").join(first.lazy(), on="text_digest", how="semi").collect()]
    unknown = first.join(made[0], on="text_digest", how="anti")
    if unknown.height:
        for frame in text.batches(["doc_id", "text"], rows=1024):
            fresh = frame.join(unknown, on="doc_id")
            hashes = [h.tobytes() for h in shingles.sketches(fresh["text"].to_list())]
            made.append(fresh.select("text_digest", pl.Series("hashes", hashes, dtype=pl.Binary)))
    found = first.join(pl.concat(made), on="text_digest")
    if directions and found.height:
        found = found.join(_outlines(store, vectors, directions), on="text_digest")
    else:
        found = found.with_columns(outline=pl.lit(None, pl.Binary))
    with store.sketches.write(text.partition) as writer:
        writer.append(rows.join(found.drop("text_digest"), on="doc_id", how="left"))
        writer.note(SketchNotes(input=made_from, rows=writer.rows))
    return writer.segment


def _outlines(store: Store, vectors: VectorSegment, directions: Directions) -> pl.DataFrame:
    """The outline of each text of a segment: columns text_digest, outline (Binary, float16)."""
    digests, array = read_vectors(store, vectors)
    outlines = [outline.tobytes() for outline in outlined(array, directions.array)]
    return pl.DataFrame([digests, pl.Series("outline", outlines, dtype=pl.Binary)]).unique("text_digest", keep="first")
