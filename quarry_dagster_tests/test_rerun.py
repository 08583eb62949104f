"""Runs that `quarry run` made are runs like any other: executed again by a click, interrupted, on the Timeline."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._daemon.auto_run_reexecution.auto_run_reexecution import should_retry

from quarry_dagster import scan
from quarry_dagster.cli import command
from quarry_dagster.definitions import build_defs
from quarry_dagster.demo import __main__ as demo
from quarry_dagster.orchestration import runner
from quarry_dagster.orchestration.assets import PER_PARTITION
from quarry_dagster.orchestration.dead_runs import fail_dead_runs
from quarry_dagster.orchestration.resources import Quarry
from quarry_dagster.profiles.choose import load_profile
from quarry_dagster.store import Store
from quarry_dagster_tests.corpus import Corpus, profile, words
from quarry_dagster_tests.site import Site, html
from quarry_dagster_tests.ui import browser, dagster_dev, finished_runs, free_port, in_a_browser, shoot, wait_for

_STOPPED_AT = """
import os, signal, sys
from contextlib import contextmanager
from quarry_dagster.cli import main
from quarry_dagster.store import Files

number, beginning, create = int(sys.argv.pop(1)), sys.argv.pop(1), Files.create

@contextmanager
def watched(files, path):
    with create(files, path) as file:
        if path.startswith(beginning):
            os.kill(os.getpid(), number)
        yield file

