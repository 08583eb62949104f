"""Materializing through Dagster in this process: what `quarry run` does after the inbox.

Runs are recorded in the Dagster instance like any other: the UI shows them with their logs and metadata, and executes
them again. Their configuration carries the data root and the settings, for the UI's environment may name others.

Why so: "A run of `quarry run` is a run like any other" and "What a command prints belongs to its terminal" in
docs/decisions.md.
"""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import dagster as dg
import yaml
from dagster import DagsterInstance, DagsterInvariantViolationError

# Not public, but what Dagster's own commands are made of; test_rerun.py clicks, and fails where they change.
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.definitions.repository_definition import SINGLETON_REPOSITORY_NAME
from dagster._core.events import RunFailureReason
from dagster._core.execution.api import execute_run_iterator
from dagster._core.execution.plan.objects import ErrorSource
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin
from dagster._core.storage.noop_compute_log_manager import NoOpComputeLogManager
from dagster._utils.interrupts import pop_captured_interrupt
from sqlalchemy.exc import SQLAlchemyError

from quarry_dagster.definitions import build_defs
from quarry_dagster.environment import check_dagster_home, code_location, data_root
from quarry_dagster.errors import ConfigError, StoreError
from quarry_dagster.orchestration import assets
from quarry_dagster.orchestration.dead_runs import fail_dead_runs
from quarry_dagster.orchestration.kept_open import kept_open
from quarry_dagster.orchestration.partitions import CRAWL_BATCHES, consecutive, range_tags
from quarry_dagster.profiles.choose import configs_dir
from quarry_dagster.profiles.remembered import choose_for
from quarry_dagster.profiles.settings import HardwareProfile
from quarry_dagster.stages.report import StageReport
from quarry_dagster.store import Files, Store
from quarry_dagster.store.faults import in_our_words

_log = logging.getLogger(__name__)

_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
_OUTCOME = "outcome/"
_SHRANK = (assets.SHRANK.asset_key.to_user_string(), assets.SHRANK.name)
_INTERRUPTED = "Interrupted, as by Ctrl-C."
_SLOT_POLL_SECONDS = 1.0
_BY_HAND = {"dagster/max_retries": "0"}
"""Tag of a run that no daemon starts again when it fails: whoever started it by a command sees that, and decides."""


@dataclass(frozen=True)
class Answer:
    """What one asset check said."""

    asset: str
    name: str
    passed: bool
    is_error: bool  # otherwise a warning
    summary: str

    def __str__(self) -> str:
        return f"check {self.name} of {self.asset}: {self.summary}"


@dataclass
class Outcome:
    """How the runs of one command went."""

    errors: list[str] = field(default_factory=list)  # "asset raw_pages: message", or of a check that could not be asked
    answers: list[Answer] = field(default_factory=list)
    stages: dict[str, StageReport] = field(default_factory=dict)  # per asset, over all runs
    loss: str = ""  # what left the corpus that was published, in a sentence

    @property
    def shrank(self) -> bool:
        """Whether the corpus was refused because it would have lost too much."""
        return any(not a.passed and (a.asset, a.name) == _SHRANK for a in self.answers)

    @property
    def failures(self) -> list[str]:
        """What failed: assets, and checks whose failure is an error."""
        return self.errors + [str(a) for a in self.answers if not a.passed and a.is_error]

    @property
    def warnings(self) -> list[str]:
        """Checks that failed and do not block."""
        return [str(a) for a in self.answers if not a.passed and not a.is_error]


class Watcher(Protocol):
    """Who is told how the runs go."""

    def begins(self, stage: str, place: int, of: int, parts: int) -> None:
        """An asset begins, the n-th of all, with one of so many partitions that are known of."""
        ...

    def ends(self, stage: str, report: StageReport | None, *, is_last: bool) -> None:
        """It ended; the report is of all runs until now, None where it failed. `is_last`: no run is known to follow."""
        ...

    def doing(self, what: str) -> None:
        """This is done now, which is no asset; empty: nothing."""
        ...

    def settle(self) -> None:
        """The assets that ended will not go on."""
        ...


