"""Runs whose process was killed: failing them, and freeing what they hold.

A killed process cannot say that its run ended. The run stays "started", counts against `max_concurrent_runs` and
keeps its pool slot: the next run would wait for ever. So every run notes its process when it starts, and whoever
starts next, or the sensor, fails the runs whose process is gone. Only processes of this host can be seen; a run of
another host is left alone.

A step that Dagster forgot in the queue for a slot would wait for ever too, and is let in by the same call.

Why so: "A run notes its process, and a sensor that is always on fails the dead" in docs/decisions.md.
"""

from __future__ import annotations

import os
import platform
from pathlib import Path

import dagster as dg
from dagster import RunsFilter

_PROCESS = "quarry/process"
_UNFINISHED = [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]
_FINISHED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]


def note_process(instance: dg.DagsterInstance, run_id: str) -> None:
    """Tag a run with this process. The tag names the run too, because a retry inherits the tags of its parent.

    Where processes cannot be seen (no /proc), runs have no tag, and none is ever failed.
    """
    pid = os.getpid()
    if identity := _identity(pid):
        instance.add_run_tags(run_id, {_PROCESS: f"{run_id} {platform.node()} {pid} {identity}"})


def fail_dead_runs(instance: dg.DagsterInstance) -> list[str]:
    """Fail the runs of this host whose process is gone, free the slots of all that ended; returns the failed runs.

    Steps that wait for a slot that nobody will give them are let in too.
    """
    failed = []
    for run in instance.get_runs(RunsFilter(statuses=_UNFINISHED)):
        noted = run.tags.get(_PROCESS, "").split()
        if noted[:2] != [run.run_id, platform.node()]:
            continue
        pid, identity = int(noted[2]), noted[3]
        if _identity(pid) != identity and not _is_hidden(pid):
            cause = "killed, for lack of memory perhaps, or the machine went down"
            instance.report_run_failed(run, f"Its process ({pid}) is gone: {cause}. Run it again: it resumes.")
            failed.append(run.run_id)
    _free_slots_of_finished_runs(instance)
    _let_in_forgotten_steps(instance)
    return failed


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


def _is_hidden(pid: int) -> bool:
    """Whether there is a process of this number that we may not look at: another user's, under hidepid."""
    if _identity(pid):
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return False  # ours, and a zombie


def _identity(pid: int) -> str | None:
    """What tells a process from a later one with its number: boot, and clock ticks from boot to its start.

    None where there is no such process.

    No wall-clock time: a Raspberry Pi boots with a wrong one and corrects it when it reaches the network.
    """
    try:
        state, *rest = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return None if state in "ZX" else f"{boot}/{rest[18]}"
