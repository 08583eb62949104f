"""Candidates are what their definition says, however they are computed."""

from collections import Counter, defaultdict
from collections.abc import Iterable

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarry_dagster.dedup import candidates
from quarry_dagster.index import Float32

LIMIT = 2
Sketches = dict[int, set[int]]
_sketches = st.dictionaries(st.integers(0, 12), st.sets(st.integers(1, 9)), max_size=13)


def _rows(sketches: Sketches) -> pl.DataFrame:
    rows = [(text, h) for text, hashes in sketches.items() for h in hashes]
    return pl.DataFrame(rows, schema=candidates.HASHES, orient="row")


def _heads(sketches: Sketches) -> dict[int, set[int]]:
    """Of each hash the first LIMIT texts that have it."""
    having: dict[int, list[int]] = defaultdict(list)
    for text in sorted(sketches):
        for h in sketches[text]:
            having[h].append(text)
    return {h: set(texts[:LIMIT]) for h, texts in having.items()}


def _pairs(sketches: Sketches, wanted: set[int], enough: float) -> set[tuple[int, int]]:
    heads = _heads(sketches)
    found = set()
    for left in sketches:
        for right in sketches:
            shared = sketches[left] & sketches[right]
            least = enough * min(len(sketches[left]), len(sketches[right]))
            if (
                left < right
                and {left, right} & wanted
                and any(left in heads[h] for h in shared)
                and len(shared) >= least
            ):
                found.add((left, right))
    return found


