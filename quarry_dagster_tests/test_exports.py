"""Datasets made of a corpus: what is in them, how they split, what is said of them, and that they appear whole."""

import hashlib
import json
import os
import re
import struct
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
import yaml
from pydantic import ValidationError

from quarry_dagster.checks.corpus_export import as_promised
from quarry_dagster.errors import ConfigError, StoreError
from quarry_dagster.exports import Exported, export
from quarry_dagster.exports.card import cell
from quarry_dagster.exports.formats import Shards
from quarry_dagster.exports.redaction import KEY
from quarry_dagster.exports.rows import WRITTEN
from quarry_dagster.exports.select import condition
from quarry_dagster.exports.sides import groups, sides
from quarry_dagster.orchestration.assets.corpus_export import corpus_export as asset
from quarry_dagster.orchestration.resources import Quarry as Resource
from quarry_dagster.profiles.settings import Export, HardwareProfile
from quarry_dagster.stages import corpus_export
from quarry_dagster_tests.corpus import Corpus, Quarry, profile, words


def documents() -> list[dict[str, Any]]:
    """Sixty documents on thirty domains, with own columns, and one that holds an address."""
    rows = [
        {
            "url": f"https://www.site{i % 30}.example/{i}",
            "text": words(i) + (" Write to jo.doe@corp-mail.org or call +44 20 7946 0958." if i == 7 else ""),
            "topic": "a" if i % 2 else "b",
            "title": f"Title {i}",
        }
        for i in range(60)
    ]
    rows[3]["title"] = "<script>alert(1)</script> | `x`\n# \x1b[31mred"
    return rows


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    corpus = Corpus(tmp_path_factory.mktemp("exports") / "data", profile())
    corpus.seed("a.jsonl", "".join(json.dumps(row) + "\n" for row in documents()))
    corpus.run()
    return corpus


@pytest.fixture
def corpus(made: Corpus, tmp_path: Path) -> Corpus:
    return made.copy(tmp_path / "data")


def write(corpus: Corpus, to: Path, **settings: Any) -> Exported:
    given = {name: settings.pop(name) for name in ("since", "force") if name in settings}
    wanted = Export.model_validate({"format": "parquet", "to": str(to), **settings})
    return export(corpus.store, wanted, str(to), **given)


def rows_of(to: Path, split: str = "*") -> pl.DataFrame:
    return pl.read_parquet(sorted(to.glob(f"data/{split}-*.parquet")))


def lines_of(to: Path) -> list[dict[str, Any]]:
    zstd = import_module("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")
    return [json.loads(line) for path in sorted(to.glob("data/*.zst")) for line in zstd.open(path, "rt")]


def bytes_of(to: Path) -> dict[str, bytes]:
    return {str(path.relative_to(to)): path.read_bytes() for path in sorted(to.rglob("*")) if path.is_file()}


def test_every_kept_document_is_a_row_with_what_it_came_from(made: Corpus, tmp_path: Path) -> None:
    done = write(made, tmp_path / "out")
    rows = rows_of(tmp_path / "out")
    assert rows.schema == WRITTEN
    kept = made.read("deduped_corpus").sort("doc_id")
    assert done.splits == {"train": kept.height} and done.left_out == {}
    named = [c for c in kept.columns if c in rows.columns]
    assert rows.sort("doc_id").select(named).equals(kept.select(named))
    assert rows["extractor"].null_count() == 0
    assert rows.filter(pl.col("url").str.ends_with("/4"))["metadata"].to_list() == ['{"topic":"b"}']
    with pq.ParquetFile(next((tmp_path / "out" / "data").iterdir())) as file:
        assert file.metadata.row_group(0).column(0).compression == "ZSTD"
        assert file.metadata.row_group(0).column(0).has_offset_index


def test_a_manifest_names_every_file_with_its_digest_and_no_clock(made: Corpus, tmp_path: Path) -> None:
    write(made, tmp_path / "out", format="huggingface", splits={"test": 0.2})
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    named = {file["path"]: file for file in manifest["files"]}
    content = bytes_of(tmp_path / "out")
    assert named.keys() | {"manifest.json"} == content.keys()
    for path, file in named.items():
        assert (file["bytes"], file["sha256"]) == (len(content[path]), hashlib.sha256(content[path]).hexdigest())
    assert sum(file["rows"] or 0 for file in named.values()) == sum(s["documents"] for s in manifest["splits"].values())
    assert manifest["corpus"]["number"] == 1 and manifest["seeds"]
    for text in (content["manifest.json"], content["README.md"], content["croissant.json"]):
        assert str(tmp_path).encode() not in text
        assert not re.search(rb"20\d\d-\d\d-\d\dT", text)


def test_the_same_corpus_and_settings_give_the_same_bytes_and_are_not_written_twice(
    made: Corpus, tmp_path: Path
) -> None:
    how = {"splits": {"test": 0.2}, "redact": ["email"], "format": "huggingface"}
    assert write(made, tmp_path / "a", **how).is_new
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "a").rglob("*")}
    assert not write(made, tmp_path / "a", **how).is_new
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "a").rglob("*")} == before
    write(made, tmp_path / "b", **how)
    assert bytes_of(tmp_path / "a") == bytes_of(tmp_path / "b")
    assert write(made, tmp_path / "a", force=True, **how).is_new
    assert write(made, tmp_path / "a", **(how | {"salt": "x"})).is_new, "other settings are another export"


