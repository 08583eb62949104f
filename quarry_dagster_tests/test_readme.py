"""Every command and every snippet of the README and of the documents works, in its order."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from quarry_dagster.demo.__main__ import serve
from quarry_dagster.orchestration import asset_checks as checks
from quarry_dagster.orchestration import assets
from quarry_dagster.profiles.settings import Checks

ROOT = Path(__file__).parent.parent
BLOCK = re.compile(r"```(sh|python)\n(.*?)```", re.DOTALL)
PORT = "8733"  # of the demo, in the documents; tests that run side by side each take a free one


def _blocks(document: str = "README.md") -> list[tuple[str, str]]:
    return BLOCK.findall((ROOT / document).read_text(encoding="utf-8"))


DOCUMENTS = ["README.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))]
WITH_COMMANDS = [d for d in DOCUMENTS if any(not text.startswith("make ") for _, text in _blocks(d))]


def test_every_make_target_of_the_readme_is_run_by_ci_or_by_the_browser_tests() -> None:
    named = {line for kind, text in _blocks() if kind == "sh" for line in text.split("\n") if line.startswith("make ")}
    assert named == {"make demo", "make ui", "make test", "make test-slow", "make lint"}
    ci = (ROOT / ".ci" / "run").read_text()
    assert all(command in ci for command in named - {"make ui"})
    assert "dagster dev -w workspace.yaml" in (ROOT / "Makefile").read_text()  # what test_ui.py starts


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """A data root as `make demo` leaves it, and the port that its pages were served on."""
    folder = tmp_path_factory.mktemp("demo")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "quarry_dagster.demo", "--data", "demo-data", "--port", str(port)]
    assert "kept" in _run(command, folder, _environment())
    return folder / "demo-data", port


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "document", [pytest.param(d, marks=[] if d == "README.md" else pytest.mark.slow) for d in WITH_COMMANDS]
)
def test_a_document_works_from_top_to_bottom(document: str, demo: tuple[Path, int], tmp_path: Path) -> None:
    data, port = demo
    shutil.copytree(data, tmp_path / "demo-data")
    for name in ("workspace.yaml", "configs", "docs", "quarry_dagster"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "seeds.txt").write_text(f"http://127.0.0.1:{port}/field-guide/index.html\n")
    with serve(port):
        for kind, block in _blocks(document):
            text = block.replace(PORT, str(port))
            if kind == "python":
                _run([sys.executable, "-c", text], tmp_path, _environment())
            elif not text.startswith("make "):
                script = "\n".join(line for line in text.split("\n") if "activate" not in line)
                _run(["bash", "-euc", script], tmp_path, _environment())


def _environment() -> dict[str, str]:
    """Without settings of whoever runs the tests; the pages to crawl are on this machine."""
    found = {k: v for k, v in os.environ.items() if not k.startswith(("QUARRY_", "DAGSTER_"))}
    path = f"{Path(sys.executable).parent}:{found['PATH']}"
    return found | {"PATH": path, "QUARRY_ALLOW_ADDRESSES": "127.0.0.1/32"}


@pytest.mark.slow
def test_the_workflow_to_copy_gates_a_corpus(tmp_path: Path) -> None:
    workflow = yaml.safe_load((ROOT / "docs" / "github-actions" / "corpus.yml").read_text())
    steps = workflow["jobs"]["corpus"]["steps"]
    install, build = (step["run"] for step in steps if "run" in step)
    assert install.startswith("pip install")
    fixtures = tmp_path / "fixtures"
    fixtures.mkdir()
    page = "Rye bread keeps for a week, and longer in the cold. Mix the sour dough with flour in the evening. " * 2
    (fixtures / "pages.jsonl").write_text(json.dumps({"url": "http://a.test/1", "text": page}) + "\n")
    _run(["bash", "-euc", build], tmp_path, _environment())
    assert (tmp_path / steps[-1]["with"]["path"] / "index.html").exists()
    short = [{"url": f"http://a.test/short/{i}", "text": "Short."} for i in range(3)]
    (fixtures / "more.jsonl").write_text("".join(json.dumps(row) + "\n" for row in short))
    done = subprocess.run(["bash", "-euc", build], cwd=tmp_path, env=_environment(), capture_output=True, check=False)
    assert done.returncode == 1 and b"check extraction_yield of extracted_text" in done.stderr


def test_the_checks_and_bounds_of_the_documents_are_the_ones_there_are() -> None:
    text = (ROOT / "docs" / "ci.md").read_text()
    bounds = yaml.safe_load(text.rpartition("```yaml\n")[2].partition("```")[0])["checks"]
    assert bounds == Checks().model_dump()
    asset, found = "", set()
    for row in re.findall(r"^\| (`\w+`)? ?\| `(\w+)` \| (error|warning) \|", text, re.MULTILINE):
        asset = row[0].strip("`") or asset
        found.add((asset, row[1], row[2] == "error"))
    specs = [spec for definition in (*checks.ALL, *assets.ALL) for spec in definition.check_specs]
    assert found == {(spec.asset_key.to_user_string(), spec.name, spec.blocking) for spec in specs}


def test_links_of_the_documents_lead_somewhere() -> None:
    for document in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\((?!http)([^)#]+)\)", document.read_text(encoding="utf-8")):
            assert (document.parent / target).exists(), f"{document.name}: {target}"


def _run(command: list[str], folder: Path, environment: dict[str, str]) -> str:
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr
