"""A crawl that is killed goes on where it was, and its journal is gone when it is done."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from quarry_dagster import takedown
from quarry_dagster.crawl import Response
from quarry_dagster.crawl.journal import STALE_AFTER, Journal
from quarry_dagster.stages.pages.crawling import journals
from quarry_dagster.store import Store
from quarry_dagster_tests.corpus import Corpus, profile, words
from quarry_dagster_tests.site import Site, html

PAGES = 400
KILLS = 5
CONCURRENCY = 4
CRAWL: dict[str, object] = {"concurrency": CONCURRENCY, "delay_per_host": 0, "retries": 0, "page_timeout": 5}
LARGE = profile(partitions={"pages_per_partition": PAGES + 10}, crawl=CRAWL)
SCRIPT = f"""
import sys
from pathlib import Path
from quarry_dagster.stages.pages import raw_pages
from quarry_dagster_tests.corpus import LOOPBACK, Corpus, profile
corpus = Corpus(Path(sys.argv[1]), profile(crawl={CRAWL!r}))
for partition in corpus.store.batches.segments():
    raw_pages.refresh(corpus.store, partition, corpus.profile.crawl, LOOPBACK)
"""


def _fill(site: Site) -> str:
    """Pages, redirects and failures; the seed that names them."""
    site.pages = {f"/{i}": html(f"Page {i}", words(i, 60)) for i in range(PAGES - 20)}
    site.pages |= {f"/moved/{i}": f"/{i}" for i in range(10)} | {f"/gone/{i}": 410 for i in range(10)}
    return "".join(site.url(path) + "\n" for path in site.pages)


def _crawl(corpus: Corpus) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", SCRIPT, str(corpus.root)])


def _rows(corpus: Corpus) -> pl.DataFrame:
    return corpus.read("raw_pages").drop("fetched_at", "partition").sort("doc_id")


def test_a_crawl_killed_at_random_moments_ends_as_one_that_was_not(tmp_path: Path, site: Site) -> None:
    seed = _fill(site)
    undisturbed, killed = Corpus(tmp_path / "undisturbed", LARGE), Corpus(tmp_path / "killed", LARGE)
    for corpus in (undisturbed, killed):
        corpus.seed("pages.txt", seed)
        corpus.take_in()
    assert _crawl(undisturbed).wait() == 0
    needed = Counter(site.asked)
    site.reset()
    rng = random.Random(time.time_ns())
    share = PAGES // (KILLS + 1)
    for i in range(KILLS):
        process = _crawl(killed)
        # A moment of its own share of the crawl: what was under way at the last kill is done by then.
        moment = share * i + rng.randrange(share // 4, share)
        while len(site.asked) < moment and process.poll() is None:
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        assert killed.store.raw_pages.segment(next(iter(killed.store.batches.segments()))) is None
    assert _crawl(killed).wait() == 0
    asked = Counter(site.asked)
    assert _rows(killed).equals(_rows(undisturbed))
    assert asked.keys() == needed.keys()
    assert all(asked[path] - needed[path] <= 1 for path in needed if not _is_shared(path))
    at_once = 2 * CONCURRENCY  # under way, or arrived and not yet written, at each kill
    assert asked.total() - needed.total() <= KILLS * at_once
    assert not list(journals(killed.store).rglob("*.journal"))


def _is_shared(path: str) -> bool:
    """Whether a redirect leads there too: it has two requests that a kill may repeat."""
    return path.lstrip("/").isdigit() and int(path[1:]) < 10


def _response(url: str, body: bytes | None = None) -> Response:
    return Response(url, url, "fetched" if body else "timeout", None, 200, datetime.now(UTC), body=body)


def _left_by_a_killed_crawl(folder: Path, *responses: Response, crawl: str = "one") -> Path:
    with Journal(folder, crawl) as journal:
        for response in responses:
            journal.append(response)
    return next(folder.iterdir())


def test_a_record_cut_off_by_a_kill_costs_only_itself(tmp_path: Path) -> None:
    responses = [_response("http://a.test/1", b"one"), _response("http://a.test/2"), _response("http://a.test/3", b"3")]
    whole = _left_by_a_killed_crawl(tmp_path / "whole", *responses)
    data = whole.read_bytes()
    two = _left_by_a_killed_crawl(tmp_path / "two", *responses[:2]).stat().st_size
    for cut in range(two, len(data)):
        whole.write_bytes(data[:cut])
        with Journal(whole.parent, "one") as journal:
            assert list(journal.responses()) == responses[:2]
            journal.append(responses[2])
            assert list(journal.responses()) == responses
            Path(journal._file.name).unlink()
    whole.write_bytes(data[:-9] + bytes(8) + data[-1:])  # a block that the disk lost
    with Journal(whole.parent, "one") as journal:
        assert journal.done() == {"http://a.test/1", "http://a.test/2"}
        journal.delete()
    assert not whole.parent.exists()


def test_what_was_fetched_under_other_settings_or_long_ago_is_not_taken_over(tmp_path: Path) -> None:
    other = _left_by_a_killed_crawl(tmp_path, _response("http://a.test/1", b"1"), crawl="other")
    with Journal(tmp_path, "one") as journal:
        assert journal.done() == set() and not other.exists()
        journal.delete()
    old = _left_by_a_killed_crawl(tmp_path, _response("http://a.test/1", b"1"))
    then = time.time() - STALE_AFTER - 60
    os.utime(old, (then, then))
    with Journal(tmp_path, "one") as journal:
        assert journal.done() == set() and not old.exists()


def test_two_crawls_at_once_keep_to_their_own_journals(tmp_path: Path) -> None:
    with Journal(tmp_path, "one") as first, Journal(tmp_path, "one") as second:
        first.append(_response("http://a.test/1", b"1"))
        assert second.done() == set()
        second.delete()
        assert [r.url for r in first.responses()] == ["http://a.test/1"]


def test_journals_of_an_object_store_are_in_the_users_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    one, other = (journals(Store(f"memory://{name}")) for name in ("one", "other"))
    assert one.parent == other.parent == tmp_path / "quarry-dagster" / "crawling"
    assert one != other


def test_what_is_forgotten_is_in_no_journal(corpus: Corpus) -> None:
    corpus.seed_texts("a.jsonl", {"http://a.test/1": words(1)})
    corpus.run()
    left = _left_by_a_killed_crawl(journals(corpus.store) / "partition", _response("http://b.test/", b"secret"))
    takedown.forget(corpus.store, corpus.profile, "b.test")
    assert not left.exists()
