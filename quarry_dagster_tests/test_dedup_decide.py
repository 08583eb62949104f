"""Decisions: stars around kept documents, one witness each, the same whatever the order of crawling."""

import random
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quarry_dagster.dedup import verify
from quarry_dagster.dedup.decide import decide
from quarry_dagster.profiles.settings import Deduplication
from quarry_dagster.store.schemas import DOCUMENTS, PAIRS
from quarry_dagster_tests.corpus import verdict

BALANCED = Deduplication()


def document(id_: str, text: str = "", words: int = 100, page: str = "", date: str | None = None) -> dict[str, Any]:
    return {
        "doc_id": id_,
        "url": f"http://example.com/{id_}",
        "page_url": page or f"http://example.com/{id_}",
        "text_digest": text or id_,
        "word_count": words,
        "date": date,
    }


def documents(*rows: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=DOCUMENTS)


def pairs(*rows: tuple[str, str, float, float]) -> pl.DataFrame:
    """Pairs (left, right, containment both ways, cosine), edits spread evenly."""
    data = [(*sorted((a, b)), cosine, c / (2 - c), c, c, c, c) for a, b, c, cosine in rows]
    return pl.DataFrame(data, schema=PAIRS, orient="row")


def removed(decisions: pl.DataFrame) -> dict[str, tuple[str, str]]:
    return {r["removed_id"]: (r["kept_id"], r["level"]) for r in decisions.iter_rows(named=True)}


def test_the_longest_is_kept_then_the_earliest_then_the_smallest_id() -> None:
    docs = documents(
        document("a", "t", 10), document("b", "t", 20, date="2024-05-01"), document("c", "t", 20, date="2024-01-01")
    )
    assert removed(decide(docs, pairs(), BALANCED)) == {"a": ("c", "exact"), "b": ("c", "exact")}
    by_id = Deduplication(keep=("doc_id",))
    assert removed(decide(docs, pairs(), by_id)) == {"b": ("a", "exact"), "c": ("a", "exact")}


def test_levels_are_tried_from_the_surest() -> None:
    docs = documents(
        document("kept", "t1", 100, page="p1"),
        document("moved", "t2", 90, page="p1"),
        document("copy", "t1", 80),
        document("edited", "t3", 70),
        document("other", "t4", 60),
    )
    evidence = pairs(("t1", "t2", 0.4, 0.9), ("t1", "t3", 0.8, 0.97), ("t1", "t4", 0.3, 0.95))
    assert removed(decide(docs, evidence, BALANCED)) == {
        "moved": ("kept", "url"),
        "copy": ("kept", "exact"),
        "edited": ("kept", "near"),
    }


def test_a_chain_is_not_a_cluster() -> None:
    docs = documents(document("a", words=300), document("b", words=200), document("c", words=100))
    evidence = pairs(("a", "b", 0.8, 0.9), ("b", "c", 0.8, 0.9))
    # b goes for a; c is like b only, and b is not in the corpus: c stays.
    assert removed(decide(docs, evidence, BALANCED)) == {"b": ("a", "near")}
    # Without a, the duplicate it stood for comes back, and is c's witness now.
    assert removed(decide(docs.filter(pl.col("doc_id") != "a"), evidence, BALANCED)) == {"c": ("b", "near")}


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("strict", {"full"}),
        ("balanced", {"full", "near", "even"}),
        ("aggressive", {"full", "near", "even", "meaning"}),
    ],
)
def test_each_mode_removes_what_it_says(mode: Any, expected: set[str]) -> None:
    cases = {
        "full": (0.9, 0.5, 1.0, 1.0),
        "near": (0.9, 0.6, 0.75, 0.0),
        "even": (0.9, 0.4, 0.6, 0.4),
        "template": (0.8, 0.4, 0.6, 0.0),
        "meaning": (0.9, 0.1, 0.2, 0.0),
    }
    settings = Deduplication(mode=mode)
    assert {name for name, e in cases.items() if verdict(settings, *e)} == expected


def test_only_what_the_kept_document_contains_is_removed() -> None:
    docs = documents(document("long", words=1000), document("short", words=100))
    data = [("long", "short", 0.7, 0.1, 0.1, 1.0, 0.0, 1.0)]
    evidence = pl.DataFrame(data, schema=PAIRS, orient="row")
    assert removed(decide(docs, evidence, BALANCED)) == {"short": ("long", "near")}
    # Kept by id, the short one must not push out the text of which it is a tenth.
    docs = documents(document("long", words=1000), document("0", "short", words=100))
    assert removed(decide(docs, evidence, Deduplication(keep=("doc_id",)))) == {}


