"""What a library takes for the end of an archive is not: what is behind damage is read, what was lost is named."""

from __future__ import annotations

import gzip
import io
import sys
from collections.abc import Callable, Sequence
from importlib import import_module

import pytest

from quarry_dagster.seeds import Place, Problem, Seed, read_seeds

zstd = import_module("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")
PAGE = "<html><body><p>Page {} of the archive.</p></body></html>"


def record(
    number: int,
    *,
    line: str = "\r\n",
    length: str = "Content-Length",
    off_by: int = 0,
    version: str = "WARC/1.0",
    names: Callable[[str], str] = str,
    extra: Sequence[str] = (),
    body: str = "",
) -> bytes:
    """A record whose length says so many bytes more than there are."""
    block = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n{body or PAGE.format(number)}".encode()
    headers = {
        "WARC-Type": "response",
        "WARC-Target-URI": f"http://a.test/{number}",
        "WARC-Date": "2024-05-06T07:08:09Z",
        length: str(len(block) + off_by),
    }
    head = [version, *(f"{names(name)}: {value}" for name, value in headers.items()), *extra]
    return line.join([*head, "", ""]).encode() + block + line.encode() * 2


def gz(*parts: bytes) -> bytes:
    return b"".join(gzip.compress(part, mtime=0) for part in parts)


def zst(*parts: bytes) -> bytes:
    return b"".join(zstd.compress(part) for part in parts)


R = [record(n) for n in range(1, 9)]
LENGTH = len(gz(R[0]))


def read(data: bytes, name: str) -> tuple[list[str], list[str]]:
    """The last part of each URL that was read, and the reasons of the problems."""
    items = list(read_seeds(io.BytesIO(data), name, max_body=100_000))
    seeds = [item for item in items if isinstance(item, Seed)]
    for seed in seeds:
        assert (seed.outcome, seed.status) == ("archived", 200), seed
    return [s.url.rpartition("/")[2] for s in seeds], [p.reason for p in items if isinstance(p, Problem)]


@pytest.mark.parametrize(
    ("name", "data"),
    {
        "empty member between": ("a.warc.gz", gz(R[0], b"", R[1], R[2])),
        "empty member first": ("a.warc.gz", gz(b"", R[0], R[1], R[2])),
        "empty members last": ("a.warc.gz", gz(R[0], R[1], R[2], b"", b"")),
        "a member of line ends": ("a.warc.gz", gz(R[0], b"\r\n\r\n", R[1], R[2])),
        "padding between members": ("a.warc.gz", gz(R[0]) + bytes(1000) + gz(R[1], R[2])),
        "padding of a megabyte": ("a.warc.gz", gz(R[0]) + bytes(1 << 20) + gz(R[1], R[2])),
        "padding first and last": ("a.warc.gz", gz(R[0], R[1], R[2]) + bytes(512)),
        "line end behind the file": ("a.warc.gz", gz(R[0], R[1], R[2]) + b"\n"),
        "one member for all": ("a.warc.gz", gz(R[0] + R[1] + R[2])),
        "members that part records": ("a.warc.gz", gz(R[0][:100], R[0][100:] + R[1][:40], R[1][40:] + R[2])),
        "the last member without its sum": ("a.warc.gz", gz(R[0], R[1], R[2])[:-6]),
        "gzip under the plain suffix": ("a.warc", gz(R[0], R[1], R[2])),
        "plain under the suffix of gzip": ("a.warc.gz", b"".join(R[:3])),
        "no lines between records": ("a.warc", b"".join(r.rstrip() for r in R[:3])),
        "many lines between records": ("a.warc", (b"\r\n" * 9).join(R[:3])),
        "NULs between records": ("a.warc", R[0] + bytes(600) + R[1] + R[2] + bytes(99)),
        "line feeds alone": ("a.warc", b"".join(record(n, line="\n") for n in (1, 2, 3))),
        "lower-case names": ("a.warc", b"".join(record(n, names=str.lower) for n in (1, 2, 3))),
        "upper-case names": ("a.warc.gz", gz(*(record(n, names=str.upper) for n in (1, 2, 3)))),
        "the length alone in lower case": ("a.warc", R[0] + record(2, length="content-length") + R[2]),
        "lower-case version": ("a.warc", b"".join(record(n, version="warc/1.1") for n in (1, 2, 3))),
        "blanks around the colon": ("a.warc", b"".join(record(n, length="Content-Length ") for n in (1, 2, 3))),
        "a header over two lines": ("a.warc", b"".join(record(n, extra=["X: a", " b: c"]) for n in (1, 2, 3))),
        "a header that is none": ("a.warc", b"".join(record(n, extra=["nonsense"]) for n in (1, 2, 3))),
        "a page that quotes a record": ("a.warc", R[0] + record(2, body=R[5].decode()) + R[2]),
        "zstd": ("a.warc.zst", zst(R[0], R[1], R[2])),
        "zstd, one frame": ("a.warc.zst", zst(R[0] + R[1] + R[2])),
        "zstd, an empty frame and a skippable one": (
            "a.warc.zst",
            zst(R[0], b"", R[1]) + b"\x52\x2a\x4d\x18\3\0\0\0abc" + zst(R[2]),
        ),
    }.values(),
)
def test_where_nothing_is_lost_nothing_is_said(name: str, data: bytes) -> None:
    assert read(data, name) == (["1", "2", "3"], [])


