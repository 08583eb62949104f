"""The Dagster definitions: `defs` for `dagster dev`, :func:`build_defs` for tests and other projects."""

from collections.abc import Sequence

import dagster as dg

from quarry_dagster.environment import profile_name
from quarry_dagster.orchestration import asset_checks, assets, jobs, schedules, sensors
from quarry_dagster.orchestration.resources import Quarry
from quarry_dagster.profiles.choose import choose_profile


def build_defs(data: str | None = None, profile: str | None = None) -> dg.Definitions:
    """All definitions, for a data root and profile; what is not given comes from the environment.

    Raises:
        ConfigError: the profile is wrong.
    """
    settings = choose_profile(profile_name(profile)).profile
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


def _with_backfill_policy(partitions_per_run: int) -> Sequence[dg.AssetsDefinition]:
    policy = dg.BackfillPolicy.multi_run(max_partitions_per_run=partitions_per_run)
    return [a.with_attributes(backfill_policy=policy) for a in assets.PER_PARTITION]


defs = build_defs()
