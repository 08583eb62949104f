"""`python -m quarry_dagster.demo`: serve the bundled pages on loopback and run the whole pipeline over them."""

from __future__ import annotations

import argparse
import functools
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

SITE = Path(__file__).parent / "site"


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


def main() -> int:
    """Run the demo; returns the exit status of `quarry run`."""
    parser = argparse.ArgumentParser(prog="python -m quarry_dagster.demo", description=__doc__)
    parser.add_argument("--data", default="demo-data", help="data root (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8733, help="port on 127.0.0.1 (default: %(default)s)")
    arguments = parser.parse_args()
    # The pages are on this machine: without this the crawler refuses to fetch from a loopback address.
    environment = os.environ | {"QUARRY_ALLOW_ADDRESSES": "127.0.0.1/32"}
    try:
        with serve(arguments.port) as port, tempfile.TemporaryDirectory() as folder:
            seed_file = Path(folder) / "demo.txt"
            seed_file.write_text(seeds(port), encoding="utf-8")
            command = [sys.executable, "-m", "quarry_dagster.cli", "run", str(seed_file), "--data", arguments.data]
            status = subprocess.run(command, env=environment, check=False).returncode
    except OSError as e:
        sys.stderr.write(f"cannot serve the demo site on port {arguments.port}: {e}; choose another with --port\n")
        return 1
    if status == 0:
        sys.stdout.write("\nSee it in the Dagster UI: make ui\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
