"""What a person at a terminal sees of a command, and what a pipe gets of it."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from quarry_dagster import progress
from quarry_dagster.cli import terminal
from quarry_dagster.cli.screen import Screen
from quarry_dagster.cli.summary import Pages, account
from quarry_dagster.orchestration.assets import NAMES
from quarry_dagster.stages.report import StageReport
from quarry_dagster_tests.corpus import Corpus, Quarry, profile, words

STOPPED = "quarry: stopped; the same command goes on"
_ESCAPE = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


@pytest.mark.parametrize(
    "hostile",
    ["\x1b[31mred", "\x1b]0;title\x07", "a\rb", "a\x08b", "\u202egpj.exe", "\u2066x\u2069", "\x9b2J", "\ud800", "\x00"],
)
def test_a_strangers_text_does_not_steer_the_terminal(hostile: str) -> None:
    shown = terminal.safe(hostile)
    assert shown.replace("\u200c", "").isprintable()
    shown.encode()
    assert terminal.safe(shown) == shown


def test_a_strangers_text_stays_readable() -> None:
    for text in ("Grüße, 港の食堂 – ปลา", "می\u200cخواهم", "👩\u200d🚀"):
        assert terminal.safe(text) == text
    assert terminal.safe("a\u00a0b\nc\td") == "a b c d"


def test_commands_print_no_escape_that_a_page_carries(quarry: Quarry, tmp_path: Path) -> None:
    evil = f"\x1b]0;owned\x07{words(1)} \x1b[2J\u202e{words(2)}"
    corpus = Corpus(tmp_path / "data", profile())
    corpus.seed_texts("a.jsonl", {"http://a.test/1": evil, "http://a.test/2": f"{evil} {words(3, 5)}"})
    corpus.run()
    printed = [
        quarry("explain", "http://a.test/1"),
        quarry("explain", "http://a.test/2"),
        quarry("explain", "\x1b[2Jhttp://none.test/"),
        quarry("search", words(1)),
        quarry("forget", "http://a.test/1"),
    ]
    for _, out, err in printed:
        assert out + err and not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", out + err)


@pytest.mark.parametrize("setting", ["NO_COLOR", "TERM"])
def test_colours_and_drawing_are_left_where_they_are_not_wanted(setting: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert terminal.has_colour() is None
    monkeypatch.setenv(setting, "dumb")
    assert terminal.has_colour() is False
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert terminal.is_live(sys.stderr) == (setting == "NO_COLOR")


def test_lines_are_as_wide_as_the_terminal_and_break_no_path(monkeypatch: pytest.MonkeyPatch) -> None:
    text = f"corpus  {'word ' * 30}/a/long-path/{'x' * 100}/index.html"
    assert terminal.fitted(text, sys.stderr) == text, "a pipe is given one line"
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    lines = terminal.fitted(text, sys.stderr, indent=8).split("\n")
    assert all(len(line) <= 80 for line in lines if "/" not in line)
    assert lines[-1].strip() == text.split()[-1] and lines[1].startswith(" " * 8)


def test_the_pages_of_a_run_add_up() -> None:
    pages = Pages(33, {"exact": 2, "near": 4}, {"too_short": 3, "empty": 2}, {"http_error": 2, "timeout": 1})
    assert account(pages) == (
        "47 pages: 33 kept, 6 duplicates (2 exact, 4 near), 5 not accepted (3 too_short, 2 empty), "
        "3 not fetched (2 http_error, 1 timeout)"
    )
    assert account(Pages(kept=1)) == "1 page: 1 kept" and account(Pages()) == "none"
    assert account(Pages(kept=2, duplicates={"near": 1}, waiting=4)).endswith("1 duplicate (1 near), 4 not decided on")


def _report(**counts: int) -> StageReport:
    return StageReport(**counts)  # pyright: ignore[reportArgumentType]


def test_the_runs_of_many_partitions_add_up_to_one_line_a_stage(capsys: pytest.CaptureFixture[str]) -> None:
    done = StageReport()
    with Screen() as screen:
        for run in range(4):
            screen.begins("embeddings", 3, 6, parts=40)
            for _ in progress.parts(range(10)):
                with progress.track("embeddings", 5, "texts") as advance:
                    advance(5)
                done += _report(rows=5, worked=4)
            screen.ends("embeddings", done, is_last=run == 3)
        screen.settle()
    err = capsys.readouterr().err
    assert re.fullmatch(r"3 of 6  embeddings      200 texts, 40 reused, \d+\.\d s\n", err)


def test_a_pipe_gets_a_plain_line_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    with Screen(every=0.05) as screen:
        screen.begins("raw_pages", 1, 6, parts=2)
        with progress.track("raw_pages", 8, "pages", done=2) as advance:
            advance(2, "timeout")
            said = ""
            while said.count("\n") < 2:
                said += capsys.readouterr().err
    assert "\x1b" not in said and "\r" not in said
    assert re.search(r"^1 of 6  raw_pages +4/8 pages, .* left, partition 1 of 2, 2 timeout$", said, re.MULTILINE)


def test_what_fails_or_stops_within_a_stage_says_so_once(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyboardInterrupt), Screen() as screen:
        screen.begins("raw_pages", 1, 6, parts=1)
        screen.ends("raw_pages", None, is_last=True)
        screen.begins("embeddings", 3, 6, parts=1)
        raise KeyboardInterrupt
    assert re.fullmatch(r"1 of 6  raw_pages       failed, \d\.\d s\n", capsys.readouterr().err)


@pytest.fixture
def inbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data root for commands in processes of their own, with 60 texts in its inbox."""
    settings = tmp_path / "quick.yaml"
    settings.write_text(json.dumps(json.loads(profile().model_dump_json(exclude={"name"}))))
    data = tmp_path / "data"
    Corpus(data, profile()).seed_texts("a.jsonl", {f"http://a.test/{i}": words(i) for i in range(60)})
    monkeypatch.setenv("QUARRY_DATA", str(data))
    monkeypatch.setenv("QUARRY_PROFILE", str(settings))
    return data


