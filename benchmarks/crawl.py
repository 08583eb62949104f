"""Crawlers over the same pages and the same hostile servers, on loopback.

    python -m benchmarks.crawl [PAGES.parquet] [--pages 2000] [--peers-python PYTHON] [--runs 3]

PAGES.parquet has a column `html` of bytes; without it the demo's pages are taken. They are served as often as it
takes, each under a URL of its own, by a process of its own. Printed: speed and peak memory of each crawler that is
installed in PYTHON, what a second crawl costs after 1 % of the pages changed, and what each does with hostile servers.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import polars as pl

from quarry_dagster.crawl import allowed_networks
from quarry_dagster.extract import Extractor
from quarry_dagster.intake import take_in_seeds
from quarry_dagster.profiles.settings import HardwareProfile
from quarry_dagster.stages import extracted_text
from quarry_dagster.stages.pages import raw_pages
from quarry_dagster.store import Store
from quarry_dagster_tests.hostile_cases import Case, hostile_cases

ROOT = Path(__file__).parent.parent
DEMO = ROOT / "quarry_dagster" / "demo" / "site"
CRAWLERS = ("quarry", "scrapy", "crawlee")
LONGEST = 60


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parquet", nargs="?", type=Path)
    parser.add_argument("--pages", type=int, default=2000)
    parser.add_argument("--peers-python", default=sys.executable)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", choices=("speed", "again", "hostile"))
    options = parser.parse_args()
    pythons = {name: sys.executable if name == "quarry" else options.peers_python for name in CRAWLERS}
    there = [name for name in CRAWLERS if name == "quarry" or _has(pythons[name], name)]
    for name in CRAWLERS:
        if name not in there:
            print(f"skipped: {name} is not installed in {options.peers_python}")
    with tempfile.TemporaryDirectory() as folder:
        pages = _write_pages(options.parquet, options.pages, Path(folder))
        with served(pages) as port:
            urls = [f"http://127.0.0.1:{port}/{i}" for i in range(options.pages)]
            if options.only in (None, "speed"):
                print(_speed(there, pythons, urls, options.runs))
            if options.only in (None, "again"):
                print(_again(urls, port))
    if options.only in (None, "hostile"):
        print(_hostile(there, pythons))
    return 0


def _has(python: str, package: str) -> bool:
    test = f"import sys, importlib.util as u; sys.exit(u.find_spec({package!r}) is None)"
    return subprocess.run([python, "-c", test], check=False).returncode == 0


def _write_pages(parquet: Path | None, count: int, folder: Path) -> Path:
    if parquet:
        bodies = pl.read_parquet(parquet, columns=["html"])["html"].to_list()
    else:
        bodies = [path.read_bytes() for path in sorted(DEMO.rglob("*.html"))]
    mean = sum(map(len, bodies)) // len(bodies)
    print(f"{count:,} URLs, {len(bodies):,} different pages of {mean:,} bytes on average\n")
    for i, body in zip(range(count), itertools.cycle(bodies), strict=False):
        (folder / str(i)).write_bytes(body)
    return folder


@contextmanager
def served(folder: Path) -> Iterator[int]:
    command = [sys.executable, "-c", "from benchmarks.crawl import serve; serve()", str(folder)]
    server = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        yield int(server.stdout.readline())
    finally:
        server.kill()


def serve() -> None:
    """Serve the pages of a folder with ETags; /bytes says how much was sent, /change/N changes the first N pages."""
    from aiohttp import web

    pages = {path.name: path.read_bytes() for path in Path(sys.argv[1]).iterdir()}
    tags = {name: f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"' for name, body in pages.items()}
    sent: Counter[str] = Counter()

    async def page(request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if request.headers.get("If-None-Match") == tags[name]:
            return web.Response(status=304, headers={"ETag": tags[name]})
        sent["bytes"] += len(pages[name])
        return web.Response(body=pages[name], headers={"ETag": tags[name], "Content-Type": "text/html"})

    async def count(_: web.Request) -> web.Response:
        return web.Response(text=str(sent["bytes"]))

    async def change(request: web.Request) -> web.Response:
        for name in map(str, range(int(request.match_info["count"]))):
            pages[name] += b"<p>One more paragraph, of eight words.</p>"
            tags[name] = f'"{name} changed"'
        return web.Response()

    async def start() -> None:
        app = web.Application()
        app.add_routes([web.get("/bytes", count), web.get("/change/{count}", change), web.get(r"/{name:\d+}", page)])
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        print(runner.addresses[0][1], flush=True)
        await asyncio.sleep(3600)

    asyncio.run(start())


def _crawl(python: str, name: str, urls: list[str], timeout: float = 600) -> dict | None:
    """What that crawler said of itself; None if it did not end in time."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "urls.txt").write_text("\n".join(urls))
        command = [python, "-m", "benchmarks.crawlers", name, f"{folder}/urls.txt", folder]
        try:
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=timeout, check=False)
        except subprocess.TimeoutExpired:
            return None
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}:\n{done.stderr[-4000:]}")
        return json.loads(done.stdout.splitlines()[-1])


