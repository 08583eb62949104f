"""Damage in a sitemap costs the entry that it is in: the others are taken, and what was lost is said once."""

from __future__ import annotations

import gzip
import io

import pytest

from quarry_dagster.seeds import Place, Problem, Seed, read_seeds

HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">\n'
END = "</urlset>"


def entry(name: object) -> str:
    return f"<url><loc>http://a.test/{name}</loc></url>\n"


GOOD = entry(1) + "{}" + entry(3) + entry(4)


def read(data: bytes, name: str = "s.xml") -> tuple[list[str], list[tuple[int | None, str]]]:
    items = list(read_seeds(io.BytesIO(data), name, max_body=1000))
    urls = [item.url.removeprefix("http://a.test/") for item in items if isinstance(item, Seed)]
    return urls, [(item.line, item.reason) for item in items if isinstance(item, Problem)]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (entry("?a=1&b=2"), "a bare &; write &amp;"),
        (entry("?a=1&b;c"), "Entity 'b' not defined; write it again"),
        (entry("caf&eacute;"), "Entity 'eacute' not defined; write it again"),
        (entry("caf\xe9"), "not UTF-8, as the sitemap says; write it in that encoding"),
        (entry("c\x0bd"), "PCDATA invalid Char value 11; write it again"),
        (entry("c\x00d"), "Invalid character: Char 0x0 out of allowed range; write it again"),
        (entry("a<b"), None),
        ("<url><loc>http://a.test/2</url>", None),
        ("<url><loc>http://a.test/2</loc>", None),
        ("<url><loc>http://a.test/2<loc></url>", None),
        ("<url><loc>http://a.test/2</loc><image:image></url>", None),
        ("<url id=2><loc>http://a.test/2</loc></url>", None),
        ("<url><![CDATA[<loc>http://a.test/2</loc></url>", None),
        ("<url><loc></loc></url>", "no <loc>"),
        ("<url/>", "no <loc>"),
        ("<url><image:loc>http://a.test/i</image:loc><lastmod>2020-01-01</lastmod></url>", None),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_one_bad_entry_is_told_and_the_others_are_taken(bad: str, reason: str | None, packed: bool) -> None:
    data = (HEAD + GOOD.format(bad) + END).encode("latin-1")
    urls, told = read(gzip.compress(data) if packed else data, "s.xml.gz" if packed else "s.xml")
    if bad.startswith("<url><image:loc>"):  # a name is a name, whatever its namespace
        assert (urls, told) == (["1", "i", "3", "4"], [])
        return
    assert urls == ["1", "3", "4"]
    ((line, said),) = told
    assert line == 2
    if reason == "no <loc>":
        assert said == "entry 2 has no <loc>; add it"
    elif reason:
        assert said == f"entry 2 cannot be read: {reason}"
    else:
        assert said.startswith("entry 2 cannot be read: ") and said.endswith("; write it again")


WHOLE = entry(1) + entry(2) + entry(3)


@pytest.mark.parametrize(
    "data",
    [
        (HEAD + WHOLE + END).encode(),
        ("\n " + HEAD + WHOLE + END).encode(),
        ("\ufeff" + HEAD + WHOLE + END).encode(),
        ("<br />\n<b>Warning</b>: no cache\n" + HEAD + WHOLE + END).encode(),
        (HEAD + WHOLE + END + "\n<!-- made in 3 ms -->\n").encode(),
        (HEAD + WHOLE + END + "trailing words").encode(),
        (HEAD + entry(1) + END + HEAD + entry(2) + entry(3) + END).encode(),
        (HEAD + "<!-- " + entry("no") + " & -->" + WHOLE + END).encode(),
        (HEAD.replace("UTF-8", "utf-16") + WHOLE + END).encode("utf-16"),
        (HEAD.replace("UTF-8", "UTF-16") + WHOLE + END).encode("utf-16-le"),
        (HEAD.replace("UTF-8", "no-such") + WHOLE + END).encode(),
        (HEAD.replace("urlset ", "s:urlset xmlns:s='x' ") + WHOLE.replace("url>", "s:url>") + "</s:urlset>").encode(),
        (HEAD + WHOLE.replace("<loc>", "<xhtml:link rel='x' href='y'/><loc>") + END).encode(),
        ("<!DOCTYPE urlset [<!ENTITY x '>'>]>" + HEAD.partition("\n")[2] + WHOLE + END).encode(),
        (HEAD + WHOLE.replace("</loc>", "</loc >").replace("</url>", "</url\n>") + END).encode(),
    ],
)
def test_where_nothing_is_lost_nothing_is_said(data: bytes) -> None:
    assert read(data) == (["1", "2", "3"], [])


