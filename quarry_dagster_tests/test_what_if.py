"""What the service says that a run would do with a document is what a run does with it."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
import yaml

import quarry_dagster
from quarry_dagster.asking.what_if import Verdict
from quarry_dagster.errors import ConfigError
from quarry_dagster_tests.corpus import Corpus, shipped, words

ROWS = 90
LEFT_OUT = 6


def document(rng: random.Random, i: int) -> dict[str, str]:
    """A document that is new, or a copy, an edit, a part, a longer or a re-filled version of another one."""
    base = words(rng.randrange(12), rng.choice([60, 120, 200]))
    common = words(777, 40)
    edited = base.split(" ")
    for _ in range(rng.randrange(1, 6)):
        edited[rng.randrange(len(edited))] = rng.choice(["typo", "x1y", "zz"])
    text = rng.choice(
        [
            base,
            f"{base} {words(500 + rng.randrange(50), rng.randrange(1, 30))}",
            " ".join(edited),
            base[len(base) // 5 :],
            f"Menu home about. {base}",
            words(1000 + i, 150),
            f"{common} {words(2000 + i, rng.choice([40, 160]))}",
            f"{common} {words(2000 + rng.randrange(6), 60)} {words(i, 4)}",
            f"{common} {words(2000 + rng.randrange(6), 60)}",
            f"{base}\n\n{words(rng.randrange(12), 100)}",
            "Too short.",
        ]
    )
    at = rng.choice([f"a.test/{i}", f"a.test/p{rng.randrange(10)}?utm_source=s{i}", f"b.test/{i}?id={i}"])
    found = {"url": f"http://{at}", "text": text}
    return found | ({"date": f"2026-0{rng.randrange(1, 9)}-1{rng.randrange(9)}"} if rng.random() < 0.5 else {})


def became(corpus: Corpus, doc_id: str, before: set[str]) -> dict[str, Any]:
    """What a run did with a document."""
    kept = set(corpus.read("deduped_corpus")["doc_id"])
    removed = corpus.read("dedup_decisions").filter(removed_id=doc_id).rows(named=True)
    filtered = set(corpus.read("filter_decisions")["doc_id"])
    is_removed = removed and corpus.profile.deduplication.mode != "annotate"
    verdict = "removed" if is_removed else "kept" if doc_id in kept else "filtered"
    decision = removed[0] if removed else {}
    columns = ("level", "rule", "witness_id", "kept_id", "containment", "jaccard")
    return {
        "verdict": verdict if doc_id in kept | filtered or removed else "not_accepted",
        "displaces": sorted(before - kept - {doc_id}),
        **{column: decision.get(column) for column in columns},
    }


def said(verdict: Verdict) -> dict[str, Any]:
    """The same as the service says it."""
    return {
        "verdict": verdict.verdict,
        "displaces": sorted(each.doc_id for each in verdict.displaces),
        **{"level": verdict.level, "rule": verdict.rule},
        "witness_id": verdict.witness and verdict.witness.doc_id,
        "kept_id": verdict.kept and verdict.kept.doc_id,
        **{"containment": verdict.containment, "jaccard": verdict.jaccard},
    }


SETTINGS = [
    ({}, {}),
    ({"contained": "remove"}, {"policy": "quarry@1", "action": "drop"}),
    ({"mode": "strict", "keep": ["earliest", "doc_id"]}, {"policy": "gopher@1", "action": "annotate"}),
    ({"mode": "annotate", "keep": ["doc_id"]}, {}),
]


@pytest.mark.parametrize("seed", [0, *(pytest.param(i, marks=pytest.mark.slow) for i in range(1, len(SETTINGS)))])
def test_a_run_does_what_was_said_of_each_document_alone(seed: int, tmp_path: Path) -> None:
    rng = random.Random(seed)
    deduplication, quality = SETTINGS[seed]
    profile = shipped("raspberry_pi", deduplication=deduplication, quality=quality)
    rows = list({row["url"]: row for row in (document(rng, i) for i in range(ROWS))}.values())
    standing, asked = rows[:-LEFT_OUT], rows[-LEFT_OUT:]
    asked.append(rng.choice(standing) | {"text": words(900, 150)})  # the next version of a document
    asked.append(rng.choice(standing) | {"text": rng.choice(standing)["text"]})
    corpus = Corpus(tmp_path / "data", profile)
    corpus.seed("a.jsonl", "".join(json.dumps(row) + "\n" for row in standing))
    corpus.run()
    before = set(corpus.read("deduped_corpus")["doc_id"])
    path = tmp_path / "served.yaml"
    path.write_text(yaml.safe_dump(profile.model_dump(mode="json")))
    with quarry_dagster.open(corpus.root, profile=str(path)) as opened:
        verdicts = opened.decide(asked)
    for i, (row, verdict) in enumerate(zip(asked, verdicts, strict=True)):
        after = corpus.copy(tmp_path / f"after-{i}")
        after.seed("b.jsonl", json.dumps(row) + "\n")
        after.run()
        assert said(verdict) == became(after, verdict.doc_id, before), row["url"]
        failed = after.read("filter_decisions").filter(doc_id=verdict.doc_id)
        if not failed.is_empty():
            told = [(each.rule, each.value, each.threshold) for each in verdict.failed]
            assert sorted(told) == sorted(failed.select("rule", "value", "threshold").rows())


def test_a_corpus_that_is_decided_on_cosines_says_so(tmp_path: Path) -> None:
    corpus = Corpus(tmp_path / "data", shipped("raspberry_pi", deduplication={"mode": "aggressive"}))
    corpus.seed_texts("a.jsonl", {f"http://a.test/{i}": words(i) for i in range(3)})
    corpus.run()
    path = tmp_path / "served.yaml"
    path.write_text(yaml.safe_dump(corpus.profile.model_dump(mode="json")))
    with quarry_dagster.open(corpus.root, profile=str(path)) as opened:
        assert opened.contains([words(1)])[0].is_in
        with pytest.raises(ConfigError, match="by texts alone"):
            opened.decide([words(1)])
