"""Fixtures that many tests share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from quarry_dagster_tests.corpus import Corpus, profile
from quarry_dagster_tests.site import Server, Site


@pytest.fixture
def site() -> Iterator[Site]:
    with Server() as server:
        yield server.site


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    return Corpus(tmp_path / "data", profile())


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests see neither the settings of whoever runs them, nor the network's model hub."""
    for name in ("QUARRY_DATA", "QUARRY_PROFILE", "QUARRY_ALLOW_ADDRESSES", "DAGSTER_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
