"""Ending work between two writes, as a kill would, within a test's process."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from quarry_dagster.store.disk import Written
from quarry_dagster_tests.corpus import Corpus


class _Killed(BaseException):
    """Not an Exception: nothing may catch it on its way out."""


@dataclass
class Kill:
    """Whether the work came so far that it was ended."""

    is_done: bool = False


@contextmanager
def killed_at(corpus: Corpus, write: int) -> Iterator[Kill]:
    """End the work of the block before its `write`-th file, commit or deletion, as a kill between two would."""
    files, left, kill = corpus.store.files, [write], Kill()
    create, create_once, delete = files.create, files.create_once, files.delete

    def count() -> None:
        left[0] -= 1
        if left[0] < 0:
            raise _Killed

    @contextmanager
    def counted(path: str) -> Iterator[Written]:
        count()
        with create(path) as f:
            yield f

    def counted_once(path: str, content: bytes) -> bool:
        count()
        return create_once(path, content)

    def counted_delete(paths: list[str]) -> None:
        count()
        delete(paths)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "create", counted)
        patch.setattr(files, "delete", counted_delete)
        patch.setattr(files.log.disk, "create_once", counted_once)
        try:
            yield kill
        except _Killed:
            kill.is_done = True
