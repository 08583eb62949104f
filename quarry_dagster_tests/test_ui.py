"""The Dagster UI in a real browser: lineage, reruns, failed checks, and seeds that become a corpus by themselves."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from quarry_dagster.demo.__main__ import seeds, serve
from quarry_dagster.orchestration.assets import GLOBAL, PER_PARTITION
from quarry_dagster.store import Store
from quarry_dagster_tests.corpus import overwrite
from quarry_dagster_tests.ui import browser, dagster_dev, finished_runs, graphql, in_a_browser, shoot

if TYPE_CHECKING:
    from playwright.sync_api import Page

ROOT = Path(__file__).parent.parent

pytestmark = in_a_browser


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's corpus, as `make demo` leaves it."""
    folder = tmp_path_factory.mktemp("ui")
    environment = os.environ | {"QUARRY_ALLOW_ADDRESSES": "127.0.0.1/32", "QUARRY_PROFILE": "workstation"}
    with serve() as port:
        (folder / "demo.txt").write_text(seeds(port), encoding="utf-8")
        command = [sys.executable, "-m", "quarry_dagster.cli", "run", str(folder / "demo.txt")]
        subprocess.run([*command, "--data", str(folder / "data")], env=environment, check=True, capture_output=True)
    return folder / "data"


@pytest.fixture(scope="module")
def ui(data: Path) -> Iterator[str]:
    with dagster_dev(data, "workstation") as address:
        yield address


@pytest.fixture
def page(ui: str) -> Iterator["Page"]:
    with browser(ui) as found:
        yield found


def _expect_all_green(page: "Page") -> None:
    from playwright.sync_api import expect

    expect(page.get_by_text("100% filled")).to_have_count(len(PER_PARTITION), timeout=60_000)  # the partitioned assets
    expect(page.get_by_text("Materialized", exact=True)).to_have_count(len(GLOBAL))
    for passed, assets in (("2 / 2 Passed", 3), ("3 / 3 Passed", 1), ("8 / 8 Passed", 1)):
        expect(page.get_by_text(passed)).to_have_count(assets)
    expect(page.get_by_text("Failed")).to_have_count(0)


def test_the_lineage_of_the_five_assets_is_green(page: "Page") -> None:
    from playwright.sync_api import expect

    page.goto("/asset-groups")
    for name in ("raw_pages", "extracted_text", "embeddings", "faiss_index", "deduped_corpus", "corpus_report"):
        expect(page.get_by_text(name, exact=True).first).to_be_visible(timeout=60_000)
    _expect_all_green(page)
    shoot(page, "lineage")


@pytest.mark.parametrize(("asset", "rows"), [("faiss_index", "40"), ("deduped_corpus", "33")])
def test_a_global_asset_shows_its_row_count_and_nothing_that_a_page_wrote(page: "Page", asset: str, rows: str) -> None:
    from playwright.sync_api import expect

    page.goto(f"/assets/{asset}?view=overview")
    expect(page.get_by_text("Row count")).to_be_visible(timeout=60_000)
    expect(page.get_by_text(rows, exact=True).first).to_be_visible()
    if asset == "deduped_corpus":
        expect(page.get_by_text("removed_by_rule", exact=True)).to_be_visible(timeout=30_000)
        expect(page.get_by_text("near", exact=True).first).to_be_visible()
    expect(page.get_by_text("/harbour-news/")).to_have_count(0)
    shoot(page, asset)


@pytest.mark.parametrize(
    ("asset", "outcome"), [("raw_pages", "fetched"), ("extracted_text", "extracted"), ("embeddings", "embedded")]
)
def test_a_partition_shows_its_row_count_and_outcomes(page: "Page", asset: str, outcome: str) -> None:
    from playwright.sync_api import expect

    page.goto(f"/assets/{asset}?view=partitions")
    page.get_by_text("-demo-").first.click(timeout=60_000)
    expect(page.get_by_text("dagster/row_count")).to_be_visible(timeout=60_000)
    expect(page.get_by_text("outcomes", exact=True)).to_be_visible()
    expect(page.get_by_role("cell", name=outcome, exact=True).first).to_be_visible()
    expect(page.get_by_text("/harbour-news/")).to_have_count(0)
    shoot(page, asset)


