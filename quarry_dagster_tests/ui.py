"""A Dagster UI in a process of its own, and a headless browser that looks at it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

WORKSPACE = Path(__file__).parent.parent / "workspace.yaml"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync", "--no-first-run"]

in_a_browser = [
    pytest.mark.slow,
    pytest.mark.browser,
    pytest.mark.timeout(900),
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: install the package chromium"),
]
"""Marks of tests that use :func:`browser`."""


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@contextmanager
def dagster_dev(data: Path, profile: str, home: Path | None = None) -> Iterator[str]:
    """The address of `dagster dev` over a data root, as the README starts it; its log lies beside the data root."""
    port = free_port()
    environment = os.environ | {"QUARRY_ALLOW_ADDRESSES": "127.0.0.1/32", "QUARRY_PROFILE": profile}
    environment |= {"QUARRY_DATA": str(data), "DAGSTER_HOME": str(home or data / ".dagster")}
    command = [sys.executable, "-m", "dagster", "dev", "-w", str(WORKSPACE), "-h", "127.0.0.1", "-p", str(port)]
    log = (data.parent / "dev.log").open("wb")
    with subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=data.parent) as server:
        try:
            wait_for(f"http://127.0.0.1:{port}/server_info")
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()
            server.wait()


def wait_for(url: str) -> None:
    """Wait until this address answers."""
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=1):
                return
        except OSError:
            time.sleep(0.1)
    raise TimeoutError(url)


@contextmanager
def browser(address: str) -> Iterator[Page]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield started.new_page(viewport={"width": 2300, "height": 700}, base_url=address)
        started.close()


def shoot(page: Page, name: str) -> None:
    """Keep a picture where QUARRY_SCREENSHOTS names a folder, for people to look at."""
    if folder := os.environ.get("QUARRY_SCREENSHOTS"):
        page.wait_for_timeout(1500)
        page.screenshot(path=Path(folder) / f"{name}.png")


def graphql(address: str, query: str) -> dict[str, Any]:
    body = json.dumps({"query": query}).encode()
    request = urllib.request.Request(f"{address}/graphql", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)["data"]


def finished_runs(address: str, wanted: int, timeout: float = 300) -> list[dict[str, str]]:
    """The instance's runs, newest first, once at least so many have ended."""
    deadline = time.monotonic() + timeout
    while True:
        found = graphql(address, "{ runsOrError { ... on Runs { results { jobName status runId } } } }")
        runs = found["runsOrError"]["results"]
        if len([r for r in runs if r["status"] in ("SUCCESS", "FAILURE", "CANCELED")]) >= wanted:
            return runs
        if time.monotonic() > deadline:
            raise TimeoutError(f"no {wanted} finished runs in {timeout} s: {runs}")
        time.sleep(0.5)
