"""What stands failed keeps what is made from it from being published, whoever asks for it.

Why so: "A failed check blocks across jobs" in docs/decisions.md.
"""

from __future__ import annotations

from collections.abc import Sequence

from quarry_dagster.errors import ChecksFailedError
from quarry_dagster.store import Store
from quarry_dagster.store.failed_checks import WHOLE_TABLE

INPUTS = ("raw_pages", "extracted_text", "embeddings")
"""What the index and the corpus are made from: while a check of these stands failed, they are not published."""
_SHOWN = 5


def standing(store: Store, assets: Sequence[str]) -> dict[str, list[str]]:
    """The blocking checks ("asset.check") of these assets that stand failed, each with its partitions that exist.

    The list is empty for a check of a whole table.
    """
    failed = store.failed_checks()
    existing = store.batches.segments() if failed.standing else {}
    found: dict[str, list[str]] = {}
    for asset in assets:
        for check, partitions in failed.of_asset(asset).items():
            there = [partition for partition in partitions if partition in existing]
            if there or WHOLE_TABLE in partitions:
                found[f"{asset}.{check}"] = there
    return found


def refuse_while_failed(store: Store, assets: Sequence[str], accepted: Sequence[str]) -> list[str]:
    """Return the names of the checks of these assets that stand failed and are `accepted`.

    A check is accepted by its name ("contract", of every asset) or by that of its asset too ("raw_pages.contract").

    Raises:
        ChecksFailedError: one stands failed that is not accepted; the message names check, partitions and remedies.
    """
    failed = standing(store, assets)
    open_ = {name: partitions for name, partitions in failed.items() if not is_accepted(name, accepted)}
    if not open_:
        return list(failed)
    lines = [sentence(name, partitions) for name, partitions in open_.items()]
    names = " ".join(f"--accept-check {name}" for name in open_)
    raise ChecksFailedError(
        f"not published: {'; '.join(lines)}. What is materialized again is made anew, and is asked again; "
        f"to publish nevertheless: quarry run {names}"
    )


def is_accepted(name: str, accepted: Sequence[str]) -> bool:
    """Whether a check ("asset.check") is among the accepted ones."""
    return name in accepted or name.partition(".")[2] in accepted


def sentence(name: str, partitions: list[str]) -> str:
    """What stands failed, and what to do, of a check ("asset.check") and its partitions."""
    asset, _, check = name.partition(".")
    if not partitions:
        return f"check {check} of {asset} stands failed: materialize {asset} again"
    more = f" and {len(partitions) - _SHOWN:,} more" if len(partitions) > _SHOWN else ""
    named = f"{', '.join(partitions[:_SHOWN])}{more}"
    return f"check {check} of {asset} stands failed for {named}: materialize {asset} of {named} again"
