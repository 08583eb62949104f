"""What outlines of vectors dismiss is never near, whatever directions they are made along; and vectors go unread."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from quarry_dagster import takedown
from quarry_dagster.errors import StoreError
from quarry_dagster.index import OUTLINE_WIDTH, directions, may_reach, outlined
from quarry_dagster.stages.corpus import deduped_corpus, evidence
from quarry_dagster.stages.corpus import directions as stage
from quarry_dagster.stages.sweep import sweep
from quarry_dagster.stages.vectors import read_vectors
from quarry_dagster.store import DirectionsFile, Segment, Store
from quarry_dagster_tests.corpus import Corpus, words
from quarry_dagster_tests.test_dedup_scenarios import edited, quick, url
from quarry_dagster_tests.test_join import THRESHOLD, vectors


def _by_vector(root: Path, **sections: dict[str, object]) -> Corpus:
    """A quick corpus that looks for pairs by cosine too."""
    return quick(root, deduplication={"candidates": "sketches+vectors"}, **sections)


def _along(kind: str, dim: int) -> np.ndarray:
    """Directions made of such vectors; of a few unlike them; or any."""
    if kind == "few":
        return directions(vectors(2000, dim, seed=7), 30)
    if kind == "fitting":
        return directions(vectors(2000, dim, seed=7), OUTLINE_WIDTH)
    if kind == "of three":
        return directions(vectors(3, dim, seed=8)[:, ::-1], OUTLINE_WIDTH)
    return np.linalg.qr(np.random.default_rng(0).normal(size=(dim, dim)))[0][:, :OUTLINE_WIDTH].astype(np.float32)


@pytest.mark.parametrize("dim", [40, 384])
@pytest.mark.parametrize("kind", ["fitting", "of three", "any", "few"])
def test_every_vector_that_reaches_the_threshold_with_a_new_one_may_do_so_by_its_outline(kind: str, dim: int) -> None:
    new, old = vectors(700, dim), vectors(5000, dim, seed=1)
    old[:600] = new[:600] + np.linspace(0, 1.2, 600)[:, None] * old[:600]
    old /= np.linalg.norm(old, axis=1, keepdims=True)
    along = _along(kind, dim)
    near = (new.astype(np.float64) @ old.T.astype(np.float64)).max(axis=0) >= THRESHOLD
    assert 200 < near.sum() < 600
    may = may_reach(new, outlined(old, along), along, THRESHOLD)
    assert not (near & ~may).any()
    if kind == "fitting":
        assert may.sum() < 1000, "of the others few are left"


def test_no_vector_at_the_threshold_itself_is_dismissed() -> None:
    """Cosines a rounding error around the threshold, in a plane within the directions, across it, and outside."""
    dim = 384
    turns = np.arccos(THRESHOLD) + np.linspace(-1e-6, 1e-6, 401)
    axes = np.linalg.qr(np.random.default_rng(3).normal(size=(dim, dim)))[0]
    along = np.ascontiguousarray(axes[:, :OUTLINE_WIDTH], np.float32)
    for first, second in ((0, 1), (0, 200), (200, 201), (62, 63)):
        new = axes[:, first][None].astype(np.float32)
        old = (np.outer(np.cos(turns), axes[:, first]) + np.outer(np.sin(turns), axes[:, second])).astype(np.float32)
        near = (new.astype(np.float64) @ old.T.astype(np.float64))[0] >= THRESHOLD
        assert 0 < near.sum() < 401
        assert may_reach(new, outlined(old, along), along, THRESHOLD)[near].all()


def test_there_may_be_none_on_either_side() -> None:
    along, none, some = _along("any", 40), np.empty((0, 40), np.float32), vectors(30, 40)
    assert not may_reach(none, outlined(some, along), along, THRESHOLD).any()
    assert may_reach(some, outlined(none, along), along, THRESHOLD).shape == (0,)


def test_new_documents_read_no_vectors_but_those_near_theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = _by_vector(tmp_path, partitions={"pages_per_partition": 5})
    base = {url(i): words(i, 160) for i in range(60)}
    corpus.seed_texts("1.jsonl", base)
    corpus.run()
    read: list[str] = []

    def counted(store: Store, segment: Segment, some: list[str]) -> object:
        read.append(segment.partition)
        return read_vectors(store, segment, some)

    monkeypatch.setattr(evidence, "read_vectors", counted)
    corpus.seed_texts("2.jsonl", {url("late"): edited(base[url(7)], 20)})
    corpus.run()
    home, late = (
        corpus.read("embeddings").filter(doc_id=i)["partition"][0]
        for i in corpus.read("dedup_decisions").select("kept_id", "removed_id").row(0)
    )
    assert {home, late} <= set(read)
    assert len(set(read)) < 8, "of 13 partitions"


def test_directions_that_a_corpus_has_outgrown_are_made_anew_with_the_same_result(tmp_path: Path) -> None:
    few = {url(i): words(i % 7, 60 + i) for i in range(3)}
    more = {url(i): edited(words(i % 7, 60 + i), 20) for i in range(3, 30)}
    grown, clean = _by_vector(tmp_path / "grown"), _by_vector(tmp_path / "clean")
    corpus_of = grown.store.deduped_corpus
    grown.seed_texts("1.jsonl", few)
    grown.run()
    first = _directions(grown.store)
    grown.seed_texts("2.jsonl", {url(100): words(100, 80)})
    grown.run()
    assert _directions(grown.store) == first
    grown.seed_texts("3.jsonl", more)
    grown.run()
    assert _directions(grown.store) != first
    assert _directions(grown.store).made_of == 31
    sweep(grown.store, at_once=True)
    kept = {corpus.directions and corpus.directions.path for corpus in corpus_of.kept()}
    assert {*grown.store.files.list(stage.FOLDER)} == kept
    clean.seed_texts("all.jsonl", {**more, **few, url(100): words(100, 80)})
    clean.run()
    for mine, theirs in zip(grown.result(), clean.result(), strict=True):
        assert mine.drop("cosine", strict=False).equals(theirs.drop("cosine", strict=False))


def _directions(store: Store) -> DirectionsFile:
    published = store.deduped_corpus.current()
    assert published and published.directions
    return published.directions


def test_lost_and_damaged_directions_are_named_and_made_again_by_force(tmp_path: Path) -> None:
    corpus = _by_vector(tmp_path)
    corpus.seed_texts("1.jsonl", {url(i): words(i, 60) for i in range(5)})
    corpus.run()
    path = str(_directions(corpus.store).path)
    file = tmp_path / path
    whole = file.read_bytes()
    for i, change in enumerate((b"", whole[:-9], whole[:900] + bytes(len(whole) - 900))):
        file.write_bytes(change)
        corpus.seed_texts(f"{i}-new.jsonl", {url(f"n{i}"): words(90 + i, 60)})
        with pytest.raises(StoreError, match=rf"{path} is damaged .*restore it"):
            corpus.run()
    file.unlink()
    with pytest.raises(StoreError, match=rf"{path} is damaged .it is gone"):
        corpus.run()
    deduped_corpus.refresh(corpus.store, corpus.profile.deduplication, "test", force=True)
    assert (tmp_path / str(_directions(corpus.store).path)).exists()
    assert len(corpus.urls()) == 8


def test_a_text_has_the_sketch_and_the_outline_of_its_own_segment(tmp_path: Path) -> None:
    """The document that stands for it is not the one that has them there; a replaced segment has the same text."""
    store = Store(str(tmp_path))
    segments = []
    for outline in (1, 2):
        with store.sketches.write("p") as writer:
            made = np.array([outline], np.float16).tobytes()
            rows = [{"doc_id": "1", "hashes": b"8 octets", "outline": made}, {"doc_id": "2"}]
            writer.append([{**row, "text_digest": "x", "word_count": 5, "partition": "p"} for row in rows])
        segments.append(writer.segment)
    with store.sketches.write("empty") as writer:
        pass
    old, new = segments
    numbered = pl.DataFrame({"text": [0, 1], "text_digest": ["x", "x"], "row": [1, 3]})
    for rows, has in ((numbered, {0: 2, 1: 1}), (numbered.head(1), {0: 2}), (numbered.tail(1), {1: 1})):
        sketches, outlines = evidence.read_sketches(store, [writer.segment, new, old], rows, 1)
        assert outlines
        of_these = outlines.texts >= 0
        assert dict(zip(outlines.texts[of_these], outlines.rows[of_these, 0], strict=True)) == has
        assert sketches.texts.tolist() == [*has]
        assert sketches.hashes.tobytes() == b"8 octets" * len(has)
        assert sketches.ends.tolist() == [*range(1, len(has) + 1)]


def test_a_takedown_leaves_no_direction_that_a_forgotten_vector_had_a_part_in(tmp_path: Path) -> None:
    corpus = _by_vector(tmp_path, partitions={"pages_per_partition": 1})
    corpus.seed_texts("1.jsonl", {url("first"): words(1, 60)})
    corpus.run()
    corpus.seed_texts("2.jsonl", {url("second"): words(2, 60)})
    corpus.run()
    before = _directions(corpus.store)
    assert before.made_of == 1
    takedown.forget(corpus.store, corpus.profile, url("first"))
    after = _directions(corpus.store)
    assert after.path != before.path
    assert corpus.store.files.list(stage.FOLDER) == [after.path]
