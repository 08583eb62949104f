"""Seeds dropped in the inbox become runs, each once; what was missed is made up for."""

import gzip
import math
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import fsspec
import pytest
from dagster._core.test_utils import create_run_for_test

from quarry_dagster.definitions import build_defs
from quarry_dagster.intake import pending
from quarry_dagster.orchestration import sensors
from quarry_dagster.orchestration.crawls import RUNS_AHEAD
from quarry_dagster.orchestration.partitions import consecutive
from quarry_dagster.orchestration.resources import Quarry
from quarry_dagster.profiles.settings import Automation
from quarry_dagster.stages import embeddings, extracted_text
from quarry_dagster.stages.backlog import backlog
from quarry_dagster.stages.pages import raw_pages
from quarry_dagster.store import Store
from quarry_dagster.store.failed_checks import FailedChecks
from quarry_dagster_tests.corpus import Corpus, words


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp() as found:
        yield found


def _drop(corpus: Corpus, name: str, seeds: range, age: float = 60.0) -> None:
    corpus.seed_texts(name, {f"http://a.test/{i}": words(i) for i in seeds})
    _age(corpus, name, age)


def _age(corpus: Corpus, name: str, age: float = 60.0) -> None:
    at = time.time() - age
    os.utime(corpus.root / "seeds" / name, (at, at))


def _evaluate(
    data: str | Path, instance: dg.DagsterInstance, cursor: str | None = None, intake_seconds: float = 25
) -> dg.SensorResult:
    quarry = Quarry(data=str(data), profile="raspberry_pi")
    (sensor,) = (s for s in sensors.build(Automation(), intake_seconds) if s.name == "new_crawl_seeds")
    with dg.build_sensor_context(instance, cursor=cursor, resources={"quarry": quarry}) as context:
        result = sensor(context)
    assert isinstance(result, dg.SensorResult)
    return result


def _tick(corpus: Corpus, instance: dg.DagsterInstance) -> list[dg.RunRequest]:
    return list(_evaluate(corpus.root, instance).run_requests or [])


def _why(corpus: Corpus, instance: dg.DagsterInstance) -> str:
    """The reason that a tick without runs gives."""
    result = _evaluate(corpus.root, instance)
    assert not result.run_requests and result.skip_reason
    return result.skip_reason.skip_message or ""


def _run(corpus: Corpus, instance: dg.DagsterInstance, request: dg.RunRequest) -> None:
    job = build_defs(str(corpus.root), "raspberry_pi").resolve_job_def("ingest")
    assert job.execute_in_process(instance=instance, tags=request.tags).success


def _crawl(corpus: Corpus) -> None:
    """What the tables are after the runs, without the runs."""
    for partition in backlog(corpus.store):
        raw_pages.refresh(corpus.store, partition, corpus.profile.crawl, ())
        extracted_text.refresh(corpus.store, partition, corpus.extractor)
        embeddings.refresh(corpus.store, partition, corpus.profile)


def _record(instance: dg.DagsterInstance, request: dg.RunRequest, status: dg.DagsterRunStatus) -> dg.DagsterRun:
    """What Dagster's daemon makes of a request, as far as this sensor can see."""
    tags = {**request.tags, "dagster/run_key": request.run_key or ""}
    return create_run_for_test(instance, job_name="ingest", status=status, tags=tags)


def test_a_dropped_seed_becomes_one_run_once(corpus: Corpus, instance: dg.DagsterInstance) -> None:
    assert _tick(corpus, instance) == []
    _drop(corpus, "a.jsonl", range(5))
    (request,) = _tick(corpus, instance)
    (again,) = _tick(corpus, instance)  # it has not run yet: the same key, which Dagster starts once
    assert again.run_key == request.run_key
    _run(corpus, instance, request)
    assert _tick(corpus, instance) == []
    assert corpus.read("raw_pages").height == 5


