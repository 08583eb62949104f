"""Running it for long: killed processes, two runs at once, PostgreSQL, systemd, the Dagster commands."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import dagster as dg
import pytest
import yaml

from quarry_dagster.definitions import build_defs
from quarry_dagster.intake import take_in_seeds
from quarry_dagster.orchestration.dead_runs import fail_dead_runs, note_process, unseen_runs
from quarry_dagster.orchestration.partitions import sync_partitions
from quarry_dagster.processes import Process
from quarry_dagster.store import Store
from quarry_dagster_tests.corpus import LOOPBACK, Corpus, profile, words
from quarry_dagster_tests.site import html

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent
POSTGRES = max(Path("/usr/lib/postgresql").glob("*/bin"), default=None)
NOTE = "quarry/process"


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """For processes on a data root and an instance of their own, with the shipped configuration."""
    settings = tmp_path / "quick.yaml"
    settings.write_text(yaml.safe_dump(json.loads(profile().model_dump_json(exclude={"name"}))))
    home = tmp_path / "home"
    home.mkdir()
    shutil.copy(ROOT / "configs" / "dagster.yaml", home)
    return os.environ | {
        "QUARRY_DATA": str(tmp_path / "data"),
        "QUARRY_PROFILE": str(settings),
        "QUARRY_ALLOW_ADDRESSES": "127.0.0.0/8",
        "DAGSTER_HOME": str(home),
        "PYTHONFAULTHANDLER": "1",
    }


def _seed(environment: dict[str, str], name: str, texts: Sequence[int]) -> None:
    rows = {f"http://{name}.test/{i}": words(i) for i in texts}
    Corpus(Path(environment["QUARRY_DATA"]), profile()).seed_texts(f"{name}.jsonl", rows)


Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(environment: dict[str, str]) -> Iterator[Start]:
    """Starts `python -m COMMAND` as the leader of a process group of its own; what it says goes to a file."""
    started: list[subprocess.Popen[str]] = []

    def call(*command: str) -> subprocess.Popen[str]:
        with _log(environment).open("a", encoding="utf-8") as log:
            run = [sys.executable, "-m", *command]
            started.append(
                subprocess.Popen(
                    run, env=environment, cwd=ROOT, stdout=log, stderr=log, text=True, start_new_session=True
                )
            )
        return started[-1]

    yield call
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _log(environment: dict[str, str]) -> Path:
    return Path(environment["DAGSTER_HOME"], "log.txt")


def _finish(environment: dict[str, str], *processes: subprocess.Popen[str]) -> None:
    codes = []
    for process in processes:
        try:
            codes.append(process.wait(150))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGABRT)  # it then says in which line each of its threads is
            codes.append(process.wait(150))
    assert not any(codes), _log(environment).read_text(encoding="utf-8")


def _wait_until(true: Callable[[], object], what: str, seconds: float = 150) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.2)


@pytest.fixture
def instance(environment: dict[str, str]) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.from_config(environment["DAGSTER_HOME"]) as found:
        yield found


def _started_run(instance: dg.DagsterInstance) -> dg.DagsterRun:
    job = build_defs(profile="workstation").resolve_job_def("corpus")
    return instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)


def _status(instance: dg.DagsterInstance, run: dg.DagsterRun) -> dg.DagsterRunStatus:
    found = instance.get_run_by_id(run.run_id)
    assert found is not None
    return found.status


def test_only_runs_of_this_host_whose_process_is_gone_are_failed(instance: dg.DagsterInstance) -> None:
    alive, reused, elsewhere, container, retry, exited = (_started_run(instance) for _ in range(6))
    note_process(instance, alive.run_id)
    me = Process.this()
    assert me is not None
    late = replace(me, start=f"{me.start}0")

    def note(run: dg.DagsterRun, process: Process, of: dg.DagsterRun | None = None) -> None:
        instance.add_run_tags(run.run_id, {NOTE: f"{(of or run).run_id} {json.dumps(process.stored())}"})

    note(reused, late)
    note(elsewhere, replace(late, host="another.host"))
    note(container, replace(late, namespace="pid:[4]"))  # of the same host name
    note(retry, late, of=alive)  # its parent's
    with subprocess.Popen(["true"]) as child:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and nobody asked for its status
        note(exited, replace(me, pid=child.pid))
        assert set(fail_dead_runs(instance)) == {reused.run_id, exited.run_id}
    for run in (reused, exited):
        assert _status(instance, run) == dg.DagsterRunStatus.FAILURE
    for run in (alive, elsewhere, container, retry):
        assert _status(instance, run) == dg.DagsterRunStatus.STARTED
    (message,) = [e.message for e in instance.all_logs(reused.run_id, of_type=dg.DagsterEventType.RUN_FAILURE)]
    assert f"Its process ({me.pid}) is gone" in message and "Run it again: it resumes" in message
    assert fail_dead_runs(instance) == []
    named = " ".join(unseen_runs(instance))
    for run in (elsewhere, container):
        assert f"run {run.run_id} is of host" in named and "terminate it in the UI" in named


def test_a_finished_run_gives_its_pool_slot_back(instance: dg.DagsterInstance) -> None:
    storage = instance.event_log_storage
    run = _started_run(instance)
    note_process(instance, run.run_id)
    storage.initialize_concurrency_limit_to_default("corpus")
    assert storage.claim_concurrency_slot("corpus", run.run_id, "faiss_index").is_claimed
    fail_dead_runs(instance)
    assert storage.get_concurrency_info("corpus").active_slot_count == 1
    instance.report_run_failed(run)
    fail_dead_runs(instance)
    assert storage.get_concurrency_info("corpus").active_slot_count == 0


class _SlowSite(ThreadingHTTPServer):
    """Every page waits until `opened`."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _SlowPage)
        self.opened = threading.Event()
        self.asked = 0


