"""Sensors: new seeds start a crawl, a finished crawl starts the corpus, and killed runs are failed.

Why so: "Sensors look at tables, not at events" in docs/decisions.md.
"""

import hashlib
import time
from collections.abc import Sequence

import dagster as dg
from dagster import RunsFilter

from quarry_dagster.checks.standing import INPUTS, refuse_while_failed
from quarry_dagster.errors import ChecksFailedError
from quarry_dagster.intake import SEEDS, SeedReport, pending, take_in_seeds
from quarry_dagster.intake.problems import without_values
from quarry_dagster.intake.whole import SETTLED_S
from quarry_dagster.orchestration import jobs
from quarry_dagster.orchestration.crawls import crawl_requests, cut, unfinished_runs
from quarry_dagster.orchestration.dead_runs import fail_dead_runs, unseen_runs
from quarry_dagster.orchestration.partitions import RAW_PAGES, sync_partitions
from quarry_dagster.orchestration.resources import Quarry
from quarry_dagster.profiles.settings import Automation
from quarry_dagster.stages import faiss_index
from quarry_dagster.stages.corpus import deduped_corpus
from quarry_dagster.store import Store

_INTERVAL_S = 30
_INTAKE_S = 25.0
"""Of the 60 that Dagster gives a tick; the rest is for what follows, on a slow machine too."""

_PATIENCE_S = 3600.0
"""During a crawl of many runs, so long after the last refresh there is another one."""