def test_json_lines_are_named_as_columns_or_as_dolma_has_them(made: Corpus, tmp_path: Path) -> None:
    write(made, tmp_path / "ours", format="jsonl")
    write(made, tmp_path / "dolma", format="jsonl", names="dolma")
    ours, dolma = lines_of(tmp_path / "ours"), lines_of(tmp_path / "dolma")
    assert list(ours[0]) == list(WRITTEN)
    assert set(dolma[0]) == {"id", "text", "source", "added", "created", "metadata"}
    assert [row["doc_id"] for row in ours] == [row["id"] for row in dolma]
    assert {row["metadata"]["topic"] for row in ours} == {"a", "b"}
    assert dolma[0]["metadata"]["url"] == ours[0]["url"] and dolma[0]["metadata"]["metadata"] == ours[0]["metadata"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", ours[0]["fetched_at"])


@pytest.mark.parametrize(
    ("select", "wanted"),
    [
        ("metadata.topic = 'a'", lambda i: i % 2 == 1),
        ("url LIKE '%/1_' AND word_count > 10", lambda i: 10 <= i < 20),
        ("host IN ('www.site3.example', 'www.site4.example')", lambda i: i % 30 in (3, 4)),
        ("title = 'Title 5' OR lower(title) = 'title 6'", lambda i: i in (5, 6)),
        ("NOT (metadata.topic = 'a') AND title IS NOT NULL -- a word", lambda i: i % 2 == 0),
        ("word_count BETWEEN 1 AND 1000 AND array_length(failed_rules) >= 0", lambda i: True),
        ("words_v1 >= 0 AND url <> 'select'", lambda i: True),
    ],
)
def test_a_condition_chooses_as_behind_where(made: Corpus, tmp_path: Path, select: str, wanted: Any) -> None:
    expected = {row["url"] for i, row in enumerate(documents()) if wanted(i)}
    done = write(made, tmp_path / "out", select=select)
    assert set(rows_of(tmp_path / "out")["url"]) == expected
    assert done.left_out.get("not_selected", 0) == 60 - len(expected)


@pytest.mark.parametrize(
    ("select", "said"),
    [
        ("lang = 'en'", "there is no column 'lang'; the nearest is 'language'"),
        ("lenght(text) > 3", "there is no function 'lenght'; the nearest is 'length'"),
        ("sum(word_count) > 3", "there is no function 'sum'"),
        ("doc_id IN (SELECT doc_id FROM x)", "SELECT has no place in a condition"),
        ("read_csv('/etc/passwd') = 'x'", "there is no function 'read_csv'"),
        ("COLUMNS('.*') = 'x'", "COLUMNS has no place"),
        ("word_count", "is a value .* and no condition"),
        ("word_count + 1", "is a value .* and no condition"),
        ("1 = 1", "names no column"),
        ("language = ", "is no condition"),
        ("language = 'en'; DROP TABLE x", "is no condition"),
        ("word_count > 'many'", "cannot be asked of these columns|is no condition|no document is left"),
        ("language = 'xx'", "no document is left to export: 60 are kept, 60 not_selected"),
    ],
)
def test_what_is_no_condition_is_told_with_the_nearest(made: Corpus, tmp_path: Path, select: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        write(made, tmp_path / "out", select=select)
    assert not (tmp_path / "out").exists()


def test_words_in_quotes_are_no_words_of_sql() -> None:
    expression, names = condition("title = 'select a(b) from' OR \"url\" = 'x; y'", ["title", "url"])
    assert names == ["title", "url"]
    found = pl.DataFrame({"title": ["select a(b) from", "x"], "url": ["", ""]}).filter(expression)
    assert found.height == 1


def test_a_group_stays_on_one_side_and_growth_moves_no_document(corpus: Corpus, tmp_path: Path) -> None:
    how = {"splits": {"test": 0.25, "validation": 0.15}, "salt": "s"}
    write(corpus, tmp_path / "out", **how)
    before = {split: set(rows_of(tmp_path / "out", split)["url"]) for split in ("train", "test", "validation")}
    assert all(before.values()) and sum(map(len, before.values())) == 60
    domains = [{url.split("/")[2] for url in urls} for urls in before.values()]
    assert sum(map(len, domains)) == len(set().union(*domains))
    more = [{"url": f"https://new{i}.example/{i}", "text": words(1000 + i)} for i in range(6)]
    corpus.seed("b.jsonl", "".join(json.dumps(row) + "\n" for row in more))
    corpus.run()
    write(corpus, tmp_path / "out", **how)
    for split, urls in before.items():
        assert urls <= set(rows_of(tmp_path / "out", split)["url"])


def test_to_add_a_split_moves_nothing_between_the_others() -> None:
    names = pl.Series([f"site{i}.example" for i in range(2000)])
    one, two = sides(names, {"test": 0.1}, ""), sides(names, {"test": 0.1, "validation": 0.1}, "")
    assert (one == "test").sum() == (two == "test").sum() == ((one == "test") & (two == "test")).sum()
    assert abs((two == "validation").mean() - 0.1) < 0.03  # pyright: ignore[reportOperatorIssue]


@pytest.mark.parametrize(
    ("host", "domain"),
    [
        ("www.bbc.co.uk", "bbc.co.uk"),
        ("a.github.io:8080", "a.github.io"),
        ("127.0.0.1:8000", "127.0.0.1"),
        ("localhost", "localhost"),
        ("urn:quarry:mine", "id"),
        (None, "id"),
    ],
)
def test_the_domain_of_a_host_is_the_registered_one(host: str | None, domain: str) -> None:
    frame = pl.DataFrame({"doc_id": ["id"], "host": [host]}, schema={"doc_id": pl.String, "host": pl.String})
    assert groups(frame, "domain").to_list() == [domain]


def test_what_shares_text_with_another_side_is_left_out_and_stays_out(tmp_path: Path) -> None:
    corpus = Corpus(tmp_path / "data", profile())
    texts = {f"http://d{i}.example/": words(i, 300) for i in range(60)}
    quoted = {f"http://q{i}.example/": words(i, 150) + "\n\n" + words(500 + i, 200) for i in range(20)}
    corpus.seed_texts("a.jsonl", texts | quoted)
    corpus.run()
    how = {"splits": {"test": 0.3}, "group": "document"}
    done = write(corpus, tmp_path / "out", **how)
    train, test = (set(rows_of(tmp_path / "out", split)["url"]) for split in ("train", "test"))
    pairs = [(f"http://d{i}.example/", f"http://q{i}.example/") for i in range(20)]
    assert not [pair for pair in pairs if len({u in test for u in pair}) == 2 and {*pair} <= train | test]
    assert done.left_out == {"held_out_conflict": 80 - len(train) - len(test)} and len(test) > 5
    out = {*texts, *quoted} - train - test
    assert out, "some pair is parted, or the test proves nothing"
    corpus.seed_texts("b.jsonl", {f"http://more{i}.example/": words(900 + i, 300) for i in range(8)})
    copies = {url.replace("http://", "http://copy."): f"{text}\n\nA last line." for url, text in texts.items()}
    corpus.seed_texts("c.jsonl", copies)
    corpus.run()
    write(corpus, tmp_path / "out", **how)
    assert not out & set(rows_of(tmp_path / "out", "test")["url"])


def test_equal_texts_are_never_on_two_sides_whatever_is_kept(tmp_path: Path) -> None:
    corpus = Corpus(tmp_path / "data", profile(deduplication={"mode": "annotate"}))
    texts = {f"http://{a}{i}.example/": words(i, 200) for i in range(40) for a in ("a", "b")}
    corpus.seed_texts("a.jsonl", texts)
    corpus.run()
    write(corpus, tmp_path / "out", splits={"test": 0.3})
    by_split = [set(rows_of(tmp_path / "out", split)["text"]) for split in ("train", "test")]
    assert all(by_split) and not by_split[0] & by_split[1]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"splits": {"test": 0.2}, "group": "metadata.topic"},
            "split test: 0.2 was asked for, and it has .*largest group",
        ),
        ({"splits": {"test": 0.2}, "group": "seed"}, "the largest group, a.jsonl, has 60"),
    ],
)
def test_a_split_that_misses_its_share_names_the_largest_group(
    made: Corpus, tmp_path: Path, settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        write(made, tmp_path / "out", **settings)


def test_personal_data_is_replaced_and_counted(made: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(made, tmp_path / "out", redact=["email", "phone"])
    (text,) = [text for text in rows_of(tmp_path / "out")["text"] if "Write to" in text]
    assert "<EMAIL>" in text and "<PHONE>" in text and "jo.doe" not in text
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["redacted"] == {"email": 1, "phone": 1}
    assert "email, phone" in (tmp_path / "out" / "README.md").read_text()
    with pytest.raises(ConfigError, match=KEY):
        write(made, tmp_path / "names", redact=["email"], redact_with="pseudonym")
    monkeypatch.setenv(KEY, "a secret")
    write(made, tmp_path / "names", redact=["email"], redact_with="pseudonym")
    (text,) = [text for text in rows_of(tmp_path / "names")["text"] if "Write to" in text]
    assert re.search("<EMAIL:[0-9a-f]{12}>", text)
    assert b"a secret" not in b"".join(bytes_of(tmp_path / "names").values())


def test_without_a_table_that_a_setting_needs_nothing_is_written(tmp_path: Path) -> None:
    corpus = Corpus(tmp_path / "data", profile())
    corpus.seed_texts("a.jsonl", {"http://a.example/": words(1)})
    with pytest.raises(ConfigError, match="there is no corpus"):
        write(corpus, tmp_path / "out")
    corpus.run_five()
    for settings in ({"redact": ["email"]}, {"policy": "gopher@1"}):
        with pytest.raises(StoreError, match=r"quarry run makes (it|them)"):
            write(corpus, tmp_path / "out", **settings)
        assert not (tmp_path / "out").exists()
    assert write(corpus, tmp_path / "out").splits == {"train": 1}


def test_a_policy_leaves_out_what_fails_it(made: Corpus, tmp_path: Path) -> None:
    policy = tmp_path / "mine.yaml"
    policy.write_text("name: mine\nversion: 1\nrules:\n  - {name: short, signal: words_v1, op: '<', threshold: 125}\n")
    done = write(made, tmp_path / "out", policy=str(policy))
    assert done.left_out["fails_policy"] + done.splits["train"] == 60 and done.splits["train"] < 60


def test_what_a_page_wrote_is_text_in_the_card(made: Corpus, tmp_path: Path) -> None:
    title = "<b>x</b>\n# \x1b[31m `y` | [a](http://evil.example)"
    write(made, tmp_path / "out", format="huggingface", title=title, contact="a: [b]\n- c")
    card = (tmp_path / "out" / "README.md").read_text()
    header, body = card.split("---\n", 2)[1:]
    told = yaml.safe_load(header)
    assert told["pretty_name"] == title and told["dataset_info"]["splits"][0]["num_examples"] == 60
    assert "\x1b" not in body and "<b>" not in body and "[a](" not in body
    assert cell("a|b\nc") == r"a\|b c"


def test_shards_end_by_bytes_and_hold_all_rows(tmp_path: Path) -> None:
    from quarry_dagster.exports import formats

    schema = pl.Schema({"doc_id": pl.String, "text": pl.String})
    shards = Shards(tmp_path, "train", lambda stem: formats.ParquetWriter(stem, schema), size=40_000)
    for i in range(40):
        random = os.urandom(4000).hex()
        shards.write(pl.DataFrame({"doc_id": [str(i)], "text": [random]}))
        shards._flush()
    files = shards.close()
    assert len(files) > 3 and files[0].path == f"data/train-00000-of-{len(files):05}.parquet"
    assert sum(f.rows or 0 for f in files) == 40
    assert pl.read_parquet([tmp_path / f.path for f in files])["doc_id"].to_list() == [str(i) for i in range(40)]


def test_a_folder_of_somebody_else_is_not_touched(made: Corpus, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    with pytest.raises(ConfigError, match="holds files that are no export"):
        write(made, tmp_path / "out", force=True)
    (tmp_path / "out" / "manifest.json").write_text("{}")
    with pytest.raises(ConfigError, match="is no manifest of an export"):
        write(made, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["manifest.json", "thesis.txt"]
    (tmp_path / "file").write_text("x")
    with pytest.raises((ConfigError, StoreError)):
        write(made, tmp_path / "file")
    assert (tmp_path / "file").read_text() == "x"


KILLED = """
import os, sys
from quarry_dagster.exports import export, place
from quarry_dagster.profiles.settings import Export
from quarry_dagster.store import Store
def killed(self):
    if sys.argv[3] == "before":
        os._exit(9)
    target = place.Path(self.disk.full(""))
    target.rename(self._beside / "before")
    os._exit(9)
place.Place._swap = killed
export(Store(sys.argv[1]), Export(format="jsonl", to=sys.argv[2]), sys.argv[2], force=True)
"""


@pytest.mark.parametrize("where", ["before", "within"])
def test_a_killed_export_leaves_what_was_there_and_the_next_one_is_whole(
    made: Corpus, tmp_path: Path, where: str
) -> None:
    to = tmp_path / "out"
    write(made, to)
    before = bytes_of(to)
    done = subprocess.run([sys.executable, "-c", KILLED, str(made.root), str(to), where], check=False)
    assert done.returncode == 9
    if where == "before":
        assert bytes_of(to) == before
    assert not write(made, to).is_new, "what was there is there"
    assert bytes_of(to) == before
    assert write(made, to, force=True).is_new
    assert bytes_of(to) == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_two_exports_to_one_place_do_not_mix(made: Corpus, tmp_path: Path) -> None:
    from quarry_dagster.exports.place import Place

    with Place(str(tmp_path / "out")).writing() as folder:
        with pytest.raises(ConfigError, match="another export is being written"):
            write(made, tmp_path / "out")
        (folder / "manifest.json").write_text('{"made_by": "quarry-dagster"}')
    assert write(made, tmp_path / "out").is_new


def test_an_object_store_has_the_manifest_last(made: Corpus, tmp_path: Path) -> None:
    to = f"memory://bucket-{tmp_path.name}/out"
    wanted = Export(format="parquet", to=to)
    assert export(made.store, wanted, to).is_new
    assert not export(made.store, wanted, to).is_new
    import fsspec

    fs = fsspec.filesystem("memory")
    found = {path.rsplit("/out/", 1)[1] for path in fs.find(f"/bucket-{tmp_path.name}/out")}
    assert {"manifest.json", "README.md", "data/train-00000-of-00001.parquet"} <= found
    fs.pipe(f"/bucket-{tmp_path.name}/other/a.txt", b"x")
    with pytest.raises(ConfigError, match="no export"):
        export(made.store, wanted, f"memory://bucket-{tmp_path.name}/other")


def test_only_what_changed_since_a_corpus_and_what_went(corpus: Corpus, tmp_path: Path) -> None:
    rows = documents()
    rows[5]["text"] = words(77)
    rows[6]["topic"] = "z"
    corpus.seed(
        "b.jsonl",
        "".join(json.dumps(r) + "\n" for r in (rows[5], rows[6]))
        + json.dumps({"url": "http://new.example/", "text": words(88)}),
    )
    corpus.run()
    done = write(corpus, tmp_path / "out", since=1)
    assert {url.rsplit("/", 1)[1] for url in rows_of(tmp_path / "out")["url"]} == {"5", "6", ""}
    assert done.corpus == 2 and (tmp_path / "out" / "removed.jsonl").read_text() == ""
    with pytest.raises(ConfigError, match=r"no corpus|kept"):
        write(corpus, tmp_path / "other", since=99)


def test_a_takedown_reaches_exports_below_the_root_and_names_the_others(quarry: Quarry, tmp_path: Path) -> None:
    rows = [{"url": f"http://a.test/{i}", "text": words(i) + (" zanzibarquokka" if i == 3 else "")} for i in range(8)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert quarry("run", "a.jsonl")[0] == 0
    data = tmp_path / "data"
    for to in (data / "exports" / "mine", tmp_path / "elsewhere"):
        status, out, err = quarry("export", "jsonl", "--to", to)
        assert status == 0, err
    inside = data / "exports" / "mine"
    assert any("zanzibarquokka" in row["text"] for row in lines_of(inside))
    status, out, err = quarry("forget", "http://a.test/3")
    assert status == 0, err
    assert "elsewhere" in out and "quarry export" in out and "mine" not in out
    assert len(lines_of(inside)) == 7 and not any("zanzibarquokka" in row["text"] for row in lines_of(inside))
    taken = [json.loads(line)["doc_id"] for line in (inside / "takedowns.jsonl").read_text().splitlines()]
    assert len(taken) == 1 and taken[0] not in {row["doc_id"] for row in lines_of(inside)}
    assert len(lines_of(tmp_path / "elsewhere")) == 8


def test_the_command_says_what_it_wrote(quarry: Quarry, made: Corpus, tmp_path: Path) -> None:
    said = ("export", "huggingface", "--to", "out", "--data", made.root, "--split", "test=0.2", "--redact", "all")
    status, out, err = quarry(*said)
    assert status == 0, err
    assert "train" in out and "test" in out and "written" in out
    status, out, _ = quarry(*said, "--json")
    told = json.loads(out)
    assert status == 0 and told["written"] is False and told["splits"].keys() == {"train", "test"}
    for wrong, said_of_it in (
        (("--split", "test"), "write NAME=SHARE"),
        (("--split", "test=2"), "splits.test"),
        (("--split", "test=0.6,validation=0.6"), "leave nothing to train on"),
        (("--split", "train=0.5"), "train is what the others leave"),
        (("--group", "domains"), "group"),
        (("--redact", "emails"), "redact"),
        (("--names", "dolma"), "names"),
        (("--policy", "none@3"), "no policy 'none@3'"),
    ):
        status, out, err = quarry("export", "parquet", "--to", "other", "--data", made.root, *wrong)
        assert status == 1 and said_of_it in err, (wrong, err)
    assert quarry("export", "arrow", "--to", "x")[0] == 2
    assert quarry("export", "jsonl", "--to", "x", "--data", tmp_path / "none")[0] == 1


def test_a_profile_asks_for_exports_which_lie_below_the_root(corpus: Corpus, tmp_path: Path) -> None:
    wanted = ({"format": "parquet", "to": "all"}, {"format": "jsonl", "to": "none", "select": "language = 'xx'"})
    settings = profile().model_copy(update={"exports": tuple(Export.model_validate(each) for each in wanted)})
    with pytest.raises(ConfigError, match="exports, none: no document is left"):
        corpus_export.refresh(corpus.store, settings)
    assert rows_of(corpus.root / "exports" / "all").height == 60
    one = settings.model_copy(update={"exports": settings.exports[:1]})
    report, done = corpus_export.refresh(corpus.store, one)
    assert report.written == 0 and not done[0].is_new and report.rows == 60


def test_a_check_finds_a_changed_file_and_a_text_on_two_sides(corpus: Corpus) -> None:
    wanted = Export.model_validate({"format": "jsonl", "to": "out", "splits": {"test": 0.3}, "group": "document"})
    settings = profile().model_copy(update={"exports": (wanted,)})
    assert "it is not there" in as_promised(corpus.store, settings).summary
    corpus_export.refresh(corpus.store, settings)
    finding = as_promised(corpus.store, settings)
    assert finding.passed and finding.facts["rows"] == 60
    to = corpus.root / "exports" / "out"
    manifest = json.loads((to / "manifest.json").read_text())
    train, test = (next((to / "data").glob(f"{split}-*")) for split in ("train", "test"))
    train.write_bytes(test.read_bytes())
    assert (
        "train-00000-of-00001.jsonl.zst is not the file that was written" in as_promised(corpus.store, settings).summary
    )
    for file in manifest["files"]:
        if file["path"] == f"data/{train.name}":
            file["sha256"] = hashlib.sha256(train.read_bytes()).hexdigest()
    (to / "manifest.json").write_text(json.dumps(manifest))
    assert "is held out, and shares text with another side" in as_promised(corpus.store, settings).summary
    train.unlink()
    assert "is gone" in as_promised(corpus.store, settings).summary


def test_the_asset_shows_what_it_wrote(corpus: Corpus) -> None:
    wanted = Export.model_validate({"format": "parquet", "to": "out", "splits": {"test": 0.3}, "group": "document"})
    for exports, documents in (((wanted,), 60), ((), 0)):
        settings = profile().model_copy(update={"exports": exports}).model_dump(mode="json")
        quarry = Resource(data=str(corpus.root), profile="test", settings=settings)
        with dg.DagsterInstance.ephemeral() as instance:
            result = dg.materialize([asset], instance=instance, resources={"quarry": quarry})
        (made,) = result.asset_materializations_for_node("corpus_export")
        assert made.metadata["documents"].value == documents
    assert (corpus.root / "exports" / "out" / "README.md").exists()


def test_the_summary_for_the_public_counts_what_the_tables_know(quarry: Quarry, made: Corpus, tmp_path: Path) -> None:
    said = ("export", "training-summary", "--data", made.root, "--to")
    status, out, err = quarry(*said, tmp_path / "summary.md")
    assert status == 0 and "60 documents" in out, err
    text = (tmp_path / "summary.md").read_text()
    assert "| given | 60 | 7,2" in text and "| crawled | 0 | 0 |" in text
    assert "The documents are from 30 domains; the 3" in text and "\n| site7.example | 2 | 249 |\n" in text
    assert "**name and contact details" in text
    assert quarry(*said, tmp_path / "summary.md")[0] == 0, "it is our own, and written again"
    (tmp_path / "mine.md").write_text("mine")
    status, _, err = quarry(*said, tmp_path / "mine.md")
    assert status == 1 and "is another file" in err and (tmp_path / "mine.md").read_text() == "mine"
    assert json.loads(quarry(*said, tmp_path / "summary.md", "--json")[1])["documents"] == 60


WORDS = {
    word: at for at, word in enumerate(["[UNK]", "<end>", *sorted({w for i in range(120) for w in words(i).split()})])
}


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer with a token for each word, which would cut texts at eight tokens for the model that it is of."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    made = Tokenizer(models.WordLevel(WORDS, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()  # pyright: ignore[reportAttributeAccessIssue]
    made.enable_truncation(8)
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    made.save(str(path))
    return path


def megatron(stem: Path) -> list[list[int]]:
    """The documents of an array, as Megatron-LM's reader of its index finds them."""
    index = Path(f"{stem}.idx").read_bytes()
    assert index[:9] == b"MMIDIDX\x00\x00"
    version, code, sequences, bounds = struct.unpack_from("<QBQQ", index, 9)
    kind = {8: np.uint16, 4: np.int32}[code]
    at = 9 + struct.calcsize("<QBQQ")
    lengths = np.frombuffer(index, np.int32, sequences, at)
    pointers = np.frombuffer(index, np.int64, sequences, at + lengths.nbytes)
    documents = np.frombuffer(index, np.int64, bounds, at + lengths.nbytes + pointers.nbytes)
    assert version == 1 and len(index) == at + lengths.nbytes + pointers.nbytes + documents.nbytes
    assert documents.tolist() == list(range(sequences + 1))
    array = Path(f"{stem}.bin").read_bytes()
    assert len(array) == int(lengths.sum()) * np.dtype(kind).itemsize
    return [np.frombuffer(array, kind, n, p).tolist() for n, p in zip(lengths, pointers, strict=True)]


def test_tokens_are_read_as_megatron_reads_them_and_name_their_documents(
    made: Corpus, tmp_path: Path, tokenizer: Path
) -> None:
    to = tmp_path / "out"
    write(made, to, format="tokens", tokenizer=str(tokenizer), end_of_text="<end>", redact=["email"])
    stem = to / "data" / "train-00000-of-00001"
    rows, found = pl.read_parquet(f"{stem}.parquet"), megatron(stem)
    write(made, tmp_path / "texts", redact=["email"])
    texts = rows_of(tmp_path / "texts")
    assert rows["doc_id"].to_list() == texts["doc_id"].to_list() and "text" not in rows.columns
    assert found == [[WORDS.get(w, 0) for w in text.split()] + [1] for text in texts["text"]]
    assert rows["tokens"].to_list() == [len(each) for each in found]
    told = json.loads((to / "manifest.json").read_text())
    assert told["splits"]["train"]["tokens"] == sum(map(len, found))
    assert str(tokenizer.parent) not in json.dumps(told) and told["settings"]["tokenizer"] == "tokenizer.json"
    assert not write(made, to, format="tokens", tokenizer=str(tokenizer), end_of_text="<end>", redact=["email"]).is_new


def test_what_a_tokenizer_makes_nothing_of_is_left_out_and_counted(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models

    Tokenizer(models.BPE({"q": 0, "z": 1}, [])).save(str(tmp_path / "few.json"))
    corpus = Corpus(tmp_path / "data", profile())
    corpus.seed_texts("a.jsonl", {"http://a.example/": words(1), "http://b.example/": f"{words(2)} quiz"})
    corpus.run_five()
    done = write(corpus, tmp_path / "out", format="tokens", tokenizer=str(tmp_path / "few.json"))
    assert done.splits["train"] + done.left_out.get("no_tokens", 0) == 2
    assert all(megatron(tmp_path / "out" / "data" / "train-00000-of-00001"))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"tokenizer": "nowhere/at-all"}, "there is no file or folder 'nowhere/at-all', and no such model"),
        ({"tokenizer": "/dev/null"}, "cannot be read as a tokenizer.json"),
        ({"tokenizer": "sentence-transformers/all-MiniLM-L6-v2", "end_of_text": "<nope>"}, "has no token '<nope>'"),
    ],
)
def test_a_tokenizer_that_cannot_be_had_is_named(
    made: Corpus, tmp_path: Path, settings: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ConfigError, match=said):
        write(made, tmp_path / "out", format="tokens", **settings)
    assert not (tmp_path / "out").exists()


def test_rates_take_their_share_and_repeat_and_what_is_drawn_stays(made: Corpus, tmp_path: Path) -> None:
    def drawn(name: str, **mix: Any) -> dict[str, int]:
        write(made, tmp_path / name, mix=mix)
        return dict(rows_of(tmp_path / name)["url"].value_counts().iter_rows())

    half = drawn("half", rates={"metadata.topic": {"a": 0.5, "*": 0}})
    most = drawn("most", rates={"metadata.topic": {"a": 0.8, "*": 0}})
    twice = drawn("twice", rates={"metadata.topic": {"a": 2, "b": 1.5}})
    assert half.keys() < most.keys() and 8 <= len(half) <= 22, "of thirty"
    assert set(half.values()) == {1} and all(int(url.rsplit("/")[-1]) % 2 for url in most)
    assert len(twice) == 60 and sum(n for url, n in twice.items() if int(url.rsplit("/")[-1]) % 2) == 60
    assert 30 < sum(n for url, n in twice.items() if not int(url.rsplit("/")[-1]) % 2) < 60
    card = (tmp_path / "twice" / "README.md").read_text()
    assert (
        f"{sum(twice.values()) - 60} of the rows repeat a document" in card and "| metadata.topic | b | 1.5 |" in card
    )
    top = drawn("top", rates={"words_v1": {"0": 0, "0.9": 1}})
    assert 0 < len(top) <= 9, "ties at a quantile are below it together"


@pytest.mark.parametrize("unit", ["documents", "bytes", "tokens"])
def test_a_size_is_met_and_what_is_in_a_mix_stays_while_it_grows(
    made: Corpus, tmp_path: Path, tokenizer: Path, unit: str
) -> None:
    one = {"documents": 1, "bytes": 700, "tokens": 120}[unit]
    settings: dict[str, Any] = {"tokenizer": str(tokenizer)} if unit == "tokens" else {}
    before: set[str] = set()
    for wanted in (10, 20, 40):
        to = tmp_path / str(wanted)
        done = write(made, to, mix={unit: wanted * one}, **settings)
        assert done.size and done.size["unit"] == unit and done.size["asked"] == wanted * one
        assert wanted * one - 2 * one < done.size["reached"] <= wanted * one
        rows = rows_of(to)
        sizes = {"documents": rows.height, "bytes": rows["text"].str.len_bytes().sum()}
        assert done.size["reached"] == sizes.get(unit, sum(len(text.split()) for text in rows["text"]))
        assert done.left_out == {"over_size": 60 - rows.height}
        assert before <= set(rows["url"])
        before = set(rows["url"])
    done = write(made, tmp_path / "all", mix={unit: "1M"}, **settings)
    assert done.splits == {"train": 60} and done.size and done.size["reached"] < done.size["asked"] == 10**6


def test_a_size_keeps_the_proportions_of_rates(made: Corpus, tmp_path: Path) -> None:
    mix = {"rates": {"metadata.topic": {"a": 3, "b": 1}}, "documents": 30}
    write(made, tmp_path / "out", mix=mix)
    topics = rows_of(tmp_path / "out")["metadata"].value_counts()
    counts = {json.loads(value)["topic"]: n for value, n in topics.iter_rows()}
    assert counts["a"] + counts["b"] == 30 and counts["a"] > counts["b"] * 1.5


def test_texts_that_were_found_often_are_weighted_by_a_table() -> None:
    from quarry_dagster.exports.mixing import weights
    from quarry_dagster.profiles.settings import Mix

    frame = pl.DataFrame({"duplicates": [0, 1, 3, 4, 98, 99, 2000, None], "side": ["train"] * 7 + ["test"]})
    assert weights(frame, Mix(weights="fineweb2")).to_list() == [1, 2, 3, 5, 5, 8, 1, 1]
    assert weights(frame, Mix(weights={2: 4, 5: 0.5})).to_list() == [4, 4, 4, 0.5, 0.5, 0.5, 0.5, 1]


def test_a_held_out_document_is_never_repeated(made: Corpus, tmp_path: Path) -> None:
    write(made, tmp_path / "out", splits={"test": 0.3}, mix={"rates": {"language": {"*": 3}}}, group="document")
    assert rows_of(tmp_path / "out", "test")["doc_id"].is_unique().all()
    assert rows_of(tmp_path / "out", "train")["doc_id"].value_counts()["count"].unique().to_list() == [3]
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["repeats"] == 2 * rows_of(tmp_path / "out", "train")["doc_id"].n_unique()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--rate", "langage:en=1"], "there is no column 'langage'; the nearest is 'language'"),
        (["--rate", "language"], "write COLUMN:VALUE=RATE"),
        (["--rate", "language:en=many"], "mix.rates"),
        (["--rate", "language:en=1000"], "mix.rates"),
        (["--rate", "words_v1:en=1"], "words_v1 is a number: name the quantiles"),
        (["--rate", "failed_rules:x=1"], "failed_rules has neither texts nor numbers"),
        (["--rate", "language:*=0"], "no document is left to export: 60 are kept, 60 not_drawn"),
        (["--documents", "ten"], "mix.documents"),
        (["--documents", "10", "--bytes", "10"], "one size at most, and not documents and bytes"),
        (["--tokens", "10"], "tokenizer: name one"),
        (["--weights", "fineweb3"], "mix.weights"),
        (["--bytes", "10"], "no document is left to export: 60 are kept, 60 over_size"),
        (["--documents", "1", "--split", "test=0.2", "--group", "document"], "nothing of it is in the mix"),
        (["--documents", "9", "--since", "1"], "a size is one of the whole corpus"),
        (["--tokenizer", "x"], "nothing here is counted or written in tokens"),
        (["--end-of-text", "x"], "end_of_text: it is of the format tokens"),
    ],
)
def test_a_mix_that_cannot_be_made_says_why(
    quarry: Quarry, made: Corpus, tmp_path: Path, options: list[str], said: str
) -> None:
    status, _, err = quarry("export", "parquet", "--data", made.root, "--to", tmp_path / "out", *options)
    assert status == 1 and said in " ".join(err.split()) and "Traceback" not in err, err
    assert not (tmp_path / "out").exists()


