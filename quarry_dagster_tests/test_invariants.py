"""The invariants that users rely on: conservation, witness, incremental = rebuild, idempotence, cost follows change."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from quarry_dagster import takedown
from quarry_dagster.dedup import near, verify
from quarry_dagster.errors import ConfigError
from quarry_dagster.extract import text_digest
from quarry_dagster.stages.backlog import backlog
from quarry_dagster.store.schemas import EXTRACT_OUTCOMES, FETCH_OUTCOMES
from quarry_dagster.takedown import put_on_list
from quarry_dagster.urls import same_page_url
from quarry_dagster_tests.corpus import Corpus, justified, profile, shipped, words
from quarry_dagster_tests.site import Server, Site, html


def edited(text: str, every: int = 15) -> str:
    """The text with one word in `every` changed: a near duplicate."""
    return " ".join(w if i % every else f"changed{i}" for i, w in enumerate(text.split(" ")))


def story_pages() -> dict[str, bytes | int | str]:
    """Forty pages: thirty-two stories, and an exact copy, an edit, a part, a redirect, and failures."""
    stories = {f"/story/{i}": words(i) for i in range(32)}
    pages: dict[str, bytes | int | str] = {path: html(f"Story {path[7:]}", text) for path, text in stories.items()}
    pages["/copy"] = html("Story 0", stories["/story/0"])
    pages["/edit"] = html("Story 1", edited(stories["/story/1"]))
    pages["/part"] = html("Story 2", "\n\n".join(stories["/story/2"].split("\n\n")[:3]))
    pages["/moved"] = "/story/3"
    pages["/short"] = html("Short", "Only five words stand here.")
    pages["/refused"] = html("Refused", words(99)).replace(b"<head>", b"<head><meta name='robots' content='noai'>")
    pages["/broken"] = 500
    return pages


def seed_lines(site: Site) -> str:
    return "".join(site.url(p) + "\n" for p in [*site.pages, "/missing"]) + "htp:/broken line\n"


@pytest.fixture(scope="session")
def _stories(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, Corpus]]:
    """The site of the stories and the corpus of them, which no test changes: each has a copy."""
    with Server() as server:
        server.site.pages = story_pages()
        corpus = Corpus(tmp_path_factory.mktemp("stories") / "data", profile(embedding={"backend": "torch"}))
        corpus.seed("stories.txt", seed_lines(server.site))
        corpus.run()
        yield server.site, corpus


@pytest.fixture
def story_site(_stories: tuple[Site, Corpus]) -> Site:
    """The site as it was when the stories were crawled."""
    site, _ = _stories
    site.pages = story_pages()
    site.reset()
    return site


@pytest.fixture
def stories(_stories: tuple[Site, Corpus], tmp_path: Path) -> Corpus:
    """A copy of the corpus of the stories, as its first run left it."""
    return _stories[1].copy(tmp_path / "data")


def test_nothing_is_lost_between_assets(stories: Corpus, story_site: Site) -> None:
    raw, text = stories.read("raw_pages"), stories.read("extracted_text")
    seeds = {line for line in seed_lines(story_site).split("\n") if line} | {"htp:/broken line"}
    assert set(raw["url"]) == seeds
    assert raw["url"].is_unique().all()
    assert set(raw["outcome"]) <= set(FETCH_OUTCOMES)
    assert set(text["outcome"]) <= set(EXTRACT_OUTCOMES)
    assert dict(raw.group_by("outcome").len().iter_rows()) == {
        "fetched": 37,
        "opted_out": 1,
        "http_error": 2,
        "invalid_url": 1,
    }
    assert sorted(text["doc_id"]) == sorted(raw["doc_id"])
    accepted = text.filter(pl.col("outcome") == "extracted")
    assert sorted(stories.read("embeddings")["doc_id"]) == sorted(accepted["doc_id"])
    kept, removed = stories.read("deduped_corpus")["doc_id"], stories.read("dedup_decisions")["removed_id"]
    assert sorted([*kept, *removed]) == sorted(accepted["doc_id"])
    assert stories.read("deduped_corpus")["duplicates"].sum() == len(removed)


def test_every_removal_has_a_kept_witness_and_its_rule_holds_on_the_stored_texts(
    stories: Corpus, story_site: Site
) -> None:
    text = {r["doc_id"]: r for r in stories.read("extracted_text").iter_rows(named=True)}
    vector = {r["doc_id"]: np.array(r["embedding"]) for r in stories.read("embeddings").iter_rows(named=True)}
    kept = set(stories.read("deduped_corpus")["doc_id"])
    levels = set()
    for d in stories.read("dedup_decisions").iter_rows(named=True):
        assert d["kept_id"] in kept
        a, b = text[d["removed_id"]], text[d["witness_id"]]
        levels.add(d["level"])
        if d["level"] == "url":
            assert same_page_url(a["final_url"]) == same_page_url(b["final_url"])
        elif d["level"] == "exact":
            assert text_digest(a["text"]) == text_digest(b["text"])
        else:
            cosine = float(vector[d["removed_id"]] @ vector[d["witness_id"]])
            assert justified(stories.profile.deduplication, d, a["text"], b["text"])
            assert d["cosine"] == pytest.approx(cosine, abs=1e-3)
            s = verify.scores(near.Text.of([a["text"], b["text"]]), np.array([0]), np.array([1])).row(0, named=True)
            assert (d["jaccard"], d["containment"]) == (s["jaccard"], s["left_in_right"])
    assert levels == {"url", "exact", "near"}


def test_a_rerun_with_nothing_new_asks_conditionally_and_writes_nothing(stories: Corpus, story_site: Site) -> None:
    before = stories.files()
    story_site.reset()
    reports = stories.run()
    assert stories.files() == before
    assert {name: r.written for name, r in reports.items()} == dict.fromkeys(reports, 0)
    assert all(r.seconds > 0 for r in reports.values())
    assert reports["extracted_text"].worked == reports["embeddings"].worked == reports["faiss_index"].worked == 0
    assert story_site.answers[200] == 0
    assert story_site.answers[304] == 38


def test_one_seed_line_more_costs_one_page(stories: Corpus, story_site: Site) -> None:
    before = stories.files()
    story_site.pages["/new"] = html("New", words(100))
    story_site.reset()
    stories.seed("stories.txt", seed_lines(story_site))
    reports = stories.run()
    assert story_site.answers[200] == 1
    assert {n: reports[n].worked for n in ("extracted_text", "embeddings", "faiss_index")} == {
        "extracted_text": 1,
        "embeddings": 1,
        "faiss_index": 1,
    }
    after = stories.files()
    tables = ("batches", "raw_pages", "extracted_text", "embeddings", "sketches")
    touched = {p for p in after if p not in before or after[p] != before[p]}
    assert sum(p.startswith(tables) for p in touched) == len(tables)  # one new file in each, no old one touched
    assert story_site.url("/new") in stories.urls()


def test_a_crawl_after_one_percent_changed_costs_one_percent(tmp_path: Path, site: Site) -> None:
    corpus = Corpus(tmp_path, profile(partitions={"pages_per_partition": 50}))
    site.pages = {f"/{i}": html(f"Page {i}", words(i)) for i in range(200)}
    corpus.seed("pages.txt", "".join(site.url(path) + "\n" for path in site.pages))
    corpus.run()
    first, files = site.sent, corpus.files()
    for i in (3, 190):
        site.pages[f"/{i}"] = html(f"Page {i}", words(1000 + i))
    site.reset()
    reports = corpus.run()
    assert site.answers == {200: 2, 304: 198}
    assert site.sent < first / 50
    assert {n: reports[n].worked for n in ("extracted_text", "embeddings")} == {"extracted_text": 2, "embeddings": 2}
    written = {path.split("/")[1] for path in corpus.files().keys() - files.keys() if path.startswith("raw_pages")}
    assert len(written) == 2  # partitions of four


def test_the_same_seed_dropped_twice_adds_nothing(stories: Corpus, story_site: Site) -> None:
    stories.seed("again.txt", seed_lines(story_site))
    reports = stories.take_in()
    assert [(r.name, r.added) for r in reports] == [("again.txt", 0)]


def test_a_page_that_changed_is_a_new_version_of_the_same_document(stories: Corpus, story_site: Site) -> None:
    old = stories.read("deduped_corpus").filter(pl.col("url") == story_site.url("/story/9"))
    story_site.pages["/story/9"] = html("Story 9", words(500))
    reports = stories.run()
    new = stories.read("deduped_corpus").filter(pl.col("url") == story_site.url("/story/9"))
    assert new["doc_id"].to_list() == old["doc_id"].to_list()
    assert new["text"].to_list() != old["text"].to_list()
    assert reports["extracted_text"].worked == reports["embeddings"].worked == 1


def test_when_a_kept_document_goes_its_best_duplicate_comes_back(stories: Corpus, story_site: Site) -> None:
    assert story_site.url("/edit") not in stories.urls()
    story_site.pages["/story/1"] = 410
    stories.run()
    assert story_site.url("/story/1") not in stories.urls()
    assert story_site.url("/edit") in stories.urls()


def test_a_bad_night_does_not_empty_the_corpus(stories: Corpus, story_site: Site) -> None:
    kept = stories.urls()
    working = dict(story_site.pages)
    story_site.pages = dict.fromkeys(working, 503)
    stories.run()
    assert stories.urls() == kept
    row = stories.read("raw_pages").filter(pl.col("url") == story_site.url("/story/0")).row(0, named=True)
    assert row["body"] is not None
    assert "kept the body of" in row["detail"]
    story_site.pages = working
    stories.run()
    row = stories.read("raw_pages").filter(pl.col("url") == story_site.url("/story/0")).row(0, named=True)
    assert row["detail"] is None


def test_a_page_that_is_gone_leaves_unless_the_profile_keeps_it(stories: Corpus, story_site: Site) -> None:
    story_site.pages["/story/9"] = 404
    story_site.pages["/story/8"] = 410
    keeping = Corpus(stories.root, profile(crawl={"keep_gone": True}))
    keeping.run()
    gone = {story_site.url("/story/8"), story_site.url("/story/9")}
    assert gone <= keeping.urls()
    rows = keeping.read("raw_pages").filter(pl.col("url").is_in(gone)).sort("url")
    assert all("kept the body of" in d for d in rows["detail"])
    assert [d.rpartition(" ")[2] for d in rows["detail"]] == ["410", "404"]
    before = keeping.files()
    keeping.run()
    assert keeping.files() == before
    stories.run()
    assert not gone & stories.urls()


def test_equal_texts_are_embedded_once(corpus: Corpus) -> None:
    corpus.seed_texts("a.jsonl", {f"http://a.test/{i}": words(i % 3) for i in range(25)})
    reports = corpus.run()
    assert reports["embeddings"].worked == 3
    assert corpus.read("embeddings").height == 25
    assert corpus.read("deduped_corpus")["duplicates"].sum() == 22
    again = Corpus(corpus.root, profile(partitions={"pages_per_partition": 10}))
    again.seed_texts("b.jsonl", {"http://b.test/1": words(1)})
    assert again.run()["embeddings"].worked == 0


def test_texts_are_embedded_again_under_another_model_and_no_old_vector_stays(tmp_path: Path) -> None:
    texts = {f"http://a.test/{i}": words(i) for i in range(5)}
    before, clean = Corpus(tmp_path / "a", profile()), Corpus(tmp_path / "b", profile(embedding={"max_tokens": 16}))
    after = Corpus(before.root, clean.profile)
    for corpus in (before, clean):
        corpus.seed_texts("a.jsonl", texts)
        corpus.run()
    assert after.run()["embeddings"].worked == 5
    mine, theirs = (c.read("embeddings").drop("partition").sort("doc_id") for c in (after, clean))
    assert mine.equals(theirs)


def test_a_vanished_partition_takes_its_documents_with_it(corpus: Corpus) -> None:
    corpus.seed_texts("a.jsonl", {f"http://a.test/{i}": words(i) for i in range(20)})
    corpus.run()
    first, second = corpus.store.batches.segments()
    gone = set(corpus.read("raw_pages").filter(pl.col("partition") == first)["url"])
    corpus.store.delete_partitions([first])
    corpus.run([second])
    assert corpus.urls() == {f"http://a.test/{i}" for i in range(20)} - gone
    assert corpus.store.faiss_index.current().vectors == 10  # pyright: ignore[reportOptionalMemberAccess]


def test_what_is_forgotten_leaves_no_byte_and_stays_out(stories: Corpus, story_site: Site) -> None:
    secret = "zanzibarquokka"
    story_site.pages["/story/5"] = html("Secret", f"{secret} {words(5)}")
    stories.run()
    assert takedown.forget(stories.store, stories.profile, story_site.url("/story/5")) == 1
    assert story_site.url("/story/5") not in stories.urls()
    story_site.reset()
    stories.run()
    assert "/story/5" not in story_site.asked
    raw = stories.read("raw_pages").filter(pl.col("url") == story_site.url("/story/5")).row(0, named=True)
    assert (raw["outcome"], raw["body"]) == ("opted_out", None)
    for path in stories.root.rglob("*.parquet"):
        frame = pl.read_parquet(path)
        for column in ("text", "body"):
            if column in frame.columns:
                held = frame[column].drop_nulls()
                held = [h if isinstance(h, bytes) else h.encode() for h in held]
                assert not any(secret.encode() in h for h in held), path
    assert takedown.forget(stories.store, stories.profile, "127.0.0.1") == 36
    assert stories.urls() == set()


@pytest.mark.parametrize("known", [False, True], ids=["first crawl", "later crawl"])
def test_what_is_forgotten_while_it_is_crawled_stays_out(corpus: Corpus, site: Site, known: bool) -> None:
    paths = [f"/{i}" for i in range(4)]
    corpus.seed("a.txt", "".join(f"{site.url(path)}\n" for path in paths))
    corpus.seed_texts("b.jsonl", {"http://a.test/1": words(9), site.url("/0"): words(8)})
    site.pages = {path: html("Page", words(int(path[1:]))) for path in paths}
    if known:
        corpus.run()
        site.pages |= {path: html("Page", f"{words(int(path[1:]))} quokka") for path in paths}
        site.reset()
    else:
        corpus.take_in()

    class _Pages(dict[str, bytes | int | str]):
        def get(self, path: str, default: bytes | int | str) -> bytes | int | str:  # pyright: ignore[reportIncompatibleMethodOverride]
            if path == "/3":
                for gone in ("/0", "/1"):
                    takedown.forget(corpus.store, corpus.profile, site.url(gone))
            return super().get(path, default)

    site.pages = _Pages(site.pages)
    corpus.run()
    assert {"/1", "/3"} <= {*site.asked}
    rows = corpus.read("raw_pages").select("url", "outcome", pl.col("body").is_not_null()).rows()
    of = {url: (outcome, has_body) for url, outcome, has_body in rows}
    assert of.pop(site.url("/0")) == of.pop(site.url("/1")) == ("opted_out", False)
    assert all(has_body for _, has_body in of.values())
    assert corpus.urls() == {site.url("/2"), site.url("/3"), "http://a.test/1"}
    if known:
        kept = corpus.read("deduped_corpus").filter(pl.col("url") == site.url("/2"))
        assert kept["text"].str.contains("quokka").all(), "what came before and after the takedown is kept"


def test_a_forgotten_document_does_not_come_back_by_another_way(corpus: Corpus, site: Site) -> None:
    corpus.seed_texts("a.jsonl", {"http://a.test/1": "quokka " + words(1), "http://a.test/2": words(2)})
    site.pages = {"/here": html("Here", words(3)), "/there": "/here"}
    corpus.seed("b.txt", site.url("/there"))
    corpus.run()
    assert takedown.forget(corpus.store, corpus.profile, "http://a.test/1?utm_source=x") == 1
    assert takedown.forget(corpus.store, corpus.profile, site.url("/here")) == 1
    corpus.seed_texts("again.jsonl", {"http://a.test/1": "quokka " + words(1)})
    corpus.run()
    assert corpus.urls() == {"http://a.test/2"}
    assert not corpus.store.batches.scan().filter(pl.col("body").bin.contains(b"quokka")).collect().height
    assert set(corpus.read("raw_pages")["outcome"]) == {"given", "opted_out"}
    for neither in ("a.test/1", "a.test:80", "me@a.test", "a test", ""):
        with pytest.raises(ConfigError, match="neither a URL"):
            put_on_list(corpus.store, neither)
    assert put_on_list(corpus.store, "Bücher.test").reason("http://xn--bcher-kva.test/1")


def test_a_takedown_does_not_hide_that_a_partition_waits_for_its_batch(corpus: Corpus) -> None:
    corpus.seed_texts("a.jsonl", {f"http://a.test/{i}": words(i) for i in range(3)})
    corpus.run()
    assert backlog(corpus.store) == {}
    takedown.forget(corpus.store, corpus.profile, "http://a.test/0")
    assert backlog(corpus.store) == {}
    corpus.seed_texts("b.jsonl", {"http://a.test/1": words(9)})
    corpus.take_in()
    takedown.forget(corpus.store, corpus.profile, "http://a.test/2")
    assert list(backlog(corpus.store)) == list(corpus.store.batches.segments())


def test_a_redirect_that_moved_is_seen_though_the_body_is_the_same(corpus: Corpus, site: Site) -> None:
    site.pages = {"/r": "/one", "/one": html("Page", words(1)), "/two": html("Page", words(1))}
    corpus.seed("a.txt", site.url("/r"))
    corpus.run()
    site.pages["/r"] = "/two"
    corpus.run()
    assert corpus.read("raw_pages")["final_url"].to_list() == [site.url("/two")]
    assert corpus.read("extracted_text")["final_url"].to_list() == [site.url("/two")]


def test_another_consent_policy_is_applied_to_pages_we_have(corpus: Corpus, site: Site) -> None:
    page = html("Page", words(1)).replace(b"<head>", b"<head><meta name='robots' content='noindex'>")
    site.pages = {"/a": page, "/b": html("Other", words(2))}
    corpus.seed("a.txt", site.url("/a") + "\n" + site.url("/b"))
    corpus.run()
    assert len(corpus.urls()) == 2
    strict = Corpus(corpus.root, profile(crawl={"obey_noindex": True}))
    strict.run()
    assert strict.urls() == {site.url("/b")}
    before = strict.files()
    strict.run()
    assert strict.files() == before


def test_texts_that_are_one_have_one_vector_whichever_came_first(tmp_path: Path) -> None:
    plain, other = words(1) + " Straße", words(1).upper() + " STRASSE"
    for first, second in ((plain, other), (other, plain)):
        corpus = Corpus(tmp_path / str(first == plain), profile())
        corpus.seed_texts("1.jsonl", {"http://a.test/1": first})
        corpus.run()
        corpus.seed_texts("2.jsonl", {"http://a.test/2": second})
        assert corpus.run()["embeddings"].worked == 0
        assert corpus.read("dedup_decisions")["level"].to_list() == ["exact"]
    vectors = [Corpus(tmp_path / d, profile()).read("embeddings")["embedding"][0] for d in ("True", "False")]
    assert np.allclose(vectors[0].to_numpy(), vectors[1].to_numpy(), atol=1e-6)


def _random_history(rng: random.Random) -> list[Callable[[Corpus, dict[str, str]], None]]:
    """Steps that change a corpus of given texts, and the dict of texts it should hold."""
    texts = [words(i, 80) for i in range(4)]
    texts += [edited(t, 10) for t in texts] + [edited(t, 9) for t in texts] + [texts[0] + " " + texts[1]]

    def put(corpus: Corpus, expected: dict[str, str]) -> None:
        chosen = {f"http://a.test/{rng.randrange(12)}": rng.choice(texts) for _ in range(rng.randint(1, 6))}
        chosen = {u: t for u, t in chosen.items() if "forgotten" not in expected.get(u, "")}
        corpus.seed_texts(f"seed{rng.random()}.jsonl", chosen)
        expected |= chosen
        corpus.run()

    def drop(corpus: Corpus, expected: dict[str, str]) -> None:
        if expected:
            url = rng.choice(sorted(expected))
            takedown.forget(corpus.store, corpus.profile, url)
            expected[url] = "forgotten"

    def rerun(corpus: Corpus, expected: dict[str, str]) -> None:
        corpus.run(rng.sample(list(corpus.store.batches.segments()), 1) if corpus.store.batches.segments() else None)

    return [rng.choice([put, put, put, drop, rerun]) for _ in range(8)]


@pytest.mark.parametrize("seed", range(6))
def test_any_history_ends_in_the_same_corpus_as_one_clean_build(tmp_path: Path, seed: int) -> None:
    """In every column but times and run ids, under a profile whose vectors depend on nothing but their texts."""
    rng = random.Random(seed)
    deduplication: dict[str, object] = {"mode": ("balanced", "aggressive", "annotate", "strict")[seed % 4]}

    def tiny(name: str, pages: int) -> Corpus:
        partitions: dict[str, object] = {"pages_per_partition": pages}
        return Corpus(tmp_path / name, shipped("raspberry_pi", partitions=partitions, deduplication=deduplication))

    grown = tiny("grown", rng.choice([2, 5, 50]))
    expected: dict[str, str] = {}
    for step in _random_history(rng):
        step(grown, expected)
    grown.run()
    final = {u: t for u, t in expected.items() if t != "forgotten"}
    rebuilt = tiny("rebuilt", 7)
    order = sorted(final)
    rng.shuffle(order)
    rebuilt.seed_texts("all.jsonl", {u: final[u] for u in order})
    rebuilt.run()
    for mine, theirs in zip(grown.result(), rebuilt.result(), strict=True):
        assert mine.equals(theirs)
