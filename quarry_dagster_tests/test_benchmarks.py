"""The benchmarks run, and their judge is right."""

import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from benchmarks import embedding, guide
from benchmarks.dedup import score
from benchmarks.planted import BASE, CHANGES, HARD_NEGATIVES, generate
from quarry_dagster.embed import backend
from quarry_dagster.gpu import list_gpus
from quarry_dagster_tests.corpus import words

ROOT = Path(__file__).parent.parent


def labelled(*rows: tuple[str, str, str, str]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=["id", "text", "cluster", "kind"], orient="row")


def test_the_judge_counts_what_is_right_wrong_and_lost() -> None:
    first, second, third = words(1, 200), words(2, 200), words(3, 200)
    texts = labelled(
        ("base", first, "1", BASE),
        ("copy", first, "1", "exact"),
        ("part", first[: len(first) // 4], "1", "excerpt"),
        ("other", second, "2", BASE),
        ("quoted", second, "3", BASE),  # a natural duplicate: nobody planted it
        ("chrome", third, "4", "hard: chrome"),
    )
    nothing = score(texts, [])
    assert (nothing.recall, nothing.precision, nothing.wrong, nothing.losing) == (0, 1, [], 0)
    perfect = score(texts, [("copy", "base"), ("part", "base"), ("quoted", "other")])
    assert (perfect.recall, perfect.precision, perfect.wrong, perfect.losing) == (1, 1, [], 0)
    turned = score(texts, [("base", "part"), ("copy", "part")])  # duplicates, but the longest is gone
    assert (turned.recall, turned.precision, turned.losing) == (1, 1, 2)
    mixed = score(texts, [("copy", "base"), ("chrome", "other"), ("part", "other"), ("other", "base")])
    assert mixed.by_kind == {"exact": (1, 1), "excerpt": (0, 1)}
    assert (mixed.recall, mixed.precision, len(mixed.wrong)) == (0.5, 0.25, 3)
    assert (mixed.hard_negatives, mixed.losing) == (1, 3)


def test_generated_documents_have_every_kind_and_are_the_same_for_a_seed() -> None:
    made = generate(150, seed=5)
    assert made.equals(generate(150, seed=5))
    assert made.height == 150
    assert set(made["kind"]) == {BASE, *CHANGES, *HARD_NEGATIVES}
    assert made["id"].is_unique().all()
    bases = made.filter(pl.col("kind") == BASE)
    assert set(made.filter(pl.col("kind").is_in(list(CHANGES)))["cluster"]) <= set(bases["cluster"])


@pytest.mark.slow
def test_the_comparison_runs_where_no_peer_is_installed() -> None:
    """-S hides the peers, should they be there."""
    command = [sys.executable, "-m", "benchmarks.dedup", "--documents", "40", "--peers-python", _without_packages()]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "| QuarryCore |" in done.stdout
    assert "| guide's rule: cosine >= .85 |" in done.stdout
    assert done.stdout.count("skipped: ") == 4


def test_ways_to_embed_that_are_not_installed_are_skipped_with_a_word(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(backend, "find_spec", lambda name: None)
    converted = ("OpenVINO ", "ONNX Runtime ")
    assert embedding.installed(embedding.WAYS) == [way for way in embedding.WAYS if not way.startswith(converted)]
    out = capsys.readouterr().out
    assert out.count("skipped: OpenVINO ") == out.count("pip install 'quarry-dagster[workstation]'") == 3
    assert out.count("skipped: ONNX Runtime ") == out.count("pip install 'quarry-dagster[onnx]'") == 2


@pytest.mark.slow
@pytest.mark.parametrize("part", ["speed", "again"])
def test_the_crawlers_are_compared_where_no_peer_is_installed(part: str) -> None:
    command = [sys.executable, "-m", "benchmarks.crawl", "--pages", "100", "--runs", "1", "--only", part]
    peers = ["--peers-python", _without_packages()]
    done = subprocess.run([*command, *peers], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("skipped: ") == 2
    assert ("| QuarryCore " in done.stdout) == (part == "speed")
    assert ("| 1 pages changed |" in done.stdout) == (part == "again")


def test_the_joins_are_compared() -> None:
    command = [sys.executable, "-m", "benchmarks.join", "--sizes", "1000,2000", "--cells", "6000"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for part in (
        "| 2,000 | threshold join, int8 |",
        "IndexHNSWFlat",
        "the cost grows as",
        "cell join, margin 0.1",
    ):
        assert part in done.stdout


def _without_packages() -> str:
    """The interpreter that this environment was made from: it has no peers."""
    return str(Path(sys.base_prefix) / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}")


def test_the_index_types_are_compared() -> None:
    command = [sys.executable, "-m", "benchmarks.index", "--sizes", "3000", "--types", "IndexFlatIP,IndexIVFRaBitQ"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "| IndexFlatIP |  |" in done.stdout and done.stdout.count("| 1.000 | 1.000 |") == 1
    assert done.stdout.count("| IndexIVFRaBitQ | nprobe") == 4


@pytest.mark.slow
def test_the_pipeline_is_measured_in_speed_and_memory() -> None:
    command = [sys.executable, "-m", "benchmarks.pipeline", "--pages", "30", "--profiles", "raspberry_pi"]
    sizes = ["--documents", "raspberry_pi=100"]
    done = subprocess.run([*command, *sizes], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "| raspberry_pi | **" in done.stdout and "extracted_text" in done.stdout
    assert "\n| 100 | " in done.stdout


@pytest.mark.slow
def test_the_guides_table_is_measured_and_its_gpu_rows_say_that_they_were_not_run() -> None:
    command = [sys.executable, "-m", "benchmarks.guide", "--pages", "30", "--texts", "80", "--vectors", "2000"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = [line for line in done.stdout.splitlines() if line.startswith("| ")]
    assert [row.split(" | ")[0] for row in rows[2:]] == [f"| {row.name}" for row in guide.ROWS]
    measured = not guide.RESULTS.exists()
    assert done.stdout.count("| not run |") == (6 if measured else 0)


def test_gpus_are_measured_where_there_is_one_and_else_it_says_so(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.gpu", "--out", str(tmp_path / "found.json"), "--pages", "30"]
    if list_gpus():
        command += ["--texts", "80", "--vectors", "2000"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "found.json").exists() == bool(list_gpus())
    assert ("not run: there is no GPU" in done.stdout) == (not list_gpus())