def test_a_declared_encoding_is_read() -> None:
    data = (HEAD.replace("UTF-8", "ISO-8859-1") + entry("caf\xe9") + END).encode("latin-1")
    assert read(data) == (["caf\xe9"], [])


@pytest.mark.parametrize(
    ("data", "urls", "reason"),
    [
        (HEAD + entry(1) + entry(2)[:-9], ["1"], "damaged after 1 entries: cut off; what comes after is lost"),
        (HEAD + entry(1) + entry(2), ["1", "2"], "damaged after 2 entries: cut off; what comes after is lost"),
        (HEAD + entry(1) + "<!-- never ends", ["1"], "damaged after 1 entries: cut off; what comes after is lost"),
        (HEAD, [], "damaged after 0 entries: cut off; what comes after is lost"),
        ("no xml", [], "damaged after 0 entries: no XML in it; download it again"),
        ("<html><body>Not found</body></html>", [], "<html> is no sitemap; needed is <urlset> or <sitemapindex>"),
    ],
)
def test_an_end_that_is_missing_is_told(data: str, urls: list[str], reason: str) -> None:
    assert read(data.encode()) == (urls, [(told := read(data.encode())[1][0][0], reason)]), told


@pytest.mark.parametrize("cut", [0.3, 0.6, 0.95])
def test_a_packed_sitemap_that_is_cut_gives_what_can_be_unpacked(cut: float) -> None:
    packed = gzip.compress((HEAD + "".join(entry(f"{n:x}" * 3) for n in range(20_000)) + END).encode())
    urls, told = read(packed[: int(len(packed) * cut)], "s.xml.gz")
    assert len(urls) > 20_000 * (cut - 0.1)
    ((line, reason),) = told
    assert line == len(urls) + 1 and reason.startswith(f"damaged after {len(urls)} entries: cut off")


def test_an_empty_member_in_a_packed_sitemap_is_no_end() -> None:
    parts = (HEAD + entry(1), "", entry(2) + entry(3) + END)
    assert read(b"".join(gzip.compress(part.encode()) for part in parts), "s.xml.gz") == (["1", "2", "3"], [])


def test_reading_goes_on_at_its_entry() -> None:
    data = (HEAD + GOOD.format(entry("&")) + END).encode()
    place, first = Place(), []
    for item in read_seeds(io.BytesIO(data), "s.xml", max_body=1000, place=place):
        first.append(item)
        break
    rest = list(read_seeds(io.BytesIO(data), "s.xml", max_body=1000, place=place))
    assert [item.line for item in (*first, *rest)] == [1, 2, 3, 4]


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "body",
    [
        "<url>" * 50_000,
        "<url" * 500_000,
        "<!--" * 500_000,
        "<url><loc>" + "x" * 5_000_000,
        "<a:" * 700_000,
        "</url>" * 400_000,
        "&" * 3_000_000,
        "<url>" + "<a>" * 300_000 + "</url>",
    ],
    ids=lambda text: repr(text[:12]),
)
def test_a_hostile_sitemap_of_megabytes_is_read_in_linear_time(body: str) -> None:
    urls, _ = read((HEAD + body + entry(1)).encode())
    assert urls in ([], ["1"])