class _Nobody:
    """Looks at nothing."""

    def begins(self, stage: str, place: int, of: int, parts: int) -> None: ...
    def ends(self, stage: str, report: StageReport | None, *, is_last: bool) -> None: ...
    def doing(self, what: str) -> None: ...
    def settle(self) -> None: ...


@contextmanager
def instance(data: str) -> Iterator[DagsterInstance]:
    """The Dagster instance: of $DAGSTER_HOME, else a folder `.dagster` in a local data root.

    Raises:
        ConfigError: the data root is remote and DAGSTER_HOME is not set.
        StoreError: Dagster cannot keep runs and events there, now or while the block runs.
    """
    home = os.environ.get("DAGSTER_HOME")
    try:
        with _opened(data) as opened, kept_open(opened) as found:
            fail_dead_runs(found)
            yield found
    except (SQLAlchemyError, sqlite3.Error) as e:
        told = in_our_words(e, "keep Dagster's runs and events in", home or Files(data).url(".dagster"))
        raise told or StoreError(f"Dagster cannot keep its runs and events: {e}") from e


def _opened(data: str) -> DagsterInstance:
    try:
        opened = DagsterInstance.get() if os.environ.get("DAGSTER_HOME") else _instance_beside(data)
    except DagsterInvariantViolationError as e:
        raise ConfigError(str(e)) from e
    # What this process prints is for its terminal. To copy it for the UI, Dagster would start processes that a Ctrl-C
    # of the terminal ends too, each with a traceback.
    opened._compute_log_manager = NoOpComputeLogManager()
    return opened


def _instance_beside(data: str) -> DagsterInstance:
    files = Files(data)
    home = Path(files.full(".dagster"))
    check_dagster_home(home if files.is_local else None)
    try:
        if not home.exists():
            _make_home(home)
    except OSError as e:
        raise StoreError(f"cannot write {home}: {e.strerror or e}; make it writable, or set DAGSTER_HOME") from e
    if not os.access(home, os.W_OK):
        raise StoreError(f"cannot write {home}; make it writable, or set DAGSTER_HOME")
    _refuse_code(home / "dagster.yaml")
    return DagsterInstance.from_config(str(home))


def _refuse_code(settings: Path) -> None:
    """Refuse settings of an instance that name code to load: nothing of a data root is imported.

    Raises:
        ConfigError: they do.
    """
    found: list[Any] = [yaml.safe_load(settings.read_text(encoding="utf-8"))] if settings.exists() else []
    for each in found:  # it grows
        if isinstance(each, dict) and "module" in each:
            raise ConfigError(
                f"{settings} names code to load ({each['module']}), and nothing that lies in a data root is imported: "
                "set DAGSTER_HOME to the folder of an instance that you trust"
            )
        found += each.values() if isinstance(each, dict) else each if isinstance(each, list) else ()


def _make_home(home: Path) -> None:
    """A new Dagster home, whole or not at all: Dagster never completes the tables that a kill left half created."""
    home.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".dagster-", dir=home.parent, ignore_cleanup_errors=True) as folder:
        shutil.copy(configs_dir() / "dagster.yaml", folder)
        with DagsterInstance.from_config(folder) as new:
            new.get_runs(limit=1)
        try:
            Path(folder).rename(home)
        except OSError:
            if not home.exists():  # another process was first
                raise


def materialize(
    instance: DagsterInstance,
    partitions: Sequence[str],
    *,
    data: str,
    profile_name: str | None,
    profile: HardwareProfile,
    further: Callable[[], Iterable[str]] = tuple,
    config: Mapping[str, Any] | None = None,
    tags: Mapping[str, str] | None = None,
    watcher: Watcher | None = None,
) -> Outcome:
    """Materialize these partitions in runs of the profile's size, then the index and the corpus.

    Stops at the first failure. `further` names partitions that what was crawled led to; each is materialized once.
    `config` is the configuration of assets and checks by name; a run is given that of those it has.

    Raises:
        KeyboardInterrupt: the run was interrupted; it stands as canceled or failed.
    """
    outcome = Outcome()
    defs = build_defs(data, profile_name)
    resource = _quarry(data, profile_name, profile)
    tags, config = tags or {}, config or {}
    watcher = watcher or _Nobody()
    waiting, done = set(partitions), set[str]()
    while waiting:
        listed = instance.get_dynamic_partitions(CRAWL_BATCHES)
        runs = list(consecutive(listed, waiting, profile.partitions.partitions_per_run))
        for run in runs:
            job = defs.resolve_job_def("ingest")
            watched = _Watched(watcher, outcome, len(done | waiting), is_last=run is runs[-1])
            if not _execute(job, instance, resource, watched, config=config, tags={**tags, **range_tags(run)}):
                return outcome
        done |= waiting
        waiting = set(further()) - done
    watcher.settle()
    watched = _Watched(watcher, outcome, 1, is_last=True)
    _execute(defs.resolve_job_def("corpus"), instance, resource, watched, config=config, tags=tags)
    return outcome


