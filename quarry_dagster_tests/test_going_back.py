"""What was published before stays readable, can be gone back to, and every change between two corpora has a cause."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import get_args

import polars as pl
import pytest

from quarry_dagster import changes, scan, takedown
from quarry_dagster.differences import CAUSES
from quarry_dagster.errors import ConfigError, StoreError
from quarry_dagster.reader import TableName
from quarry_dagster.stages.corpus import deduped_corpus
from quarry_dagster.stages.sweep import sweep
from quarry_dagster.store import Store
from quarry_dagster_tests.corpus import Corpus, Quarry, profile, words
from quarry_dagster_tests.site import Site, html
from quarry_dagster_tests.test_dedup_scenarios import edited


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    return Corpus(tmp_path / "data", profile(partitions={"pages_per_partition": 3}))


def _give(corpus: Corpus, name: str, texts: dict[str, str]) -> int:
    corpus.seed_texts(name, texts)
    corpus.run()
    number = corpus.store.deduped_corpus.number()
    assert number is not None
    return number


def _url(name: object) -> str:
    return f"http://a.test/{name}"


def _causes(corpus: Corpus, since: int, until: int | None = None) -> dict[str, tuple[str, str]]:
    found = changes(corpus.root, since=since, until=until)
    assert {*found["cause"]} <= {*CAUSES}
    return {
        url.rpartition("/")[2]: (change, cause) for url, change, cause in found.select("url", "change", "cause").rows()
    }


TABLES: tuple[TableName, ...] = get_args(TableName)


def _sorted(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.sort(rows.columns[0])


def test_every_table_is_read_as_it_was_when_a_corpus_was_published(corpus: Corpus) -> None:
    then: dict[int, dict[TableName, pl.DataFrame]] = {}
    for i in range(3):
        number = _give(corpus, f"{i}.jsonl", {_url(n): words(n + i) for n in range(i, i + 4)})
        then[number] = {table: scan(table, corpus.root).collect() for table in TABLES}
    sweep(corpus.store)
    for number, tables in then.items():
        for table, rows in tables.items():
            found = scan(table, corpus.root, snapshot=number).collect()
            assert _sorted(found).equals(_sorted(rows)), (number, table)
    with pytest.raises(ConfigError, match=r"no corpus that is kept is named '9': there are 1, 2, 3"):
        scan("raw_pages", corpus.root, snapshot=9)


def test_what_is_kept_is_bounded_and_a_tag_keeps_one(corpus: Corpus, quarry: Quarry) -> None:
    first = _give(corpus, "0.jsonl", {_url(0): words(0)})
    status, out, err = quarry("tag", "before-the-flood", "--data", corpus.root)
    assert (status, out) == (0, "before-the-flood: corpus 1, which stays until the tag goes\n"), err
    for i in range(1, 4):
        corpus.seed_texts(f"{i}.jsonl", {_url(i): words(i)})
        corpus.run()
        deduped_corpus.refresh(corpus.store, corpus.profile.deduplication, "test", keep=2, force=True)
    sweep(corpus.store, at_once=True)
    listed = json.loads(quarry("tag", "--data", corpus.root, "--json")[1])["corpora"]
    assert [(c["number"], c["tags"], c["is_current"]) for c in listed] == [
        (7, [], True),
        (6, [], False),
        (1, ["before-the-flood"], False),
    ]
    for named in (first, "before-the-flood"):
        assert scan("deduped_corpus", corpus.root, snapshot=named).collect()["url"].to_list() == [_url(0)]
    assert changes(corpus.root, since="before-the-flood").equals(changes(corpus.root, since=first))
    assert quarry("tag", "before-the-flood", "--delete", "--data", corpus.root)[0] == 0
    deduped_corpus.refresh(corpus.store, corpus.profile.deduplication, "test", keep=2, force=True)
    sweep(corpus.store, at_once=True)
    with pytest.raises(ConfigError, match="no corpus that is kept is named '1': there are"):
        scan("deduped_corpus", corpus.root, snapshot=first)
    assert corpus.urls() == {_url(i) for i in range(4)}
    for name in ("7", "a b", ""):
        assert quarry("tag", name, "--data", corpus.root)[0] == 1


def test_one_goes_back_and_runs_publish_nothing_until_it_is_released(corpus: Corpus, quarry: Quarry) -> None:
    _give(corpus, "a.jsonl", {_url(0): words(0)})
    _give(corpus, "b.jsonl", {_url(1): words(1)})
    status, out, err = quarry("rollback", "--data", corpus.root)
    assert (status, out.startswith("corpus 1 is published, and held")) == (0, True), err
    assert corpus.urls() == {_url(0)}
    corpus.seed_texts("c.jsonl", {_url(2): words(2)})
    reports = corpus.run()
    assert reports["deduped_corpus"].outcomes == {"held": 1} and reports["deduped_corpus"].written == 0
    assert corpus.urls() == {_url(0)}, "the run went on, and published nothing"
    assert corpus.read("extracted_text").height == 3
    assert quarry("rollback", "--to", "9", "--data", corpus.root)[0] == 1
    assert quarry("rollback", "--release", "--data", corpus.root)[1] == "released: the next run publishes again\n"
    assert corpus.urls() == {_url(0)}
    corpus.run()
    assert corpus.urls() == {_url(i) for i in range(3)}
    assert corpus.store.deduped_corpus.number() == 3


def test_a_corpus_of_damaged_files_is_not_published_again_and_a_held_one_is_checked(
    corpus: Corpus, quarry: Quarry
) -> None:
    _give(corpus, "a.jsonl", {_url(0): words(0)})
    (path,) = corpus.store.extracted_text.segments().paths().values()
    Corpus(corpus.root, profile(extraction={"min_words": 5})).run()
    assert path not in corpus.store.extracted_text.segments().paths().values()
    _flip(corpus.root / path)
    status, _, err = quarry("rollback", "--to", "1", "--data", corpus.root)
    assert status == 1 and "corpus 1 was not published again" in err and path in err and "quarry tag" in err
    assert corpus.urls() == {_url(0)}
    _flip(corpus.root / path)
    assert quarry("rollback", "--to", "1", "--data", corpus.root)[0] == 0
    _flip(corpus.root / path)
    status, out, _ = quarry("check", "--deep", "--data", corpus.root)
    assert status == 1 and path in out and "quarry check --deep" not in out


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_a_takedown_publishes_whatever_is_held_and_keeps_nothing_of_before(corpus: Corpus, quarry: Quarry) -> None:
    _give(corpus, "a.jsonl", {_url(0): words(0) + " zanzibarquokka", _url(1): words(1)})
    quarry("tag", "first", "--data", corpus.root)
    _give(corpus, "b.jsonl", {_url(2): words(2)})
    quarry("rollback", "--data", corpus.root)
    _, out, _ = quarry("forget", _url(0), "--dry-run", "--data", corpus.root)
    assert "Corpus 1 is held: the hold ends" in out and "with their tags: first" in out
    takedown.forget(corpus.store, corpus.profile, _url(0))
    assert corpus.urls() == {_url(1), _url(2)}
    state = corpus.store.files.state()
    assert (state.hold, dict(state.tags)) == (None, {})
    assert [c.number for c in corpus.store.deduped_corpus.kept()] == [3]
    for path in corpus.root.rglob("*.parquet"):
        frame = pl.read_parquet(path)
        for column in {"text", "body"} & {*frame.columns}:
            held = [h if isinstance(h, bytes) else h.encode() for h in frame[column].drop_nulls()]
            assert not any(b"zanzibarquokka" in h for h in held), path


def test_each_change_has_its_cause(corpus: Corpus, site: Site) -> None:
    site.pages = {f"/{i}": html(f"Page {i}", words(i)) for i in range(4)}
    corpus.seed("site.txt", "".join(f"{site.url(f'/{i}')}\n" for i in range(5)))
    twin = words(50)
    first = _give(
        corpus, "a.jsonl", {_url("twin"): edited(twin, 9, 4), _url("gone"): words(60), _url("told"): words(61)}
    )
    site.pages |= {
        "/0": html("Page 0", words(70)),
        "/1": 404,
        "/2": html("Page 2", words(2)),
        "/4": html("Four", words(4)),
    }
    site.pages["/3"] = b'<meta name="robots" content="noai">' + html("Page 3", words(3))
    corpus.seed_texts("mirror.jsonl", {_url("kept"): words(62), _url("left"): words(63)})
    corpus.seed("mirror.jsonl.yaml", "mirror: true\n")
    corpus.profile = profile(partitions={"pages_per_partition": 3}, crawl={"delay_per_host": 0, "keep_gone": False})
    corpus.take_in()
    second = _give(corpus, "b.jsonl", {_url("whole"): twin + " " + words(51, 20), _url("told"): words(64)})
    assert _causes(corpus, first, second) == {
        "0": ("changed", "page changed"),
        "1": ("removed", "page gone"),
        "3": ("removed", "opted out"),
        "4": ("added", "page came"),
        "twin": ("removed", "witness came"),
        "whole": ("added", "seed added"),
        "kept": ("added", "seed added"),
        "left": ("added", "seed added"),
        "told": ("changed", "page changed"),
    }
    corpus.seed_texts("mirror.jsonl", {_url("kept"): words(62)})
    row = corpus.read("raw_pages").filter(pl.col("url") == _url("whole"))
    corpus.store.delete_partitions([row["partition"][0]])
    third = _give(corpus, "c.jsonl", {_url("new"): words(65)})
    found = _causes(corpus, second, third)
    assert found["left"] == ("removed", "no longer in a mirror")
    assert found["whole"] == ("removed", "partition deleted")
    assert found["twin"] == ("added", "witness went")
    assert found["new"] == ("added", "seed added")
    assert (
        changes(corpus.root, since=first).filter(pl.col("url") == site.url("/1"))["detail"].item() == "http_error 404"
    )


def test_other_rules_are_a_cause_of_their_own(corpus: Corpus) -> None:
    text = words(5)
    first = _give(corpus, "a.jsonl", {_url(1): text, _url(2): text, _url(3): words(6)})
    corpus.profile = profile(partitions={"pages_per_partition": 3}, deduplication={"mode": "annotate"})
    corpus.run()
    (found,) = _causes(corpus, first).values()
    assert found == ("added", "settings changed")


def test_changes_are_printed_and_given_as_json(corpus: Corpus, quarry: Quarry) -> None:
    _give(corpus, "a.jsonl", {_url(1): words(1)})
    quarry("tag", "start", "--data", corpus.root)
    _give(corpus, "b.jsonl", {_url("x\u001b[2Jy"): words(2)})
    status, out, err = quarry("changes", "--since", "start", "--data", corpus.root)
    assert status == 0, err
    assert "from corpus 1 to corpus 2: 1 documents" in out and "1 by cause seed added" in out and "\x1b" not in out
    found = json.loads(quarry("diff", "start", "2", "--data", corpus.root, "--json")[1])
    assert found["change_cause"] == [{"change": "added", "cause": "seed added", "documents": 1}]
    assert [row["change"] for row in found["documents"]] == ["added"]
    assert quarry("diff", "2", "nosuch", "--data", corpus.root)[0] == 1


def test_a_sweep_takes_what_the_dead_left_and_nothing_that_is_needed(corpus: Corpus, quarry: Quarry) -> None:
    _give(corpus, "a.jsonl", {_url(i): words(i) for i in range(4)})
    program = """
