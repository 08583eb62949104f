"""`quarry try` tells of one page what a run would do with it, and why, without a data root."""

import json
from pathlib import Path
from typing import Any

import pytest

from quarry_dagster.crawl import robots
from quarry_dagster_tests.corpus import Quarry, words
from quarry_dagster_tests.hostile_site import HostileSite
from quarry_dagster_tests.site import html

_HEAD = b'<meta property="article:published_time" content="2024-03-02"><meta name="author" content="Ann Example">'
_PAGE = html("A page", words(1)).replace(b"<head>", b"<head>" + _HEAD)


@pytest.fixture(autouse=True)
def _keeps_nothing(tmp_path: Path) -> Any:
    yield
    assert not (tmp_path / "data").exists()


def _try(quarry: Quarry, *arguments: str) -> tuple[int, dict[str, Any]]:
    status, out, err = quarry("try", *arguments, "--json")
    assert out, err
    return status, json.loads(out)


def test_a_page_is_told_as_a_run_would_have_it(quarry: Quarry, hostile: HostileSite) -> None:
    hostile.robots("User-agent: *\nDisallow: /private\nAllow: /private/open\nCrawl-delay: 1")
    hostile.redirect("/old", "/private/open/1")
    hostile.page("/private/open/1", body=_PAGE)
    status, found = _try(quarry, hostile.url("/old"))
    assert (status, found["outcome"], found["status"], found["is_document"]) == (0, "fetched", 200, True)
    assert found["redirects"] == [hostile.url("/old")] and found["final_url"] == hostile.url("/private/open/1")
    assert [r["said"] for r in found["robots"]] == [
        "allows it: no line of those for us matches it",
        "allows it, by the line 'Allow: /private/open'",
    ]
    assert found["robots"][0]["crawl_delay"] == 1
    assert found["consent"].startswith("nothing opts out")
    text = found["text"]
    assert (text["outcome"], text["date"], text["author"]) == ("extracted", "2024-03-02", "Ann Example")
    assert (text["date_source"], text["author_source"]) == ("meta", "head")
    assert words(1)[:40] in text["text"] and text["word_count"] >= 100


def test_what_refuses_is_named(quarry: Quarry, hostile: HostileSite) -> None:
    hostile.robots("User-agent: *\nDisallow: /private")
    status, found = _try(quarry, hostile.page("/private/1", body=_PAGE))
    assert (status, found["outcome"], found["text"]) == (1, "robots_disallowed", None)
    assert found["robots"][0]["said"] == "refuses it, by the line 'Disallow: /private'"
    tagged = hostile.page("/noai", headers={"X-Robots-Tag": "noai"}, body=_PAGE)
    status, found = _try(quarry, tagged)
    assert (status, found["outcome"]) == (1, "opted_out")
    assert found["consent"] == "refused: header X-Robots-Tag: noai"


def test_a_robots_txt_that_is_not_there_is_told_from_one_without_a_line_for_us(
    quarry: Quarry, hostile: HostileSite
) -> None:
    page = hostile.page("/a", body=_PAGE)
    _, found = _try(quarry, page)
    assert found["robots"][0]["said"].startswith("is not there, so all is allowed: it answers 404")
    hostile.robots("User-agent: someone-else\nDisallow: /")
    _, found = _try(quarry, page)
    assert found["robots"][0]["said"] == "allows it: it has no line for us"


def test_a_robots_txt_that_fails_is_told(quarry: Quarry, hostile: HostileSite, tmp_path: Path) -> None:
    (tmp_path / "once.yaml").write_text("crawl: {retries: 0, delay_per_host: 0}\n")
    hostile.robots("", "500 Oops")
    status, found = _try(quarry, hostile.page("/a", body=_PAGE), "--profile", str(tmp_path / "once.yaml"))
    assert (status, found["outcome"]) == (1, "robots_disallowed")
    assert found["robots"][0]["said"].startswith("answers 500")
    _, out, _ = quarry("try", "http://127.0.0.1:1/a", "--profile", str(tmp_path / "once.yaml"))
    assert "/robots.txt cannot connect" in out, "the name once, and what is wrong"


