"""The command `quarry` as a user types it: what it prints, what it exits with, what bad input costs."""

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path

import dagster as dg
import pytest
from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

from quarry_dagster import gpu, scan
from quarry_dagster.crawl.addresses import REMEDY
from quarry_dagster.demo.__main__ import SITE, seeds, serve
from quarry_dagster.gpu import list_gpus
from quarry_dagster.orchestration import runner
from quarry_dagster.store.failed_checks import FailedChecks
from quarry_dagster_tests.corpus import Corpus, Quarry, profile, words
from quarry_dagster_tests.site import Site, html


def test_the_demo_site_gives_the_corpus_its_authors_planted(quarry: Quarry, tmp_path: Path) -> None:
    with serve() as port:
        (tmp_path / "demo.txt").write_text(seeds(port), encoding="utf-8")
        status, out, err = quarry("run", tmp_path / "demo.txt")
        assert (status, err.count("htp:/broken line")) == (0, 1)
        base = f"http://127.0.0.1:{port}"
        planted = [
            line.split("|")[1:4]
            for line in (SITE / "EXPECTED.md").read_text(encoding="utf-8").splitlines()
            if line.startswith("| `") and line.count("`") >= 4
        ]
        pairs = {frozenset((a.strip(" `"), b.strip(" `"))) for a, b, _ in planted}
        decisions = scan("dedup_decisions", tmp_path / "data").collect()
        found = {
            frozenset(u.removeprefix(f"{base}/") for u in (r["removed_url"], r["kept_url"])): r["level"]
            for r in decisions.iter_rows(named=True)
        }
        url_level = {pair for pair, level in found.items() if level == "url"}
        assert set(found) - url_level == pairs & set(found)
        assert sorted(found.values()) == ["exact"] * 3 + ["near"] * 7 + ["url"]
        assert "50 pages: 33 kept, 11 duplicates (1 url, 3 exact, 7 near), 2 not accepted (" in out

        row = decisions.filter(decisions["level"] == "near").row(0, named=True)
        _, removed, _ = quarry("explain", row["removed_url"])
        assert f"duplicate of {row['kept_url']}" in removed and row["rule"] in removed and " | " in removed
        _, kept, _ = quarry("explain", row["kept_id"])
        assert "kept; stands for 1 duplicate" in kept and row["removed_url"] in kept
        _, failed, _ = quarry("explain", f"{base}/harbour-news/archive/regatta-1999.html")
        assert "http_error, HTTP 404" in failed and "not_fetched" in failed
        _, private, _ = quarry("explain", f"{base}/harbour-news/private/board-minutes.html")
        assert "robots_disallowed" in private
        status, unknown, _ = quarry("explain", "http://never.seeded/")
        assert status == 1 and "not known" in unknown

        _, found_by_meaning, _ = quarry("search", "how to bake bread with rye flour", "-k", "3")
        assert found_by_meaning.count("http://") == 3 and "rye" in found_by_meaning.lower()

        files = {p: p.stat().st_mtime_ns for p in (tmp_path / "data").rglob("*.parquet")}
        status, again, _ = quarry("run")
        assert status == 0 and "files written  0" in again
        assert {p: p.stat().st_mtime_ns for p in (tmp_path / "data").rglob("*.parquet")} == files

        status, out, _ = quarry("forget", row["kept_url"])
        assert status == 0 and "1 page taken out" in out
        corpus = set(scan("deduped_corpus", tmp_path / "data").collect()["url"])
        assert row["removed_url"] in corpus and row["kept_url"] not in corpus


def test_a_mistyped_data_root_is_named_and_nothing_is_made_there(quarry: Quarry, tmp_path: Path) -> None:
    mistyped = tmp_path / "copus"
    for command in (("explain", "http://a.test/"), ("forget", "a.test"), ("search", "bread"), ("check",)):
        status, _, err = quarry(*command, "--data", mistyped)
        assert status == 1 and f"{mistyped}" in err, command
    assert not mistyped.exists()


