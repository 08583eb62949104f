"""The blocking checks that stand failed, as their newest answers say.

They are kept in the log of the data root: what stands failed must block whoever publishes, from whatever
Dagster instance. Only names and times are kept, no word of what a page or a seed said.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from quarry_dagster.store.files import Files

_KEY = "failed/"
WHOLE_TABLE = ""
"""In the place of a partition: the check is of a table as a whole."""


@dataclass(frozen=True)
class FailedChecks:
    """What stands failed: for each check ("asset.check") the partitions, each with since when (ISO 8601, UTC)."""

    standing: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @classmethod
    def read(cls, files: Files) -> FailedChecks:
        """What stands failed now.

        Raises:
            StoreError: the log is damaged.
        """
        return cls(files.log.values(_KEY))

    @staticmethod
    def note(files: Files, check: str, asked: Collection[str], failing: Collection[str], at: datetime) -> None:
        """Note a check's answer about the partitions `asked`; what it was not asked about stands as it stood.

        Raises:
            StoreError: the log is damaged, or cannot be written.
        """
        since = at.isoformat(timespec="seconds")

        def change(before: Mapping[str, str] | None) -> dict[str, str] | None:
            earlier = before or {}
            stands = {partition: when for partition, when in earlier.items() if partition not in asked}
            fails = {partition: earlier.get(partition, since) for partition in failing}
            return dict(sorted((stands | fails).items())) or None

        files.log.set(f"{_KEY}{check}", change)

    def of_asset(self, asset: str) -> dict[str, Mapping[str, str]]:
        """What stands failed of one asset: partitions by the name of the check."""
        return {name.partition(".")[2]: each for name, each in self.standing.items() if name.startswith(f"{asset}.")}

    def partitions_of(self, asset: str) -> set[str]:
        """The partitions of an asset for which any check stands failed; WHOLE_TABLE for a check of the whole."""
        return {partition for each in self.of_asset(asset).values() for partition in each}
