"""The Dagster UI in a real browser: the lineage is there, green, with counts and previews."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from quarry_dagster.demo.__main__ import seeds, serve

if TYPE_CHECKING:
    from playwright.sync_api import Page

ROOT = Path(__file__).parent.parent
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync", "--no-first-run"]

pytestmark = [
    pytest.mark.browser,
    pytest.mark.timeout(300),
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: install the package chromium"),
]


@pytest.fixture(scope="module")
def ui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of `dagster dev` over the demo's corpus."""
    folder = tmp_path_factory.mktemp("ui")
    data, home = folder / "data", folder / "data" / ".dagster"
    environment = os.environ | {"QUARRY_ALLOW_ADDRESSES": "127.0.0.1/32", "QUARRY_PROFILE": "workstation"}
    with serve() as port:
        (folder / "demo.txt").write_text(seeds(port), encoding="utf-8")
        command = [sys.executable, "-m", "quarry_dagster.cli", "run", str(folder / "demo.txt"), "--data", str(data)]
        subprocess.run(command, env=environment, check=True, capture_output=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment |= {"QUARRY_DATA": str(data), "DAGSTER_HOME": str(home)}
    command = [sys.executable, "-m", "dagster", "dev", "-w", str(ROOT / "workspace.yaml"), "-h", "127.0.0.1"]
    log = (folder / "dev.log").open("wb")
    with subprocess.Popen([*command, "-p", str(port)], env=environment, stdout=log, stderr=log, cwd=folder) as server:
        try:
            _wait_for(f"http://127.0.0.1:{port}/server_info")
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()
            server.wait()


def _wait_for(url: str) -> None:
    for _ in range(600):
        try:
            with urllib.request.urlopen(url, timeout=1):
                return
        except OSError:
            time.sleep(0.1)
    raise TimeoutError(url)


@pytest.fixture
def page(ui: str) -> Iterator["Page"]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser.new_page(viewport={"width": 2000, "height": 700}, base_url=ui)
        browser.close()


def _shoot(page: "Page", name: str) -> None:
    """Keep a picture where QUARRY_SCREENSHOTS names a folder, for people to look at."""
    if folder := os.environ.get("QUARRY_SCREENSHOTS"):
        page.wait_for_timeout(1500)
        page.screenshot(path=Path(folder) / f"{name}.png")


def test_the_lineage_of_the_five_assets_is_green(page: "Page") -> None:
    from playwright.sync_api import expect

    page.goto("/asset-groups")
    for name in ("raw_pages", "extracted_text", "embeddings", "faiss_index", "deduped_corpus"):
        expect(page.get_by_text(name, exact=True).first).to_be_visible(timeout=60_000)
    expect(page.get_by_text("100% filled")).to_have_count(3, timeout=60_000)  # the partitioned assets
    expect(page.get_by_text("Materialized", exact=True)).to_have_count(2)  # the global ones
    expect(page.get_by_text("2 / 2 Passed")).to_be_visible()
    expect(page.get_by_text("Failed")).to_have_count(0)
    _shoot(page, "lineage")


@pytest.mark.parametrize(("asset", "rows"), [("faiss_index", "40"), ("deduped_corpus", "33")])
def test_a_global_asset_shows_its_row_count_and_previews(page: "Page", asset: str, rows: str) -> None:
    from playwright.sync_api import expect

    page.goto(f"/assets/{asset}?view=overview")
    expect(page.get_by_text("Row count")).to_be_visible(timeout=60_000)
    expect(page.get_by_text(rows, exact=True).first).to_be_visible()
    if asset == "deduped_corpus":
        expect(page.get_by_text("[Show Markdown]").first).to_be_visible()
        page.get_by_text("[Show Markdown]").first.click()
        expect(page.get_by_text("/harbour-news/").first).to_be_visible()
    _shoot(page, asset)


@pytest.mark.parametrize("asset", ["raw_pages", "extracted_text", "embeddings"])
def test_a_partition_shows_its_row_count_outcomes_and_preview(page: "Page", asset: str) -> None:
    from playwright.sync_api import expect

    page.goto(f"/assets/{asset}?view=partitions")
    page.get_by_text("-demo-").first.click(timeout=60_000)
    expect(page.get_by_text("dagster/row_count")).to_be_visible(timeout=60_000)
    expect(page.get_by_text("outcomes")).to_be_visible()
    page.get_by_text("[Show Markdown]").first.click()
    expect(page.get_by_text("MiniLM" if asset == "embeddings" else "/harbour-news/").first).to_be_visible()
    _shoot(page, asset)
