"""What a run may be told in its configuration: by `quarry run`, in the UI's launchpad, or with `-c`.

Three words, one meaning each: `force` does work again although nothing changed, and never passes a failed check;
`accept_check` publishes although that check stands failed; `refetch` asks the network again unconditionally.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

import dagster as dg
from pydantic import Field

from quarry_dagster.environment import who
from quarry_dagster.store import Acceptance


class WorkConfig(dg.Config):
    """How this materialization treats what is there."""

    force: bool = False
    """Do the work again although nothing changed."""


class CrawlConfig(WorkConfig):
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


def acceptances(run_id: str, what: Iterable[str]) -> list[Acceptance]:
    """What the user of this run accepts, now."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return [Acceptance(what=each, who=f"{who()}, run {run_id}", at=now) for each in what]
