"""What is fetched as WARC: other readers take it, our own too, and what is forgotten is not in it."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from fastwarc.warc import ArchiveIterator as FastWarc
from warcio.archiveiterator import ArchiveIterator as Warcio

from quarry_dagster import takedown
from quarry_dagster.crawl import Request, Response, allowed_networks, crawl
from quarry_dagster.crawl.warc import WarcWriter
from quarry_dagster.profiles.settings import Crawl
from quarry_dagster.seeds import Seed, read_seeds
from quarry_dagster_tests.corpus import Corpus, profile, words
from quarry_dagster_tests.hostile_site import ARTICLE, HostileSite
from quarry_dagster_tests.site import Site, html


@pytest.fixture
def archiving(tmp_path: Path, site: Site) -> Corpus:
    site.pages = {f"/{i}": html(f"Page {i}", words(i)) for i in range(5)} | {"/moved": "/0", "/gone": 410}
    corpus = Corpus(tmp_path / "data", profile(crawl={"write_warc": True}))
    corpus.seed("a.txt", "".join(site.url(path) + "\n" for path in site.pages))
    return corpus


def _files(corpus: Corpus) -> list[Path]:
    return sorted((corpus.root / "warc").rglob("*.warc.gz"))


def _records(path: Path) -> list[tuple[str, str, bytes]]:
    """Type, URL and body of each record, which two readers agree on."""
    with path.open("rb") as file:
        fast = [
            (r.headers["WARC-Type"], r.headers.get("WARC-Target-URI") or "", r.reader.read()) for r in FastWarc(file)
        ]
    with path.open("rb") as file:
        other = [
            (r.rec_type, r.rec_headers.get_header("WARC-Target-URI") or "", r.content_stream().read())
            for r in Warcio(file, check_digests="raise")  # pyright: ignore[reportArgumentType]
        ]
    assert fast == other
    return fast[1:]  # the first is about the file


def test_other_readers_take_what_was_fetched(archiving: Corpus, site: Site) -> None:
    archiving.run()
    (path,) = _files(archiving)
    pages = {(site.url(f"/{i}"), site.pages[f"/{i}"]) for i in range(5)}
    records = _records(path)
    assert {(url, body) for _, url, body in records} == pages
    assert [kind for kind, _, _ in records] == ["response"] * 6  # /0 twice: by its URL, and by a redirect to it
    checked = subprocess.run([Path(sys.executable).parent / "warcio", "check", path], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout


def test_our_own_archive_is_a_seed(archiving: Corpus, site: Site) -> None:
    archiving.run()
    (path,) = _files(archiving)
    with path.open("rb") as file:
        seeds = [s for s in read_seeds(file, path.name, max_body=1 << 20) if isinstance(s, Seed)]
    assert {s.url: s.body for s in seeds} == {site.url(f"/{i}"): site.pages[f"/{i}"] for i in range(5)}
    assert all(s.outcome == "archived" and s.etag and s.fetched_at for s in seeds)


def test_a_page_that_had_not_changed_is_a_revisit(archiving: Corpus, site: Site) -> None:
    archiving.run()
    archiving.run()
    assert len(_files(archiving)) == 1  # nothing new
    site.pages["/1"] = html("Page 1", words(77))
    archiving.run()
    records = _records(_files(archiving)[1])
    assert {url for kind, url, _ in records if kind == "response"} == {site.url("/1")}
    assert {url for kind, url, _ in records if kind == "revisit"} == {site.url(f"/{i}") for i in (0, 2, 3, 4)}


def test_what_is_forgotten_is_not_in_it(archiving: Corpus, site: Site) -> None:
    archiving.run()
    takedown.forget(archiving.store, archiving.profile, site.url("/2"))
    (path,) = _files(archiving)
    assert {url for _, url, _ in _records(path)} == {site.url(f"/{i}") for i in (0, 1, 3, 4)}
    assert archiving.read("raw_pages").filter(pl.col("outcome") == "opted_out").height == 1


def test_headers_are_kept_and_those_of_the_wire_renamed() -> None:
    settings = Crawl(delay_per_host=0, retries=0, write_warc=True)
    with HostileSite() as site:
        url = site.gzipped("/a", ARTICLE)
        (response,) = crawl([Request(url)], settings, allow_addresses=allowed_networks("127.0.0.1/32"))
        assert isinstance(response, Response)
    file = io.BytesIO()
    WarcWriter(file, "test").write(response)
    file.seek(0)
    record = list(FastWarc(file))[-1]
    assert record.http_headers.get("X-Archive-Orig-Content-Encoding") == "gzip"
    assert record.http_headers.get("Content-Encoding") is None
    assert record.http_headers.get("Content-Length") == str(len(ARTICLE))
