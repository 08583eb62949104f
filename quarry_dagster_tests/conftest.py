"""Fixtures that many tests share."""

import gc
import json
import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, settings

from quarry_dagster.cli import command
from quarry_dagster.extract import Extractor
from quarry_dagster.profiles.settings import Extraction
from quarry_dagster_tests.corpus import LARGER, PAGES, Corpus, Quarry, extractor, profile, words
from quarry_dagster_tests.hostile_site import HostileSite
from quarry_dagster_tests.site import Server, Site, html

gc.set_threshold(10_000)  # as the command does
os.environ["HF_HUB_OFFLINE"] = "1"  # read when huggingface_hub is imported, which some test does first

_SLOW = (HealthCheck.too_slow, HealthCheck.function_scoped_fixture)
settings.register_profile("quick", max_examples=15, deadline=None, suppress_health_check=_SLOW)
settings.register_profile("thorough", max_examples=1000, deadline=None, suppress_health_check=_SLOW)
settings.load_profile("quick")  # pytest --hypothesis-profile thorough runs thousands of steps


@pytest.fixture
def site() -> Iterator[Site]:
    with Server() as server:
        yield server.site


@pytest.fixture
def hostile() -> Iterator[HostileSite]:
    with HostileSite() as site:
        yield site


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    return Corpus(tmp_path / "data", profile())


@pytest.fixture
def quarry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Quarry:
    """Runs `quarry ARGS` on the data root `data` in `tmp_path`, under the profile of tests, `quick.yaml` beside it."""
    settings = tmp_path / "quick.yaml"
    settings.write_text(yaml.safe_dump(json.loads(profile(partitions=LARGER).model_dump_json(exclude={"name"}))))
    monkeypatch.setenv("QUARRY_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("QUARRY_PROFILE", str(settings))
    monkeypatch.setenv("QUARRY_ALLOW_ADDRESSES", "127.0.0.0/8")
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["quarry", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            command()
        out, err = capsys.readouterr()
        return int(end.value.code or 0), out, err

    return call


@pytest.fixture
def crawled(quarry: Quarry, tmp_path: Path, site: Site) -> Corpus:
    """A corpus of the pages /0, /1 ... of one site, made by `quarry run`."""
    site.pages = {f"/{i}": html(f"Page {i}", words(i)) for i in range(PAGES)}
    (tmp_path / "a.txt").write_text("".join(site.url(path) + "\n" for path in site.pages))
    status, _, err = quarry("run", tmp_path / "a.txt")
    assert status == 0, err
    return Corpus(tmp_path / "data", profile())


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests do not see the settings of whoever runs them."""
    for name in ("QUARRY_DATA", "QUARRY_PROFILE", "QUARRY_ALLOW_ADDRESSES", "QUARRY_CODE_LOCATION", "DAGSTER_HOME"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def _workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs in this process extract with the workers of the test process: to start some loads the parsers."""

    def shared(settings: Extraction, workers: int) -> AbstractContextManager[Extractor]:
        return nullcontext(extractor(settings))

    assets = "quarry_dagster.orchestration.assets.extracted_text"
    for user in (assets, "quarry_dagster.takedown.taking_out", "quarry_dagster.stages.redo"):
        monkeypatch.setattr(import_module(user), "Extractor", shared)
