"""The caller's side of a crawl: a plain iterator over an event loop in a thread of its own.

The loop has its own thread because the caller's may already run one (Dagster's does), and so that pages come in
while the caller works. The input is read in the caller's thread only.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from quarry_dagster.crawl.engine import Engine
from quarry_dagster.crawl.model import Request, Response

if TYPE_CHECKING:
    from quarry_dagster.crawl.addresses import Network
    from quarry_dagster.profiles.settings import Crawl

LOOK_AHEAD = 4096
"""Requests read from the input and not yet answered: enough that many hosts are known, so that all places are
busy although each host has its pace."""
_CHUNK = 256


def stream(
    requests: Iterable[Request],
    settings: Crawl,
    allowed: Sequence[Network],
    *,
    any_type: bool = False,
    origins: Path | None = None,
) -> Iterator[Response]:
    """See `quarry_dagster.crawl.crawl`. `any_type`: take the body whatever it is."""
    arrived: queue.SimpleQueue[Response | None] = queue.SimpleQueue()
    engine = Engine(settings, allowed, arrived.put, any_type=any_type, origins=origins)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="quarry-crawl", daemon=True)
    thread.start()
    running = asyncio.run_coroutine_threadsafe(engine.run(), loop)
    running.add_done_callback(lambda _: arrived.put(None))
    try:
        source = iter(requests)
        more = True
        unanswered = 0
        while True:
            while more and unanswered < LOOK_AHEAD:
                chunk = list(islice(source, min(_CHUNK, LOOK_AHEAD - unanswered)))
                more = bool(chunk)
                unanswered += len(chunk)
                loop.call_soon_threadsafe(engine.submit, chunk)
            if not unanswered:
                return
            response = arrived.get()
            if response is None:  # a defect of the engine: its exception is raised below
                raise RuntimeError("the crawl ended before its input")
            unanswered -= 1
            yield response
            size = len(response.body or b"")
            del response  # before waiting for the next
            loop.call_soon_threadsafe(engine.consumed, size)
    finally:
        # The loop ends when the engine has, also where a Ctrl-C ends the wait for that.
        running.add_done_callback(lambda _: loop.call_soon_threadsafe(loop.stop))
        loop.call_soon_threadsafe(engine.stop)
        try:
            running.result()
        finally:
            thread.join()
            loop.close()
