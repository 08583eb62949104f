"""Further seeds: pages that a crawled page names become seeds by way of the inbox, where its seed asks for that.

How names are found in a page belongs to :mod:`quarry_dagster.seeds`.

Why so: "What a page names becomes a seed, by way of the inbox" in docs/decisions.md.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import polars as pl

from quarry_dagster.crawl import Response
from quarry_dagster.intake import SEEDS, pending
from quarry_dagster.progress import log
from quarry_dagster.seeds import Discovery, Issue, discover, parse_discovery, refresh_alone
from quarry_dagster.store import Forgotten, Store
from quarry_dagster.store.schemas import HOST
from quarry_dagster.urls import UrlForm, doc_id, host_of

_SOURCES = {
    "a feed": "feed",
    "a sitemap": "sitemap",
    "a list": "feed",
    "robots.txt": "robots.txt",
    "llms.txt": "llms.txt",
}
FOUND = "found/"
"""The folder in the inbox where they wait."""


class FurtherSeeds:
    """The further seeds that the pages of one crawl name."""

    def __init__(self) -> None:
        self._found: dict[str, Discovery] = {}
        self.problems: list[dict[str, Any]] = []
        """Rows of the schema PROBLEMS but for `first_seen` and `partition`."""
        self.looked_at: set[str] = set()
        """The URLs of the pages and lists that were looked at, and the hosts of which pages were found."""

    def look(self, response: Response, wanted: str | None) -> Response:
        """Keep what a response names, as far as its seed asks (`wanted`).

        Returns the response; for a list of pages one with outcome `unsupported_type` and no body.
        """
        if response.body is None or response.final_url is None:
            return response
        url = response.final_url
        self.looked_at |= {response.url, url}
        if not wanted:
            alone = refresh_alone(url, response.body, response.content_type)
            self._note("page", url, [alone] if alone else [])
            return response
        there = discover(url, response.body, response.content_type, parse_discovery(wanted))
        self._note(_SOURCES.get(there.kind or "", "page"), url, there.issues)
        for named, further in there.seeds.items():
            known = self._found.get(named, further)
            self._found[named] = max(known, further, key=lambda d: (d.links, d.feeds, d.sitemaps, d.llms))
        if there.kind is None:
            alone = None if parse_discovery(wanted).links else refresh_alone(url, response.body, response.content_type)
            self._note("page", url, [alone] if alone else [])
            return response
        detail = f"{there.kind}: its pages are seeds, it is none"
        return replace(response, outcome="unsupported_type", detail=detail, body=None)

    def _note(self, source: str, url: str, issues: Iterable[Issue]) -> None:
        for issue in issues:
            row = {"source": source, "url": url, "place": issue.place, "kind": issue.kind, "detail": issue.detail}
            self.problems.append(row | {"count": issue.count})

    def drop(self, store: Store, partition: str, per_host: int, forgotten: Forgotten) -> None:
        """Put what was found, and is no seed yet, into the inbox; of each host at most so many in all.

        Do so before the partition is written: killed in between, it happens again, and adds nothing twice.

        Raises:
            StoreError: the inbox cannot be written.
        """
        if not self._found:
            return
        known = store.batches.scan().select("doc_id", "url", "seed")
        form = store.root().urls
        waiting = _waiting(store, form)
        ids: dict[str, str] = {}  # of several spellings of a page the first
        for url in sorted(self._found):
            if not forgotten.reason(url) and (page := doc_id(url, form)) not in waiting:
                ids.setdefault(page, url)
        old = set(known.select("doc_id").filter(pl.col("doc_id").is_in(list(ids))).collect()["doc_id"])
        fresh = sorted(url for i, url in ids.items() if i not in old)
        earlier = known.filter(pl.col("seed").str.starts_with(FOUND)).group_by(HOST.alias("host")).len().collect()
        counts = Counter(dict(earlier.drop_nulls().iter_rows())) + Counter(map(host_of, waiting.values()))
        lines: list[str] = []
        left_out = Counter[str]()
        self.looked_at |= set(map(host_of, fresh))
        for url in fresh:
            host, further = host_of(url), self._found[url]
            counts[host] += 1
            if counts[host] > per_host:
                left_out[host] += 1
            else:
                lines.append(f"{url} discover={further}\n" if further else f"{url}\n")
        for host, count in left_out.items():
            limit = (
                f"the limit of {per_host:,} pages of a host (crawl.found_per_host) is reached: further pages that are "
            )
            self._note(
                "host", host, [Issue("limit", f"{limit}found are left out; raise it if they are wanted", None, count)]
            )
        if not lines:
            return
        content = "".join(lines).encode()
        name = f"{FOUND}{partition}-{hashlib.sha256(content).hexdigest()[:12]}.txt"
        with store.files.create(f"{SEEDS}/{name}") as file:
            file.write(content)
        log.info("%s: %d further pages found; they wait in the inbox as %s", partition, len(lines), name)


def forget_found(store: Store, forgotten: Forgotten) -> None:
    """Take what is forgotten out of the lists of further seeds, read ones too; one that is left empty goes.

    Raises:
        StoreError: the inbox cannot be written.
    """
    for path in store.files.list(f"{SEEDS}/{FOUND}".rstrip("/")):
        with store.files.open(path) as file:
            lines = file.readlines()
        kept = [line for line in lines if line.strip() and not forgotten.reason(line.decode().split()[0])]
        if not kept:
            store.files.delete([path])
        elif kept != lines:
            with store.files.create(path) as file:
                file.write(b"".join(kept))


def _waiting(store: Store, form: UrlForm) -> dict[str, str]:
    """URLs, by doc_id, that other partitions found, and that no batch has yet."""
    urls: dict[str, str] = {}
    for name in pending(store):
        if name.startswith(FOUND):
            with store.files.open(f"{SEEDS}/{name}") as file:
                urls |= {doc_id(url, form): url for line in file if (url := line.decode().split()[0])}
    return urls
