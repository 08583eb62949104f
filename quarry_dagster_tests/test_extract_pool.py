"""The worker pool: one row a page, whatever pages do to their workers, and the same rows whatever the order."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import psutil
import pytest

from quarry_dagster.errors import QuarryError
from quarry_dagster.extract import Extraction, Extractor, Page, extractor_version, normal_form
from quarry_dagster.profiles.settings import Extraction as Settings

from .test_extract_page import ENGLISH, FRENCH, article

PAGES_PARQUET = Path(__file__).resolve().parents[2] / "shared" / "data" / "html" / "pages.parquet"


def page(key: str, body: str, content_type: str = "text/html; charset=utf-8") -> Page:
    return Page(key, f"https://example.org/{key}", body.encode(), content_type)


def good(key: str) -> Page:
    return page(key, article(f"{key}: {ENGLISH}", FRENCH))


def slow(key: str, mib: int) -> Page:
    """Not a trick: trafilatura takes minutes for a page of one paragraph repeated."""
    return page(key, article(*[ENGLISH] * (mib * 2**20 // len(ENGLISH))))


def extract_pages(pages: Iterable[Page], settings: Settings, *, workers: int) -> Iterator[Extraction]:
    with Extractor(settings, workers) as extractor:
        yield from extractor.extract(pages)


def rows_of(pages: list[Page], settings: Settings, workers: int = 2) -> dict[str, Extraction]:
    rows = list(extract_pages(pages, settings, workers=workers))
    assert sorted(row.key for row in rows) == sorted(p.key for p in pages)
    return {row.key: row for row in rows}


_others: list[psutil.Process] = []


@pytest.fixture(autouse=True)
def _before() -> None:
    """This process may have children of other tests, and the nursery that their corpora share."""
    _others[:] = psutil.Process().children()


def children() -> list[psutil.Process]:
    """Child processes that the test has started."""
    return [p for p in psutil.Process().children() if p not in _others]


def nursery() -> psutil.Process:
    (process,) = (p for p in children() if "quarry_dagster.workers.nursery" in p.cmdline())
    return process


def wait_until(condition, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def test_no_pages_start_no_process():
    assert list(extract_pages([], Settings(), workers=2)) == []
    assert not children()


def test_a_page_that_hangs_costs_only_itself():
    pages = [good("a"), slow("hangs", 19), good("b"), good("c"), good("d")]
    rows = rows_of(pages, Settings(page_timeout=2, max_page_mb=32))
    assert (rows["hangs"].outcome, rows["hangs"].text) == ("timeout", None)
    assert rows["hangs"].detail == "no result within page_timeout 2 s"
    assert {rows[key].outcome for key in "abcd"} == {"extracted"}
    assert not children()


def test_a_page_that_runs_out_of_memory_costs_only_itself():
    pages = [good("a"), slow("huge", 30), good("b"), good("c")]
    rows = rows_of(pages, Settings(page_timeout=60, max_page_mb=64, worker_memory_mb=300))
    assert rows["huge"].outcome == "error"
    assert rows["huge"].detail == "out of memory: worker_memory_mb 300 reached"
    assert {rows[key].outcome for key in "abc"} == {"extracted"}


@pytest.mark.parametrize("killed_by", [signal.SIGSEGV])
def test_a_worker_that_dies_costs_only_its_page(killed_by):
    """The worker of a slow page is killed from outside, as the kernel would; the other's page goes on."""
    settings = Settings(page_timeout=2, max_page_mb=32)
    killed = []

    def pages():
        yield slow("dies", 19)
        wait_until(lambda: nursery().children())
        (worker,) = nursery().children()
        yield slow("hangs", 19)
        wait_until(lambda: worker.cpu_times().user > 0.3)
        os.kill(worker.pid, killed_by)
        killed.append(worker.pid)
        yield from (good("a"), good("b"), good("c"))

    rows = {row.key: row for row in extract_pages(pages(), settings, workers=2)}
    assert killed and len(rows) == 5
    assert (rows["dies"].outcome, rows["hangs"].outcome) == ("error", "timeout")
    assert rows["dies"].detail == f"the worker was killed by {killed_by.name}"
    assert {rows[key].outcome for key in "abc"} == {"extracted"}


def test_a_worker_that_dies_idle_costs_nothing():
    rows = extract_pages((good(key) for key in "abcdef"), Settings(), workers=1)
    keys = [next(rows).key]
    (worker,) = nursery().children()
    worker.kill()
    assert sorted([*keys, *(row.key for row in rows)]) == list("abcdef")


def test_the_death_of_the_nursery_is_an_error_not_a_wait():
    rows = extract_pages((good(key) for key in "abcdef"), Settings(), workers=1)
    next(rows)
    process = nursery()
    children = process.children()
    process.kill()
    for child in children:
        child.kill()
    with pytest.raises(QuarryError, match="cannot go on"):
        list(rows)


def test_an_oversized_page_never_reaches_the_parser():
    (row,) = extract_pages([slow("big", 9)], Settings(), workers=1)
    assert row.outcome == "error" and row.detail == "9.3 MiB, more than max_page_mb 8"


def test_pages_are_read_only_as_workers_take_them():
    read = []

    def pages():
        for i in range(20):
            read.append(i)
            yield good(str(i))

    for done, _ in enumerate(extract_pages(pages(), Settings(), workers=2)):
        assert len(read) <= done + 4
    assert len(read) == 20


def test_closing_the_iterator_ends_the_workers():
    rows = extract_pages([good("a"), slow("b", 7), slow("c", 7)], Settings(), workers=2)
    next(rows)
    workers = nursery().children()
    assert workers
    rows.close()  # type: ignore[attr-defined]
    wait_until(lambda: not any(w.is_running() for w in workers))
    assert not children()