def _flip(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]


PLAIN = len(R[0])


@pytest.mark.parametrize(
    ("name", "data", "urls", "reasons"),
    {
        "a length ten bytes short": (
            "a.warc",
            record(1, off_by=-10) + R[1] + R[2],
            "123",
            [f"bytes {PLAIN - 14} to {PLAIN - 4} belong to no record, and are lost; download it again"],
        ),
        "the same, packed": (
            "a.warc.gz",
            gz(record(1, off_by=-10), R[1], R[2]),
            "123",
            ["from the member at byte 0 on, 10 unpacked bytes belong to no record, and are lost; download it again"],
        ),
        "a length ten bytes long": (
            "a.warc",
            R[0] + record(2, off_by=10) + R[2],
            "13",
            [f"its Content-Length is wrong (at byte {PLAIN}); archive the page again"],
        ),
        "a length that swallows the rest": (
            "a.warc.gz",
            gz(R[0], record(2, off_by=99_999), R[2]),
            "13",
            [f"its Content-Length is wrong (at byte {LENGTH}); archive the page again"],
        ),
        "no length": (
            "a.warc",
            R[0] + record(2, length="Content-Size") + R[2],
            "13",
            [
                f"no Content-Length in the record at byte {PLAIN}; it is passed over, archive the page again",
            ],
        ),
        "one bad byte in a header": (
            "a.warc",
            R[0] + b"XARC" + R[1][4:] + R[2],
            "13",
            [f"bytes {PLAIN} to {2 * PLAIN - 4} belong to no record, and are lost; download it again"],
        ),
        "a note between records": (
            "a.warc",
            R[0] + b"note to self\n" + R[1],
            "12",
            [f"bytes {PLAIN} to {PLAIN + 12} belong to no record, and are lost; download it again"],
        ),
        "a note before the first": (
            "a.warc",
            b"note to self\n" + R[0] + R[1],
            "12",
            ["bytes 0 to 12 belong to no record, and are lost; download it again"],
        ),
        "a note between members": (
            "a.warc.gz",
            gz(R[0]) + b"note to self" + gz(R[1]),
            "12",
            [
                f"from byte {LENGTH} to byte {LENGTH + 12} there is no gzip member; what is there is lost; "
                "download it again"
            ],
        ),
        "a note behind the last": (
            "a.warc.gz",
            gz(R[0], R[1]) + b"note to self",
            "12",
            [
                f"from byte {2 * LENGTH} to the end of the file there is no gzip member; what is there is lost; "
                "download it again"
            ],
        ),
        "a sum that is wrong": (
            "a.warc.gz",
            gz(R[0]) + _flip(gz(R[1]), len(gz(R[1])) - 7) + gz(R[2]),
            "13",
            [
                f"damaged from byte {LENGTH} (Error -3 while decompressing data: incorrect data check) to byte "
                f"{2 * LENGTH}; the records in it are lost; download it again"
            ],
        ),
        "the first bytes of all": (
            "a.warc.gz",
            b"\0\0" + gz(R[0])[2:] + gz(R[1]),
            "2",
            [f"from byte 2 to byte {LENGTH} there is no gzip member; what is there is lost; download it again"],
        ),
        "cut in a record": (
            "a.warc",
            R[0] + R[1][:-50],
            "1",
            [
                f"damaged at byte {PLAIN}: {PLAIN - len(R[1].partition(b'HTTP')[0]) - 50} of "
                f"{PLAIN - len(R[1].partition(b'HTTP')[0]) - 4} bytes are there; the file may be cut off, "
                "download it again"
            ],
        ),
        "cut in a member": (
            "a.warc.gz",
            gz(R[0], R[1])[: LENGTH + 12],
            "1",
            ["the file ends inside this record; download it again"],
        ),
        "a damaged frame": (
            "a.warc.zst",
            zst(R[0]) + _flip(zst(R[1]), 6)[:-9] + zst(R[2]),
            "13",
            None,
        ),
    }.values(),
)
def test_what_is_lost_is_named_once_and_what_follows_is_read(
    name: str, data: bytes, urls: str, reasons: list[str] | None
) -> None:
    found, told = read(data, name)
    assert found == list(urls)
    if reasons is None:
        assert len(told) == 1 and "byte" in told[0]
    else:
        assert told == reasons


