"""Which crawls to ask for: partitions that are behind, and that no run has in hand.

Nothing is remembered between ticks: what to run follows from the tables and from the runs there are, so a lost tick
only delays.

Why so: "What is behind is requested once for each state of its tables, whatever became of the run" in
docs/decisions.md.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import dagster as dg
from dagster import RunsFilter

from quarry_dagster.checks.standing import INPUTS, sentence, standing
from quarry_dagster.orchestration.jobs import ingest
from quarry_dagster.orchestration.partitions import CRAWL_BATCHES, consecutive, range_tags
from quarry_dagster.stages.backlog import backlog
from quarry_dagster.store import Store

RUNS_AHEAD = 10
"""At most so many requested runs are unfinished; more are requested as they end. A queue of a thousand would slow the
daemon."""
_SHOWN = 50
"""At most so many lines of one kind are shown in a tick; the ledger has them all."""
_LOOKED_BACK = 100
"""Failed runs that are looked at for partitions they left."""
_VERSIONS = "quarry/versions"
"""Tag of a requested run: the versions that the tables of its partitions had."""
_GONE_WRONG = [dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
_UNFINISHED = [
    # Not NOT_STARTED: a command that was killed before its run began leaves that for ever.
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def crawl_requests(
    instance: dg.DagsterInstance, store: Store, partitions_per_run: int
) -> tuple[list[dg.RunRequest], list[str]]:
    """Runs for partitions that are behind and in no run, and a line for each run that others wait for."""
    waiting = backlog(store)
    if not waiting:
        return [], []
    listed = instance.get_dynamic_partitions(CRAWL_BATCHES)
    unfinished = unfinished_runs(instance)
    in_runs = {p for run in unfinished for p in partitions_of(run.tags, listed)}
    gone_wrong = instance.get_runs(RunsFilter(job_name=ingest.name, statuses=_GONE_WRONG), limit=_LOOKED_BACK)
    wrong = {
        (p, versions): run
        for run in reversed(gone_wrong)  # the newest counts
        for p, versions in zip(partitions_of(run.tags, listed), run.tags.get(_VERSIONS, "").split(), strict=False)
    }
    held = {p: wrong[p, v] for p, v in waiting.items() if (p, v) in wrong and p not in in_runs}
    failed = standing(store, INPUTS)
    free = waiting.keys() - in_runs - held.keys() - {partition for each in failed.values() for partition in each}
    ahead = sum(_VERSIONS in run.tags for run in unfinished)
    requests: list[dg.RunRequest] = []
    for run in consecutive(listed, free, partitions_per_run):
        taken = " ".join(waiting[p] for p in run)
        key = hashlib.sha256("\n".join([*run, taken]).encode()).hexdigest()
        if ended := instance.get_runs(RunsFilter(tags={"dagster/run_key": key}), limit=1):
            held |= dict.fromkeys(run, ended[0])  # Dagster would pass over the request without a word
        elif len(requests) + ahead < RUNS_AHEAD:
            requests.append(dg.RunRequest(run_key=key, tags=range_tags(run) | {_VERSIONS: taken}))
        else:
            break
    inside = waiting.keys() & in_runs
    lines = [f"{len(inside):,} partitions are in runs that have not ended"] if inside else []
    for run_id, run in {run.run_id: run for run in held.values()}.items():
        names = cut([p for p, r in held.items() if r.run_id == run_id])
        lines.append(
            f"run {run_id} ({run.status.value.lower()}) left partitions behind: {', '.join(names)}; "
            "rerun it in the UI, or delete it there to have them requested again"
        )
    lines += [sentence(name, partitions) for name, partitions in failed.items()]
    return requests, cut(lines)


def partitions_of(tags: Mapping[str, str], listed: Sequence[str]) -> Sequence[str]:
    """The partitions that a run with these tags takes."""
    if "dagster/partition" in tags:
        return [tags["dagster/partition"]]
    ends = [tags.get(f"dagster/asset_partition_range_{end}") for end in ("start", "end")]
    if not all(end in listed for end in ends):
        return []  # it takes none, or one that was deleted: then it fails
    first, last = (listed.index(end) for end in ends if end)
    return listed[first : last + 1]


def unfinished_runs(instance: dg.DagsterInstance) -> Sequence[dg.DagsterRun]:
    """Runs that wait, start or run."""
    return instance.get_runs(RunsFilter(statuses=_UNFINISHED))


def cut(lines: Sequence[str]) -> list[str]:
    """The first lines, and how many more there are: a tick is read by a person."""
    more = len(lines) - _SHOWN
    return [*lines[:_SHOWN], *([f"... and {more:,} more"] if more > 0 else [])]