def test_a_mistyped_host_is_forgotten_by_nobody_and_hosts_with_a_like_name_are_named(
    quarry: Quarry, tmp_path: Path
) -> None:
    corpus = Corpus(tmp_path / "data", profile())
    pages = {f"http://{host}/{i}": words(i) for i, host in enumerate(("harbour.test", "harbor.test", "bread.test"))}
    corpus.seed_texts("a.jsonl", pages | {"http://harbour.test/private": words(9)})
    corpus.run()
    files = {p: p.stat().st_mtime_ns for p in corpus.root.rglob("*") if p.is_file()}
    for nothing, said in {
        "harbuor.test": "did you mean harbor.test or harbour.test",
        "http://harbuor.test/0": "did you mean harbor.test or harbour.test",
        "http://harbour.test/7": "it has other pages of harbour.test",
        "zzz": "nothing in it has a name like that",
        "harbour.test:8080": "did you mean harbour.test",
    }.items():
        status, out, err = quarry("forget", nothing)
        assert (status, out) == (1, "") and said in err and "nothing was changed" in err, nothing
    assert {p: p.stat().st_mtime_ns for p in corpus.root.rglob("*") if p.is_file()} == files
    status, out, _ = quarry("forget", "Harbour.test")
    assert status == 0 and out.startswith("Harbour.test: 2 pages taken out")
    status, out, _ = quarry("forget", "harbour.test")  # one that was killed is called again
    assert status == 0 and "0 pages taken out" in out


def test_what_waits_to_be_fetched_can_be_forgotten(quarry: Quarry, tmp_path: Path, site: Site) -> None:
    """A page that another one named, and the host that a page redirects to."""
    other = site.url("/target").replace("127.0.0.1", "localhost")
    site.pages = {
        "/": html("All", f"{words(1)} <a href='/named'>one</a>"),
        "/named": html("Named", words(2)),
        "/away": other,
        "/target": html("Target", words(3)),
    }
    corpus = Corpus(tmp_path / "data", profile())
    corpus.seed("seeds.txt", f"{site.url('/')} discover=links:1\n{site.url('/away')}\n")
    corpus.run()
    assert site.url("/named") not in set(corpus.read("raw_pages")["url"]), "it waits in the inbox"
    for named in (site.url("/named"), "localhost"):
        status, out, err = quarry("forget", named)
        assert status == 0 and "taken out, and kept out for good" in out, err
    corpus.run()
    assert "/named" not in site.asked


def test_what_a_killed_crawl_got_can_be_forgotten(quarry: Quarry, tmp_path: Path) -> None:
    """It is in no table yet."""
    corpus = Corpus(tmp_path / "data", profile())
    corpus.seed_texts("a.jsonl", {"http://a.test/": words(1)})
    corpus.run()
    left = tmp_path / "data" / "crawling" / "partition" / "0-1.journal"
    left.parent.mkdir(parents=True)
    left.touch()
    assert quarry("forget", "b.test")[0] == 0
    assert not left.exists()


def test_a_page_at_an_address_that_may_not_be_crawled_is_explained_with_the_remedy(
    quarry: Quarry, tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "seeds.txt").write_text(site.url("/"))
    monkeypatch.delenv("QUARRY_ALLOW_ADDRESSES")
    quarry("run", tmp_path / "seeds.txt")
    _, out, _ = quarry("explain", site.url("/"))
    (line,) = [line for line in out.splitlines() if "raw_pages" in line]
    assert "blocked_address, robots.txt: 127.0.0.1 is a loopback address; " in line and line.endswith(REMEDY)


def _warc(path: Path, pages: int) -> None:
    with path.open("wb") as file:
        writer = WARCWriter(file, gzip=True)
        for i in range(pages):
            headers = StatusAndHeaders("200 OK", [("Content-Type", "text/html")], protocol="HTTP/1.1")
            payload = gzip.io.BytesIO(html(f"Page {i}", words(i)))  # pyright: ignore[reportAttributeAccessIssue]
            writer.write_record(
                writer.create_warc_record(f"http://warc.test/{i}", "response", payload=payload, http_headers=headers)
            )