def test_an_edited_seed_runs_what_is_new_and_what_was_replaced(corpus: Corpus, instance: dg.DagsterInstance) -> None:
    _drop(corpus, "a.jsonl", range(5))
    assert len(_tick(corpus, instance)) == 1
    _crawl(corpus)
    corpus.seed_texts("a.jsonl", {"http://a.test/0": words(99), "http://a.test/9": words(9)})
    _age(corpus, "a.jsonl", 30)
    assert len(_tick(corpus, instance)) == 1
    _crawl(corpus)
    assert _tick(corpus, instance) == []
    bodies = dict(corpus.read("raw_pages").select("url", "body").iter_rows())
    assert len(bodies) == 6 and bodies["http://a.test/0"] == words(99).encode()


def test_the_same_seed_again_renamed_or_deleted_starts_nothing(corpus: Corpus, instance: dg.DagsterInstance) -> None:
    _drop(corpus, "a.jsonl", range(5))
    assert len(_tick(corpus, instance)) == 1
    _crawl(corpus)
    _drop(corpus, "a.jsonl", range(5), age=30)
    assert "no new seeds" in _why(corpus, instance)
    (corpus.root / "seeds" / "a.jsonl").rename(corpus.root / "seeds" / "b.jsonl")
    assert "no new seeds" in _why(corpus, instance)
    (corpus.root / "seeds" / "b.jsonl").unlink()
    assert "no new seeds" in _why(corpus, instance)
    assert corpus.read("raw_pages").height == 5


def test_a_lost_cursor_or_a_lost_instance_repeats_nothing(corpus: Corpus, instance: dg.DagsterInstance) -> None:
    _drop(corpus, "a.jsonl", range(5))
    (request,) = _evaluate(corpus.root, instance, cursor="of another version").run_requests or []
    (again,) = _evaluate(corpus.root, instance, cursor=None).run_requests or []
    assert again.run_key == request.run_key
    _crawl(corpus)
    with dg.DagsterInstance.local_temp() as another:
        assert _tick(corpus, another) == []


def test_a_seed_that_is_still_being_copied_waits(corpus: Corpus, instance: dg.DagsterInstance) -> None:
    _drop(corpus, "a.jsonl", range(5), age=0)
    assert "still being copied, or left for the next tick: a.jsonl" in _why(corpus, instance)
    _age(corpus, "a.jsonl")
    assert len(_tick(corpus, instance)) == 1


def test_a_seed_from_a_machine_whose_clock_is_ahead_does_not_wait(corpus: Corpus, instance: dg.DagsterInstance) -> None:
    _drop(corpus, "a.jsonl", range(5), age=-3600)
    assert len(_tick(corpus, instance)) == 1


def test_a_seed_whose_name_is_no_utf_8_is_taken_in(corpus: Corpus, instance: dg.DagsterInstance) -> None:
    _drop(corpus, os.fsdecode(b"caf\xe9.jsonl"), range(5))
    assert len(_tick(corpus, instance)) == 1
    assert corpus.store.batches.scan().collect()["seed"].unique().to_list() == ["caf\ufffd.jsonl"]
    assert pending(corpus.store) == []


def test_a_broken_seed_is_reported_and_does_not_stop_the_others(corpus: Corpus, instance: dg.DagsterInstance) -> None:
    corpus.seed("binary.txt", bytes(range(256)) * 40)
    corpus.seed("cut.xml.gz", gzip.compress(b"<urlset><url><loc>http://a.test/x</loc></url></urlset>" * 99)[:40])
    corpus.seed("folder.txt/readme.md", "no seed")
    _age(corpus, "binary.txt", 90)
    _age(corpus, "cut.xml.gz", 80)
    _drop(corpus, "a.jsonl", range(5))
    result = _evaluate(corpus.root, instance)
    assert len(result.run_requests or []) == 1
    (observation,) = result.asset_events
    assert observation.asset_key == dg.AssetKey("raw_pages")
    problems = str(observation.metadata["problems"].value)
    assert "binary.txt: a binary file" in problems and "cut.xml.gz" in problems and "a.jsonl" not in problems
    assert not _evaluate(corpus.root, instance).asset_events  # told once, where it lasts


