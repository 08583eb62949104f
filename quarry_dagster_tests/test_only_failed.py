"""`--only failed`: what failed is asked for again, and nothing that came."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from quarry_dagster.orchestration.run_config import CrawlConfig
from quarry_dagster.stages import extracted_text
from quarry_dagster.stages.failed import failed_partitions
from quarry_dagster.stages.pages import raw_pages
from quarry_dagster.store.schemas import EXTRACT_FAILURES, EXTRACT_OUTCOMES
from quarry_dagster_tests.corpus import LOOPBACK, Corpus, Quarry, profile, words
from quarry_dagster_tests.site import Site, html


def test_only_what_failed_is_asked_for_again(quarry: Quarry, tmp_path: Path, site: Site) -> None:
    site.pages = {f"/{i}": html(f"Page {i}", words(i)) for i in range(25)}
    site.pages |= {"/3": 500, "/4": 404}
    (tmp_path / "a.txt").write_text("".join(site.url(path) + "\n" for path in site.pages))
    assert quarry("run", tmp_path / "a.txt")[0] == 0
    corpus = Corpus(tmp_path / "data", profile())
    versions = {p: s.version for p, s in corpus.store.raw_pages.segments().items()}
    site.pages["/3"] = html("Page 3", words(3))
    site.reset()
    status, out, err = quarry("run", "--only", "failed")
    assert status == 0, err
    assert sorted(site.asked) == ["/3", "/4"]
    assert "24 fetched, 1 http_error" in out
    assert site.url("/3") in corpus.urls()
    after = {p: s.version for p, s in corpus.store.raw_pages.segments().items()}
    assert sum(after[p] != versions[p] for p in versions) == 1
    site.reset()
    assert quarry("run", "--only", "failed")[0] == 0
    assert site.asked == ["/4"]


def test_a_page_held_from_before_is_asked_for_again_and_a_page_that_came_is_not(corpus: Corpus, site: Site) -> None:
    site.pages = {f"/{i}": html(f"Page {i}", words(i)) for i in range(3)}
    corpus.seed("a.txt", "".join(site.url(path) + "\n" for path in site.pages))
    corpus.run()
    site.pages["/1"] = 503
    corpus.run()
    (partition,) = failed_partitions(corpus.store)
    site.pages |= {"/1": html("Page 1", words(11)), "/2": html("Page 2", words(12))}
    site.reset()
    report = raw_pages.refresh(corpus.store, partition, corpus.profile.crawl, LOOPBACK, only_failed=True)
    assert (site.asked, report.worked, report.rows) == (["/1"], 1, 3)
    assert failed_partitions(corpus.store) == []
    corpus.run()
    assert sorted(site.asked) == ["/0", "/1", "/1", "/2"]


def test_what_an_archive_says_of_a_page_is_no_failure_that_another_try_may_mend(corpus: Corpus) -> None:
    archived = (
        "WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: https://a.test/\r\nWARC-Date: 2024-01-01T00:00:00Z\r\n"
        "WARC-Record-ID: <urn:uuid:00000000-0000-0000-0000-000000000001>\r\n"
        "Content-Type: application/http;msgtype=response\r\nContent-Length: {}\r\n\r\n{}\r\n\r\n"
    )
    answer = "HTTP/1.1 404 Not Found\r\nContent-Type: text/html\r\nContent-Length: 0\r\n\r\n"
    corpus.seed("a.warc", archived.format(len(answer), answer))
    corpus.run()
    assert corpus.read("raw_pages")["outcome"].to_list() == ["http_error"]
    assert failed_partitions(corpus.store) == []


def test_a_changed_seed_or_policy_still_waits_for_a_whole_crawl(corpus: Corpus, site: Site) -> None:
    site.pages = {"/0": html("Page 0", words(0)), "/1": 500}
    corpus.seed("a.txt", "".join(site.url(path) + "\n" for path in site.pages))
    corpus.run()
    site.pages |= {"/0": html("Page 0", words(0)).replace(b"<head>", b"<head><meta name=robots content=noindex>")}
    corpus.run()
    corpus.profile = profile(crawl={"obey_noindex": True})
    (partition,) = corpus.store.batches.segments()
    site.pages["/1"] = html("Page 1", words(1))
    raw_pages.refresh(corpus.store, partition, corpus.profile.crawl, LOOPBACK, only_failed=True)
    outcomes = dict(corpus.read("raw_pages").select("url", "outcome").iter_rows())
    assert outcomes == {site.url("/0"): "fetched", site.url("/1"): "fetched"}
    corpus.run()
    outcomes = dict(corpus.read("raw_pages").select("url", "outcome").iter_rows())
    assert outcomes[site.url("/0")] == "opted_out", "the page was asked for under the rules of now"


def test_a_failed_extraction_is_tried_again(corpus: Corpus) -> None:
    assert set(EXTRACT_FAILURES) <= set(EXTRACT_OUTCOMES)
    corpus.seed_texts("a.jsonl", {"https://a.test/0": words(0), "https://a.test/1": words(1)})
    corpus.run()
    (partition,) = corpus.store.batches.segments()
    old = corpus.store.extracted_text.segment(partition)
    assert old is not None
    rows = [r | ({"outcome": "timeout", "text": None} if r["url"].endswith("/1") else {}) for r in _rows(old)]
    with corpus.store.extracted_text.write(partition) as writer:
        writer.append(rows)
        writer.note(_with_a_failure(old.notes))
    assert failed_partitions(corpus.store) == [partition]
    assert extracted_text.refresh(corpus.store, partition, corpus.extractor).worked == 0
    assert extracted_text.refresh(corpus.store, partition, corpus.extractor, retry=True).worked == 1
    assert failed_partitions(corpus.store) == []


def _rows(segment: Any) -> list[dict[str, Any]]:
    return [row for frame in segment.batches() for row in frame.iter_rows(named=True)]


def _with_a_failure(notes: Any) -> Any:
    return replace(notes, documents=1, outcomes={"extracted": 1, "timeout": 1})


def test_what_goes_not_with_it_is_refused(quarry: Quarry, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("https://a.test/\n")
    for other in ("a.txt", "--refetch", "--dedup-only"):
        status, _, err = quarry("run", "--only", "failed", other)
        assert status == 2 and "--only failed takes in no seeds" in err
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("said", [{}, {"only": "failed"}])
def test_the_word_is_one_of_a_runs_configuration(said: dict[str, str]) -> None:
    @dg.op
    def crawl(config: CrawlConfig) -> bool:
        return config.only_failed

    @dg.job
    def job() -> None:
        crawl()

    result = job.execute_in_process(run_config={"ops": {"crawl": {"config": said}}})
    assert result.output_for_node("crawl") == bool(said)
