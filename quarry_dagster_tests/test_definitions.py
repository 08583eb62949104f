"""What Dagster is given: names that people and dashboards rely on, and definitions that load fast."""

import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from quarry_dagster.definitions import build_defs
from quarry_dagster.errors import ConfigError
from quarry_dagster.orchestration import runner
from quarry_dagster.orchestration.partitions import consecutive, sync_partitions
from quarry_dagster.store.schemas import DEDUPED_CORPUS, EXTRACTED_TEXT, RAW_PAGES
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
        "deduped_corpus": ["faiss_index", "quality_signals"],
        "page_metadata": ["extracted_text", "raw_pages"],
        "personal_data": ["extracted_text"],
        "quality_signals": ["extracted_text"],
        "corpus_report": ["deduped_corpus", "page_metadata", "personal_data"],
        "corpus_export": ["deduped_corpus", "page_metadata", "personal_data", "quality_signals"],
    }
    partitioned = {k.to_user_string() for k in graph.get_all_asset_keys() if graph.get(k).partitions_def}
    described = {"page_metadata", "personal_data", "quality_signals"}
    assert partitioned == {"raw_pages", "extracted_text", "embeddings"} | described
    jobs = {j for j in repository.job_names if not j.startswith("__")}
    assert jobs == {"ingest", "embed", "corpus", "everything", "compaction", "checks"}
    assert {s.name for s in repository.sensor_defs} == {"new_crawl_seeds", "refresh_corpus", "dead_runs"}
    assert {(s.name, s.job_name, s.cron_schedule, s.execution_timezone) for s in repository.schedule_defs} == {
        ("recrawl", "ingest", "0 2 * * *", "UTC"),
        ("corpus_refresh", "corpus", "0 6 * * *", "UTC"),
        ("index_compaction", "compaction", "0 4 * * 0", "UTC"),
    }
    checks = {k.to_user_string(): graph.get(k).blocking for k in graph.asset_check_keys}
    assert checks == {
        "raw_pages:contract": True,
        "raw_pages:fetch_success": False,
        "extracted_text:contract": True,
        "extracted_text:extraction_yield": False,
        "extracted_text:language_drift": False,
        "page_metadata:contract": True,
        "personal_data:contract": True,
        "quality_signals:contract": True,
        "embeddings:contract": True,
        "embeddings:vectors": True,
        "faiss_index:contract": True,
        "faiss_index:recall_at_10": True,
        "deduped_corpus:contract": True,
        "deduped_corpus:conservation": True,
        "deduped_corpus:witnesses": True,
        "deduped_corpus:no_duplicates_left": True,
        "deduped_corpus:removal_rate": False,
        "deduped_corpus:large_clusters": False,
        "deduped_corpus:corpus_shrank": True,
        "deduped_corpus:up_to_date": False,
        "corpus_export:as_promised": False,
    }


def test_pools_keep_two_runs_from_writing_one_table() -> None:
    graph = build_defs(profile="workstation").get_repository_def().asset_graph
    assert {k.to_user_string(): graph.get(k).pools for k in graph.get_all_asset_keys()} == {
        "raw_pages": {"raw_pages"},
        "extracted_text": {"extracted_text"},
        "embeddings": {"embeddings"},
        "page_metadata": {"page_metadata"},
        "personal_data": {"personal_data"},
        "quality_signals": {"quality_signals"},
        "faiss_index": {"corpus"},
        "deduped_corpus": {"corpus"},
        "corpus_report": {"corpus"},
        "corpus_export": {"corpus"},
    }


def test_columns_and_their_meanings_are_shown() -> None:
    graph = build_defs(profile="workstation").get_repository_def().asset_graph
    for name, schema in (
        ("raw_pages", RAW_PAGES),
        ("extracted_text", EXTRACTED_TEXT),
        ("deduped_corpus", DEDUPED_CORPUS),
    ):
        found = graph.get(dg.AssetKey(name)).metadata["dagster/column_schema"]
        columns = found.columns if isinstance(found, dg.TableSchema) else found.value.columns
        assert [c.name for c in columns] == list(schema)
        assert all(c.description for c in columns)


@pytest.mark.parametrize("enabled", [False, True])
def test_one_setting_switches_all_automation_on(tmp_path: Path, enabled: bool) -> None:
    (tmp_path / "mine.yaml").write_text(
        f"automation: {{enabled: {str(enabled).lower()}, timezone: Europe/Berlin, recrawl_cron: '30 1 * * 6'}}"
    )
    repository = build_defs(profile=str(tmp_path / "mine.yaml")).get_repository_def()
    running = {
        x.name for x in (*repository.sensor_defs, *repository.schedule_defs) if x.default_status.value == "RUNNING"
    }
    everything = {"new_crawl_seeds", "refresh_corpus", "recrawl", "corpus_refresh", "index_compaction"}
    assert running == {"dead_runs"} | (everything if enabled else set())
    recrawl = repository.get_schedule_def("recrawl")
    assert (recrawl.cron_schedule, recrawl.execution_timezone) == ("30 1 * * 6", "Europe/Berlin")


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


DAGSTERS_OWN = ("orchestration", "definitions", "cli")
"""Modules and packages of `quarry_dagster` that may import dagster. No other may, and each of these must be there."""


def test_nothing_imports_dagster_but_what_is_dagsters_own() -> None:
    package = ROOT / "quarry_dagster"
    for name in DAGSTERS_OWN:
        assert (package / name).is_dir() or (package / f"{name}.py").is_file(), name
    program = """
import importlib, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
    if "dagster" in sys.modules:
        sys.exit(f"{name} imports dagster")
print(len(sys.argv[1:]), "modules")
"""
    paths = sorted(p.relative_to(ROOT).with_suffix("") for p in package.rglob("*.py"))
    others = [".".join(p.parts).removesuffix(".__init__") for p in paths if p.parts[1] not in DAGSTERS_OWN]
    done = subprocess.run(
        [sys.executable, "-c", program, *others], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{len(others)} modules\n", "")
    assert len(others) > 90


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
        defs = build_defs(str(corpus.root), "raspberry_pi")
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
                instance, names, data=str(corpus.root), profile_name="raspberry_pi", profile=corpus.profile
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


@pytest.mark.timeout(60)
def test_two_steps_of_a_run_in_one_pool_do_not_wait_for_each_other() -> None:
    from quarry_dagster.orchestration.runner import _wait_for_slot

    with dg.instance_for_test() as instance:
        log = instance.event_log_storage
        log.set_concurrency_slots("corpus", 1)
        for run, step in (("another", "deduped_corpus"), ("mine", "corpus_export"), ("mine", "corpus_report")):
            log.claim_concurrency_slot("corpus", run, step)
        log.free_concurrency_slots_for_run("another")
        assigned = [s.step_key for s in log.get_concurrency_info("corpus").pending_steps if s.assigned_timestamp]
        assert len(assigned) == 1, "one has the slot, and whichever is asked about is told to go on"
        assert all(_wait_for_slot(instance, "corpus", "mine", step) for step in ("corpus_export", "corpus_report"))