def test_an_unreadable_seed_is_in_every_tick(
    corpus: Corpus, instance: dg.DagsterInstance, capsys: pytest.CaptureFixture[str]
) -> None:
    _drop(corpus, "a.jsonl", range(5))
    (corpus.root / "seeds" / "gone.txt").symlink_to(corpus.root / "nowhere")
    os.utime(corpus.root / "seeds" / "gone.txt", (0, 0), follow_symlinks=False)
    assert len(_tick(corpus, instance)) == 1
    assert "gone.txt: cannot be read, will be tried again" in capsys.readouterr().err
    _crawl(corpus)
    for _ in range(2):
        assert "gone.txt: cannot be read, will be tried again" in _why(corpus, instance)
    (corpus.root / "nowhere").write_text("http://a.test/x")
    assert len(_tick(corpus, instance)) == 1


def test_hundreds_of_seeds_at_once_share_partitions_and_runs(corpus: Corpus, instance: dg.DagsterInstance) -> None:
    for i in range(250):
        corpus.seed(f"s{i}.txt", "".join(f"http://{host}.test/{i}-{n}\n" for host in "ab" for n in range(4)))
        _age(corpus, f"s{i}.txt")
    requests = list(_evaluate(corpus.root, instance, intake_seconds=math.inf).run_requests or [])
    assert [s.rows for s in corpus.store.batches.segments().values()] == [200] * 10
    assert len(requests) == 3
    (event,) = _evaluate(corpus.root, instance).asset_events or [None]
    assert event is None


def test_a_seed_on_an_object_store(instance: dg.DagsterInstance) -> None:
    memory = fsspec.filesystem("memory")
    try:
        memory.pipe("/bucket/seeds/a.txt", b"http://a.test/1\nhttp://a.test/2\n")
        assert "still being copied" in str(_evaluate("memory://bucket", instance).skip_reason)
        memory.store["/bucket/seeds/a.txt"].created = memory.created("/bucket/seeds/a.txt").replace(year=2020)
        memory.store["/bucket/seeds/a.txt"].modified = memory.created("/bucket/seeds/a.txt")
        assert len(_evaluate("memory://bucket", instance).run_requests or []) == 1
        assert len(backlog(Store("memory://bucket"))) == 1
    finally:
        memory.rm("/bucket", recursive=True)


def test_what_does_not_fit_in_a_tick_goes_on_in_the_next(corpus: Corpus, instance: dg.DagsterInstance) -> None:
    _drop(corpus, "a.jsonl", range(3))
    _drop(corpus, "b.jsonl", range(3, 5), age=30)
    result = _evaluate(corpus.root, instance, intake_seconds=0)
    assert len(result.run_requests or []) == 1 and not result.asset_events
    assert corpus.store.batches.scan().collect().height == 1
    events = [event for _ in range(9) for event in _evaluate(corpus.root, instance, intake_seconds=0).asset_events]
    assert [event.metadata["urls"].value for event in events] == [3, 2]
    assert pending(corpus.store) == []
    assert sorted(corpus.store.batches.scan().collect()["url"]) == [f"http://a.test/{i}" for i in range(5)]


def test_partitions_in_a_run_that_has_not_ended_are_not_requested_again(
    corpus: Corpus, instance: dg.DagsterInstance
) -> None:
    _drop(corpus, "a.jsonl", range(250))
    (request,) = _tick(corpus, instance)
    _record(instance, request, dg.DagsterRunStatus.STARTING)
    assert "2 partitions are in runs that have not ended" in _why(corpus, instance)
    _drop(corpus, "b.jsonl", range(300, 305))
    (other,) = _tick(corpus, instance)
    ends = [other.tags[f"dagster/asset_partition_range_{end}"] for end in ("start", "end")]
    assert ends == [list(corpus.store.batches.segments())[2]] * 2
    create_run_for_test(instance, status=dg.DagsterRunStatus.STARTED, tags={"dagster/partition": ends[0]})
    assert "3 partitions are in runs" in _why(corpus, instance)


