"""The Dagster definitions: `defs` for `dagster dev`, :func:`build_defs` for tests and other projects."""

from collections.abc import Sequence

import dagster as dg

from quarry_dagster.environment import data_root, profile_name
from quarry_dagster.orchestration import asset_checks, assets, jobs, schedules, sensors
from quarry_dagster.orchestration.resources import Quarry
from quarry_dagster.profiles.choose import choose_profile
from quarry_dagster.profiles.remembered import choose_for
from quarry_dagster.profiles.settings import HardwareProfile
from quarry_dagster.store import Store


def build_defs(data: str | None = None, profile: str | None = None) -> dg.Definitions:
    """All definitions, for a data root and profile; what is not given comes from the environment.

    Raises:
        ConfigError: the profile is wrong.
    """
    settings = _settings(data_root(data), profile_name(profile))
    return dg.Definitions(
        assets=[
            *_with_backfill_policy(settings.partitions.partitions_per_run),
            *assets.GLOBAL,
        ],
        asset_checks=asset_checks.ALL,
        jobs=jobs.ALL,
        schedules=schedules.build(settings.automation),
        sensors=sensors.build(settings.automation),
        resources={"quarry": Quarry(data=data, profile=profile)},
        # A process for each step would cost seconds of CPU; the steps of a run follow each other anyway, and the
        # model stays loaded. Pages are parsed in worker processes of their own.
        executor=dg.in_process_executor,
    )


def _settings(data: str, name: str | None) -> HardwareProfile:
    """The settings that definitions depend on; an object store is not asked what it remembers just to load them."""
    store = Store(data)
    return (choose_for(store, name) if store.files.is_local else choose_profile(name)).profile


def _with_backfill_policy(partitions_per_run: int) -> Sequence[dg.AssetsDefinition]:
    policy = dg.BackfillPolicy.multi_run(max_partitions_per_run=partitions_per_run)
    return [a.with_attributes(backfill_policy=policy) for a in assets.PER_PARTITION]


defs = build_defs()