Files.create = watched
main()
"""
"""`quarry`, sent a signal when it writes a file of this beginning: `python -c ... SIGNAL BEGINNING ARGUMENTS`."""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """For commands on a data root of their own, with 25 texts in its inbox."""
    settings = tmp_path / "quick.yaml"
    settings.write_text(yaml.safe_dump(json.loads(profile().model_dump_json(exclude={"name"}))))
    Corpus(tmp_path / "data", profile()).seed_texts("a.jsonl", {f"http://a.test/{i}": words(i) for i in range(25)})
    return os.environ | {
        "QUARRY_DATA": str(tmp_path / "data"),
        "QUARRY_PROFILE": str(settings),
        "QUARRY_ALLOW_ADDRESSES": "127.0.0.0/8",
    }


def _quarry(environment: Mapping[str, str], *arguments: str) -> None:
    """Runs `quarry ARGUMENTS` in this process."""
    with pytest.MonkeyPatch.context() as monkeypatch, pytest.raises(SystemExit) as end:
        for name in ("QUARRY_DATA", "QUARRY_PROFILE", "QUARRY_ALLOW_ADDRESSES"):
            monkeypatch.setenv(name, environment[name])
        monkeypatch.setattr(sys, "argv", ["quarry", *arguments])
        command()
    assert not end.value.code


def _stopped(
    environment: Mapping[str, str], number: signal.Signals, beginning: str
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", _STOPPED_AT, str(int(number)), beginning, "run"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def _instance(environment: Mapping[str, str]) -> dg.DagsterInstance:
    return dg.DagsterInstance.from_config(str(Path(environment["QUARRY_DATA"], ".dagster")))


def _wait_until(true: Callable[[], object], what: str, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.1)


def test_a_run_tells_its_seeds_profile_and_command_and_carries_its_data_root_and_settings(
    environment: dict[str, str], tmp_path: Path
) -> None:
    seeds = tmp_path / "more.jsonl"
    seeds.write_text(json.dumps({"url": "http://b.test/", "text": words(99)}) + "\n")
    _quarry(environment, "run", str(seeds))
    with _instance(environment) as instance:
        runs = instance.get_runs()
        assert {run.job_name for run in runs} == {"ingest", "corpus"}
        for run in runs:
            tags = {name: run.tags[f"quarry/{name}"] for name in ("seeds", "profile")}
            assert tags == {"seeds": "more.jsonl", "profile": "quick"}
            assert run.tags["quarry/command"].endswith(f"run {seeds}")
            assert run.tags["dagster/code_location"] == "quarry_dagster"
            resources: Any = run.run_config["resources"]
            carried = resources["quarry"]["config"]
            assert carried["data"] == environment["QUARRY_DATA"]
            assert Quarry(**carried).hardware_profile() == load_profile(environment["QUARRY_PROFILE"])
            assert "127.0.0.0" not in json.dumps(run.run_config) + json.dumps(dict(run.tags))


def test_the_name_of_the_code_location_is_a_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUARRY_CODE_LOCATION", "ours")
    with runner.instance(str(tmp_path)) as instance:
        runner.check(instance, data=str(tmp_path), profile_name="workstation")
        assert [run.tags["dagster/code_location"] for run in instance.get_runs()] == ["ours"]


@pytest.mark.parametrize(("number", "at"), [(signal.SIGINT, "embeddings/"), (signal.SIGTERM, "deduped_corpus/")])
def test_an_interruption_leaves_a_canceled_run_that_no_daemon_starts_again(
    environment: dict[str, str], number: signal.Signals, at: str
) -> None:
    done = _stopped(environment, number, at)
    assert (done.returncode, done.stderr.rstrip().splitlines()[-1]) == (
        130,
        "quarry: stopped; the same command goes on",
    )
    with _instance(environment) as instance:
        last = instance.get_runs(limit=1)[0]
        assert last.status == dg.DagsterRunStatus.CANCELED
        assert not should_retry(last, instance)
    _quarry(environment, "run")
    assert scan("deduped_corpus", environment["QUARRY_DATA"]).collect().height == 25


def test_ctrl_c_ends_a_crawl(environment: dict[str, str], site: Site) -> None:
    site.pages = {f"/{i}": html(f"Page {i}", words(i)) for i in range(500)}
    Corpus(Path(environment["QUARRY_DATA"]), profile()).seed(
        "site.txt", "".join(f"{site.url(path)}\n" for path in site.pages)
    )
    run = [sys.executable, "-m", "quarry_dagster.cli", "run"]
    with subprocess.Popen(run, env=environment, stderr=subprocess.DEVNULL) as process:
        _wait_until(lambda: site.asked, "the first page")
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    assert len(site.asked) < 500
    with _instance(environment) as instance:
        assert [run.status for run in instance.get_runs()] == [dg.DagsterRunStatus.CANCELED]


@pytest.mark.parametrize("is_interrupted", [True, False])
def test_a_run_that_waits_for_another_says_so_and_can_be_interrupted(
    environment: dict[str, str], is_interrupted: bool
) -> None:
    run = [sys.executable, "-m", "quarry_dagster.cli", "run"]
    with runner.instance(environment["QUARRY_DATA"]) as instance:
        slots = instance.event_log_storage
        job = build_defs(profile="workstation").resolve_job_def("ingest")
        other = instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
        slots.initialize_concurrency_limit_to_default("raw_pages")
        assert slots.claim_concurrency_slot("raw_pages", other.run_id, "raw_pages").is_claimed
        with subprocess.Popen(run, env=environment, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            said = [next(line for line in process.stderr if "waiting for another run: the pool raw_pages" in line)]
            if is_interrupted:
                process.send_signal(signal.SIGINT)
            else:
                slots.free_concurrency_slots_for_run(other.run_id)
            said += process.stderr.readlines()
            assert process.wait(120) == (130 if is_interrupted else 0), said
        mine = [run.status for run in instance.get_runs() if run.run_id != other.run_id]
        assert mine == ([dg.DagsterRunStatus.CANCELED] if is_interrupted else [dg.DagsterRunStatus.SUCCESS] * 2)
        assert slots.get_concurrency_run_ids() <= {other.run_id}


def test_a_killed_run_of_the_command_is_not_started_again_by_a_daemon_either(environment: dict[str, str]) -> None:
    assert _stopped(environment, signal.SIGKILL, "embeddings/").returncode == -signal.SIGKILL
    with _instance(environment) as instance:
        (run_id,) = fail_dead_runs(instance)
        run = instance.get_run_by_id(run_id)
        assert run is not None and run.status == dg.DagsterRunStatus.FAILURE
        assert not should_retry(run, instance)


def _steps(environment: Mapping[str, str], run_id: str) -> set[str]:
    with _instance(environment) as instance:
        return {s.step_key for s in instance.get_run_step_stats(run_id)}


class TestInTheBrowser:
    pytestmark = in_a_browser

    def test_a_click_executes_runs_of_the_command_again_on_their_own_data_root(
        self, environment: dict[str, str], tmp_path: Path
    ) -> None:
        from playwright.sync_api import expect

        data, other = Path(environment["QUARRY_DATA"]), tmp_path / "other"
        assert _stopped(environment, signal.SIGINT, "embeddings/").returncode == 130
        with dagster_dev(other, "raspberry_pi", data / ".dagster") as address, browser(address) as page:
            (canceled,) = finished_runs(address, 1)
            page.goto(f"/runs/{canceled['runId']}")
            again = page.get_by_role("button", name="Re-execute all")
            again.locator("xpath=following::button[1]").click(timeout=60_000)
            page.get_by_text("From failure").click()
            resumed = finished_runs(address, 2)[0]
            assert (resumed["jobName"], resumed["status"]) == ("ingest", "SUCCESS")
            steps = {"embeddings", "embeddings_contract", "embeddings_vectors"}
            steps |= {
                f"{table}{check}"
                for table in ("page_metadata", "personal_data", "quality_signals")
                for check in ("", "_contract")
            }
            assert _steps(environment, resumed["runId"]) == steps
            assert len(Store(str(data)).embeddings.segments()) == 3

            _quarry(environment, "run")
            corpus = finished_runs(address, 4)[0]
            report = data / "corpus_report" / "index.html"
            report.unlink()
            page.goto(f"/runs/{corpus['runId']}")
            page.get_by_role("button", name="Re-execute all").click(timeout=60_000)
            runs = finished_runs(address, 5)
            assert [(r["jobName"], r["status"]) for r in runs] == [
                ("corpus", "SUCCESS"),
                ("corpus", "SUCCESS"),
                ("ingest", "SUCCESS"),
                ("ingest", "SUCCESS"),
                ("ingest", "CANCELED"),
            ]
            assert report.exists() and not other.exists()
            page.goto(f"/runs/{runs[0]['runId']}")
            expect(page.get_by_text("Success").first).to_be_visible(timeout=60_000)
            shoot(page, "executed_again")

            page.goto("/overview/activity/timeline")
            for job in ("ingest", "corpus"):
                link = page.locator(f"a[href='/locations/quarry_dagster/jobs/{job}']")
                expect(link).to_be_visible(timeout=60_000)  # only jobs that have runs are there
            shoot(page, "timeline")
            page.goto("/locations/quarry_dagster/jobs/ingest/runs")
            expect(page.get_by_text(canceled["runId"][:8]).first).to_be_visible(timeout=60_000)
            shoot(page, "job")

    def test_make_ui_serves_the_pages_so_that_all_can_be_materialized_again(self, tmp_path: Path) -> None:
        from playwright.sync_api import expect

        data, pages, port = tmp_path / "demo-data", free_port(), free_port()
        settings = tmp_path / "quick.yaml"
        settings.write_text(yaml.safe_dump(json.loads(profile().model_dump_json(exclude={"name"}))))
        environment = os.environ | {"QUARRY_PROFILE": str(settings)}
        command = [sys.executable, "-m", "quarry_dagster.demo", "--data", str(data), "--port", str(pages)]
        subprocess.run(command, env=environment, capture_output=True, check=True)

        command = [sys.executable, "-m", "quarry_dagster.demo", "ui", "--data", str(data), "--ui-port", str(port)]
        log = tmp_path / "ui.log"
        address = f"http://127.0.0.1:{port}"
        with log.open("wb") as file, subprocess.Popen(command, env=environment, stderr=file, stdout=file) as process:
            try:
                wait_for(f"{address}/server_info")
                wait_for(f"http://127.0.0.1:{pages}/seeds.txt")
                before = len(finished_runs(address, 2))
                with browser(address) as page:
                    page.goto("/asset-groups")
                    page.get_by_role("button", name="Materialize all").click(timeout=60_000)
                    page.get_by_role("button", name="All", exact=True).click()
                    shoot(page, "materialize_all")
                    page.get_by_role("button", name="Launch").last.click()
                    runs = finished_runs(address, before + 2)
                    assert {r["status"] for r in runs} == {"SUCCESS"}
                    page.goto("/asset-groups")
                    expect(page.get_by_text("100% filled")).to_have_count(len(PER_PARTITION), timeout=60_000)
                    shoot(page, "materialized_again")
                came = scan("raw_pages", data).collect()["outcome"].to_list()
                assert "blocked_address" not in came and came.count("fetched") == 46
            finally:
                process.send_signal(signal.SIGINT)
                process.wait(60)
        assert "the demo's pages are on" in log.read_text()
        with pytest.raises(OSError):
            urllib.request.urlopen(f"http://127.0.0.1:{pages}/seeds.txt", timeout=5)
        home = f"DAGSTER_HOME={data / '.dagster'}".encode()
        _wait_until(lambda: not _processes_with(home), "the end of all processes of the UI", 30)


def _processes_with(setting: bytes) -> list[str]:
    """The processes that have this in their environment."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if setting in path.read_bytes().split(b"\0"):
                found.append(path.parent.name)
        except OSError:
            continue
    return found


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, str]]:
    """The environments in which the UI would have been started."""
    found: list[dict[str, str]] = []

    def start(_command: Sequence[str], environment: dict[str, str]) -> int:
        found.append(environment)
        return 0

    monkeypatch.setattr(demo, "_in_foreground", start)
    return found


def test_the_ui_allows_no_address_for_a_root_that_the_demo_did_not_make(
    tmp_path: Path, started: list[dict[str, Any]]
) -> None:
    mine = tmp_path / "mine"
    (mine / "seeds").mkdir(parents=True)
    demo._mark(mine, 8733)
    assert demo.ui(mine, 3000) == 0
    assert "QUARRY_ALLOW_ADDRESSES" not in started[0]
    assert started[0]["QUARRY_DATA"] == str(mine) and (mine / ".dagster" / "dagster.yaml").exists()


def test_the_ui_goes_on_where_the_port_of_the_pages_is_taken(
    tmp_path: Path, started: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    with demo.serve() as taken:
        demo._mark(tmp_path / "new", taken)
        assert demo.ui(tmp_path / "new", 3000) == 0
    assert f"cannot serve the demo's pages on port {taken}" in capsys.readouterr().err
    assert "QUARRY_ALLOW_ADDRESSES" not in started[0]
    assert demo.ui(tmp_path / "new", 3000) == 0
    assert started[1]["QUARRY_ALLOW_ADDRESSES"] == "127.0.0.1/32"
