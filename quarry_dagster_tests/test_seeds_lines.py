"""Text and tables: a bad line costs only itself, and is named."""

from __future__ import annotations

import io
import json
from datetime import UTC, date, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quarry_dagster.seeds import SUFFIXES, Problem, Seed, is_seed_name, read_seeds
from quarry_dagster.seeds.reader import _PLAIN_URL
from quarry_dagster.urls import canonical_url


def read(data: bytes, name: str, max_body: int = 1000) -> list[Seed | Problem]:
    return list(read_seeds(io.BytesIO(data), name, max_body=max_body))


def urls(items: list[Seed | Problem]) -> list[tuple[int, str]]:
    return [(item.line, item.url) for item in items if isinstance(item, Seed) and item.outcome != "invalid_url"]


def problems(items: list[Seed | Problem]) -> list[Problem]:
    """Bad lines in file order: problems, and seeds whose URL is none (they have a row of their own)."""
    out = []
    for item in items:
        if isinstance(item, Problem):
            out.append(item)
        elif item.outcome == "invalid_url":
            out.append(Problem(item.line, item.detail or "", item.url))
    return out


def parquet(**columns: list) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file, row_group_size=2)
    return file.getvalue()


def test_lines_of_spaces_end() -> None:
    """To look for a second URL from every space on would take a quarter of a minute a line."""
    assert len(read((b"http://a.test/" + b" " * 60_000 + b"x\n") * 100, "a.txt")) == 100


@pytest.mark.parametrize("name", ["a.txt", "dir/A.TXT", "a.b.warc.gz", "x.wacz", "CC.warc.wet.gz", "s.xml.gz"])
def test_seed_names(name: str) -> None:
    assert is_seed_name(name)


@pytest.mark.parametrize(
    "name", [".a.txt", "a.txt.tmp", "a.warc.gz.part", "a.csv.crdownload", "a.txt~", "a.gz", "a.pdf", ".sync/a.txt"]
)
def test_no_seed_names(name: str) -> None:
    assert not is_seed_name(name)


def test_unknown_suffix_is_a_problem_that_lists_the_known() -> None:
    (problem,) = read(b"http://a.example/", "a.doc")
    assert isinstance(problem, Problem) and ".wacz" in problem.reason


def test_text_comments_blank_lines_and_fragments() -> None:
    data = b"# all\n\n  http://a.example/ \r\nhttp://b.example/#top\t# why\n\t#x\nhttps://c.example/ #"
    assert read(data, "a.txt") == [
        Seed("http://a.example/", 3),
        Seed("http://b.example/#top", 4),
        Seed("https://c.example/", 6),
    ]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_text_encodings(encoding: str) -> None:
    data = "http://a.example/ü\r\nhttp://b.example/\r\n".encode(encoding)
    assert urls(read(data, "a.txt")) == [(1, "http://a.example/ü"), (2, "http://b.example/")]


def test_text_bad_lines_cost_only_themselves() -> None:
    long = b"http://a.example/" + b"x" * 200_000
    data = b"\n".join(
        [
            b"example.com/a",
            b"ftp://b.example/",
            b"http://a.example/1 http://a.example/2",
            b"http://c.example/\xff" + b" " * 100,
            long,
            b"http://good.example/",
        ]
    )
    items = read(data, "a.txt")
    assert urls(items) == [(6, "http://good.example/")]
    assert [p.line for p in problems(items)] == [1, 2, 3, 4, 5]
    assert "write http:// or https://" in problems(items)[0].reason
    assert problems(items)[0].text == "example.com/a"
    assert all(len(p.text) <= 200 and p.text.isprintable() for p in problems(items))


