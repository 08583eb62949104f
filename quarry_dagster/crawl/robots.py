"""robots.txt (RFC 9309): what an origin lets this crawler fetch, and how fast.

Protego matches paths; here are the fetch and what its failure means (section 2.3.1), and the choice of our group
(section 2.2.1).
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from protego import Protego

from quarry_dagster.byte_order import characters
from quarry_dagster.crawl.http import Client, read_body, redirect_target, status_text
from quarry_dagster.crawl.model import Failed
from quarry_dagster.crawl.signals import by_path, is_signal, unwanted
from quarry_dagster.crawl.waiting import LONGEST_WAIT, retry_after
from quarry_dagster.digests import digest

if TYPE_CHECKING:
    from yarl import URL

_LARGEST = 500 * 1024  # RFC 9309 2.5: at least 500 KiB are parsed
_NONE = "# there is no robots.txt: "
_MOST_REDIRECTS = 5  # RFC 9309 2.3.1.2
_AGENT_LINE = re.compile(r"\s*user[- ]?agent\s*[: ]\s*([^#]*)", re.IGNORECASE)
_PATH_LINE = re.compile(r"\s*(allow|dis{1,2}al{1,2}ow|diasllow|disallaw)\s*[: ]\s*([^#]*)", re.IGNORECASE)
_LICENSE_LINE = re.compile(r"\s*license\s*:\s*(\S{1,2048})", re.IGNORECASE)
_DIGEST = "# digest: "
_RULE_LINE = re.compile(
    r"\s*(?:content-signals?\s*:|dis{1,2}al{1,2}ow|diasllow|disallaw|allow\b|crawl[- ]delay\b)", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Rules:
    """What one origin's robots.txt means for us. With neither field set all is allowed."""

    refusal: Failed | None = None
    """Nothing of this origin may be fetched."""
    paths: Protego | None = None
    crawl_delay: float = 0.0
    text: str = ""
    """The file's digest and the lines for us: `from_group` makes the same rules of them. Of no file, a comment."""
    signals: dict[str, dict[str, bool]] = field(default_factory=dict)
    """What Content-Signal says, by path."""
    licenses: tuple[str, ...] = ()
    """URLs of the licences that RSL 1.0 has pages under."""

    @classmethod
    def of_none(cls, why: str) -> Rules:
        """What holds where there is no robots.txt: all is allowed (RFC 9309 2.3.1.3)."""
        return cls(text=f"{_NONE}{why}")

    @property
    def no_file(self) -> str | None:
        """Why there is no robots.txt; None where there is one."""
        return self.text.removeprefix(_NONE) if self.text.startswith(_NONE) else None

    @property
    def digest(self) -> str | None:
        """Of the file, 32 hex digits of its SHA-256; None where there is none."""
        first = self.text.partition("\n")[0]
        return first.removeprefix(_DIGEST) if first.startswith(_DIGEST) else None

    @property
    def lines(self) -> list[str]:
        """The lines for us."""
        return [line for line in self.text.splitlines() if line.strip() and not line.startswith("#")]

    def opted_out(self, url: str, obeyed: Collection[str]) -> Failed | None:
        """Whether Content-Signal or a licence says that this URL's page may not be used, as far as that is obeyed."""
        if "license" in obeyed and self.licenses:
            return Failed("opted_out", f"robots.txt License: {self.licenses[0]}")
        for path in sorted(self.signals, key=len, reverse=True):
            if path and Protego.parse(f"User-agent: *\nDisallow: {path}").can_fetch(url, "*"):
                continue
            if name := unwanted(self.signals[path], obeyed):
                return Failed("opted_out", f"robots.txt Content-Signal: {name}=no")
            obeyed = [each for each in obeyed if each not in self.signals[path]]  # the longest path says it
        return None

    def deciding_line(self, url: str) -> str | None:
        """The line of robots.txt that decides on this URL, None where none matches it (RFC 9309 2.2.2: the longest)."""
        found: list[tuple[int, bool, str]] = []
        for line in self.text.splitlines():
            rule = _PATH_LINE.match(line)
            path = rule[2].strip() if rule else ""
            if rule and path and not Protego.parse(f"User-agent: *\nDisallow: {path}").can_fetch(url, "*"):
                found.append((len(path), rule[1].lower() == "allow", line.strip()))
        return max(found)[2] if found else None

    def refused(self, url: str) -> Failed | None:
        """Why this URL may not be fetched; None where it may."""
        if self.refusal is not None:
            return self.refusal
        if self.paths is not None and not self.paths.can_fetch(url, "*"):
            return Failed("robots_disallowed", "robots.txt disallows it")
        return None