def check(instance: DagsterInstance, *, data: str, profile_name: str | None, watcher: Watcher | None = None) -> Outcome:
    """Ask every check about the tables as they are.

    Raises:
        KeyboardInterrupt: the run was interrupted; it stands as canceled or failed.
    """
    outcome = Outcome()
    resource = _quarry(data, profile_name, choose_for(Store(data), profile_name).profile)
    job = build_defs(data, profile_name).resolve_job_def("checks")
    watched = _Watched(watcher or _Nobody(), outcome, 1, is_last=True)
    _execute(job, instance, resource, watched, config={}, tags={})
    return outcome


def _quarry(data: str, name: str | None, profile: HardwareProfile) -> dict[str, Any]:
    """The configuration of the resource `quarry`, which holds wherever the run is executed again."""
    return {"data": data_root(data), "profile": name or profile.name, "settings": profile.model_dump(mode="json")}


def _execute(
    job: dg.JobDefinition,
    instance: DagsterInstance,
    quarry: Mapping[str, Any],
    watched: _Watched,
    *,
    config: Mapping[str, Any],
    tags: Mapping[str, str],
) -> bool:
    """Execute a run of this job here, and note how it went; whether it succeeded."""
    names = {node.name for node in job.nodes}
    run_config = {
        **_QUIET,
        "resources": {"quarry": {"config": quarry}},
        "ops": {name: {"config": given} for name, given in config.items() if name in names},
    }
    location = RegisteredCodeLocationOrigin(code_location())
    origin = RemoteJobOrigin(RemoteRepositoryOrigin(location, SINGLETON_REPOSITORY_NAME), job.name)
    run = instance.create_run_for_job(
        job, run_config=run_config, tags={**job.run_tags, **_BY_HAND, **tags}, remote_job_origin=origin
    )
    outcome = watched.outcome
    failures_before = len(outcome.failures)
    interrupted = False
    try:
        for event in _events(job, run, instance):
            watched.see(event)
            if event.event_type == dg.DagsterEventType.RUN_CANCELED:
                interrupted = True
            elif event.is_job_failure:
                reason = event.job_failure_data.failure_reason
                interrupted = reason == RunFailureReason.UNEXPECTED_TERMINATION  # between two steps
    except KeyboardInterrupt:  # before Dagster itself watches for it
        instance.report_run_canceled(run, "Interrupted before it started.")
        raise
    if interrupted:
        raise KeyboardInterrupt
    ended = instance.get_run_by_id(run.run_id)
    is_success = ended is not None and ended.is_success
    if not is_success and len(outcome.failures) == failures_before:
        outcome.errors.append(f"run {run.run_id} of job {job.name} failed outside its assets: see it in the UI")
    return is_success


def _events(job: dg.JobDefinition, run: dg.DagsterRun, instance: DagsterInstance) -> Iterator[dg.DagsterEvent]:
    """Execute a run; its events. One that is interrupted ends as canceled, also while it waits for a pool's slot."""
    events = execute_run_iterator(InMemoryJob(job), run, instance)
    assert isinstance(events, Generator)
    for event in events:
        yield event
        if _is_interruption(event):
            instance.report_run_canceling(run, _INTERRUPTED)  # or the run would end as failed
        elif event.is_engine_event and "pool" in event.engine_event_data.metadata and event.step_key:
            pool = str(event.engine_event_data.metadata["pool"].value)
            if not _wait_for_slot(instance, pool, run.run_id, event.step_key):
                instance.report_run_canceling(run, _INTERRUPTED)
                yield events.throw(KeyboardInterrupt())


