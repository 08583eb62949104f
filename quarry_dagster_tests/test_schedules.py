"""Schedules ask for what is due by its age, compact what removals left, and make up for a missed trigger."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest

from quarry_dagster.definitions import build_defs
from quarry_dagster.orchestration import schedules
from quarry_dagster.orchestration.partitions import sync_partitions
from quarry_dagster.orchestration.resources import Quarry
from quarry_dagster.profiles.settings import Automation
from quarry_dagster.stages import faiss_index
from quarry_dagster_tests.corpus import Corpus, words

PROFILE = """
partitions: {pages_per_partition: 10, partitions_per_run: 2}
embedding: {device: cpu, max_tokens: 64}
automation: {recrawl_after_days: 7}
"""


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp() as found:
        yield found


def _tick(corpus: Corpus, instance: dg.DagsterInstance, name: str, at: datetime) -> list[dg.RunRequest]:
    settings = corpus.root.parent / "profile.yaml"
    settings.write_text(PROFILE)
    schedule = next(s for s in schedules.build(Automation()) if s.name == name)
    quarry = Quarry(data=str(corpus.root), profile=str(settings))
    # A context that is left to the garbage collector sets Dagster's current storage to one of an ended instance.
    with dg.build_schedule_context(instance, scheduled_execution_time=at, resources={"quarry": quarry}) as context:
        return list(schedule.evaluate_tick(context).run_requests or [])


def _covered(instance: dg.DagsterInstance, requests: list[dg.RunRequest]) -> list[list[str]]:
    listed = list(instance.get_dynamic_partitions("crawl_batches"))
    ends = [
        (r.tags["dagster/asset_partition_range_start"], r.tags["dagster/asset_partition_range_end"]) for r in requests
    ]
    return [listed[listed.index(a) : listed.index(b) + 1] for a, b in ends]


def test_a_partition_is_crawled_again_when_it_is_due(corpus: Corpus, instance: dg.DagsterInstance) -> None:
    corpus.seed_texts("a.jsonl", {f"http://a.test/{i}": words(i) for i in range(30)})
    corpus.take_in()
    first, second, third = sync_partitions(instance, corpus.store)
    now = datetime.now(UTC)
    # None was ever crawled: all are due, in runs of the profile's size.
    assert _covered(instance, _tick(corpus, instance, "recrawl", now)) == [[first, second], [third]]
    job = build_defs(str(corpus.root), "raspberry_pi").resolve_job_def("ingest")
    for partition in (first, third):
        assert job.execute_in_process(instance=instance, partition_key=partition).success
    assert _covered(instance, _tick(corpus, instance, "recrawl", now + timedelta(days=1))) == [[second]]
    later = _tick(corpus, instance, "recrawl", now + timedelta(days=8))
    assert _covered(instance, later) == [[first, second], [third]]
    assert len({r.run_key for r in later}) == 2


def test_nothing_is_asked_for_where_there_is_nothing(corpus: Corpus, instance: dg.DagsterInstance) -> None:
    assert _tick(corpus, instance, "recrawl", datetime.now(UTC)) == []


def test_the_refresh_makes_up_for_a_lost_trigger(corpus: Corpus, instance: dg.DagsterInstance) -> None:
    corpus.seed_texts("a.jsonl", {f"http://a.test/{i}": words(i) for i in range(10)})
    corpus.take_in()
    (partition,) = sync_partitions(instance, corpus.store)
    defs = build_defs(str(corpus.root), "raspberry_pi")
    assert defs.resolve_job_def("ingest").execute_in_process(instance=instance, partition_key=partition).success
    assert faiss_index.behind(corpus.store)
    (_,) = _tick(corpus, instance, "corpus_refresh", datetime.now(UTC))
    assert defs.resolve_job_def("corpus").execute_in_process(instance=instance).success
    assert not faiss_index.behind(corpus.store)
    assert len(corpus.urls()) == 10


def test_compaction_takes_out_what_removals_left_and_then_has_nothing_to_do(corpus: Corpus) -> None:
    corpus.seed_texts("a.jsonl", {f"http://a.test/{i}": words(i) for i in range(30)})
    corpus.run()
    corpus.seed_texts("a.jsonl", {"http://a.test/0": words(100)})
    corpus.run()

    def facts() -> dict:
        snapshot = corpus.store.faiss_index.current()
        assert snapshot is not None
        return {name: getattr(snapshot, name) for name in ("removed", "vectors")} | {
            "shards": [shard.vectors for shard in snapshot.shards]
        }

    assert facts() == {"removed": 1, "vectors": 30, "shards": [30, 1]}
    partitions = list(corpus.store.batches.segments())
    assert faiss_index.refresh(corpus.store, partitions, corpus.profile).written == 0
    assert faiss_index.refresh(corpus.store, partitions, corpus.profile, compact=True).written == 1
    assert facts() == {"removed": 0, "vectors": 30, "shards": [30]}
    assert faiss_index.refresh(corpus.store, partitions, corpus.profile, compact=True).written == 0