@pytest.mark.parametrize(
    ("behind", "said"),
    [
        ("dicover=links:1", "unknown option 'dicover'; did you mean 'discover'?"),
        ("Dicover = links:1", "unknown option 'Dicover'; did you mean 'discover'?"),
        ("depth=2", "unknown option 'depth'; known is discover"),
        ("discover=link:1", "'link:1' is none of links:1 to links:9"),
        ("discover=feeds depth=2", "'depth=2' is none of links:1"),
        ("links:2", "did you mean 'discover=links:2'?"),
        ("and more.html", "write %20 for a space"),
        ("\u00a0x", "write %20 for a space"),
        ("http://b.test/?a=1", "more than one URL"),
    ],
)
@pytest.mark.parametrize("name", ["a.txt", "a.csv", "a.jsonl", "a.parquet"])
def test_what_stands_behind_a_url_is_an_option_that_is_known_or_a_problem_of_that_row(
    name: str, behind: str, said: str
) -> None:
    lines = [f"http://a.test/p.html {behind}", "http://a.test/q.html discover=links:1", "http://a.test/r.html"]
    data = {
        "a.txt": "\n".join(lines).encode(),
        "a.csv": "\n".join(["url", *lines]).encode(),
        "a.jsonl": "\n".join(json.dumps({"url": line}) for line in lines).encode(),
        "a.parquet": parquet(url=lines),
    }
    problem, *rest = read(data[name], name)
    assert isinstance(problem, Problem) and said in problem.reason and problem.costs_row
    assert [(seed.url, seed.discover) for seed in rest if isinstance(seed, Seed)] == [
        ("http://a.test/q.html", "links:1"), ("http://a.test/r.html", None),
    ]  # fmt: skip


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_prose_in_a_list_of_urls_is_told_once_with_what_to_do(encoding: str) -> None:
    prose = "Rye\n" + "Rye bread keeps for a week.\n# a comment http\nMix the dough = in the evening.\n" * 40
    (problem,) = read(prose.encode(encoding), "a.txt")
    assert isinstance(problem, Problem) and problem.line is None
    assert "a table" in problem.reason and "columns id and text" in problem.reason
    among = read(f"{prose}http://a.test/\n".encode(encoding), "a.txt")
    assert urls(among) == [(122, "http://a.test/")], "a file with a URL at its head loses no URL by its prose"


@pytest.mark.parametrize("data", [b"PK\x03\x04\0\0http://a.example/\n" * 50, bytes(range(128, 256)) * 100])
@pytest.mark.parametrize("suffix", [".txt", ".csv", ".jsonl"])
def test_binary_file_is_one_problem(data: bytes, suffix: str) -> None:
    (problem,) = read(data, "a" + suffix)
    assert isinstance(problem, Problem) and problem.line is None and "binary" in problem.reason


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_empty_file_is_one_problem(suffix: str) -> None:
    (problem,) = read(b"", "a" + suffix)
    assert isinstance(problem, Problem)


@pytest.mark.parametrize(("encoding", "word"), [("latin-1", "ÄÖÜäöüß"), ("cp1251", "Хлеб"), ("shift-jis", "パン")])
def test_a_line_in_another_encoding_costs_itself_and_not_the_file(encoding: str, word: str) -> None:
    lines = [json.dumps({"url": f"http://a.test/{i}", "text": word * 30}, ensure_ascii=False) for i in range(2)]
    data = b"\n".join([lines[0].encode(encoding), lines[1].encode()])
    problem, seed = read(data, "a.jsonl")
    assert isinstance(problem, Problem) and (problem.line, problem.reason) == (1, "not UTF-8; save the file as UTF-8")
    assert not isinstance(seed, Problem) and seed.url == "http://a.test/1"


def test_only_comments_is_one_problem() -> None:
    (problem,) = read(b"# nothing\n\n", "a.txt")
    assert isinstance(problem, Problem) and problem.line is None and "no URL in it" in problem.reason


@given(st.from_regex(_PLAIN_URL, fullmatch=True))
@settings(max_examples=300, deadline=None)
def test_the_fast_check_accepts_nothing_that_the_full_one_refuses(url: str) -> None:
    assert canonical_url(url)


def test_csv_documents_and_urls() -> None:
    data = (
        "URL,html,text,fetched_at\n"
        'http://a.example/,"<p>""1"",\n2</p>",,2024-05-06T07:08:09+02:00\n'
        "http://b.example/,,plain ü,\n"
        "http://c.example/,,,\n"
    )
    first, second, third = read(data.encode(), "a.csv")
    assert first == Seed(
        "http://a.example/",
        2,
        outcome="given",
        fetched_at=datetime(2024, 5, 6, 5, 8, 9, tzinfo=UTC),
        content_type="text/html; charset=utf-8",
        body=b'<p>"1",\n2</p>',
    )
    assert second == Seed(
        "http://b.example/",
        4,
        outcome="given",
        content_type="text/plain; charset=utf-8",
        body="plain ü".encode(),
    )
    assert third == Seed("http://c.example/", 5)


