"""Signals and policies of quality beside datatrove's filters, on labelled pages and on planted junk.

    python -m benchmarks.quality PAGES.parquet [--more FOLDER] [--peer PYTHON] [--limit N] [--texts CACHE.parquet]
    python -m benchmarks.quality --make-fixture FILE --peer PYTHON

PAGES has the columns `html` (bytes), `url` and `page_type`, which a person gave. Printed are: documents a CPU-second of
the signals, apart from the score of language; the share of pages of each type that each policy keeps; and how much
junk (`benchmarks/junk.py`) it finds, planted into articles that `fineweb@1` and `quarry@1` both keep. With --more texts
of the files `planted*.parquet` in a folder are read too. With --peer, a Python that has datatrove 0.10 and spaCy, the
same texts go through datatrove's filters in the same run, in turns, and verdicts and reasons are compared text by text;
with --limit only so many texts, evenly spread. With --texts what was extracted is kept in a file.

--make-fixture writes what datatrove says of the texts of `benchmarks/threshold_texts.py`, which a test compares.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.junk import KINDS, SHARES, planted
from benchmarks.threshold_texts import threshold_texts
from quarry_dagster.extract import Page, plain_form
from quarry_dagster.extract.page import extract_page
from quarry_dagster.profiles.settings import Extraction as Settings
from quarry_dagster.quality import SIGNALS, Text, signals
from quarry_dagster.quality.policy import Policy, Rule, read_policy

POLICIES = ("gopher", "c4", "fineweb", "fineweb2", "quarry")
_COMPARED = ("gopher_repetition", "gopher_quality", "c4", "fineweb_quality", "chain")
_BATCH = 32
_BASES = 40
"""Articles that get junk of every kind and step."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("pages", type=Path, nargs="?")
    parser.add_argument("--more", type=Path, help="a folder with planted*.parquet")
    parser.add_argument("--peer", help="a Python that has datatrove")
    parser.add_argument("--limit", type=int, default=400, help="texts that are compared, of pages and of others each")
    parser.add_argument("--texts", type=Path, help="where extracted texts are kept")
    parser.add_argument("--make-fixture", type=Path)
    arguments = parser.parse_args()
    if arguments.make_fixture:
        return _make_fixture(arguments.make_fixture, arguments.peer)
    if not arguments.pages:
        parser.error("PAGES is missing")
    pages = _extracted(arguments.pages, arguments.texts)
    others = _others(arguments.more) if arguments.more else []
    _print_speed("labelled pages", _texts(pages))
    if others:
        _print_speed("planted documents", [Text(text, None, None) for text in others])
    if arguments.peer:
        plain = [plain_form(t.text, t.text_format) for t in _texts(pages)]
        for name, texts in (("labelled pages", plain), ("planted documents", others)):
            _print_compared(name, texts[:: max(len(texts) // arguments.limit, 1)], arguments.peer)
    table = pl.concat([pages, signals(_texts(pages))], how="horizontal")
    table = table.with_columns(_failed(table, name) for name in POLICIES)
    _print_deciding(read_policy("quarry@1", [signal.name for signal in SIGNALS]))
    _print_kept(table)
    _print_junk(table)
    return 0


def _texts(pages: pl.DataFrame) -> list[Text]:
    return [Text(*row) for row in pages.select("text", "text_format", "language").iter_rows()]


def _extracted(file: Path, cache: Path | None) -> pl.DataFrame:
    """The texts of pages as this project extracts them: columns label, page_type, language, text_format, text."""
    if cache and cache.is_file():
        return pl.read_parquet(cache)
    settings, rows = Settings(), []
    for row in pl.read_parquet(file).iter_rows(named=True):
        page = extract_page(Page("", row["url"] or "", row["html"], "text/html"), settings)
        if page.text:
            rows.append((row["page_type"], page.page_type, page.language, page.text_format, page.text))
    schema = ("label", "page_type", "language", "text_format", "text")
    pages = pl.DataFrame(rows, schema=dict.fromkeys(schema, pl.String), orient="row")
    if cache:
        pages.write_parquet(cache)
    return pages


def _others(folder: Path) -> list[str]:
    return [text for file in sorted(folder.glob("planted*.parquet")) for text in pl.read_parquet(file)["text"] if text]


def _print_speed(name: str, texts: list[Text]) -> None:
    silent = [text._replace(language=None) for text in texts]
    signals(texts[:1])
    seconds = []
    for each in (silent, texts):
        began = time.process_time()
        signals(each)
        seconds.append(time.process_time() - began)
    size = sum(len(text.text) for text in texts) / len(texts)
    print(
        f"\n{len(texts)} {name} of {size:,.0f} characters: {len(texts) / seconds[0]:,.0f} documents a CPU-second",
        end="",
    )
    print(f", with the score of language {len(texts) / seconds[1]:,.0f}")


class _Peer:
    """datatrove's filters in a process of their own."""

    def __init__(self, python: str) -> None:
        script = Path(__file__).with_name("quality_peer.py")
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            [python, script], stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True
        )

    def ask(self, text: str) -> dict[str, Any]:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps(text) + "\n")
        self._process.stdin.flush()
        if not (line := self._process.stdout.readline()):
            raise SystemExit("the peer ended: has its Python datatrove 0.10 and spaCy?")
        return json.loads(line)


def _print_deciding(policy: Policy) -> None:
    """What it takes to decide on documents of which every fiftieth fails."""
    n = 1_000_000
    fails = pl.int_range(n, eager=True) % 50 == 0
    columns = {"language": "en", "page_type": "article", "host": "a.example"}
    rows = pl.DataFrame({"fails": fails}).with_columns(pl.lit(value).alias(name) for name, value in columns.items())
    for rule in policy.rules:
        beyond, within = (1.5, 0.5) if rule.op.startswith(">") else (0.5, 1.5)
        value = pl.when("fails").then(beyond).otherwise(within) * rule.threshold
        rows = rows.with_columns(value.cast(pl.Float32).alias(rule.signal))
    began = time.process_time()
    failed = policy.failures(rows).height
    seconds = time.process_time() - began
    print(f"\n{len(policy.rules)} rules decided on {n:,} documents in {seconds:.2f} CPU-s, {failed:,} failed rules")


def _print_compared(name: str, texts: Sequence[str], python: str) -> None:
    peer = _Peer(python)
    seconds: defaultdict[str, float] = defaultdict(float)
    same: Counter[str] = Counter()
    for begin in range(0, len(texts), _BATCH):
        batch = texts[begin : begin + _BATCH]
        answers = [peer.ask(text) for text in batch]
        plain = [Text(text, None, None) for text in batch]
        began = time.process_time()
        signals(plain)
        seconds["ours"] += time.process_time() - began
        for answer in answers:
            seconds["four filters"] += answer["seconds"]
            seconds["chain"] += answer["chain_seconds"]
        given = signals(plain, [answer["words"] for answer in answers])
        for filtered in _COMPARED:
            reasons = first_reasons(given, rules_of(filtered))
            same[filtered] += sum(a == b["reasons"][filtered] for a, b in zip(reasons, answers, strict=True))
    n = len(texts)
    print(f"\n{n} {name}, in turns in one run\n")
    print("| system | documents a CPU-second |\n| --- | --- |")
    for system, took in seconds.items():
        print(f"| {system if system == 'ours' else f'datatrove, {system}'} | {n / took:,.1f} |")
    print("\n| filter | same verdict and reason, with datatrove's words |\n| --- | --- |")
    for filtered in _COMPARED:
        print(f"| {filtered} | {same[filtered]} of {n} |")


def policy(name: str) -> Policy:
    """The first version of a shipped policy."""
    return read_policy(f"{name}@1", [signal.name for signal in SIGNALS])


def rules_of(filtered: str) -> Sequence[Rule]:
    """The rules of one of datatrove's filters, or of FineWeb's chain, which was given no language."""
    chain = [rule for rule in policy("fineweb").rules if rule.name != "language_score"]
    if filtered == "chain":
        return chain
    if filtered == "c4":
        return policy("c4").rules
    if filtered == "fineweb_quality":  # on the text as it is, not on what C4 leaves of it
        return [rule.model_copy(update={"signal": rule.signal.removeprefix("fineweb_")}) for rule in chain[-5:]]
    gopher = policy("gopher").rules
    first = [rule.name for rule in gopher].index("gopher_short_doc")
    return gopher[:first] if filtered == "gopher_repetition" else gopher[first:]


def first_reasons(values: pl.DataFrame, rules: Sequence[Rule]) -> list[str | None]:
    """The first rule that each row fails."""
    failed = [pl.when(rule.holds).then(pl.lit(rule.name)) for rule in rules]
    return values.select(pl.coalesce(failed)).to_series().to_list()


def _failed(table: pl.DataFrame, name: str) -> pl.Series:
    """bool: which rows fail a policy."""
    return table.select(pl.any_horizontal([rule.holds for rule in policy(name).rules]).alias(name)).to_series()


def _print_kept(table: pl.DataFrame) -> None:
    print("\n| type | pages | " + " | ".join(POLICIES) + " |\n" + "| --- " * (len(POLICIES) + 2) + "|")
    for (label,), group in table.sort("label").group_by("label", maintain_order=True):
        kept = [f"{1 - group[name].cast(pl.Float64).sum() / group.height:.1%}" for name in POLICIES]
        print(f"| {label} | {group.height} | " + " | ".join(kept) + " |")


def _print_junk(table: pl.DataFrame) -> None:
    """What of planted junk is found, by kind and step."""
    good = (pl.col("label") == "article") & (pl.col("language") == "en") & (pl.col("text").str.len_chars() > 2_000)
    bases = table.filter(good & ~pl.col("fineweb") & ~pl.col("quarry"))
    bases = bases[:: max(bases.height // _BASES, 1)].head(_BASES)
    rows = list(_spoilt(bases))
    texts = pl.DataFrame(rows, schema=["kind", "step", "page_type", "language", "text"], orient="row")
    values = signals([Text(text, "markdown", language) for *_, language, text in rows])
    found = pl.concat([texts, values], how="horizontal")
    found = found.with_columns(_failed(found, name) for name in ("fineweb", "quarry"))
    print(f"\nJunk in {bases.height} articles, found by fineweb@1 / quarry@1\n")
    print("| kind | " + " | ".join(f"{share:.0%}" for share in SHARES) + " |\n" + "| --- " * (len(SHARES) + 1) + "|")
    for kind in (*KINDS, "all"):
        of_kind = found if kind == "all" else found.filter(pl.col("kind") == kind)
        cells = []
        for step in range(len(SHARES)):
            at = of_kind.filter(pl.col("step") == step)
            cells.append(
                " / ".join(f"{at[name].cast(pl.Float64).sum() / at.height:.0%}" for name in ("fineweb", "quarry"))
            )
        print(f"| {kind} | " + " | ".join(cells) + " |")


def _spoilt(bases: pl.DataFrame) -> Iterator[tuple[str, int, str | None, str, str]]:
    for kind in KINDS:
        for step in range(len(SHARES)):
            for text, page_type, language in bases.select("text", "page_type", "language").iter_rows():
                yield kind, step, page_type, language, planted(text, kind, step)


def _make_fixture(file: Path, python: str | None) -> int:
    if not python:
        raise SystemExit("--make-fixture needs --peer: the Python that has datatrove")
    peer = _Peer(python)
    with file.open("w", encoding="utf-8", newline="\n") as lines:
        for rule, text, times in threshold_texts():
            answer = peer.ask(text * times)
            words = answer["words"][: len(answer["words"]) // times]
            assert words * times == answer["words"]
            assert not any(" " in word for word in words)
            row = {"for": rule, "text": text, "times": times, "words": " ".join(words), "reasons": answer["reasons"]}
            lines.write(json.dumps(row) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