def test_damage_inside_one_member_for_all_costs_what_follows_it_and_not_what_came_before() -> None:
    records = [record(n, body=" ".join(f"{n * i:x}" for i in range(1, 3000))) for n in range(1, 9)]
    data = gz(b"".join(records))
    at = len(data) // 2
    found, told = read(data[:at] + b"\xff" * 64 + data[at + 64 :], "a.warc.gz")
    assert found in (["1", "2", "3"], ["1", "2", "3", "4"])
    assert len(told) <= 2 and told[-1].endswith("to the end of the file; the records in it are lost; download it again")
    begin = int(told[-1].removeprefix("damaged from byte ").partition(" ")[0])
    assert at - 1000 < begin <= len(data)


def test_many_damaged_places_are_told_and_then_given_up() -> None:
    found, told = read(b"".join(record(n) + b"junk\n" for n in range(1100)), "a.warc")
    assert len(found) == 1001 and len(told) == 1001
    assert told[-1].startswith("more than 1000 damaged places, given up at byte ")


@pytest.mark.parametrize("packed_dictionary", [False, True])
def test_zstd_with_a_dictionary_is_read_from_any_place(packed_dictionary: bool) -> None:
    samples = [record(n, body=PAGE.format(n) * 3) for n in range(200)]
    dictionary = zstd.train_dict(samples, 4096)
    content = zstd.compress(dictionary.dict_content) if packed_dictionary else dictionary.dict_content
    data = b"\x5d\x2a\x4d\x18" + len(content).to_bytes(4, "little") + content
    data += b"".join(zstd.compress(sample, zstd_dict=dictionary) for sample in samples[:3])
    assert read(data, "a.warc.zst") == (["0", "1", "2"], [])
    place = Place()
    first = next(iter(read_seeds(io.BytesIO(data), "a.warc.zst", max_body=100_000, place=place)))
    rest = list(read_seeds(io.BytesIO(data), "a.warc.zst", max_body=100_000, place=place))
    assert isinstance(first, Seed) and place.at > 0
    assert [(s.url, s.line) for s in (first, *rest) if isinstance(s, Seed)] == [
        (f"http://a.test/{n}", n + 1) for n in range(3)
    ]


def test_zstd_whose_dictionary_is_damaged_says_so() -> None:
    samples = [record(n, body=PAGE.format(n) * 3) for n in range(200)]
    dictionary = zstd.train_dict(samples, 4096)
    data = b"\x5d\x2a\x4d\x18\4\0\0\0\x28\xb5\x2f\xfd"
    data += b"".join(zstd.compress(sample, zstd_dict=dictionary) for sample in samples[:3])
    found, told = read(data, "a.warc.zst")
    assert found == [] and len(told) == 1 and told[0].startswith("damaged from byte 12 (")


@pytest.mark.parametrize("pack", [lambda *parts: b"".join(parts), gz, zst], ids=["plain", "gzip", "zstd"])
def test_reading_goes_on_behind_each_record(pack: Callable[..., bytes]) -> None:
    data = pack(*R[:4])
    for stop in range(1, 4):
        place, first = Place(), []
        for item in read_seeds(io.BytesIO(data), "a.warc", max_body=100_000, place=place):
            first.append(item)
            if len(first) == stop:
                break
        rest = list(read_seeds(io.BytesIO(data), "a.warc", max_body=100_000, place=place))
        items = [item for item in first + rest if isinstance(item, Seed)]
        assert [(item.url[-1], item.line) for item in items] == [("1", 1), ("2", 2), ("3", 3), ("4", 4)]