@pytest.mark.parametrize("separator", ";\t")
def test_csv_that_a_spreadsheet_wrote_with_another_separator_is_read(separator: str) -> None:
    rows = [["id", "text", "price"], ["1", f'"one{separator}, or"', "1,5"], ["2", "two", "2,5"], ["3", "a", "b", "c"]]
    items = read("\ufeff".encode() + "\r\n".join(separator.join(row) for row in rows).encode(), "a.csv")
    assert [s.body for s in items if isinstance(s, Seed)] == [f"one{separator}, or".encode(), b"two"]
    (problem,) = problems(items)
    assert "4 fields where the header has 3" in problem.reason and "commas" not in problem.reason
    # What a comma parts is parted by it, and one column needs no separator.
    assert urls(read(f"url,a{separator}b\nhttp://a.test/,1\n".encode(), "a.csv")) == [(2, "http://a.test/")]
    assert urls(read(f"url\nhttp://a.test/a{separator.strip()}b\n".encode(), "a.csv"))[0][0] == 2


def test_csv_bad_rows_cost_only_themselves() -> None:
    data = (
        b"url,text\n"
        b"http://a.example/,one,two\n"  # too many fields
        b"http://b.example/,ok\n"
        b'http://c.example/,"never closed\n'
        b"http://d.example/,ok\n"
        b'http://e.example/,"bad" quote\n'
        b"http://f.example/,\xff\n"
        b",ok\n"
        b"http://g.example/,ok\n"
    )
    items = read(data, "a.csv")
    assert urls(items) == [(3, "http://b.example/"), (5, "http://d.example/"), (9, "http://g.example/")]
    assert [p.line for p in problems(items)] == [2, 4, 6, 7, 8]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.csv", b"Link,title\nhttp://a.example/,x\nhttp://b.example/,y\n"),
        ("a.jsonl", b'{"Link": "http://a.example/", "title": 1}\n' * 300),
        ("a.parquet", parquet(Link=["http://a.example/"], title=["x"])),
    ],
)
def test_without_column_url_one_problem_names_the_nearest(name: str, data: bytes) -> None:
    (problem,) = read(data, name)
    assert isinstance(problem, Problem) and problem.line is None
    assert "no column 'url' and no column 'id'; it has: Link, title; did you mean 'Link'?" in problem.reason


def test_jsonl_bad_lines_cost_only_themselves() -> None:
    lines = [
        '{"link": "http://x.example/"}',
        '{"url": "http://a.example/"}',
        '{"url": ',
        "[1]",
        "[" * 100_000,
        '{"url": 5}',
        '{"url": "http://b.example/", "html": 5}',
        '{"url": "http://c.example/", "html": null, "text": "t"}',
        '{"url": "http://d.example/\\ud800"}',
        '{"url": "http://e.example/", "text": "t", "fetched_at": "yesterday"}',
    ]
    items = read("\n".join(lines).encode(), "a.jsonl", max_body=100_000)
    assert urls(items) == [(2, "http://a.example/"), (8, "http://c.example/"), (10, "http://e.example/")]
    assert [p.line for p in problems(items)] == [1, 3, 4, 5, 6, 7, 9, 10]


def test_a_document_over_the_limit_is_too_large() -> None:
    data = json.dumps({"url": "http://a.example/", "text": "x" * 1001}).encode()
    (seed,) = read(data, "a.jsonl", max_body=1000)
    assert isinstance(seed, Seed) and seed.outcome == "too_large" and seed.body is None


def test_a_given_pdf_is_no_page() -> None:
    (seed,) = read(parquet(url=["http://a.example/"], html=[b"%PDF-1.4 ..."]), "a.parquet")
    assert isinstance(seed, Seed) and seed.outcome == "unsupported_type" and seed.body is None


def test_parquet_bytes_keep_their_charset() -> None:
    data = parquet(
        url=["http://a.example/", None, "http://c.example/"],
        html=["<p>ü</p>".encode("latin-1"), b"x", None],
        content_type=["text/html; charset=latin-1", None, None],
        fetched_at=[datetime(2024, 1, 2, tzinfo=UTC), None, None],
    )
    first, bad, last = read(data, "a.parquet")
    assert isinstance(first, Seed) and first.content_type == "text/html; charset=latin-1"
    assert first.body == b"<p>\xfc</p>" and first.fetched_at == datetime(2024, 1, 2, tzinfo=UTC)
    assert isinstance(bad, Problem) and bad.line == 2
    assert last == Seed("http://c.example/", 3)