def test_an_address_that_is_not_public_comes_with_the_remedy(
    quarry: Quarry, hostile: HostileSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("QUARRY_ALLOW_ADDRESSES")
    status, found = _try(quarry, hostile.page("/a", body=_PAGE))
    assert (status, found["outcome"]) == (1, "blocked_address") and "QUARRY_ALLOW_ADDRESSES" in found["remedy"]
    for address in ("169.254.169.254", "[fe80::1]"):  # what answers there is a cloud's, and has secrets
        status, found = _try(quarry, f"http://{address}/latest/")
        assert (status, found["outcome"], found["remedy"]) == (1, "blocked_address", None)


@pytest.mark.parametrize(
    ("name", "content", "status", "outcome", "said"),
    [
        ("a.html", _PAGE, 0, "given", "extracted"),
        ("a.txt", words(1).encode(), 0, "given", "extracted"),
        ("notes.md", words(1).encode(), 0, "given", "extracted"),
        ("short.txt", b"Too short.", 1, "given", "too_short"),
        ("empty.html", b"", 1, "given", "empty"),
        ("README", words(1).encode(), 0, "given", "extracted"),
        ("saved", _PAGE, 0, "given", "extracted"),
        ("a.pdf", b"%PDF-1.7 ...", 1, "unsupported_type", "give their text in a table (column text)"),
        ("page.html", b"%PDF-1.7 ...", 1, "unsupported_type", "give their text in a table (column text)"),
        ("a.docx", b"PK\x03\x04...", 1, "unsupported_type", "give their text in a table (column text)"),
        ("a.png", b"\x89PNG...", 1, "unsupported_type", "pages (HTML) and plain text are read"),
        ("a.json", b"{}", 1, "unsupported_type", "application/json is not text"),
        ("bytes", b"\0\1\2", 1, "unsupported_type", "binary"),
        ("urls.txt", b"# mine\nhttp://a.test/ # one\n", 1, "unsupported_type", "quarry run urls.txt"),
        ("a.csv", b"url\nhttp://a.test/\n", 1, "unsupported_type", "quarry run a.csv"),
        ("a b.jsonl.gz", b"\x1f\x8b", 1, "unsupported_type", "quarry run 'a b.jsonl.gz'"),
        ("a.warc", b"WARC/1.0\r\n" * (1 << 20), 1, "unsupported_type", "quarry run a.warc"),
        ("large.txt", b"x" * (9 << 20), 1, "too_large", "crawl.max_body_mb"),
    ],
)
def test_a_file_is_tried_too(
    quarry: Quarry, tmp_path: Path, name: str, content: bytes, status: int, outcome: str, said: str
) -> None:
    (tmp_path / name).write_bytes(content)
    ended, out, _ = quarry("try", name)
    assert (ended, f"{outcome}," in out, said in out) == (status, True, True), out
    assert "the server" not in out and (status == 0 or outcome != "unsupported_type" or "text/html" not in out), out


def test_neither_file_nor_url_is_an_error(quarry: Quarry) -> None:
    assert "write http:// or https:// before it" in quarry("try", "example.org/page")[2]
    assert "is no URL of a page" in quarry("try", "ftp://example.org/")[2]
    assert "is a folder" in quarry("try", ".")[2]
    assert "is no regular file" in quarry("try", "/dev/null")[2]


def test_a_page_cannot_steer_the_terminal(quarry: Quarry, tmp_path: Path) -> None:
    body = f"<html><head><title>Red \x1b[31m \u202e</title></head><body><p>{words(1)}\x1b]0;x\x07</p></body></html>"
    (tmp_path / "evil.html").write_text(body)
    _, out, _ = quarry("try", "evil.html", "--text")
    assert not {"\x1b", "\x07", "\u202e"} & set(out) and "Red" in out


def test_the_longest_line_decides_and_allow_wins_a_tie() -> None:
    rules = robots.parse(
        "User-agent: *\nDisallow: /\nAllow: /a/*\nDisallow: /a/b$\nDisallow: /c\nAllow: /c", "Quarry/1"
    )
    lines = {path: rules.deciding_line(f"http://x.test{path}") for path in ("/", "/a/b", "/a/c", "/c", "/d")}
    assert lines == {
        "/": "Disallow: /", "/a/b": "Disallow: /a/b$", "/a/c": "Allow: /a/*", "/c": "Allow: /c", "/d": "Disallow: /",
    }  # fmt: skip
    assert robots.parse("", "Quarry/1").deciding_line("http://x.test/") is None
