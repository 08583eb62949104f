"""Long random histories of a tiny corpus, with kills between its writes, against a build from nothing."""

import random
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from quarry_dagster import takedown
from quarry_dagster.embed.calibration import calibration_texts
from quarry_dagster_tests.corpus import Corpus, shipped, words
from quarry_dagster_tests.killing import killed_at
from quarry_dagster_tests.test_dedup_scenarios import edited, url
from quarry_dagster_tests.test_embed import needs_openvino

Step = Callable[[Corpus, dict[str, str], random.Random], None]
GONE = "forgotten"


def _texts() -> list[str]:
    """Twenty tiny texts: bases, their edits, parts, copies, and one that holds two others."""
    bases = [words(i, 48) for i in range(4)]
    texts = [*bases, *(edited(t, 9, 4) for t in bases), *(edited(t, 11, 6) for t in bases)]
    texts += [" ".join(t.split(" ")[:30]) for t in bases] + [t.upper() for t in bases[:2]]
    return [*texts, bases[0] + " " + bases[1], "four words stand here"]


def _put(corpus: Corpus, expected: dict[str, str], rng: random.Random) -> None:
    chosen = {url(rng.randrange(14)): rng.choice(_texts()) for _ in range(rng.randint(1, 4))}
    chosen = {u: t for u, t in chosen.items() if expected.get(u) != GONE}
    corpus.seed_texts(f"{rng.random()}.jsonl", chosen)
    expected |= chosen
    corpus.run()


def _put_killed(corpus: Corpus, expected: dict[str, str], rng: random.Random) -> None:
    with killed_at(corpus, rng.randrange(24)):
        _put(corpus, expected, rng)
    corpus.run()  # the seed is still in the inbox


def _forget(corpus: Corpus, expected: dict[str, str], rng: random.Random) -> None:
    here = sorted(u for u, t in expected.items() if t != GONE)
    if not here:
        return
    gone = rng.choice(here)
    takedown.put_on_list(corpus.store, gone)
    expected[gone] = GONE
    with killed_at(corpus, rng.choice([3, 6, 1000])):
        takedown.take_out(corpus.store, corpus.profile)
    takedown.take_out(corpus.store, corpus.profile)


def _drop_partition(corpus: Corpus, expected: dict[str, str], rng: random.Random) -> None:
    partitions = list(corpus.store.batches.segments())
    if not partitions:
        return
    partition = rng.choice(partitions)
    for gone in corpus.read("raw_pages").filter(pl.col("partition") == partition)["url"]:
        if expected.get(gone) != GONE:
            expected.pop(gone, None)
    corpus.store.delete_partitions([partition])
    corpus.run()


def _rerun(corpus: Corpus, expected: dict[str, str], rng: random.Random) -> None:
    partitions = list(corpus.store.batches.segments())
    corpus.run(rng.sample(partitions, min(1, len(partitions))))


STEPS: list[Step] = [_put, _put, _put, _put_killed, _put_killed, _forget, _drop_partition, _rerun]


def _tiny(root: Path, shipped_profile: str, pages: int, deduplication: dict[str, object]) -> Corpus:
    partitions: dict[str, object] = {"pages_per_partition": pages}
    sections = {"partitions": partitions, "extraction": {"min_words": 0}, "deduplication": deduplication}
    return Corpus(root, shipped(shipped_profile, **sections))


def _rebuilt(corpus: Corpus, expected: dict[str, str], rng: random.Random) -> Corpus:
    """The corpus of the expected texts alone, made at once."""
    order = sorted(u for u, t in expected.items() if t != GONE)
    rng.shuffle(order)
    if order:
        corpus.seed_texts("all.jsonl", {u: expected[u] for u in order})
    corpus.run()
    return corpus


@pytest.mark.timeout(600)
@pytest.mark.parametrize("mode", ["strict", "balanced", "aggressive", "annotate"])
def test_any_long_history_ends_as_one_clean_build(tmp_path: Path, mode: str) -> None:
    """Additions, edits, deletions, takedowns, reruns and kills, compared with a build from nothing on the way.

    Every column of every row but times and run ids.
    """
    name = "raspberry_pi"
    rng = random.Random(f"{name} {mode}")
    deduplication: dict[str, object] = {"mode": mode, "keep": rng.sample(["longest", "doc_id"], 2)}
    grown = _tiny(tmp_path / "grown", name, rng.choice([2, 5, 50]), deduplication)
    expected, history = {}, []
    for i in range(18):
        step = rng.choice(STEPS)
        history.append(step.__name__)
        step(grown, expected, rng)
        if i % 9 == 8:
            grown.run()
            clean = _tiny(tmp_path / f"clean{i}", name, rng.choice([2, 9, 50]), deduplication)
            _rebuilt(clean, expected, rng)
            for mine, theirs in zip(grown.result(), clean.result(), strict=True):
                assert mine.equals(theirs), history


@needs_openvino
@pytest.mark.parametrize(
    "name",
    [
        "raspberry_pi",
        "workstation",
    ],
)
def test_a_corpus_is_the_same_however_it_is_cut_into_partitions(tmp_path: Path, name: str) -> None:
    """Under each shipped profile that runs without a GPU; of real texts, which are embedded alone or all together."""
    texts = [text for text in calibration_texts()[:20] if text.startswith(("the striped wall", "カワセミ"))]
    texts = [" ".join(text.split()[:40]) for text in texts]
    pages = {url(i): text for i, text in enumerate(texts)}
    pages |= {url(f"edit{i}"): edited(text, 30) for i, text in enumerate(texts)}
    pages[url("long")] = " ".join(calibration_texts()[0].split()[:90])
    results = []
    for pages_per_partition in (1, 100):
        corpus = _tiny(tmp_path / str(pages_per_partition), name, pages_per_partition, {"mode": "aggressive"})
        corpus.seed_texts("a.jsonl", pages)
        corpus.run()
        results.append([*corpus.result(), corpus.read("embeddings").drop("partition").sort("doc_id")])
    for alone, together in zip(*results, strict=True):
        assert alone.equals(together)
