"""Schedules: crawl again what is old, and make up for what sensors missed. Times are the profile's."""

from collections.abc import Iterator, Sequence
from datetime import timedelta

import dagster as dg

from quarry_dagster.orchestration import jobs
from quarry_dagster.orchestration.crawls import partitions_of, unfinished_runs
from quarry_dagster.orchestration.partitions import (
    CRAWL_BATCHES,
    consecutive,
    crawled_since,
    range_tags,
    sync_partitions,
)
from quarry_dagster.orchestration.resources import Quarry
from quarry_dagster.profiles.settings import Automation


def build(automation: Automation) -> Sequence[dg.ScheduleDefinition]:
    """The schedules at the profile's times; off until switched on in the UI, unless `automation.enabled`."""
    status = dg.DefaultScheduleStatus.RUNNING if automation.enabled else dg.DefaultScheduleStatus.STOPPED

    @dg.schedule(
        job=jobs.ingest,
        cron_schedule=automation.recrawl_cron,
        execution_timezone=automation.timezone,
        default_status=status,
        description="Crawl partitions again that were last crawled longer ago than `recrawl_after_days`, or never.",
    )
    def recrawl(context: dg.ScheduleEvaluationContext, quarry: Quarry) -> Iterator[dg.RunRequest | dg.SkipReason]:
        store, profile = quarry.store(), quarry.hardware_profile()
        existing = sync_partitions(context.instance, store)
        at = context.scheduled_execution_time
        since = at - timedelta(days=profile.automation.recrawl_after_days)
        listed = context.instance.get_dynamic_partitions(CRAWL_BATCHES)
        in_runs = {p for run in unfinished_runs(context.instance) for p in partitions_of(run.tags, listed)}
        due = set(existing) - crawled_since(context.instance, since) - in_runs
        if not due:
            yield dg.SkipReason(f"all {len(existing)} partitions were crawled since {since.isoformat()}, or will be")
        for run in consecutive(listed, due, profile.partitions.partitions_per_run):
            yield dg.RunRequest(run_key=f"{at.isoformat()} {run[0]}", tags=range_tags(run))

    refresh = dg.ScheduleDefinition(
        name="corpus_refresh",
        job=jobs.corpus,
        cron_schedule=automation.refresh_cron,
        execution_timezone=automation.timezone,
        default_status=status,
        description="Bring index and corpus in line with all partitions, should a sensor have missed something.",
    )
    compact = dg.ScheduleDefinition(
        name="index_compaction",
        job=jobs.compaction,
        cron_schedule=automation.compact_cron,
        execution_timezone=automation.timezone,
        default_status=status,
        description="Build the index anew where removals or growth left something in it.",
    )
    return [recrawl, refresh, compact]