import os, signal, sys
from quarry_dagster.store import Store
from quarry_dagster.store.schemas import EXTRACTED_TEXT
store = Store(sys.argv[1])
store.files.write_json("extracted_text/x/000001-%s.parquet" % store.files.new_id(), "never committed")
with store.extracted_text.write("y") as writer:
    os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", program, str(corpus.root)], check=False, env=os.environ)
    corpus.store.files.write_json("extracted_text/z/000001.parquet", "of somebody unknown, a moment ago")
    before = set(corpus.files())
    status, out, err = quarry("sweep", "--dry-run", "--data", corpus.root, "--json")
    planned = json.loads(out)["files"]
    assert status == 0 and len(planned) == 2 and set(corpus.files()) == before, err
    assert quarry("sweep", "--data", corpus.root)[0] == 0
    left = before - set(corpus.files())
    assert {p for p in left if not p.startswith((".writers", ".locks"))} == set(planned)
    assert quarry("check", "--deep", "--data", corpus.root)[1] == "every file is as it was written\n"
    assert corpus.urls() == {_url(i) for i in range(4)}


DAMAGED = (("raw_pages", "extracted_text", "embeddings", "sketches"), ("faiss_index/shards",), ("deduped_corpus/kept",))
"""Folders of what is damaged at once: of four tables, each in a partition of its own, so that none mends another."""


