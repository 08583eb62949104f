"""What Dagster is given: names that people and dashboards rely on, and definitions that load fast."""

import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from quarry_dagster import checks, runner
from quarry_dagster.definitions import build_defs
from quarry_dagster.errors import ConfigError
from quarry_dagster.partitions import consecutive, sync_partitions
from quarry_dagster.resources import Quarry
from quarry_dagster.stages.deduped_corpus import KEPT_SCHEMA
from quarry_dagster_tests.corpus import Corpus, words

ROOT = Path(__file__).parent.parent


def test_names_that_users_rely_on() -> None:
    repository = build_defs(profile="workstation").get_repository_def()
    graph = repository.asset_graph
    assert {
        k.to_user_string(): sorted(p.to_user_string() for p in graph.get(k).parent_keys)
        for k in graph.get_all_asset_keys()
    } == {
        "raw_pages": [],
        "extracted_text": ["raw_pages"],
        "embeddings": ["extracted_text"],
        "faiss_index": ["embeddings"],
        "deduped_corpus": ["faiss_index"],
    }
    partitioned = {k.to_user_string() for k in graph.get_all_asset_keys() if graph.get(k).partitions_def}
    assert partitioned == {"raw_pages", "extracted_text", "embeddings"}
    assert {j for j in repository.job_names if not j.startswith("__")} == {"ingest", "corpus"}
    assert {s.name for s in repository.sensor_defs} == {"new_crawl_seeds", "refresh_corpus"}
    assert {k.to_user_string() for k in graph.asset_check_keys} == {
        "deduped_corpus:conservation",
        "deduped_corpus:witnesses",
    }


def test_the_profile_sets_how_many_partitions_a_run_takes() -> None:
    graph = build_defs(profile="raspberry_pi").get_repository_def().asset_graph
    policy = graph.get(dg.AssetKey("raw_pages")).backfill_policy
    assert policy is not None and policy.max_partitions_per_run == 4


def test_a_wrong_profile_stops_the_definitions_with_its_name() -> None:
    with pytest.raises(ConfigError, match="no_such_profile"):
        build_defs(profile="no_such_profile")


def test_definitions_load_without_heavy_libraries() -> None:
    program = """
import sys, quarry_dagster.definitions
heavy = {"torch", "sentence_transformers", "transformers", "faiss", "trafilatura", "aiohttp", "py3langid"}
print(sorted(heavy & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_importing_the_package_alone_costs_no_polars() -> None:
    program = "import sys, quarry_dagster.extract; print('polars' in sys.modules, 'dagster' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False False"


def test_domain_modules_know_nothing_of_dagster() -> None:
    package = ROOT / "quarry_dagster"
    for folder in ("crawl", "seeds", "extract", "embed", "index", "dedup", "store", "stages"):
        for path in (package / folder).glob("*.py"):
            assert "import dagster" not in path.read_text() and "from dagster" not in path.read_text(), path


def test_the_workspace_is_valid_from_another_folder(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "dagster", "definitions", "validate", "-w", str(ROOT / "workspace.yaml")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_partitions_follow_the_data_root_and_a_deleted_one_goes(corpus: Corpus) -> None:
    corpus.seed_texts("a.jsonl", {f"http://a.test/{i}": words(i) for i in range(25)})
    corpus.take_in()
    with dg.DagsterInstance.local_temp() as instance:
        names = sync_partitions(instance, corpus.store)
        assert instance.get_dynamic_partitions("crawl_batches") == names and len(names) == 3
        defs = build_defs(str(corpus.root), "workstation")
        for name in names:
            job = defs.resolve_job_def("ingest")
            assert job.execute_in_process(instance=instance, partition_key=name).success
        assert defs.resolve_job_def("corpus").execute_in_process(instance=instance).success
        assert len(corpus.urls()) == 25

        instance.delete_dynamic_partition("crawl_batches", names[0])
        assert sync_partitions(instance, corpus.store) == names[1:]
        assert len(corpus.urls()) == 25  # what is published can be read until the next is
        assert defs.resolve_job_def("corpus").execute_in_process(instance=instance).success
        assert len(corpus.urls()) == 15
    # An instance that knows nothing, as after a loss of DAGSTER_HOME, learns the partitions and loses no document.
    with dg.DagsterInstance.local_temp() as instance:
        assert sync_partitions(instance, corpus.store) == names[1:]
        assert defs.resolve_job_def("corpus").execute_in_process(instance=instance).success
        assert len(corpus.urls()) == 15


def test_a_seed_dropped_again_after_its_partition_was_deleted_comes_back(corpus: Corpus) -> None:
    texts = {f"http://a.test/{i}": words(i) for i in range(25)}
    corpus.seed_texts("a.jsonl", texts)
    corpus.take_in()
    with dg.DagsterInstance.local_temp() as instance:

        def run() -> None:
            names = sync_partitions(instance, corpus.store)
            outcome = runner.materialize(
                instance, names, data=str(corpus.root), profile_name="workstation", profile=corpus.profile
            )
            assert not outcome.failures

        run()
        instance.delete_dynamic_partition("crawl_batches", sync_partitions(instance, corpus.store)[0])
        corpus.seed_texts("b.jsonl", texts)
        sync_partitions(instance, corpus.store)
        assert corpus.take_in()[0].added == 10
        run()
        assert corpus.urls() == set(texts)
        instance.add_dynamic_partitions("crawl_batches", ["of-another-data-root"])
        run()


def test_runs_take_only_wanted_partitions_that_follow_each_other() -> None:
    listed = ["c", "a", "x", "b", "d", "e"]
    assert consecutive(listed, {"a", "b", "c", "d", "e"}, 2) == [["c", "a"], ["b", "d"], ["e"]]
    assert consecutive([], set(), 2) == []


@pytest.mark.parametrize("check", ["conservation", "witnesses"])
def test_a_blocking_check_fails_on_planted_bad_data(corpus: Corpus, check: str) -> None:
    corpus.seed_texts("a.jsonl", {f"http://a.test/{i}": words(i % 5) for i in range(10)})
    corpus.run()
    snapshot = corpus.store.deduped_corpus.current()
    assert snapshot is not None
    kept = snapshot.path("kept.parquet")
    corpus.store.files.write_frame(kept, corpus.store.files.scan([kept], KEPT_SCHEMA).collect().tail(-1))
    definition = getattr(checks, check)
    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize(
            [definition],
            instance=instance,
            resources={"quarry": Quarry(data=str(corpus.root))},
            selection=dg.AssetSelection.checks(definition),
            raise_on_error=False,
        )
        (evaluation,) = result.get_asset_check_evaluations()
        assert not evaluation.passed
        assert evaluation.severity == dg.AssetCheckSeverity.ERROR
        assert definition.get_spec_for_check_key(evaluation.asset_check_key).blocking
