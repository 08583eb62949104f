"""Metrics in Prometheus' text form: of a data root, read when they are asked for, and of the service that is asked.

Numbers alone: no text, no title, no URL.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import polars as pl
from prometheus_client import CollectorRegistry, Histogram, disable_created_metrics, generate_latest
from prometheus_client import Counter as Counted
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from quarry_dagster.embed.work import work_done
from quarry_dagster.errors import QuarryError
from quarry_dagster.gpu import list_gpus
from quarry_dagster.stages.backlog import backlog
from quarry_dagster.store import Store

if TYPE_CHECKING:
    from quarry_dagster.asking.following import Following
    from quarry_dagster.serve.desk import Desk

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
disable_created_metrics()

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class OfRoot(Collector):
    """What a data root holds. What is of one published corpus is counted once for it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._counted: tuple[str, list[Metric]] | None = None

    def collect(self) -> Iterator[Metric]:
        up = GaugeMetricFamily("quarry_data_root_up", "Whether the data root can be read")
        try:
            found = list(self._of_root())
            up.add_metric([], 1)
        except QuarryError:
            found = []
            up.add_metric([], 0)
        yield up
        yield from found
        yield from _of_gpus()

    def _of_root(self) -> Iterator[Metric]:
        store = self._store
        outcomes: Counter[str] = Counter()
        for segment in store.extracted_text.segments().values():
            outcomes.update(segment.notes.outcomes)
        pages = GaugeMetricFamily("quarry_pages", "Pages, by what extracting their text came to", labels=["outcome"])
        for outcome, count in sorted(outcomes.items()):
            pages.add_metric([outcome], count)
        yield pages
        behind = "Partitions that are not crawled, extracted, described, rated and embedded as they are now"
        yield GaugeMetricFamily("quarry_partitions_behind", behind, len(backlog(store)))
        partitions = len(store.batches.segments())
        yield GaugeMetricFamily("quarry_partitions", "Partitions that there are", partitions)
        failed = GaugeMetricFamily(
            "quarry_checks_failed", "Partitions of which a check stands failed", labels=["check"]
        )
        for check, where in sorted(store.failed_checks().standing.items()):
            failed.add_metric([check], len(where))
        yield failed
        yield from self._of_corpus()

    def _of_corpus(self) -> Iterator[Metric]:
        """What is of the published corpus: read once for each."""
        index, corpus = self._store.published()
        number = GaugeMetricFamily("quarry_corpus_snapshot", "Number of the published corpus; absent: there is none")
        if corpus is None:
            yield number
            return
        number.add_metric([], corpus.number)
        yield number
        if corpus.published_at:
            at = datetime.fromisoformat(corpus.published_at).replace(tzinfo=UTC).timestamp()
            said = "When the published corpus was published: the last run that came to one"
            yield GaugeMetricFamily("quarry_corpus_published_timestamp_seconds", said, at)
        decided = GaugeMetricFamily(
            "quarry_documents", "Documents of the corpus, by what became of them", labels=["fate"]
        )
        for fate, count in sorted(corpus.outcomes.items()):
            decided.add_metric([fate], count)
        yield decided
        if self._counted is None or self._counted[0] != corpus.snapshot.folder:
            self._counted = corpus.snapshot.folder, [_removed(corpus.decisions())]
        yield from self._counted[1]
        if index:
            yield GaugeMetricFamily("quarry_index_vectors", "Vectors that the published index finds", index.vectors)
            yield InfoMetricFamily("quarry_model", "The model of the published index", {"model": index.model})


def _removed(decisions: pl.LazyFrame) -> Metric:
    found = GaugeMetricFamily("quarry_removed", "Documents removed as duplicates, by rule", labels=["level", "rule"])
    for level, rule, count in decisions.group_by("level", "rule").len().sort("level", "rule").collect().rows():
        found.add_metric([level, rule], count)
    return found


def _of_gpus() -> Iterator[Metric]:
    used = GaugeMetricFamily("quarry_gpu_utilization_ratio", "Share of time that a GPU worked", labels=["gpu"])
    memory = GaugeMetricFamily("quarry_gpu_memory_used_bytes", "Memory of a GPU in use", labels=["gpu"])
    for gpu in list_gpus():
        used.add_metric([str(gpu.index)], gpu.utilization / 100)
        memory.add_metric([str(gpu.index)], gpu.memory_used_mb * 2**20)
    yield used
    yield memory


class OfService(Collector):
    """What one process of the service does."""

    def __init__(self, following: Following, desk: Desk) -> None:
        self._following = following
        self._desk = desk
        registry = None  # they are collected by this one
        self.requests = Counted("quarry_requests", "Requests answered", ["route", "status"], registry=registry)
        self.seconds = Histogram(
            "quarry_request_seconds", "Seconds that answers took", ["route"], buckets=_BUCKETS, registry=registry
        )

    def collect(self) -> Iterator[Metric]:
        yield from self.requests.collect()
        yield from self.seconds.collect()
        yield GaugeMetricFamily("quarry_requests_waiting", "Requests worked on or waiting", self._desk.waiting)
        following = self._following
        served = GaugeMetricFamily("quarry_served_snapshot", "Number of the corpus that answers; absent: none does")
        if following.current:
            served.add_metric([], following.current.number)
        yield served
        behind = "Whether what is published now could not be loaded"
        yield GaugeMetricFamily("quarry_served_is_behind", behind, int(following.problem is not None))
        if following.load_seconds is not None:
            said = "Seconds that loading the corpus took that answers"
            yield GaugeMetricFamily("quarry_snapshot_load_seconds", said, following.load_seconds)
        texts = CounterMetricFamily("quarry_texts_encoded", "Texts that were encoded")
        texts.add_metric([], work_done().texts)
        yield texts


def text_of(*collectors: Collector) -> bytes:
    """The metrics of these collectors, as Prometheus reads them."""
    registry = CollectorRegistry(auto_describe=False)
    for each in collectors:
        registry.register(each)
    return generate_latest(registry)