def test_each_bad_input_is_named_and_costs_only_itself(quarry: Quarry, tmp_path: Path) -> None:
    files = {
        "empty.txt": b"",
        "binary.txt": bytes(range(256)) * 40,
        "broken.jsonl": (
            json.dumps({"url": "http://given.test/1", "text": words(101)})
            + '\n{"url": "http://given.te\n'
            + json.dumps({"url": "http://given.test/2", "text": words(102)})
        ).encode(),
        "column.csv": f'url,text,colour\nhttp://given.test/3,"{words(103)}",red\n'.encode(),
        "packed.jsonl.gz": b"not packed",
        "nourl.csv": b"link,title\nhttp://given.test/4,x\n",
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    _warc(tmp_path / "cut.warc.gz", 6)
    cut = (tmp_path / "cut.warc.gz").read_bytes()
    (tmp_path / "cut.warc.gz").write_bytes(cut[: len(cut) // 2])

    status, _, err = quarry("run", *(tmp_path / n for n in [*files, "cut.warc.gz"]))
    assert status == 0
    for expected in (
        "empty.txt: no URL in it",
        "binary.txt: a binary file",
        "broken.jsonl:2: ",
        "packed.jsonl.gz: it is damaged",
        "nourl.csv: no column 'url'",
        "cut.warc.gz",
    ):
        assert expected in err, err
    kept = set(scan("deduped_corpus", tmp_path / "data").collect()["url"])
    assert {f"http://given.test/{i}" for i in (1, 2, 3)} <= kept
    assert {"http://warc.test/0", "http://warc.test/1"} <= kept

    # None of them is read, or reported, again: not by itself, and not when it is given once more.
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "data" / "seeds").iterdir()}
    _, _, err = quarry("run", *(tmp_path / n for n in files))
    assert "binary" not in err
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "data" / "seeds").iterdir()} == before

    # A seed that cannot be read does not stop the others.
    (tmp_path / "data" / "seeds" / "dangling.txt").symlink_to(tmp_path / "nowhere")
    (tmp_path / "good.jsonl").write_text(json.dumps({"url": "http://good.test/", "text": words(7)}))
    status, _, err = quarry("run", tmp_path / "good.jsonl")
    assert status == 0 and "dangling.txt: cannot be read" in err and "good.jsonl: 1 row, 1 new" in err


def test_a_misspelt_profile_key_is_named_before_anything_is_done(quarry: Quarry, tmp_path: Path) -> None:
    (tmp_path / "typo.yaml").write_text("crawl:\n  concurency: 3\n")
    status, _, err = quarry("run", "--profile", tmp_path / "typo.yaml")
    assert status == 1
    assert "'crawl.concurency'" in err and "'crawl.concurrency'" in err
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("arguments", "name", "value", "said"),
    [
        (["run"], "", "", "there is no data root"),
        (["run", "--dedup-only"], "", "", "there is no data root"),
        (["run", "--only", "failed"], "", "", "there is no data root"),
        (["run", "a.txt"], "QUARRY_ALLOW_ADDRESSES", "127.0.0.1/8", "QUARRY_ALLOW_ADDRESSES: '127.0.0.1/8' is not"),
        (["run", "a.txt"], "QUARRY_PROFILE", "nowhere", "nowhere"),
        (["run", "a.txt"], "DAGSTER_HOME", "/nowhere", "DAGSTER_HOME is '/nowhere'"),
        (["doctor"], "QUARRY_ALLOW_ADDRESSES", "127.0.0.1/8", "QUARRY_ALLOW_ADDRESSES: '127.0.0.1/8' is not"),
        (["doctor", "--data", "a.txt/data"], "", "", "cannot make"),
    ],
)
def test_what_is_wrong_with_the_settings_is_told_before_anything_is_made(
    quarry: Quarry,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    name: str,
    value: str,
    said: str,
) -> None:
    (tmp_path / "a.txt").write_text("http://a.test/\n")
    if name:
        monkeypatch.setenv(name, value)
    before = sorted(tmp_path.rglob("*"))
    status, out, err = quarry(*arguments)
    assert status == 1 and said in out + err
    assert sorted(tmp_path.rglob("*")) == before


