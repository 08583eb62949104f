"""What an answer is worth: the one rule about a response, wherever it comes from.

A crawl asks it of what a server answers, an archive of what a server answered once, a seed of the document that it
carries: by status, by headers (consent, type), by body (what it is, what it says of its use). Undoing codings belongs
to `coding`, the rules themselves to `consent` and `media_types`.

Why so: "A response is judged in one place" in docs/decisions.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from multidict import CIMultiDict

from quarry_dagster.crawl.consent import Consent
from quarry_dagster.crawl.http import status_text
from quarry_dagster.crawl.media_types import is_html, is_list, refused_bytes, refused_type
from quarry_dagster.crawl.model import Failed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from multidict import CIMultiDictProxy

    from quarry_dagster.profiles.settings import Crawl

    Headers = CIMultiDictProxy[str] | CIMultiDict[str]

RULES = "rules 2"
"""Changes whenever an answer that was seen before would be judged otherwise."""
_NO_PAGE = frozenset({204, 205, 206})
"""Statuses that say all is well, without a whole page."""


def no_page(status: int) -> str | None:
    """Why an answer of this status is no page; None where it is one."""
    if not 200 <= status < 300:
        return status_text(status)
    return f"{status_text(status)}: not a whole page" if status in _NO_PAGE else None


def headers_of(pairs: Iterable[tuple[str, str]]) -> CIMultiDict[str]:
    """The headers of an answer that comes from no server."""
    return CIMultiDict(pairs)


class Answers:
    """Judges answers by the settings of a crawl."""

    def __init__(self, settings: Crawl) -> None:
        self.consent = Consent(settings)
        self.limit = int(settings.max_body_mb * 2**20)
        """Bytes of a body at most."""
        self.policy = (
            f"consent {settings.obey_consent} noindex {settings.obey_noindex} up to {settings.max_body_mb} MiB"
        )
        if settings.obey_signals != ("ai-train",):
            self.policy += f" signals {' '.join(sorted(settings.obey_signals))}"
        """The settings that it judges by; what was judged by others is judged anew."""

    def opted_out(self, headers: Headers) -> Failed | None:
        """Whether a header says that the page may not be used."""
        why = self.consent.refused_by_headers(headers)
        return Failed("opted_out", why) if why else None

    def refused_head(self, headers: Headers, content_type: str | None, *, lists: bool = False) -> Failed | None:
        """Why the page with these headers is not taken, whatever its body is; `lists`: feeds are wanted too."""
        if refused := self.opted_out(headers):
            return refused
        if not (lists and is_list(content_type)) and (why := refused_type(content_type)):
            return Failed("unsupported_type", why)
        return None

    def refused_body(
        self, body: bytes, content_type: str | None, *, lists: bool = False, is_served: bool = True
    ) -> Failed | None:
        """Why a page is not taken by its body. `is_served`: a server said its type; else it is what we take it for."""
        if lists and is_list(content_type):
            return None
        if why := refused_bytes(body, content_type, is_served=is_served):
            return Failed("unsupported_type", why)
        if is_html(content_type) and (why := self.consent.refused_by_html(body)):
            return Failed("opted_out", why)
        return None

    def refused(
        self, headers: Headers, body: bytes, content_type: str | None, *, is_served: bool = True
    ) -> Failed | None:
        """Why a page that is all there is not taken; None where it is."""
        return self.refused_head(headers, content_type) or self.refused_body(body, content_type, is_served=is_served)