class _Terminal:
    """A command at a terminal of 80 columns."""

    def __init__(self, *command: str) -> None:
        self._end, theirs = pty.openpty()
        environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24"}
        self.seen = ""
        self.process = subprocess.Popen(
            command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, start_new_session=True
        )
        os.close(theirs)

    def read(self, patience: float = 60) -> Iterator[str]:
        """All that was seen so far, whenever there is more, until the command ends or is silent for so many seconds."""
        while True:
            ready, _, _ = select.select([self._end], [], [], patience)
            try:
                more = os.read(self._end, 65536) if ready else b""
            except OSError:  # nobody has the other end any more
                more = b""
            if not more:
                break
            self.seen += more.decode(errors="replace")
            yield self.seen

    def end(self) -> None:
        """Wait for its end."""
        for _ in self.read():
            pass
        self.process.wait(60)
        os.close(self._end)

    def type(self, keys: str) -> None:
        os.write(self._end, keys.encode())

    def until(self, true: Callable[[str], object]) -> None:
        assert any(true(seen) for seen in self.read()), self.seen


def _quarry(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "quarry_dagster.cli", *arguments]


@pytest.mark.slow
def test_a_terminal_sees_at_once_that_it_runs_then_each_stage_and_the_account(inbox: Path) -> None:
    shown = _Terminal(*_quarry("run"))
    shown.until(lambda seen: str(inbox) in seen)
    assert NAMES[0] not in shown.seen, "it says where before it does anything"
    shown.end()
    plain = _ESCAPE.sub("", shown.seen)
    assert shown.process.returncode == 0, plain
    for n, stage in enumerate(NAMES, 1):
        assert re.search(rf"{n} of {len(NAMES)}  {stage} +[^\n]*\d\.\d s", plain), stage
    assert "60 pages: 60 kept" in plain and "Warning" not in plain


@pytest.mark.slow
@pytest.mark.parametrize("at", ["data", "starting", *(f"{stage} of {len(NAMES)}" for stage in (1, 2, 4, 6))])
def test_ctrl_c_ends_a_run_with_one_line_wherever_it_is(inbox: Path, at: str) -> None:
    shown = _Terminal(*_quarry("run"))
    shown.until(lambda seen: at in seen)
    os.killpg(shown.process.pid, signal.SIGINT)  # as a terminal does: to all processes of the command
    shown.end()
    plain = _ESCAPE.sub("", shown.seen)
    assert shown.process.returncode == 130, plain
    assert plain.count(STOPPED) == 1 and plain.rstrip().endswith(STOPPED), plain
    assert "Traceback" not in plain and "Error" not in plain, plain


