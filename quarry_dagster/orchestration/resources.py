"""What assets are given: the store and the hardware profile."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network

import dagster as dg
from pydantic import ValidationError

from quarry_dagster.crawl import allowed_networks
from quarry_dagster.environment import allowed_addresses, data_root, profile_name
from quarry_dagster.errors import ConfigError
from quarry_dagster.orchestration.dead_runs import fail_dead_runs, note_process
from quarry_dagster.profiles.remembered import choose_for
from quarry_dagster.profiles.settings import HardwareProfile
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

    def begin(self, context: dg.AssetExecutionContext) -> tuple[Store, HardwareProfile]:
        """The store and the settings of a materialization; from now on the data root remembers these.

        Raises:
            ConfigError: so much would be done anew under these settings that somebody has to say that it is meant.
        """
        store, profile = self.store(), self.hardware_profile()
        for line in adopt(store, profile, confirmed=self.yes, how=_HOW_TO_CONFIRM).lines(store, profile):
            context.log.info(line)
        return store, profile

    def allow_addresses(self) -> tuple[IPv4Network | IPv6Network, ...]:
        return allowed_networks(allowed_addresses())
