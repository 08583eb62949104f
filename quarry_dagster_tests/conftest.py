"""Fixtures that many tests share."""

import gc
import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from pathlib import Path
from sqlite3 import Connection

import pytest
import yaml
from hypothesis import HealthCheck, settings
from sqlalchemy import Engine, event

from quarry_dagster.cli import command
from quarry_dagster.domains import Describer
from quarry_dagster.extract import Extractor
from quarry_dagster.profiles.settings import Extraction
from quarry_dagster_tests.corpus import LARGER, PAGES, Corpus, Quarry, describer, extractor, profile, words
from quarry_dagster_tests.hostile_site import HostileSite
from quarry_dagster_tests.site import Server, Site, html

gc.set_threshold(10_000)  # as the command does
os.environ["HF_HUB_OFFLINE"] = "1"  # read when huggingface_hub is imported, which some test does first

_SLOW = (HealthCheck.too_slow, HealthCheck.function_scoped_fixture)
settings.register_profile("quick", max_examples=15, deadline=None, suppress_health_check=_SLOW)
settings.register_profile("thorough", max_examples=1000, deadline=None, suppress_health_check=_SLOW)
settings.load_profile("quick")  # pytest --hypothesis-profile thorough runs thousands of steps


@event.listens_for(Engine, "connect")
def _no_machine_goes_down(connection: object, _: object) -> None:
    """Dagster's SQLite databases wait for no disk: they are whole when a process dies, as tests have them do."""
    if isinstance(connection, Connection):
        connection.execute("PRAGMA synchronous = OFF")


@pytest.fixture(scope="session")
def _server() -> Iterator[Server]:
    with Server() as server:
        yield server


@pytest.fixture
def site(_server: Server) -> Site:
    """A site of no page, at the address of all tests of a process: so a corpus of it can be copied."""
    _server.site = Site(port=_server.server_address[1])
    return _server.site


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
    _settle_in(tmp_path, monkeypatch)

    def call(*arguments: str | Path) -> tuple[int, str, str]:
        status = _command(monkeypatch, *arguments)
        out, err = capsys.readouterr()
        return status, out, err

    return call


def _settle_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = folder / "quick.yaml"
    settings.write_text(yaml.safe_dump(json.loads(profile(partitions=LARGER).model_dump_json(exclude={"name"}))))
    monkeypatch.setenv("QUARRY_DATA", str(folder / "data"))
    monkeypatch.setenv("QUARRY_PROFILE", str(settings))
    monkeypatch.setenv("QUARRY_ALLOW_ADDRESSES", "127.0.0.0/8")
    monkeypatch.chdir(folder)


def _command(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    monkeypatch.setattr(sys, "argv", ["quarry", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        command()
    return int(end.value.code or 0)


_CRAWLED = {f"/{i}": html(f"Page {i}", words(i)) for i in range(PAGES)}


@pytest.fixture(scope="session")
def _crawled(_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("crawled")
    _server.site = Site(port=_server.server_address[1], pages=dict(_CRAWLED))
    (folder / "a.txt").write_text("".join(_server.site.url(path) + "\n" for path in _CRAWLED))
    with pytest.MonkeyPatch.context() as monkeypatch:
        _settle_in(folder, monkeypatch)
        _share_workers(monkeypatch)
        assert _command(monkeypatch, "run", folder / "a.txt") == 0
    return folder


@pytest.fixture
def crawled(quarry: Quarry, tmp_path: Path, site: Site, _crawled: Path) -> Corpus:
    """A corpus of the pages /0, /1 ... of the site, made by `quarry run` of the seeds `a.txt` in `tmp_path`."""
    site.pages |= _CRAWLED
    shutil.copy2(_crawled / "a.txt", tmp_path)
    return Corpus(_crawled / "data", profile()).copy(tmp_path / "data")


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests do not see the settings of whoever runs them."""
    for name in ("QUARRY_DATA", "QUARRY_PROFILE", "QUARRY_ALLOW_ADDRESSES", "QUARRY_CODE_LOCATION", "DAGSTER_HOME"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def _workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs in this process extract with the workers of the test process: to start some loads the parsers."""
    _share_workers(monkeypatch)


def _share_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    def shared(settings: Extraction, workers: int) -> AbstractContextManager[Extractor]:
        return nullcontext(extractor(settings))

    def describing(own: Mapping[str, str], settings: Extraction, workers: int) -> AbstractContextManager[Describer]:
        return nullcontext(describer(settings, own))

    assets = "quarry_dagster.orchestration.assets.extracted_text"
    for user in (assets, "quarry_dagster.takedown.taking_out", "quarry_dagster.stages.redo"):
        monkeypatch.setattr(import_module(user), "Extractor", shared)
    monkeypatch.setattr(import_module("quarry_dagster.orchestration.assets.page_metadata"), "Describer", describing)