def _speed(names: list[str], pythons: dict[str, str], urls: list[str], runs: int) -> str:
    found: dict[str, list[dict]] = {name: [] for name in names}
    for _ in range(runs):  # in turns, so that a busy machine is busy for all of them
        for name in names:
            answer = _crawl(pythons[name], name, urls)
            assert answer is not None
            found[name].append(answer)
    rows = []
    for answers in found.values():
        per_cpu = [len(urls) / a["cpu"] for a in answers]
        rows.append(
            {
                "": answers[0]["name"],
                "pages a CPU-second": f"{statistics.median(per_cpu):,.0f} ({min(per_cpu):,.0f} to {max(per_cpu):,.0f})",
                "pages a second": f"{statistics.median(len(urls) / a['seconds'] for a in answers):,.0f}",
                "peak MiB": f"{max(a['peak'] for a in answers):,.0f}",
                "pages that came": f"{min(_pages(a) for a in answers):,}",
            }
        )
    return _table(rows)


def _pages(answer: dict) -> int:
    return sum(outcome.startswith(("page of", "fetched")) for outcome in answer["outcomes"].values())


def _again(urls: list[str], port: int) -> str:
    """The stages raw_pages and extracted_text: at first, with nothing new, with 1 % changed."""
    profile = HardwareProfile.model_validate(
        {
            "name": "benchmark",
            "partitions": {"pages_per_partition": 1000},
            "crawl": {"concurrency": 64, "concurrency_per_host": 64, "delay_per_host": 0},
        }
    )
    loopback = allowed_networks("127.0.0.1/32")
    changed = len(urls) // 100
    rows = []
    with tempfile.TemporaryDirectory() as root, Extractor(profile.extraction, 2) as extractor:
        (Path(root) / "seeds").mkdir()
        (Path(root) / "seeds" / "pages.txt").write_text("\n".join(urls))
        store = Store(root)
        take_in_seeds(store, profile, loopback)
        for title, change in (("first", 0), ("nothing new", 0), (f"{changed} pages changed", changed)):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/change/{change}").read()
            before, start = _sent(port), time.monotonic()
            crawled, extracted = raw_pages.StageReport(), raw_pages.StageReport()
            for partition in store.batches.segments():
                crawled += raw_pages.refresh(store, partition, profile.crawl, loopback)
            seconds = time.monotonic() - start
            for partition in store.batches.segments():
                extracted += extracted_text.refresh(store, partition, extractor)
            rows.append(
                {
                    "crawl": title,
                    "bodies received, bytes": f"{_sent(port) - before:,}",
                    "pages extracted": f"{extracted.worked:,}",
                    "files written": str(crawled.written + extracted.written),
                    "seconds of crawling": f"{seconds:.1f}",
                }
            )
    return _table(rows)


def _sent(port: int) -> int:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/bytes") as answer:
        return int(answer.read())


def _hostile(names: list[str], pythons: dict[str, str]) -> str:
    """What becomes of each case, in the words of each crawler; and what it did, where its words do not say."""
    columns: list[dict[str, str]] = []
    for name in names:
        with ExitStack() as stack:  # servers of its own: some answer otherwise the second time
            columns.append({case.name: _met(name, pythons[name], case) for case in hostile_cases(stack)})
    return _table([{"server": case} | {n: c[case] for n, c in zip(names, columns, strict=True)} for case in columns[0]])


def _met(name: str, python: str, case: Case) -> str:
    answer = _crawl(python, name, [case.url], LONGEST)
    if answer is None:
        return f"still at it after {LONGEST} s"
    (said,) = answer["outcomes"].values() or ["not asked, nothing said"]
    if case.inside and case.inside.asked("/secret"):
        said += ", reached it"
    if case.late:
        times = [asked.at for asked in case.late.asked("/busy")]
        said += f", asked again after {times[1] - times[0]:.1f} s" if len(times) > 1 else ", not asked again"
    return said + (f", {answer['peak']:,.0f} MiB" if answer["peak"] > 200 else "")


def _table(rows: list[dict[str, str]]) -> str:
    head = list(rows[0])
    lines = [head, ["---"] * len(head), *([row[column] for column in head] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
