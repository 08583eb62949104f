"""Datasets made of a corpus: what is in them, how they split, what is said of them, and that they appear whole."""

import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pyarrow.parquet as pq
import pytest
import yaml

from quarry_dagster.checks.corpus_export import as_promised
from quarry_dagster.errors import ConfigError, StoreError
from quarry_dagster.exports.card import cell
from quarry_dagster.exports.formats import Shards
from quarry_dagster.exports.redaction import KEY
from quarry_dagster.exports.rows import WRITTEN
from quarry_dagster.exports.select import condition
from quarry_dagster.exports.sides import groups, sides
from quarry_dagster.orchestration.assets.corpus_export import corpus_export as asset
from quarry_dagster.orchestration.resources import Quarry as Resource
from quarry_dagster.profiles.settings import Export
from quarry_dagster.stages import corpus_export
from quarry_dagster_tests import exporting
from quarry_dagster_tests.corpus import Corpus, Quarry, profile, words
from quarry_dagster_tests.exporting import bytes_of, documents, lines_of, rows_of, write

made, corpus = exporting.made, exporting.corpus


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
    for exports, count in (((wanted,), 60), ((), 0)):
        settings = profile().model_copy(update={"exports": exports}).model_dump(mode="json")
        quarry = Resource(data=str(corpus.root), profile="test", settings=settings)
        with dg.DagsterInstance.ephemeral() as instance:
            result = dg.materialize([asset], instance=instance, resources={"quarry": quarry})
        (made,) = result.asset_materializations_for_node("corpus_export")
        assert made.metadata["documents"].value == count
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


def test_partitions_that_share_little_with_what_is_held_out_leave_nothing_out(tmp_path: Path) -> None:
    corpus = Corpus(tmp_path / "data", profile(partitions={"pages_per_partition": 4}))
    texts = {f"http://a{i}.example/": f"{words(777, 40)} {words(i, 600)}" for i in range(40)}
    corpus.seed_texts("a.jsonl", texts)
    corpus.run()
    done = write(corpus, tmp_path / "out", splits={"test": 0.1}, group="document")
    assert done.left_out == {} and done.splits["test"] + done.splits["train"] == 40
    held = set(rows_of(tmp_path / "out", "test")["doc_id"])
    published = corpus.store.deduped_corpus.current()
    assert published is not None
    partitions = published.kept().group_by("partition").agg(pl.col("doc_id")).collect()
    assert any(not held & set(ids) for ids in partitions["doc_id"]), "some partition has none, or this proves nothing"
