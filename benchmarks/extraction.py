"""What extraction finds, invents and costs, beside its peers, on pages with labels, interleaved page by page.

    python -m benchmarks.extraction PAGES.parquet [--limit N] [--other CHECKOUT]

PAGES has the columns `html` (bytes), `url`, `page_type`, `text`, `title`, `author`, `date`; an empty label says that
the page has none. Text is judged by the F1 of word multisets. Structure is judged on the pages of documentation,
against their own tags: what stands in `pre`, headings, items that are no links, and rows, of those whose words are in
the label. With --other another checkout of this project takes part, in a process of its own: the version of before. A
peer that is not installed is skipped: `pip install resiliparse readability-lxml`.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_type_hints

import polars as pl

Row = dict[str, Any]
_WORD = re.compile(r"\w+")
_BLANKS = re.compile(r"[ \t]{2,}")
_INDENTED = re.compile(r"```.*?```|^[ \t]+", re.DOTALL | re.MULTILINE)
_ITEM = re.compile(r"\s*(?:-|\d+\.) ")
_LONG = 60
"""Characters of a line from which its being repeated is noise."""


@dataclass
class Score:
    """What one system found on the pages."""

    seconds: float = 0.0
    f1: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    dates: Counter[str] = field(default_factory=Counter)
    authors: Counter[str] = field(default_factory=Counter)
    noise: Counter[str] = field(default_factory=Counter)
    empty: int = 0


def main() -> int:
    if sys.argv[1:] == ["--serve"]:
        return _serve()
    parser = argparse.ArgumentParser(prog="python -m benchmarks.extraction", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("pages", type=Path)
    parser.add_argument("--limit", type=int, help="only so many pages, evenly spread")
    parser.add_argument("--other", type=Path, help="a checkout of another version")
    parser.add_argument("--alone", action="store_true", help="without peers")
    arguments = parser.parse_args()
    pages = pl.read_parquet(arguments.pages)
    if arguments.limit:
        pages = pages.gather_every(max(1, pages.height // arguments.limit)).head(arguments.limit)
    here = Path(__file__).parent.parent
    systems: dict[str, Callable[[Row], Row]] = {f"QuarryCore {m}": _other(here, m) for m in ("thorough", "fast")}
    if arguments.other:
        systems |= {f"before, {m}": _other(arguments.other, m) for m in ("thorough", "fast")}
    if not arguments.alone:
        systems |= dict(_peers())
    scores = {name: Score() for name in systems}
    for i, page in enumerate(pages.iter_rows(named=True)):
        order = list(systems)
        for name in order[i % len(order) :] + order[: i % len(order)]:
            found = systems[name](page)
            _judge(scores[name], page, found)
    _print(scores, pages.height)
    _print_structure(pages.filter(pl.col("page_type") == "documentation"))
    return 0


def _other(checkout: Path, mode: str) -> Callable[[Row], Row]:
    """Whole rows by a checkout of this project, in a process of its own that measures its own CPU time."""
    served = subprocess.Popen(
        [sys.executable, str(Path(__file__).absolute()), "--serve"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(checkout.absolute()), "EXTRACTION_MODE": mode},
        cwd=checkout,
    )
    assert served.stdin and served.stdout
    sent, answers = served.stdin, served.stdout

    def extract(page: Row) -> Row:
        sent.write(json.dumps({"url": page["url"], "html": page["html"].hex()}) + "\n")
        sent.flush()
        return json.loads(answers.readline())

    return extract


def _serve() -> int:
    # By names that versions of before have too.
    from quarry_dagster.extract import extractor_version
    from quarry_dagster.extract.expressions import ask_first
    from quarry_dagster.extract.page import extract_page
    from quarry_dagster.extract.records import Page

    settings_of = get_type_hints(extractor_version)["settings"]
    settings = settings_of(mode=os.environ["EXTRACTION_MODE"], min_words=0)
    ask_first()
    extract_page(
        Page("", "http://a.test/", b"<p>Some words to load all that is needed.</p>" * 9, "text/html"), settings
    )
    for line in sys.stdin:
        asked = json.loads(line)
        page = Page("", asked["url"], bytes.fromhex(asked["html"]), "text/html")
        start = time.process_time()
        found = extract_page(page, settings)
        seconds = time.process_time() - start
        facts = {k: getattr(found, k) for k in ("text", "title", "author", "date", "language")}
        print(json.dumps(facts | {"outcome": found.outcome, "seconds": seconds}), flush=True)
    return 0


def _peers() -> Iterator[tuple[str, Callable[[Row], Row]]]:
    import trafilatura

    def by_trafilatura(**options: Any) -> Callable[[Row], Row]:
        def extract(page: Row) -> Row:
            start = time.process_time()
            found = trafilatura.bare_extraction(page["html"], url=page["url"], with_metadata=True, **options)
            seconds = time.process_time() - start
            facts = {k: getattr(found, k, None) for k in ("text", "title", "author", "date")}
            return facts | {"seconds": seconds}

        return extract

    yield "trafilatura default", by_trafilatura()
    yield "trafilatura fast", by_trafilatura(fast=True)
    yield "trafilatura favor_recall", by_trafilatura(favor_recall=True)
    try:
        from resiliparse.extract.html2text import extract_plain_text  # pyright: ignore[reportMissingImports]
        from resiliparse.parse.encoding import detect_encoding  # pyright: ignore[reportMissingImports]

        def by_resiliparse(page: Row) -> Row:
            start = time.process_time()
            source = page["html"].decode(detect_encoding(page["html"]) or "utf-8", "replace")
            text = extract_plain_text(source, main_content=True)
            return {"text": text, "seconds": time.process_time() - start}

        yield "resiliparse", by_resiliparse
    except ImportError:
        print("skipped: resiliparse (not installed)")
    try:
        from lxml.html import fromstring
        from readability import Document  # pyright: ignore[reportMissingImports]

        def by_readability(page: Row) -> Row:
            start = time.process_time()
            try:
                text = fromstring(Document(page["html"]).summary()).text_content()
            except Exception:  # noqa: BLE001  what a peer cannot read it did not find
                text = ""
            return {"text": text, "seconds": time.process_time() - start}

        yield "readability-lxml", by_readability
    except ImportError:
        print("skipped: readability-lxml (not installed)")


def _judge(score: Score, page: Row, found: Row) -> None:
    score.seconds += found["seconds"]
    text = found.get("text") or ""
    score.empty += not text
    score.f1[page["page_type"]].append(_f1(page["text"] or "", text))
    if "date" in found:
        score.dates[_verdict((page["date"] or "")[:10], (found["date"] or "")[:10])] += 1
    if "author" in found:
        score.authors[_verdict(_name(page["author"]), _name(found["author"]))] += 1
    lines = [line.strip() for line in text.splitlines()]
    long = [line for line in lines if len(line) >= _LONG]
    score.noise["blanks"] += bool(_BLANKS.search(_INDENTED.sub("", text)))
    score.noise["repeated"] += len(set(long)) < len(long)
    title = _name(found.get("title"))
    score.noise["title first"] += bool(title) and bool(lines) and _name(lines[0].lstrip("# ")) == title


def _print_structure(pages: pl.DataFrame) -> None:
    from quarry_dagster.extract.page import extract_page
    from quarry_dagster.extract.records import Page
    from quarry_dagster.profiles.settings import Extraction

    there: Counter[str] = Counter()
    found: Counter[str] = Counter()
    for page in pages.iter_rows(named=True):
        text = extract_page(Page("", page["url"], page["html"], "text/html"), Extraction(min_words=0)).text or ""
        marked, label = _marked(text), f" {_name(page['text'])} "
        for kind, said in _tagged(page["html"]):
            words = _name(said)
            if words and f" {words} " in label:
                there[kind] += 1
                found[kind] += (said if kind == "code" else words) in marked[kind]
    print("\n| on pages of documentation | there | found |\n| --- | --- | --- |")
    for kind, n in there.items():
        print(f"| {kind} | {n} | {found[kind]} |")


def _tagged(markup: bytes) -> Iterator[tuple[str, str]]:
    """What a page's own tags hold: code as it is shown, headings, items of lists, rows of tables."""
    from lxml.html import fromstring

    from quarry_dagster.extract.code_blocks import text_of
    from quarry_dagster.extract.decode import decode

    tree = fromstring(decode(markup, "text/html").encode())
    for element in tree.iter("pre"):
        yield "code", text_of(element)
    for element in tree.iter("h1", "h2", "h3", "h4", "h5", "h6"):
        yield "headings", element.text_content()
    for element in tree.iter("li"):
        linked = sum(len(link.text_content()) for link in element.iter("a"))
        if element.find(".//li") is None and linked * 2 < len(element.text_content()):
            yield "items", element.text_content()
    for element in tree.iter("tr"):
        yield "rows", element.text_content()