@pytest.mark.parametrize(("key", "status"), [("\x03", 130), ("n\n", 1), ("y\n", 0)])
def test_a_question_can_be_answered_with_ctrl_c_too(key: str, status: int) -> None:
    program = """
import click, polars
from quarry_dagster.cli.interruption import begun, stop
from quarry_dagster.cli.screen import Screen

begun("run")
polars.DataFrame({"a": [1]}).lazy().select("a").collect()  # it sets a handler of its own
try:
    with Screen() as screen:
        screen.confirm("Do this?")
except KeyboardInterrupt:
    stop()
except click.Abort:
    raise SystemExit(1)
"""
    shown = _Terminal(sys.executable, "-c", program)
    shown.until(lambda seen: "[y/N]:" in seen)
    if key == "\x03":
        while STOPPED not in shown.seen:  # one that comes between question and reading is seen at the next
            os.killpg(shown.process.pid, signal.SIGINT)
            list(shown.read(patience=0.2))
    else:
        shown.type(key)
    shown.end()
    assert shown.process.returncode == status, shown.seen
    assert ("\n" + STOPPED in _ESCAPE.sub("", shown.seen).replace("\r", "")) == (status == 130)


@pytest.mark.slow
def test_an_impatient_second_ctrl_c_makes_no_traceback(inbox: Path) -> None:
    shown = _Terminal(*_quarry("run"))
    shown.until(lambda seen: f"2 of {len(NAMES)}" in seen)
    for _ in range(3):
        os.killpg(shown.process.pid, signal.SIGINT)
        time.sleep(0.05)
    shown.end()
    assert shown.process.returncode == 130 and "Traceback" not in shown.seen, shown.seen


@pytest.mark.slow
def test_a_pipe_gets_plain_lines_without_blanks_at_their_ends(inbox: Path) -> None:
    done = subprocess.run(_quarry("run"), capture_output=True, text=True, check=True)
    for line in [*done.stdout.splitlines(), *done.stderr.splitlines()]:
        assert "\x1b" not in line and line == line.rstrip(), line
    assert len(re.findall(rf"^\d+ of {len(NAMES)}  \S+ .*\d s$", done.stderr, re.MULTILINE)) == len(NAMES), done.stderr


@pytest.mark.parametrize(
    ("command", "said"), [("run", "stopped; the same command goes on"), ("try", "stopped"), ("doctor", "stopped")]
)
@pytest.mark.parametrize("when", ["at work", "swallowed", "at the end"])
def test_an_interrupted_command_says_what_is_true_of_it_in_json_too(command: str, said: str, when: str) -> None:
    program = f"""
import atexit, os, signal, sys
from quarry_dagster import cli

def work():
    cli.begun({command!r})
    if {when!r} == "at the end":
        atexit.register(os.kill, os.getpid(), signal.SIGINT)
        sys.exit(0)
    try:
        os.kill(os.getpid(), signal.SIGINT)
    except KeyboardInterrupt:
        if {when!r} == "at work":
            cli.stop()
    sys.exit(1)

def command():
    cli.lose_none()
    work()

cli.command = command
cli.main()
"""
    done = subprocess.run([sys.executable, "-c", program, "--json"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, f"quarry: {said}\n")
    assert done.stdout == ("" if when == "at the end" else json.dumps({"error": said}) + "\n")


def test_a_reader_that_ends_early_is_no_failure(tmp_path: Path) -> None:
    for command, status in ((["seeds", "--data", str(tmp_path)], 0), (["explain", "x", "--data", str(tmp_path)], 1)):
        reading, writing = os.pipe()
        os.close(reading)
        done = subprocess.run(_quarry(*command), stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
        assert (done.returncode, done.stderr) == (status, "")
        done = subprocess.run(_quarry(*command), stdout=writing, stderr=writing, check=False)
        os.close(writing)
        assert done.returncode == status


def test_the_bar_tells_what_is_done_without_colours() -> None:
    screen = Screen()
    screen.begins("raw_pages", 1, 6, parts=1)
    with progress.track("raw_pages", 8, "pages") as _, screen.track(progress.Work("raw_pages", 8, "pages", done=2)):
        bar = screen._bar()
    assert bar is not None and "━━━━┄┄┄┄┄┄┄┄┄┄  25%  2/8 pages" in bar.plain


def test_an_interruption_that_comes_while_an_object_is_freed_is_not_lost() -> None:
    program = """
import os, signal, time
from quarry_dagster.cli.interruption import lose_none

class Freed:
    def __del__(self):
        raise KeyboardInterrupt

lose_none()
Freed()
try:
    time.sleep(20)
except KeyboardInterrupt:
    print("came again")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("came again\n", "")
