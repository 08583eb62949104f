"""In a browser: a check that stands failed and its repair, a corpus that would shrink and its acceptance."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from quarry_dagster.orchestration.assets import GLOBAL
from quarry_dagster_tests import breaches
from quarry_dagster_tests.corpus import PAGES, Corpus
from quarry_dagster_tests.site import Site
from quarry_dagster_tests.ui import browser, dagster_dev, finished_runs, in_a_browser, shoot

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = in_a_browser


def _run(*arguments: str) -> int:
    """`quarry` in a process of its own, as beside a UI; the exit status."""
    command = [sys.executable, "-m", "quarry_dagster.cli", *arguments]
    return subprocess.run(command, env=os.environ, capture_output=True, check=False).returncode


def _launch(page: Page, address: str, job: str, config: str = "") -> tuple[str, str]:
    """Launch a job in its launchpad with this configuration; returns the run's status and id."""
    before = len(finished_runs(address, 0))
    page.goto(f"/locations/quarry_dagster/jobs/{job}/playground")
    editor = page.locator(".CodeMirror").first
    editor.click(timeout=60_000)
    page.keyboard.press("Control+A")
    page.keyboard.insert_text(config or "{}")
    page.get_by_role("button", name="Launch Run").click()
    run = finished_runs(address, before + 1)[0]
    return run["status"], run["runId"]


def _materialize(page: Page, address: str, asset: str, partition: str) -> str:
    """Materialize one partition from the asset's page; returns the run's status."""
    before = len(finished_runs(address, 0))
    page.goto(f"/assets/{asset}?view=partitions")
    page.get_by_text(partition).first.click(timeout=60_000)
    page.get_by_role("button", name="Materialize").first.click()
    page.get_by_role("button", name="Launch 1 run").click()
    return finished_runs(address, before + 1)[0]["status"]


def test_a_failed_check_is_named_by_the_refused_corpus_until_its_partition_is_materialized_again(
    crawled: Corpus, tmp_path: Path
) -> None:
    from playwright.sync_api import expect

    before = crawled.result()
    breaches.lost_text(crawled.store)
    assert _run("check") == 1
    standing = crawled.store.failed_checks().standing
    with dagster_dev(crawled.root, str(tmp_path / "quick.yaml")) as address, browser(address) as page:
        page.goto("/assets/extracted_text?view=checks")
        expect(page.get_by_text("Failed").first).to_be_visible(timeout=60_000)
        shoot(page, "failed_check")
        status, run = _launch(page, address, "corpus")
        assert status == "FAILURE"
        page.goto(f"/runs/{run}")
        expect(page.get_by_text("stands failed").first).to_be_visible(timeout=60_000)
        shoot(page, "refused_corpus")
        for asset in ("extracted_text", "embeddings"):  # both are named: the lost text had a vector
            (partition,) = standing[f"{asset}.contract"]
            assert _materialize(page, address, asset, partition) == "SUCCESS"
        assert not crawled.store.failed_checks().standing
        assert _launch(page, address, "corpus")[0] == "SUCCESS"
        page.goto("/asset-groups")
        expect(page.get_by_text("Materialized", exact=True)).to_have_count(len(GLOBAL), timeout=60_000)
        shoot(page, "published_again")
    for found, expected in zip(crawled.result(), before, strict=True):
        assert found.equals(expected)


def test_a_corpus_that_would_shrink_is_refused_and_published_when_it_is_accepted(
    crawled: Corpus, site: Site, tmp_path: Path
) -> None:
    from playwright.sync_api import expect

    for i in range(25):
        site.pages[f"/{i}"] = 404
    assert _run("run") == 1
    assert len(crawled.urls()) == PAGES
    with dagster_dev(crawled.root, str(tmp_path / "quick.yaml")) as address, browser(address) as page:
        refused = finished_runs(address, 1)[0]
        assert (refused["jobName"], refused["status"]) == ("corpus", "FAILURE")
        page.goto(f"/runs/{refused['runId']}")
        expect(page.get_by_text("not published").first).to_be_visible(timeout=60_000)
        shoot(page, "refused_shrink")
        page.goto("/assets/deduped_corpus?view=checks&checkDetail=corpus_shrank")
        expect(page.get_by_text("25 http_error 404").first).to_be_visible(timeout=60_000)
        shoot(page, "corpus_shrank")
        accept = "ops: {deduped_corpus: {config: {accept_shrink: true}}}"
        assert _launch(page, address, "corpus", accept)[0] == "SUCCESS"
        page.goto("/assets/deduped_corpus?view=checks&checkDetail=corpus_shrank")
        expect(page.get_by_text("accepted:").first).to_be_visible(timeout=60_000)
        shoot(page, "accepted_shrink")
        assert len(crawled.urls()) == PAGES - 25
        for i in range(25, PAGES):
            site.pages[f"/{i}"] = 404
        assert _run("run") == 1
        accepted = next(r for r in finished_runs(address, 2) if (r["jobName"], r["status"]) == ("corpus", "SUCCESS"))
        before = len(finished_runs(address, 0))
        page.goto(f"/runs/{accepted['runId']}")  # what was accepted then is not what is lost now
        page.get_by_role("button", name="Re-execute all").click(timeout=60_000)
        assert finished_runs(address, before + 1)[0]["status"] == "FAILURE"
    assert len(crawled.urls()) == PAGES - 25
