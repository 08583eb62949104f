"""The crawl's event loop side: starts what may be started, and turns every request into one response.

A page never holds a place while it waits: between its hops and tries it goes back to its host's queue, so that
delays, Retry-After and backoff of one host cost the others nothing.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from yarl import URL

from quarry_dagster.crawl import robots, tdmrep
from quarry_dagster.crawl.addresses import AddressRule
from quarry_dagster.crawl.consent import obeyed
from quarry_dagster.crawl.hosts import Host, Hosts
from quarry_dagster.crawl.http import open_client, parse_url
from quarry_dagster.crawl.model import Failed, Request, Response
from quarry_dagster.crawl.origins import Origins, Statement
from quarry_dagster.crawl.page import Job, Pages
from quarry_dagster.crawl.waiting import LONGEST_WAIT, backoff
from quarry_dagster.errors import InvalidUrl

if TYPE_CHECKING:
    from quarry_dagster.crawl.addresses import Network
    from quarry_dagster.profiles.settings import Crawl


_MOST_UNREAD = 4 * 2**20
"""Bytes of bodies that the caller has yet to take, from which no further page is begun."""


class _Stop(Exception):
    """Ends the engine's task group."""


class Engine:
    """Runs inside an event loop; `submit`, `consumed` and `stop` are called on that loop's thread."""

    def __init__(
        self,
        settings: Crawl,
        allowed: Sequence[Network],
        deliver: Callable[[Response], None],
        *,
        any_type: bool = False,
        origins: Path | None = None,
    ) -> None:
        self._settings = settings
        self._rule = AddressRule(allowed)
        self._deliver_out = deliver
        self._any_type = any_type
        self._obeyed = obeyed(settings)
        self._origins_path = origins
        self._hosts = Hosts(settings.concurrency_per_host, settings.delay_per_host)
        self._requests: deque[Request] = deque()
        self._returning: deque[Job] = deque()
        self._wake = asyncio.Event()
        self._stopped = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._active = 0
        self._unread = 0  # responses delivered and not yet taken by the caller
        self._unread_bytes = 0

    def submit(self, requests: Iterable[Request]) -> None:
        self._requests.extend(requests)
        self._wake.set()

    def consumed(self, size: int) -> None:
        """The caller is done with one response, whose body has that size."""
        self._unread -= 1
        self._unread_bytes -= size
        self._wake.set()

    def stop(self) -> None:
        self._stopped.set()

    async def run(self) -> None:
        """Crawl what is submitted, until stopped.

        Raises:
            sqlite3.OperationalError: what origins say cannot be kept.
        """
        with closing(Origins(self._origins_path, self._settings.user_agent)) as self._origins:
            await self._run()

    async def _run(self) -> None:
        async with open_client(self._settings, self._rule) as client:
            self._client = client
            self._pages = Pages(client, self._settings, any_type=self._any_type)
            try:
                async with asyncio.TaskGroup() as self._group:
                    self._group.create_task(self._dispatch())
                    await self._stopped.wait()
                    raise _Stop
            except* _Stop:
                pass

    async def _dispatch(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._returning:
                self._hosts.add(self._returning.popleft(), first=True)
            while self._requests:
                self._admit(self._requests.popleft())
            while self._has_room() and (host := self._hosts.take(loop.time())):
                self._turn(host, loop.time())
            if self._timer:
                self._timer.cancel()
                self._timer = None
            # Without room nothing can start; the page that makes room wakes this task.
            if self._has_room() and (at := self._hosts.next_turn()) is not None:
                self._timer = loop.call_at(at, self._wake.set)

    def _has_room(self) -> bool:
        concurrency = self._settings.concurrency
        return (
            self._active < concurrency
            and self._active + self._unread < 2 * concurrency
            and self._unread_bytes < _MOST_UNREAD
        )

    def _admit(self, request: Request) -> None:
        try:
            self._hosts.add(Job(request, parse_url(request.url)))
        except InvalidUrl as e:
            self._deliver(Failed("invalid_url", str(e)).response(request, None))

    def _turn(self, host: Host, now: float) -> None:
        """Use a host's turn: read what its origin says, or start a page, or refuse one (which takes no time)."""
        job = host.queue[0]
        origin = job.url.origin()
        said = self._said(host, origin)
        if refusal := _closed(host, now) or (said and said.refused(str(job.url), self._obeyed)):
            host.queue.popleft()
            self._deliver(refusal.response(job.request, str(job.url), job.hops))
        else:
            host.next_at = now + host.interval
            host.active += 1
            self._active += 1
            if said is None or (said.reservations is None and self._settings.obey_consent):
                host.reads_statement = True
                self._group.create_task(self._read_statement(host, origin, said))
            else:
                host.queue.popleft()
                self._group.create_task(self._fetch(host, job))
        self._hosts.schedule(host)
        self._hosts.rest(host, now)

    def _said(self, host: Host, origin: URL) -> Statement | None:
        """What the origin says, as far as it was read and still holds."""
        said = host.statements.get(origin)
        if said is None and (said := self._origins.get(origin)):
            self._hosts.learn(host, origin, said)
        return said if said and said.holds else None

    async def _read_statement(self, host: Host, origin: URL, said: Statement | None) -> None:
        """Read robots.txt, or, when that is known, tdmrep.json."""
        name = "robots.txt" if said is None else tdmrep.PATH
        timeout, agent = self._settings.page_timeout, self._settings.user_agent
        keep = self._keep(host)
        try:
            async with asyncio.timeout(timeout):
                if said is None:
                    said = Statement(await robots.fetch(self._client, origin, agent, keep=keep))
                elif said.rules.refused(str(origin.with_path(tdmrep.PATH))):
                    said = replace(said, reservations=tdmrep.Reservations())
                else:
                    said = replace(said, reservations=await tdmrep.fetch(self._client, origin, keep=keep))
            self._origins.put(origin, said)
            self._learn(host, origin, said)
        except TimeoutError:
            late = Failed("timeout", f"{name}: no whole answer in {timeout:g} s", transient=True)
            self._statement_failed(host, origin, said, late)
        except Failed as e:
            self._statement_failed(host, origin, said, e)
        except Exception as e:  # noqa: BLE001  as of a page
            self._statement_failed(host, origin, said, _unforeseen(e))
        host.reads_statement = False
        self._done(host)

    def _learn(self, host: Host, origin: URL, said: Statement) -> None:
        host.statement_tries = 0
        self._hosts.learn(host, origin, said)
        # A Crawl-delay is known only now, and holds for the first page too.
        host.next_at = max(host.next_at, asyncio.get_running_loop().time() + said.rules.crawl_delay)

    def _statement_failed(self, host: Host, origin: URL, said: Statement | None, failure: Failed) -> None:
        if failure.transient and host.statement_tries < self._settings.retries:
            host.statement_tries += 1
            self._hold(host, failure, backoff(host.statement_tries))
            return
        if said is not None:
            self._learn(host, origin, replace(said, reservations=tdmrep.Reservations()))
            if not failure.transient:
                self._origins.put(origin, host.statements[origin])
            return
        detail = failure.detail if "robots.txt" in failure.detail else f"robots.txt: {failure.detail}"
        # Made anew: the one that was raised keeps a connection's frames alive, and this one stays for the crawl.
        # That robots.txt cannot be read is no word of its owner: it may pass.
        may_pass = failure.transient or failure.outcome == "robots_disallowed"
        refusal = Failed(failure.outcome, detail, transient=may_pass)
        self._learn(host, origin, Statement(robots.Rules(refusal=refusal)))

    async def _fetch(self, host: Host, job: Job) -> None:
        loop = asyncio.get_running_loop()
        timeout = self._settings.page_timeout
        started = loop.time()
        try:
            async with asyncio.timeout(timeout - job.spent):
                found = await self._pages.fetch(job, keep=self._keep(host))
        except TimeoutError:
            self._page_failed(host, job, Failed("timeout", f"no whole page in {timeout:g} s", transient=True))
        except Failed as e:
            if not e.transient:
                host.answered(loop.time() - started)
            self._page_failed(host, job, e)
        except Exception as e:  # noqa: BLE001  whatever an answer does to a library costs this page alone
            self._page_failed(host, job, _unforeseen(e))
        else:
            host.answered(loop.time() - started)
            if isinstance(found, Response):
                self._deliver(found)
            else:
                job.spent += loop.time() - started
                job.url = found
                self._returning.append(job)
        self._done(host)

    def _page_failed(self, host: Host, job: Job, failure: Failed) -> None:
        if failure.transient:
            host.failed(Failed(failure.outcome, failure.detail, transient=True))
        asks_for_patience = failure.status in (429, 503)
        wait = backoff(job.tries + 1)
        if asks_for_patience:
            wait = self._hold(host, failure, wait)
        if not failure.transient or job.tries >= self._settings.retries or wait > LONGEST_WAIT:
            if wait > LONGEST_WAIT:
                failure.detail += f", Retry-After {wait:.0f} s is longer than the {LONGEST_WAIT:g} s waited"
            self._deliver(failure.response(job.request, str(job.url), job.hops))
            return
        job.start_over()
        if asks_for_patience:
            self._returning.append(job)  # the whole host waits
        else:
            asyncio.get_running_loop().call_later(wait, self._return, job)

    def _keep(self, host: Host) -> bool:
        # Where thousands of hosts take turns, connections kept for the next one would exhaust file descriptors.
        return bool(host.queue) and self._hosts.waiting <= 2 * self._settings.concurrency

    def _hold(self, host: Host, failure: Failed, otherwise: float) -> float:
        """Let the host rest for its Retry-After, or else for that long; how long that is."""
        wait = otherwise if failure.retry_after is None else failure.retry_after
        host.hold(asyncio.get_running_loop().time(), wait)
        return wait

    def _return(self, job: Job) -> None:
        self._returning.append(job)
        self._wake.set()

    def _done(self, host: Host) -> None:
        host.active -= 1
        self._active -= 1
        self._hosts.schedule(host)
        self._hosts.rest(host, asyncio.get_running_loop().time())
        self._wake.set()

    def _deliver(self, response: Response) -> None:
        self._unread += 1
        self._unread_bytes += len(response.body or b"")
        self._deliver_out(response)


def _unforeseen(error: Exception) -> Failed:
    return Failed("network_error", f"the answer cannot be read: {type(error).__name__}: {error}")


def _closed(host: Host, now: float) -> Failed | None:
    if host.down:
        detail = f"not asked: {host.failures} requests to the host failed in a row, one of them: {host.down.detail}"
        return Failed(host.down.outcome, detail, transient=True)
    left = host.closed_until - now
    if left <= 0:
        return None
    return Failed("http_error", f"not asked: Retry-After leaves the host alone for {left:.0f} s more", transient=True)
