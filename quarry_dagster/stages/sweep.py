"""Sweeping a data root: deleting what nobody reads any more, and what killed processes left half done.

What is needed is what the log's state names, and what each publish that is kept names. All else goes: at once where
its writer is dead, otherwise after a while, so that whoever began to read it a moment ago can finish.

Why so: "What is not needed goes an hour later" in docs/decisions.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import chain

import polars as pl

from quarry_dagster.errors import StoreError
from quarry_dagster.processes import Fate
from quarry_dagster.progress import log
from quarry_dagster.stages.pages import warc_files
from quarry_dagster.store import Corpus, Index, LostRace, Store, again, before
from quarry_dagster.store.state import Line, State
from quarry_dagster.store.writers import is_temporary, token_in

_SECONDS = 3600.0
"""After so long what is not needed goes, on a disk."""
_REMOTE_SECONDS = 24 * 3600.0
"""And on an object store, where a process cannot be seen, and an upload may take long."""


@dataclass
class Sweep:
    """What a sweep deletes, or would delete."""

    files: list[str] = field(default_factory=list)
    """Paths."""
    bytes: int = 0


def sweep(store: Store, *, at_once: bool = False, dry_run: bool = False) -> Sweep:
    """Delete what is not needed; returns what that is.

    `at_once` deletes also what somebody may be reading: a takedown leaves nothing. `dry_run` deletes nothing.

    Raises:
        StoreError: the store cannot be written; with `at_once`, a manifest is damaged.
    """
    return again(lambda: _sweep(store, at_once=at_once, dry_run=dry_run))


def _sweep(store: Store, *, at_once: bool, dry_run: bool) -> Sweep:
    files = store.files
    with nullcontext() if dry_run else files.lock("corpus"):  # who makes a corpus reads what was just replaced
        state = files.state()
        if state.number < 0:
            return Sweep()
        try:
            corpora = store.deduped_corpus.kept()
            indexes = _indexes(store, corpora)
        except StoreError as e:
            if at_once:
                raise
            log.warning("%s; nothing is swept until nothing that is kept has that manifest", e)
            return Sweep()
        past = state.past()
        commits = [each.commit for each in state.publishes if each.asset == store.deduped_corpus.name]
        needed = {path for table in store.tables() for path in state.table(table.name).frame()["path"]}
        for commit in commits:
            is_there = (pl.col("commit") <= commit) & (pl.col("until") > commit)
            needed.update(past.filter(is_there)["path"])
        named = {path for content in (*corpora, *indexes) for path in content.segments_named()}
        needed |= named
        needed.update(path for content in (*corpora, *indexes) for path in content.files_named())
        numbers = {store.faiss_index.name: {index.number for index in indexes}}
        dropped = [each for each in state.publishes if each.asset in numbers and each.number not in numbers[each.asset]]
        needed.update(each.manifest for each in state.publishes if each not in dropped)
        needed.update(path for path in state.files if warc_files.is_needed(path, state))

        since = _SECONDS if files.is_local else _REMOTE_SECONDS
        moment = datetime.now(UTC) if at_once else datetime.now(UTC) - timedelta(seconds=since)
        is_old = past.filter(pl.col("until_at") <= moment)
        retired = {*past["path"]}
        going = {*is_old["path"]} - needed
        fates = files.writers.fates()
        found = Sweep()
        for path in _all(store):
            if path in needed:
                continue
            if path in retired:
                goes = path in going
            elif path in state.files:
                goes = at_once or _is_older(store, path, since)
            else:
                goes = _is_left(store, path, fates, since)
            if goes:
                found.files.append(path)
        # A process that is dead by now may have made its last commit after the state was read.
        unknown = [path for path in found.files if path not in retired and path not in state.files]
        committed = files.state().sizes(unknown)
        found.files = [path for path in found.files if path not in committed]
        found.bytes = sum(_size(store, path) for path in found.files)
        if dry_run:
            return found
        until = int(is_old["until"].max() or -1) if is_old.height else -1  # pyright: ignore[reportArgumentType]
        gone = [path for path in found.files if path in state.files]
        lines: list[Line] = [{"unpublish": {"asset": each.asset, "number": each.number}} for each in dropped]
        lines += [{"remove": {"path": path}} for path in gone]
        kept_paths = sorted(named & retired)
        if is_old.filter(~pl.col("path").is_in(needed)).height:
            lines.append({"sweep": {"until": until, "commits": commits, "paths": kept_paths}})
        if at_once:  # first the files: after a kill behind the commit, nobody would know that they are to go
            files.log.commit(lambda now: _unless_published(now, state, []))
            files.delete(found.files)
        if lines:
            files.log.commit(lambda now: _unless_published(now, state, lines))
        before.mark(files)  # a kill behind the first commit may have kept it from being written
        files.delete([] if at_once else found.files)
        files.writers.forget([token for token, fate in fates.items() if fate == "gone"])
        files.log.cut()
    return found


def _indexes(store: Store, corpora: Sequence[Corpus]) -> list[Index]:
    """The published index, and those that these corpora were published with."""
    named = [store.faiss_index.current(), *map(store.index_of, corpora)]
    return list({index.number: index for index in named if index}.values())


def _unless_published(now: State, then: State, lines: list[Line]) -> list[Line]:
    """The lines, where nothing was published since: else what is needed is to be found out anew.

    Raises:
        LostRace: something was.
    """
    if [each.commit for each in now.publishes] != [each.commit for each in then.publishes]:
        raise LostRace("something was published during a sweep")
    return lines


def _all(store: Store) -> Iterator[str]:
    """Yield every file that is ours to delete: of tables, snapshots and WARCs, and what is half done anywhere."""
    files = store.files
    folders = [table.name for table in store.tables()]
    folders += [store.faiss_index.name, store.deduped_corpus.name, warc_files.FOLDER]
    yield from chain.from_iterable((path for path in files.all(folder) if path != before.MARK) for folder in folders)
    for folder in ("log", "seeds", ""):
        yield from (path for path in files.all(folder, deep=folder != "") if is_temporary(path))
    yield from before.leftovers(files)


def _is_left(store: Store, path: str, fates: Mapping[str, Fate], since: float) -> bool:
    """Whether a file that no commit names was left by somebody who will not name it any more.

    `fates` tells of the processes that wrote here, by their tokens.
    """
    fate = fates.get(token_in(path) or "", "unseen")
    return fate == "gone" or (fate == "unseen" and _is_older(store, path, since))


def _is_older(store: Store, path: str, since: float) -> bool:
    age = store.files.age(path)
    return age is not None and age >= since


def _size(store: Store, path: str) -> int:
    try:
        return store.files.size(path)
    except FileNotFoundError:
        return 0