def _marked(text: str) -> dict[str, set[str]]:
    """What a text in Markdown marks as such; words of it, and of code its lines."""
    from quarry_dagster.extract.markdown import lines_of

    found: dict[str, set[str]] = {kind: set() for kind in ("code", "headings", "items", "rows")}
    code: list[str] | None = None
    for line, kind in lines_of(text):
        if kind == "fence" and code is None:
            code = []
        elif kind == "fence":
            found["code"].add("\n".join(code or []))
            code = None
        elif code is not None:
            code.append(line)
        elif line.startswith("#"):
            found["headings"].add(_name(line))
        elif item := _ITEM.match(line):
            found["items"].add(_name(line[item.end() :]))
        elif line.startswith("|"):
            found["rows"].add(_name(line))
    return found


def _verdict(labelled: str, found: str) -> str:
    if not labelled:
        return "invented" if found else "none"
    return "missed" if not found else "right" if found == labelled else "wrong"


def _name(said: str | None) -> str:
    return " ".join(_WORD.findall(unicodedata.normalize("NFKC", said or "").casefold()))


def _f1(labelled: str, found: str) -> float:
    mine, theirs = Counter(_name(found).split()), Counter(_name(labelled).split())
    if not theirs:
        return float(not mine)
    both = (mine & theirs).total()
    return 2 * both / (mine.total() + theirs.total())


