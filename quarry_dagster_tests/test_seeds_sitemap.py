"""Sitemaps: any namespace, indexes through `fetch`, and hostile XML that does no harm."""

from __future__ import annotations

import gzip
import io
import tracemalloc
from collections.abc import Callable

from quarry_dagster.errors import QuarryError
from quarry_dagster.seeds import Problem, Seed, read_seeds

NS = 'xmlns="http://www.sitemaps.org/schemas/sitemap/0.9"'


def urlset(*locs: str) -> bytes:
    return f"<urlset {NS}>{''.join(f'<url><loc>{loc}</loc></url>' for loc in locs)}</urlset>".encode()


def index(*locs: str) -> bytes:
    entries = "".join(f"<sitemap><loc>{loc}</loc></sitemap>" for loc in locs)
    return f"<sitemapindex {NS}>{entries}</sitemapindex>".encode()


def read(data: bytes, name: str = "s.xml", fetch: Callable[[str], bytes] | None = None) -> list[Seed | Problem]:
    return list(read_seeds(io.BytesIO(data), name, max_body=1000, fetch=fetch))


def urls(items: list[Seed | Problem]) -> list[tuple[int, str]]:
    return [(item.line, item.url) for item in items if isinstance(item, Seed)]


def test_entries_images_and_namespaces() -> None:
    data = b"""<?xml version="1.0"?><!-- c --><s:urlset xmlns:s="http://www.google.com/schemas/sitemap/0.84"
      xmlns:image="http://www.google.com/schemas/sitemap-image/1.1">
      <s:url><image:image><image:loc>http://a.example/i.png</image:loc></image:image>
        <s:loc> http://a.example/?a=1&amp;b=2 </s:loc></s:url>
      <s:url><s:lastmod>2024-01-01</s:lastmod></s:url>
      <s:url><s:loc><![CDATA[http://b.example/]]></s:loc></s:url></s:urlset>"""
    items = read(data)
    assert urls(items) == [(1, "http://a.example/?a=1&b=2"), (3, "http://b.example/")]
    assert isinstance(items[1], Problem) and items[1].line == 2


def test_gzipped_sitemap_file() -> None:
    assert urls(read(gzip.compress(urlset("http://a.example/")), "s.xml.gz")) == [(1, "http://a.example/")]


def test_a_feed_is_no_sitemap() -> None:
    (problem,) = read(b"<rss><channel><item><link>http://a.example/</link></item></channel></rss>")
    assert isinstance(problem, Problem) and "<rss> is no sitemap" in problem.reason


def test_a_damaged_sitemap_gives_what_is_before_the_damage() -> None:
    items = read(urlset("http://a.example/", "http://b.example/")[:-25])
    assert urls(items)[:1] == [(1, "http://a.example/")]
    assert isinstance(items[-1], Problem) and "damaged after" in items[-1].reason


def test_index_in_a_list_of_urls_is_followed_once_each() -> None:
    site = {
        "https://a.example/sitemap.xml": index(
            "https://a.example/sitemap-1.xml.gz", "https://a.example/sitemap.xml", "https://a.example/gone"
        ),
        "https://a.example/sitemap-1.xml.gz": gzip.compress(urlset("https://a.example/1", "nonsense")),
    }

    def fetch(url: str) -> bytes:
        if url not in site:
            raise QuarryError("HTTP 404")
        return site[url]

    items = read(b"https://a.example/0\nhttps://a.example/sitemap.xml\nhttps://a.example/2\n", "a.txt", fetch)
    assert urls(items) == [
        (1, "https://a.example/0"),
        (2, "https://a.example/1"),
        (2, "nonsense"),
        (3, "https://a.example/2"),
    ]
    assert [i.outcome for i in items if isinstance(i, Seed)] == [None, None, "invalid_url", None]
    assert [(p.line, p.text) for p in items if isinstance(p, Problem)] == [(2, "https://a.example/gone")]


def test_without_fetch_a_sitemap_is_a_problem() -> None:
    (problem,) = read(b"https://a.example/post-sitemap.xml\n", "a.txt")
    assert isinstance(problem, Problem) and problem.line == 1 and "sitemap" in problem.reason


def test_indexes_without_end_are_cut() -> None:
    asked: list[str] = []

    def fetch(url: str) -> bytes:
        asked.append(url)
        return index(f"{url}x")

    (problem,) = read(index("http://a.example/"), fetch=fetch)
    assert isinstance(problem, Problem) and "nested deeper" in problem.reason
    assert len(asked) == 3


def test_gzip_bomb_from_the_network_is_cut() -> None:
    bomb = gzip.compress(urlset("http://a.example/")[:-9] + (b"<!--" + b" " * (6 << 20) + b"-->") * 10)
    items = read(index("http://a.example/s"), fetch=lambda url: bomb)
    assert isinstance(items[-1], Problem) and "50 MiB" in items[-1].reason


def test_entities_neither_explode_nor_read_files(tmp_path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("http://secret.example/")
    laughs = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10}">' for i in range(1, 12))
    head = f'<!DOCTYPE x [<!ENTITY l0 "lol">{laughs}<!ENTITY f SYSTEM "{secret.as_uri()}">]>'.encode()
    items = read(head + urlset("&l11;", "&f;", "http://a.example/"))
    assert all("secret" not in url for _, url in urls(items))
    assert len(items) <= 3


def test_memory_does_not_grow_with_the_sitemap() -> None:
    data = urlset(*(f"http://a.example/{i}" for i in range(60_000)))
    file = io.BytesIO(data)
    tracemalloc.start()
    count = sum(1 for _ in read_seeds(file, "s.xml", max_body=1000))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 60_000
    assert peak < 2 << 20