def _is_interruption(event: dg.DagsterEvent) -> bool:
    return event.is_step_failure and event.step_failure_data.error_source == ErrorSource.INTERRUPT


def _wait_for_slot(instance: DagsterInstance, pool: str, run_id: str, step: str) -> bool:
    """Wait until a step may take its slot, or another one of its run may; False where an interruption came first, which
    Dagster does not see."""
    _log.info("waiting for another run: the pool %s is taken", pool)
    while True:
        queue = instance.event_log_storage.get_concurrency_info(pool).pending_steps
        mine = [each for each in queue if each.run_id == run_id]
        if any(each.assigned_timestamp for each in mine) or not any(each.step_key == step for each in mine):
            return True
        if pop_captured_interrupt():
            return False
        time.sleep(_SLOT_POLL_SECONDS)
        fail_dead_runs(instance)


@dataclass
class _Watched:
    """What the events of a run say, for the outcome and for whoever watches."""

    watcher: Watcher
    outcome: Outcome
    parts: int
    is_last: bool

    def see(self, event: dg.DagsterEvent) -> None:
        _note(event, self.outcome)
        stage = event.step_key or ""
        if event.is_step_start and stage in assets.NAMES:
            self.watcher.begins(stage, assets.NAMES.index(stage) + 1, len(assets.NAMES), self.parts)
        elif event.is_step_start:
            self.watcher.doing(f"check {stage}")
        elif stage not in assets.NAMES and (event.is_step_success or event.is_step_failure):
            self.watcher.doing("")
        elif stage in assets.NAMES and event.is_step_success:
            self.watcher.ends(stage, self.outcome.stages[stage], is_last=self.is_last)
        elif stage in assets.NAMES and event.is_step_failure and not _is_interruption(event):
            self.watcher.ends(stage, None, is_last=True)


def _note(event: dg.DagsterEvent, outcome: Outcome) -> None:
    """Take down what an event says of how a run goes."""
    if event.is_step_success and event.step_key in assets.NAMES:
        stage = outcome.stages.setdefault(event.step_key, StageReport())
        stage.seconds += event.step_success_data.duration_ms / 1000
    elif event.is_step_materialization:
        metadata = event.step_materialization_data.materialization.metadata
        name = event.step_materialization_data.materialization.asset_key.to_user_string()
        stage = outcome.stages.setdefault(name, StageReport())
        stage.rows += _number(metadata, "dagster/row_count")
        stage.worked += _number(metadata, "worked")
        stage.written += _number(metadata, "files_written")
        for key in metadata:
            if key.startswith(_OUTCOME):
                stage.outcomes[key.removeprefix(_OUTCOME)] += _number(metadata, key)
    elif event.is_step_failure:
        error = event.step_failure_data.error
        if error and error.cls_name == "DagsterAssetCheckFailedError":
            return  # the check has its answer
        if event.step_key == _SHRANK[0] and outcome.shrank:
            return  # the asset gave the answer of its check before it failed
        ours, cause = event.step_failure_data.user_failure_data, error.cause if error and error.cause else error
        said = ours.description if ours else cause.message if cause else None
        message = (said or "failed").strip()
        kind = "asset" if event.step_key in assets.NAMES else "check"
        outcome.errors.append(f"{kind} {event.step_key}: {message}")
    elif event.event_type_value == "ASSET_CHECK_EVALUATION":
        found = event.asset_check_evaluation_data
        is_error = found.severity == dg.AssetCheckSeverity.ERROR
        asset = found.asset_key.to_user_string()
        outcome.answers.append(Answer(asset, found.check_name, found.passed, is_error, found.description or ""))
        if found.passed and (asset, found.check_name) == _SHRANK and _number(found.metadata, "left"):
            outcome.loss = found.description or ""


def _number(metadata: Mapping[str, dg.MetadataValue], key: str) -> int:
    return int(metadata[key].value) if key in metadata else 0  # pyright: ignore[reportArgumentType]
