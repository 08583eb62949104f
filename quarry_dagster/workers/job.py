"""What worker processes do: a job is about one page, is sent to a worker whole, and gives one result."""

from __future__ import annotations

from typing import Protocol, TypeVar

from quarry_dagster.profiles.settings import Extraction as Settings

R = TypeVar("R", covariant=True)


class Job(Protocol[R]):
    """One page, and what is to be done with it; its result is made by a worker, or says why there is none.

    A job and its result can be pickled. Its class stands in a module, where the nursery finds it by its name.
    """

    @property
    def size(self) -> int:
        """Bytes of the page: one with more than the settings allow is given to no worker."""
        ...

    @staticmethod
    def prepare(settings: Settings) -> None:
        """Load what all jobs of the kind need: once, in the process that workers are forked from."""
        ...

    def do(self, settings: Settings) -> R:
        """The result; of exceptions only MemoryError is raised."""
        ...

    def failed(self, outcome: str, detail: str, settings: Settings) -> R:
        """The result where a worker made none: `outcome` is `timeout` or `error`, `detail` says why."""
        ...