@given(sketches=_sketches, wanted=st.sets(st.integers(0, 12)), rows=st.sampled_from([64, 10_000]))
def test_a_wanted_text_is_paired_with_all_that_share_a_hash_of_a_head_and_enough(
    sketches: Sketches, wanted: set[int], rows: int
) -> None:
    wanted &= set(sketches)
    mine = {h for text in wanted for h in sketches[text]}
    number = Counter(h for hashes in sketches.values() for h in hashes)
    sharing = {text: {h for h in hashes & mine if number[h] > 1} for text, hashes in sketches.items()}
    sizes = pl.DataFrame(
        [(t, len(h)) for t, h in sketches.items()], schema={"text": pl.UInt32, "size": pl.UInt32}, orient="row"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(candidates, "LIMIT", LIMIT)
        patch.setattr(candidates, "_ROWS", rows)
        patch.setattr(candidates, "_MIN_SHARED", 0.5)
        found = candidates.sketch_pairs(pl.Series(sorted(wanted), dtype=pl.UInt32), _rows(sharing), sizes)
    assert found.is_unique().all()
    assert set(found.iter_rows()) == _pairs(sketches, wanted, 0.5)


@given(before=_sketches, now=_sketches)
def test_a_text_whose_pairs_may_be_others_is_named(before: Sketches, now: Sketches) -> None:
    both = {text: before[text] for text in before.keys() & now.keys()}
    now = {t: h for t, h in now.items() if t not in before} | both
    came, gone = now.keys() - before.keys(), before.keys() - now.keys()
    changed = {h for t in came for h in now[t]} | {h for t in gone for h in before[t]}
    number = Counter(h for hashes in (before | now).values() for h in hashes)
    rows = _rows({t: {x for x in h & changed if number[x] > 1} for t, h in (before | now).items()})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(candidates, "LIMIT", LIMIT)
        found = candidates.moved(rows, *(pl.Series(sorted(texts), dtype=pl.UInt32) for texts in (came, gone)))
    earlier, later = _heads(before), _heads(now)
    expected = {t for h in changed for t in earlier.get(h, set()) ^ later.get(h, set()) if t in both}
    assert set(found) == expected


@given(seed=st.integers(0, 99), limit=st.sampled_from([2, 1000]))
def test_by_vector_a_text_has_its_first_neighbours(seed: int, limit: int) -> None:
    rng = np.random.default_rng(seed)
    base = rng.standard_normal((6, 8))
    vectors = (base[rng.integers(0, 6, 60)] + 0.2 * rng.standard_normal((60, 8))).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    texts = rng.permutation(60).astype(np.uint32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(candidates, "LIMIT", limit)
        patch.setattr(candidates, "_ROWS", 20)
        new, others = (texts[:25], vectors[:25]), [(texts[25:40], vectors[25:40]), (texts[40:], vectors[40:])]
        found = candidates.vector_pairs(new, iter(others), 0.9)
    close = np.round((vectors.astype(np.float64) @ vectors.T.astype(np.float64)), 4) >= 0.9
    expected: dict[int, list[int]] = defaultdict(list)
    for i in range(60):
        for j in range(60):
            if close[i, j] and texts[i] < texts[j] and min(i, j) < 25:
                expected[int(texts[j])].append(int(texts[i]))
    pairs = found.select("left", "right")
    assert set(pairs.iter_rows()) == {(a, b) for b, all_ in expected.items() for a in sorted(all_)[:limit]}
    # A pair has one cosine, whichever way it was asked for.
    assert candidates.cosines_of(pairs, texts, vectors)["cosine"].equals(found["cosine"])


class _SmallTiles(Float32):
    """As few vectors show what happens from tile to tile as else only tens of thousands do."""

    tile: tuple[int, int] = (4, 2048)


def test_a_neighbour_is_found_behind_very_many_that_nearly_reach_the_threshold() -> None:
    threshold, crowd, fillers, dim = 0.85, 3 * candidates.LIMIT, 1500, 160
    vectors = np.zeros((crowd + fillers + 2, dim))
    target, neighbour = len(vectors) - 1, len(vectors) - 2
    vectors[target, 0] = 1
    nearly = threshold - 0.8e-4  # which is rounded to .8499
    vectors[:crowd, 0] = nearly
    vectors[np.arange(crowd), 1 + np.arange(crowd)] = np.sqrt(1 - nearly**2)
    vectors[neighbour, : 2 + crowd][[0, -1]] = 0.9, np.sqrt(1 - 0.9**2)
    vectors[crowd:neighbour, 2 + crowd :] = np.random.default_rng(0).standard_normal((fillers, dim - 2 - crowd))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    close = np.argwhere(np.triu(np.round(vectors.astype(np.float64) @ vectors.T.astype(np.float64), 4) >= threshold, 1))
    assert close.tolist() == [[neighbour, target]]
    new = np.arange(len(vectors), dtype=np.uint32), vectors
    found = candidates.vector_pairs(new, iter([]), threshold, _SmallTiles)
    assert found.select("left", "right").rows() == [(neighbour, target)], "it was not looked at"


@given(sketches=_sketches, wanted=st.sets(st.integers(0, 12)), rows=st.sampled_from([4, 10_000]))
def test_the_rows_that_share_a_hash_with_a_wanted_text(sketches: Sketches, wanted: set[int], rows: int) -> None:
    ends = np.cumsum([len(hashes) for hashes in sketches.values()], dtype=np.int64)
    hashes = np.array([h for mine in sketches.values() for h in sorted(mine)], np.uint64)
    every = candidates.Sketches(np.array([*sketches], np.uint32), ends, hashes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(candidates, "_ROWS", rows)
        found = every.sharing(pl.Series(sorted(wanted), dtype=pl.UInt32))
    mine = {h for text in wanted for h in sketches.get(text, set())}
    number = Counter(h for hashes in sketches.values() for h in hashes)
    expected = {(t, h) for t, hashes in sketches.items() for h in hashes & mine if number[h] > 1}
    assert _texts_by_hash(found.iter_rows()) == _texts_by_hash(expected)
    # These hashes are so small that all of them are sampled.
    sizes = {text: len(hashes) if len(hashes) >= 8 else 1 for text, hashes in sketches.items()}
    assert dict(every.sizes().iter_rows()) == sizes


def _texts_by_hash(rows: Iterable[tuple[int, int]]) -> list[list[int]]:
    """The texts of each hash, whichever number the hash has."""
    found: dict[int, list[int]] = defaultdict(list)
    for text, number in rows:
        found[number].append(text)
    return sorted(map(sorted, found.values()))
