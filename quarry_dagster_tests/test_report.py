"""The corpus report: its numbers are the tables', it is safe to open, and it reads well on a phone."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
import lxml.html
import polars as pl
import pytest

from quarry_dagster import takedown
from quarry_dagster.orchestration.assets.corpus_report import corpus_report as asset
from quarry_dagster.orchestration.resources import Quarry
from quarry_dagster.report import Facts, facts, render
from quarry_dagster.report.charts import Count, bars, histogram
from quarry_dagster.report.figures import Cluster, Document, FailingHost, Host, Seed
from quarry_dagster.report.passages import LENGTH, compare
from quarry_dagster.rollback import go_back
from quarry_dagster.stages import corpus_report
from quarry_dagster.urls import host_of
from quarry_dagster_tests.corpus import Corpus, profile, words
from quarry_dagster_tests.site import Server, html
from quarry_dagster_tests.ui import ARGUMENTS, CHROMIUM

if TYPE_CHECKING:
    from playwright.sync_api import Page

SECTIONS = [
    "funnel",
    "outcomes",
    "duplicates",
    "hosts",
    "kept",
    "pages",
    "quality",
    "clusters",
    "sample",
    "families",
    "problems",
    "made-with",
]


def _page(corpus: Corpus) -> lxml.html.HtmlElement:
    """The page that the stage writes."""
    corpus_report.refresh(corpus.store, corpus.profile)
    return lxml.html.document_fromstring((corpus.root / corpus_report.PATH).read_bytes().decode())


def _table(page: lxml.html.HtmlElement, path: str) -> dict[str, list[str]]:
    """The cells of a table below this XPath by the first cell of each row."""
    rows = page.xpath(f"{path}//tbody/tr")
    return {r[0].text_content().split()[0]: [c.text_content().strip() for c in r[1:]] for r in rows}


def _chart(page: lxml.html.HtmlElement, heading: str) -> dict[str, int]:
    """Counts by label of the chart under a heading."""
    rows = page.xpath(f"//div[h3='{heading}']//tr[td]")
    return {r[0].text_content(): int(r[2].text_content().replace(",", "")) for r in rows}


@pytest.fixture(scope="module")
def _varied(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """Documents of several hosts, each level of duplicate but semantic, and each stage's failures.

    No test changes it: each has a copy.
    """
    corpus = Corpus(tmp_path_factory.mktemp("varied") / "data", profile())
    near = words(3).split(" ")
    near[50:52] = ["other", "words"]
    texts = {
        "https://a.test/1": words(1),
        "https://a.test/2": words(2),
        "https://A.test/3": words(3),
        "https://b.test/3": " ".join(near),
        "https://b.test/1": words(1),
        "https://b.test/1?utm_source=x": words(1),
        "https://c.test/long": words(4, 700),
        "https://c.test/part": " ".join(words(4, 700).split(" ")[300:420]),
        "https://c.test/short": "too short",
    }
    corpus.seed_texts("given.jsonl", texts)
    with Server() as server:
        site = server.site
        site.pages = {"/page": html("A page", words(5)), "/gone": 404, "/broken": 500}
        corpus.seed("urls.txt", "".join(f"{site.url(p)}\n" for p in site.pages) + "htp:/no url\nftp://a.test/x\n")
        corpus.run()
    return corpus


@pytest.fixture
def varied(_varied: Corpus, tmp_path: Path) -> Corpus:
    return _varied.copy(tmp_path / "data")


def test_the_numbers_are_the_tables(varied: Corpus) -> None:
    page = _page(varied)
    pages, texts = varied.read("raw_pages"), varied.read("extracted_text")
    kept, decisions = varied.read("deduped_corpus"), varied.read("dedup_decisions")

    tiles = {d[0].text_content(): [dd.text_content() for dd in d[1:]] for d in page.xpath("//dl[@class='tiles']/div")}
    assert tiles["kept documents"] == [str(kept.height)]
    assert tiles["their words"] == [f"{kept['word_count'].sum():,}"]
    assert tiles["their hosts"] == [str(len({host_of(u) for u in kept["url"]}))]
    assert tiles["their languages"] == [str(kept["language"].drop_nulls().n_unique())]
    levels = Counter(decisions["level"])
    assert tiles["removed"] == [
        str(decisions.height),
        ", ".join(f"{levels[x]} {x}" for x in ("url", "exact", "near") if levels[x]),
    ]
    assert set(levels) == {"url", "exact", "near"}

    funnel = {k: int(v[1]) for k, v in _table(page, "//section[@id='funnel']").items()}
    accepted = texts.filter(pl.col("outcome") == "extracted")
    bodies = pages.filter(pl.col("body_digest").is_not_null())
    assert list(funnel.values()) == [pages.height, bodies.height, accepted.height, kept.height]
    assert _chart(page, "Pages by outcome of the fetch") == Counter(pages["outcome"])
    assert _chart(page, "Texts by outcome of the extraction") == Counter(texts["outcome"])
    rules = {
        k: (v[0], int(v[1])) for k, v in _table(page, "//section[@id='duplicates']//table[@class='rules']").items()
    }
    assert rules == {r: (x, n) for (x, r), n in Counter(decisions.select("level", "rule").iter_rows()).items()}
    near = decisions.filter(pl.col("level") == "near")
    assert sum(_chart(page, "Near duplicates by containment").values()) == near.height
    assert sum(_chart(page, "Near and semantic duplicates by cosine").values()) == near.height
    assert sum(_chart(page, "Length in words").values()) == kept.height
    assert _chart(page, "Languages") == Counter(kept["language"].fill_null("unknown"))

    hosts = {k: [int(n) for n in v[:4]] for k, v in _table(page, "//section[@id='hosts']").items()}
    counted = [
        Counter(host_of(u) for u in urls)
        for urls in (bodies["url"], accepted["url"], kept["url"], decisions["removed_url"])
    ]
    assert hosts == {h: [c[h] for c in counted] for h in counted[0]}
    failing = _table(page, "//section[@id='problems']")
    (port,) = pages.filter(pl.col("url").str.contains("/gone"))["url"].str.extract(r":(\d+)/")
    assert failing[f"127.0.0.1:{port}"] == ["3", "2", "2 http_error"]
    assert failing["no"] == ["2", "2", "2 invalid_url"]
    assert "urls.txt" in page.get_element_by_id("problems").text_content()

    clusters = page.xpath("//section[@id='clusters']//li[details]")
    assert [c.xpath(".//a")[0].get("href") for c in clusters[:1]] == [
        kept.sort("duplicates", "doc_id", descending=[True, False])["url"][0]
    ]
    removed = {a.get("href") for c in clusters for a in c.xpath(".//details//a")}
    assert removed == set(decisions["removed_url"])
    shown = page.xpath("//section[@id='sample']//details")
    assert len(shown) == decisions.height
    assert {d.xpath(".//div[@class='side'][1]//a")[0].get("href") for d in shown} == removed


def test_what_a_stranger_wrote_is_only_text(corpus: Corpus) -> None:
    hostile = "<script>alert(1)</script>\"onload=alert(2) ' \u202etxt\u2066 \u200f"
    titles = ["<script>alert(1)</script>", '"onload="alert(2)', "\u202egnp.exe\u2066\u200f\x01", "long " * 2000]
    lines = []
    for i, title in enumerate(titles):
        body = f"<html><head><title>{lxml.html.tostring(_element(title), encoding='unicode')[3:-4]}</title></head>"
        body += f"<body><article><p>{words(i)}</p><p>&lt;script&gt;alert(3)&lt;/script&gt; &#0;</p></article></body>"
        lines += [
            json.dumps({"url": f'https://a.test/{i}/{j}"onload=alert(4)<script>?{"x" * 3000}', "html": body})
            for j in (1, 2)
        ]
    lines += [json.dumps({"url": "javascript:alert(5)", "text": words(9)}), '{"url": "\ud800 <script>']
    corpus.seed("hostile<script>.jsonl", "\n".join(lines).encode("utf-8", "surrogatepass"))
    corpus.run()
    found = facts(corpus.store, corpus.profile)
    assert len(found.clusters) == len(titles)
    document = Document("javascript:alert(6)", hostile, "<b>", 1)
    worse = replace(
        found,
        clusters=[*found.clusters, Cluster(document, 1, [("jAvascript\n:alert(7)", "<b>")])],
        top_hosts=[*found.top_hosts, Host(hostile, 1, 1, 1, 1)],
        failing_hosts=[FailingHost(hostile, 1, 1, [Count("<b>", 1)])],
        seeds=[*found.seeds, Seed("\ud800\x00<b>" + hostile, 1, 2, [hostile, "x" * 100_000])],
        made_with=[(hostile, hostile)],
    )
    for text in (render(found), render(worse)):
        assert "\u202e" not in text and "\x00" not in text and "\x01" not in text
        _assert_safe(text)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in render(found)
    assert len(render(worse)) < 100_000


def _element(text: str) -> lxml.html.HtmlElement:
    element = lxml.html.Element("p")
    element.text = "".join(c for c in text if c >= " ")
    return element


def _assert_safe(text: str) -> None:
    """Nothing in the page runs or loads, and every link goes to the web."""
    page = lxml.html.document_fromstring(text.encode().decode())
    tags = {e.tag for e in page.iter() if isinstance(e.tag, str)}
    assert not tags & {"script", "link", "img", "iframe", "object", "embed", "base", "form", "b"}
    charts = page.iter("svg")
    assert all(e.get("class") == "signal" and {*(c.tag for c in e)} <= {"rect", "path", "line", "text"} for e in charts)
    for element in page.iter():
        for name, value in element.attrib.items():
            assert not name.startswith("on") and name not in ("src", "srcset", "action")
            assert name != "href" or (element.tag == "a" and value.startswith(("http://", "https://")))
    assert "url(" not in text and "@import" not in text
    policy = page.xpath("//meta[@http-equiv='Content-Security-Policy']/@content")[0]
    assert policy.startswith("default-src 'none';")


def test_one_corpus_gives_one_page_however_it_is_partitioned(tmp_path: Path) -> None:
    lines = [
        json.dumps({"url": f"https://h{i % 7}.test/{i}", "text": words(i % 40), "fetched_at": "2026-01-31T12:00:00Z"})
        for i in range(60)
    ]
    pages = []
    for name, size, content in (("one", 100, lines), ("many", 7, lines[::-1])):
        corpus = Corpus(tmp_path / name, profile(partitions={"pages_per_partition": size}))
        corpus.seed("seeds.jsonl", "\n".join(content))
        corpus.run()
        pages.append(render(facts(corpus.store, corpus.profile)))
        assert pages[-1] == render(facts(corpus.store, corpus.profile))
    assert pages[0] == pages[1]
    _assert_safe(pages[0])


def test_nothing_is_written_where_nothing_is_new(corpus: Corpus) -> None:
    corpus.seed_texts("a.jsonl", {f"https://a.test/{i}": words(i % 4) for i in range(6)})
    corpus.run()
    report = corpus_report.refresh(corpus.store, corpus.profile)
    assert (report.rows, report.written) == (4, 1)
    before = corpus.files()
    corpus.run()
    assert corpus_report.refresh(corpus.store, corpus.profile).written == 0
    assert corpus.files() == before
    corpus.seed_texts("b.jsonl", {"https://b.test/": words(9)})
    corpus.run()
    report = corpus_report.refresh(corpus.store, corpus.profile)
    assert (report.rows, report.written) == (5, 1)


def test_the_asset_names_its_page(corpus: Corpus) -> None:
    corpus.seed_texts("a.jsonl", {"https://a.test/": words(1)})
    corpus.run()
    quarry = Quarry(data=str(corpus.root), profile="workstation")
    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize([asset], instance=instance, resources={"quarry": quarry})
    (made,) = result.asset_materializations_for_node("corpus_report")
    page = Path(str(made.metadata["report"].value))
    assert page == corpus.root / corpus_report.PATH
    assert made.metadata["bytes"].value == page.stat().st_size
    assert made.metadata["documents"].value == 1


def test_without_documents_there_is_a_page_of_zeros(corpus: Corpus) -> None:
    for seeds, text in (({}, "No page was asked for yet."), ({"https://a.test/": "too short"}, "too_short")):
        if seeds:
            corpus.seed_texts("a.jsonl", seeds)
            corpus.run()
        page = _page(corpus)
        assert [s.get("id") for s in page.xpath("//section")] == SECTIONS
        assert text in page.text_content() and "No document is kept yet." in page.text_content()
        assert facts(corpus.store, corpus.profile).kept == 0


def test_annotate_says_that_nothing_is_removed(varied: Corpus) -> None:
    corpus = Corpus(varied.root, profile(deduplication={"mode": "annotate"}))
    corpus.run([])
    found, page = facts(corpus.store, corpus.profile), _page(corpus).text_content()
    assert found.kept == found.decided == found.funnel[2].n == corpus.read("deduped_corpus").height
    assert found.duplicates == corpus.read("dedup_decisions").height > 0
    assert "marked as duplicates" in page and "removed" not in page.lower()


def test_documents_that_a_guard_keeps_apart_are_shown_as_families(corpus: Corpus) -> None:
    form = [f"Step {i}: write systemctl {{0}} unit{i} and see that unit{i} answers to {{0}}." for i in range(9)]
    verbs = ("<b>start</b>", "stop", "mask", "isolate")
    texts = {f"https://a.test/{i}": "\n".join(form).format(verb) for i, verb in enumerate(verbs)}
    corpus.seed_texts("given.jsonl", texts | {"https://b.test/": words(1)})
    corpus.run()
    assert corpus.read("deduped_corpus").height == 5
    section = _page(corpus).get_element_by_id("families")
    (family,) = section.xpath(".//details")
    named = {family.xpath(".//div[@class='side']//a")[0].get("href"), *(a.get("href") for a in family.xpath("./ul//a"))}
    assert named == texts.keys()
    assert "and 3 others: form" in family.text_content()
    assert _chart(section, "Pairs of kept documents by guard") == {"form": 6}
    sides = family.xpath(".//div[@class='side']")
    verb = {f"https://a.test/{i}": word.strip("<b>/") for i, word in enumerate(verbs)}
    for side in sides:
        assert verb[side.xpath(".//a")[0].get("href")] in " ".join(m.text_content() for m in side.xpath(".//mark"))
    assert not family.xpath(".//b")


def test_a_corpus_that_is_behind_its_texts_says_so(corpus: Corpus) -> None:
    corpus.seed_texts("a.jsonl", {"https://a.test/": words(1)})
    corpus.run()
    assert "materialize" not in _page(corpus).text_content()
    corpus.seed_texts("b.jsonl", {"https://b.test/": words(2)})
    before = corpus.store.deduped_corpus.number()
    corpus.run()
    go_back(corpus.store, before, "somebody")
    assert "decided on 1 text:" in " ".join(_page(corpus).text_content().split())


def test_documents_that_were_given_by_their_ids_are_counted_by_seed(corpus: Corpus) -> None:
    for name, ids in {"books.jsonl": range(4), "letters.jsonl": range(4, 6)}.items():
        corpus.seed(name, "".join(json.dumps({"id": i, "text": words(i)}) + "\n" for i in ids))
    corpus.run()
    hosts = " ".join(_page(corpus).get_element_by_id("hosts").text_content().split())
    assert "No page has a host yet" not in hosts and "by seed" in hosts and "books.jsonl 4" in hosts
    corpus.seed_texts("pages.jsonl", {"http://a.test/": words(9)})
    corpus.run()
    hosts = " ".join(_page(corpus).get_element_by_id("hosts").text_content().split())
    assert "a.test" in hosts and "letters.jsonl 2" in hosts


def test_lists_are_bounded(corpus: Corpus) -> None:
    texts = {f"https://h{i}.test/{i}": words(i % 30) for i in range(70)}
    texts |= {f"https://same.test/{i}": words(99) for i in range(20)}
    corpus.seed_texts("a.jsonl", texts)
    corpus.seed("bad.txt", "".join(f"htp:/{'x' * i}\n" for i in range(40)))
    corpus.run()
    found = facts(corpus.store, corpus.profile)
    assert (len(found.top_hosts), len(found.clusters), len(found.sample)) == (20, 10, 10)
    assert found.clusters[0].duplicates == 19 and len(found.clusters[0].removed) == 10
    assert found.seeds[0].problems[3:] == ["... and 37 more like it"] and "and 9 more" in render(found)


def test_what_the_kept_text_lacks_is_marked_and_its_passage_found() -> None:
    whole = words(1, 600)
    start = whole.index(" ", len(whole) // 2) + 1
    part = whole[start : start + 2000]
    lost = "wholly unheard of"
    removed, kept = compare(f"{part[:200].rsplit(' ', 1)[0]} {lost} {part[200:].split(' ', 1)[1]}", whole)
    assert [t for t, marked in removed.parts if marked] == [lost]
    assert kept.cut_before and 0 <= kept.parts[0][0].index(part[:100]) < 50
    assert all(len("".join(t for t, _ in p.parts)) <= LENGTH for p in (removed, kept))
    same, other = compare(whole, whole.upper())
    assert not any(marked for _, marked in same.parts) and not other.cut_before
    nothing, _ = compare("", "")
    assert nothing.parts == ()


def test_bars_and_histograms() -> None:
    assert [(b.share, b.width) for b in bars([Count("a", 3), Count("b", 1)])] == [(0.75, 100.0), (0.25, 33.33)]
    assert [(b.share, b.width) for b in bars([Count("a", 0)], of=0)] == [(0.0, 0.0)]
    rows = pl.LazyFrame({"n": [0, 1, 2, 4, 30, None]})
    assert histogram(rows, "n", [1, 2, 5, 10, 20]) == [
        Count("< 1", 1),
        Count("1", 1),
        Count("2–4", 2),
        Count("5–9", 0),
        Count("10–19", 0),
        Count("≥ 20", 1),
    ]
    assert histogram(rows.filter(pl.col("n") > 99), "n", [1, 2]) == []


@pytest.fixture(scope="module")
def realistic(tmp_path_factory: pytest.TempPathFactory) -> Facts:
    """Facts with long names and large numbers in them."""
    corpus = Corpus(tmp_path_factory.mktemp("report") / "data", profile())
    texts = {f"https://{'sub.' * (i % 9)}h{i % 25}.test/{'path/' * i}{'x' * 20 * i}": words(i % 30) for i in range(60)}
    texts |= {f"https://a.test/near/{i}": words(i % 30).replace(" ", f" {i} ", 2) for i in range(5)}
    corpus.seed_texts("a.jsonl", texts)
    corpus.seed("b.txt", "htp:/broken " + "y" * 300)
    corpus.run()
    found = facts(corpus.store, corpus.profile)
    many = 1_234_567_890
    return replace(
        found,
        words=many * 1000,
        funnel=[Count(c.label, many) for c in found.funnel],
        fetch_outcomes=[Count("robots_disallowed", many), *found.fetch_outcomes],
        top_hosts=[Host("w" * 200 + ".test", many, many, many, many), *found.top_hosts],
        failing_hosts=[FailingHost("w" * 200, many, many, [Count("network_error", many)] * 3), *found.failing_hosts],
    )


@pytest.fixture
def phone(request: pytest.FixtureRequest, realistic: Facts, tmp_path: Path) -> Iterator[Page]:
    """A phone's browser, in light or dark, that shows the page."""
    from playwright.sync_api import sync_playwright

    (tmp_path / "index.html").write_text(render(realistic), encoding="utf-8")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        page = browser.new_page(viewport={"width": 390, "height": 844}, color_scheme=request.param)
        page.goto((tmp_path / "index.html").as_uri())
        yield page
        browser.close()


