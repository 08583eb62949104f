"""How often documents are in an export, and their texts as tokens, passages and files."""

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml
from pydantic import ValidationError

from quarry_dagster.errors import ConfigError
from quarry_dagster_tests import exporting
from quarry_dagster_tests.corpus import Corpus, Quarry, profile, words
from quarry_dagster_tests.exporting import rows_of, write

made, corpus = exporting.made, exporting.corpus


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

    Tokenizer(models.BPE({"q": 0, "§": 1}, [])).save(str(tmp_path / "few.json"))
    corpus = Corpus(tmp_path / "data", profile())
    corpus.seed_texts("a.jsonl", {"http://a.example/": words(1), "http://b.example/": f"{words(2)} q§"})
    corpus.run_five()
    done = write(corpus, tmp_path / "out", format="tokens", tokenizer=str(tmp_path / "few.json"))
    assert done.splits == {"train": 1} and done.left_out == {"no_tokens": 1}
    assert len(megatron(tmp_path / "out" / "data" / "train-00000-of-00001")) == 1
    Tokenizer(models.BPE({"@": 0}, [])).save(str(tmp_path / "none.json"))
    with pytest.raises(ConfigError, match="makes nothing of any document"):
        write(corpus, tmp_path / "none", format="tokens", tokenizer=str(tmp_path / "none.json"))
    assert not (tmp_path / "none").exists()


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
        (["--tokenizer-revision", "x"], "tokenizer_revision: it is of a tokenizer"),
        (["--chunk-tokens", "99"], "they are of the format chunks, not of parquet"),
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
