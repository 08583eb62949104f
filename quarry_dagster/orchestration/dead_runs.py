"""Runs whose process was killed: failing them, and freeing what they hold.

A killed process cannot say that its run ended. The run stays "started", counts against `max_concurrent_runs` and
keeps its pool slot: the next run would wait for ever. So every run notes its process when it starts, and whoever
starts next, or the sensor, fails the runs whose process is gone. What is of another host or container may be alive: it
is left alone and named, with what to do where it is not.

A step that Dagster forgot in the queue for a slot would wait for ever too, and is let in by the same call.

Why so: "A run notes its process, and a sensor that is always on fails the dead" in docs/decisions.md.
"""

from __future__ import annotations

import json

import dagster as dg
from dagster import RunsFilter

from quarry_dagster.processes import Process

_PROCESS = "quarry/process"
_UNFINISHED = [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]
_FINISHED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]


def note_process(instance: dg.DagsterInstance, run_id: str) -> None:
    """Tag a run with this process. The tag names the run too, because a retry inherits the tags of its parent.

    Where processes cannot be seen (no /proc), runs have no tag, and none is ever failed.
    """
    if process := Process.this():
        instance.add_run_tags(run_id, {_PROCESS: f"{run_id} {json.dumps(process.stored())}"})


def fail_dead_runs(instance: dg.DagsterInstance) -> list[str]:
    """Fail the runs whose process is gone, and free the slots of all that ended; returns the failed runs.

    Steps that wait for a slot that nobody will give them are let in too.
    """
    failed = []
    for run in instance.get_runs(RunsFilter(statuses=_UNFINISHED)):
        process = _process_of(run)
        if process and process.fate() == "gone":
            cause = "killed, for lack of memory perhaps, or the machine went down"
            instance.report_run_failed(run, f"Its process ({process.pid}) is gone: {cause}. Run it again: it resumes.")
            failed.append(run.run_id)
    _free_slots_of_finished_runs(instance)
    _let_in_forgotten_steps(instance)
    return failed


def unseen_runs(instance: dg.DagsterInstance) -> list[str]:
    """A sentence for each unfinished run of another host or container, with what to do where it is dead."""
    found = []
    for run in instance.get_runs(RunsFilter(statuses=_UNFINISHED)):
        process = _process_of(run)
        if process and process.fate() == "unseen":
            found.append(
                f"run {run.run_id} is of host {process.host} (process {process.pid}), whose processes cannot be seen "
                "from here; if it is dead, terminate it in the UI (force), which frees its slot"
            )
    return found


def _process_of(run: dg.DagsterRun) -> Process | None:
    """The process that a run noted; None where it noted none, or a version of before did."""
    run_id, _, stored = run.tags.get(_PROCESS, "").partition(" ")
    if run_id != run.run_id:
        return None
    try:
        return Process.of(json.loads(stored))
    except ValueError:
        return None


def _free_slots_of_finished_runs(instance: dg.DagsterInstance) -> None:
    storage = instance.event_log_storage
    holders = storage.get_concurrency_run_ids() if storage.supports_global_concurrency_limits else set()
    if holders:
        for run in instance.get_runs(RunsFilter(run_ids=list(holders), statuses=_FINISHED)):
            storage.free_concurrency_slots_for_run(run.run_id)


def _let_in_forgotten_steps(instance: dg.DagsterInstance) -> None:
    """Let steps that wait although their pool has a free slot ask for it anew.

    Dagster (1.13.27) looks for a free slot, and then puts the step into the queue. A slot that is freed in between goes
    to nobody, and the step would wait for ever.
    """
    storage = instance.event_log_storage
    if not storage.supports_global_concurrency_limits:
        return
    for pool in storage.get_concurrency_keys():
        info = storage.get_concurrency_info(pool)
        waiting = [step for step in info.pending_steps if step.assigned_timestamp is None]
        if len(info.pending_steps) - len(waiting) < info.slot_count:
            for step in waiting:
                storage.free_concurrency_slot_for_step(step.run_id, step.step_key)
