"""A takedown is complete: nothing is left of what is forgotten, whoever is killed, and what stays is named."""

import gzip
import io
import json
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from quarry_dagster_tests.corpus import Corpus, Quarry, words
from quarry_dagster_tests.site import Site, html

MARKS = {
    "text": "zanzibarquokka",
    "title": "titlewombat",
    "author": "authornumbat",
    "given text": "givenbilby",
    "own column": "ownbandicoot",
    "a text that is too short": "shortpotoroo",
    "a bad line": "badlinebettong",
}
"""Words that stand in forgotten documents alone, by where they stand."""


def _page(title: str, author: str, text: str) -> bytes:
    return html(title, text).replace(b"<head>", f"<head><meta name='author' content='{author}'>".encode())


@pytest.fixture
def full(quarry: Quarry, tmp_path: Path, site: Site) -> Corpus:
    """A corpus with every kind of file, which `quarry run` made in three publishes, one of them tagged."""
    settings = tmp_path / "quick.yaml"
    settings.write_text(settings.read_text() + "\n")
    text = settings.read_text()
    assert "write_warc: false" in text
    settings.write_text(text.replace("write_warc: false", "write_warc: true"))
    site.pages = {f"/{i}": html(f"Page {i}", words(i)) for i in range(6)}
    site.pages["/secret"] = _page(
        f"The {MARKS['title']}", f"Ann {MARKS['author']}", f"{words(90)}\n\n{MARKS['text']} {words(91)}"
    )
    site.pages["/short"] = html("Short", MARKS["a text that is too short"])
    bad = f"http://given.test/{MARKS['a bad line']} dicsover=links:1\n"
    (tmp_path / "a.txt").write_text("".join(site.url(path) + "\n" for path in site.pages) + bad)
    row = {"url": "http://given.test/1", "text": f"{words(92)} {MARKS['given text']}", "note": MARKS["own column"]}
    (tmp_path / "b.jsonl").write_text(json.dumps(row) + "\n")
    assert quarry("run", tmp_path / "a.txt", tmp_path / "b.jsonl")[0] == 0
    assert quarry("tag", "first")[0] == 0
    site.pages["/secret"] = site.pages["/secret"].replace(b"zanzibarquokka", b"zanzibarquokka zanzibarquokka")
    for i in range(2):
        (tmp_path / f"more{i}.jsonl").write_text(json.dumps({"url": f"http://b.test/{i}", "text": words(200 + i)}))
        assert quarry("run", "--refetch", tmp_path / f"more{i}.jsonl")[0] == 0
    return Corpus(tmp_path / "data", Corpus(tmp_path / "data", _profile()).profile)


def _profile():
    from quarry_dagster_tests.corpus import profile

    return profile()


def _contents(path: Path) -> Iterator[bytes]:
    """What a file holds: its bytes, and what is packed in them."""
    content = path.read_bytes()
    yield content
    if path.suffix == ".parquet":
        for column in pq.ParquetFile(io.BytesIO(content)).read().columns:
            yield repr(column.to_pylist()).encode()
        yield repr(pq.read_metadata(io.BytesIO(content)).to_dict()).encode()
    elif path.suffix == ".gz":
        yield gzip.decompress(content)
    elif content[:4] == b"\x28\xb5\x2f\xfd":
        yield pa.CompressedInputStream(pa.BufferReader(content), "zstd").read()


def _found(root: Path, marks: list[str]) -> dict[str, list[str]]:
    """The files below a data root that hold one of these words, by word; files of the inbox are their user's."""
    found: dict[str, list[str]] = {}
    for path in sorted(root.rglob("*")):
        if path.is_file() and path.relative_to(root).parts[0] != "seeds":
            whole = b"\n".join(_contents(path))
            for mark in marks:
                if mark.encode() in whole:
                    found.setdefault(mark, []).append(str(path.relative_to(root)))
    return found


def test_no_byte_is_left_of_what_is_forgotten(full: Corpus, quarry: Quarry, site: Site) -> None:
    before = _found(full.root, [*MARKS.values()])
    assert before.keys() == {*MARKS.values()}, "each stands somewhere, or the test proves nothing"
    for named in (site.url("/secret"), site.url("/short"), "given.test"):
        status, out, err = quarry("forget", named)
        assert status == 0, err
    assert "b.jsonl, line 1" in out, "the user's own file is named"
    assert _found(full.root, [*MARKS.values()]) == {}
    rows = full.read("raw_pages").filter(pl.col("outcome") == "opted_out")
    assert {*rows["url"]} == {site.url("/secret"), site.url("/short"), "http://given.test/1"}
    assert quarry("run")[0] == 0
    assert _found(full.root, [*MARKS.values()]) == {}
