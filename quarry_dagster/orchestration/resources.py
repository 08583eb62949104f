"""What assets are given: the store and the hardware profile."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from ipaddress import IPv4Network, IPv6Network

import dagster as dg
from pydantic import ValidationError

from quarry_dagster import takedown
from quarry_dagster.crawl import allowed_networks
from quarry_dagster.environment import allowed_addresses, data_root, profile_name
from quarry_dagster.errors import ChecksFailedError, ConfigError, CorpusShrankError, QuarryError
from quarry_dagster.orchestration.dead_runs import fail_dead_runs, note_process
from quarry_dagster.orchestration.run_config import is_repeated
from quarry_dagster.profiles.remembered import choose_for, made_with, named_classifiers, named_processors
from quarry_dagster.profiles.settings import Classifier, HardwareProfile
from quarry_dagster.stages.redo import adopt
from quarry_dagster.store import Store

_HOW_TO_CONFIRM = "say so: quarry run --yes, or in the UI's launchpad resources: {quarry: {config: {yes: true}}}"


class Quarry(dg.ConfigurableResource):
    """The data root and the profile; what is not set here comes from QUARRY_DATA and QUARRY_PROFILE at run time.

    A run's configuration may set them: so a run is re-executed on its own data root, whatever the environment says.
    """

    data: str | None = None
    profile: str | None = None
    settings: dict | None = None  # a `dict[str, Any]` would be a map to Dagster, which takes no null
    """The profile itself, as JSON values; where given, `profile` only says where they came from."""
    yes: bool = False
    """That many texts are extracted or embedded anew is meant, because the settings changed."""

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        """At the start of a run, in its process and before it claims a pool slot: see `dead_runs`."""
        if context.run and context.instance:
            note_process(context.instance, context.run.run_id)
            fail_dead_runs(context.instance)

    def classifiers(self) -> Mapping[str, Classifier]:
        """The models whose scores are signals.

        Raises:
            ConfigError: the data root alone names them.
        """
        return named_classifiers(self.store(), self._named(), self.hardware_profile())

    def store(self) -> Store:
        return Store(data_root(self.data))

    def hardware_profile(self) -> HardwareProfile:
        """The settings of this run.

        Raises:
            ConfigError: there is no such profile, or the run was configured for a version with other settings.
        """
        if self.settings is None:
            return choose_for(self.store(), profile_name(self.profile)).profile
        try:
            return HardwareProfile.model_validate(self.settings)
        except ValidationError as e:
            raise ConfigError(f"this version cannot use the settings in the run's configuration: {e}") from e

    def processors(self) -> Mapping[str, str]:
        """The domain processors that are the user's own, by their import strings.

        Raises:
            ConfigError: the data root alone names them.
        """
        return named_processors(self.store(), self._named(), self.hardware_profile())

    def _named(self) -> str | None:
        """What names the profile: the run's configuration, or the environment; None: the data root alone."""
        return self.profile or "the run's" if self.settings is not None else profile_name(self.profile)

    @contextmanager
    def materializing(self, context: dg.AssetExecutionContext) -> Iterator[tuple[Store, HardwareProfile]]:
        """The store and the settings of a materialization; from now on the data root remembers these.

        A takedown that was begun and has not ended is ended first.

        One of our errors in the block fails the step with its message alone: nobody is to look for it in a stack trace.

        Raises:
            Failure: by such an error; one is that so much would be done anew under these settings that somebody has to
                say that it is meant.
        """
        try:
            store, profile = self.store(), self.hardware_profile()
            self._adopt(context, store, profile)
            _resume_takedowns(context, store, profile)
            yield store, profile
        except QuarryError as e:
            raise dg.Failure(description=str(e), allow_retries=False) from None

    def _adopt(self, context: dg.AssetExecutionContext, store: Store, profile: HardwareProfile) -> None:
        if self.settings and is_repeated(context) and store.root().made_with not in ({}, made_with(profile)):
            raise ConfigError(
                "the data root has other settings since than the run that this one repeats: start a new run"
            )
        done_anew = adopt(store, profile, confirmed=self.yes, how=_HOW_TO_CONFIRM)
        for line in done_anew.lines(store, profile):
            context.log.warning(f"{done_anew.cause}: {line}")

    def allow_addresses(self) -> tuple[IPv4Network | IPv6Network, ...]:
        return allowed_networks(allowed_addresses())


def _resume_takedowns(context: dg.AssetExecutionContext, store: Store, profile: HardwareProfile) -> None:
    try:
        takedown.resume(store, profile)
    except (CorpusShrankError, ChecksFailedError) as e:
        context.log.warning(str(e))
