"""What a run may be told in its configuration: by `quarry run`, in the UI's launchpad, or with `-c`.

Four words, one meaning each: `force` does work again although nothing changed, and never passes a failed check;
`accept_check` publishes although that check stands failed; `refetch` asks the network again unconditionally; `only`
leaves all else as it is. What is accepted is not carried over to a re-execution.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import Enum

import dagster as dg
from pydantic import Field

from quarry_dagster.environment import who
from quarry_dagster.store import Acceptance


class WorkConfig(dg.Config):
    """How this materialization treats what is there."""

    force: bool = False
    """Do the work again although nothing changed."""


class Only(Enum):
    """What a materialization may be limited to."""

    failed = "failed"


class RetryConfig(WorkConfig):
    """What this materialization tries again."""

    only: Only | None = None
    """`failed`: what failed the last time is tried again, and nothing that came is asked for."""

    @property
    def only_failed(self) -> bool:
        return self.only is Only.failed


class CrawlConfig(RetryConfig):
    """How this materialization asks for pages."""

    refetch: bool = False
    """Ask for every page again, whether or not it changed since."""


class IndexConfig(WorkConfig):
    """How this materialization treats the index that is there, and what it goes by."""

    compact: bool = False
    """Build it anew, as few shards as memory allows, without the vectors that it passes over: if it is not so now."""
    accept_check: list[str] = Field(default_factory=list)
    """Names of checks that may stand failed, such as contract or raw_pages.contract."""


class CorpusConfig(WorkConfig):
    """What may be published although it was to be refused."""

    accept_shrink: bool = False
    """Publish although more documents leave than the bounds allow."""
    accept_check: list[str] = Field(default_factory=list)
    """Names of checks that may stand failed, such as contract or raw_pages.contract."""


class CheckConfig(dg.Config):
    """How a check is answered."""

    accepted: bool = False
    """A failure is a warning: what comes after the asset is not held up."""


Context = dg.AssetExecutionContext | dg.AssetCheckExecutionContext
_RETRY = "dagster/retry_number"
"""Tag of a run that the daemon started in the place of one that was killed."""


def is_repeated(context: Context) -> bool:
    """Whether somebody executes a run again, and not a daemon one that was killed."""
    return context.run.parent_run_id is not None and _RETRY not in context.run.tags


def accepted_here(context: Context, said: Sequence[str]) -> list[str]:
    """Of what a run is told to accept, what counts.

    What somebody accepted counts in the run that they said it for, and when a daemon resumes that; a click on
    *Re-execute* accepts nothing new.
    """
    if not said or not is_repeated(context):
        return list(said)
    context.log.warning(f"not accepted again, since this run is a re-execution: {', '.join(said)}; say so anew")
    return []


def acceptances(run_id: str, what: Iterable[str]) -> list[Acceptance]:
    """What the user of this run accepts, now."""
    return [Acceptance.now(each, f"{who()}, run {run_id}") for each in what]