def product_token(user_agent: str) -> str:
    """What robots.txt calls us (RFC 9309 2.2.1)."""
    return re.split(r"[/\s]", user_agent, maxsplit=1)[0].lower()


def parse(text: str, user_agent: str, *, file: bytes | None = None) -> Rules:
    """The rules for the product token that opens `user_agent`; `file` is what the text was read of, for its digest."""
    licenses = [line for line in text.splitlines() if _LICENSE_LINE.match(line)]  # of all agents (RSL 1.0)
    lines = [
        f"{_DIGEST}{digest(text.encode(errors='replace') if file is None else file)}",
        *our_group(text, product_token(user_agent)),
        *licenses,
    ]
    return from_group("\n".join(lines))


def from_group(group: str) -> Rules:
    """The rules of the lines of one group."""
    if not group:
        return Rules()
    lines = group.splitlines()
    licenses = tuple(found[1] for line in lines if (found := _LICENSE_LINE.match(line)))
    says = {"text": group, "signals": by_path(lines), "licenses": licenses}
    paths = Protego.parse(f"User-agent: *\n{group}")
    delay = paths.crawl_delay("*") or 0.0
    if delay > LONGEST_WAIT:
        detail = f"robots.txt asks for a Crawl-delay of {delay:g} s, longer than the {LONGEST_WAIT:g} s waited"
        return Rules(refusal=Failed("robots_disallowed", detail), **says)
    return Rules(paths=paths, crawl_delay=delay, **says)


def our_group(text: str, token: str) -> list[str]:
    """The lines of all groups that name `token`, or else of all groups for `*` (RFC 9309 2.2.1).

    Protego could choose by itself, but takes any prefix of the token for it, and keeps every rule once for
    every agent named above it: half a megabyte of robots.txt can make it 400 MB and 17 seconds.
    """
    ours: list[str] = []
    anyone: list[str] = []
    named_us = in_ours = in_anyone = in_rules = False
    before: list[str] = []
    """Signals before the first group: they are for all."""
    is_before = True
    for line in text.splitlines():
        if is_before and is_signal(line):
            before.append(line)
        elif agent := _AGENT_LINE.match(line):
            is_before = False
            if in_rules:
                in_ours = in_anyone = in_rules = False
            name = re.split(r"[/\s]", agent[1].strip(), maxsplit=1)[0].lower()
            in_ours = in_ours or name == token
            in_anyone = in_anyone or name == "*"
            named_us = named_us or in_ours
        elif _RULE_LINE.match(line):
            in_rules = True
            if in_ours:
                ours.append(line)
            if in_anyone:
                anyone.append(line)
    return [*before, *(ours if named_us else anyone)]


async def fetch(client: Client, origin: URL, user_agent: str, *, keep: bool) -> Rules:
    """Read an origin's robots.txt.

    Raises:
        Failed: the server cannot be reached, which is then the truth about its pages too (`network_error`,
            `blocked_address`, which a redirect may lead to as well); or it answered with an error or a broken body
            (`robots_disallowed`).
    """
    url = origin.with_path("/robots.txt")
    for hop in range(_MOST_REDIRECTS + 1):
        answered = hop > 0
        try:
            async with client.open(url, keep=keep) as reply:
                answered = True
                status = reply.status
                if status == 429 or status >= 500:
                    # 429 is no sign that there are no rules; it is read as "ask later", as the large crawlers do.
                    raise Failed(
                        "robots_disallowed",
                        f"robots.txt answers {status_text(status)}",
                        status=status,
                        transient=status in (429, 502, 503, 504),
                        retry_after=retry_after(reply.headers.get("Retry-After")),
                    )
                if 200 <= status < 300:
                    body = await read_body(reply, _LARGEST, cut=True)
                    if len(body) == _LARGEST:
                        body = body[: body.rfind(b"\n") + 1]  # half a rule is another rule
                    return parse(characters(body), user_agent, file=body)
                if not 300 <= status < 400:
                    return Rules.of_none(f"it answers {status_text(status)}")
                url = redirect_target(url, reply)
        except Failed as e:
            if not answered or e.outcome in ("robots_disallowed", "blocked_address"):
                raise  # a blocked address is this machine's matter, or a captive portal's, not the site's
            if e.outcome == "http_error":
                return Rules.of_none(f"it redirects to nowhere: {e.detail}")
            raise Failed("robots_disallowed", f"robots.txt cannot be read: {e.detail}", transient=e.transient) from e
    return Rules.of_none(f"more than {_MOST_REDIRECTS} redirects")