class _SlowPage(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        site = self.server
        assert isinstance(site, _SlowSite)
        body = b"" if self.path == "/robots.txt" else html(self.path, words(1))
        if body:
            site.asked += 1
            site.opened.wait()
        self.send_response(200 if body else 404)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_killed_run_is_failed_and_retried_and_the_queue_goes_on(
    environment: dict[str, str], instance: dg.DagsterInstance, start: Start
) -> None:
    """First its process alone is killed, then, during the retry, the daemon and all; another run waits in the queue."""
    home = Path(environment["DAGSTER_HOME"])
    settings = yaml.safe_load((home / "dagster.yaml").read_text())
    settings["concurrency"]["runs"]["max_concurrent_runs"] = 1  # so that one dead run fills the queue
    (home / "dagster.yaml").write_text(yaml.safe_dump(settings))
    daemon = ("dagster._daemon", "run", "-w", "workspace.yaml")
    with _SlowSite() as site:
        threading.Thread(target=site.serve_forever, daemon=True).start()
        corpus = Corpus(Path(environment["QUARRY_DATA"]), profile(crawl={"page_timeout": 300}))
        Path(environment["QUARRY_PROFILE"]).write_text(
            yaml.safe_dump(json.loads(corpus.profile.model_dump_json(exclude={"name"})))
        )
        corpus.seed("slow.txt", f"http://127.0.0.1:{site.server_address[1]}/page\n")
        store = Store(environment["QUARRY_DATA"])
        take_in_seeds(store, corpus.profile, LOOPBACK)
        (partition,) = sync_partitions(instance, store)
        first_daemon = start(*daemon)
        launch = ("dagster", "job", "launch", "-w", "workspace.yaml", "-j")
        tags = json.dumps({"dagster/partition": partition})
        _finish(environment, start(*launch, "ingest", "--tags", tags))
        _wait_until(lambda: site.asked == 1, "the run to crawl")
        _finish(environment, start(*launch, "corpus"))
        (first, waiting) = reversed(instance.get_runs())
        os.kill(json.loads(first.tags[NOTE].partition(" ")[2])["pid"], signal.SIGKILL)
        _wait_until(lambda: site.asked == 2, "the retry to crawl")
        os.killpg(first_daemon.pid, signal.SIGKILL)
        retry = next(run for run in instance.get_runs() if run.parent_run_id == first.run_id)
        assert _status(instance, first) == dg.DagsterRunStatus.FAILURE
        assert _status(instance, retry) == dg.DagsterRunStatus.STARTED
        assert instance.event_log_storage.get_concurrency_info("raw_pages").active_slot_count == 1
        site.opened.set()
        second_daemon = start(*daemon)
        _wait_until(lambda: len(runs := instance.get_runs()) == 4 and all(r.is_finished for r in runs), "all runs")
        os.killpg(second_daemon.pid, signal.SIGKILL)
        site.shutdown()
    assert _status(instance, retry) == dg.DagsterRunStatus.FAILURE
    assert _status(instance, waiting) == dg.DagsterRunStatus.SUCCESS
    (last,) = [run for run in instance.get_runs() if run.parent_run_id == retry.run_id]
    assert last.status == dg.DagsterRunStatus.SUCCESS
    assert corpus.read("raw_pages")["outcome"].to_list() == ["fetched"]


@pytest.mark.timeout(400)
def test_two_runs_never_write_the_index_or_the_corpus_at_once(
    environment: dict[str, str], instance: dg.DagsterInstance, start: Start
) -> None:
    _seed(environment, "a", range(8))
    _finish(environment, start("quarry_dagster.cli", "run"))
    before = {run.run_id for run in instance.get_runs()}
    storage = instance.event_log_storage
    assert storage.claim_concurrency_slot("corpus", "test", "test").is_claimed  # until both have come to the gate
    command = ("dagster", "job", "execute", "-m", "quarry_dagster.definitions", "-j", "corpus")
    processes = [start(*command) for _ in range(2)]
    _wait_until(lambda: storage.get_concurrency_info("corpus").pending_step_count == 2, "both runs")
    storage.free_concurrency_slots_for_run("test")
    deadline = time.monotonic() + 150
    while any(process.poll() is None for process in processes) and time.monotonic() < deadline:
        fail_dead_runs(instance)  # as the sensor does: Dagster may forget one of them
        time.sleep(1)
    _finish(environment, *processes)
    runs = [run for run in instance.get_runs() if run.run_id not in before]
    assert [run.status for run in runs] == [dg.DagsterRunStatus.SUCCESS] * 2
    steps = [
        (step.start_time, step.end_time)
        for run in runs
        for step in instance.get_run_step_stats(run.run_id, ["faiss_index", "deduped_corpus"])
    ]
    ordered = sorted((start, end) for start, end in steps if start and end)
    assert len(ordered) == 4
    assert all(end <= start for (_, end), (start, _) in pairwise(ordered))


def test_a_step_that_waits_though_its_slot_is_free_is_let_in(instance: dg.DagsterInstance) -> None:
    storage = instance.event_log_storage
    storage.set_concurrency_slots("corpus", 1)
    with pytest.MonkeyPatch.context() as patch:  # the slot is freed after it was looked for
        patch.setattr(type(storage), "has_unassigned_slots", lambda *_: False)
        assert not storage.claim_concurrency_slot("corpus", "run", "step").is_claimed
    assert not storage.claim_concurrency_slot("corpus", "run", "step").is_claimed, "Dagster needs this no more"
    fail_dead_runs(instance)
    assert storage.claim_concurrency_slot("corpus", "run", "step").is_claimed
    assert not storage.claim_concurrency_slot("corpus", "other", "step").is_claimed
    fail_dead_runs(instance)
    assert not storage.claim_concurrency_slot("corpus", "other", "step").is_claimed, "there is one slot"


@pytest.mark.parametrize(
    "command",
    [("dg", "check", "defs"), ("dg", "list", "defs", "--json"), ("dagster", "definitions", "validate")],
    ids=" ".join,
)
def test_the_tools_of_dagster_work_in_a_checkout(command: tuple[str, ...]) -> None:
    done = subprocess.run([BIN / command[0], *command[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    if "list" in command:
        listed = json.loads(done.stdout)
        assert {"raw_pages", "deduped_corpus"} <= {asset["asset_key"] for asset in listed["assets"]}
        assert "dead_runs" in {sensor["name"] for sensor in listed["sensors"]}


def test_both_instance_configurations_agree_but_for_the_storage() -> None:
    given = yaml.safe_load((ROOT / "configs" / "dagster.yaml").read_text())
    postgres = yaml.safe_load((ROOT / "configs" / "postgres" / "dagster.yaml").read_text())
    assert postgres.pop("storage") == {"postgres": {"postgres_url": {"env": "QUARRY_POSTGRES_URL"}}}
    assert postgres == given


@contextmanager
def _postgres() -> Iterator[str]:
    """The URL of an empty database on a server of its own, on loopback."""
    assert POSTGRES is not None
    user = "postgres" if os.geteuid() == 0 else None  # the server refuses to be root
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    with TemporaryDirectory(prefix="quarry-postgres-") as folder:
        if user:
            shutil.chown(folder, user)
        initdb = [POSTGRES / "initdb", "-D", f"{folder}/db", "-U", "quarry", "--auth=trust", "--no-sync"]
        subprocess.run(initdb, check=True, capture_output=True, user=user, cwd=folder)
        serve = [POSTGRES / "postgres", "-D", f"{folder}/db", "-h", "127.0.0.1", "-p", port, "-k", folder, "-F"]
        with subprocess.Popen(serve, user=user, cwd=folder, stderr=subprocess.DEVNULL) as server:
            try:
                ready = [POSTGRES / "pg_isready", "-q", "-h", "127.0.0.1", "-p", port]
                _wait_until(lambda: subprocess.run(ready, check=False).returncode == 0, "PostgreSQL", 30)
                yield f"postgresql+psycopg2://quarry@127.0.0.1:{port}/postgres"
            finally:
                server.send_signal(signal.SIGINT)  # a fast shutdown


@pytest.mark.slow
@pytest.mark.skipif(POSTGRES is None, reason="no PostgreSQL on this machine: install the package postgresql")
@pytest.mark.timeout(400)
def test_two_commands_at_once_on_an_instance_on_postgresql(
    environment: dict[str, str], start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Path(environment["DAGSTER_HOME"])
    shutil.copy(ROOT / "configs" / "postgres" / "dagster.yaml", home)
    with _postgres() as url:
        environment["QUARRY_POSTGRES_URL"] = url
        monkeypatch.setenv("QUARRY_POSTGRES_URL", url)
        _seed(environment, "a", range(8))
        # The first alone: Dagster cannot add a pool to PostgreSQL twice at the same moment.
        _finish(environment, start("quarry_dagster.cli", "run"))
        _seed(environment, "b", range(4, 12))
        _finish(environment, *[start("quarry_dagster.cli", "run") for _ in range(2)])
        with dg.DagsterInstance.from_config(str(home)) as instance:
            runs = instance.get_runs()
            assert {run.status for run in runs} == {dg.DagsterRunStatus.SUCCESS}
            assert sorted(run.job_name for run in runs) == ["corpus"] * 3 + ["ingest"] * 3
            event = instance.get_latest_materialization_event(dg.AssetKey("deduped_corpus"))
            assert event is not None and event.asset_materialization is not None
            assert event.asset_materialization.metadata["documents"].value == 12
            assert len(instance.get_dynamic_partitions("crawl_batches")) == 2
        assert not list(home.rglob("*.db"))
    assert len(Corpus(tmp_path / "data", profile()).urls()) == 12


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze: install the package systemd")
def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    """Against a file system that holds systemd's own units, ours, and the commands that they name."""
    units = [shutil.copy(u, _folder(tmp_path / "etc/systemd/system")) for u in (ROOT / "configs/systemd").iterdir()]
    shutil.copytree("/usr/lib/systemd/system", tmp_path / "usr/lib/systemd/system", symlinks=True)
    for command in ("quarry", "dagster-daemon", "dagster-webserver"):
        assert (BIN / command).exists()
        shutil.copy("/bin/true", _folder(tmp_path / "opt/quarry/bin") / command)
    verify = ["systemd-analyze", "verify", "--man=no", f"--root={tmp_path}"]
    names = [f"/{Path(unit).relative_to(tmp_path)}" for unit in units]
    done = subprocess.run([*verify, *names], capture_output=True, text=True, check=False)
    assert len(names) == 5 and (done.returncode, done.stdout, done.stderr) == (0, "", "")


def _folder(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    return path
