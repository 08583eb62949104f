"""`faiss_index`: one vector for every distinct text of all current partitions, plus a manifest of what is in it.

The texts of the published index are compared with those of the partitions that exist now, so new, changed and
vanished partitions are all handled, whatever triggered the run and whatever was missed before. A snapshot names
shards, files that never change (:mod:`quarry_dagster.index.vector_index`), and which of their vectors are passed over.

Why so: "The index is a list of shards, each a FAISS index that never changes" in docs/decisions.md.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import polars as pl

from quarry_dagster.embed import vector_id
from quarry_dagster.errors import StalePartitionsError
from quarry_dagster.index import Shard, Size, bytes_per_vector, choose_type, index_type, plan, training_size
from quarry_dagster.profiles.settings import HardwareProfile
from quarry_dagster.profiles.settings import Index as IndexSettings
from quarry_dagster.progress import track
from quarry_dagster.search.published import rows_of
from quarry_dagster.stages.report import StageReport
from quarry_dagster.stages.vectors import texts_of, vectors_of
from quarry_dagster.store import Acceptance, Index, ShardFiles, Store, VectorSegment, again
from quarry_dagster.store.corpus import write_removed

_SHARDS = "faiss_index/shards"
_BLOCK = 8192  # vectors added at once


def refresh(
    store: Store,
    partitions: Sequence[str],
    profile: HardwareProfile,
    *,
    accepted: Sequence[Acceptance] = (),
    compact: bool = False,
    force: bool = False,
    anew: bool = False,
) -> StageReport:
    """Bring the index in line with the embeddings of `partitions` (all that exist); not while a corpus is held.

    `compact` builds it anew where it has more shards than memory asks for, or passes vectors over. `force` does so in
    any case; `anew` too, so that nothing of a removed vector is left once the corpus follows. `accepted` are checks
    that stand failed: what was made under such is built anew.

    Raises:
        StalePartitionsError: a partition's vectors are of another model; the message names the partitions.
        IndexCorruptError: what the published index has cannot be read; the message says how to build it anew.
        StoreError: the store cannot be written.
    """
    with store.files.lock("corpus"):
        return again(lambda: _refresh(store, partitions, profile, accepted, compact, force, anew))


def _refresh(
    store: Store,
    partitions: Sequence[str],
    profile: HardwareProfile,
    accepted: Sequence[Acceptance],
    compact: bool,
    force: bool,
    anew: bool,
) -> StageReport:
    start = time.monotonic()
    if store.files.state().hold and not anew:
        held = store.faiss_index.current()
        return StageReport(rows=held.vectors if held else 0, outcomes=Counter(held=held.vectors if held else 0))
    model = vector_id(profile.embedding)
    existing = set(partitions)
    segments = {p: s for p, s in store.embeddings.segments().items() if p in existing and s.rows}
    stale = [p for p, s in segments.items() if s.notes.model != model]
    if stale:
        raise StalePartitionsError(
            f"{len(stale)} partitions hold vectors of another model than {model!r}: materialize embeddings for "
            f"{', '.join(stale[:5])}{' ...' if len(stale) > 5 else ''}"
        )
    paths = {p: s.path for p, s in segments.items()}
    over = store.faiss_index.number()
    published = store.faiss_index.whole() if force else store.faiss_index.current()
    shards = list(published.shards) if published else []
    is_to_be_rebuilt = (
        force
        or anew
        or published is None
        or published.model != model
        or (bool(published.accepted) and not accepted)
        or (compact and not _is_compact(published, profile))
    )
    types_fit = all(shard.kind == choose_type(profile.index, shard.vectors) for shard in shards)
    if published and not is_to_be_rebuilt and published.partitions == paths and types_fit:
        report = StageReport(rows=published.vectors, outcomes=Counter({"unchanged": published.vectors}))
        report.seconds = time.monotonic() - start
        return report
    if is_to_be_rebuilt:
        shards = []
    want = texts_of(store, segments.values())
    rows = rows_of(store.files, shards, published).with_columns(wanted=pl.col("text_digest").is_in(want.implode()))
    dim = max((s.notes.dim for s in segments.values()), default=0)
    capacity = _capacity(profile, len(want), dim)
    stay, texts = _planned(shards, rows, want, profile.index, capacity)
    # What is new stands in segments that the published index has not seen: look there first.
    seen = set(published.partitions.values()) if published else set()
    sources = sorted(segments.values(), key=lambda s: s.path in seen)
    with track("faiss_index", len(texts), "vectors") as advance:
        parts = (texts.slice(at, capacity) for at in range(0, len(texts), capacity))
        built = [_build(store, sources, part, dim, profile.index, advance) for part in parts]
    shards = [shards[i] for i in stay] + built
    removed = (
        rows.filter(pl.col("shard").is_in(stay))
        .select("wanted", position=pl.int_range(pl.len()))
        .filter(~pl.col("wanted"))
    )
    snapshot = store.faiss_index.begin()
    write_removed(snapshot, removed)
    largest = max(shards, key=lambda shard: shard.vectors).kind if shards else choose_type(profile.index, 0)
    index = Index(
        snapshot=snapshot,
        model=model,
        kind=largest,
        dim=dim,
        vectors=len(want),
        documents=sum(s.notes.rows for s in segments.values()),
        removed=removed.height,
        bytes=sum(shard.bytes for shard in shards),
        shards=shards,
        partitions=paths,
        accepted=accepted,
    )
    store.faiss_index.publish(index, keep=named_by_corpora(store), over=over)
    gone = rows.filter(pl.col("found") & ~pl.col("wanted")).height
    came = len(want) - rows.filter(pl.col("found") & pl.col("wanted")).height
    report = StageReport(rows=len(want), worked=came + gone, written=1)
    report.outcomes = Counter({"added": came, "removed": gone})
    report.seconds = time.monotonic() - start
    return report


def _planned(
    shards: Sequence[ShardFiles], rows: pl.DataFrame, want: pl.Series, settings: IndexSettings, capacity: int
) -> tuple[list[int], pl.Series]:
    """Decide which shards stay; returns their places in the list, and the text digests to build new shards of.

    New shards get the texts that no shard has, and those of the shards that do not stay.
    """
    sizes = [Size(index_type(s.kind), s.vectors, rows.filter("wanted", shard=i).height) for i, s in enumerate(shards)]
    fresh = want.filter(~want.is_in(rows["text_digest"].implode()))
    stay = plan(sizes, len(fresh), settings, capacity)
    again = rows.filter("wanted", ~pl.col("shard").is_in(stay))["text_digest"]
    return stay, pl.concat([fresh, again]).sort()


def _is_compact(index: Index, profile: HardwareProfile) -> bool:
    """Whether an index passes nothing over and has as few shards as memory allows."""
    fewest = -(-index.vectors // _capacity(profile, index.vectors, index.dim))
    return index.removed == 0 and len(index.shards) <= fewest


def _capacity(profile: HardwareProfile, vectors: int, dim: int) -> int:
    """The most vectors of one shard: FAISS builds it in memory, and is given half of the budget."""
    budget = profile.hardware.memory_budget_mb << 20
    return max(1, budget // 2 // max(1, bytes_per_vector(choose_type(profile.index, vectors), dim)))


def _build(
    store: Store,
    segments: Sequence[VectorSegment],
    texts: pl.Series,
    dim: int,
    settings: IndexSettings,
    advance: Callable[[int], None],
) -> ShardFiles:
    """Write a shard of these texts; returns its files and what they hold."""
    kind = choose_type(settings, len(texts))
    training = np.empty((0, dim), np.float32)
    if size := training_size(kind, len(texts)):
        # Evenly spaced digests are a random sample that never changes.
        sample = texts.gather_every(len(texts) // size)
        training = np.concatenate([v for _, v in vectors_of(store, segments, sample)])
    shard = Shard.create(kind, training, len(texts))
    added = []
    for digests, vectors in vectors_of(store, segments, texts):
        for at in range(0, len(vectors), _BLOCK):
            shard.add(vectors[at : at + _BLOCK])
            advance(len(vectors[at : at + _BLOCK]))
        added.append(digests)
    name = f"{_SHARDS}/{store.files.new_id()}"
    store.files.write_frame(f"{name}.parquet", pl.concat(added).to_frame())
    with store.files.create(f"{name}.faiss") as f:
        shard.write(f.write)
    return ShardFiles(
        file=f"{name}.faiss",
        texts=f"{name}.parquet",
        kind=kind,
        vectors=len(shard),
        bytes=f.bytes,
        sha256=f.sha256,
    )


def named_by_corpora(store: Store) -> set[int]:
    """The numbers of the indexes that corpora which are kept were published with, as far as these can be read."""
    return {index.number for corpus in store.deduped_corpus.readable() if (index := store.index_of(corpus))}


def behind(store: Store) -> bool:
    """Whether the published index is not made from the embeddings as they are now."""
    batches, vectors = store.batches.segments(), store.embeddings.segments()
    rows = vectors.frame().filter(pl.col("rows") > 0).join(batches.frame(), on="partition", how="semi")
    published = store.faiss_index.current()
    return dict(rows.select("partition", "path").iter_rows()) != (published.partitions if published else {})