def _print(scores: dict[str, Score], n: int) -> None:
    types = sorted({kind for score in scores.values() for kind in score.f1})
    print(f"\n| {n} pages | pages a CPU-second | mean F1 | {' | '.join(types)} | empty |")
    print("| --- " * (len(types) + 4) + "|")
    for name, s in scores.items():
        every = [f for found in s.f1.values() for f in found]
        by_type = " | ".join(f"{sum(s.f1[t]) / len(s.f1[t]):.3f}" for t in types)
        print(f"| {name} | {n / s.seconds:.1f} | {sum(every) / len(every):.3f} | {by_type} | {s.empty} |")
    print("\n| | dates right | wrong | missed | invented | authors right | wrong | missed | invented |")
    print("| --- " * 9 + "|")
    for name, s in scores.items():
        if s.dates:
            kinds = ("right", "wrong", "missed", "invented")
            cells = [str(counts[k]) for counts in (s.dates, s.authors) for k in kinds]
            print(f"| {name} | {' | '.join(cells)} |")
    print(
        "\n| texts with | runs of blanks | a long line repeated | the title as first line |\n| --- | --- | --- | --- |"
    )
    for name, s in scores.items():
        print(f"| {name} | {' | '.join(str(s.noise[k]) for k in ('blanks', 'repeated', 'title first'))} |")


if __name__ == "__main__":
    sys.exit(main())