@pytest.mark.parametrize("folders", DAMAGED, ids=lambda folders: "+".join(folders))
@pytest.mark.parametrize("how", ["flipped", "gone"])
def test_damage_is_named_by_a_deep_check_and_the_next_run_makes_it_again(
    corpus: Corpus, quarry: Quarry, folders: tuple[str, ...], how: str
) -> None:
    _give(corpus, "a.jsonl", {_url(i): words(i) for i in range(3 * len(folders))})
    kept, decisions = corpus.result()
    partitions = list(corpus.store.batches.segments())
    assert len(partitions) == len(folders)
    damaged = set()
    for folder, partition in zip(folders, partitions, strict=True):
        inside = f"{folder}/{partition}" if len(folders) > 1 else folder
        path = next(p for p in corpus.store.files.list(inside))
        file = corpus.root / path
        content = file.read_bytes()
        if how == "gone":
            file.unlink()
        else:
            file.write_bytes(content[:90] + bytes([content[90] ^ 1]) + content[91:])
        damaged.add(path)
    status, out, _ = quarry("check", "--deep", "--data", corpus.root, "--json")
    named = json.loads(out)["damaged"]
    assert status == 1 and sorted(d["path"] for d in named) == sorted(damaged)
    assert all("quarry run" in d["remedy"] for d in named)
    settings = corpus.root.parent / "p.yaml"
    settings.write_text(json.dumps(corpus.profile.model_dump(mode="json", exclude={"name"})))
    status, out, err = quarry("run", "--data", corpus.root, "--profile", settings)
    assert status == 0, err
    assert quarry("check", "--deep", "--data", corpus.root)[0] == 0
    for mine, theirs in zip(Corpus(corpus.root, corpus.profile).result(), (kept, decisions), strict=True):
        assert mine.equals(theirs)


