"""A page takes no more time and memory than is set, whatever its server sends."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from quarry_dagster_tests.fetching import fetch
from quarry_dagster_tests.hostile_site import ARTICLE, answer


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_a_bomb_is_cut_off(hostile, coding):
    assert fetch(hostile.bomb("/bomb", 20, coding)).outcome == "too_large"


def test_a_bomb_of_400_mb_takes_little_memory(hostile):
    url = hostile.bomb("/bomb", 400)
    script = (
        "import resource, sys\n"
        "from quarry_dagster.crawl import *\n"
        "from quarry_dagster.profiles.settings import Crawl\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024\n"
        "net = allowed_networks('127.0.0.1/32')\n"
        "settings = Crawl(delay_per_host=0)\n"
        "list(crawl([Request(sys.argv[1] + 'x')], settings, allow_addresses=net))\n"
        "before = peak()\n"
        "(r,) = crawl([Request(sys.argv[1])], settings, allow_addresses=net)\n"
        "print(r.outcome, int(peak() - before))\n"
    )
    done = subprocess.run([sys.executable, "-c", script, url], capture_output=True, text=True, check=True)
    outcome, grown = done.stdout.split()
    assert outcome == "too_large"
    assert int(grown) < 40


def test_an_endless_body_is_cut_off(hostile):
    assert fetch(hostile.endless("/endless")).outcome == "too_large"


def test_a_length_that_is_too_large_is_not_read(hostile):
    url = hostile.raw("/a", b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 99999999\r\n\r\n")
    assert fetch(url).outcome == "too_large"


def test_a_body_of_the_limit_passes(hostile):
    body = b"x" * 2**20
    assert fetch(hostile.page("/a", body=body, type="text/plain")).body == body
    assert fetch(hostile.page("/b", body=body + b"x", type="text/plain")).outcome == "too_large"


@pytest.mark.parametrize("part", ["headers", "body"])
def test_a_slow_loris_times_out(hostile, part):
    head, gap, body = answer(headers={"Content-Type": "text/html"}, body=ARTICLE).partition(b"\r\n\r\n")
    quick, slow = (b"", head) if part == "headers" else (head + gap, body)
    url = hostile.dribble("/slow", quick, slow, every=0.05)
    started = time.monotonic()
    response = fetch(url, page_timeout=0.8)
    assert response.outcome == "timeout"
    assert time.monotonic() - started < 15, "the whole answer takes longer"


def test_the_timeout_is_for_all_hops_together(hostile):
    hostile.page("/end", after=0.4)
    hostile.page("/2", "302 Found", {"Location": "/end"}, b"", after=0.4)
    url = hostile.page("/1", "302 Found", {"Location": "/2"}, b"", after=0.4)
    response = fetch(url, page_timeout=1)
    assert response.outcome == "timeout" and response.final_url == hostile.url("/end")


def test_headers_without_end_are_a_network_error(hostile):
    url = hostile.raw("/a", b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 1_000_000 + b"\r\n\r\n")
    assert fetch(url).outcome == "network_error"
    url = hostile.raw("/b", b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: y\r\n" % i for i in range(9999)) + b"\r\n")
    assert fetch(url).outcome == "network_error"
