"""One crawler over a list of URLs, in a process of its own: what `benchmarks.crawl` measures.

    python -m benchmarks.crawlers quarry|scrapy|crawlee URLS.txt FOLDER

Each obeys robots.txt, asks for up to 64 pages at a time without delay, tries once more what its own rules let it try
again, takes bodies up to 8 MiB where it can be told so, and appends each body to a file in FOLDER as it comes. Printed
as JSON: the outcome of each URL, CPU-seconds and seconds of the crawl without imports, and the process's peak memory
in MiB.
"""

from __future__ import annotations

import importlib.metadata
import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

AT_ONCE = 64
TIMEOUT = 5
RETRIES = 1
MAX_BODY = 8 << 20

Outcomes = dict[str, str]
Crawl = Callable[[list[str], Path], Outcomes]


def quarry() -> tuple[str, Crawl]:
    """All of the crawl: consent, the address rule, the cache of robots.txt, the journal."""
    import quarry_dagster
    from quarry_dagster.crawl import Request, allowed_networks, crawl, engine, stream  # noqa: F401
    from quarry_dagster.crawl.journal import Journal
    from quarry_dagster.profiles.settings import Crawl

    settings = Crawl(
        concurrency=AT_ONCE,
        concurrency_per_host=AT_ONCE,
        delay_per_host=0,
        retries=RETRIES,
        page_timeout=TIMEOUT,
        max_body_mb=MAX_BODY / 2**20,
    )

    def run(urls: list[str], folder: Path) -> Outcomes:
        found: Outcomes = {}
        allowed = allowed_networks("127.0.0.1/32")
        with Journal(folder / "journal", "benchmark") as journal:
            for r in crawl(map(Request, urls), settings, allow_addresses=allowed, origins=folder / "origins.sqlite"):
                journal.append(r)
                found[r.url] = r.outcome
        return found

    return f"QuarryCore {quarry_dagster.__version__}", run


def scrapy() -> tuple[str, Crawl]:
    import scrapy  # pyright: ignore[reportMissingImports]
    from scrapy.crawler import CrawlerProcess  # pyright: ignore[reportMissingImports]

    def run(urls: list[str], folder: Path) -> Outcomes:
        found: Outcomes = {}
        bodies = (folder / "bodies").open("ab")

        class Pages(scrapy.Spider):
            name = "pages"

            async def start(self):
                for url in urls:
                    kept = {"asked": url}
                    yield scrapy.Request(url, meta=kept, dont_filter=True, callback=self.parse, errback=self.failed)

            def parse(self, response):
                bodies.write(response.body)
                found[response.meta["asked"]] = f"page of {len(response.body):,} bytes"

            def failed(self, failure):
                found[failure.request.meta["asked"]] = failure.type.__name__

        process = CrawlerProcess(
            {
                "ROBOTSTXT_OBEY": True,
                "CONCURRENT_REQUESTS": AT_ONCE,
                "CONCURRENT_REQUESTS_PER_DOMAIN": AT_ONCE,
                "DOWNLOAD_DELAY": 0,
                "DOWNLOAD_TIMEOUT": TIMEOUT,
                "DOWNLOAD_MAXSIZE": MAX_BODY,
                "RETRY_TIMES": RETRIES,
                "TELNETCONSOLE_ENABLED": False,
                "LOG_ENABLED": False,
            }
        )
        process.crawl(Pages)
        process.start()
        bodies.close()
        return found

    return f"Scrapy {importlib.metadata.version('scrapy')}", run


def crawlee() -> tuple[str, Crawl]:
    import asyncio
    import logging
    from datetime import timedelta

    from crawlee import ConcurrencySettings  # pyright: ignore[reportMissingImports]
    from crawlee.crawlers import HttpCrawler, HttpCrawlingContext  # pyright: ignore[reportMissingImports]
    from crawlee.storage_clients import MemoryStorageClient  # pyright: ignore[reportMissingImports]

    async def main(urls: list[str], folder: Path) -> Outcomes:
        found: Outcomes = {}
        crawler = HttpCrawler(
            storage_client=MemoryStorageClient(),
            concurrency_settings=ConcurrencySettings(
                min_concurrency=AT_ONCE, desired_concurrency=AT_ONCE, max_concurrency=AT_ONCE
            ),
            respect_robots_txt_file=True,
            max_request_retries=RETRIES,
            navigation_timeout=timedelta(seconds=TIMEOUT),
            request_handler_timeout=timedelta(seconds=TIMEOUT),
            configure_logging=False,
        )
        logging.disable(logging.CRITICAL)
        with (folder / "bodies").open("ab") as bodies:

            @crawler.router.default_handler
            async def handle(context: HttpCrawlingContext) -> None:
                body = await context.http_response.read()
                bodies.write(body)
                found[context.request.url] = f"page of {len(body):,} bytes"

            @crawler.failed_request_handler
            async def failed(context, error: Exception) -> None:
                found[context.request.url] = type(error).__name__

            await crawler.run(urls)
        return found

    def run(urls: list[str], folder: Path) -> Outcomes:
        return asyncio.run(main(urls, folder))

    return f"Crawlee {importlib.metadata.version('crawlee')}", run


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _peak() -> float:
    """Not ru_maxrss, which a process takes over from the one that started it."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    name, run = {"quarry": quarry, "scrapy": scrapy, "crawlee": crawlee}[sys.argv[1]]()
    urls = Path(sys.argv[2]).read_text().split()
    cpu, start = _cpu(), time.monotonic()
    found = run(urls, Path(sys.argv[3]))
    figures = {"cpu": _cpu() - cpu, "seconds": time.monotonic() - start}
    peak = _peak()
    print(json.dumps({"name": name, "outcomes": found, "peak": peak} | figures))