def test_a_data_root_that_cannot_be_written_is_named(quarry: Quarry, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "a.txt").write_text("http://a.test/\n")
    status, _, err = quarry("run", tmp_path / "a.txt", "--data", tmp_path / "file" / "data")
    assert status == 1
    assert "cannot read" in err and "--data" in err


def test_an_unknown_model_is_named_with_the_remedy_before_anything_is_done(quarry: Quarry, tmp_path: Path) -> None:
    (tmp_path / "model.yaml").write_text("embedding:\n  model: someone/unknown\n  revision: abc\n  device: cpu\n")
    (tmp_path / "a.jsonl").write_text(json.dumps({"url": "http://a.test/", "text": words(1)}))
    status, _, err = quarry("run", tmp_path / "a.jsonl", "--profile", tmp_path / "model.yaml")
    assert status == 1
    assert "someone/unknown" in err and "copy its folder" in err
    assert not (tmp_path / "data" / "batches").exists()


def test_one_run_follows_links_as_deep_as_a_seed_asks(quarry: Quarry, tmp_path: Path, site: Site) -> None:
    for i in range(4):
        link = f'<a href="/{i + 1}">on</a>'.encode()
        site.pages[f"/{i}"] = html(f"Page {i}", words(i)).replace(b"<nav>", b"<nav>" + link)
    (tmp_path / "seeds.txt").write_text(f"{site.url('/0')} discover=links:2\n")
    assert quarry("run", tmp_path / "seeds.txt")[0] == 0
    kept = scan("deduped_corpus", tmp_path / "data").collect()
    assert set(kept["url"]) == {site.url(f"/{i}") for i in range(3)}
    asked = site.asked.count("/2")
    assert quarry("run")[0] == 0
    assert site.asked.count("/2") == asked + 1


def test_seeds_that_are_none_are_refused(quarry: Quarry, tmp_path: Path) -> None:
    assert "no seed file" in quarry("run", tmp_path / "missing.txt")[2]
    (tmp_path / "notes.doc").touch()
    assert "its name must end in" in quarry("run", tmp_path / "notes.doc")[2]
    (tmp_path / "data").mkdir()
    status, out, _ = quarry("run")
    assert status == 0 and "nothing to do" in out


def test_another_mode_is_tried_without_crawling_or_embedding(quarry: Quarry, tmp_path: Path) -> None:
    shared = [f"word{i}" for i in range(200)]
    texts = [" ".join(shared), " ".join([*shared[:120], *(f"other{i}" for i in range(12))])]
    rows = "".join(json.dumps({"url": f"http://a.test/{i}", "text": t}) + "\n" for i, t in enumerate(texts))
    (tmp_path / "pages.jsonl").write_text(rows)
    assert quarry("run", "pages.jsonl")[0] == 0
    assert scan("dedup_decisions", tmp_path / "data").collect()["rule"].to_list() == ["near/1"]
    strict = profile(deduplication={"mode": "strict"}).model_dump_json(exclude={"name"})
    (tmp_path / "strict.yaml").write_text(strict)
    (tmp_path / "data" / "seeds" / "more.txt").write_text("http://127.0.0.1:1/\n")
    assert quarry("run", "--dedup-only", "--profile", "strict.yaml")[0] == 0
    assert scan("dedup_decisions", tmp_path / "data").collect().is_empty()
    assert scan("deduped_corpus", tmp_path / "data").collect().height == 2
    assert scan("raw_pages", tmp_path / "data").collect().height == 2
    assert quarry("run", "pages.jsonl", "--dedup-only")[0] == 2


