"""One rule about a response, wherever it comes from: a server, an archive, a table."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import random
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import brotli
import polars as pl
import pytest
from backports import zstd

from quarry_dagster.crawl import Response
from quarry_dagster.crawl.answers import Answers
from quarry_dagster.profiles.settings import Crawl
from quarry_dagster.seeds import Seed, read_seeds
from quarry_dagster_tests.corpus import Corpus, profile, words
from quarry_dagster_tests.fetching import SETTINGS, fetch
from quarry_dagster_tests.hostile_site import HostileSite
from quarry_dagster_tests.site import html
from quarry_dagster_tests.test_seeds_archive import Archive

PAGE = html("A page", words(1))


LONG = b"<p>" + hashlib.sha512(b"a page").hexdigest().encode() * 2 + random.Random(1).randbytes(3000).hex().encode()


def with_head(element: str) -> bytes:
    return PAGE.replace(b"<head>", f"<head>{element}".encode())


@dataclass(frozen=True)
class Case:
    """An answer, and what becomes of it."""

    name: str
    body: bytes = PAGE
    headers: dict[str, str] = field(default_factory=dict)
    type: str = "text/html; charset=utf-8"
    status: str = "200 OK"
    outcome: str = "taken"
    detail: str | None = None
    page: bytes = PAGE
    """The body that is kept."""


def coded(coding: str, body: bytes, page: bytes = PAGE) -> Case:
    return Case(f"{coding} is {body[:4]!r}", body, {"Content-Encoding": coding}, page=page)


def opted_out(detail: str, body: bytes = PAGE, **headers: str) -> Case:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Case(detail, body, named, outcome="opted_out", detail=detail)


CASES = [
    Case("plain"),
    # A Content-Encoding that lies, or that there is not.
    coded("none", PAGE),
    coded("UTF-8", PAGE),
    coded("identity", PAGE),
    coded("text/html", PAGE),
    coded("gzip", PAGE),
    coded("deflate", PAGE),
    coded("br", PAGE),
    coded("zstd", PAGE),
    coded("gzip, none", gzip.compress(PAGE)),
    # One that is true, asked for or not.
    coded("gzip", gzip.compress(PAGE)),
    coded("X-GZIP", gzip.compress(PAGE) + b"junk"),
    coded("gzip", gzip.compress(PAGE[:50]) + gzip.compress(PAGE[50:])),
    coded("deflate", zlib.compress(PAGE)),
    coded("deflate", zlib.compress(PAGE, wbits=-15)),
    coded("br", brotli.compress(PAGE)),
    coded("zstd", zstd.compress(PAGE)),
    coded("deflate, gzip", gzip.compress(zlib.compress(PAGE))),
    coded("gzip, br", brotli.compress(gzip.compress(PAGE))),
    # Types.
    Case("markdown", b"# A title\n\nWords.", type="text/markdown", page=b"# A title\n\nWords."),
    Case("markdown of old", b"# A title", type="text/x-markdown; charset=utf-8", page=b"# A title"),
    Case("xhtml", type="Application/XHTML+XML"),
    Case("no type", type=""),
    Case(
        "pdf that says so",
        b"%PDF-1.7",
        type="application/pdf",
        outcome="unsupported_type",
        detail="application/pdf is not text that can be extracted",
    ),
    Case(
        "pdf that says html",
        b"%PDF-1.7",
        outcome="unsupported_type",
        detail="the body is PDF, the server calls it text/html",
    ),
    Case(
        "binary markdown",
        b"\0\1\2",
        type="text/markdown",
        outcome="unsupported_type",
        detail="the body is binary, the server calls it text/markdown",
    ),
    # Consent.
    opted_out("header X-Robots-Tag: noai", X_Robots_Tag="noai"),
    opted_out("header X-Robots-Tag: noai", X_Robots_Tag="noindex, NOAI"),
    opted_out("header X-Robots-Tag: noai", X_Robots_Tag="quarrycore: noai"),
    Case("another's noai", headers={"X-Robots-Tag": "otherbot: noai"}),
    opted_out("header TDM-Reservation: 1", TDM_Reservation="1"),
    Case("no reservation", headers={"TDM-Reservation": "0"}),
    opted_out("meta robots: noai", with_head("<meta name=robots content='index, noai'>")),
    opted_out("meta quarrycore: noai", with_head("<meta name=QuarryCore content=noai>")),
    opted_out("meta tdm-reservation: 1", with_head("<meta name='tdm-reservation' content='1'>")),
    opted_out("header X-Robots-Tag: noai", b"%PDF-1.7", X_Robots_Tag="noai"),
    # Statuses.
    Case("203", status="203 Non-Authoritative Information"),
    Case("201", status="201 Created"),
    Case("404", status="404 Gone Away", outcome="http_error", detail="404 Not Found"),
    Case("599", status="599 Odd", outcome="http_error", detail="599"),
    Case("206", status="206 Partial Content", outcome="http_error", detail="206 Partial Content: not a whole page"),
    Case("204", b"", status="204 No Content", outcome="http_error", detail="204 No Content: not a whole page"),
]


def archived(case: Case, settings: Crawl = SETTINGS) -> Seed:
    headers = {"Content-Type": case.type, **case.headers} if case.type else case.headers
    archive = Archive().add("http://a.test/a", case.body, headers, case.status)
    (seed,) = read_seeds(io.BytesIO(archive.data), "a.warc.gz", max_body=1 << 20, answers=Answers(settings))
    assert isinstance(seed, Seed)
    return seed


def as_told(answer: Seed | Response, taken: str) -> tuple[str | None, str | None, bytes | None]:
    return "taken" if answer.outcome == taken else answer.outcome, answer.detail, answer.body


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_crawl_and_an_archive_judge_alike(hostile: HostileSite, case: Case) -> None:
    expected = case.outcome, case.detail, case.page if case.outcome == "taken" else None
    url = hostile.page("/a", case.status, case.headers, case.body, type=case.type or None)
    assert as_told(fetch(url), "fetched") == expected
    assert as_told(archived(case), "archived") == expected


@pytest.mark.parametrize(
    ("body", "coding", "crawled", "kept"),
    [
        (gzip.compress(PAGE)[:-9], "gzip", "the compressed body ends early", "the compressed body ends early; what"),
        (zlib.compress(PAGE)[:-9], "deflate", "the compressed body ends early", "the compressed body ends early; what"),
        (gzip.compress(LONG)[:-8] + b"12345678", "gzip", "not a gzip body: ", "not a gzip body: "),
        (b"\x00\x01\x02\x03" * 9, "br", "not a br body, and no text either", "not a br body, and no text either; the"),
    ],
)
def test_what_began_well_and_is_damaged_is_no_page_of_a_crawl_and_a_word_about_one_of_an_archive(
    hostile: HostileSite, body: bytes, coding: str, crawled: str, kept: str
) -> None:
    """The server can be asked again; the archive has what it has."""
    case = Case("damaged", body, {"Content-Encoding": coding})
    response = fetch(hostile.page("/a", case.status, case.headers, body))
    assert response.outcome == "network_error" and (response.detail or "").startswith(crawled)
    seed = archived(case)
    assert seed.outcome == "archived" and (seed.detail or "").startswith(kept)


@pytest.mark.parametrize(
    ("row", "outcome", "detail"),
    [
        ({"html": PAGE.decode()}, "given", None),
        ({"html": with_head("<meta name=robots content=noai>").decode()}, "opted_out", "meta robots: noai"),
        ({"text": "<meta name=robots content=noai> is how it is written"}, "given", None),
        ({"text": "%PDF-1.7"}, "unsupported_type", "the body is PDF"),
    ],
)
def test_a_table_s_documents_are_judged_alike(row: dict[str, str], outcome: str, detail: str | None) -> None:
    data = json.dumps({"url": "http://a.test/a", **row}).encode()
    (seed,) = read_seeds(io.BytesIO(data), "a.jsonl", max_body=1 << 20)
    assert isinstance(seed, Seed)
    assert (seed.outcome, seed.detail) == (outcome, detail)
    assert (seed.body is not None) == (outcome == "given")


def test_settings_say_what_is_obeyed_of_an_archive_too() -> None:
    noai = Case("noai", headers={"X-Robots-Tag": "noai"})
    noindex = Case("noindex", with_head("<meta name=robots content=noindex>"))
    assert archived(noai, SETTINGS.model_copy(update={"obey_consent": False})).outcome == "archived"
    assert archived(noindex).outcome == "archived"
    assert archived(noindex, SETTINGS.model_copy(update={"obey_noindex": True})).outcome == "opted_out"


def _outcomes(corpus: Corpus) -> dict[str, tuple[str, str | None]]:
    rows = corpus.read("raw_pages").select("url", "outcome", "detail", "body").iter_rows()
    return {url.removeprefix("http://a.test/"): (outcome, detail) for url, outcome, detail, _ in rows}


def _archive() -> bytes:
    archive = Archive().add("http://a.test/free", html("Free", words(1)))
    archive.add(
        "http://a.test/header", html("Header", words(2)), {"X-Robots-Tag": "noindex", "Content-Type": "text/html"}
    )
    archive.add("http://a.test/meta", with_head("<meta name=robots content=noindex>"))
    return archive.data


def test_an_archive_that_was_taken_in_is_judged_anew_under_other_settings(tmp_path: Path) -> None:
    corpus = Corpus(tmp_path, profile())
    corpus.seed("a.warc.gz", _archive())
    corpus.run()
    assert set(_outcomes(corpus).values()) == {("archived", None)}
    strict = Corpus(tmp_path, profile(crawl={"obey_noindex": True}))
    strict.run()
    assert _outcomes(strict) == {
        "free": ("archived", None),
        "header": ("opted_out", "header X-Robots-Tag: noindex"),
        "meta": ("opted_out", "meta robots: noindex"),
    }
    bodies = strict.read("raw_pages").filter(pl.col("outcome") == "opted_out")
    assert bodies["body"].null_count() == 2
    before = strict.files()
    strict.run()
    assert strict.files() == before
    corpus.run()
    assert set(_outcomes(corpus).values()) == {("archived", None)}


def test_a_later_capture_that_opts_out_takes_back_the_earlier(corpus: Corpus) -> None:
    early = {"WARC-Date": "2023-01-01T00:00:00Z"}
    corpus.seed("a.warc.gz", Archive().add("http://a.test/p", PAGE, warc=early).data)
    corpus.run()
    assert _outcomes(corpus) == {"p": ("archived", None)}
    noai = {"Content-Type": "text/html", "X-Robots-Tag": "noai"}
    corpus.seed("b.warc.gz", Archive().add("http://a.test/p", PAGE, noai).data)
    corpus.run()
    assert _outcomes(corpus) == {"p": ("opted_out", "header X-Robots-Tag: noai")}
    assert corpus.store.batches.scan().collect()["body"].null_count() == 1
    corpus.seed("c.warc.gz", Archive().add("http://a.test/p", PAGE, warc=early).data)
    corpus.run()
    assert _outcomes(corpus) == {"p": ("opted_out", "header X-Robots-Tag: noai")}
