"""Seeds dropped in the inbox become runs, each once; what was missed is made up for."""

import os
import time
from collections.abc import Iterator

import dagster as dg
import pytest

from quarry_dagster.automation.sensors import new_crawl_seeds
from quarry_dagster.definitions import build_defs
from quarry_dagster.resources import Quarry
from quarry_dagster_tests.corpus import Corpus, words


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp() as found:
        yield found


def _drop(corpus: Corpus, name: str, seeds: range, age: float = 60.0) -> None:
    corpus.seed_texts(name, {f"http://a.test/{i}": words(i) for i in seeds})
    at = time.time() - age
    os.utime(corpus.root / "seeds" / name, (at, at))


def _tick(corpus: Corpus, instance: dg.DagsterInstance) -> list[dg.RunRequest]:
    context = dg.build_sensor_context(
        instance, resources={"quarry": Quarry(data=str(corpus.root), profile="raspberry_pi")}
    )
    data = new_crawl_seeds.evaluate_tick(context)
    return list(data.run_requests or [])


def _run(corpus: Corpus, instance: dg.DagsterInstance, request: dg.RunRequest) -> None:
    job = build_defs(str(corpus.root), "raspberry_pi").resolve_job_def("ingest")
    assert job.execute_in_process(instance=instance, tags=request.tags).success


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
    (request,) = _tick(corpus, instance)
    _run(corpus, instance, request)
    corpus.seed_texts("a.jsonl", {"http://a.test/0": words(99), "http://a.test/9": words(9)})
    at = time.time() - 30
    os.utime(corpus.root / "seeds" / "a.jsonl", (at, at))
    (request,) = _tick(corpus, instance)
    _run(corpus, instance, request)
    assert _tick(corpus, instance) == []
    texts = dict(corpus.read("extracted_text").select("url", "text").iter_rows())
    assert len(texts) == 6 and texts["http://a.test/0"] == words(99)


def test_a_seed_that_is_still_being_copied_waits(corpus: Corpus, instance: dg.DagsterInstance) -> None:
    _drop(corpus, "a.jsonl", range(5), age=0)
    assert _tick(corpus, instance) == []
    _drop(corpus, "a.jsonl", range(5))
    assert len(_tick(corpus, instance)) == 1


def test_a_broken_seed_does_not_stop_the_others(corpus: Corpus, instance: dg.DagsterInstance) -> None:
    corpus.seed("broken.txt", bytes(range(256)) * 40)
    os.utime(corpus.root / "seeds" / "broken.txt", (0, 0))
    _drop(corpus, "a.jsonl", range(5))
    assert len(_tick(corpus, instance)) == 1
