"""Texts that very many share a part with: bounded work, and the same corpus whatever the order in which they came."""

import random
import tempfile
import zlib
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from quarry_dagster.dedup import candidates, scoring
from quarry_dagster.extract import count_words, text_digest
from quarry_dagster.index import kernels
from quarry_dagster.profiles.settings import Deduplication
from quarry_dagster.reader import scan
from quarry_dagster.stages.corpus import deduped_corpus
from quarry_dagster.store import Acceptance, Fingerprint, Store, VectorNotes
from quarry_dagster.store.schemas import EXTRACTED_TEXT, embeddings_schema
from quarry_dagster_tests.corpus import publish_index, text_notes, words

_DIM = 16


def _vector(text: str) -> np.ndarray:
    """A unit vector that similar texts have a similar one of."""
    seeds = [zlib.crc32(w.encode()) for w in text.split()]
    total = np.sum([np.random.default_rng(s).standard_normal(_DIM) for s in seeds], axis=0)
    return (total / np.linalg.norm(total)).astype(np.float32)


def _put(store: Store, partition: str, texts: dict[str, str]) -> None:
    """A partition of extracted texts and their vectors, without crawling or a model."""
    rows = [
        {
            "doc_id": f"{zlib.crc32(url.encode()):020x}",
            "url": url,
            "outcome": "extracted",
            "text": text,
            "word_count": count_words(text),
            "text_digest": text_digest(text),
            "partition": partition,
        }
        for url, text in texts.items()
    ]
    with store.extracted_text.write(partition) as writer:
        writer.append(pl.DataFrame(rows, schema=EXTRACTED_TEXT))
        writer.note(text_notes(len(rows)))
    vectors = [
        {k: r[k] for k in ("doc_id", "text_digest", "partition")} | {"embedding": _vector(r["text"]), "model": "m"}
        for r in rows
    ]
    with store.embeddings.write(partition, embeddings_schema(_DIM)) as writer:
        writer.append(pl.DataFrame(vectors, schema=embeddings_schema(_DIM)))
        writer.note(VectorNotes(input=Fingerprint(("x",), "m"), rows=len(rows), model="m", dim=_DIM))
    with store.batches.write(partition):
        pass


def _decide(store: Store, deduplication: Deduplication) -> int:
    """Refresh the corpus; returns how many pairs were compared."""
    publish_index(store, "m")
    accepted = [Acceptance(what=deduped_corpus.SHRINK, who="a test", at="")]
    return deduped_corpus.refresh(store, deduplication, "test", accepted=accepted).worked


def _result(store: Store) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    snapshot = store.deduped_corpus.current()
    assert snapshot is not None
    return (
        scan("deduped_corpus", store.files.root).drop("fetched_at").collect().sort("doc_id"),
        scan("dedup_decisions", store.files.root).drop("run_id").collect().sort("removed_id"),
        snapshot.pairs().collect().sort("left", "right"),
    )


def _edited(text: str, rng: random.Random, changes: int) -> str:
    """The text with a few words changed, so long as before."""
    out = text.split()
    for _ in range(changes):
        out[rng.randrange(len(out))] = "".join(rng.choices("aeimnorst", k=6))
    return " ".join(out)


def _crowd(rng: random.Random) -> list[str]:
    """Edits of one text, pages of one template, parts and unions of them, and texts of their own."""
    base, template = words(1, 150), words(2, 120)
    edits = [_edited(base, rng, rng.randint(1, 12)) for _ in range(14)]
    pages = [f"{template} {words(100 + i, 90)}" for i in range(10)]
    pages += [_edited(p, rng, 5) for p in pages[:4]]
    return [base, *edits, *pages, words(2, 60), f"{base} {template}", *(words(50 + i) for i in range(3))]


_TEXTS = _crowd(random.Random(0))
_PARTITIONS = ("p0", "p1", "p2", "p3")
_documents = st.dictionaries(st.integers(0, 29), st.integers(0, len(_TEXTS) - 1), max_size=10)
_step = st.tuples(st.sampled_from(_PARTITIONS), _documents)
"""A partition as it is from now on: which addresses have which texts."""


@given(
    history=st.lists(_step, min_size=2, max_size=12),
    keep=st.sampled_from([("longest",), ("earliest", "doc_id"), ("doc_id",)]),
    mode=st.sampled_from(["balanced", "aggressive", "annotate"]),
    by_vector_alone=st.booleans(),
    settings=st.tuples(st.sampled_from(["keep", "remove"]), st.sampled_from(["sketches", "sketches+vectors"])),
)
def test_any_history_of_a_crowd_ends_as_one_clean_build(
    history: list[tuple[str, dict[int, int]]],
    keep: tuple[Literal["longest", "earliest", "doc_id"], ...],
    mode: Literal["balanced", "aggressive", "annotate"],
    by_vector_alone: bool,
    settings: tuple[Literal["keep", "remove"], Literal["sketches", "sketches+vectors"]],
) -> None:
    deduplication = Deduplication(keep=keep, mode=mode, contained=settings[0], candidates=settings[1])
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(candidates, "LIMIT", 3)
        patch.setattr(candidates, "_ROWS", 128)
        if by_vector_alone:
            patch.setattr(candidates, "_MIN_SHARED", 2)
        grown, rebuilt = Store(f"{folder}/grown"), Store(f"{folder}/rebuilt")
        state: dict[str, dict[str, str]] = {}
        for partition, documents in history:
            state[partition] = {f"http://{partition}.test/{u}": _TEXTS[t] for u, t in documents.items()}
            _put(grown, partition, state[partition])
            _decide(grown, deduplication)
        for partition, texts in sorted(state.items(), reverse=True):
            _put(rebuilt, partition, dict(sorted(texts.items(), reverse=True)))
        _decide(rebuilt, deduplication)
        for mine, theirs in zip(_result(grown), _result(rebuilt), strict=True):
            assert_frame_equal(mine, theirs)
        _adds_up(grown, state, mode)


