"""An ordinary day cannot empty, change or hide a corpus: what a user does, by the command line."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

import dagster as dg
import pytest
import yaml

from quarry_dagster import scan
from quarry_dagster.checks.raw_pages import asked_for
from quarry_dagster.definitions import build_defs
from quarry_dagster.orchestration import runner
from quarry_dagster_tests import breaches
from quarry_dagster_tests.corpus import LARGER, PAGES, Corpus, Quarry, profile, words
from quarry_dagster_tests.site import Site, html


def write_profile(path: Path, **sections: Mapping[str, object]) -> Path:
    """A profile file of tests with these sections changed."""
    found = profile(**({"partitions": LARGER} | sections))
    path.write_text(yaml.safe_dump(json.loads(found.model_dump_json(exclude={"name"}))))
    return path


def test_a_rerun_that_may_not_ask_for_any_page_keeps_the_corpus_and_says_how_to_allow_it(
    quarry: Quarry, crawled: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = crawled.urls()
    monkeypatch.delenv("QUARRY_ALLOW_ADDRESSES")
    status, out, err = quarry("run")
    assert status == 1
    assert f"none of {PAGES} pages came: {PAGES} blocked_address; what is held of {PAGES} of them stays" in err
    assert "QUARRY_ALLOW_ADDRESSES" in err and "QUARRY_ALLOW_ADDRESSES" in out
    assert crawled.urls() == kept
    _, explained, _ = quarry("explain", next(iter(kept)))
    assert "blocked_address" in explained and "QUARRY_ALLOW_ADDRESSES" in explained
    monkeypatch.setenv("QUARRY_ALLOW_ADDRESSES", "127.0.0.0/8")
    assert quarry("run")[0] == 0
    assert crawled.urls() == kept and crawled.read("raw_pages")["detail"].null_count() == PAGES


class TestShrink:
    def test_a_corpus_that_shrinks_is_not_published_until_somebody_accepts_it(
        self, quarry: Quarry, crawled: Corpus, site: Site
    ) -> None:
        kept, before = crawled.urls(), crawled.store.deduped_corpus.current()
        for i in range(25):
            site.pages[f"/{i}"] = 404
        status, _, err = quarry("run")
        assert status == 1
        assert "check corpus_shrank of deduped_corpus: not published, the corpus of before stands" in err
        assert f"25 of {PAGES} documents" in err and "causes: 25 http_error 404" in err
        assert f"hosts: 25 127.0.0.1:{site.port}" in err and "--accept-shrink" in err
        assert err.count("not published") == 1
        assert crawled.urls() == kept and crawled.store.deduped_corpus.current() == before
        assert quarry("run", "--force")[0] == 1  # to do work again is no acceptance
        status, out, _ = quarry("check")
        assert status == 1 and "corpus_shrank" in out and "the newest corpus was refused" in out
        status, out, _ = quarry("search", words(3))
        assert status == 0 and site.url("/3") in out  # the corpus of before answers, from its own index
        _, explained, _ = quarry("explain", site.url("/3"))
        assert "http_error, HTTP 404" in explained and "kept; no duplicates; this corpus is of before" in explained
        status, out, err = quarry("run", "--accept-shrink", "--dedup-only")
        assert status == 0, err
        assert f"accepted: 25 of {PAGES} documents leave" in out
        assert len(crawled.urls()) == PAGES - 25 and quarry("check")[0] == 0
        corpus = crawled.store.deduped_corpus.current()
        assert corpus is not None
        (accepted,) = corpus.accepted
        assert accepted.what == "shrink" and " on " in accepted.who and accepted.at
        assert quarry("run")[0] == 0

    def test_most_of_a_small_corpus_does_not_leave(self, quarry: Quarry, tmp_path: Path, site: Site) -> None:
        site.pages = {f"/{i}": html(f"Page {i}", words(i)) for i in range(15)}
        (tmp_path / "a.txt").write_text("".join(site.url(path) + "\n" for path in site.pages))
        assert quarry("run", tmp_path / "a.txt")[0] == 0
        pages = dict(site.pages)
        site.pages = dict.fromkeys(pages, html("Welcome", f"Log in to the network. {words(999)}"))
        status, out, err = quarry("run")  # a captive portal leaves one document: that of its login page
        assert status == 1 and "14 of 15 documents leave" in err and "14 duplicate by level exact" in err
        assert "of before: the new corpus is refused" in out
        _, explained, _ = quarry("explain", site.url("/3"))
        assert "this corpus is of before" in explained
        site.pages = pages
        assert quarry("run")[0] == 0 and quarry("check")[0] == 0

    def test_what_leaves_within_the_bounds_is_said(self, quarry: Quarry, crawled: Corpus, site: Site) -> None:
        for i in range(5):
            site.pages[f"/{i}"] = 404
        status, out, _ = quarry("run")
        assert status == 0 and f"5 of {PAGES} documents leave" in out and "5 http_error 404" in out

    def test_erosion_in_small_steps_is_seen(self, quarry: Quarry, crawled: Corpus, site: Site) -> None:
        for i in range(12):
            site.pages[f"/{i}"] = 404
        assert quarry("run")[0] == 0
        for i in range(12, 24):
            site.pages[f"/{i}"] = 404
        status, _, err = quarry("run")
        assert status == 1 and f"24 of {PAGES} documents" in err
        assert len(crawled.urls()) == PAGES - 12
        for i in range(PAGES):  # they come back: nothing is lost of what was
            site.pages[f"/{i}"] = html(f"Page {i}", words(i))
        assert quarry("run")[0] == 0 and len(crawled.urls()) == PAGES

    def test_a_corpus_is_not_left_empty(self, quarry: Quarry, tmp_path: Path, site: Site) -> None:
        site.pages = {f"/{i}": html(f"Page {i}", words(i)) for i in range(3)}
        (tmp_path / "a.txt").write_text("".join(site.url(f"/{i}") + "\n" for i in range(3)))
        assert quarry("run", tmp_path / "a.txt")[0] == 0
        site.pages = {}
        status, _, err = quarry("run")
        assert status == 1 and "the corpus is left empty" in err
        assert scan("deduped_corpus", tmp_path / "data").collect().height == 3

    def test_a_large_host_does_not_vanish(self, quarry: Quarry, tmp_path: Path, site: Site) -> None:
        write_profile(tmp_path / "quick.yaml", partitions={"pages_per_partition": 300})
        many = {f"http://many.test/{i}": words(1000 + i) for i in range(300)}
        Corpus(tmp_path / "data", profile()).seed_texts("many.jsonl", many)
        site.pages = {f"/{i}": html(f"Page {i}", words(i)) for i in range(55)}
        (tmp_path / "a.txt").write_text("".join(site.url(f"/{i}") + "\n" for i in range(55)))
        assert quarry("run", tmp_path / "a.txt")[0] == 0
        site.pages = {"/0": site.pages["/0"]}
        assert quarry("run")[0] == 0  # a sixth of the corpus, and one page of the host is left
        site.pages = {}
        status, _, err = quarry("run")
        assert status == 1 and f"nothing is left of 127.0.0.1:{site.port}" in err

    def test_what_is_forgotten_or_opted_out_is_meant(self, quarry: Quarry, crawled: Corpus, site: Site) -> None:
        noai = b"<meta name='robots' content='noai'></head>"
        for i in range(30):
            page = site.pages[f"/{i}"]
            assert isinstance(page, bytes)
            site.pages[f"/{i}"] = page.replace(b"</head>", noai)
        status, _, err = quarry("run")
        assert status == 0, err
        assert len(crawled.urls()) == PAGES - 30
        status, _, err = quarry("forget", f"127.0.0.1:{site.port}")
        assert status == 0, err
        assert not crawled.urls()

    def test_a_setting_that_was_confirmed_is_meant_and_one_that_was_not_is_counted(
        self, quarry: Quarry, crawled: Corpus, tmp_path: Path
    ) -> None:
        long = write_profile(tmp_path / "long.yaml", extraction={"min_words": 1000})
        status, _, err = quarry("run", "--profile", long)
        assert status == 1 and f"{PAGES} text too_short" in err and len(crawled.urls()) == PAGES
        assert "The settings in extraction are others than it was made with: to go back, name the profile" in err
        assert quarry("run")[0] == 0  # back to the settings of before: the corpus is whole
        status, _, err = quarry("run", "--profile", long, "--yes")
        assert "none of" not in err and status == 0, err
        assert not crawled.urls()

    def test_a_document_whose_place_a_new_one_takes_is_no_loss(
        self, quarry: Quarry, crawled: Corpus, tmp_path: Path
    ) -> None:
        longer = {f"http://b.test/{i}": f"{words(i)}\n\n{words(1000 + i, 48)}" for i in range(PAGES)}
        crawled.seed_texts("b.jsonl", longer)
        status, _, err = quarry("run")
        assert status == 0, err
        assert {url for url in crawled.urls() if "b.test" in url}

    def test_one_new_document_does_not_take_the_place_of_many(self, quarry: Quarry, tmp_path: Path) -> None:
        corpus = Corpus(tmp_path / "data", profile())
        corpus.seed_texts("a.jsonl", {f"http://a.test/{i}": words(i) for i in range(30)})
        assert quarry("run")[0] == 0
        everything = "\n\n".join(words(i) for i in range(30))
        corpus.seed_texts("b.jsonl", {"http://b.test/all": everything})
        status, _, err = quarry("run")
        assert (status, "duplicate by level near" in err) in ((1, True), (0, False))
        assert corpus.urls() >= {f"http://a.test/{i}" for i in range(30)}

    def test_a_captive_portal_that_answers_for_every_page_is_not_published(
        self, quarry: Quarry, crawled: Corpus, site: Site
    ) -> None:
        kept = crawled.urls()
        pages = dict(site.pages)
        site.pages = dict.fromkeys(pages, html("Welcome", f"Log in to the network. {words(999)}"))
        status, _, err = quarry("run")
        assert status == 1 and "check corpus_shrank" in err
        assert crawled.urls() == kept
        site.pages = pages
        status, _, err = quarry("run")
        assert status == 0, err
        assert crawled.urls() == kept


class TestFailedChecks:
    def test_what_stands_failed_blocks_the_corpus_whoever_asks_for_it(
        self, quarry: Quarry, crawled: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        root = str(crawled.root)
        before = crawled.store.deduped_corpus.current()
        breaches.lost_text(crawled.store)
        (partition,) = crawled.store.failed_checks().partitions_of("extracted_text") or {
            next(iter(crawled.store.extracted_text.segments()))
        }
        assert quarry("check")[0] == 1
        monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "new"))  # an instance that knows no failure
        (tmp_path / "new").mkdir()
        (tmp_path / "new" / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
        with dg.DagsterInstance.get() as instance:
            job = build_defs(root).resolve_job_def("corpus")
            done = job.execute_in_process(instance=instance, raise_on_error=False)
        assert not done.success
        said = str(done.get_step_failure_events()[0].step_failure_data.error)
        assert "check contract of extracted_text stands failed" in said and partition in said
        assert "materialize extracted_text of" in said and "--accept-check extracted_text.contract" in said
        assert crawled.store.deduped_corpus.current() == before

    def test_materializing_the_named_partition_again_mends_it(self, quarry: Quarry, crawled: Corpus) -> None:
        kept = crawled.result()
        breaches.lost_text(crawled.store)
        assert quarry("check")[0] == 1
        status, _, err = quarry("run", "--dedup-only")
        assert status == 1 and "stands failed" in err
        status, _, err = quarry("run")  # it materializes every partition
        assert status == 0, err
        assert not crawled.store.failed_checks().standing
        for found, expected in zip(crawled.result(), kept, strict=True):
            assert found.equals(expected)

    @pytest.mark.parametrize("breach", [breaches.wrong_body, breaches.lost_page, breaches.unknown_outcome])
    def test_pages_that_break_the_contract_are_asked_for_again(
        self, quarry: Quarry, crawled: Corpus, breach: object
    ) -> None:
        assert callable(breach)
        breach(crawled.store)
        assert quarry("check")[0] == 1
        status, _, err = quarry("run")
        assert status == 0, err
        assert quarry("check")[0] == 0

    def test_a_check_that_is_accepted_lets_the_corpus_be_published_and_is_recorded(
        self, quarry: Quarry, tmp_path: Path
    ) -> None:
        corpus = Corpus(tmp_path / "data", profile())
        corpus.seed_texts("a.jsonl", {f"http://a.test/{i}": words(i) for i in range(5)})
        assert quarry("run")[0] == 0
        breaches.lost_text(corpus.store)
        assert quarry("check")[0] == 1
        corpus.seed_texts("b.jsonl", {f"http://b.test/{i}": words(100 + i) for i in range(30)})
        status, _, err = quarry("run", "--dedup-only", "--accept-check", "conservatio")
        assert status == 2 and "no check 'conservatio' blocks" in err and "extracted_text.contract" in err
        assert quarry("run", "--dedup-only", "--force")[0] == 1  # to do work again passes no failed check
        status, _, err = quarry("run", "--dedup-only", "--accept-check", "contract")
        assert status == 0, err
        published = corpus.store.deduped_corpus.current()
        assert published is not None
        assert "check extracted_text.contract" in {each.what for each in published.accepted}


class TestSettings:
    def test_a_run_that_names_no_profile_uses_what_the_data_root_remembers(
        self, quarry: Quarry, crawled: Corpus, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        vectors = crawled.read("embeddings")["model"].unique().to_list()
        monkeypatch.delenv("QUARRY_PROFILE")
        status, _, err = quarry("run")
        assert status == 0 and "remembered by the data root" in err and "embedded anew" not in err
        assert crawled.read("embeddings")["model"].unique().to_list() == vectors
        status, out, _ = quarry("search", words(7), "-k", "1")
        assert status == 0 and "/7" in out

    def test_other_settings_say_what_they_do_anew_before_it_begins(
        self, quarry: Quarry, crawled: Corpus, tmp_path: Path
    ) -> None:
        plain = {"text_format": "plain"}
        other = write_profile(tmp_path / "other.yaml", embedding={"max_tokens": 16}, extraction=plain)
        status, _, err = quarry("run", "--profile", other)
        assert status == 0, err
        _, profile_, extracted, embedded, *_ = err.splitlines()
        assert profile_.startswith("profile  other")
        assert f"{PAGES} texts are extracted anew, about " in extracted
        assert f"{PAGES} texts are embedded anew, about " in embedded

    def test_many_texts_are_not_made_anew_without_a_yes(self, quarry: Quarry, tmp_path: Path) -> None:
        corpus = Corpus(tmp_path / "data", profile())
        corpus.seed_texts("a.jsonl", {f"http://a.test/{i}": words(i, 30) for i in range(1001)})
        big: dict[str, object] = {"pages_per_partition": 2000}
        usual = write_profile(tmp_path / "usual.yaml", partitions=big)
        assert quarry("run", "--profile", usual)[0] == 0
        other = write_profile(tmp_path / "other.yaml", partitions=big, embedding={"max_tokens": 16})
        before = corpus.files()
        status, _, err = quarry("run", "--profile", other)
        assert status == 1 and "1,001 texts are embedded anew" in err and "--yes" in err
        assert corpus.files() == before
        with runner.instance(str(corpus.root)) as instance:
            job = build_defs(str(corpus.root), str(other)).resolve_job_def("corpus")
            done = job.execute_in_process(instance=instance, raise_on_error=False)
        assert "yes: true" in str(done.get_step_failure_events()[0].step_failure_data.error)
        status, _, err = quarry("run", "--profile", other, "--yes")
        assert status == 0, err
        assert corpus.read("embeddings")["model"].unique().to_list()[0].endswith("16t")

    def test_a_model_in_a_folder_is_not_loaded_because_a_data_root_names_it(
        self, quarry: Quarry, crawled: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        stored = json.loads(json.dumps(crawled.store.files.log.value("root")))
        stored["settings"]["embedding"] |= {"model": str(tmp_path / "model"), "backend": "torch"}
        crawled.store.files.log.set("root", lambda _: stored)
        (tmp_path / "model").mkdir()
        monkeypatch.delenv("QUARRY_PROFILE")
        for command in (("run",), ("search", "bread")):
            status, _, err = quarry(*command)
            assert status == 1 and "nothing is loaded because a data root names it" in err, command

    def test_work_is_done_again_and_pages_are_asked_for_again_only_on_demand(
        self, quarry: Quarry, crawled: Corpus, site: Site
    ) -> None:
        site.reset()
        before = {p.partition: p.path for p in crawled.store.extracted_text.segments().values()}
        assert quarry("run")[0] == 0 and site.answers == {304: PAGES}
        site.reset()
        assert quarry("run", "--refetch")[0] == 0 and site.answers == {200: PAGES}
        assert {p.partition: p.path for p in crawled.store.extracted_text.segments().values()} == before
        status, out, _ = quarry("run", "--force")
        assert status == 0 and f"{PAGES} extracted_text, {PAGES} embeddings" in out
        assert not set(before.values()) & {p.path for p in crawled.store.extracted_text.segments().values()}

    def test_settings_that_make_texts_anew_are_refused_where_texts_are_to_stay(
        self, quarry: Quarry, crawled: Corpus, tmp_path: Path
    ) -> None:
        other = write_profile(tmp_path / "other.yaml", embedding={"max_tokens": 16})
        before = crawled.files()
        status, _, err = quarry("run", "--dedup-only", "--profile", other)
        assert status == 1 and f"make {PAGES} texts or vectors anew, which --dedup-only does not" in err
        assert crawled.files() == before

    def test_a_takedown_works_under_the_settings_of_the_data_root(
        self, quarry: Quarry, crawled: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, site: Site
    ) -> None:
        other = write_profile(tmp_path / "other.yaml", extraction={"min_words": 1000})
        monkeypatch.setenv("QUARRY_PROFILE", str(other))
        assert quarry("forget", site.url("/1"))[0] == 0
        assert len(crawled.urls()) == PAGES - 1

    def test_nothing_that_lies_in_a_data_root_is_imported(self, quarry: Quarry, crawled: Corpus) -> None:
        settings = crawled.root / ".dagster" / "dagster.yaml"
        settings.write_text("local_artifact_storage: {module: antigravity, class: Fly, config: {}}\n")
        status, _, err = quarry("run")
        assert status == 1 and "names code to load (antigravity)" in err and "DAGSTER_HOME" in err
        assert "antigravity" not in sys.modules

    def test_a_data_root_that_is_a_file_is_named(self, quarry: Quarry, tmp_path: Path) -> None:
        (tmp_path / "seeds.txt").write_text("http://a.test/\n")
        for command in (("run",), ("check",), ("search", "bread"), ("explain", "http://a.test/"), ("forget", "a.test")):
            status, _, err = quarry(*command, "--data", tmp_path / "seeds.txt")
            assert status == 1 and "seeds.txt is a file: a data root is a folder" in err, command

    def test_a_misspelt_check_is_refused_before_anything_is_done(self, quarry: Quarry, tmp_path: Path) -> None:
        (tmp_path / "a.jsonl").write_text(json.dumps({"url": "http://a.test/", "text": words(1)}))
        status, _, err = quarry("run", tmp_path / "a.jsonl", "--accept-check", "contrakt")
        assert status == 2 and "no check 'contrakt' blocks" in err
        assert not (tmp_path / "data").exists()


class TestTotalFailure:
    def test_seeds_of_which_no_line_is_usable(self, quarry: Quarry, tmp_path: Path) -> None:
        (tmp_path / "a.txt").write_text("".join(f"htp://a.test/{i}\n" for i in range(50)))
        status, _, err = quarry("run", tmp_path / "a.txt")
        assert status == 1 and "no line of a.txt is usable, of 50" in err and "docs/seeds.md" in err

    def test_pages_none_of_which_comes(self, quarry: Quarry, tmp_path: Path, site: Site) -> None:
        (tmp_path / "a.txt").write_text(f"{site.url('/1')}\n{site.url('/2')}\n")
        status, _, err = quarry("run", tmp_path / "a.txt")
        assert status == 1 and "none of 2 pages came: 2 http_error" in err and "quarry explain" in err

    def test_documents_none_of_which_is_accepted(self, quarry: Quarry, tmp_path: Path) -> None:
        Corpus(tmp_path / "data", profile()).seed_texts("a.jsonl", {f"http://a.test/{i}": "Few." for i in range(3)})
        status, _, err = quarry("run")
        assert status == 1 and "none of the 3 documents of this run was accepted: 3 too_short" in err

    def test_a_dead_link_beside_given_texts_fails_no_later_run(
        self, quarry: Quarry, tmp_path: Path, site: Site
    ) -> None:
        Corpus(tmp_path / "data", profile()).seed_texts("a.jsonl", {"http://a.test/1": words(1)})
        (tmp_path / "b.txt").write_text(site.url("/dead"))
        assert quarry("run", tmp_path / "b.txt")[0] == 1
        assert quarry("run")[0] == 0

    def test_a_rerun_with_nothing_new_is_none(self, quarry: Quarry, tmp_path: Path) -> None:
        corpus = Corpus(tmp_path / "data", profile())
        corpus.seed_texts("a.jsonl", {"http://a.test/1": words(1), "http://a.test/2": "Few."})
        assert quarry("run")[0] == 0
        assert quarry("run")[0] == 0
        corpus.seed_texts("b.jsonl", {"http://a.test/3": "Few."})
        status, _, err = quarry("run")
        assert status == 1 and "none of the 1 documents" in err
        assert quarry("run")[0] == 0


def test_forgotten_pages_are_not_counted_as_asked_for(quarry: Quarry, tmp_path: Path, site: Site) -> None:
    site.pages = {"/1": html("Page", words(1))}
    (tmp_path / "a.txt").write_text(f"{site.url('/1')}\nhttp://b.test/2\n")
    corpus = Corpus(tmp_path / "data", profile())
    quarry("run", tmp_path / "a.txt")
    assert quarry("forget", "b.test")[0] == 0
    assert quarry("run")[0] == 0
    assert asked_for(corpus.store) == ({"fetched": 1}, 0) or asked_for(corpus.store) == ({"not_modified": 1}, 0)


def test_a_takedown_does_not_carry_a_refused_loss_with_it(quarry: Quarry, crawled: Corpus, site: Site) -> None:
    for i in range(25):
        site.pages[f"/{i}"] = 404
    assert quarry("run")[0] == 1
    status, _, err = quarry("forget", site.url("/39"))
    assert status == 1 and "25 http_error 404" in err and "1 forgotten" in err and "--accept-shrink" in err
    assert len(crawled.urls()) == PAGES
    assert "takedown" in (explained := quarry("explain", site.url("/39"))[1])
    assert "the next corpus that is published ends it" in explained
    status, _, err = quarry("forget", site.url("/39"), "--accept-shrink")
    assert status == 0, err
    assert len(crawled.urls()) == PAGES - 26
