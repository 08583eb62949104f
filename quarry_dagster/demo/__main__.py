"""`python -m quarry_dagster.demo`: serve the bundled pages on loopback and run the whole pipeline over them.

With `ui`: the Dagster UI over what came of it, with the pages served while it runs.
"""

from __future__ import annotations

import argparse
import functools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from quarry_dagster.profiles.choose import configs_dir

SITE = Path(__file__).parent / "site"

_MARK = ".demo"  # in a data root that the demo made
# The pages are on this machine: without this the crawler refuses to fetch from a loopback address.
_ALLOW = {"QUARRY_ALLOW_ADDRESSES": "127.0.0.1/32"}


class _Handler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """The crawl reports what it fetched; the server need not."""


@contextmanager
def serve(port: int = 0) -> Iterator[int]:
    """Serve the bundled site on 127.0.0.1 while the block runs; yields the port (a free one for 0).

    Raises:
        OSError: the port is taken.
    """
    with ThreadingHTTPServer(("127.0.0.1", port), functools.partial(_Handler, directory=str(SITE))) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def seeds(port: int) -> str:
    """The demo's seed file for a site on this port."""
    return (SITE / "seeds.txt").read_text(encoding="utf-8").replace("{port}", str(port))


def _mark(data: Path, port: int) -> None:
    """Note in a data root that is new that the demo made it, and on which port its pages were."""
    if _marked(data) is not None or not data.exists() or not any(data.iterdir()):
        data.mkdir(parents=True, exist_ok=True)
        (data / _MARK).write_text(f"{port}\n", encoding="utf-8")


def _marked(data: Path) -> int | None:
    """The port on which the pages of this data root were; None where the demo did not make it."""
    try:
        return int((data / _MARK).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def run(data: str, port: int) -> int:
    """Crawl the bundled pages into a corpus; returns the exit status of `quarry run`."""
    try:
        with serve(port) as served, tempfile.TemporaryDirectory() as folder:
            if "://" not in data:
                _mark(Path(data), served)
            seed_file = Path(folder) / "demo.txt"
            seed_file.write_text(seeds(served), encoding="utf-8")
            status, summary = _quarry("run", str(seed_file), "--data", data)
    except OSError as e:
        sys.stderr.write(f"cannot serve the demo site on port {port}: {e}; choose another with --port\n")
        return 1
    sys.stdout.write(_tour(data) if status == 0 else summary)
    return status


def _quarry(*arguments: str) -> tuple[int, str]:
    """Run `quarry`, whose progress is seen as it goes; its exit status and what it printed at the end."""
    command = [sys.executable, "-m", "quarry_dagster.cli", *arguments]
    # The terminal sends a Ctrl-C to both, and `quarry` is the one to tidy up and to say so.
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        with subprocess.Popen(command, env=os.environ | _ALLOW, stdout=subprocess.PIPE, text=True) as process:
            printed, _ = process.communicate()
        return process.returncode, printed
    finally:
        signal.signal(signal.SIGINT, before)


def _tour(data: str) -> str:
    """What came of the pages, one removed document with the one it is a duplicate of, and what to open."""
    from quarry_dagster.cli.summary import account, became
    from quarry_dagster.cli.terminal import fitted
    from quarry_dagster.reader import scan
    from quarry_dagster.stages import corpus_report
    from quarry_dagster.store import Store

    store = Store(data)
    lines = ["", account(became(store)), ""]
    decisions = scan("dedup_decisions", data).sort("level", "removed_url").collect()
    for row in decisions.filter(decisions["level"] == "near").head(1).iter_rows(named=True):
        lines += [
            f"removed  {row['removed_url']}",
            f"kept     {row['kept_url']} ({row['level']}, by {row['rule']})",
            f"why      quarry explain {row['removed_url']} --data {data}",
        ]
    lines += [f"open     {store.files.url(corpus_report.PATH)}", "or       make ui", ""]
    return "\n".join(fitted(line, sys.stdout, indent=9) for line in lines)


def ui(data: Path, port: int) -> int:
    """The Dagster UI over a data root; returns its exit status.

    Where the demo made that root, its pages are served meanwhile and may be crawled, so that assets can be
    materialized again. Over any other root no address is allowed that the environment does not allow.
    """
    home = data / ".dagster"
    home.mkdir(parents=True, exist_ok=True)
    if not (home / "dagster.yaml").exists():
        shutil.copy(configs_dir() / "dagster.yaml", home)
    # It says that its command has a successor, which is in a package of its own.
    unsaid = ",".join(filter(None, [os.environ.get("PYTHONWARNINGS"), "ignore:Function `dev_command` is superseded"]))
    environment = os.environ | {"QUARRY_DATA": str(data), "DAGSTER_HOME": str(home), "PYTHONWARNINGS": unsaid}
    workspace = configs_dir().parent / "workspace.yaml"
    command = [sys.executable, "-m", "dagster", "dev", "-w", str(workspace), "-h", "127.0.0.1", "-p", str(port)]
    with ExitStack() as stack:
        if (pages := _marked(data)) is not None:
            try:
                stack.enter_context(serve(pages))
                environment |= _ALLOW
                sys.stderr.write(f"the demo's pages are on http://127.0.0.1:{pages} while this runs\n")
            except OSError as e:
                problem = f"cannot serve the demo's pages on port {pages}: {e.strerror or e}"
                sys.stderr.write(f"{problem}; they cannot be crawled again, all else works\n")
        return _in_foreground(command, environment)


def _in_foreground(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run a command, and hand on to it the signals that are to end this process; returns its exit status.

    It has a session of its own, or the terminal would send it a Ctrl-C too, and its processes two.
    """
    with subprocess.Popen(command, env=environment, start_new_session=True) as process:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda *_: process.send_signal(signal.SIGINT))
        return process.wait()


def main() -> int:
    """Run the demo, or the UI over what it made."""
    parser = argparse.ArgumentParser(prog="python -m quarry_dagster.demo", description=__doc__)
    parser.add_argument("what", nargs="?", choices=["run", "ui"], default="run", help="default: %(default)s")
    parser.add_argument("--data", default="demo-data", help="data root (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8733, help="of the pages, on 127.0.0.1 (default: %(default)s)")
    parser.add_argument("--ui-port", type=int, default=3000, help="of the UI, on 127.0.0.1 (default: %(default)s)")
    arguments = parser.parse_args()
    if arguments.what == "ui":
        return ui(Path(arguments.data).absolute(), arguments.ui_port)
    return run(arguments.data, arguments.port)


if __name__ == "__main__":
    sys.exit(main())
