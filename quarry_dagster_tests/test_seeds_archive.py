"""Archives: what a record means, and that damage costs only what is damaged."""

from __future__ import annotations

import gzip
import io
import itertools
import random
import zipfile
import zlib
from datetime import UTC, datetime
from pathlib import Path

import pytest
from warcio.archiveiterator import ArchiveIterator
from warcio.exceptions import ArchiveLoadFailed
from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

from quarry_dagster.seeds import Problem, Seed, is_seed_name, read_seeds
from quarry_dagster.seeds.payload import decode

SAMPLES = Path(__file__).resolve().parents[2] / "shared" / "data" / "warc"
HTML = {"Content-Type": "text/html; charset=utf-8"}


class Archive:
    """A WARC file in the making."""

    def __init__(self, *, gz: bool = True) -> None:
        self.file = io.BytesIO()
        self.starts: list[int] = []
        self._writer = WARCWriter(self.file, gzip=gz)

    def add(
        self,
        url: str,
        body: bytes = b"<p>page</p>",
        headers: dict[str, str] | None = None,
        status: str = "200 OK",
        kind: str = "response",
        warc: dict[str, str] | None = None,
    ) -> Archive:
        self.starts.append(self.file.tell())
        http = StatusAndHeaders(status, list((HTML if headers is None else headers).items()), protocol="HTTP/1.1")
        plain = kind in ("resource", "conversion", "metadata")
        record = self._writer.create_warc_record(
            url,
            kind,
            payload=io.BytesIO(body),
            http_headers=None if plain else http,
            warc_content_type="text/plain" if plain else "",
            warc_headers_dict={"WARC-Date": "2024-05-06T07:08:09Z"} | (warc or {}),
        )
        self._writer.write_record(record)
        return self

    @property
    def data(self) -> bytes:
        return self.file.getvalue()


def read(data: bytes, name: str = "a.warc.gz", max_body: int = 100_000) -> list[Seed | Problem]:
    return list(read_seeds(io.BytesIO(data), name, max_body=max_body))


def only(archive: Archive, max_body: int = 100_000) -> Seed:
    (seed,) = read(archive.data, max_body=max_body)
    assert isinstance(seed, Seed)
    return seed


def pages(count: int, *, gz: bool) -> Archive:
    """Pages that hardly compress, so that a byte of the file belongs to one of them alone."""
    archive = Archive(gz=gz)
    for i in range(count):
        text = bytes(random.Random(i).choices(b"abcdefghijklmnop ", k=2000))
        archive.add(f"http://e.example/{i}", b"<p>" + text)
    return archive


def found(items: list[Seed | Problem]) -> list[str]:
    return [item.url.rpartition("/")[2] for item in items if isinstance(item, Seed)]


def test_a_page() -> None:
    seed = only(Archive().add("http://a.example/", headers=HTML | {"ETag": '"1"', "Last-Modified": "Mon"}))
    assert seed == Seed(
        "http://a.example/",
        1,
        outcome="archived",
        final_url="http://a.example/",
        status=200,
        fetched_at=datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC),
        content_type="text/html; charset=utf-8",
        etag='"1"',
        last_modified="Mon",
        body=b"<p>page</p>",
    )


def test_redirects_and_errors_are_rows_without_body() -> None:
    archive = Archive().add("http://a.example/", status="301 Moved", headers={"Location": "http://b.example/"})
    archive.add("http://c.example/", status="404 Not Found")
    redirect, missing = read(archive.data)
    assert isinstance(redirect, Seed) and isinstance(missing, Seed)
    assert (redirect.outcome, redirect.status, redirect.body) == ("http_error", 301, None)
    assert redirect.detail == "redirect to http://b.example/"
    assert (missing.outcome, missing.status, missing.body, missing.line) == ("http_error", 404, None, 2)


@pytest.mark.parametrize(
    ("content_type", "body"),
    [("image/png", b"x"), ("text/html", b"%PDF-1.7 x"), ("", b"\x89PNG\r\n\x1a\n"), ("text/css", b"a {}")],
)
def test_what_is_no_text_is_unsupported(content_type: str, body: bytes) -> None:
    seed = only(Archive().add("http://a.example/", body, {"Content-Type": content_type}))
    assert (seed.outcome, seed.body) == ("unsupported_type", None)


def test_bodies_over_the_limit_are_too_large_however_they_are_packed() -> None:
    plain = Archive().add("http://a.example/", b"<p>" + b"x" * 300_000)
    assert (only(plain, 1000).outcome, only(plain, 1000).body) == ("too_large", None)
    bomb = gzip.compress(b"<p>" + b"x" * 30_000_000)
    assert only(Archive().add("http://a.example/", bomb, HTML | {"Content-Encoding": "gzip"})).outcome == "too_large"


