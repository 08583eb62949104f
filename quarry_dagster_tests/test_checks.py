"""Every blocking check fails on data planted to break what it protects, and then so do the commands that CI runs."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import dagster as dg
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from quarry_dagster.checks import Finding, deduped_corpus, embeddings, extracted_text, faiss_index, raw_pages
from quarry_dagster.cli import quarry
from quarry_dagster.definitions import build_defs
from quarry_dagster.orchestration import asset_checks as checks
from quarry_dagster.orchestration.partitions import sync_partitions
from quarry_dagster.search import Searcher
from quarry_dagster.stages import embeddings as embedding_stage
from quarry_dagster.stages import faiss_index as index_stage
from quarry_dagster.stages.corpus import deduped_corpus as corpus_stage
from quarry_dagster.store import Fingerprint, Store, VectorNotes
from quarry_dagster.store.schemas import embeddings_schema
from quarry_dagster_tests import breaches
from quarry_dagster_tests.breaches import GATES, PLANTED
from quarry_dagster_tests.corpus import Corpus, overwrite, profile, words

PROFILE = """
hardware: {workers: 1}
partitions: {pages_per_partition: 20}
embedding: {device: cpu, max_tokens: 64}
"""


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a corpus of 40 texts and 6 copies, made by `quarry run`, and the profile it was made with."""
    folder = tmp_path_factory.mktemp("sound")
    (folder / "profile.yaml").write_text(PROFILE)
    corpus = Corpus(folder, profile())
    texts = {f"http://a.test/{i}": words(i) for i in range(40)}
    copies = {f"http://b.test/{i}": words(i) for i in range(3)}
    copies |= {f"http://c.test/{i}": words(i) + " And these are some more words." for i in range(3, 6)}
    corpus.seed_texts("seeds.jsonl", texts | copies)
    result = CliRunner().invoke(quarry, ["run", str(folder / "seeds" / "seeds.jsonl"), *_options(folder)])
    assert result.exit_code == 0, result.output
    return folder


@pytest.fixture
def folder(sound: Path, tmp_path: Path) -> Path:
    """A copy of it to damage."""
    return Path(shutil.copytree(sound, tmp_path / "copy"))


def _options(folder: Path) -> list[str]:
    return ["--data", str(folder / "data"), "--profile", str(folder / "profile.yaml")]


def test_every_blocking_check_has_planted_bad_data() -> None:
    specs = [spec for definition in checks.ALL for spec in definition.check_specs]
    blocking = {f"{spec.asset_key.to_user_string()} {spec.name}" for spec in specs if spec.blocking}
    assert blocking == set(GATES)


def test_a_sound_corpus_passes_every_check(sound: Path) -> None:
    result = CliRunner().invoke(quarry, ["check", "--strict", *_options(sound)])
    assert result.exit_code == 0, result.output
    lines = result.stdout.strip().split("\n")
    assert len(lines) == len(checks.ALL)
    assert all(line.startswith("passed") for line in lines)


