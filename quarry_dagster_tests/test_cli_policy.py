"""`quarry policy` and the report: what a policy would take, told and changing nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from quarry_dagster.quality.policy import shipped
from quarry_dagster.stages import corpus_report
from quarry_dagster_tests.corpus import Corpus, Quarry, profile, words
from quarry_dagster_tests.test_quality_corpus import BOTH, GOOD, HASHES, POLICY, SHORT, TEXTS

HOSTILE = "https://evil.example/<script>alert(1)</script>"


@pytest.fixture(scope="module")
def rated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Corpus, Path]]:
    """A corpus of ten texts under a policy that annotates, and the policy's file."""
    folder = tmp_path_factory.mktemp("rated")
    policy = folder / "mine.yaml"
    policy.write_text(POLICY)
    corpus = Corpus(folder / "data", profile(quality={"policy": str(policy), "action": "annotate"}))
    corpus.seed_texts("texts.jsonl", TEXTS | {HOSTILE: f"\x1b[31m<b>{words(900, 20)}</b>"})
    corpus.run()
    yield corpus, policy


def test_list_names_every_policy_and_show_every_rule(quarry: Quarry) -> None:
    status, out, _ = quarry("policy", "list")
    assert status == 0
    assert [line.split()[0] for line in out.splitlines()] == shipped()
    status, out, _ = quarry("policy", "show", "gopher@1", "--json")
    rules = json.loads(out)["rules"]
    assert {"name": "gopher_short_doc", "signal": "words_v1", "op": "<", "threshold": 50.0}.items() <= rules[
        [rule["name"] for rule in rules].index("gopher_short_doc")
    ].items()
    _, out, _ = quarry("policy", "show", "gopher@1")
    assert "words_v1 < 50" in out


def test_the_report_counts_by_rule_host_language_and_page_type(quarry: Quarry, rated: tuple[Corpus, Path]) -> None:
    corpus, policy = rated
    before = corpus.files()
    status, out, err = quarry("policy", "report", str(policy), "--data", str(corpus.root), "--json")
    assert (status, err) == (0, "")
    found = json.loads(out)
    assert (found["documents"], found["taken"], found["kept_now"]) == (len(TEXTS) + 1, 5, 5)
    assert {rule["name"]: (rule["documents"], rule["alone"]) for rule in found["rules"]} == {
        "too_many_hashes": (len(HASHES | BOTH), len(HASHES)),
        "too_short": (len(SHORT | BOTH) + 1, len(SHORT) + 1),
    }
    assert {host["value"]: host["taken"] for host in found["hosts"]} == {
        "b.example": 4,
        "evil.example": 1,
        "a.example": 0,
    }
    assert sum(each["taken"] for each in found["languages"]) == 5
    assert found["page_types"] == [{"value": "none", "documents": 11, "taken": 5}]
    assert found["overlaps"].keys() >= {"fineweb@1", "gopher@1", "c4@1"}
    assert corpus.files() == before


def test_the_texts_nearest_a_threshold_are_shown_on_both_sides(quarry: Quarry, rated: tuple[Corpus, Path]) -> None:
    corpus, policy = rated
    ask = ("policy", "report", str(policy), "--data", str(corpus.root), "--rule", "too_short", "--texts", "2")
    _, out, _ = quarry(*ask, "--json")
    (rule,) = json.loads(out)["rules"]
    assert [(near["value"], near["fails"]) for near in rule["nearest"]] == [
        (30.0, True),
        (30.0, True),
        (60.0, False),
        (60.0, False),
    ]
    assert all(near["opening"] for near in rule["nearest"])
    _, out, _ = quarry(*ask[:-1], "20")
    assert "just taken:" in out and "just left:" in out
    assert "\x1b[31m" not in out, "what a page wrote does not steer a terminal"


def test_labels_say_how_often_a_policy_is_wrong(quarry: Quarry, rated: tuple[Corpus, Path], tmp_path: Path) -> None:
    corpus, policy = rated
    ids = dict(corpus.read("extracted_text").select("url", "doc_id").iter_rows())
    rows = [{"url": url, "keep": True} for url in GOOD]
    rows += [{"doc_id": ids[url], "keep": False} for url in HASHES] + [
        {"doc_id": ids[url], "keep": True} for url in SHORT
    ]
    rows += [{"url": "https://nowhere.example/", "keep": False}]
    labels = tmp_path / "labels.jsonl"
    labels.write_text("\n".join(map(json.dumps, rows)))
    _, out, _ = quarry("policy", "report", str(policy), "--data", str(corpus.root), "--labels", str(labels), "--json")
    assert json.loads(out)["labels"] == {"good": 7, "good_taken": 1, "bad": 2, "bad_taken": 2, "unknown": 1}


def test_labels_are_of_a_document_however_its_url_is_written_and_may_not_contradict(
    quarry: Quarry, rated: tuple[Corpus, Path], tmp_path: Path
) -> None:
    labels = tmp_path / "labels.jsonl"
    labels.write_text('\ufeff{"url": "HTTPS://A.example:443/0#top", "keep": true}\n', encoding="utf-8")
    ask = ("policy", "report", "quarry@1", "--data", str(rated[0].root), "--labels", str(labels))
    assert json.loads(quarry(*ask, "--json")[1])["labels"]["good"] == 1
    labels.write_text('{"url": "https://a.example/0", "keep": true}\n{"url": "https://a.example/0", "keep": false}\n')
    assert "line 2: an earlier line says the contrary" in quarry(*ask)[2]
    labels.write_text("")
    assert "there is no label in it" in quarry(*ask)[2]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "line 2: not JSON"),
        ("[]", "line 2: a label has doc_id or url, and keep: true or false"),
        ('{"url": "https://a.example/0"}', "line 2: a label has"),
        ('{"url": "https://a.example/0", "keep": "yes"}', "line 2: a label has"),
        ('{"keep": true}', "line 2: a label has"),
    ],
)
def test_a_line_that_is_no_label_is_named(
    quarry: Quarry, rated: tuple[Corpus, Path], tmp_path: Path, line: str, said: str
) -> None:
    labels = tmp_path / "labels.jsonl"
    labels.write_text('{"url": "https://a.example/0", "keep": true}\n' + line)
    status, _, err = quarry("policy", "report", "quarry@1", "--data", str(rated[0].root), "--labels", str(labels))
    assert status == 1 and f"{labels}, {said}" in err


def test_a_rule_that_a_policy_has_not_is_told(quarry: Quarry, rated: tuple[Corpus, Path]) -> None:
    status, _, err = quarry("policy", "report", str(rated[1]), "--data", str(rated[0].root), "--rule", "short")
    assert status == 1 and "has no rule 'short'; it has too_many_hashes, too_short" in err


def test_the_page_shows_signals_thresholds_hosts_and_samples_and_runs_nothing(rated: tuple[Corpus, Path]) -> None:
    corpus, _ = rated
    corpus_report.refresh(corpus.store, corpus.profile)
    page = (corpus.root / "corpus_report" / "index.html").read_text()
    part = page[page.index('<section id="quality">') : page.index('<section id="clusters">')]
    assert part.count("<svg") == 2 and part.count("<line") == 2
    assert "fails: &lt; 40" in part and "too_many_hashes" in part and "b.example" in part
    assert "<script" not in page and "<b>" not in part
