"""Hostile input made of real input: pages, seeds, archives and profiles with pieces cut, doubled, changed or moved.

Whatever comes, the answer is a row, a problem or an error of ours, within seconds.
"""

from __future__ import annotations

import gzip
import io
import json
import random
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from benchmarks.torture.processes import in_a_process
from quarry_dagster.errors import QuarryError
from quarry_dagster.extract.page import extract_page
from quarry_dagster.extract.records import Page
from quarry_dagster.profiles.choose import load_profile
from quarry_dagster.profiles.settings import Extraction
from quarry_dagster.seeds import read_seeds

_SITE = Path(__file__).parents[2] / "quarry_dagster" / "demo" / "site"
_CONFIGS = Path(__file__).parents[2] / "configs"
_SLOW = 20.0
_PIECES = [
    b"<",
    b">",
    b"\0",
    b"&#x110000;",
    b"<![CDATA[",
    b"]]>",
    b"\xff\xfe",
    b"\xed\xa0\x80",
    b'"',
    b"{" * 300,
    b"<div>" * 300,
]
Attempt = Callable[[bytes], object]


def fuzz(inputs: int) -> bool:
    """Try so many inputs in all; prints a table, and returns whether each was answered."""
    kinds = {
        "pages": (_pages(), _a_page),
        "seeds and archives": (_seeds(), _a_seed),
        "profiles": (_profiles(), _a_profile),
    }
    print("| input | tried | answered | worst, s |\n| --- | --- | --- | --- |")
    results = []
    for name, (originals, attempt) in kinds.items():
        n = -(-inputs // len(kinds))
        ended = in_a_process(lambda: _try(originals, attempt, n), limit=7200)  # noqa: B023
        if ended.result is None:
            print(f"{name}: {ended.error or 'killed'}")
            results.append(False)
            continue
        tried, answered, worst, wrong = ended.result
        for line in wrong[:10]:
            print(f"{name}: {line}")
        print(f"| {name} | {tried} | {answered} | {worst:.1f} |", flush=True)
        results.append(tried == answered)
    return all(results)


def _try(originals: list[tuple[str, bytes]], attempt: Callable[[str, bytes], object], n: int) -> list[object]:
    rng = random.Random(1)
    answered, worst = 0, 0.0
    wrong: list[str] = []
    for i in range(n):
        name, content = originals[i % len(originals)]
        changed = mutated(content, rng)
        start = time.monotonic()
        try:
            attempt(name, changed)
            answered += 1
        except QuarryError:
            answered += 1
        except Exception as e:  # noqa: BLE001  what a user would see as a traceback
            wrong.append(f"{name}, input {i}: {type(e).__name__}: {e}"[:200])
        seconds = time.monotonic() - start
        worst = max(worst, seconds)
        if seconds > _SLOW:
            wrong.append(f"{name}, input {i}: {seconds:.0f} s")
    return [n, answered, worst, wrong]


def mutated(content: bytes, rng: random.Random) -> bytes:
    """The content with a few pieces cut, doubled, changed, moved, or put in."""
    for _ in range(rng.randint(1, 6)):
        at, size = rng.randrange(len(content) + 1), rng.choice([1, 3, 20, 400])
        piece = content[at : at + size]
        kind = rng.randrange(6)
        if kind == 0:
            content = content[:at] + content[at + size :]
        elif kind == 1:
            content = content[:at] + piece * rng.choice([2, 30]) + content[at + size :]
        elif kind == 2:
            content = content[:at] + rng.randbytes(len(piece)) + content[at + size :]
        elif kind == 3:
            to = rng.randrange(len(content) + 1)
            content = content[:to] + piece + content[to:]
        elif kind == 4:
            content = content[:at] + rng.choice(_PIECES) + content[at:]
        else:
            content = content[:at]
    return content


def _files(folder: Path, *endings: str) -> list[tuple[str, bytes]]:
    return [(p.name, p.read_bytes()) for p in sorted(folder.rglob("*")) if p.name.endswith(endings)]


def _pages() -> list[tuple[str, bytes]]:
    return _files(_SITE, ".html")


def _a_page(name: str, content: bytes) -> object:
    page = Page(key=name, url=f"http://fuzz.test/{name}", body=content, content_type="text/html")
    return extract_page(page, Extraction())


def _seeds() -> list[tuple[str, bytes]]:
    rows = [{"url": f"http://a.test/{i}", "text": f"text number {i} " * 20, "n": i} for i in range(30)]
    lines = "".join(json.dumps(row) + "\n" for row in rows).encode()
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), table)
    archive = io.BytesIO()
    from warcio.warcwriter import WARCWriter

    writer = WARCWriter(archive, gzip=True)
    for i in range(5):
        payload = io.BytesIO(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html><body>page</body></html>")
        writer.write_record(writer.create_warc_record(f"http://w.test/{i}", "response", payload=payload))
    urls = "".join(f"http://a.test/{i} discover=links:1\n" for i in range(30)).encode()
    sitemap = b"<urlset>" + b"".join(b"<url><loc>http://a.test/%d</loc></url>" % i for i in range(30)) + b"</urlset>"
    return [
        ("a.jsonl", lines),
        ("a.jsonl.gz", gzip.compress(lines)),
        ("a.csv", b"url,text\n" + b"".join(b'http://a.test/%d,"a text"\n' % i for i in range(30))),
        ("a.txt", urls),
        ("a.xml", sitemap),
        ("a.parquet", table.getvalue()),
        ("a.warc.gz", archive.getvalue()),
    ]


def _a_seed(name: str, content: bytes) -> Iterable[object]:
    return list(read_seeds(io.BytesIO(content), name, max_body=1 << 20))


def _profiles() -> list[tuple[str, bytes]]:
    return _files(_CONFIGS, ".yaml")


def _a_profile(name: str, content: bytes) -> object:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        return load_profile(str(path))
