"""`quarry run --plan`: what would be fetched and made, and nothing is changed."""

import json
from pathlib import Path

import polars as pl
import pytest

from quarry_dagster.stages.plan import plan
from quarry_dagster.store import Forgotten, Takedown
from quarry_dagster.urls import CURRENT_FORM, same_page_url
from quarry_dagster_tests.corpus import PAGES, Corpus, Quarry, profile, words
from quarry_dagster_tests.site import Site, html


def _listing(folder: Path) -> dict[str, tuple[int, int]]:
    """Everything below a folder, folders too, with size and time of change."""
    found = {str(p.relative_to(folder)): p.stat() for p in (folder, *folder.rglob("*"))}
    return {name: (s.st_size, s.st_mtime_ns) for name, s in found.items()}


def _by_host(hosts: pl.DataFrame) -> dict[str, tuple[int, int]]:
    return {host: (new, again) for host, new, again in hosts.select("host", "new", "again").iter_rows()}


def test_a_fresh_root_is_not_even_made(quarry: Quarry, tmp_path: Path, site: Site) -> None:
    lines = [f"https://a.test/{i}" for i in range(30)] + [site.url("/0"), "https://a.test/3", "no url"]
    (tmp_path / "a.txt").write_text("\n".join(lines) + "\n")
    before = _listing(tmp_path)
    status, out, err = quarry("run", "--plan", tmp_path / "a.txt")
    assert status == 0, err
    assert "a.txt: 33 URLs, 32 new, 1 known" in err and "a.txt:33: " in err
    assert "31 URLs of 2 hosts; 31 for the first time" in out and "again," not in out
    assert "a.test" in out and f"127.0.0.1:{site.port}" in out
    assert "31 extracted at most, 0 reused; this data root has nothing yet to tell by" in out
    assert _listing(tmp_path) == before
    assert site.asked == []


def test_a_root_with_a_corpus_is_left_as_it_is(quarry: Quarry, tmp_path: Path, crawled: Corpus, site: Site) -> None:
    (tmp_path / "a.txt").write_text((tmp_path / "a.txt").read_text() + site.url("/new") + "\nhttps://b.test/\n")
    (crawled.root / "seeds" / "b.txt").write_text("https://b.test/waits\nhttps://b.test/\n")
    before = _listing(tmp_path)
    site.reset()
    status, out, err = quarry("run", "--plan", tmp_path / "a.txt")
    assert status == 0, err
    assert f"a.txt: {PAGES + 2} URLs, 1 new, {PAGES + 1} known" in err
    assert "b.txt: 2 URLs, 2 new" in err
    assert f"{PAGES + 3} URLs of 2 hosts; 3 for the first time; {PAGES} again, {PAGES} of them only if" in out
    assert f"3 extracted at most, {PAGES} reused; about " in out
    assert f"3 embedded at most, {PAGES} reused; about " in out
    assert _listing(tmp_path) == before
    assert site.asked == []


def test_what_is_planned_is_what_a_run_then_does(corpus: Corpus, tmp_path: Path, site: Site) -> None:
    site.pages = {f"/{i}": html(f"Page {i}", words(i)) for i in range(3)}
    site.pages["/3"] = 500
    corpus.seed("a.txt", "".join(site.url(path) + "\n" for path in site.pages))
    corpus.run()
    site.pages |= {"/2": 503, "/new": html("New", words(77))}
    corpus.run()
    failed = plan(corpus.store, corpus.profile, only_failed=True)
    assert (failed.urls, failed.conditionally, failed.texts.anew, failed.texts.reused) == (2, 1, 1, 3)
    edited = tmp_path / "a.txt"
    edited.write_text("".join(site.url(path) + "\n" for path in site.pages))
    planned = plan(corpus.store, corpus.profile, [str(edited)])
    assert _by_host(planned.hosts) == {f"127.0.0.1:{site.port}": (1, 4)}
    assert (planned.conditionally, planned.texts.anew, planned.vectors.anew) == (3, 2, 2)
    assert planned.disk and planned.free and planned.download
    site.reset()
    corpus.seed("a.txt", edited.read_text())
    corpus.run()
    assert len(site.asked) == planned.urls


def test_other_settings_and_words_are_planned(corpus: Corpus, site: Site) -> None:
    site.pages = {f"/{i}": html(f"Page {i}", words(i)) for i in range(3)}
    corpus.seed("a.txt", "".join(site.url(path) + "\n" for path in site.pages))
    corpus.run()
    as_before = plan(corpus.store, corpus.profile)
    assert (as_before.conditionally, as_before.texts.anew, as_before.texts.reused) == (3, 0, 3)
    other = plan(corpus.store, profile(extraction={"mode": "fast"}, crawl={"obey_noindex": True}))
    assert (other.texts.anew, other.texts.reused) == (3, 0)
    assert (other.again, other.conditionally) == (3, 0), "another policy has to see each page"
    assert plan(corpus.store, corpus.profile, force=True).vectors.anew == 3
    refetched = plan(corpus.store, corpus.profile, refetch=True)
    assert (refetched.conditionally, refetched.texts.anew) == (0, 0)
    key = same_page_url(site.url("/1"), CURRENT_FORM)
    Forgotten.put(corpus.store.files, [Takedown(key, CURRENT_FORM, "2026-01-01")])
    assert plan(corpus.store, corpus.profile).urls == 2


