"""What a run came to: the facts, and how they are printed."""

from __future__ import annotations

import resource
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import polars as pl

from quarry_dagster.cli import terminal
from quarry_dagster.crawl.addresses import HOPELESS, REMEDY
from quarry_dagster.intake import SeedReport
from quarry_dagster.plural import plural
from quarry_dagster.problems import told
from quarry_dagster.reader import scan
from quarry_dagster.seeds import printable
from quarry_dagster.stages import corpus_report
from quarry_dagster.stages.pages.findings import OBEYED
from quarry_dagster.store import Store
from quarry_dagster.store.schemas import CAME_OF_IT, EXTRACTED, HELD, LEVELS

if TYPE_CHECKING:
    from quarry_dagster.orchestration.runner import Outcome

_NOT_FETCHED = "not_fetched"
_PROBLEMS_SHOWN = 5


@dataclass(frozen=True)
class Pages:
    """What became of every page that a seed names: each is counted once."""

    kept: int = 0
    duplicates: Mapping[str, int] = field(default_factory=dict)
    """Documents that a kept one stands for, by level."""
    not_accepted: Mapping[str, int] = field(default_factory=dict)
    """Pages without a text to keep, by the outcome of `extracted_text`."""
    not_fetched: Mapping[str, int] = field(default_factory=dict)
    """Pages that did not come, by the outcome of `raw_pages`."""
    filtered: int = 0
    """Documents that the quality policy keeps out."""
    waiting: int = 0
    """Pages that are not decided on: a stage failed, or the new corpus is refused."""

    @property
    def total(self) -> int:
        counts = (self.duplicates, self.not_accepted, self.not_fetched)
        return self.kept + self.filtered + self.waiting + sum(sum(each.values()) for each in counts)


@dataclass(frozen=True)
class Memory:
    """The most memory there was at once, in MiB."""

    process: float
    worker: float
    """Of any one process that this one started."""


@dataclass(frozen=True)
class Summary:
    """What a run came to."""

    data: str
    pages: Pages
    held: int
    """Pages that did not come this time, and are as they were before."""
    is_blocked: bool
    """Whether a page was at an address that may not be crawled, but could be allowed."""
    is_refused: bool
    """Whether the new corpus was refused, and the one before stands."""
    held_at: int | None
    """The number of the corpus that somebody went back to, and that nothing replaces until it is released."""
    left: str
    """What left the corpus, in a sentence; empty where nothing did."""
    opted_out: Sequence[str]
    """What hosts say of the use of their pages that they did not say before this run, and that is obeyed."""
    problems: Sequence[str]
    """What pages, feeds, sitemaps and hosts name and could not be used, the first few; seeds are told apart."""
    problem_count: int
    """How many kinds of that there are in all, each at its source."""
    checks: Mapping[str, int]
    """How many passed, failed and warned."""
    worked: Mapping[str, int]
    """Rows worked on, by asset."""
    seconds: float
    stage_seconds: Mapping[str, float]
    memory: Memory
    files_written: int
    report: str | None
    """Where the report lies."""


def summarize(store: Store, outcome: Outcome, seconds: float) -> Summary:
    """The facts of a run that took so many seconds."""
    pages = scan("raw_pages", store.files.root)
    is_blocked = (CAME_OF_IT == "blocked_address") & ~pl.col("detail").str.contains(HOPELESS).fill_null(False)
    counts = pages.select(held=HELD.sum(), blocked=is_blocked.any(ignore_nulls=False)).collect()
    held, blocked = counts.row(0)
    problems = scan("problems", store.files.root).filter(pl.col("source") != "seed").sort("url", "kind").collect()
    failed = len([a for a in outcome.answers if not a.passed and a.is_error])
    passed = len([a for a in outcome.answers if a.passed])
    return Summary(
        data=store.files.root,
        pages=became(store),
        held=held or 0,
        is_blocked=bool(blocked),
        is_refused=outcome.shrank,
        held_at=hold.number if (hold := store.files.state().hold) else None,
        left=outcome.loss,
        opted_out=_opt_outs(store, seconds),
        problems=[told(row) for row in problems.head(_PROBLEMS_SHOWN).iter_rows(named=True)],
        problem_count=problems.height,
        checks={"passed": passed, "failed": failed, "warned": len(outcome.warnings)},
        worked={name: stage.worked for name, stage in outcome.stages.items() if name != "corpus_report"},
        seconds=round(seconds, 1),
        stage_seconds={name: round(stage.seconds, 1) for name, stage in outcome.stages.items()},
        memory=Memory(_peak_mib(resource.RUSAGE_SELF), _peak_mib(resource.RUSAGE_CHILDREN)),
        files_written=sum(stage.written for stage in outcome.stages.values()),
        report=store.files.url(corpus_report.PATH) if store.files.exists(corpus_report.PATH) else None,
    )


