"""Deduplication as its users meet it: whole corpora through all stages, and what must be left of them."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from benchmarks.planted import SCRIPTS, Language
from quarry_dagster import takedown
from quarry_dagster_tests.corpus import Corpus, justified, profile, words
from quarry_dagster_tests.site import html

QUICK = {"device": "cpu", "max_tokens": 16}


def quick(root: Path, **sections: dict[str, object]) -> Corpus:
    """A corpus that embeds fast and takes any text, in one partition unless `sections` say otherwise."""
    defaults: dict[str, dict[str, object]] = {
        "embedding": QUICK,
        "extraction": {"min_words": 0},
        "partitions": {"pages_per_partition": 3000},
    }
    return Corpus(root, profile(**(defaults | sections)))


def edited(text: str, every: int, start: int = 0, by: str = "zz") -> str:
    """The text with one word in `every` changed, paragraphs kept."""
    return " ".join(f"{by}{i}" if i % every == start else w for i, w in enumerate(text.split(" ")))


def removals(corpus: Corpus) -> dict[str, tuple[str, str]]:
    """For each removed document its witness and the level, by URL; every near removal is justified by its texts."""
    text = dict(corpus.read("extracted_text").select("doc_id", "text").iter_rows())
    kept = set(corpus.read("deduped_corpus")["doc_id"])
    out = {}
    for d in corpus.read("dedup_decisions").iter_rows(named=True):
        assert d["kept_id"] in kept
        if d["level"] in ("near", "contained"):
            assert justified(corpus.profile.deduplication, d, text[d["removed_id"]], text[d["witness_id"]])
        out[d["removed_url"]] = (d["kept_url"], d["level"])
    return out


def url(name: object) -> str:
    return f"http://a.test/{name}"


@pytest.mark.parametrize("longest", ["a", "b", "c"])
def test_a_chain_ends_as_stars(tmp_path: Path, longest: str) -> None:
    """a and c are each a duplicate of b, but not of each other."""
    middle = words(1, 300)
    texts = {"a": edited(middle, 8, 3, "aa"), "b": middle, "c": edited(middle, 8, 5, "cc")}
    texts[longest] += " " + words(2, 12)
    corpus = quick(tmp_path)
    corpus.seed_texts("a.jsonl", {url(n): t for n, t in texts.items()})
    corpus.run()
    if longest == "b":
        assert removals(corpus) == {url("a"): (url("b"), "near"), url("c"): (url("b"), "near")}
    else:
        assert corpus.urls() >= {url(longest)}
        assert removals(corpus).get(url("b"), ("", ""))[0] in (url("a"), url("c"))
        assert corpus.urls() == {url("a"), url("c")}


def test_a_better_copy_that_comes_later_takes_over(tmp_path: Path) -> None:
    text = words(1, 200)
    corpus = quick(tmp_path)
    corpus.seed_texts("1.jsonl", {url("old"): text, url("edit"): edited(text, 20), url("copy"): text})
    corpus.run()
    assert corpus.urls() in ({url("old")}, {url("copy")}, {url("edit")})
    corpus.seed_texts("2.jsonl", {"http://b.test/whole": text + "\n\n" + words(2, 100)})
    corpus.run()
    assert corpus.urls() == {"http://b.test/whole"}
    assert {kept for kept, _ in removals(corpus).values()} == {"http://b.test/whole"}
    assert corpus.read("deduped_corpus")["duplicates"].to_list() == [3]


@pytest.mark.parametrize("loss", ["changes", "goes", "is forgotten"])
def test_when_the_kept_document_is_lost_its_best_duplicate_comes_back(tmp_path: Path, loss: str) -> None:
    text = words(1, 200)
    corpus = quick(tmp_path, partitions={"pages_per_partition": 1})
    corpus.seed_texts("1.jsonl", {url("whole"): text + " " + words(2, 60)})
    corpus.seed_texts("2.jsonl", {url("second"): text + " " + words(3, 30)})
    corpus.seed_texts("3.jsonl", {url("third"): text, url("other"): words(4, 150)})
    corpus.run()
    assert corpus.urls() == {url("whole"), url("other")}
    if loss == "changes":
        corpus.seed_texts("4.jsonl", {url("whole"): words(5, 90)})
    elif loss == "goes":
        row = corpus.read("raw_pages").filter(pl.col("url") == url("whole"))
        corpus.store.delete_partitions([row["partition"][0]])
    else:
        takedown.forget(corpus.store, corpus.profile, url("whole"))
    corpus.run()
    assert corpus.urls() - {url("whole")} == {url("second"), url("other")}
    assert (url("whole") in corpus.urls()) == (loss == "changes")
    assert removals(corpus) == {url("third"): (url("second"), "near")}


@pytest.mark.timeout(300)
def test_a_site_whose_pages_share_their_chrome_keeps_them_all(tmp_path: Path) -> None:
    """More than half of each page is the template: one page says nothing about another."""
    top, bottom = words(1, 45), words(2, 30)
    corpus = quick(tmp_path)
    corpus.seed_texts("a.jsonl", {url(i): f"{top}\n\n{words(100 + i, 60)}\n\n{bottom}" for i in range(300)})
    corpus.run()
    assert len(corpus.urls()) == 300


def test_of_two_thousand_copies_one_is_kept_and_each_of_the_others_explained(tmp_path: Path) -> None:
    corpus = quick(tmp_path)
    text = words(1, 60)
    corpus.seed_texts("a.jsonl", {f"http://h{i % 40}.test/{i}": text for i in range(2000)})
    assert corpus.run()["embeddings"].worked == 1
    (kept,) = corpus.read("deduped_corpus").select("url", "duplicates").iter_rows()
    assert kept[1] == 1999
    assert set(removals(corpus).values()) == {(kept[0], "exact")}
    assert corpus.read("dedup_decisions").height == 1999


def test_one_text_at_five_hundred_addresses_of_a_host(tmp_path: Path) -> None:
    corpus = quick(tmp_path)
    text = words(1, 60)
    tracked = {f"http://a.test/page?utm_source={i}": text for i in range(250)}
    corpus.seed_texts("a.jsonl", tracked | {url(f"copy/{i}"): text for i in range(250)})
    corpus.run()
    levels = [level for _, level in removals(corpus).values()]
    assert len(levels) == 499
    # The kept document is one of either kind; the tracked ones are one page among themselves.
    assert levels.count("url") in (0, 249)
    assert levels.count("exact") == 499 - levels.count("url")


def test_a_very_short_text_is_a_duplicate_of_its_copy_only(tmp_path: Path) -> None:
    corpus = quick(tmp_path)
    texts = {
        "a": "The shop is closed on Monday.",
        "b": "The shop is closed on Sunday.",
        "copy": "the SHOP is  closed on monday.",
        "long": "The shop is closed on Monday. " + words(1, 60),
    }
    corpus.seed_texts("a.jsonl", {url(n): t for n, t in texts.items()})
    corpus.run()
    (removed,) = removals(corpus).items()
    assert {removed[0], removed[1][0]} == {url("a"), url("copy")}
    assert removed[1][1] == "exact"


@pytest.mark.parametrize("number", range(len(SCRIPTS)))
def test_near_duplicates_are_found_in_every_script_and_others_kept(tmp_path: Path, number: int) -> None:
    rng = np.random.default_rng(number)
    language = Language(SCRIPTS[number], rng)
    bodies = [language.sentences(rng, 250) for _ in range(12)]
    spoiled = [[language.some(rng, 1)[0] if rng.random() < 0.05 else w for w in s] for s in bodies[0]]
    part = bodies[1][: len(bodies[1]) // 2]
    texts = {f"base{i}": language.write(b) for i, b in enumerate(bodies)}
    texts |= {"edited": language.write(spoiled), "part": language.write(part, 9)}
    corpus = quick(tmp_path)
    corpus.seed_texts("a.jsonl", {url(n): t for n, t in texts.items()})
    corpus.run()
    found = {tuple(sorted((gone, kept))): level for gone, (kept, level) in removals(corpus).items()}
    assert found == {
        (url("base0"), url("edited")): "near",
        (url("base1"), url("part")): "near",
    }


MODES = {
    "strict": {"address", "copy", "part"},
    "balanced": {"address", "copy", "part", "edited", "reworded"},
    "aggressive": {"address", "copy", "part", "edited", "reworded", "opening"},
    "annotate": {"address", "copy", "part", "edited", "reworded"},
}


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_removes_what_the_documents_say(tmp_path: Path, mode: str) -> None:
    """`opening`: its first sentences are another's, all that the model reads; the rest is its own."""
    whole, first = words(1, 200), words(2, 200)
    texts = {
        "whole": whole + " " + words(3, 30),
        "whole?utm_source=address": words(4, 100),
        "copy": (whole + " " + words(3, 30)).upper(),
        "part": " ".join(whole.split(" ")[:80]),
        "edited": edited(whole, 14),
        "reworded": edited(whole, 8),
        "first": first,
        "opening": " ".join(first.split(" ")[:15]) + " " + words(5, 170),
    }
    corpus = quick(tmp_path, deduplication={"mode": mode})
    corpus.seed_texts("a.jsonl", {url(n): t for n, t in texts.items()})
    corpus.run()
    decided = {u.rsplit("=", 1)[-1].rsplit("/", 1)[-1]: level for u, (_, level) in removals(corpus).items()}
    # whole and copy are one text, and which of the two is kept is a matter of their ids.
    decided = {("copy" if name == "whole" else name): level for name, level in decided.items()}
    assert set(decided) == MODES[mode]
    levels = {"copy": "exact", "opening": "semantic"}
    assert all(decided[n] == levels.get(n, decided[n]) for n in decided)
    assert {decided[n] for n in decided if n not in ("address", "copy", "opening")} <= {"near"}
    if mode == "annotate":
        assert len(corpus.urls()) == len(texts)
    else:
        assert len(corpus.urls()) == len(texts) - len(decided)