def test_workers_end_with_a_parent_that_is_killed(tmp_path):
    """The parent is a script without an `if __name__` guard, which the workers must not run again."""
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(
            """
            from quarry_dagster.extract import Extractor, Page
            from quarry_dagster.profiles.settings import Extraction
            print("started", flush=True)
            body = b"<html><body>" + b"<p>The harbour was rebuilt twice.</p>" * 500_000 + b"</body></html>"
            pages = (Page(str(i), "https://example.org/", body, "text/html") for i in range(4))
            with Extractor(Extraction(page_timeout=60, max_page_mb=32), 2) as extractor:
                list(extractor.extract(pages))
            """
        )
    )
    env = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    parent = subprocess.Popen([sys.executable, str(script)], env=env, stdout=subprocess.PIPE, text=True)
    try:
        wait_until(lambda: len(psutil.Process(parent.pid).children(recursive=True)) == 3)
        family = psutil.Process(parent.pid).children(recursive=True)
        parent.kill()
        assert parent.stdout and parent.stdout.read() == "started\n"
        wait_until(lambda: not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in family))
    finally:
        parent.kill()
        parent.wait()


def test_rows_depend_on_neither_order_nor_workers_nor_earlier_pages():
    pages = [good(str(i)) for i in range(12)] + [
        page("same", article(ENGLISH, ENGLISH)),
        page("same again", article(ENGLISH, ENGLISH)),
        page("text", ENGLISH, "text/plain"),
        page("shell", "<html><body><script src='a.js'></script></body></html>"),
    ]
    expected = rows_of(pages, Settings(), workers=1)
    random.Random(1).shuffle(pages)
    assert rows_of(pages, Settings(), workers=3) == expected
    assert expected["same"].text_digest == expected["same again"].text_digest is not None


@pytest.mark.skipif(not PAGES_PARQUET.exists(), reason="development pages are not here")
def test_real_pages():
    import polars as pl

    frame = pl.read_parquet(PAGES_PARQUET, columns=["id", "url", "html", "must", "must_not"]).gather_every(64)
    records = frame.to_dicts()
    pages = [Page(r["id"], r["url"] or "", r["html"], "text/html") for r in records]
    rows = rows_of(pages, Settings())
    assert rows_of(pages[::-3], Settings(), workers=1).items() <= rows.items()
    assert {row.outcome for row in rows.values()} <= {"extracted", "too_short", "empty", "javascript_only"}
    texts = {key: normal_form(row.text or "") for key, row in rows.items()}
    found = [normal_form(snippet) in texts[r["id"]] for r in records for snippet in r["must"] or ()]
    chrome = [normal_form(snippet) in texts[r["id"]] for r in records for snippet in r["must_not"] or ()]
    assert sum(found) / len(found) > 0.6
    assert sum(chrome) / len(chrome) < 0.2


def test_the_version_follows_what_changes_the_rows():
    version = extractor_version(Settings())
    assert "trafilatura " in version and "thorough" in version
    assert extractor_version(Settings(text_format="plain")) != version
    assert extractor_version(Settings(min_words=5)) == version, "a filter, not another text"
    assert extractor_version(Settings(mode="fast")) != version
    assert extractor_version(Settings(page_timeout=5, worker_memory_mb=1024)) == version


NO_SAY = {
    "htmldate": "dates, which trafilatura is not asked for",
    "dateparser": "of htmldate",
    "python-dateutil": "of htmldate",
    "regex": "of dateparser",
    "babel": "languages of links, which courlan is not asked for",
    "tld": "registered domains, which courlan is not asked for",
    "lxml_html_clean": "imported by jusText; trafilatura hands it a tree that is clean",
    "charset-normalizer": "of bytes: trees come decoded, by w3lib",
    "cchardet": "of bytes",
    "faust-cchardet": "of bytes",
    "urllib3": "downloads",
    "certifi": "downloads",
    "brotli": "downloads",
    "backports.zstd": "downloads",
    "numpy": "sums for py3langid",
    "six": "of python-dateutil, for other Pythons",
    "pytz": "zones: a date is kept as its page writes it",
    "tzlocal": "zones",
    "tzdata": "zones",
    "setuptools": "of the environment",
    "typing_extensions": "of the environment",
}


def test_the_version_names_every_library_that_has_a_say_in_a_row():
    """A library that a dependency begins to load fails this: name it in the version, or here why it has no say."""
    code = """
        import sys
        from importlib.metadata import packages_distributions
        from quarry_dagster.extract.page import extract_page
        from quarry_dagster.extract.records import Page
        from quarry_dagster.profiles.settings import Extraction
        before = {m.partition(".")[0] for m in sys.modules} - {"w3lib"}
        found = "<h1>The harbour</h1><p>3 maart 2021</p><p>It was rebuilt.</p>"
        body = f"<html><body><article>{found}</article></body></html>"
        row = extract_page(Page("k", "https://example.org/", body.encode(), "text/html"), Extraction())
        assert row.date == "2021-03-03", row
        of = packages_distributions()
        print(*{d for m in {m.partition(".")[0] for m in sys.modules} - before for d in of.get(m, ())})
    """
    # Not the path of this process: once something has imported setuptools, that has what setuptools carries along.
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)}
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], env=env, capture_output=True, text=True, check=True
    )
    version = extractor_version(Settings())
    named = {part.strip().partition(" ")[0] for part in version.split(",")}
    loaded = set(run.stdout.split())
    assert loaded - NO_SAY.keys() - named == set()
    assert {"trafilatura", "lxml", "courlan"} <= loaded & named


def test_importing_the_package_loads_no_parser():
    code = "import sys, quarry_dagster.extract; print({'trafilatura', 'lxml', 'py3langid'} & sys.modules.keys())"
    env = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    run = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"