def test_politeness_is_that_of_the_host_that_takes_longest(corpus: Corpus) -> None:
    corpus.seed("a.txt", "".join(f"https://large.test/{i}\n" for i in range(100)) + "https://small.test/\n")
    corpus.profile = profile(crawl={"delay_per_host": 2})
    planned = plan(corpus.store, corpus.profile)
    assert planned.hosts["host"].to_list() == ["large.test", "small.test"]
    assert planned.politeness == 200
    assert not (corpus.root / "crawling").exists()


def test_a_crawl_delay_that_is_known_counts(corpus: Corpus) -> None:
    from yarl import URL

    from quarry_dagster.crawl import robots
    from quarry_dagster.crawl.origins import Origins, Statement
    from quarry_dagster.stages.pages.crawling import origins_file

    origins = Origins(origins_file(corpus.store), corpus.profile.crawl.user_agent)
    origins.put(URL("https://slow.test"), Statement(robots.parse("User-agent: *\nCrawl-delay: 20", "QuarryCore")))
    origins.put(URL("https://quick.test"), Statement(robots.parse("User-agent: *\nDisallow: /x", "QuarryCore")))
    origins.close()
    corpus.seed("a.txt", "https://slow.test/1\nhttps://slow.test/2\n" + "https://quick.test/\n" * 9)
    before = _listing(corpus.root)
    planned = plan(corpus.store, corpus.profile)
    assert dict(planned.hosts.select("host", "delay").iter_rows()) == {"slow.test": 20, "quick.test": 0}
    assert planned.politeness == 40
    assert _listing(corpus.root) == before


def test_documents_of_seeds_are_known_replaced_and_withdrawn(corpus: Corpus, tmp_path: Path) -> None:
    rows = [{"id": str(i), "text": words(i)} for i in range(5)]
    corpus.seed("mine.jsonl.yaml", "mirror: true\n")
    corpus.seed("mine.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    corpus.run()
    rows = [rows[0], rows[1] | {"text": words(11)}, {"id": "new", "text": words(12)}]
    (tmp_path / "mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    before = _listing(tmp_path)
    planned = plan(corpus.store, corpus.profile, [str(tmp_path / "mine.jsonl")])
    (report,) = planned.reports
    assert (report.urls, report.added, report.replaced, report.withdrawn) == (3, 1, 1, 3)
    assert (planned.carried, planned.urls, planned.texts.anew) == (2, 0, 2)
    assert _listing(tmp_path) == before
    corpus.seed("mine.jsonl", (tmp_path / "mine.jsonl").read_text())
    (taken,) = corpus.take_in()
    assert (taken.added, taken.replaced, taken.withdrawn) == (report.added, report.replaced, report.withdrawn)


def test_a_document_that_a_seed_brings_now_is_not_asked_for(corpus: Corpus, tmp_path: Path) -> None:
    corpus.seed("a.txt", "https://a.test/1\nhttps://a.test/2\n")
    (tmp_path / "b.jsonl").write_text(json.dumps({"url": "https://a.test/1", "text": words(1)}) + "\n")
    planned = plan(corpus.store, corpus.profile, [str(tmp_path / "b.jsonl")])
    assert (_by_host(planned.hosts), planned.carried) == ({"a.test": (1, 0)}, 1)


def test_sitemaps_are_not_downloaded(corpus: Corpus, site: Site) -> None:
    corpus.seed("a.txt", site.url("/sitemap.xml") + "\nhttps://a.test/\n")
    planned = plan(corpus.store, corpus.profile)
    assert planned.urls == 1
    assert "what it lists is known when a run downloads it" in planned.reports[0].problems[0]
    assert site.asked == []


def test_a_seed_that_is_not_there_and_a_run_that_fetches_nothing_are_refused(quarry: Quarry, tmp_path: Path) -> None:
    status, _, err = quarry("run", "--plan", "nowhere.txt")
    assert status and "no seed file nowhere.txt" in err
    assert quarry("run", "--plan", "--dedup-only")[0] == 2
    assert not (tmp_path / "data").exists()


@pytest.mark.timeout(60)
def test_seeds_of_many_chunks_are_counted_once(corpus: Corpus) -> None:
    corpus.seed("a.txt", "".join(f"https://h{i % 700}.test/{i}\n" for i in range(120_000)))
    corpus.seed("b.txt", "".join(f"https://h{i % 700}.test/{i}\n" for i in range(60_000)))
    planned = plan(corpus.store, corpus.profile)
    assert (planned.urls, planned.hosts.height) == (120_000, 700)
    assert [r.added for r in planned.reports] == [120_000, 0]


def test_a_plan_is_one_json_object(quarry: Quarry, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("https://a.test/1\nhttps://a.test/2\nhttps://b.test/1\n")
    status, out, _ = quarry("run", "--plan", tmp_path / "a.txt", "--json")
    found = json.loads(out)
    assert (status, found["urls"], found["new"], found["texts"]["anew"]) == (0, 3, 3, 3)
    assert [(host["host"], host["new"]) for host in found["hosts"]] == [("a.test", 2), ("b.test", 1)]
    assert not (tmp_path / "data").exists()
