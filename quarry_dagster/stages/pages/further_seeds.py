"""Further seeds: pages that a crawled page names become seeds by way of the inbox, where its seed asks for that.

How names are found in a page belongs to :mod:`quarry_dagster.seeds`.

Why so: "What a page names becomes a seed, by way of the inbox" in docs/decisions.md.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import replace

import polars as pl

from quarry_dagster.crawl import Response
from quarry_dagster.crawl.media_types import is_list
from quarry_dagster.intake import SEEDS, pending
from quarry_dagster.progress import log
from quarry_dagster.seeds import Discovery, discover, parse_discovery
from quarry_dagster.store import Forgotten, Store
from quarry_dagster.store.schemas import HOST
from quarry_dagster.urls import UrlForm, doc_id, host_of

FOUND = "found/"
"""The folder in the inbox where they wait."""


class FurtherSeeds:
    """The further seeds that the pages of one crawl name."""

    def __init__(self) -> None:
        self._found: dict[str, Discovery] = {}

    def look(self, response: Response, wanted: str | None) -> Response:
        """Keep what a response names, as far as its seed asks (`wanted`).

        Returns the response; for a list of pages one with outcome `unsupported_type` and no body.
        """
        if not wanted or response.body is None or response.final_url is None:
            return response
        there = discover(response.final_url, response.body, response.content_type, parse_discovery(wanted))
        for url, further in there.seeds.items():
            known = self._found.get(url, further)
            self._found[url] = max(known, further, key=lambda d: (d.links, d.feeds, d.sitemaps))
        kind = there.kind or ("a list" if is_list(response.content_type) else None)
        if kind is None:
            return response
        detail = f"{kind}: its pages are seeds, it is none"
        return replace(response, outcome="unsupported_type", detail=detail, body=None)

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
        for url in fresh:
            host, further = host_of(url), self._found[url]
            counts[host] += 1
            if counts[host] <= per_host:
                lines.append(f"{url} discover={further}\n" if further else f"{url}\n")
        if not lines:
            return
        content = "".join(lines).encode()
        name = f"{FOUND}{partition}-{hashlib.sha256(content).hexdigest()[:12]}.txt"
        with store.files.create(f"{SEEDS}/{name}") as file:
            file.write(content)
        log.info("%s: %d further pages found; they wait in the inbox as %s", partition, len(lines), name)


def _waiting(store: Store, form: UrlForm) -> dict[str, str]:
    """URLs, by doc_id, that other partitions found, and that no batch has yet."""
    urls: dict[str, str] = {}
    for name in pending(store):
        if name.startswith(FOUND):
            with store.files.open(f"{SEEDS}/{name}") as file:
                urls |= {doc_id(url, form): url for line in file if (url := line.decode().split()[0])}
    return urls
