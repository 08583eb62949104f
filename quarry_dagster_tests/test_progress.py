"""Long work says how far it is, how fast, and what failed."""

import logging

import pytest

from quarry_dagster import progress


def test_lines_name_the_pace_and_failures_by_kind(caplog: pytest.LogCaptureFixture) -> None:
    log = caplog.at_level(logging.INFO, "quarry_dagster")
    lines = progress.shown_on(progress.LogLines(every=0))
    with log, lines, progress.track("raw_pages", 5, "pages", done=1) as advance:
        advance(1)
        for kind in ("timeout", "http_error", "timeout"):
            advance(1, kind)
    assert "raw_pages: 5 of 5 pages, " in caplog.messages[-1]
    assert caplog.messages[-1].endswith(" a second, 2 timeout, 1 http_error")


def test_what_nobody_can_count_before_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    log = caplog.at_level(logging.INFO, "quarry_dagster")
    with log, progress.shown_on(progress.LogLines(every=0)):
        assert list(progress.counted("abc", "seeds", None, "rows")) == ["a", "b", "c"]
    assert caplog.messages[-1].startswith("seeds: 3 rows, ")


def test_what_was_found_done_is_no_part_of_the_pace() -> None:
    work = progress.Work("raw_pages", 100, "pages", done=50)
    assert (work.share, work.rate) == (0.5, 0)
    work.advance(50)
    assert work.share == 1 and work.rate > 0
    assert progress.Work("seeds", None, "rows").share is None
    assert progress.Work("seeds", 0, "rows").share == 1