def test_resources_and_conversions_are_taken_as_they_are() -> None:
    archive = Archive().add("http://a.example/", b"text", kind="conversion")
    archive.add("http://b.example/", b"text", kind="resource")
    archive.add("http://b.example/", b"notes", kind="metadata").add("dns:b.example", b"1.2.3.4", kind="resource")
    first, second = read(archive.data)
    for seed in (first, second):
        assert isinstance(seed, Seed)
        assert (seed.outcome, seed.status, seed.content_type, seed.body) == ("archived", None, "text/plain", b"text")


def test_older_wget_writes_the_url_in_brackets() -> None:
    assert only(Archive().add("<http://a.example/>")).url == "http://a.example/"


def test_a_revisit_is_told_only_when_its_capture_is_not_here() -> None:
    archive = Archive().add("http://a.example/").add("http://A.example:80/", kind="revisit")
    archive.add("http://b.example/", kind="revisit")
    seed, problem = read(archive.data)
    assert isinstance(seed, Seed)
    assert isinstance(problem, Problem) and problem.line == 3 and problem.text == "http://b.example/"


def test_all_captures_of_a_url_are_given() -> None:
    assert len(read(Archive().add("http://a.example/").add("http://a.example/").data)) == 2


def test_a_capture_the_archiver_cut_says_so() -> None:
    seed = only(Archive().add("http://a.example/", warc={"WARC-Truncated": "length"}))
    assert seed.outcome == "archived" and seed.detail == "cut by the archiver: length"


def _chunked(body: bytes) -> bytes:
    return b"%x;ext=1\r\n%b\r\n4\r\nlast\r\n0\r\nTrailer: x\r\n\r\n" % (len(body), body)