def test_few_runs_are_requested_ahead(corpus: Corpus, instance: dg.DagsterInstance) -> None:
    corpus.seed("a.txt", "".join(f"http://a.test/{i}\n" for i in range((RUNS_AHEAD + 1) * 4 * 200)))
    _age(corpus, "a.txt")
    first, *more = _tick(corpus, instance)
    assert len(more) == RUNS_AHEAD - 1
    started = _record(instance, first, dg.DagsterRunStatus.STARTING)
    assert [r.run_key for r in _tick(corpus, instance)] == [r.run_key for r in more]
    for request in more:
        _record(instance, request, dg.DagsterRunStatus.STARTED)
    assert f"{4 * RUNS_AHEAD} partitions are in runs" in _why(corpus, instance)
    instance.report_run_canceled(started)
    (another,) = _tick(corpus, instance)
    assert another.run_key not in {r.run_key for r in (first, *more)}


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.SUCCESS])
def test_partitions_that_a_run_left_behind_are_named_and_wait_for_its_rerun(
    corpus: Corpus, instance: dg.DagsterInstance, status: dg.DagsterRunStatus
) -> None:
    _drop(corpus, "a.jsonl", range(5))
    (request,) = _tick(corpus, instance)
    run = _record(instance, request, status)
    (partition,) = corpus.store.batches.segments()
    for _ in range(2):
        why = _why(corpus, instance)
        assert run.run_id in why and partition in why and status.value.lower() in why and "rerun it" in why
    corpus.seed_texts("a.jsonl", {"http://a.test/0": words(99)})  # another version of the batch is another matter
    _age(corpus, "a.jsonl", 30)
    assert len(_tick(corpus, instance)) == 1
    instance.delete_run(run.run_id)
    assert len(_tick(corpus, instance)) == 1


def test_what_was_crawled_and_then_not_embedded_is_asked_for_again_once_and_then_named(
    corpus: Corpus, instance: dg.DagsterInstance
) -> None:
    _drop(corpus, "a.jsonl", range(5))
    (first,) = _tick(corpus, instance)
    _record(instance, first, dg.DagsterRunStatus.FAILURE)
    (partition,) = corpus.store.batches.segments()
    raw_pages.refresh(corpus.store, partition, corpus.profile.crawl, ())
    (second,) = _tick(corpus, instance)  # it came further than before
    run = _record(instance, second, dg.DagsterRunStatus.FAILURE)
    assert run.run_id in _why(corpus, instance)
    instance.delete_run(run.run_id)
    (third,) = _tick(corpus, instance)
    assert third.run_key == second.run_key != first.run_key
    _run(corpus, instance, third)
    assert _why(corpus, instance).startswith("no new seeds")


def test_a_partition_deleted_in_dagster_leaves_the_corpus(corpus: Corpus, instance: dg.DagsterInstance) -> None:
    for name, seeds in (("a.jsonl", range(5)), ("b.jsonl", range(5, 8))):
        _drop(corpus, name, seeds)
        (request,) = _tick(corpus, instance)
        _run(corpus, instance, request)
    job = build_defs(str(corpus.root), "raspberry_pi").resolve_job_def("corpus")
    for documents in (8, 3):
        wanted = _refresh_tick(corpus, instance)
        assert isinstance(wanted, dg.RunRequest)
        assert job.execute_in_process(instance=instance, tags={"dagster/run_key": wanted.run_key or ""}).success
        assert len(corpus.urls()) == documents
        instance.delete_dynamic_partition("crawl_batches", next(iter(corpus.store.batches.segments())))
        _tick(corpus, instance)