def _adds_up(store: Store, state: dict[str, dict[str, str]], mode: str) -> None:
    """Each document is kept or removed once (I1), and each witness is kept (I2)."""
    kept, decisions, _ = _result(store)
    urls = sorted(u for texts in state.values() for u in texts)
    assert decisions["removed_url"].is_unique().all()
    assert decisions["kept_url"].is_in(kept["url"].implode()).all()
    if mode != "annotate":
        assert sorted([*kept["url"], *decisions["removed_url"]]) == urls
        assert kept["duplicates"].sum() == decisions.height


def test_edits_of_one_text_are_all_found_and_few_pairs_compared(tmp_path: Path) -> None:
    rng = random.Random(0)
    n = 400
    store = Store(str(tmp_path))
    base = words(1, 200)
    _put(store, "p0", {f"http://a.test/{i}": _edited(base, rng, 4) for i in range(n)})
    compared = _decide(store, Deduplication())
    kept, decisions, _ = _result(store)
    assert kept.height == 1 and decisions.height == n - 1
    assert compared <= n * candidates.LIMIT * 4
    _put(store, "p1", {"http://b.test/1": _edited(base, rng, 4)})
    assert _decide(store, Deduplication()) <= n + 4 * candidates.LIMIT


def test_pages_of_one_template_are_kept_and_an_edited_one_is_found(tmp_path: Path) -> None:
    rng = random.Random(0)
    n = 200
    store = Store(str(tmp_path))
    template = words(1, 200)
    pages = {f"http://a.test/{i}": f"{template} {words(100 + i, 160)}" for i in range(n)}
    _put(store, "p0", pages)
    compared = _decide(store, Deduplication())
    assert _result(store)[0].height == n
    assert compared <= n * candidates.LIMIT * 2
    _put(store, "p1", {"http://a.test/again": f"{template} {_edited(words(100 + n // 2, 160), rng, 8)}"})
    _decide(store, Deduplication())
    decisions = _result(store)[1]
    assert decisions.height == 1
    assert {decisions["removed_url"].item(), decisions["kept_url"].item()} == {
        "http://a.test/again",
        f"http://a.test/{n // 2}",
    }


def test_the_result_does_not_depend_on_how_much_is_compared_at_once_or_by_which_kernel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once, in_pieces = Store(str(tmp_path / "at_once")), Store(str(tmp_path / "in_pieces"))
    pages = {f"http://a.test/{i}": text for i, text in enumerate(_TEXTS)}
    _put(at_once, "p0", pages)
    _decide(at_once, Deduplication())
    monkeypatch.setattr(scoring, "_WORDS_IN_MEMORY", 1000)
    monkeypatch.setattr(scoring, "_SHINGLES_IN_MEMORY", 1000)
    monkeypatch.setattr(kernels, "_WORTH_TORCH", 0)
    for i, (url, text) in enumerate(pages.items()):
        _put(in_pieces, f"p{i}", {url: text})
    assert _decide(in_pieces, Deduplication()) > 100
    assert_frame_equal(_result(in_pieces)[2], _result(at_once)[2])


def test_copies_of_one_text_are_one_text(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    _put(store, "p0", {f"http://a.test/{i}": words(1) for i in range(500)})
    assert _decide(store, Deduplication()) == 0
    kept, decisions, _ = _result(store)
    assert kept["duplicates"].to_list() == [499]
    assert set(decisions["level"]) == {"exact"}


def test_a_pair_that_takes_the_place_of_another_is_stored_as_in_a_clean_build(tmp_path: Path) -> None:
    """By vector `last` has more earlier neighbours than count; one goes, and `seventeenth` takes its place, with which
    `last` shares sampled shingles, but too few words to be kept for them."""
    shared = words(999, 30).replace("\n\n", " ")
    texts = {f"first{i}": words(i, 160 - i) for i in range(candidates.LIMIT)}
    texts |= {"seventeenth": f"{words(500, 75)} {shared}", "last": f"{words(501, 70)} {shared}"}
    near = {t: np.eye(_DIM)[0] + 0.02 * _vector(t) for t in texts.values()}
    deduplication = Deduplication(keep=("longest",), candidates="sketches+vectors")
    grown, clean = Store(str(tmp_path / "grown")), Store(str(tmp_path / "clean"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(globals(), "_vector", lambda text: (near[text] / np.linalg.norm(near[text])).astype(np.float32))
        goes, *stay = ({f"http://x.test/{name}": text} for name, text in texts.items())
        _put(grown, "p0", goes)
        for store in (grown, clean):
            _put(store, "p1", {url: text for of in stay for url, text in of.items()})
            _decide(store, deduplication)
        _put(grown, "p0", {})
        _decide(grown, deduplication)
    pair = tuple(text_digest(texts[name]) for name in ("seventeenth", "last"))
    assert pair in _result(grown)[2].select("left", "right").rows()
    for mine, theirs in zip(_result(grown), _result(clean), strict=True):
        assert_frame_equal(mine, theirs)
