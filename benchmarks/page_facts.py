"""What pages say of themselves: how often it is right, and what it costs.

    python -m benchmarks.page_facts PAGES.parquet [--hits]

PAGES has the columns `html` (bytes), `url` and `page_type`. The types of pages are compared with the labels
(`collection` counts as `listing`); the fields of products and discussions with `benchmarks/judged_fields.jsonl`, whose
verdicts were given by reading each value beside its page (no page's text is in it). With --hits each licence and each
piece of personal data is printed with what stands around it, for a person to judge.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from quarry_dagster.domains import PROCESSORS, Describing, Facts, PageView, fields_of
from quarry_dagster.extract import Extraction, Page
from quarry_dagster.extract.decode import decode
from quarry_dagster.extract.page import extract_page
from quarry_dagster.page import read_head
from quarry_dagster.page.license import has_hint, page_license
from quarry_dagster.personal import personal_data
from quarry_dagster.profiles.settings import Extraction as Settings

_JUDGED = Path(__file__).parent / "judged_fields.jsonl"
_OF_TEXT = ("text", "text_format", "page_type", "page_type_source", "canonical_url", "title", "author", "date")
_LABELS = {"collection": "listing"}
_AROUND = 40


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.page_facts", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("pages", type=Path)
    parser.add_argument("--hits", action="store_true", help="print each licence and each piece of personal data")
    arguments = parser.parse_args()
    pages = pl.read_parquet(arguments.pages)
    seconds: defaultdict[str, float] = defaultdict(float)
    types: Counter[tuple[str, str]] = Counter()
    licenses: Counter[str] = Counter()
    personal: Counter[str] = Counter()
    fields: dict[str, dict[str, Any]] = {}
    settings = Settings()
    extract_page(Page("", "", b"<p>warm</p>", "text/html"), settings)
    for row in pages.iter_rows(named=True):
        page = Page("", row["url"] or "", row["html"], "text/html")
        began = time.process_time()
        text = extract_page(page, settings)
        seconds["extracting"] += time.process_time() - began
        began = time.process_time()
        facts = Describing(page, {name: getattr(text, name) for name in _OF_TEXT}).do(settings)
        seconds["describing, all of it"] += time.process_time() - began
        for part, took in _parts(page, text):
            seconds[part] += took
        began = time.process_time()
        found = personal_data(text.text or "")
        seconds["personal data"] += time.process_time() - began
        label = str(row["page_type"])
        types[_LABELS.get(label, label), facts.page_type or "none"] += 1
        licenses[facts.license_source or "none"] += 1
        personal.update(each.type for each in found)
        fields[row["url"]] = json.loads(facts.fields or "{}")
        if arguments.hits:
            _print_hits(row["url"], facts, text.text or "", found)
    _print(pages.height, seconds, types, licenses, personal)
    _print_judged(fields)
    return 0


def _parts(page: Page, text: Extraction) -> Iterator[tuple[str, float]]:
    """What each part of describing a page takes, by itself."""
    began = time.process_time()
    head = read_head(source := decode(page.body, page.content_type))
    head.json_ld  # noqa: B018  it is read when it is asked for
    yield "its head and JSON-LD", time.process_time() - began
    of_text = (text.page_type, text.title, text.author, text.date)
    view = PageView(page.url, source, head, text.text or "", text.text_format or "plain", *of_text)
    began = time.process_time()
    fields_of(view, PROCESSORS)
    yield "its fields by domain", time.process_time() - began
    began = time.process_time()
    page_license(head, view.tree if has_hint(source) else None, page.url)
    yield "its licence", time.process_time() - began


def _print_hits(url: str, facts: Facts, text: str, found: Any) -> None:
    if facts.license_source:
        print(f"{url}: {facts.license} ({facts.license_source})")
    for each in found:
        before = text[max(0, each.start - _AROUND) : each.start]
        line = f"{before}>>>{text[each.start : each.end]}<<<{text[each.end : each.end + _AROUND]}"
        print(f"{url}: {each.type} ({each.rule}, {each.confidence:g}) {' '.join(line.split())}")


def _print(
    n: int,
    seconds: Mapping[str, float],
    types: Counter[tuple[str, str]],
    licenses: Counter[str],
    personal: Counter[str],
) -> None:
    print(f"| of {n:,} pages | CPU-ms a page | pages a CPU-second | share of extracting |\n| --- | --- | --- | --- |")
    for part, took in seconds.items():
        share = took / seconds["extracting"]
        print(f"| {part} | {took / n * 1000:.2f} | {n / took:,.0f} | {share:.1%} |")
    found = sorted({kind for _, kind in types})
    print(f"\n| labelled | {' | '.join(found)} | right |\n| --- |{' --- |' * (len(found) + 1)}")
    for label in sorted({label for label, _ in types}):
        of_label = [types[label, kind] for kind in found]
        print(f"| {label} | {' | '.join(map(str, of_label))} | {types[label, label] / sum(of_label):.0%} |")
    right = sum(count for (label, kind), count in types.items() if label == kind)
    print(f"\npage_type as labelled: {right} of {n}")
    print("licences by source:", ", ".join(f"{count} {name}" for name, count in licenses.most_common()))
    print("personal data:", ", ".join(f"{count} {name}" for name, count in personal.most_common()))


def _print_judged(fields: Mapping[str, Mapping[str, Any]]) -> None:
    """The verdicts on values that were found, and how many of them are found now."""
    judged = [json.loads(line) for line in _JUDGED.read_text().splitlines()]
    table: dict[tuple[str, str], Counter[str]] = {}
    for row in judged:
        domain, name = row["field"].split(".")
        of_page = fields.get(row["url"], {}).get(domain, {})
        now = _value(of_page, name)
        counts = table.setdefault((domain, name), Counter())
        counts["judged"] += 1
        if row["verdict"] == "missed":
            counts["missed" if now is None else "new"] += 1
        elif now == row["value"]:
            counts[row["verdict"]] += 1
        else:
            counts["lost" if now is None else "other"] += 1
    print("\n| field | judged | right | wrong | missed | lost or another value since |\n" + "| --- " * 6 + "|")
    for (domain, name), counts in table.items():
        since = counts["lost"] + counts["other"] + counts["new"]
        row = [counts[key] for key in ("judged", "right", "wrong", "missed")]
        print(f"| {domain}.{name} | {' | '.join(map(str, row))} | {since} |")


def _value(of_page: Mapping[str, Any], name: str) -> Any:
    posts = of_page.get("posts", [])
    match name:
        case "posts":
            return len(posts) or None
        case "authors":
            return sum("author" in post for post in posts) or None
        case "dates":
            return sum("date" in post for post in posts) or None
        case _:
            return of_page.get(name)


if __name__ == "__main__":
    sys.exit(main())
