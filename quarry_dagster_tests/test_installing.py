"""What can be installed: the guide's extras are there, fit each other and the pinned versions, with one FAISS."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
OF_THE_GUIDE = ("workstation", "raspberry-pi", "research", "gpu", "performance", "monitoring", "enterprise-gpu")
PINNED = dict(
    line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if re.match(r"^[\w.-]+==", line)
)


def needs(extra: str) -> list[Requirement]:
    """What an extra installs, those that it is made of included."""
    found = []
    for each in map(Requirement, EXTRAS[extra]):
        inner = [name for name in each.extras if each.name == PROJECT["name"]]
        found += [each for name in inner for each in needs(name)] if inner else [each]
    return found


def named(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_extra_of_the_guide_is_there() -> None:
    assert set(OF_THE_GUIDE) <= EXTRAS.keys()
    documents = (ROOT / "docs" / "hardware.md").read_text()
    assert [extra for extra in EXTRAS if extra not in ("dev", "bench") and f"`{extra}`" not in documents] == []
    assert all(needs(extra) for extra in OF_THE_GUIDE)


@pytest.mark.parametrize("extra", EXTRAS)
def test_what_an_extra_brings_has_a_pinned_version_that_it_takes(extra: str) -> None:
    pinned = {named(name): version for name, version in PINNED.items()}
    for each in needs(extra):
        if each.marker is None or each.marker.evaluate():
            assert each.specifier.contains(pinned[named(each.name)]), f"{extra}: {each}"


def test_no_extra_brings_a_second_faiss() -> None:
    assert not [each.name for extra in EXTRAS for each in needs(extra) if "faiss" in each.name]


@pytest.mark.slow
def test_all_extras_resolve_together(tmp_path: Path) -> None:
    """With the pinned versions, as a user installs them who wants all."""
    report = tmp_path / "report.json"
    everything = f"{ROOT}[{','.join(each for each in EXTRAS if each != 'dev')}]"
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet"]
    command += ["-c", str(ROOT / "constraints.txt"), "--report", str(report), everything]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert not re.search(rf"{PROJECT['name']}\S* \S+ does not provide the extra", done.stderr), done.stderr
    found = {named(each["metadata"]["name"]) for each in json.loads(report.read_text())["install"]}
    assert {named(each.name) for extra in OF_THE_GUIDE for each in needs(extra)} <= found
