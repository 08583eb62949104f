"""Fetching from a server of one's own on loopback: no pauses, no second tries, small limits."""

from __future__ import annotations

from datetime import UTC

from quarry_dagster.crawl import Request, Response, allowed_networks, crawl
from quarry_dagster.profiles.settings import Crawl
from quarry_dagster.store.schemas import FETCH_OUTCOMES

LOOPBACK = allowed_networks("127.0.0.1/32")
SETTINGS = Crawl(delay_per_host=0, concurrency_per_host=16, retries=0, page_timeout=5, max_body_mb=1)


def fetch(request: str | Request, **changed: object) -> Response:
    """The response to one request, which is one that the contract allows; `changed` settings."""
    request = Request(request) if isinstance(request, str) else request
    (response,) = crawl([request], SETTINGS.model_copy(update=changed), allow_addresses=LOOPBACK)
    assert response.outcome in FETCH_OUTCOMES
    assert response.fetched_at.tzinfo is UTC
    assert (response.body is not None) == (response.outcome == "fetched")
    assert bool(response.detail) == (response.outcome not in ("fetched", "not_modified"))
    return response