def _refresh_tick(corpus: Corpus, instance: dg.DagsterInstance) -> dg.RunRequest | dg.SkipReason:
    (sensor,) = (s for s in sensors.build(Automation()) if s.name == "refresh_corpus")
    quarry = Quarry(data=str(corpus.root), profile="raspberry_pi")
    with dg.build_sensor_context(instance, resources={"quarry": quarry}) as context:
        found = sensor(context)
    assert isinstance(found, dg.RunRequest | dg.SkipReason)
    return found


def test_the_corpus_is_refreshed_once_when_no_crawl_is_under_way(corpus: Corpus, instance: dg.DagsterInstance) -> None:
    assert isinstance(_refresh_tick(corpus, instance), dg.SkipReason)  # nothing there
    _drop(corpus, "a.jsonl", range(5))
    (request,) = _tick(corpus, instance)
    _run(corpus, instance, request)
    crawling = _record(instance, request, dg.DagsterRunStatus.STARTED)
    waits = _refresh_tick(corpus, instance)
    assert isinstance(waits, dg.SkipReason) and crawling.run_id in (waits.skip_message or "")
    instance.report_run_canceled(crawling)
    wanted = _refresh_tick(corpus, instance)
    assert isinstance(wanted, dg.RunRequest)
    job = build_defs(str(corpus.root), "raspberry_pi").resolve_job_def("corpus")
    failed = create_run_for_test(
        instance, job_name="corpus", status=dg.DagsterRunStatus.FAILURE, tags={"dagster/run_key": wanted.run_key or ""}
    )
    named = _refresh_tick(corpus, instance)
    assert isinstance(named, dg.SkipReason) and failed.run_id in (named.skip_message or "")
    assert job.execute_in_process(instance=instance).success
    done = _refresh_tick(corpus, instance)
    assert isinstance(done, dg.SkipReason) and "in line" in (done.skip_message or "")


def test_a_partition_of_two_failed_runs_is_never_in_another_cut_of_them(
    corpus: Corpus, instance: dg.DagsterInstance
) -> None:
    _drop(corpus, "a.jsonl", range(1000))
    first, second = _tick(corpus, instance)
    names = list(corpus.store.batches.segments())
    assert consecutive(names, set(names), 4) == [names[:4], names[4:]]
    _record(instance, first, dg.DagsterRunStatus.FAILURE)
    (request,) = _tick(corpus, instance)
    assert request.run_key == second.run_key


def test_a_partition_that_stands_failed_is_named_and_not_asked_for_again(
    corpus: Corpus, instance: dg.DagsterInstance
) -> None:
    _drop(corpus, "a.jsonl", range(3))
    (request,) = _tick(corpus, instance)
    (partition,) = corpus.store.batches.segments()
    FailedChecks.note(corpus.store.files, "extracted_text.contract", [partition], [partition], datetime.now(UTC))
    why = _why(corpus, instance)
    assert f"check contract of extracted_text stands failed for {partition}" in why and "materialize" in why
    FailedChecks.note(corpus.store.files, "extracted_text.contract", [partition], [], datetime.now(UTC))
    assert _tick(corpus, instance) == [request]


@pytest.mark.parametrize("check", ["extracted_text.contract", "faiss_index.recall_at_10"])
def test_the_corpus_is_not_asked_for_while_a_check_of_its_inputs_stands_failed(
    corpus: Corpus, instance: dg.DagsterInstance, check: str
) -> None:
    _drop(corpus, "a.jsonl", range(3))
    corpus.take_in()
    _crawl(corpus)
    assert isinstance(_refresh_tick(corpus, instance), dg.RunRequest)
    where = "" if check.startswith("faiss") else next(iter(corpus.store.batches.segments()))
    FailedChecks.note(corpus.store.files, check, [where], [where], datetime.now(UTC))
    skipped = _refresh_tick(corpus, instance)
    assert isinstance(skipped, dg.SkipReason)
    assert f"check {check.partition('.')[2]} of {check.partition('.')[0]} stands failed" in str(skipped.skip_message)