def test_the_columns_and_their_meanings_are_shown(page: "Page") -> None:
    from playwright.sync_api import expect

    page.goto("/assets/deduped_corpus?view=overview")
    expect(page.get_by_text("how many documents it stands for besides itself")).to_be_visible(timeout=60_000)


def test_one_partition_is_rerun_from_the_ui(page: "Page", ui: str) -> None:
    from playwright.sync_api import expect

    before = len(finished_runs(ui, 0))
    page.goto("/assets/extracted_text?view=partitions")
    page.get_by_text("-demo-").first.click(timeout=60_000)
    page.get_by_role("button", name="Materialize").first.click()
    expect(page.get_by_text("Launch runs to materialize extracted_text")).to_be_visible()
    shoot(page, "rerun")
    page.get_by_role("button", name="Launch 1 run").click()
    runs = finished_runs(ui, before + 1)
    assert [r["status"] for r in runs] == ["SUCCESS"] * (before + 1)
    page.goto(f"/runs/{runs[0]['runId']}")
    expect(page.get_by_text("Success").first).to_be_visible(timeout=60_000)
    shoot(page, "run")


def test_a_failed_check_is_visible(page: "Page", data: Path) -> None:
    from playwright.sync_api import expect

    store = Store(str(data))
    snapshot = store.deduped_corpus.current()
    assert snapshot is not None
    kept = snapshot.kept().sort("duplicates").collect()
    store.files.write_frame("deduped_corpus/kept/999999.parquet", kept.tail(-1).with_columns(gone=False))
    overwrite(replace(snapshot, layers=replace(snapshot.layers, kept=["deduped_corpus/kept/999999.parquet"])))
    command = [sys.executable, "-m", "quarry_dagster.cli", "check", "--data", str(data), "--profile", "workstation"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 1 and "check conservation of deduped_corpus" in done.stderr
        page.goto("/asset-groups")
        expect(page.get_by_text("7 / 8 Passed")).to_be_visible(timeout=60_000)
        page.goto("/assets/deduped_corpus?view=checks")
        expect(page.get_by_text("1 rows are missing").first).to_be_visible(timeout=60_000)
        shoot(page, "failed_check")
    finally:
        overwrite(snapshot)
        assert subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_dropped_seeds_become_green_assets_without_a_click_and_are_backfilled(tmp_path: Path) -> None:
    data, profile = tmp_path / "data", tmp_path / "profile.yaml"
    profile.write_text(
        "automation: {enabled: true}\nembedding: {device: cpu, max_tokens: 64}\n"
        "partitions: {pages_per_partition: 20, partitions_per_run: 2}\n"
    )
    (data / "seeds").mkdir(parents=True)
    (data / ".dagster").mkdir()
    shutil.copy(ROOT / "configs" / "dagster.yaml", data / ".dagster" / "dagster.yaml")
    with serve() as port, dagster_dev(data, str(profile)) as address:
        (data / "seeds" / "demo.txt").write_text(seeds(port), encoding="utf-8")
        runs = finished_runs(address, 3)
        assert [(r["jobName"], r["status"]) for r in runs] == [("corpus", "SUCCESS"), *[("ingest", "SUCCESS")] * 2]
        with browser(address) as page:
            page.goto("/asset-groups")
            _expect_all_green(page)
            shoot(page, "automatic")
        partitions = json.dumps(list(Store(str(data)).batches.segments()))
        backfill = f'{{assetSelection: [{{path: ["embeddings"]}}], partitionNames: {partitions}}}'
        launched = graphql(
            address, f"mutation {{ launchPartitionBackfill(backfillParams: {backfill}) {{ __typename }} }}"
        )
        assert launched["launchPartitionBackfill"]["__typename"] == "LaunchBackfillSuccess"
        runs = finished_runs(address, 5)  # three partitions, two a run
        assert [r["status"] for r in runs] == ["SUCCESS"] * 5
