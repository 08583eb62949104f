"""GPUs are watched off the hot path; a machine without one has nothing to report, and nothing fails."""

import time
from pathlib import Path

import dagster as dg
import pytest

from quarry_dagster import gpu
from quarry_dagster.gpu import Gpu
from quarry_dagster.orchestration.assets.embeddings import embeddings
from quarry_dagster.orchestration.resources import Quarry
from quarry_dagster.stages import extracted_text
from quarry_dagster.stages.pages import raw_pages
from quarry_dagster_tests.corpus import LOOPBACK, Corpus, profile, words


def test_what_nvml_says_can_be_read_with_or_without_a_gpu() -> None:
    with gpu.watch(interval=0.01) as use:
        time.sleep(0.1)
    assert (use.samples > 0) == bool(gpu.list_gpus())
    assert (gpu.driver_version() is None) <= (gpu.list_gpus() == [])


def test_samples_become_a_mean_and_peaks_over_all_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """No GPU is needed to add up what NVML reports."""
    readings = iter([[Gpu(0, "card", 8000, 1000, 20), Gpu(1, "card", 8000, 500, 40)], [Gpu(0, "card", 8000, 3000, 90)]])
    monkeypatch.setattr(gpu, "list_gpus", lambda: next(readings, []))
    with gpu.watch(interval=0.001) as use:
        while use.samples < 2:
            time.sleep(0.001)
    assert (use.samples, use.utilization, use.utilization_max, use.memory_used_mb) == (2, 60.0, 90, 3000)


def test_what_was_embedded_a_second_is_told_with_the_asset_and_nothing_where_nothing_was(tmp_path: Path) -> None:
    corpus = Corpus(tmp_path / "data", profile())
    corpus.seed_texts("a.jsonl", {f"http://a.test/{i}": words(i) for i in range(3)})
    corpus.take_in()
    (partition,) = corpus.store.batches.segments()
    raw_pages.refresh(corpus.store, partition, corpus.profile.crawl, LOOPBACK)
    extracted_text.refresh(corpus.store, partition, corpus.extractor)
    quarry = Quarry(data=str(corpus.root), profile="test", settings=corpus.profile.model_dump(mode="json"))
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("crawl_batches", [partition])
        shown = []
        for _ in range(2):
            of = {"instance": instance, "partition_key": partition, "resources": {"quarry": quarry}}
            (made,) = dg.materialize([embeddings], **of).asset_materializations_for_node("embeddings")
            shown.append(made.metadata)
    assert shown[0]["embeddings_per_second"].value > 0 < shown[0]["tokens_per_second"].value
    assert "embeddings_per_second" not in shown[1], "nothing was embedded anew"
    assert ("gpu_utilization_percent" in shown[0]) == bool(gpu.list_gpus())
