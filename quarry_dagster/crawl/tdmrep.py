"""/.well-known/tdmrep.json (W3C TDM Reservation Protocol, section 6.1): what an origin reserves as a whole.

    [{"location": "/articles/*", "tdm-reservation": 1, "tdm-policy": "https://example.com/policy.json"}]

Locations are patterns as in robots.txt, and are matched by the same library; of several the longest counts. What is
reserved here is not asked for, whatever the page itself would say. A file that cannot be had or read reserves
nothing: unlike robots.txt, no standard makes silence a refusal.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from protego import Protego

from quarry_dagster.crawl.http import Client, read_body, redirect_target, status_text
from quarry_dagster.crawl.model import Failed
from quarry_dagster.digests import digest

if TYPE_CHECKING:
    from yarl import URL

PATH = "/.well-known/tdmrep.json"
_LARGEST = 500 * 1024
_DIGEST = "# digest: "
_MOST_REDIRECTS = 5


class Reservations:
    """The reserved parts of an origin; `text` makes them again."""

    def __init__(self, text: str = "") -> None:
        self.text = text
        self._paths = Protego.parse(f"User-agent: *\n{text}") if text else None

    @property
    def digest(self) -> str | None:
        """Of the file, 32 hex digits of its SHA-256; None where it reserves nothing."""
        first = self.text.partition("\n")[0]
        return first.removeprefix(_DIGEST) if first.startswith(_DIGEST) else None

    @property
    def reserved(self) -> list[str]:
        """The locations that are reserved."""
        return [line.removeprefix("Disallow: ") for line in self.text.splitlines() if line.startswith("Disallow: ")]

    def refused(self, url: str) -> Failed | None:
        """Why this URL may not be used; None where it may."""
        if self._paths is not None and not self._paths.can_fetch(url, "*"):
            return Failed("opted_out", f"{PATH} reserves it")
        return None


def parse(body: bytes) -> Reservations:
    """The reservations of a file; none where it is something else."""
    try:
        entries = json.loads(body)
    except (ValueError, RecursionError):
        return Reservations()
    lines = [_line(entry) for entry in entries] if isinstance(entries, list) else []
    found = [line for line in lines if line]
    return Reservations("\n".join([f"{_DIGEST}{digest(body)}", *found])) if found else Reservations()


def _line(entry: Any) -> str:
    """The entry as a line of robots.txt."""
    if not isinstance(entry, dict) or not isinstance(location := entry.get("location"), str):
        return ""
    location = "".join(location.split())  # robots.txt has a line for each, and no way to quote
    rule = {"1": "Disallow", "0": "Allow"}.get(str(entry.get("tdm-reservation")))
    return f"{rule}: {location if location.startswith(('/', '*')) else f'/{location}'}" if rule else ""


async def fetch(client: Client, origin: URL, *, keep: bool) -> Reservations:
    """Read an origin's file.

    Raises:
        Failed: it cannot be had for now (`transient`), or for good; there is then no statement.
    """
    url = origin.with_path(PATH)
    for _ in range(_MOST_REDIRECTS + 1):
        async with client.open(url, keep=keep) as reply:
            status = reply.status
            if 200 <= status < 300:
                return parse(await read_body(reply, _LARGEST))
            if not 300 <= status < 400:
                transient = status == 429 or status in (502, 503, 504)
                raise Failed("http_error", status_text(status), status=status, transient=transient)
            url = redirect_target(url, reply)
    raise Failed("http_error", f"more than {_MOST_REDIRECTS} redirects")