@pytest.mark.parametrize(
    ("keep", "first"),
    [
        (("longest",), "long"),
        (("earliest",), "early"),
        (("earliest", "longest"), "early"),
        (("longest", "earliest"), "long"),
        (("doc_id",), None),
        (("doc_id", "longest", "earliest"), None),
    ],
)
def test_the_order_of_keeping_is_the_one_that_is_set(tmp_path: Path, keep: tuple[str, ...], first: str | None) -> None:
    text = words(1, 200)
    pages = {
        "long": (text + " " + words(2, 35), "2024-06-01"),
        "early": (text + " " + words(3, 8), "2020-02-03"),
        "undated": (text, None),
    }
    rows = []
    for name, (body, date) in pages.items():
        page = html(name, body).decode()
        if date:
            page = page.replace("<head>", f'<head><meta property="article:published_time" content="{date}">')
        rows.append({"url": url(name), "html": page})
    corpus = quick(tmp_path, deduplication={"keep": list(keep)})
    corpus.seed("a.jsonl", "".join(pl.DataFrame([r]).write_ndjson() for r in rows))
    corpus.run()
    ids = {u.rsplit("/", 1)[-1]: i for u, i in corpus.read("extracted_text").select("url", "doc_id").iter_rows()}
    expected = first or min(ids, key=ids.__getitem__)
    assert corpus.urls() == {url(expected)}
    assert {kept for kept, _ in removals(corpus).values()} == {url(expected)}