def test_a_profile_reads_names_and_numbers_as_texts() -> None:
    from quarry_dagster.profiles.settings import Mix

    assert Mix.model_validate({"rates": {"words_v1": {0.9: 2, "*": 1}}, "tokens": "1.5M"}).sizes == {
        "tokens": 1_500_000
    }
    with pytest.raises(ValidationError, match="write them in quotes"):
        Mix.model_validate({"rates": {"language": yaml.safe_load("{no: 1}")}})


ESSAY = "\n\n".join(
    [
        "# The whole",
        "An opening of the text. " * 3,
        "## First part",
        *(f"Paragraph {i} of the first part says this and that, and ends here." for i in range(8)),
        "```\n# no heading, but code\n\nmore code\n```",
        "## Second part",
        "A sentence that is one of many in a paragraph without an end. " * 40,
        "word " * 400,
    ]
)


@pytest.fixture(scope="module")
def essays(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    corpus = Corpus(tmp_path_factory.mktemp("essays") / "data", profile())
    rows = [
        {"url": "http://a.example/essay", "text": ESSAY, "text_format": "markdown", "title": "Essay: a '---'"},
        {"url": "http://b.example/plain", "text": f"# no heading\n1. {words(3)}\n<b>x</b> [a](b)\n---\n{words(4)}"},
    ]
    part = "".join(f"<p>{words(20 + i)}</p>" for i in range(3))
    page = f"<title>Page</title><article><h1>Page</h1><h2>A part</h2>{part}</article>"
    rows.append({"url": "http://c.example/page", "html": page})
    corpus.seed("a.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    corpus.run_five()
    return corpus


def test_passages_are_cut_at_headings_and_paragraphs_and_overlap_by_whole_ones(essays: Corpus, tmp_path: Path) -> None:
    write(essays, tmp_path / "texts")
    texts = dict(rows_of(tmp_path / "texts").select("doc_id", "text").iter_rows())
    done = write(essays, tmp_path / "out", format="chunks", chunk_tokens=64, chunk_overlap=24)
    rows = rows_of(tmp_path / "out")
    assert done.splits == {"train": 3} and rows["chunk_id"].is_unique().all()
    for row in rows.iter_rows(named=True):
        assert row["text"] == texts[row["doc_id"]][row["start"] : row["end"]] == row["text"].strip()
        assert 0 < row["tokens"] <= 64
    for (doc_id,), passages in rows.group_by("doc_id", maintain_order=True):
        starts, ends = passages["start"].to_list(), passages["end"].to_list()
        assert passages["number"].to_list() == list(range(passages.height))
        assert starts == sorted(set(starts)) and ends == sorted(set(ends)), "each one goes on"
        lost = [texts[str(doc_id)][a:b] for a, b in zip([0, *ends], [*starts, len(texts[str(doc_id)])], strict=True)]
        assert not "".join(each for each in lost).strip(), "all of the text is in some passage"
    essay = rows.filter(pl.col("url").str.ends_with("essay"))
    assert essay["headings"][0].to_list() == ["The whole"]
    assert ["The whole", "Second part"] in essay["headings"].to_list()
    assert not any("code" in title for titles in essay["headings"] for title in titles)
    first = essay.filter(pl.col("text").str.contains("Paragraph 3"))
    assert first.height >= 1 and all(text.endswith((".", "```")) for text in first["text"])
    assert any(a > b for a, b in zip(essay["end"].to_list(), essay["start"].to_list()[1:], strict=False)), (
        "they overlap"
    )


def test_a_passage_keeps_its_id_while_its_text_is_the_same(essays: Corpus, tmp_path: Path) -> None:
    write(essays, tmp_path / "a", format="chunks")
    write(essays, tmp_path / "b", format="chunks", title="other", force=True)
    write(essays, tmp_path / "small", format="chunks", chunk_tokens=64)
    a, b, small = (rows_of(tmp_path / name) for name in ("a", "b", "small"))
    assert a.equals(b) and small.height > a.height


@pytest.mark.parametrize("line", ["", " " * 200_000, "a" * 200_000, "。" * 50_000, "# " * 50_000, "\n" * 100_000])
def test_any_text_is_cut_into_bounded_passages(line: str) -> None:
    from quarry_dagster.embed.model import DEFAULT_MODEL
    from quarry_dagster.exports.chunks import _passages
    from quarry_dagster.exports.tokenizer import Tokenizer

    text = f"Begin here.\n\n{line}\n\nEnd here."
    (bounds,) = Tokenizer(DEFAULT_MODEL).bounds([text])
    found = list(_passages(text, bounds, 64, 16))
    assert found[0][0] == 0 and found[-1][1] == len(text)
    assert all(0 < tokens <= 64 for *_, tokens in found)


def test_a_file_of_markdown_has_its_facts_above_and_shows_plain_text_as_it_is(essays: Corpus, tmp_path: Path) -> None:
    done = write(essays, tmp_path / "out", format="markdown")
    paths = sorted((tmp_path / "out" / "data" / "train").rglob("*.md"))
    assert len(paths) == done.splits["train"] == 3
    found = {}
    for path in paths:
        head, body = path.read_text().split("---\n", 2)[1:]
        facts = yaml.safe_load(head)
        assert path.stem == facts["doc_id"] and path.parent.name == facts["doc_id"][:2]
        found[facts["url"]] = facts, body
    facts, _ = found["http://a.example/essay"]
    assert facts["title"] == "Essay: a '---'"
    facts, page = found["http://c.example/page"]
    assert facts["title"] == "Page" and "\n## A part\n" in page
    _, plain = found["http://b.example/plain"]
    assert "\n\\# no heading\n1\\. " in plain and "\\<b\\>x" in plain and "\\[a\\]" in plain and "\n\\---\n" in plain


def test_what_somebody_put_beside_the_rows_is_never_taken_away(quarry: Quarry, corpus: Corpus) -> None:
    to = corpus.root / "exports" / "out"
    corpus_export.make(corpus.store, Export(format="jsonl", to=str(to)), str(to))
    (to / ".git").mkdir()
    (to / ".git" / "HEAD").write_text("x")
    with pytest.raises(ConfigError, match=r"files that are not of its export: \.git/HEAD; move them"):
        write(corpus, to, format="jsonl", salt="x")
    assert not write(corpus, to, format="jsonl").is_new, "nothing is to be written"
    (url,) = [row["url"] for row in documents() if row["url"].endswith("/9")]
    assert quarry("forget", url, "--data", corpus.root, "--yes", "--accept-shrink")[0] == 0
    assert (to / ".git" / "HEAD").read_text() == "x" and not (to / "data").exists()
    _, deleted = corpus_export.unreached(corpus.store)
    assert "files that are not of its export" in deleted[str(to)]


def test_a_damaged_export_is_written_again(made: Corpus, tmp_path: Path) -> None:
    write(made, tmp_path / "out")
    before = bytes_of(tmp_path / "out")
    (tmp_path / "out" / "README.md").unlink()
    assert write(made, tmp_path / "out").is_new and bytes_of(tmp_path / "out") == before
    (tmp_path / "out" / "manifest.json").with_name("takedowns.jsonl").write_text("x")
    assert write(made, tmp_path / "out").is_new and bytes_of(tmp_path / "out") == before


def test_a_link_is_followed_and_stays(made: Corpus, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    write(made, tmp_path / "link")
    write(made, tmp_path / "link", format="jsonl")
    assert (tmp_path / "link").is_symlink() and lines_of(tmp_path / "disk")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["disk", "link"]


@pytest.mark.parametrize("inside", ["", "..", "seeds/x", "extracted_text", "exports", "exports/../log/x"])
def test_a_data_root_has_exports_in_their_folder_alone(quarry: Quarry, corpus: Corpus, inside: str) -> None:
    status, _, err = quarry("export", "jsonl", "--data", corpus.root, "--to", corpus.root / inside)
    assert status == 1 and "is not for exports" in err
    status, _, err = quarry("export", "jsonl", "--data", corpus.root, "--to", "/")
    assert status == 1 and "the whole disk" in err


def test_an_export_does_not_lie_in_another_one(quarry: Quarry, corpus: Corpus, tmp_path: Path) -> None:
    assert quarry("export", "jsonl", "--data", corpus.root, "--to", tmp_path / "a")[0] == 0
    status, _, err = quarry("export", "jsonl", "--data", corpus.root, "--to", tmp_path / "a" / "b" / "c")
    assert status == 1 and "lies in another export" in err
    with pytest.raises(ValidationError, match="two of them are written to hub"):
        HardwareProfile.model_validate(
            {"name": "x", "exports": [{"format": "jsonl", "to": "hub"}, {"format": "parquet", "to": "./hub/"}]}
        )


def test_a_moved_root_reaches_its_exports_and_deleted_ones_stay_deleted(
    quarry: Quarry, corpus: Corpus, tmp_path: Path
) -> None:
    for name in ("kept", "gone"):
        to = f"file://{corpus.root}/exports/{name}"
        assert quarry("export", "jsonl", "--data", corpus.root, "--to", to)[0] == 0
    assert quarry("export", "jsonl", "--data", corpus.root, "--to", tmp_path / "elsewhere")[0] == 0
    assert quarry("export", "jsonl", "--data", corpus.root, "--to", tmp_path / "gone too")[0] == 0
    for gone in (corpus.root / "exports" / "gone", tmp_path / "gone too"):
        for path in sorted(gone.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        gone.rmdir()
    moved = tmp_path / "moved"
    corpus.root.rename(moved)
    (url,) = [row["url"] for row in documents() if row["url"].endswith("/9")]
    status, out, _ = quarry("forget", url, "--data", moved, "--yes", "--json", "--accept-shrink")
    assert status == 0
    said = json.loads(out)
    mine = [to for to in said["exports_elsewhere"] if str(tmp_path) in to]
    assert mine == [str(tmp_path / "elsewhere")] and said["exports_deleted"] == {}
    assert len(lines_of(moved / "exports" / "kept")) == 59
    assert not (moved / "exports" / "gone").exists()


def test_an_export_that_cannot_be_written_again_is_deleted_and_said(
    quarry: Quarry, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY, "a secret")
    to = corpus.root / "exports" / "named"
    said = ("--redact", "all", "--redact-with", "pseudonym")
    assert quarry("export", "jsonl", "--data", corpus.root, "--to", to, *said)[0] == 0
    monkeypatch.delenv(KEY)
    (url,) = [row["url"] for row in documents() if row["url"].endswith("/9")]
    status, out, _ = quarry("forget", url, "--data", corpus.root, "--yes", "--accept-shrink")
    assert status == 0 and "could not be written again, and were deleted" in out and f"{to}: pseudonyms" in out
    assert not to.exists()
    monkeypatch.setenv(KEY, "a secret")
    assert quarry("export", "jsonl", "--data", corpus.root, "--to", to, *said)[0] == 0
    assert corpus_export.unreached(corpus.store)[1] == {}


def test_a_takedown_leaves_what_changed_since_what_it_was(quarry: Quarry, corpus: Corpus) -> None:
    corpus.seed_texts("b.jsonl", {"http://new.example/": words(88)})
    corpus.run()
    to = corpus.root / "exports" / "since"
    corpus_export.make(corpus.store, Export(format="parquet", to=str(to)), str(to), since=1)
    assert rows_of(to).height == 1
    (url,) = [row["url"] for row in documents() if row["url"].endswith("/9")]
    assert quarry("forget", url, "--data", corpus.root, "--yes", "--accept-shrink")[0] == 0
    _, deleted = corpus_export.unreached(corpus.store)
    assert (to / "removed.jsonl").exists() or deleted, "a corpus of before is gone with the takedown, and that is said"


def test_titles_authors_and_own_columns_are_redacted_too(tmp_path: Path) -> None:
    corpus = Corpus(tmp_path / "data", profile())
    row = {"url": "http://a.example/", "text": words(1), "title": "Mail bob.k@acme-widgets.com", "author": "Bob"}
    row |= {"own": {"contact": ["write to bob.k@acme-widgets.com"], "n": 3}}
    corpus.seed("a.jsonl", json.dumps(row))
    corpus.run()
    write(corpus, tmp_path / "out", redact=["email"])
    (found,) = rows_of(tmp_path / "out").iter_rows(named=True)
    assert found["title"] == "Mail <EMAIL>" and found["author"] == "Bob"
    assert json.loads(found["metadata"]) == {"own": {"contact": ["write to <EMAIL>"], "n": 3}}
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["redacted"] == {"email": 2}


def test_a_card_says_what_the_export_chose_and_what_fails_a_rule(made: Corpus, tmp_path: Path) -> None:
    policy = tmp_path / "mine.yaml"
    policy.write_text("name: mine\nversion: 1\nrules:\n  - {name: short, signal: words_v1, op: '<', threshold: 121}\n")
    write(made, tmp_path / "out", policy=str(policy), select="word_count > 100", redact=["email"])
    card = (tmp_path / "out" / "README.md").read_text()
    assert "Only documents of which this holds are here: word\\_count \\> 100" in card
    assert "fail the quality policy mine@1" in card and "| short |" in card and "None fails" not in card
    assert "robots.txt" not in card, "nothing was fetched"
    assert str(tmp_path) not in (tmp_path / "out" / "manifest.json").read_text() + card
    corpus = made.copy(tmp_path / "data")
    corpus.seed_texts("b.jsonl", {"http://new.example/": words(88)})
    corpus.run()
    write(corpus, tmp_path / "since", since=1)
    card = (tmp_path / "since" / "README.md").read_text()
    assert "what came or changed since corpus 1" in card


def test_a_split_without_rows_has_no_file(corpus: Corpus, tmp_path: Path) -> None:
    corpus.seed_texts("b.jsonl", {"http://new.example/": words(88)})
    corpus.run()
    write(corpus, tmp_path / "out", since=1, splits={"test": 0.3}, group="document")
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert len(manifest["splits"]) == len(list((tmp_path / "out" / "data").iterdir())) == 1
    write(corpus, tmp_path / "none", since=2)
    assert json.loads((tmp_path / "none" / "manifest.json").read_text())["splits"] == {}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"select": "lower(word_count) = 'a'"}, "cannot be asked of these columns"),
        ({"splits": {"test": 0.3}, "group": "metadata.none"}, "no document has metadata.none"),
        ({"splits": {"test": 0.3}, "group": "metadata.a'b"}, "no document has metadata.a'b"),
        ({"splits": {"test": 0.3}, "group": "metadata.a'b\"c"}, "cannot be asked for"),
    ],
)
def test_what_no_document_has_is_told(made: Corpus, tmp_path: Path, settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        write(made, tmp_path / "out", **settings)


def test_the_summary_takes_no_settings_of_a_dataset(quarry: Quarry, made: Corpus, tmp_path: Path) -> None:
    said = ("export", "training-summary", "--data", made.root, "--to", tmp_path / "s" / "summary.md")
    status, _, err = quarry(*said, "--select", "word_count > 9", "--salt", "x")
    assert status == 2 and "leave out --select, --salt" in err
    assert quarry(*said)[0] == 0 and [path.name for path in (tmp_path / "s").iterdir()] == ["summary.md"]
    assert (tmp_path / "s" / "summary.md").read_text().endswith("\n")
