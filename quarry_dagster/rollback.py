"""Going back to a corpus that was published before, holding it there, and naming one so that it stays.

Each is a line of the log. Nothing is copied: what was published before is still there, as long as it is kept.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from quarry_dagster.errors import ConfigError, StoreError
from quarry_dagster.store import Store
from quarry_dagster.store.integrity import damaged_of
from quarry_dagster.store.state import CORPUS, Line, State

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True)
class Published:
    """A published corpus that is kept."""

    number: int
    published_at: str
    """ISO 8601, UTC."""
    documents: int
    """How many it keeps."""
    tags: list[str]
    is_current: bool
    is_held: bool
    """Whether somebody went back to it, and nothing replaces it until it is released."""


def published(store: Store) -> list[Published]:
    """The corpora that are kept, the newest first."""
    state = store.files.state()
    tags: dict[int, list[str]] = {}
    for name, number in sorted(state.tags.items()):
        tags.setdefault(number, []).append(name)
    at = {each.number: each.at.isoformat(timespec="seconds") for each in state.publishes if each.asset == CORPUS}
    current = state.currents.get(CORPUS)
    return [
        Published(
            corpus.number,
            at[corpus.number],
            corpus.kept_documents,
            tags.get(corpus.number, []),
            corpus.number == current,
            state.hold is not None and corpus.number == current,
        )
        for corpus in reversed(store.deduped_corpus.kept())
    ]


def numbered(store: Store, named: str) -> int:
    """The number of a corpus that is named by its number or its tag.

    Raises:
        ConfigError: none that is kept is named by it.
    """
    return store.corpus(named).snapshot.number


def tag(store: Store, name: str, number: int | None = None) -> int:
    """Name a corpus, by default the current one, so that it stays readable until the tag is taken off; its number.

    Raises:
        ConfigError: there is no such corpus, or the name is none.
    """
    if not _NAME.fullmatch(name) or name.isdigit():
        raise ConfigError(
            f"{name!r} is no name of a tag: letters, digits, dot, dash and underline, and not digits alone"
        )
    number = _or_current(store, number)
    store.files.log.commit(lambda _: [{"tag": {"name": name, "number": number}}])
    return number


def untag(store: Store, name: str) -> None:
    """Take a tag off.

    Raises:
        ConfigError: there is no such tag.
    """
    if name not in store.files.state().tags:
        raise ConfigError(f"there is no tag {name!r}: {', '.join(sorted(store.files.state().tags)) or 'there is none'}")
    store.files.log.commit(lambda _: [{"tag": {"name": name, "number": None}}])


def go_back(store: Store, to: int | None, who: str) -> int:
    """Publish a corpus of before again, by default the one before the current, and hold it; returns its number.

    Runs go on, and publish nothing until :func:`release`. Every file that it is read from is compared with what was
    written first.

    Raises:
        ConfigError: there is none.
        StoreError: one of its files is damaged; what is published stays.
    """
    at = datetime.now(UTC).isoformat(timespec="seconds")
    chosen = -1
    sound: set[int] = set()

    def decide(state: State) -> list[Line]:
        nonlocal chosen
        current = state.currents.get(CORPUS, -1)
        numbers = [each.number for each in state.publishes if each.asset == CORPUS]
        earlier = [number for number in numbers if number < current]
        if to is None and not earlier:
            raise ConfigError("there is no corpus of before that is kept (store.keep_publishes says how many are)")
        chosen = earlier[-1] if to is None else to
        if chosen not in numbers:
            raise ConfigError(f"corpus {chosen} is not kept: there are {', '.join(map(str, numbers)) or 'none'}")
        if chosen not in sound:
            _check_sound(store, chosen)
            sound.add(chosen)
        return [{"hold": {"number": chosen, "who": who, "at": at}}]

    store.files.log.commit(decide)
    return chosen


def _check_sound(store: Store, number: int) -> None:
    corpus = store.corpus(number)
    for each in damaged_of(store.files, [*corpus.files_named(), *corpus.inputs.texts.values()]):
        raise StoreError(
            f"corpus {number} was not published again, for {store.files.url(each.path)} is damaged ({each.problem}): "
            "go back to another one (quarry tag lists them), or restore the file from a backup"
        )


def release(store: Store) -> bool:
    """Let runs publish again; returns whether something was held. What is published stays until the next is."""
    was_held = False

    def decide(state: State) -> list[Line]:
        nonlocal was_held
        was_held = state.hold is not None
        return [{"release": {}}] if was_held else []

    store.files.log.commit(decide)
    return was_held


def _or_current(store: Store, number: int | None) -> int:
    current = store.files.state().currents.get(CORPUS)
    if number is None and current is None:
        raise ConfigError("there is no corpus yet: quarry run makes one")
    return numbered(store, str(current if number is None else number))