def test_a_text_whose_first_document_is_removed_for_its_page_may_be_removed_for_a_text_that_came_since() -> None:
    docs = documents(
        document("lead", words=100, page="p"),
        document("first", "t", words=90, page="p"),
        document("since", words=80),
        document("second", "t", words=70),
    )
    assert removed(decide(docs, pairs(("since", "t", 0.9, 0.9)), BALANCED)) == {
        "first": ("lead", "url"),
        "second": ("since", "near"),
    }


_scored = st.tuples(
    st.integers(0, 9), st.integers(0, 9), st.floats(0, 1).map(lambda x: round(x, 4)), st.floats(0, 1)
).filter(lambda p: p[0] != p[1])


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(1, 3), st.integers(0, 20)), min_size=1, max_size=25),
    st.lists(_scored, max_size=30, unique_by=lambda p: frozenset(p[:2])),
    st.sampled_from(["strict", "balanced", "aggressive"]),
    st.randoms(use_true_random=False),
)
def test_decisions_are_what_a_walk_in_the_order_of_keeping_gives_in_any_order_of_rows(
    docs: list[tuple[int, int, int]], scored: list[tuple[int, int, float, float]], mode: Any, rng: random.Random
) -> None:
    rows = [document(f"d{i}", f"t{t}", w, f"p{p}") for i, (t, w, p) in enumerate(docs)]
    evidence = pairs(*((f"t{a}", f"t{b}", c, cosine) for a, b, c, cosine in scored))
    config = Deduplication(mode=mode)
    decisions = decide(documents(*rows), evidence, config)
    assert decisions["removed_id"].is_unique().all()
    assert removed(decisions) == _walked(rows, scored, config)
    rng.shuffle(rows)
    shuffled = decide(documents(*rows), evidence.sample(fraction=1, shuffle=True, seed=1), config)
    assert shuffled.sort("removed_id").equals(decisions.sort("removed_id"))


def _walked(
    rows: list[dict[str, Any]], scored: list[tuple[int, int, float, float]], config: Deduplication
) -> dict[str, tuple[str, str]]:
    """The same as :func:`removed` has it, document by document."""
    scores = {frozenset((f"t{a}", f"t{b}")): (cosine, 0.0, c, c) for a, b, c, cosine in scored}
    kept: list[dict[str, Any]] = []
    gone = {}
    for row in sorted(rows, key=lambda r: (-r["word_count"], r["doc_id"])):
        found = []
        for at, other in enumerate(kept):
            evidence = scores.get(frozenset((row["text_digest"], other["text_digest"])))
            if row["page_url"] == other["page_url"]:
                found.append((0, at, "url"))
            elif row["text_digest"] == other["text_digest"]:
                found.append((1, at, "exact"))
            elif evidence and (named := verdict(config, *evidence)):
                found.append((2 if named[0] == "near" else 3, at, named[0]))
        if found:
            _, at, level = min(found)
            gone[row["doc_id"]] = (kept[at]["doc_id"], level)
        else:
            kept.append(row)
    return gone


def _words(seed: int, n: int) -> list[str]:
    rng = np.random.default_rng(seed)
    return [f"w{i}" for i in rng.integers(0, 5000, n)]


def test_scores_tell_spread_edits_from_a_shared_template() -> None:
    base = _words(1, 800)
    edited = [w if i % 12 else "new" for i, w in enumerate(base)]
    template = _words(2, 500)
    bodies = [template + _words(3, 300), template + _words(4, 300)]
    texts = [" ".join(t) for t in (base, edited, *bodies, base[100:300])]
    row = verify.scores(verify.Shingled.of(texts), np.array([0, 2, 4, 0]), np.array([1, 3, 0, 4])).rows(named=True)
    assert 0.7 < row[0]["left_in_right"] < 0.8
    assert row[0]["left_worst_part"] > 0.6
    assert 0.6 < row[1]["left_in_right"] < 0.7
    assert row[1]["left_worst_part"] == 0
    assert row[2]["left_in_right"] == 1
    assert row[2]["right_in_left"] < 0.3
    assert (row[3]["left_in_right"], row[3]["right_in_left"]) == (row[2]["right_in_left"], row[2]["left_in_right"])


def test_texts_too_short_for_shingles_score_nothing() -> None:
    texts = verify.Shingled.of(["one two three four", "one two three four", ""])
    assert verify.scores(texts, np.array([0, 0]), np.array([1, 2])).sum_horizontal().sum() == 0
