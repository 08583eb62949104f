"""The small rules by themselves: robots groups, consent signals, media types, Retry-After, content codings."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from quarry_dagster.crawl import media_types, robots
from quarry_dagster.crawl.coding import BodyBroken, decoder
from quarry_dagster.crawl.consent import Consent
from quarry_dagster.crawl.waiting import retry_after
from quarry_dagster.profiles.settings import Crawl

AGENT = "QuarryCore/0.2"


@pytest.mark.parametrize(
    ("text", "path", "allowed"),
    [
        ("User-agent: *\nDisallow: /x", "/x/1", False),
        ("User-agent: *\nDisallow: /x\nAllow: /x/1", "/x/1", True),
        ("User-agent: *\nDisallow: /*.pdf$", "/a.pdf", False),
        ("User-agent: *\nDisallow: /\n\nUser-agent: quarrycore\nAllow: /", "/a", True),
        ("User-agent: QUARRYCORE/2.0\nDisallow: /", "/a", False),
        ("User-agent: Other\nUser-agent: QuarryCore\nDisallow: /a", "/a", False),
        ("User-agent: QuarryCore\nDisallow: /a\n\nUser-agent: QuarryCore\nDisallow: /b", "/b", False),
        ("User-agent: Quarry\nDisallow: /", "/a", True),
        ("User-agent: QuarryCoreImages\nDisallow: /", "/a", True),
        ("User-agent: QuarryCore\n\nUser-agent: Other\nDisallow: /", "/a", False),
        ("User-agent: QuarryCore # us\nDisallow: /", "/a", False),
        ("\ufeffUser-agent: *\nDisallow: /", "/a", False),
        ("Disallow: /", "/a", True),
        ("<html><body>Not found</body></html>", "/a", True),
        ("User-agent: *\nDisallow:", "/a", True),
        ("User-agent: *\r\nSitemap: http://h/s.xml\r\nDisallow: /a\r\n", "/a", False),
    ],
)
def test_the_group_of_our_product_token_decides(text, path, allowed):
    rules = robots.parse(text.removeprefix("\ufeff"), AGENT)
    assert (rules.refused(f"http://h{path}") is None) is allowed


def test_a_crawl_delay_longer_than_we_wait_refuses_the_origin():
    assert robots.parse("User-agent: *\nCrawl-delay: 2.5", AGENT).crawl_delay == 2.5
    refusal = robots.parse("User-agent: *\nCrawl-delay: 3600", AGENT).refused("http://h/")
    assert refusal is not None and refusal.outcome == "robots_disallowed" and "3600 s" in refusal.detail


def test_half_a_megabyte_of_hostile_robots_txt_takes_little_time():
    agents = "".join(f"User-agent: a{i}\n" for i in range(500))
    rules = "".join(f"Disallow: /{i:x}*{'*a' * 8}\n" for i in range(20_000))
    started = time.process_time()
    found = robots.parse((agents + "User-agent: *\n" + rules)[: 500 * 1024], AGENT)
    found.refused("http://h/" + "a" * 2000)
    assert time.process_time() - started < 5


def _headers(*pairs: tuple[str, str]) -> CIMultiDictProxy[str]:
    return CIMultiDictProxy(CIMultiDict(pairs))


@pytest.mark.parametrize(
    ("header", "refused"),
    [
        (("X-Robots-Tag", "noai"), True),
        (("x-robots-tag", "noarchive, NoAI"), True),
        (("X-Robots-Tag", "quarrycore: noai"), True),
        (("X-Robots-Tag", "otherbot: noai, noindex"), False),
        (("X-Robots-Tag", "otherbot: noindex, quarrycore: noai"), True),
        (("X-Robots-Tag", "unavailable_after: 25 Jun 2030 15:00:00 PST, noai"), True),
        (("X-Robots-Tag", "unavailable_after: Tue, 25 Jun 2030 15:00:00 GMT, noai"), True),
        (("X-Robots-Tag", "unavailable_after: Tuesday, 25-Jun-30 15:00:00 GMT, noai"), True),
        (("X-Robots-Tag", "otherbot: unavailable_after: Tue, 25 Jun 2030 15:00:00 GMT, noai"), False),
        (("X-Robots-Tag", "noimageai"), False),
        (("X-Robots-Tag", "noindex"), False),
        (("TDM-Reservation", "1"), True),
        (("TDM-Reservation", "0"), False),
    ],
)
def test_headers_that_opt_out(header, refused):
    consent = Consent(Crawl())
    assert bool(consent.refused_by_headers(_headers(("A", "b"), header))) is refused
    assert not Consent(Crawl(obey_consent=False)).refused_by_headers(_headers(header))


@pytest.mark.parametrize(
    ("html", "refused"),
    [
        (b'<meta name="robots" content="noai, noimageai">', True),
        (b"<META CONTENT='index,NOAI' NAME=Robots />", True),
        (b'<meta name=quarrycore content="noai">', True),
        (b'<meta name="robots" name="author" content="noai" content="all">', True),  # of equal attributes the first
        (b'<meta name="author" name="robots" content="noai">', False),
        (b'<meta name="googlebot" content="noai">', False),
        (b'<meta name="tdm-reservation" content="1">', True),
        (b'<meta name="tdm-reservation" content="0">', False),
        (b'<meta name="robots" content="noindex">', False),
        (b'<!-- <meta name="robots" content="noai"> -->', False),
        (b'<script>x = \'<meta name="robots" content="noai">\'</script>', False),
        (b'<title>what noai means</title><meta name="robots" content="index">', False),
        (b'</head><body><meta name="robots" content="noai">', False),
        ('\ufeff<meta name="robots" content="noai">'.encode("utf-16-le"), True),
    ],
)
def test_meta_elements_that_opt_out(html, refused):
    assert bool(Consent(Crawl()).refused_by_html(b"<html><head>" * (html[:1] == b"<") + html)) is refused


def test_noindex_opts_out_only_if_it_is_to_be_obeyed():
    consent = Consent(Crawl(obey_noindex=True))
    assert consent.refused_by_html(b'<meta name="robots" content="none">') == "meta robots: none"
    assert consent.refused_by_headers(_headers(("X-Robots-Tag", "noindex"))) == "header X-Robots-Tag: noindex"


@pytest.mark.parametrize("piece", [b"<!--", b"<meta ", b"<script ", b"<meta a='", b"a=", b'<meta x="'])
def test_looking_for_meta_elements_takes_linear_time(piece):
    page = b"noai <meta name=" + piece * 20_000 + b">"
    started = time.process_time()
    Consent(Crawl()).refused_by_html(page)
    assert time.process_time() - started < 0.5


@pytest.mark.parametrize("kind", ["text/html", "TEXT/HTML; charset=x", "application/xhtml+xml", "text/xml", None, ""])
def test_types_of_text_are_read(kind):
    assert media_types.refused_type(kind) is None


@pytest.mark.parametrize("kind", ["application/pdf", "image/png", "application/json", "video/mp4"])
def test_other_types_are_not_read(kind):
    assert kind in (media_types.refused_type(kind) or "")


def test_the_first_bytes_decide_where_the_type_lies_or_is_missing():
    assert "PDF" in (media_types.refused_bytes(b"%PDF-1.7 ...", "text/html") or "")
    assert "binary" in (media_types.refused_bytes(b"ab\0\0cd", None) or "")
    assert media_types.refused_bytes("\ufefftext".encode("utf-16-le"), "text/plain") is None
    assert media_types.refused_bytes(b"<p>text", None) is None


def test_retry_after_is_seconds_or_a_date():
    in_a_minute = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    assert retry_after("120") == 120
    assert 55 < (retry_after(in_a_minute) or 0) <= 60
    assert retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0
    assert retry_after("soon") is None and retry_after(None) is None and retry_after("-5") is None


@pytest.mark.parametrize("date", [f"Mon, 01 Jan 2024 00:00:00 +{'9' * 20}", f"Mon, 01 Jan {'9' * 20} 00:00:00 GMT"])
def test_a_retry_after_beyond_the_calendar_says_nothing(date):
    assert retry_after(date) is None


def test_more_codings_than_a_body_can_have_are_refused():
    with pytest.raises(BodyBroken, match="4 codings, more than 3"):
        decoder("gzip, gzip, gzip, gzip")
