"""Where requests wait for their turn: so many at once, so long at most; what would wait too long is refused at once."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TypeVar

import numpy as np

from quarry_dagster.serve.problems import Problem

T = TypeVar("T")

_TOGETHER = 32
"""So many waiting texts are encoded at once."""
_WEIGHT = 0.1
"""Of the last request in the mean of what one takes."""


class Desk:
    """Works for requests in threads, off the event loop.

    Args:
        threads: what works at the same time.
        queue: how many requests are worked on or wait.
        deadline: seconds that a request may take.
    """

    def __init__(self, threads: int, queue: int, deadline: float) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="answer")
        self._threads = threads
        self._queue = queue
        self.deadline = deadline
        self.waiting = 0
        """Requests that are worked on or wait."""
        self._mean: dict[str, float] = {}

    @asynccontextmanager
    async def turn(self, kind: str, size: int = 1) -> AsyncIterator[None]:
        """Hold a place for a request of a kind that has `size` parts; it is given up at the deadline.

        Raises:
            Problem: 429 where the queue is full or what waits would take longer than the deadline; 503 at the deadline.
        """
        expected = self._mean.get(kind, 0.0) * (self.waiting / self._threads + size)
        if self.waiting >= self._queue:
            raise Problem(429, "busy", "too many requests wait: ask again later", retry_after=_seconds(expected))
        if self.waiting and expected > self.deadline:
            said = f"what waits would take longer than the deadline of {self.deadline:g} seconds: ask again later"
            raise Problem(429, "busy", said, retry_after=_seconds(expected - self.deadline))
        self.waiting += 1
        beside, began = self.waiting, time.monotonic()
        try:
            async with asyncio.timeout(self.deadline):
                yield
        except TimeoutError:
            said = f"it was not answered within the deadline of {self.deadline:g} seconds: ask for less, or again later"
            raise Problem(503, "late", said, retry_after=_seconds(self.deadline)) from None
        finally:
            self.waiting -= 1
            took = (time.monotonic() - began) / size / max(1.0, beside / self._threads)
            before = self._mean.get(kind, took)
            self._mean[kind] = before + _WEIGHT * (took - before)

    async def work(self, do: Callable[[], T]) -> T:
        """Do something in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, do)

    def close(self) -> None:
        """End the threads, once what they do is done."""
        self._pool.shutdown(cancel_futures=True)


class Encoding:
    """Encodes texts in a thread of its own; those that wait are encoded together."""

    def __init__(self, encode: Callable[[list[str]], np.ndarray]) -> None:
        self._encode = encode
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="encode")
        self._waiting: list[tuple[str, asyncio.Future[np.ndarray]]] = []
        self._task: asyncio.Task[None] | None = None

    async def vectors(self, texts: Sequence[str]) -> np.ndarray:
        """The vectors of texts: float32 of shape (len(texts), dim).

        Raises:
            QuarryError: the model cannot make them.
        """
        loop = asyncio.get_running_loop()
        mine = [loop.create_future() for _ in texts]
        self._waiting += zip(texts, mine, strict=True)
        if self._task is None or self._task.done():
            self._task = loop.create_task(self._encode_all())
        return np.stack(await asyncio.gather(*mine))

    async def _encode_all(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            batch = [each for each in self._waiting[:_TOGETHER] if not each[1].done()]
            self._waiting = self._waiting[_TOGETHER:]
            if not batch:
                continue
            try:
                vectors = await loop.run_in_executor(self._thread, self._encode, [text for text, _ in batch])
            except Exception as e:  # noqa: BLE001  each that waits is told
                for _, future in batch:
                    if not future.done():
                        future.set_exception(e)
                continue
            for (_, future), vector in zip(batch, vectors, strict=True):
                if not future.done():
                    future.set_result(vector)

    def close(self) -> None:
        """End the thread, once what it does is done."""
        self._thread.shutdown(cancel_futures=True)


def _seconds(expected: float) -> int:
    return max(1, math.ceil(expected))
