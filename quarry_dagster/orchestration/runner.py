"""Materializing through Dagster in this process: what `quarry run` does after the inbox.

Runs are recorded in the Dagster instance like any other, so the UI shows them with their logs and metadata.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import dagster as dg
from dagster import DagsterInstance, DagsterInvariantViolationError

from quarry_dagster.definitions import build_defs
from quarry_dagster.errors import ConfigError, StoreError
from quarry_dagster.orchestration import assets
from quarry_dagster.orchestration.dead_runs import fail_dead_runs
from quarry_dagster.orchestration.partitions import CRAWL_BATCHES, consecutive, range_tags
from quarry_dagster.profiles.choose import configs_dir
from quarry_dagster.profiles.settings import HardwareProfile
from quarry_dagster.store import Files

_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


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
    seconds: dict[str, float] = field(default_factory=dict)  # per asset
    worked: dict[str, int] = field(default_factory=dict)  # rows worked on, per asset
    written: int = 0  # data files

    @property
    def failures(self) -> list[str]:
        """What failed: assets, and checks whose failure is an error."""
        return self.errors + [str(a) for a in self.answers if not a.passed and a.is_error]

    @property
    def warnings(self) -> list[str]:
        """Checks that failed and do not block."""
        return [str(a) for a in self.answers if not a.passed and not a.is_error]


@contextmanager
def instance(data: str) -> Iterator[DagsterInstance]:
    """The Dagster instance: of $DAGSTER_HOME, else a folder `.dagster` in a local data root.

    Raises:
        ConfigError: the data root is remote and DAGSTER_HOME is not set.
    """
    try:
        opened = DagsterInstance.get() if os.environ.get("DAGSTER_HOME") else _instance_beside(data)
    except DagsterInvariantViolationError as e:
        raise ConfigError(str(e)) from e
    with opened as found:
        fail_dead_runs(found)
        yield found


def _instance_beside(data: str) -> DagsterInstance:
    files = Files(data)
    if not files.is_local:
        raise ConfigError("set DAGSTER_HOME to a local folder: Dagster keeps its run history there")
    home = Path(files.full(".dagster"))
    try:
        if not home.exists():
            _make_home(home)
    except OSError as e:
        raise StoreError(f"cannot write {home}: {e.strerror or e}; make it writable, or set DAGSTER_HOME") from e
    if not os.access(home, os.W_OK):
        raise StoreError(f"cannot write {home}; make it writable, or set DAGSTER_HOME")
    return DagsterInstance.from_config(str(home))


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
) -> Outcome:
    """Materialize these partitions in runs of the profile's size, then the index and the corpus.

    Stops at the first failure. `further` names partitions that what was crawled led to; each is materialized once.
    """
    outcome = Outcome()
    defs = build_defs(data, profile_name)
    waiting, done = set(partitions), set[str]()
    while waiting:
        listed = instance.get_dynamic_partitions(CRAWL_BATCHES)
        for run in consecutive(listed, waiting, profile.partitions.partitions_per_run):
            if not _execute(defs.resolve_job_def("ingest"), instance, range_tags(run), outcome):
                return outcome
        done |= waiting
        waiting = set(further()) - done
    _execute(defs.resolve_job_def("corpus"), instance, {}, outcome)
    return outcome


def check(instance: DagsterInstance, *, data: str, profile_name: str | None) -> Outcome:
    """Ask every check about the tables as they are."""
    outcome = Outcome()
    _execute(build_defs(data, profile_name).resolve_job_def("checks"), instance, {}, outcome)
    return outcome


def _execute(job: dg.JobDefinition, instance: DagsterInstance, tags: dict[str, str], outcome: Outcome) -> bool:
    result = job.execute_in_process(instance=instance, tags=tags, run_config=_QUIET, raise_on_error=False)
    failures_before = len(outcome.failures)
    for event in result.all_events:
        if event.is_step_success and event.step_key in assets.NAMES:
            seconds = event.step_success_data.duration_ms / 1000
            outcome.seconds[event.step_key] = outcome.seconds.get(event.step_key, 0) + seconds
        elif event.is_step_materialization:
            metadata = event.step_materialization_data.materialization.metadata
            name = event.step_materialization_data.materialization.asset_key.to_user_string()
            if "worked" in metadata:
                outcome.worked[name] = outcome.worked.get(name, 0) + _number(metadata, "worked")
            outcome.written += _number(metadata, "files_written")
        elif event.is_step_failure:
            error = event.step_failure_data.error
            if error and error.cls_name == "DagsterAssetCheckFailedError":
                continue  # the check has its answer
            cause = error.cause if error and error.cause else error
            message = cause.message.strip() if cause else "failed"
            kind = "asset" if event.step_key in assets.NAMES else "check"
            outcome.errors.append(f"{kind} {event.step_key}: {message}")
        elif event.event_type_value == "ASSET_CHECK_EVALUATION":
            found = event.asset_check_evaluation_data
            is_error = found.severity == dg.AssetCheckSeverity.ERROR
            asset = found.asset_key.to_user_string()
            outcome.answers.append(Answer(asset, found.check_name, found.passed, is_error, found.description or ""))
    if not result.success and len(outcome.failures) == failures_before:
        outcome.errors.append(f"run {result.run_id} of job {job.name} failed outside its assets: see it in the UI")
    return result.success


def _number(metadata: Mapping[str, dg.MetadataValue], key: str) -> int:
    return int(metadata[key].value) if key in metadata else 0  # pyright: ignore[reportArgumentType]
