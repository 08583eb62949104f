"""Long work says how far it is, how fast, and what failed."""

import logging

import pytest

from quarry_dagster import progress


def test_lines_name_the_pace_and_failures_by_kind(caplog: pytest.LogCaptureFixture) -> None:
    log = caplog.at_level(logging.INFO, "quarry_dagster")
    with log, progress.track("raw_pages", 5, "pages", line_every=0) as advance:
        advance(2)
        for kind in ("timeout", "http_error", "timeout"):
            advance(1, kind)
    assert "raw_pages: 5 of 5 pages, " in caplog.messages[-1]
    assert caplog.messages[-1].endswith(" a second, 2 timeout, 1 http_error")


def test_a_terminal_gets_a_bar_with_the_same(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    with progress.track("raw_pages", 5, "pages") as advance:
        advance(2)
        advance(3, "timeout")
    err = capsys.readouterr().err
    assert "5/5" in err and "3 timeout" in err