_CONTRAST = """() => {
  const parts = c => c.match(/[\\d.]+/g).map(Number);
  const linear = v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
  const light = c => parts(c).slice(0, 3).map(v => linear(v / 255))
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const behind = e => { const c = getComputedStyle(e).backgroundColor;
    return parts(c)[3] === 0 && e.parentElement ? behind(e.parentElement) : c; };
  const all = [...document.querySelectorAll('main *')].filter(
    e => [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim()) && !e.closest('.visually-hidden'));
  const contrast = all.map(e => {
    const [a, b] = [light(getComputedStyle(e).color), light(behind(e))].sort((x, y) => y - x);
    return (a + .05) / (b + .05);
  });
  const small = Math.min(...all.map(e => parseFloat(getComputedStyle(e).fontSize)));
  return {contrast: Math.min(...contrast), small, paper: getComputedStyle(document.body).backgroundColor};
}"""


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: install the package chromium")
@pytest.mark.parametrize("phone", ["light", "dark"], indirect=True)
def test_it_reads_well_on_a_phone(phone: Page, request: pytest.FixtureRequest) -> None:
    from playwright.sync_api import expect

    for opened in (False, True):
        if opened:
            phone.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        too_wide = """[...document.querySelectorAll('main *')].filter(e => !e.closest('.scroll') &&
            e.getBoundingClientRect().right > innerWidth).map(e => e.outerHTML.slice(0, 200))"""
        assert phone.evaluate(too_wide) == []
        assert phone.evaluate("document.documentElement.scrollWidth <= innerWidth")
        seen = phone.evaluate(_CONTRAST)
        assert seen["small"] >= 14
        assert seen["contrast"] >= 4.5, seen  # WCAG 2 AA
    is_dark = sum(int(n) for n in seen["paper"][4:-1].split(",")) < 3 * 64
    assert is_dark == ("dark" in request.node.name)
    for section in SECTIONS:
        expect(phone.locator(f"#{section} h2")).to_be_visible()
    wide = phone.locator("#hosts .scroll")
    assert wide.evaluate("e => e.scrollWidth > e.clientWidth")  # a wide table scrolls in its own box


def test_what_is_forgotten_leaves_the_page(corpus: Corpus) -> None:
    first, *rest = words(1).split(". ")
    kept = ". ".join([first, "Unmistakable", *rest])
    corpus.seed_texts("a.jsonl", {"http://a.test/1": kept, "http://b.test/1": words(1), "http://b.test/2": words(2)})
    corpus.run()
    corpus_report.refresh(corpus.store, corpus.profile)
    page = corpus.root / corpus_report.PATH
    assert "Unmistakable" in page.read_text()
    takedown.forget(corpus.store, corpus.profile, "a.test")
    assert "Unmistakable" not in page.read_text() and "a.test/1" not in page.read_text()