def became(store: Store) -> Pages:
    """What became of every page: the corpus says it of its documents, the tables before it of the others."""
    root = store.files.root
    pages = scan("raw_pages", root).select("doc_id", came=CAME_OF_IT)
    texts = scan("extracted_text", root).select("doc_id", text="outcome")
    kept = scan("deduped_corpus", root).select("doc_id", is_kept=True)
    removed = scan("dedup_decisions", root).select("level", doc_id="removed_id")
    joined = pages
    filtered = scan("filter_decisions", root).select("doc_id", is_filtered=True).unique()
    for table in (texts, kept, removed, filtered):
        joined = joined.join(table, on="doc_id", how="left")
    counts = joined.group_by("came", "text", "is_kept", "level", "is_filtered").len().collect()
    n_kept = n_filtered = waiting = 0
    duplicates, not_accepted, not_fetched = Counter[str](), Counter[str](), Counter[str]()
    for came, text, is_kept, level, is_filtered, n in counts.iter_rows():
        if is_kept:
            n_kept += n
        elif level:
            duplicates[level] += n
        elif is_filtered:
            n_filtered += n
        elif text == _NOT_FETCHED:
            not_fetched[came] += n
        elif text in (None, EXTRACTED):
            waiting += n
        else:
            not_accepted[text] += n
    by_level = {level: duplicates[level] for level in LEVELS if duplicates[level]}
    of_others = dict(not_accepted.most_common()), dict(not_fetched.most_common())
    return Pages(n_kept, by_level, *of_others, n_filtered, waiting)


def _opt_outs(store: Store, seconds: float) -> list[str]:
    """The opt-outs of hosts that are new in a run that took so many seconds."""
    since = datetime.now(UTC) - timedelta(seconds=seconds)
    is_new = (pl.col("seen_at") >= since) & (pl.col("done") == OBEYED) & (pl.col("source") != "robots")
    is_refusal = (pl.col("source") != "content-signal") | pl.col("says").str.contains("=no")
    rows = scan("consent", store.files.root).filter(is_new & is_refusal).select("host", "source", "says").unique()
    return [printable(f"{host}: {source}, {says}") for host, source, says in rows.sort("host", "says").collect().rows()]


def facts(summary: Summary, reports: Sequence[SeedReport], outcome: Outcome) -> dict[str, Any]:
    """The summary as JSON values, with the seeds that were taken in and what the checks said."""
    pages = asdict(summary.pages) | {"total": summary.pages.total}
    answers = [asdict(answer) for answer in outcome.answers]
    told = {"pages": pages, "seeds": [asdict(report) for report in reports], "answers": answers}
    return asdict(summary) | told | {"failures": outcome.failures, "warnings": outcome.warnings}


def print_summary(summary: Summary) -> None:
    """Print it on stdout, what a user wants to know first at the top, and what to open at the end."""
    terminal.print_rows(_rows(summary))


def _rows(s: Summary) -> list[tuple[str, str]]:
    rows = [("pages", account(s.pages))]
    if s.is_refused:
        rows.append(("corpus", "of before: the new corpus is refused"))
    if s.held_at is not None:
        rows.append(("corpus", f"{s.held_at}, held: quarry rollback --release lets runs publish again"))
    if s.left:
        rows.append(("left", s.left))
    rows += [("opted out", said) for said in s.opted_out[:_PROBLEMS_SHOWN]]
    if (more := len(s.opted_out) - _PROBLEMS_SHOWN) > 0:
        rows.append(("opted out", f'... and {more:,} more: quarry_dagster.scan("consent", data="{s.data}")'))
    rows += [("not used", problem) for problem in s.problems]
    if (more := s.problem_count - len(s.problems)) > 0:
        rows.append(("not used", f'... and {more:,} more: quarry_dagster.scan("problems", data="{s.data}")'))
    if s.held:
        rows.append(("held", f"{plural(s.held, 'page')} that did not come this time, as before"))
    if s.is_blocked:
        rows.append(("blocked", REMEDY))
    rows += [
        ("checks", ", ".join(f"{n} {name}" for name, n in s.checks.items() if n or name == "passed")),
        ("worked on", counted(s.worked)),
        ("files written", f"{s.files_written:,}"),
        ("time", f"{s.seconds} s" + "".join(f", {name} {n}" for name, n in s.stage_seconds.items())),
        ("memory", f"{s.memory.process:,.0f} MiB at its peak, {s.memory.worker:,.0f} in a worker process"),
        ("read it", f'quarry_dagster.scan("deduped_corpus", data="{s.data}")'),
    ]
    return rows + ([("open", s.report)] if s.report else [])


def account(pages: Pages) -> str:
    """All pages, and what became of them, such as "47 pages: 33 kept, 6 duplicates (4 near, 2 exact), ..."."""
    if not pages.total:
        return "none"
    parts = [f"{pages.kept:,} kept"]
    duplicates = sum(pages.duplicates.values())
    parts += [f"{plural(duplicates, 'duplicate')} ({_each(pages.duplicates)})"] if duplicates else []
    for what, counts in (("not accepted", pages.not_accepted), ("not fetched", pages.not_fetched)):
        parts += [f"{sum(counts.values()):,} {what} ({_each(counts)})"] if counts else []
    parts += [f"{pages.filtered:,} kept out by the quality policy"] if pages.filtered else []
    parts += [f"{pages.waiting:,} not decided on"] if pages.waiting else []
    return f"{plural(pages.total, 'page')}: {', '.join(parts)}"


def _each(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{n:,} {name}" for name, n in counts.items())


def counted(counts: Mapping[str, int]) -> str:
    """The counts with their sum."""
    return f"{sum(counts.values()):,}" + (f" ({_each(counts)})" if counts else "")


def _peak_mib(who: int) -> float:
    return round(resource.getrusage(who).ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10))