def test_a_threshold_that_decides_nothing_is_said_to_be_without_effect(quarry: Quarry, tmp_path: Path) -> None:
    (tmp_path / "pages.jsonl").write_text(json.dumps({"url": "http://a.test/", "text": "bread from rye flour " * 40}))
    said = "similarity_threshold: 0.7 is without effect"
    others: list[dict[str, object]] = [{}, {"candidates": "sketches+vectors"}, {"mode": "aggressive"}]
    for other, is_said in zip(others, (True, False, False), strict=True):
        settings = {"similarity_threshold": 0.7} | other
        (tmp_path / "p.yaml").write_text(profile(deduplication=settings).model_dump_json(exclude={"name"}))
        status, out, err = quarry("run", "pages.jsonl", "--profile", "p.yaml")
        assert status == 0 and (said in " ".join((out + err).split())) == is_said, settings


def test_two_documents_that_stay_are_compared_and_the_guard_is_named(quarry: Quarry, tmp_path: Path) -> None:
    """`--with` says what speaks against either one, and marks what the other one lacks."""
    lines = [f"Rule {i}: to {{}} port {i} for all hosts, write ufw {{}} {i} and reload." for i in range(9)]
    texts = {word: "\n".join(line.format(word, word) for line in lines) for word in ("allow", "deny")}
    rows = [json.dumps({"url": f"http://a.test/{word}", "text": text}) + "\n" for word, text in texts.items()]
    (tmp_path / "pages.jsonl").write_text("".join(rows))
    assert quarry("run", "pages.jsonl")[0] == 0
    assert scan("deduped_corpus", tmp_path / "data").collect().height == 2
    status, out, _ = quarry("explain", "http://a.test/allow", "--with", "http://a.test/deny")
    assert status == 0 and out.count("  stays: ") >= 2 and "  goes: " not in out
    assert "the word *deny* stands 18 times and not once in the other one  (form)" in out
    assert "[allow]" in out and "[deny]" in out
    status, out, _ = quarry("explain", "http://a.test/allow", "--with", "http://a.test/deny", "--json")
    first, second = json.loads(out)["sides"]
    assert "form" in [reason["guard"] for reason in first["against"]]
    assert first["url"].endswith("allow") and second["url"].endswith("deny")
    status, out, _ = quarry("explain", "http://a.test/allow", "--with", "http://never.seeded/")
    assert status == 1 and "cannot be compared" in out