@pytest.mark.parametrize(
    "times",
    [
        pa.array([1_704_164_645_000_000_789], pa.timestamp("ns")),
        pa.array([1_704_164_645], pa.timestamp("s", "Europe/Berlin")),
        pa.array(["2024-01-02T03:04:05"]),
    ],
)
def test_parquet_times_of_all_kinds(times: pa.Array) -> None:
    (seed,) = read(parquet(url=["http://a.example/"], text=["t"], fetched_at=times), "a.parquet")
    assert isinstance(seed, Seed) and seed.fetched_at == datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_parquet_days_and_text_that_is_not_marked_as_such() -> None:
    day = pa.array([date(2024, 1, 2)])
    (seed,) = read(parquet(url=[b"http://a.example/"], text=[b"t"], fetched_at=day), "a.parquet")
    assert isinstance(seed, Seed) and (seed.url, seed.body) == ("http://a.example/", b"t")
    assert seed.fetched_at == datetime(2024, 1, 2, tzinfo=UTC)


def test_parquet_damage_costs_its_row_group() -> None:
    good = [f"http://{i}.example/" for i in range(6)]
    file = io.BytesIO()
    pq.write_table(pa.table({"url": good}), file, row_group_size=2, use_dictionary=False, compression="zstd")
    data = bytearray(file.getvalue())
    column = pq.ParquetFile(io.BytesIO(data)).metadata.row_group(1).column(0)
    start = column.data_page_offset
    data[start : start + column.total_compressed_size] = b"\xff" * column.total_compressed_size
    items = read(bytes(data), "a.parquet")
    assert urls(items) == [(1, good[0]), (2, good[1]), (5, good[4]), (6, good[5])]
    (problem,) = problems(items)
    assert problem.line == 3 and "rows 3 to 4" in problem.reason


def test_a_parquet_value_that_unpacks_a_thousandfold_is_told_before_it_is_unpacked() -> None:
    file = io.BytesIO()
    with pq.ParquetWriter(file, pa.schema({"url": pa.string(), "text": pa.string()}), compression="zstd") as writer:
        for i, size in enumerate((10, 20_000_000, 10)):
            writer.write_table(pa.table({"url": [f"http://{i}.example/"], "text": ["x" * size]}))
    assert len(file.getvalue()) < 20_000
    items = read(file.getvalue(), "a.parquet")
    assert urls(items) == [(1, "http://0.example/"), (3, "http://2.example/")]
    (problem,) = problems(items)
    assert problem.line == 2 and "20,000,0" in problem.reason and problem.reason.endswith("unpacked; leave it out")


class _Failing(io.BytesIO):
    """A disk that fails after its first bytes."""

    def __init__(self, data: bytes, good: int) -> None:
        super().__init__(data)
        self._good = good

    def read(self, size: int | None = -1, /) -> bytes:
        if self.tell() >= self._good:
            raise OSError("disk")
        return super().read(size)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_error_of_the_file_itself_is_raised(suffix: str) -> None:
    with pytest.raises(OSError, match="disk"):
        list(read_seeds(_Failing(b"http://a.example/\n" * 100_000, 0), "a" + suffix, max_body=1000))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_file_stays_open(suffix: str) -> None:
    file = io.BytesIO(b"http://a.example/\n")
    list(read_seeds(file, "a" + suffix, max_body=1000))
    assert not file.closed


@pytest.mark.parametrize("suffix", SUFFIXES)
@given(data=st.binary(max_size=400))
@settings(max_examples=40, deadline=None)
def test_no_content_raises(suffix: str, data: bytes) -> None:
    assert read(data, "a" + suffix)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
@given(data=st.text(alphabet='url,"\n\r{}:[] http/.\x00', max_size=200))
@settings(max_examples=100, deadline=None)
def test_no_table_raises(suffix: str, data: str) -> None:
    assert read(b"url,text\n" + data.encode(), "a" + suffix)