def test_a_lost_log_is_made_again_from_what_is_there(corpus: Corpus, quarry: Quarry, tmp_path: Path) -> None:
    _give(corpus, "a.jsonl", {_url(i): words(i) for i in range(4)})
    takedown.forget(corpus.store, corpus.profile, _url(0))
    _give(corpus, "b.jsonl", {_url(i): words(i) for i in range(4, 7)})
    before: dict[TableName, pl.DataFrame] = {table: scan(table, corpus.root).collect() for table in TABLES}
    root = Path(shutil.copytree(corpus.root, tmp_path / "copy"))
    status, _, err = quarry("check", "--rebuild-log", "--data", root)
    assert status == 1 and "is whole" in err
    commits = sorted((root / "log").glob("*.json"))
    commits[len(commits) // 2].write_bytes(b"damaged")
    Store(str(root)).files.log._state = None
    with pytest.raises(StoreError, match="quarry check --rebuild-log"):
        scan("raw_pages", root).collect()
    status, out, err = quarry("check", "--rebuild-log", "--data", root, "--json")
    assert status == 0, err
    assert json.loads(out)["lost"] == [f"log/{commits[len(commits) // 2].name}"]
    for table, rows in before.items():
        assert _sorted(scan(table, root).collect()).equals(_sorted(rows)), table
    assert Store(str(root)).forgotten().reason(_url(0))
    shutil.rmtree(root / "log")
    Store(str(root)).files.log._state = None
    with pytest.raises(StoreError, match="log is gone"):
        scan("raw_pages", root).collect()
    assert quarry("check", "--rebuild-log", "--data", root)[0] == 0
    assert scan("deduped_corpus", root).collect().height == before["deduped_corpus"].height
