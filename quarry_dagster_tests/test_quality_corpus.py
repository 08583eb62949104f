"""A policy and the corpus: who is kept out, who stays although it fails, and that the history does not matter."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from quarry_dagster import changes, explain, takedown
from quarry_dagster.checks import deduped_corpus as checks
from quarry_dagster.checks import quality_signals as signal_checks
from quarry_dagster.errors import ConfigError, CorpusShrankError, StoreError
from quarry_dagster.search import Searcher
from quarry_dagster.stages import quality_signals as stage
from quarry_dagster.stages.corpus import deduped_corpus
from quarry_dagster.stages.redo import adopt
from quarry_dagster_tests.corpus import Corpus, profile, words

POLICY = """
name: mine
version: 1
action: drop
rules:
  - {name: too_many_hashes, signal: hashes_per_word_v1, op: ">", threshold: 0.1}
  - {name: too_short, signal: words_v1, op: "<", threshold: 40}
"""
GOOD = {f"https://a.example/{i}": words(i, 80) for i in range(6)}
HASHES = {f"https://b.example/{i}": words(100 + i, 60) + " #" * 20 for i in range(2)}
SHORT = {"https://b.example/short": words(200, 30)}
BOTH = {"https://b.example/both": words(300, 30) + " #" * 20}
TEXTS = GOOD | HASHES | SHORT | BOTH


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(POLICY)
    return path


def _corpus(root: Path, policy: Path | str, texts: dict[str, str] = TEXTS, **quality: object) -> Corpus:
    corpus = Corpus(root, profile(quality={"policy": str(policy), **quality}, partitions={"pages_per_partition": 4}))
    corpus.seed_texts("texts.jsonl", texts)
    corpus.run()
    return corpus


def _with(corpus: Corpus, **sections: dict[str, object]) -> Corpus:
    """The same data root under other settings."""
    values = corpus.profile.model_dump()
    for name, changed in sections.items():
        values[name] |= changed
    return Corpus(corpus.root, type(corpus.profile).model_validate(values))


def _filtered(corpus: Corpus) -> dict[str, list[str]]:
    rows = corpus.read("filter_decisions").group_by("url").agg("rule")
    return {url: sorted(rules) for url, rules in rows.iter_rows()}


def _all_hold(corpus: Corpus) -> None:
    for check in (checks.contract, checks.conservation, checks.witnesses, checks.no_duplicates_left, checks.up_to_date):
        found = check(corpus.store, corpus.profile)
        assert found.passed, f"{check.__name__}: {found.summary}"
    found = signal_checks.contract(corpus.store, corpus.profile, list(corpus.store.batches.segments()))
    assert found.passed, found.summary


def test_what_fails_is_kept_out_with_every_rule_value_and_threshold(tmp_path: Path, policy: Path) -> None:
    corpus = _corpus(tmp_path / "data", policy)
    assert corpus.urls() == set(GOOD)
    assert _filtered(corpus) == (
        {url: ["too_many_hashes"] for url in HASHES}
        | {url: ["too_short"] for url in SHORT}
        | {url: ["too_many_hashes", "too_short"] for url in BOTH}
    )
    row = corpus.read("filter_decisions").filter(url="https://b.example/short").row(0, named=True)
    assert (row["value"], row["threshold"]) == (30.0, 40.0)
    assert row["policy"] == stage.ruling_of(corpus.profile.quality).policy.stamp
    assert corpus.read("deduped_corpus")["failed_rules"].to_list() == [[]] * len(GOOD)
    _all_hold(corpus)


def test_with_annotate_all_stay_and_the_corpus_says_what_they_fail(tmp_path: Path, policy: Path) -> None:
    corpus = _corpus(tmp_path / "data", policy, action="annotate")
    assert corpus.urls() == set(TEXTS)
    assert corpus.read("filter_decisions").is_empty()
    failed = dict(corpus.read("deduped_corpus").select("url", "failed_rules").iter_rows())
    assert failed["https://b.example/both"] == ["too_many_hashes", "too_short"]
    assert failed["https://a.example/0"] == []
    _all_hold(corpus)


def test_another_policy_reads_signals_alone_and_brings_documents_back(tmp_path: Path, policy: Path) -> None:
    corpus = _corpus(tmp_path / "data", policy)
    lenient = policy.with_name("lenient.yaml")
    lenient.write_text(POLICY.replace("0.1", "0.9"))
    reports = (again := _with(corpus, quality={"policy": str(lenient)})).run()
    worked = {name: report.worked for name, report in reports.items() if name != "deduped_corpus"}
    assert set(worked.values()) == {0}
    assert again.urls() == set(GOOD | HASHES)
    _all_hold(again)


@pytest.mark.parametrize("action", ["annotate", "drop"])
def test_any_history_ends_as_a_build_from_nothing(tmp_path: Path, policy: Path, action: str) -> None:
    """Texts that come, change and go, under a policy that changes, with near copies of which one passes."""
    copies = {url.replace("a.example", "copies.example"): text + " #" * 40 for url, text in GOOD.items()}
    grown = Corpus(tmp_path / "grown", profile(quality={"policy": str(policy), "action": action}))
    for i, texts in enumerate((GOOD | SHORT, copies, HASHES | BOTH)):
        grown.seed_texts(f"{i}.jsonl", texts)
        grown.run()
    strict = policy.with_name("strict.yaml")
    strict.write_text(POLICY.replace("threshold: 40", "threshold: 75"))
    other = _with(grown, quality={"policy": str(strict), "action": action})
    other.run()
    grown.run()
    built = Corpus(tmp_path / "built", grown.profile)
    for i, texts in enumerate((GOOD | SHORT, copies, HASHES | BOTH)):
        built.seed_texts(f"{i}.jsonl", texts)
    built.run()
    for mine, theirs in zip(grown.result(), built.result(), strict=True):
        assert mine.equals(theirs)
    key = ["doc_id", "rule"]
    assert grown.read("filter_decisions").sort(key).equals(built.read("filter_decisions").sort(key))
    assert grown.urls() >= set(GOOD), "of copies the one that passes is kept"
    _all_hold(grown)


def test_of_copies_one_that_passes_is_kept_before_a_longer_one_that_fails(tmp_path: Path, policy: Path) -> None:
    clean, spoiled = words(1, 200), words(1, 200) + " Yes." + " #" * 60
    texts = {"https://long.example/": spoiled, "https://short.example/": clean}
    corpus = _corpus(tmp_path / "data", policy, texts, action="annotate")
    assert corpus.urls() == {"https://short.example/"}
    (decision,) = corpus.read("dedup_decisions").rows(named=True)
    assert (decision["level"], decision["removed_url"]) == ("near", "https://long.example/")
    _all_hold(corpus)


def test_a_document_that_is_kept_out_stands_for_nobody(tmp_path: Path, policy: Path) -> None:
    text = words(5, 30)
    corpus = _corpus(tmp_path / "data", policy, {"https://a.example/": text, "https://b.example/": text} | GOOD)
    assert corpus.urls() == set(GOOD)
    assert corpus.read("dedup_decisions").is_empty()
    assert set(_filtered(corpus)) == {"https://a.example/", "https://b.example/"}
    _all_hold(corpus)


def test_the_five_assets_alone_make_a_corpus_that_is_not_rated(tmp_path: Path, policy: Path) -> None:
    corpus = _corpus(tmp_path / "data", policy)
    bare = Corpus(tmp_path / "bare", profile())
    bare.seed_texts("texts.jsonl", GOOD)
    bare.run_five()
    assert bare.urls() == set(GOOD)
    assert bare.read("deduped_corpus")["failed_rules"].to_list() == [None] * len(GOOD)
    with pytest.raises(StoreError, match="no quality_signals yet: materialize quality_signals first"):
        deduped_corpus.refresh(
            bare.store,
            bare.profile.deduplication,
            "test",
            quality=stage.ruling_of(corpus.profile.quality),
            force=True,
        )


def test_a_document_without_signals_waits_where_others_are_dropped(tmp_path: Path, policy: Path) -> None:
    corpus = _corpus(tmp_path / "data", policy, GOOD)
    corpus.seed_texts("texts.jsonl", GOOD | {"https://a.example/0": words(900, 90)})
    corpus.run_five()
    assert corpus.urls() == set(GOOD) - {"https://a.example/0"}
    assert checks.conservation(corpus.store, corpus.profile).passed
    assert "wait" in checks.up_to_date(corpus.store, corpus.profile).summary
    corpus.run()
    assert corpus.urls() == set(GOOD)
    _all_hold(corpus)


def test_a_policy_that_takes_much_is_refused_until_somebody_means_it(tmp_path: Path, policy: Path) -> None:
    many = {f"https://c.example/{i}": words(i, 80) for i in range(60)}
    corpus = _corpus(tmp_path / "data", policy, many)
    policy.write_text(POLICY.replace("threshold: 40", "threshold: 4000"))
    with pytest.raises(CorpusShrankError, match="60 fails the policy: too_short"):
        corpus.run()
    assert corpus.urls() == set(many), "the corpus of before stands"


def test_another_policy_that_takes_much_is_meant_where_somebody_said_so(tmp_path: Path, policy: Path) -> None:
    many = {f"https://c.example/{i}": words(i, 80) for i in range(60)}
    corpus = Corpus(tmp_path / "data", profile(quality={"policy": str(policy)}))
    corpus.seed_texts("texts.jsonl", many)
    adopt(corpus.store, corpus.profile, confirmed=False, how="")
    corpus.run()
    strict = policy.with_name("strict.yaml")
    strict.write_text(POLICY.replace("threshold: 40", "threshold: 81"))
    other = _with(corpus, quality={"policy": str(strict)})
    adopt(other.store, other.profile, confirmed=False, how="")
    with pytest.raises(CorpusShrankError, match="The settings in quality are others than it was made with"):
        other.run()
    adopt(other.store, other.profile, confirmed=True, how="")
    other.run()
    assert other.urls() == set()
    assert len(_filtered(other)) == len(many)


def test_search_passes_over_what_is_kept_out_unless_it_is_asked_for(tmp_path: Path, policy: Path) -> None:
    corpus = _corpus(tmp_path / "data", policy)
    searcher = Searcher(corpus.store, corpus.profile)
    (text,) = SHORT.values()
    assert set(searcher.like(text, 20)["url"]) == set(GOOD)
    found = searcher.like(text, 20, filtered=True)
    assert found.row(0, named=True)["url"] == "https://b.example/short"
    assert dict(found.select("url", "is_filtered").iter_rows()) == {url: url not in GOOD for url in TEXTS}


def test_what_changed_names_the_rule(tmp_path: Path, policy: Path) -> None:
    corpus = _corpus(tmp_path / "data", policy, action="annotate")
    _with(corpus, quality={"action": "drop"}).run()
    corpus.run()
    first, second, third = (each.number for each in reversed(corpus.store.deduped_corpus.latest(3)))
    short = pl.col("url") == "https://b.example/short"
    gone = changes(corpus.root, since=first, until=second)
    assert gone.height == len(TEXTS) - len(GOOD)
    assert gone.filter(short).select("change", "cause", "detail").row(0) == (
        "removed",
        "settings changed",
        "fails the policy: too_short",
    )
    back = changes(corpus.root, since=second, until=third)
    assert back.filter(short).select("change", "cause", "detail").row(0) == (
        "added",
        "settings changed",
        "was kept out by rule too_short",
    )


def test_a_takedown_takes_the_signals_too_and_keeps_out_what_was_kept_out(tmp_path: Path, policy: Path) -> None:
    corpus = _corpus(tmp_path / "data", policy)
    takedown.forget(corpus.store, corpus.profile, "https://a.example/0")
    takedown.forget(corpus.store, corpus.profile, "https://b.example/short")
    assert corpus.urls() == set(GOOD) - {"https://a.example/0"}
    assert set(_filtered(corpus)) == set(HASHES | BOTH)
    assert corpus.read("quality_signals").height == len(TEXTS) - 2
    assert "words_v1" in corpus.read("quality_signals").columns
    assert {report.worked for report in corpus.run().values()} == {0}
    _all_hold(corpus)


def test_explain_names_policy_rule_value_and_threshold(tmp_path: Path, policy: Path) -> None:
    corpus = _corpus(tmp_path / "data", policy)
    found = explain.history(str(corpus.root), "https://b.example/short")
    assert found is not None
    steps = dict(found.steps)
    assert steps["quality_signals"] == "hashes_per_word_v1 0; words_v1 30"
    stamp = stage.ruling_of(corpus.profile.quality).policy.stamp
    assert steps["deduped_corpus"] == f"kept out by policy {stamp}: too_short (30, threshold 40)"


def test_equal_texts_are_looked_at_once_and_only_what_changed_again(tmp_path: Path, policy: Path) -> None:
    text = words(1, 80)
    corpus = Corpus(tmp_path / "data", profile())
    corpus.seed_texts("one.jsonl", {f"https://a.example/{i}": text for i in range(5)})
    assert corpus.run()["quality_signals"].worked == 1
    assert corpus.read("quality_signals")["words_v1"].to_list() == [80.0] * 5
    corpus.seed_texts(
        "one.jsonl", {f"https://a.example/{i}": text for i in range(5)} | {"https://a.example/0": "x " * 30}
    )
    assert corpus.run()["quality_signals"].worked == 1


def test_a_score_of_ones_own_is_a_signal_like_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, policy: Path
) -> None:
    (tmp_path / "mine_scores.py").write_text("VERSION = 1\ndef length(texts):\n    return [len(t) for t in texts]\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    policy.write_text(POLICY + "  - {name: too_long, signal: my_length, op: '>', threshold: 400}\n")
    own = {"my_length": {"python": "mine_scores:length"}}
    corpus = _corpus(tmp_path / "data", policy, classifiers=own)
    texts = dict(corpus.read("extracted_text").select("doc_id", "text").iter_rows())
    scores = dict(corpus.read("quality_signals").select("doc_id", "my_length").iter_rows())
    assert scores == {doc_id: float(len(text)) for doc_id, text in texts.items()}
    assert "too_long" in set(corpus.read("filter_decisions")["rule"])


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("def f(texts): raise ValueError('quoted ' + texts[0])", ":f failed: ValueError, scores_"),
        ("def f(texts): raise SystemExit(5)", "failed: SystemExit"),
        ("def f(texts) return []", "can be imported: SyntaxError"),
        ("raise SystemExit(5)", "can be imported: SystemExit"),
        ("def f(texts): return [1.0]", "was given 4 texts, and returned 1 scores"),
        ("def f(texts): return ['high'] * len(texts)", "a score is a number or None, and one is str"),
        ("def f(texts): return None", "returned NoneType, and not a score for each text"),
        ("f = 3", "is no function"),
        ("def g(texts): return []", "can be imported"),
    ],
)
def test_a_function_that_does_not_score_is_named_with_what_it_did(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, said: str
) -> None:
    module = f"scores_{abs(hash(code))}"
    (tmp_path / f"{module}.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ConfigError, match=r"quality\.classifiers\.mine") as error:
        _corpus(tmp_path / "data", "annotate", GOOD, classifiers={"mine": {"python": f"{module}:f"}})
    assert said in str(error.value)
    assert not any(text[:20] in str(error.value) for text in GOOD.values()), "it goes into Dagster's log"


def test_what_a_function_prints_is_no_part_of_what_programs_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "loud_scores.py").write_text(
        "print('here')\ndef f(texts):\n    print('there')\n    return [1] * len(texts)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    _corpus(tmp_path / "data", "annotate", GOOD, classifiers={"loud": {"python": "loud_scores:f"}})
    out, err = capsys.readouterr()
    assert out == "" and {"here", "there"} <= set(err.split())


def test_a_value_that_is_no_number_is_null(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "odd_scores.py").write_text("def f(texts): return [1, -1e39, float('nan'), 1e300][:len(texts)]")
    monkeypatch.syspath_prepend(str(tmp_path))
    texts = dict(list(GOOD.items())[:6])
    corpus = _corpus(tmp_path / "data", "annotate", texts, classifiers={"odd": {"python": "odd_scores:f"}})
    assert sorted(corpus.read("quality_signals")["odd"].to_list(), key=str) == [1.0, 1.0, *[None] * 4]
    _all_hold(corpus)
