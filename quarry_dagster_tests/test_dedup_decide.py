"""Decisions: stars around kept documents, one witness each, the same whatever the order of crawling."""

import random
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quarry_dagster.dedup import near, verify
from quarry_dagster.dedup.decide import decide
from quarry_dagster.profiles.settings import Deduplication
from quarry_dagster.store.schemas import DOCUMENTS, PAIRS
from quarry_dagster_tests.corpus import verdict

BALANCED = Deduplication()
NEAR = 0.7
"""Containment from which the pairs of these tests are near duplicates."""


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
    """Pairs (left, right, containment both ways, cosine); from .7 on no guard speaks, and none is the cleaner one."""
    guards = [0 if c >= NEAR else near.BITS["lost"] for _, _, c, _ in rows]
    data = [
        (*sorted((a, b)), cosine, c / (2 - c), c, c, g, g, None)
        for (a, b, c, cosine), g in zip(rows, guards, strict=True)
    ]
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
        ({"mode": "strict"}, {"whole": "near-whole/1", "whole form": "near-whole/1"}),
        ({}, {"whole": "near/1", "near": "near/1"}),
        (
            {"contained": "remove"},
            {"whole": "near/1", "near": "near/1", "part": "contained-in-longer/1"},
        ),
        ({"mode": "aggressive"}, {"whole": "near/1", "near": "near/1", "meaning": "cosine/1"}),
        ({"mode": "annotate"}, {"whole": "near/1", "near": "near/1"}),
    ],
)
def test_each_mode_removes_what_it_says(mode: Any, expected: dict[str, str]) -> None:
    cases: dict[str, tuple[Any, ...]] = {
        "whole": (0.8, 1.0),
        "whole form": (0.8, 0.99, "form"),
        "near": (0.8, 0.75),
        "form": (0.8, 0.9, "form"),
        "part": (0.8, 0.99, "length"),
        "part of a form": (0.8, 0.99, "length", "form"),
        "meaning": (0.9, 0.2, "lost"),
    }
    found = {name: verdict(Deduplication.model_validate(mode), *case) for name, case in cases.items()}
    assert {name: named[1] for name, named in found.items() if named} == expected


def test_only_what_the_kept_document_contains_is_removed() -> None:
    docs = documents(document("long", words=1000), document("short", words=100))
    data = [("long", "short", 0.7, 0.1, 0.5, 1.0, near.BITS["lost"], 0, None)]
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
    rows = [document(f"d{i:02}", f"t{t}", w, f"p{p}") for i, (t, w, p) in enumerate(docs)]
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
    scores = {frozenset((f"t{a}", f"t{b}")): (cosine, c, *["lost"] * (c < NEAR)) for a, b, c, cosine in scored}
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


def test_containment_looks_from_either_side() -> None:
    base = _words(1, 800)
    edited = [w if i % 12 else "new" for i, w in enumerate(base)]
    texts = near.Text.of([" ".join(t) for t in (base, edited, base[100:300])])
    row = verify.scores(texts, np.array([0, 2, 0]), np.array([1, 0, 2])).rows(named=True)
    assert 0.7 < row[0]["left_in_right"] < 0.8
    assert row[1]["left_in_right"] == 1
    assert row[1]["right_in_left"] < 0.3
    assert (row[2]["left_in_right"], row[2]["right_in_left"]) == (row[1]["right_in_left"], row[1]["left_in_right"])


def test_texts_too_short_for_shingles_score_nothing() -> None:
    texts = near.Text.of(["one two three four", "one two three four", ""])
    for row in verify.scores(texts, np.array([0, 0]), np.array([1, 2])).rows(named=True):
        assert (row["jaccard"], row["left_in_right"], row["right_in_left"]) == (0, 0, 0)
        assert row["left_guards"] == row["right_guards"] == near.NOT_COMPARED


def _of_a_star(*cleaner: str, urls: dict[str, str] | None = None) -> dict[str, tuple[str, str, str, str]]:
    """Decisions on a centre and its near duplicates, of which these are cleaner: (kept, witness, level, rule)."""
    docs = documents(
        document("centre", words=300), document("a", words=200), document("b", words=190), document("same", "a", 200)
    )
    if urls:
        docs = docs.with_columns(pl.col("doc_id").replace(urls).alias("url"))
    data = [("centre", t, 0.9, 0.8, 0.8, 0.9, 0, 0, t in cleaner or None) for t in ("a", "b")]
    found = decide(docs, pl.DataFrame(data, schema=PAIRS, orient="row"), BALANCED)
    columns = ("removed_id", "kept_id", "witness_id", "level", "rule")
    return {removed: tuple(rest) for removed, *rest in found.select(columns).iter_rows()}


def test_the_cleaner_copy_is_kept_and_the_centre_is_removed_for_it() -> None:
    near_to_centre = ("centre", "near", "near/1")
    assert _of_a_star() == dict.fromkeys(("a", "b", "same"), ("centre", *near_to_centre))
    assert _of_a_star("b") == {
        "a": ("b", *near_to_centre),
        "same": ("b", *near_to_centre),
        "centre": ("b", "b", "near", "cleaner-copy/1"),
    }
    assert _of_a_star("a", "b")["centre"] == ("a", "a", "near", "cleaner-copy/1"), "the first in the order of keeping"
    equal = ("a", "a", "exact", "text-digest/1")
    assert _of_a_star("a")["same"] == equal, "what equals the kept text is told as such, whatever it was removed for"


def test_of_equal_texts_the_one_with_the_better_url_is_kept() -> None:
    tracked, plain = "http://example.com/x?utm_source=a", "http://example.com/a-much-longer-path-of-the-page"
    assert _of_a_star("a", urls={"a": tracked, "same": plain})["centre"][0] == "same"
    assert _of_a_star("a", urls={"a": "http://e.com/long", "same": "http://e.com/s"})["centre"][0] == "same"
    assert _of_a_star("a", urls={"a": "http://e.com/s", "same": "http://e.com/;jsessionid=1"})["centre"][0] == "a"


def test_a_url_that_a_page_calls_canonical_goes_before_a_shorter_one() -> None:
    docs = documents(document("a", "t"), document("b", "t", page="http://example.com/main"))
    docs = docs.with_columns(canonical_page=pl.lit("http://example.com/main"))
    assert removed(decide(docs, pairs(), BALANCED)) == {"a": ("b", "exact")}
    assert removed(decide(docs, pairs(), Deduplication(keep=("doc_id",)))) == {"b": ("a", "exact")}


def test_no_copy_is_kept_that_another_kept_document_speaks_against() -> None:
    docs = documents(
        document("centre", words=300), document("copy", words=200, page="p"), document("other", words=100, page="p")
    )
    data = [("centre", "copy", 0.9, 0.8, 0.8, 0.9, 0, 0, True)]
    found = decide(docs, pl.DataFrame(data, schema=PAIRS, orient="row"), BALANCED)
    assert removed(found) == {"copy": ("centre", "near")}, "another document of its page is kept"