@pytest.mark.parametrize(("name", "plant"), PLANTED, ids=[f"{n}-{p.__name__}" for n, p in PLANTED])
def test_the_check_is_an_error_on_what_is_planted_for_it(
    folder: Path, name: str, plant: Callable[[Store], None]
) -> None:
    """The one check, asked through Dagster in this process."""
    plant(Store(str(folder / "data")))
    asset, check = name.split()
    key = dg.AssetCheckKey(dg.AssetKey(asset), check)
    every = build_defs(str(folder / "data"), str(folder / "profile.yaml")).resolve_job_def("checks")
    with dg.DagsterInstance.ephemeral() as instance:
        asked = every.get_subset(asset_check_selection={key}).execute_in_process(
            instance=instance, raise_on_error=False
        )
    (answer,) = asked.get_asset_check_evaluations()
    assert answer.asset_check_key == key
    assert (answer.passed, answer.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert answer.description


def test_quarry_check_exits_with_1_and_names_each_failed_check(folder: Path) -> None:
    """One that is asked of partitions, and one of a whole table."""
    store = Store(str(folder / "data"))
    breaches.empty_text(store)
    breaches.dangling_witness(store)
    result = CliRunner().invoke(quarry, ["check", *_options(folder)])
    assert result.exit_code == 1
    for name in ("contract of extracted_text", "witnesses of deduped_corpus"):
        assert f"failed: check {name}: " in result.stderr


@pytest.mark.parametrize("name", ["embeddings vectors", "deduped_corpus conservation"])
def test_dagster_asset_materialize_exits_with_1(folder: Path, name: str) -> None:
    """For an asset with partitions, and for one without."""
    store = Store(str(folder / "data"))
    GATES[name](store)
    asset, check = name.split()
    command = [sys.executable, "-m", "dagster", "asset", "materialize", "-m", "quarry_dagster.definitions"]
    command += ["--select", asset]
    if asset in ("raw_pages", "extracted_text", "embeddings"):
        command += ["--partition", next(iter(store.batches.segments()))]
    settings = {"QUARRY_DATA": str(folder / "data"), "QUARRY_PROFILE": str(folder / "profile.yaml")}
    environment = os.environ | settings | {"DAGSTER_HOME": str(folder / "data" / ".dagster")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"{asset}: {check}" in done.stdout + done.stderr


def test_what_comes_after_a_failed_gate_does_not_run(folder: Path) -> None:
    store = Store(str(folder / "data"))
    published = store.deduped_corpus.current()
    breaches.index_with_a_text_missing(store)
    Corpus(folder, profile()).seed_texts("more.jsonl", {"http://d.test/1": words(99)})
    breaches.wrong_text(store)
    result = CliRunner().invoke(quarry, ["run", str(folder / "seeds" / "more.jsonl"), *_options(folder)])
    assert result.exit_code == 1
    assert "failed: check contract of extracted_text" in result.stderr
    assert store.deduped_corpus.current() == published


def test_a_partition_that_failed_is_named_until_it_is_sound_and_blocks_no_other(folder: Path) -> None:
    store = Store(str(folder / "data"))
    bad, good, *_ = store.extracted_text.segments()
    job = build_defs(str(folder / "data"), str(folder / "profile.yaml")).resolve_job_def("ingest")

    def ask(partition: str) -> dg.AssetCheckEvaluation:
        result = job.execute_in_process(instance=instance, partition_key=partition, raise_on_error=False)
        answers = {e.asset_check_key.to_user_string(): e for e in result.get_asset_check_evaluations()}
        return answers["extracted_text:contract"]

    with dg.DagsterInstance.local_temp() as instance:
        sync_partitions(instance, store)
        sound = next(iter(store.extracted_text.segments().values()))
        breaches.wrong_text(store)
        first, second = ask(bad), ask(good)
        assert (first.passed, first.severity) == (False, dg.AssetCheckSeverity.ERROR)
        assert (second.passed, second.severity) == (False, dg.AssetCheckSeverity.WARN)
        assert bad in (second.description or "")
        breaches.rewrite(store.extracted_text, lambda _: pl.concat(list(sound.batches())))
        assert ask(good).passed


@pytest.mark.parametrize("table", ["raw_pages", "extracted_text", "embeddings"])
def test_columns_are_those_of_the_contract_but_for_such_as_came_later(corpus: Corpus, table: str) -> None:
    corpus.seed_texts("a.jsonl", {f"http://a.test/{i}": words(i) for i in range(3)})
    corpus.run()
    contract = {"raw_pages": raw_pages, "extracted_text": extracted_text, "embeddings": embeddings}[table].contract
    segment = next(iter(getattr(corpus.store, table).segments().values()))
    path = Path(corpus.store.files.full(segment.path))
    whole = pq.read_table(path)

    def said(changed: pa.Table) -> str:
        pq.write_table(changed.replace_schema_metadata(whole.schema.metadata), path)
        assert segment.entry is not None
        written = replace(segment.entry, bytes=path.stat().st_size, sha256=None)
        corpus.store.files.log.commit(lambda _: [written.line(table, None)])
        return contract(corpus.store, corpus.profile, [segment.partition]).summary

    assert said(whole).endswith("as promised")
    assert "more: Int64 instead of nothing" in said(whole.append_column("more", pa.array([1] * 3)))
    place = whole.schema.get_field_index("partition")
    assert "partition: Int64 instead of String" in said(whole.set_column(place, "partition", pa.array([1] * 3)))
    if table != "embeddings":  # which may lack none of its own
        assert said(whole.drop(["final_url"])).endswith("as promised")


def test_few_pages_that_come_are_a_warning(corpus: Corpus) -> None:
    corpus.seed("a.txt", "".join(f"http://127.0.0.1:9/{i}\n" for i in range(4)))
    corpus.run()
    finding = raw_pages.fetch_success(corpus.store, corpus.profile, list(corpus.store.batches.segments()))
    assert not finding.passed
    assert finding.summary.startswith("0 of 4 pages came")


def test_few_pages_that_give_text_are_a_warning(corpus: Corpus) -> None:
    corpus.seed_texts("a.jsonl", {f"http://a.test/{i}": "Short." for i in range(4)} | {"http://a.test/9": words(9)})
    corpus.run()
    finding = extracted_text.extraction_yield(corpus.store, corpus.profile, list(corpus.store.batches.segments()))
    assert not finding.passed
    assert finding.summary == "1 of 5 pages gave a text; 4 too_short"


def test_another_language_is_a_warning(tmp_path: Path) -> None:
    corpus = Corpus(tmp_path, profile(partitions={"pages_per_partition": 60}))
    english = "The committee met on a rainy Tuesday in the town hall and talked at length about road number {}. " * 4
    german = (
        "Der Ausschuss traf sich an einem regnerischen Dienstag im Rathaus und sprach über die Straße Nummer {}. " * 4
    )
    corpus.seed_texts("a.jsonl", {f"http://a.test/{i}": english.replace("{}", str(i)) for i in range(60)})
    corpus.seed_texts("b.jsonl", {f"http://b.test/{i}": german.replace("{}", str(i)) for i in range(60)})
    corpus.run()
    (first, second) = corpus.store.batches.segments()
    finding = extracted_text.language_drift(corpus.store, corpus.profile, [second])
    assert not finding.passed
    assert finding.facts["distance"] == 1.0
    assert extracted_text.language_drift(corpus.store, corpus.profile, [first, second]).passed


def test_a_jump_of_the_share_removed_is_a_warning_that_names_the_host(corpus: Corpus) -> None:
    corpus.seed_texts("a.jsonl", {f"http://a.test/{i}": words(i) for i in range(30)})
    corpus.run()
    assert deduped_corpus.removal_rate(corpus.store, corpus.profile).passed
    corpus.seed_texts("b.jsonl", {f"http://a.test/again/{i}": words(i) for i in range(30)})
    corpus.run()
    finding = deduped_corpus.removal_rate(corpus.store, corpus.profile)
    assert not finding.passed
    assert "level exact: +50.0% removed" in finding.summary and "host a.test: +50.0% removed" in finding.summary


def test_a_large_cluster_is_a_warning_that_names_it(sound: Path) -> None:
    store = Store(str(sound / "data"))
    assert deduped_corpus.large_clusters(store, profile()).passed
    (tmp := Corpus(sound.parent / "large", profile(checks={"max_cluster": 2}))).seed_texts(
        "a.jsonl", {f"http://a.test/{i}": words(0) + f" Ending number {i}." for i in range(5)}
    )
    tmp.run()
    finding = deduped_corpus.large_clusters(tmp.store, tmp.profile)
    assert not finding.passed and "stands for 4" in finding.summary


def test_what_waits_for_a_run_is_a_warning(corpus: Corpus) -> None:
    corpus.seed_texts("a.jsonl", {f"http://a.test/{i}": words(i) for i in range(3)})
    corpus.run()
    assert deduped_corpus.up_to_date(corpus.store, corpus.profile).passed
    corpus.seed_texts("b.jsonl", {"http://b.test/1": words(9)})
    corpus.take_in()
    assert deduped_corpus.up_to_date(corpus.store, corpus.profile).summary.startswith("1 partitions wait")


def test_equal_texts_with_different_vectors_are_found_however_far_apart_they_lie(tmp_path: Path) -> None:
    store, schema = Store(str(tmp_path)), embeddings_schema(2)

    def several(first: list[float], last: list[float]) -> Finding:
        vectors = np.array([first, *[[0.0, 1.0]] * 9_000, last], np.float32)
        digests = ["same", *(f"{i:032x}" for i in range(9_000)), "same"]
        rows = {"doc_id": range(9_002), "text_digest": digests, "embedding": vectors}
        with store.embeddings.write("a", schema) as writer:
            writer.append(pl.DataFrame(rows).with_columns(model=pl.lit("m"), partition=pl.lit("a")))
            notes = VectorNotes(input=Fingerprint(("x",), "m"), rows=9_002, model="m", dim=2)
            writer.note(notes)
        return embeddings.vectors(store, profile(), ["a"])

    assert several([1.0, 0.0], [1.0, 0.0]).passed
    assert several([1.0, 0.0], [0.6, 0.8]).summary.startswith("a: 1 texts have more than one vector")


def test_a_bad_vector_is_gone_from_the_index_too_after_what_the_check_says_to_do(tmp_path: Path) -> None:
    corpus = Corpus(tmp_path, profile())
    corpus.seed_texts("a.jsonl", {f"http://a.test/{i}": words(i) for i in range(5)})
    corpus.run()
    store = corpus.store
    breaches.scaled_vector(store)
    (partition,) = store.embeddings.segments()

    def publish_anew() -> None:
        index_stage.refresh(store, [partition], corpus.profile, force=True)
        corpus_stage.refresh(store, corpus.profile.deduplication, "test", force=True)

    publish_anew()  # an index and a corpus of the bad vector
    finding = embeddings.vectors(store, corpus.profile, [partition])
    assert "make it, faiss_index and deduped_corpus again: quarry run --force" in finding.summary
    embedding_stage.refresh(store, partition, corpus.profile, force=True)
    publish_anew()
    assert embeddings.vectors(store, corpus.profile, [partition]).passed
    index = store.faiss_index.current()
    assert index is not None
    vectors = corpus.read("embeddings")["embedding"].to_numpy()
    nearest = Searcher(store, corpus.profile).nearest(vectors, 1)
    assert [found[0][1] for found in nearest] == pytest.approx([1.0] * 5, abs=1e-4)


def test_a_text_of_many_partitions_does_not_hide_its_neighbours(tmp_path: Path) -> None:
    corpus = Corpus(tmp_path, profile(partitions={"pages_per_partition": 1}, deduplication={"mode": "strict"}))
    corpus.seed_texts("a.jsonl", {f"http://a.test/{i}": words(0) for i in range(13)})
    corpus.seed_texts("b.jsonl", {f"http://b.test/{i}": words(0) + " " + words(100 + i, 12) for i in range(3)})
    corpus.run()
    store, settings = corpus.store, profile(deduplication={"mode": "balanced"})
    snapshot = store.deduped_corpus.current()
    assert snapshot is not None and len(corpus.urls()) == 3
    # The same corpus, as if it had been decided by rules that remove more.
    inputs = replace(snapshot.inputs, settings=settings.deduplication.model_dump(mode="json"))
    overwrite(replace(snapshot, inputs=inputs))
    assert "2 duplicates found" in deduped_corpus.no_duplicates_left(store, settings).summary


def test_the_profile_sets_the_bounds(sound: Path) -> None:
    store = Store(str(sound / "data"))
    strict, lax = profile(checks={"max_duplicates_left": 0.0}), profile(checks={"min_recall_at_10": 0.0, "sample": 5})
    assert deduped_corpus.no_duplicates_left(store, strict).facts["bound"] == 0.0
    finding = faiss_index.recall_at_10(store, lax)
    assert finding.facts["queries"] == 5 and finding.facts["bound"] == 0.0
    assert faiss_index.recall_at_10(store, profile()).facts["bound"] == 0.99


def test_warnings_fail_in_strict_mode_only(tmp_path: Path) -> None:
    (tmp_path / "profile.yaml").write_text(PROFILE)
    corpus = Corpus(tmp_path, profile())
    corpus.seed_texts("a.jsonl", {f"http://a.test/{i}": "Short." for i in range(4)} | {"http://a.test/9": words(9)})
    arguments = ["run", str(tmp_path / "seeds" / "a.jsonl"), *_options(tmp_path)]
    result = CliRunner().invoke(quarry, arguments)
    assert result.exit_code == 0
    assert "warning: check extraction_yield of extracted_text: 1 of 5 pages gave a text" in result.stderr
    assert CliRunner().invoke(quarry, [*arguments, "--strict"]).exit_code == 1


@pytest.mark.parametrize("kind", ["IndexFlatIP", "IndexHNSWFlat"])
def test_texts_that_share_a_vector_do_not_spoil_the_recall(tmp_path: Path, kind: str) -> None:
    """The model reads so many tokens: long texts with one beginning have equal vectors, and any ten are nearest."""
    corpus = Corpus(tmp_path, profile(index={"type": kind}, embedding={"max_tokens": 16}))
    corpus.seed_texts("a.jsonl", {f"http://a.test/{i}": words(0, 30) + " " + words(i + 1) for i in range(60)})
    corpus.run()
    assert faiss_index.recall_at_10(corpus.store, corpus.profile).facts["recall_at_10"] == 1.0
