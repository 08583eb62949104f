"""Whose turn it is: the pages that wait, by host, and when each host may be asked next.

A plain data structure without I/O or clock of its own. A host is a name with its port, as in `urls.host_of`.
"""

from __future__ import annotations

import heapq
import itertools
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from quarry_dagster.crawl.waiting import LONGEST_WAIT

if TYPE_CHECKING:
    from yarl import URL

    from quarry_dagster.crawl.model import Failed
    from quarry_dagster.crawl.origins import Statement
    from quarry_dagster.crawl.page import Job

_HOST_WEIGHT = 1024
_MOST_WEIGHT = 8 * 2**20
"""Statements (in characters, and so much for each host besides) kept of idle hosts: some 8,000 of them."""
_SLOW = 1.0
"""Seconds for a page from which a host is spared."""
_MOST_FAILURES = 20
"""Failures in a row that may each pass, after which a host is taken to be down."""


@dataclass(slots=True, eq=False)
class Host:
    """One host: its waiting pages, its rules, its pace."""

    name: str
    delay: float
    queue: deque[Job] = field(default_factory=deque)
    statements: dict[URL, Statement] = field(default_factory=dict)
    """By origin: http and https of one host have a robots.txt each."""
    active: int = 0
    """Exchanges under way, robots.txt included."""
    reads_statement: bool = False
    statement_tries: int = 0
    next_at: float = 0.0
    closed_until: float = 0.0
    """Until then the host is not asked at all, and its pages fail instead of waiting."""
    slowness: float = 0.0
    """Seconds that its pages take lately, if they take long."""
    failures: int = 0
    """Failures in a row that may each pass."""
    down: Failed | None = None
    """The last of so many failures in a row that the host is not asked any more."""
    in_turn: bool = False

    @property
    def interval(self) -> float:
        """Seconds from the start of one request to the next: a slow host is asked no faster than it answers."""
        return max(self.delay, self.slowness)

    def answered(self, seconds: float) -> None:
        """An answer of any kind took that long."""
        mean = (self.slowness + seconds) / 2 if self.slowness else seconds
        self.slowness = mean if max(self.slowness, seconds) > _SLOW else 0.0
        self.failures = 0
        self.down = None

    def failed(self, failure: Failed) -> None:
        """A try failed in a way that may pass."""
        if self.down is None:
            self.failures += 1
            if self.failures == _MOST_FAILURES:
                self.down = failure

    def hold(self, now: float, seconds: float) -> None:
        """The host wants to be left alone for that time."""
        if seconds > LONGEST_WAIT:
            self.closed_until = max(self.closed_until, now + seconds)
        else:
            self.next_at = max(self.next_at, now + seconds)


class Hosts:
    """All hosts of a crawl, and the order in which they get their turns."""

    def __init__(self, per_host: int, delay: float) -> None:
        self._per_host = per_host
        self._delay = delay
        self._hosts: OrderedDict[str, Host] = OrderedDict()
        self._turns: list[tuple[float, int, Host]] = []
        self._count = itertools.count()
        self._weight = 0

    def add(self, job: Job, *, first: bool = False) -> None:
        """Let a page wait at its host; `first`: before those that have not begun."""
        name = job.url.host_port_subcomponent or ""
        host = self._hosts.get(name)
        if host is None:
            host = self._hosts[name] = Host(name, self._delay)
            self._weight += _HOST_WEIGHT
        if first:
            host.queue.appendleft(job)
        else:
            host.queue.append(job)
        self.schedule(host)

    def schedule(self, host: Host) -> None:
        """Give the host a turn if it can use one; to be called whenever that may have changed."""
        if host.queue and not host.in_turn and not host.reads_statement and host.active < self._per_host:
            host.in_turn = True
            heapq.heappush(self._turns, (host.next_at, next(self._count), host))

    def take(self, now: float) -> Host | None:
        """The host whose turn it is, if any; `schedule` it again after use."""
        while self._turns and self._turns[0][0] <= now:
            host = heapq.heappop(self._turns)[2]
            host.in_turn = False
            if host.next_at <= now:
                return host
            self.schedule(host)  # it was held while it waited
        return None

    @property
    def waiting(self) -> int:
        """How many hosts wait for their turn."""
        return len(self._turns)

    def next_turn(self) -> float | None:
        """When the next host has its turn."""
        return self._turns[0][0] if self._turns else None

    def learn(self, host: Host, origin: URL, statement: Statement) -> None:
        """Keep what an origin says."""
        old = host.statements.get(origin)
        host.statements[origin] = statement
        host.delay = max(host.delay, statement.rules.crawl_delay)
        self._weight += statement.weight - (old.weight if old else 0)

    def rest(self, host: Host, now: float) -> None:
        """Keep an idle host for later, and forget those idle longest if too much is kept."""
        if host.queue or host.active:
            return
        self._hosts.move_to_end(host.name)
        while self._weight > _MOST_WEIGHT:
            oldest = next(iter(self._hosts.values()))
            if oldest.queue or oldest.active or max(oldest.next_at, oldest.closed_until) > now:
                self._hosts.move_to_end(oldest.name)
                return
            del self._hosts[oldest.name]
            self._weight -= _HOST_WEIGHT + sum(s.weight for s in oldest.statements.values())
