"""A reading that was stopped goes on where it was, in another process, and yields what one reading would have."""

import io
import json
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from quarry_dagster.seeds import Place, Problem, Seed, read_seeds
from quarry_dagster_tests.test_seeds_archive import pages

_URLS = [f"http://a.test/{i}" for i in range(9)]


def _parquet() -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table({"url": _URLS, "text": ["x"] * 9}), file, row_group_size=4)
    return file.getvalue()


def _wacz(archive: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as wacz:
        wacz.writestr("archive/data.warc.gz", archive)
    return file.getvalue()


_LINES = "\n# comment\n".join([*_URLS[:4], "http://a.test/b http://a.test/c", *_URLS[4:]])
_CSV = (
    "other,url,text\n"
    + "".join(f'1,{u},"two\nlines"\n' for u in _URLS)
    + '"open,http://a.test/x\n1,http://a.test/y,z\n'
)
_JSONL = "".join(f'{{"url": "{u}", "text": "é", "fetched_at": "?", "key{i}": 1}}\n{{\n' for i, u in enumerate(_URLS))
_FILES = {
    "a.txt": _LINES.encode(),
    "utf16.txt": _LINES.encode("utf-16"),
    "a.csv": _CSV.encode(),
    "a.jsonl": _JSONL.encode(),
    "a.parquet": _parquet(),
    "a.warc": pages(9, gz=False).data,
    "a.warc.gz": pages(9, gz=True).data,
    "a.wacz": _wacz(pages(9, gz=True).data),
    "a.xml": f"<urlset>{''.join(f'<url><loc>{u}</loc></url>' for u in _URLS)}</urlset>".encode(),
}


def _stopped(data: bytes, name: str, every: int, fetch: Callable[[str], bytes] | None = None) -> list[Seed | Problem]:
    """All items, by readings that stop after so many of them, where the place has just moved."""
    items: list[Seed | Problem] = []
    place = Place()
    for _ in range(100):
        before = asdict(place)
        for count, item in enumerate(read_seeds(io.BytesIO(data), name, max_body=1000, fetch=fetch, place=place), 1):
            items.append(item)
            if count >= every and asdict(place) != before:
                break
            before = asdict(place)
        else:
            return items
        place = Place(**json.loads(json.dumps(asdict(place))))
    raise AssertionError("it does not get on")


@pytest.mark.parametrize("every", [1, 2, 7])
@pytest.mark.parametrize("name", _FILES)
def test_a_stopped_reading_goes_on(name: str, every: int) -> None:
    whole = list(read_seeds(io.BytesIO(_FILES[name]), name, max_body=1000))
    assert len(whole) >= 9
    # What concerns the whole file, and an archive's last record, may come again.
    assert list(dict.fromkeys(_stopped(_FILES[name], name, every))) == whole


def test_a_sitemap_that_was_read_to_its_end_is_not_downloaded_again() -> None:
    def sitemap(tag: str, locations: Iterable[str]) -> bytes:
        entry = {"urlset": "url", "sitemapindex": "sitemap"}[tag]
        return f"<{tag}>{''.join(f'<{entry}><loc>{u}</loc></{entry}>' for u in locations)}</{tag}>".encode()

    children = [f"http://a.test/sitemap{i}.xml" for i in range(5)]
    web = {u: sitemap("urlset", [f"{u}/{i}" for i in range(4)]) for u in children}
    web["http://a.test/sitemap.xml"] = sitemap("sitemapindex", children)
    for name, data in {
        "a.txt": b"http://a.test/1\nhttp://a.test/sitemap.xml\nhttp://a.test/2",
        "a.xml": sitemap("sitemapindex", children),
    }.items():
        asked: Counter[str] = Counter()

        def fetch(url: str, asked: Counter[str] = asked) -> bytes:
            asked[url] += 1
            return web[url]

        whole = list(read_seeds(io.BytesIO(data), name, max_body=1000, fetch=web.__getitem__))
        assert len(whole) >= 20
        assert set(_stopped(data, name, 6, fetch)) == set(whole)
        # A reading that stops inside a sitemap begins that one again.
        assert all(asked[u] <= 2 for u in children), asked
