"""Whether a page's owner has opted out of having it used: what the page itself says.

Read are X-Robots-Tag and `<meta name="robots">` (also under our own product token) for `noai` and, if asked for,
`noindex`; Content-Signal; and the TDM Reservation Protocol's header and meta element (W3C TDMRep, sections 6.2 and
6.3).
An owner's statement for a whole origin is read beside robots.txt: see `tdmrep`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from quarry_dagster.byte_order import HEAD, wide_encoding
from quarry_dagster.crawl.robots import product_token
from quarry_dagster.crawl.signals import signals_in, unwanted
from quarry_dagster.page import Head, read_head

if TYPE_CHECKING:
    from multidict import CIMultiDict, CIMultiDictProxy

    from quarry_dagster.profiles.settings import Crawl

_HEAD = 65_536
"""Bytes of a document searched for meta elements."""

_HEADERS = ("X-Robots-Tag", "TDM-Reservation", "Content-Signal")
"""The headers that are read."""
# Directives of X-Robots-Tag that have a value: what stands before their colon is no crawler's name.
_WITH_VALUE = frozenset({"unavailable_after", "max-snippet", "max-image-preview", "max-video-preview"})


def obeyed(settings: Crawl) -> tuple[str, ...]:
    """The signals (Content-Signal, licence) that count where they say no."""
    return settings.obey_signals if settings.obey_consent else ()


class Consent:
    """The signals to obey, for one user agent."""

    def __init__(self, settings: Crawl) -> None:
        refusing = {"noai"} if settings.obey_consent else set()
        if settings.obey_noindex:
            refusing |= {"noindex", "none"}  # `none` is short for `noindex, nofollow`
        self._refusing = frozenset(refusing)
        self._tdm = settings.obey_consent
        self._obeyed = obeyed(settings)
        self._names = tuple(dict.fromkeys(("robots", product_token(settings.user_agent))))
        self._hints = tuple(refusing) + (("tdm-reservation",) if self._tdm else ())

    def refused_by_headers(self, headers: CIMultiDictProxy[str] | CIMultiDict[str]) -> str | None:
        """The header that opts out, for a person to read; None where none does."""
        if self._tdm and headers.get("TDM-Reservation", "").strip() == "1":
            return "header TDM-Reservation: 1"
        signals = signals_in(",".join(headers.getall("Content-Signal", ())))
        if name := unwanted(signals, self._obeyed):
            return f"header Content-Signal: {name}=no"
        for value in headers.getall("X-Robots-Tag", ()):
            if found := self._refused_by_tag(value.lower()):
                return f"header X-Robots-Tag: {found}"
        return None

    def refused_by_html(self, body: bytes) -> str | None:
        """The meta element that opts out, for a person to read; None where none does."""
        markup = _beginning(body)
        lower = markup.lower()
        # Nearly all pages say nothing: they cost a few substring searches and no parsing.
        if not any(hint in lower for hint in self._hints):
            return None
        head = read_head(markup)
        if self._tdm and "1" in head.contents("tdm-reservation"):
            return "meta tdm-reservation: 1"
        for name in self._names:
            if refused := self._refusing & head.directives(name):
                return f"meta {name}: {min(refused)}"
        return None

    def _refused_by_tag(self, value: str) -> str | None:
        ours = True
        for part in value.split(","):
            name, colon, directive = part.partition(":")
            if not colon:
                directive = name
            elif name.strip() not in _WITH_VALUE and " " not in name.strip():  # else a date goes on after its comma
                ours = name.strip() in self._names  # holds for the directives that follow on the line too
            if ours and directive.strip() in self._refusing:
                return directive.strip()
        return None


def spoken_of_use(headers: CIMultiDict[str]) -> str | None:
    """The headers that say what a page may be used for, a line each; None where none does."""
    return "\n".join(f"{name}: {value}" for name in _HEADERS for value in headers.getall(name, ())) or None


def headers_in(lines: str | None) -> list[tuple[str, str]]:
    """The headers that :func:`spoken_of_use` gave."""
    parted = (line.partition(": ") for line in (lines or "").splitlines())
    return [(name, value) for name, _, value in parted]


def forbids_following(head: Head) -> bool:
    """Whether a meta element asks robots not to follow the page's links."""
    return not {"nofollow", "none"}.isdisjoint(head.directives("robots"))


def head_of(body: bytes) -> Head:
    """The head of a page that was not decoded yet."""
    return read_head(_beginning(body))


def _beginning(body: bytes) -> str:
    """The beginning of a page, as far as it is ASCII: that is enough for what robots are told."""
    wide = wide_encoding(body[:HEAD])
    return body[: 4 * _HEAD].decode(wide, "replace") if wide else body[:_HEAD].decode("latin-1")