def _raw_deflate(body: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(body) + packer.flush()


PAGE = b"<html>" + b"hello world " * 500


def _gzip(body: bytes) -> bytes:
    """The same bytes at any time: they are in the name of a test, which its workers must agree on."""
    return gzip.compress(body, mtime=0)


@pytest.mark.parametrize(
    ("payload", "transfer", "content", "body"),
    [
        (PAGE, "", "", PAGE),
        (_chunked(PAGE), "chunked", "", PAGE + b"last"),
        (PAGE, "chunked", "", PAGE),  # marked chunked, is not
        (_gzip(PAGE), "", "gzip", PAGE),
        (_chunked(_gzip(PAGE)), "Chunked", "x-gzip", PAGE),
        (PAGE, "", "gzip", PAGE),  # already decoded by the archiver
        (zlib.compress(PAGE), "", "deflate", PAGE),
        (_raw_deflate(PAGE), "", "deflate", PAGE),
        (_gzip(zlib.compress(PAGE)), "", "deflate, gzip", PAGE),
        (_gzip(PAGE) + b"junk", "", "gzip", PAGE),
        (PAGE, "", "br", PAGE),
        (b"5\r\nhello", "chunked", "", b"hello"),  # cut off
        (b"-5\r\nhello", "chunked", "", b"-5\r\nhello"),
    ],
)
def test_codings(payload: bytes, transfer: str, content: str, body: bytes) -> None:
    assert decode(payload, transfer, content, 100_000) == (body, None)


def test_brotli() -> None:
    from fastwarc.stream_io import BrotliWriter

    packed = io.BytesIO()
    with BrotliWriter(packed) as writer:
        writer.write(PAGE)
    assert decode(packed.getvalue(), "", "br", 100_000) == (PAGE, None)
    assert len(decode(packed.getvalue(), "", "br", 100)[0]) == 101


@pytest.mark.parametrize("gz", [True, False])
@pytest.mark.parametrize("damage", ["flip", "zero", "hole", "insert", "start"])
def test_damage_costs_only_its_record(gz: bool, damage: str) -> None:
    archive = pages(5, gz=gz)
    data, start, end = bytearray(archive.data), archive.starts[2], archive.starts[3]
    if damage == "flip":  # in a plain file no parser can see it inside the page, so it goes to the header
        data[start + (700 if gz else 2)] ^= 0xFF
    elif damage == "zero":
        data[start : start + 900] = bytes(900)
    elif damage == "hole":
        del data[start : start + 900]
    elif damage == "insert":
        data[start:start] = b"garbage\r\n" * 100
        end = start
    else:
        data[start] ^= 0xFF
    items = read(bytes(data), "a.warc.gz" if gz else "a.warc")
    assert found(items) == (["0", "1", "3", "4"] if end != start else ["0", "1", "2", "3", "4"])
    (problem,) = (item for item in items if isinstance(item, Problem))
    assert problem.line == 3 and "byte" in problem.reason


@pytest.mark.parametrize("gz", [True, False])
@pytest.mark.parametrize("cut", [3, 40, 150, 400, 900])
def test_a_file_cut_anywhere_gives_what_is_whole_and_says_so(gz: bool, cut: int) -> None:
    archive = pages(4, gz=gz)
    items = read(archive.data[: archive.starts[3] + cut], "a.warc.gz" if gz else "a.warc")
    assert found(items) == ["0", "1", "2"]
    (problem,) = (item for item in items if isinstance(item, Problem))
    assert problem.line == 4


@pytest.mark.parametrize("gz", [True, False])
def test_a_length_that_swallows_the_next_records_costs_only_its_own(gz: bool) -> None:
    archive = pages(6, gz=False)
    starts = [*archive.starts, len(archive.data)]
    records = [archive.data[a:b] for a, b in itertools.pairwise(starts)]
    length = records[1].partition(b"Content-Length: ")[2].partition(b"\r\n")[0]
    records[1] = records[1].replace(b"Content-Length: " + length, b"Content-Length: %d" % (int(length) + 3000), 1)
    data = b"".join(gzip.compress(r) if gz else r for r in records)
    items = read(data, "a.warc.gz" if gz else "a.warc")
    assert found(items) == ["0", "2", "3", "4", "5"]
    (problem,) = (item for item in items if isinstance(item, Problem))
    assert problem.line == 2 and "Content-Length" in problem.reason


@pytest.mark.parametrize("gz", [True, False])
def test_no_damage_raises(gz: bool) -> None:
    good = pages(3, gz=gz).data
    for i in range(60):
        rng = random.Random(i)
        data = bytearray(good)
        for _ in range(rng.randrange(1, 6)):
            at = rng.randrange(len(data))
            data[at : at + rng.randrange(30)] = rng.randbytes(rng.randrange(30))
        read(bytes(data), "a.warc.gz" if gz else "a.warc")


def test_one_gzip_around_the_whole_file() -> None:
    assert found(read(gzip.compress(pages(3, gz=False).data))) == ["0", "1", "2"]


def test_wacz_counts_its_records_through() -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as wacz:
        wacz.writestr("datapackage.json", "{}")
        wacz.writestr("archive/a.warc.gz", pages(2, gz=True).data)
        wacz.writestr("archive/b.warc", pages(2, gz=False).data[:-1000])
    items = read(file.getvalue(), "a.wacz")
    assert [(i.line, isinstance(i, Seed)) for i in items] == [(1, True), (2, True), (3, True), (4, False)]
    assert isinstance(items[-1], Problem) and items[-1].reason.startswith("archive/b.warc: ")
    (problem,) = read(file.getvalue()[:-100], "a.wacz")
    assert isinstance(problem, Problem) and "not a WACZ" in problem.reason


def test_wacz_bomb_is_refused() -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as wacz:
        wacz.writestr("archive/a.warc", bytes(150 << 20))
    (problem,) = read(file.getvalue(), "a.wacz")
    assert isinstance(problem, Problem) and "unpacks to" in problem.reason


def test_arc() -> None:
    page = b"HTTP/1.0 200 OK\r\nContent-Type: text/html\r\n\r\n<p>page</p>"
    version = b"1 0 Test\nURL IP-address Archive-date Content-type Archive-length\n"
    data = b"filedesc://a.arc 0.0.0.0 20140301000000 text/plain %d\n%b\n" % (len(version), version)
    data += b"http://a.example/ 1.2.3.4 20140102030405 text/html %d\n%b\n" % (len(page), page)
    seed, *_ = [item for item in read(data, "a.arc") if isinstance(item, Seed)]
    assert (seed.url, seed.body) == ("http://a.example/", b"<p>page</p>")
    assert seed.fetched_at == datetime(2014, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="needs the shared samples")
def test_real_archives_give_every_response_that_warcio_sees() -> None:
    compared = 0
    for path in sorted(SAMPLES.rglob("*")):
        if not path.is_file() or not is_seed_name(path.name):
            continue
        items = read(path.read_bytes(), path.name, max_body=8 << 20)
        assert items, path
        if path.suffix == ".wacz":
            continue
        expected = 0
        try:
            with path.open("rb") as file:
                for record in ArchiveIterator(file, arc2warc=True, no_record_parse=True):
                    expected += record.rec_type == "response"
        except ArchiveLoadFailed:
            continue
        responses = [i for i in items if isinstance(i, Problem) or i.status is not None]
        assert len(responses) >= expected, path
        compared += 1
    assert compared > 20
