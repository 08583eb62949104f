"""A fastText model, trained here and written as fastText writes it, scores texts; a file that is none is named."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from quarry_dagster.errors import ConfigError
from quarry_dagster.quality.classifiers import fasttext_scorer
from quarry_dagster_tests.corpus import Corpus, profile

GOOD = ["the", "study", "measures", "results", "of", "theory", "with", "evidence", "and", "method"]
BAD = ["click", "buy", "now", "cheap", "login", "cookie", "offer", "deal", "free", "win"]


def _train(path: Path, dim: int = 4) -> None:
    """Train a bag of words with softmax by gradient descent, and write it in fastText's format, version 12."""
    rng = np.random.default_rng(0)
    vocabulary = [*GOOD, *BAD, "</s>"]
    given, out = rng.normal(0, 0.1, (len(vocabulary), dim)), np.zeros((2, dim))
    for _ in range(2000):
        label = int(rng.integers(2))
        words = rng.integers(0, len(GOOD), 8) if label == 0 else len(GOOD) + rng.integers(0, len(BAD), 8)
        hidden = given[words].mean(axis=0)
        scores = np.exp(out @ hidden)
        error = scores / scores.sum() - np.eye(2)[label]
        given[words] -= 0.5 * (error @ out) / len(words)
        out -= 0.5 * np.outer(error, hidden)
    # dim, ws, epoch, minCount, neg, wordNgrams, loss (softmax), model (supervised), bucket, minn, maxn, lrUpdateRate, t
    parts = [struct.pack("<ii", 793712314, 12), struct.pack("<12id", dim, 5, 5, 1, 5, 1, 3, 3, 0, 0, 0, 100, 1e-4)]
    entries = [(word, 0) for word in vocabulary] + [("__label__good", 1), ("__label__bad", 1)]
    parts.append(struct.pack("<iiiqq", len(entries), len(vocabulary), 2, 16_000, -1))
    parts += [word.encode() + b"\0" + struct.pack("<qb", 100, kind) for word, kind in entries]
    for matrix in (given, out):
        parts.append(struct.pack("<?qq", False, *matrix.shape) + matrix.astype("<f4").tobytes())
    path.write_bytes(b"".join(parts))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "quality.bin"
    _train(path)
    return path


def test_a_score_is_the_probability_of_the_label(model: Path) -> None:
    good, bad = (fasttext_scorer("edu", str(model), label) for label in ("good", "__label__bad"))
    texts = ["the study\nmeasures results", "click buy now", "\ud800 theory \0", ""]
    for_good, for_bad = good.score(texts), bad.score(texts)
    assert for_good[0] is not None and for_good[0] > 0.9
    assert for_bad[1] is not None and for_bad[1] > 0.9
    assert all(
        a is not None and b is not None and abs(a + b - 1) < 1e-3 for a, b in zip(for_good[:3], for_bad, strict=False)
    )
    assert good.version != bad.version


def test_a_profile_names_the_model_from_its_own_folder_and_a_policy_uses_it(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from quarry_dagster.profiles.choose import load_profile

    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "q.bin").write_bytes(model.read_bytes())
    (tmp_path / "mine.yaml").write_text(
        "name: mine\nversion: 1\naction: drop\nrules:\n  - {name: spam, signal: edu, op: '<', threshold: 0.5}\n"
    )
    (tmp_path / "profile.yaml").write_text(
        "quality:\n  policy: mine.yaml\n  classifiers:\n    edu: {fasttext: models/q.bin, label: good}\n"
    )
    monkeypatch.chdir("/")
    quality = load_profile(str(tmp_path / "profile.yaml")).quality.model_dump()
    corpus = Corpus(tmp_path / "data", profile(quality=quality))
    texts = {"https://a.example/good": " ".join(GOOD * 4), "https://a.example/bad": " ".join(BAD * 4)}
    corpus.seed_texts("texts.jsonl", texts)
    corpus.run()
    assert corpus.urls() == {"https://a.example/good"}


@pytest.mark.parametrize(
    ("content", "label", "said"),
    [
        (None, "good", "there is no fastText model"),
        (b"", "good", "is no fastText model"),
        (b"\x80\x04K\x01.", "good", "is no fastText model"),
        (
            struct.pack("<ii", 793712314, 12),
            "good",
            "is damaged, or a fastText model of another version: it ends before",
        ),
        (struct.pack("<ii", 793712314, 99), "good", "its version is 99"),
    ],
)
def test_a_file_that_is_no_model_is_named_and_nothing_in_it_is_run(
    tmp_path: Path, content: bytes | None, label: str, said: str
) -> None:
    path = tmp_path / "q.bin"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"quality\.classifiers\.edu") as error:
        fasttext_scorer("edu", str(path), label)
    assert said in str(error.value)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("lacks", [1, 3, 40, 80, 200])
def test_a_model_that_is_cut_off_is_told_and_never_scores(model: Path, tmp_path: Path, lacks: int) -> None:
    cut = tmp_path / "cut.bin"
    cut.write_bytes(model.read_bytes()[:-lacks])
    with pytest.raises(ConfigError, match="it ends before what it says it holds"):
        fasttext_scorer("edu", str(cut), "good")
    cut.write_bytes(model.read_bytes() + b"\0")
    with pytest.raises(ConfigError, match="it goes on behind its end"):
        fasttext_scorer("edu", str(cut), "good")


def test_a_damaged_model_ends_no_process_and_fills_no_memory(model: Path, tmp_path: Path) -> None:
    content = model.read_bytes()
    for at in (12, 60, 76, len(content) // 2, len(content) - 200):
        damaged = tmp_path / f"{at}.bin"
        damaged.write_bytes(content[:at] + b"\xff\xff\xff\x0f" + content[at + 4 :])
        try:
            scores = fasttext_scorer("edu", str(damaged), "good").score(["the study measures"])
        except ConfigError as error:
            assert str(damaged) in str(error)
        else:
            assert scores == [None] or isinstance(scores[0], float)


def test_a_label_that_the_model_has_not_is_told_with_the_nearest(model: Path) -> None:
    with pytest.raises(ConfigError, match="has no '__label__god'; the nearest of its labels is '__label__good'"):
        fasttext_scorer("edu", str(model), "god")
