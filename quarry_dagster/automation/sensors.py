"""Sensors: new seeds start a crawl, a finished crawl starts the corpus. Both are off until switched on in the UI."""

import hashlib
from collections.abc import Iterator

import dagster as dg

from quarry_dagster.automation.jobs import corpus, ingest
from quarry_dagster.inbox import take_in_seeds
from quarry_dagster.partitions import CRAWL_BATCHES, consecutive, range_tags, sync_partitions
from quarry_dagster.resources import Quarry
from quarry_dagster.stages.raw_pages import behind

_SETTLED_S = 5.0
"""A seed file that changed more recently may still be being copied."""


@dg.sensor(job=ingest, minimum_interval_seconds=30)
def new_crawl_seeds(context: dg.SensorEvaluationContext, quarry: Quarry) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """Takes in what was dropped in the inbox, and requests runs for the partitions that are behind.

    Nothing is remembered between ticks: what to run follows from the tables, so a lost tick only delays. The run
    key names the partitions and the versions of their batches, so that a tick while they run asks for nothing.
    """
    store, profile = quarry.store(), quarry.hardware_profile()
    reports = take_in_seeds(store, profile, quarry.allow_addresses(), min_age=_SETTLED_S)
    for problem in (p for report in reports for p in report.problems):
        context.log.warning(problem)
    sync_partitions(context.instance, store)
    waiting = behind(store)
    if not waiting:
        yield dg.SkipReason("no new seeds in " + store.files.url("seeds"))
    versions = {p: s.version for p, s in store.batches.segments().items()}
    listed = context.instance.get_dynamic_partitions(CRAWL_BATCHES)
    for run in consecutive(listed, set(waiting), profile.partitions.partitions_per_run):
        taken = "\n".join(f"{p} {versions[p]}" for p in run)
        yield dg.RunRequest(run_key=hashlib.sha256(taken.encode()).hexdigest(), tags=range_tags(run))


@dg.run_status_sensor(run_status=dg.DagsterRunStatus.SUCCESS, monitored_jobs=[ingest], request_job=corpus)
def refresh_corpus(context: dg.RunStatusSensorContext) -> dg.RunRequest:
    """After a crawl, brings the index and the corpus in line with it."""
    return dg.RunRequest(run_key=context.dagster_run.run_id)