def build(automation: Automation, intake_seconds: float = _INTAKE_S) -> Sequence[dg.SensorDefinition]:
    """The sensors; off until switched on in the UI, unless `automation.enabled`. `dead_runs` is always on.

    After `intake_seconds` a tick leaves the rest of the inbox to the next.
    """
    status = dg.DefaultSensorStatus.RUNNING if automation.enabled else dg.DefaultSensorStatus.STOPPED

    @dg.sensor(job=jobs.ingest, minimum_interval_seconds=_INTERVAL_S, default_status=status)
    def new_crawl_seeds(context: dg.SensorEvaluationContext, quarry: Quarry) -> dg.SensorResult:
        """Takes in what was dropped in the inbox, and requests runs for the partitions that are behind.

        Each version of a batch is requested once; what waits on a run that went wrong is named.
        """
        store, profile = quarry.store(), quarry.hardware_profile()
        reports = take_in_seeds(store, profile, quarry.allow_addresses(), min_age=SETTLED_S, seconds=intake_seconds)
        sync_partitions(context.instance, store)
        requests, stuck = crawl_requests(context.instance, store, profile.partitions.partitions_per_run)
        waiting = [*_still_waiting(reports, pending(store)), *stuck]
        problems = [without_values(problem) for report in reports for problem in report.problems]
        for line in dict.fromkeys([*cut(problems), *waiting]):
            context.log.warning(line)
        return dg.SensorResult(
            run_requests=requests,
            skip_reason=None if requests else "; ".join(waiting) or f"no new seeds in {store.files.url(SEEDS)}",
            asset_events=_observations([report for report in reports if report.done]),
        )

    @dg.sensor(job=jobs.corpus, minimum_interval_seconds=_INTERVAL_S, default_status=status)
    def refresh_corpus(context: dg.SensorEvaluationContext, quarry: Quarry) -> dg.RunRequest | dg.SkipReason:
        """Brings index and corpus in line, once no crawl is under way, and hourly during a long one.

        It looks at the tables, not at the end of runs: a crawl that ended while nobody looked is made up for.
        """
        store = quarry.store()
        if not faiss_index.behind(store) and not deduped_corpus.behind(store):
            return dg.SkipReason("index and corpus are in line with the embeddings")
        if hold := store.files.state().hold:
            return dg.SkipReason(f"{hold.who} went back to corpus {hold.number}: quarry rollback --release ends it")
        try:
            refuse_while_failed(store, (*INPUTS, "faiss_index"), [])
        except ChecksFailedError as e:
            return dg.SkipReason(str(e))
        if waits := _refresh_waits_for(context.instance):
            return dg.SkipReason(f"waits for the end of {', '.join(cut([r.run_id for r in waits]))}")
        key = hashlib.sha256(_corpus_state(store).encode()).hexdigest()
        requested = RunsFilter(tags={"dagster/run_key": key})
        if ended := context.instance.get_runs(requested, limit=1):  # Dagster would pass over it without a word
            return dg.SkipReason(
                f"run {ended[0].run_id} ({ended[0].status.value.lower()}) left index or corpus behind: "
                "rerun it in the UI, or delete it there to have it requested again"
            )
        return dg.RunRequest(run_key=key)

    @dg.sensor(default_status=dg.DefaultSensorStatus.RUNNING, minimum_interval_seconds=_INTERVAL_S)
    def dead_runs(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        """Fails runs whose process was killed. Always on: dead runs fill the queue, and then none starts to do it."""
        failed = fail_dead_runs(context.instance)
        said = [f"failed {', '.join(failed)}" if failed else "no started run has lost its process"]
        return dg.SkipReason("; ".join([*said, *cut(unseen_runs(context.instance))]))

    return [new_crawl_seeds, refresh_corpus, dead_runs]


def _corpus_state(store: Store) -> str:
    """What index and corpus would be made from, and which are published: while it stays, a run would do nothing new."""
    batches = store.batches.segments()
    tables = (store.extracted_text.segments(), store.embeddings.segments())
    paths = [s.path for table in tables for p, s in table.items() if p in batches]
    published = [s.number if (s := found.current()) else 0 for found in (store.faiss_index, store.deduped_corpus)]
    return "\n".join([*map(str, published), *paths])


def _refresh_waits_for(instance: dg.DagsterInstance) -> Sequence[dg.DagsterRun]:
    """The runs that a refresh waits for: those of the corpus, and crawls, which are waited for an hour at most."""
    unfinished = unfinished_runs(instance)
    own = [r for r in unfinished if r.job_name in (jobs.corpus.name, jobs.everything.name)]
    crawls = [r for r in unfinished if r.job_name in (jobs.ingest.name, jobs.embed.name)]
    if own or not crawls:
        return own
    last = instance.get_run_records(RunsFilter(job_name=jobs.corpus.name), limit=1)
    started = last or instance.get_run_records(RunsFilter(run_ids=[r.run_id for r in crawls]), ascending=True, limit=1)
    return crawls if time.time() - started[0].create_timestamp.timestamp() < _PATIENCE_S else []


def _still_waiting(reports: Sequence[SeedReport], left: Sequence[str]) -> list[str]:
    """Seed files that are in the inbox after this tick and not taken in, each with the reason."""
    begun = {report.name: report for report in reports if not report.done}
    lines = [r.error or f"{r.name}: {r.urls:,} URLs so far, the rest in the next tick" for r in begun.values()]
    if others := [name for name in left if name not in begun]:
        lines.append(f"still being copied, or left for the next tick: {', '.join(cut(others))}")
    return cut(lines)


def _observations(reports: Sequence[SeedReport]) -> list[dg.AssetObservation]:
    """What a tick took in, as an observation on the page of `raw_pages`, where it stays when the tick is forgotten."""
    if not reports:
        return []
    rows = [
        f"| {r.name} | {r.urls:,} | {r.added:,} | {r.replaced:,} | {r.withdrawn:,} | {r.problem_count:,} |"
        for r in reports
    ]
    table = "\n".join(
        ["| seed file | URLs | new | replaced | withdrawn | problems |", "|---|---|---|---|---|---|", *cut(rows)]
    )
    metadata: dict[str, dg.MetadataValue] = {
        "seed_files": dg.MetadataValue.int(len(reports)),
        "urls": dg.MetadataValue.int(sum(r.urls for r in reports)),
        "new": dg.MetadataValue.int(sum(r.added for r in reports)),
        "replaced": dg.MetadataValue.int(sum(r.replaced for r in reports)),
        "withdrawn": dg.MetadataValue.int(sum(r.withdrawn for r in reports)),
        "files": dg.MetadataValue.md(table),
    }
    if problems := [without_values(problem) for r in reports for problem in r.problems]:
        metadata["problems"] = dg.MetadataValue.md("\n".join(f"- {line}" for line in cut(problems)))
    return [dg.AssetObservation(RAW_PAGES, description="seeds taken in", metadata=metadata)]