def test_two_seed_files_of_one_name_are_both_taken_in(quarry: Quarry, tmp_path: Path) -> None:
    for i, folder in enumerate(("one", "two")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.jsonl").write_text(json.dumps({"url": f"http://a.test/{i}", "text": words(i)}))
    assert quarry("run", tmp_path / "one" / "a.jsonl", tmp_path / "two" / "a.jsonl")[0] == 0
    assert scan("deduped_corpus", tmp_path / "data").collect().height == 2


def test_search_looks_past_the_duplicates_that_were_removed(quarry: Quarry, tmp_path: Path) -> None:
    said = words(1, 300)
    texts = [f"{said} {words(50 + i, 6)}" for i in range(12)] + [f"{words(77, 60)} {said} {words(99, 40)}", words(200)]
    seeds = [json.dumps({"url": f"http://a.test/{i}", "text": text}) + "\n" for i, text in enumerate(texts)]
    (tmp_path / "texts.jsonl").write_text("".join(seeds))
    assert quarry("run", tmp_path / "texts.jsonl")[0] == 0
    assert set(scan("deduped_corpus", tmp_path / "data").collect()["url"]) == {"http://a.test/12", "http://a.test/13"}
    assert "http://a.test/12" in quarry("search", said[:600], "-k", "1")[1]
    assert quarry("search", said[:600])[1].count("http://") == 2


def test_a_search_that_cannot_find_anything_says_why(quarry: Quarry, tmp_path: Path) -> None:
    status, _, err = quarry("search", "anything")
    assert status == 1 and "there is no corpus in" in err
    status, _, err = quarry("search", "  ")
    assert status == 2 and "blank" in err
    (tmp_path / "a.jsonl").write_text(json.dumps({"url": "http://a.test/", "text": "too short"}))
    assert quarry("run", tmp_path / "a.jsonl")[0] == 1
    status, out, _ = quarry("search", "anything")
    assert status == 0 and "has no documents" in out


def test_doctor_tells_the_machine_and_what_would_break(quarry: Quarry, tmp_path: Path) -> None:
    status, out, _ = quarry("doctor", "--profile", "workstation")
    assert status == 0, out
    for part in ("cores", "memory", "workstation", "all-MiniLM-L6-v2", "FAISS", "384 dimensions"):
        assert part in out
    settings = "embedding: {device: cpu}\nindex: {use_gpu_faiss: true, large_type: IndexIVFFlat}\n"
    (tmp_path / "gpu.yaml").write_text(settings)
    status, out, _ = quarry("doctor", "--profile", tmp_path / "gpu.yaml")
    assert status == 1 and "docs/hardware.md" in out


def test_a_probe_loads_no_model_and_tells_the_newest_corpus_and_what_stands_failed(
    quarry: Quarry, crawled: Corpus, tmp_path: Path
) -> None:
    corpus = crawled
    code = f"""
import sys
sys.argv = ["quarry", "doctor", "--quick", "--data", {str(corpus.root)!r}]
from quarry_dagster.cli import main
try:
    main()
except SystemExit as end:
    heavy = [name for name in ("torch", "faiss", "dagster", "trafilatura", "openvino") if name in sys.modules]
    print(end.code or 0, *heavy)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0", done.stdout
    published = corpus.store.deduped_corpus.current()
    assert published is not None
    assert f"{published.number}, published {published.published_at}" in done.stdout
    FailedChecks.note(corpus.store.files, "embeddings.vectors", ["a"], ["a"], datetime.now(UTC))
    status, out, _ = quarry("doctor", "--quick", "--data", corpus.root)
    assert status == 1 and "check embeddings.vectors stands failed since" in out
    for said in ("device: cuda", "model: ./nowhere", "backend: onnx, model: all-mpnet"):
        mine = tmp_path / "mine.yaml"
        mine.write_text(f"embedding: {{{said}}}")
        status, out, _ = quarry("doctor", "--quick", "--profile", mine, "--data", tmp_path / "none")
        assert list_gpus() or (status == 1 and "embedding." in out), (said, out)
    if not list_gpus():
        status, out, _ = quarry("doctor", "--quick", "--gpu", "--data", tmp_path / "none")
        assert status == 1 and "there is no GPU" in out


def test_doctor_tells_what_of_the_profiles_own_is_missing(quarry: Quarry, tmp_path: Path) -> None:
    profile = tmp_path / "mine.yaml"
    profile.write_text(
        "quality:\n  policy: gone.yaml\n  classifiers: {edu: {fasttext: gone.bin, label: good}}\n"
        "page_metadata:\n  processors: {events: 'no_such_module:events'}\n"
    )
    status, out, _ = quarry("doctor", "--profile", profile, "--data", tmp_path / "data")
    told = [line for line in out.splitlines() if "would break" in line]
    assert status == 1
    assert any(f"{tmp_path / 'gone.yaml'}: there is no such policy file" in line for line in told)
    assert any(f"there is no fastText model {tmp_path / 'gone.bin'}" in line for line in told)
    assert any("no function 'no_such_module:events' can be imported" in line for line in told)
    profile.write_text("quality: {policy: fineweb@1}")
    assert "policy fineweb@1 " in quarry("doctor", "--profile", profile, "--data", tmp_path / "data")[1]


def test_doctor_knows_the_disk_of_a_root_given_as_a_url(quarry: Quarry, tmp_path: Path) -> None:
    status, out, _ = quarry("doctor", "--data", f"file://{tmp_path}/corpus")
    assert status == 0 and "GiB free" in out.split("  disk  ")[1]


def test_doctor_needs_no_package_named_faiss_cpu(quarry: Quarry, monkeypatch: pytest.MonkeyPatch) -> None:
    """A FAISS built for the GPU (docs/hardware.md) takes its place under the name faiss."""
    asked: list[str] = []
    monkeypatch.setattr(import_module("quarry_dagster.cli.doctor"), "version", lambda name: asked.append(name) or "1")
    status, out, _ = quarry("doctor")
    assert status == 0 and "FAISS  1." in out
    assert asked and not [name for name in asked if "faiss" in name]


def test_doctor_names_two_packages_that_lie_over_each_other(quarry: Quarry, monkeypatch: pytest.MonkeyPatch) -> None:
    """pip takes faiss-gpu beside faiss-cpu, and `pip check` is content."""
    monkeypatch.setattr(gpu, "version", lambda name: {"faiss-cpu": "1.15.1", "faiss-gpu": "1.15.1"}[name])
    monkeypatch.setattr(gpu, "_FAISS", ("faiss-cpu", "faiss-gpu"))
    status, out, _ = quarry("doctor", "--quick")
    assert status == 1 and "faiss-cpu and faiss-gpu lie over each other" in " ".join(out.split())


def test_the_health_check_of_a_gpu_asks_faiss_too(quarry: Quarry, tmp_path: Path) -> None:
    if gpu.faiss_gpus():
        pytest.skip("this FAISS can use a GPU")
    (tmp_path / "gpu.yaml").write_text("index: {use_gpu_faiss: true, large_type: IndexIVFFlat}\n")
    status, out, _ = quarry("doctor", "--quick", "--gpu", "--profile", tmp_path / "gpu.yaml")
    assert status == 1 and "this FAISS cannot use a GPU" in " ".join(out.split())


def test_a_killed_run_is_failed_and_its_pool_slot_freed(quarry: Quarry, tmp_path: Path, site: Site) -> None:
    site.pages = {f"/{i}": html(f"Page {i}", words(i)) for i in range(200)}
    (tmp_path / "seeds.txt").write_text("".join(site.url(p) + "\n" for p in site.pages))
    command = [sys.executable, "-m", "quarry_dagster.cli", "run", str(tmp_path / "seeds.txt")]
    with subprocess.Popen(command, env=os.environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while len(site.asked) < 20:  # it is in the middle of raw_pages, and holds that pool's slot
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    assert quarry("run")[0] == 0
    home = tmp_path / "data" / ".dagster"
    with dg.DagsterInstance.from_config(str(home)) as instance:
        statuses = [run.status for run in instance.get_runs()]
        assert statuses.count(dg.DagsterRunStatus.FAILURE) == 1
        assert dg.DagsterRunStatus.STARTED not in statuses
        slots = instance.event_log_storage.get_concurrency_info("raw_pages")
        assert slots.active_slot_count == 0


@pytest.mark.timeout(150)
@pytest.mark.parametrize("root", ["{}", "file://{}", "file://{}/"])
def test_the_run_history_lies_in_a_local_data_root_however_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, root: str
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", "")  # as unset
    with runner.instance(root.format(tmp_path / "a b")) as instance:
        assert instance.root_directory == str(tmp_path / "a b" / ".dagster")


def test_a_kill_while_dagster_makes_its_tables_leaves_no_half_of_them(tmp_path: Path) -> None:
    program = f"from quarry_dagster.orchestration import runner\nwith runner.instance({str(tmp_path)!r}): pass"
    process = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.DEVNULL)
    while not list(tmp_path.rglob("index.db")) and process.poll() is None:
        time.sleep(0.001)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    with runner.instance(str(tmp_path)) as instance:
        assert instance.get_dynamic_partitions("crawl_batches") == []


_KILLED_AT = """
import os, signal, sys
from contextlib import contextmanager
from quarry_dagster.cli import main
from quarry_dagster.store import Files

left, create = int(sys.argv.pop(1)), Files.create

@contextmanager
def counted(files, path):
    global left
    with create(files, path) as file:
        left -= 1
        if not left:
            file.write(b"half of it")
            os.kill(os.getpid(), signal.SIGKILL)
        yield file

Files.create = counted
main()
"""
"""`quarry`, killed in the middle of the file that is its N-th to write: `python -c ... N ARGUMENTS`."""


def test_a_run_that_is_killed_at_any_moment_resumes_to_the_same_corpus(
    quarry: Quarry, tmp_path: Path, site: Site
) -> None:
    site.pages = {f"/{i}": html(f"Page {i}", words(i % 20)) for i in range(60)}
    (tmp_path / "seeds.txt").write_text("".join(site.url(p) + "\n" for p in site.pages))
    (tmp_path / "quick.yaml").write_text(profile().model_dump_json(exclude={"name"}))  # in six partitions
    for n in (3, 7, 10, 12, 9):
        command = [sys.executable, "-c", _KILLED_AT, str(n), "run", str(tmp_path / "seeds.txt")]
        done = subprocess.run(command, env=os.environ, capture_output=True, check=False)
        assert done.returncode == -signal.SIGKILL
        # A reader sees whole tables at every moment.
        for table in ("raw_pages", "extracted_text", "embeddings", "deduped_corpus", "dedup_decisions"):
            scan(table, tmp_path / "data").collect()
    status, _, err = quarry("run")
    assert status == 0, err
    status, _, err = quarry("run", tmp_path / "seeds.txt", "--data", tmp_path / "undisturbed")
    assert status == 0, err
    for table, key, times in (("deduped_corpus", "doc_id", "fetched_at"), ("dedup_decisions", "removed_id", "run_id")):
        resumed, clean = (
            scan(table, tmp_path / d).collect().drop(times).sort(key)  # pyright: ignore[reportArgumentType]
            for d in ("data", "undisturbed")
        )
        assert resumed.equals(clean)


def test_a_damaged_table_is_named_with_the_asset_that_failed_and_the_remedy_works(
    quarry: Quarry, tmp_path: Path
) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps({"url": "http://a.test/", "text": words(1)}))
    assert quarry("run", tmp_path / "a.jsonl")[0] == 0
    corpus = scan("deduped_corpus", tmp_path / "data").collect()
    (damaged,) = (tmp_path / "data" / "extracted_text").rglob("*.parquet")
    damaged.write_bytes(damaged.read_bytes()[:100])
    status, _, err = quarry("run")
    assert status == 1 and f"{damaged} is damaged" in err and "failed: asset extracted_text" in err
    status, _, err = quarry("explain", "http://a.test/")
    assert status == 1 and err.startswith(f"quarry: {damaged} is damaged")
    status, _, err = quarry("check")
    assert status == 1 and f"failed: check contract of extracted_text: {damaged} is damaged" in err
    assert "quarry check --deep, then quarry run" in err
    status, out, _ = quarry("check", "--deep")
    assert status == 1 and f"damaged  {damaged}: it has 100 bytes" in out
    assert quarry("run")[0] == 0
    assert scan("deduped_corpus", tmp_path / "data").collect().equals(corpus)


@pytest.mark.timeout(100)
def test_long_texts_that_repeat_themselves_are_soon_explained(quarry: Quarry, tmp_path: Path) -> None:
    table = "row of a table with the same numbers again and so on " * 25_000
    corpus = Corpus(tmp_path / "data", profile())
    corpus.seed_texts("a.jsonl", {"http://a.test/": table, "http://b.test/": f"{table}{words(1)} {table}"})
    corpus.run()
    _, out, _ = quarry("explain", "http://a.test/")
    assert "removed: duplicate of http://b.test/" in out and len(out.splitlines()) < 40
