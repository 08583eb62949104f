"""Every command and every snippet of the README works, in its order."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from quarry_dagster.demo.__main__ import serve

ROOT = Path(__file__).parent.parent
BLOCK = re.compile(r"```(sh|python)\n(.*?)```", re.DOTALL)
PORT = 8733


def _blocks() -> list[tuple[str, str]]:
    return BLOCK.findall((ROOT / "README.md").read_text(encoding="utf-8"))


def test_every_make_target_of_the_readme_is_run_by_ci_or_by_the_browser_tests() -> None:
    named = {line for kind, text in _blocks() if kind == "sh" for line in text.split("\n") if line.startswith("make ")}
    assert named == {"make demo", "make ui", "make test", "make lint"}
    ci = (ROOT / ".ci" / "run").read_text()
    assert all(command in ci for command in named - {"make ui"})
    assert "dagster dev -w workspace.yaml" in (ROOT / "Makefile").read_text()  # what test_ui.py starts


@pytest.mark.timeout(300)
def test_the_readme_works_from_top_to_bottom(tmp_path: Path) -> None:
    for name in ("workspace.yaml", "configs", "docs", "quarry_dagster"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "seeds.txt").write_text(f"http://127.0.0.1:{PORT}/field-guide/index.html\n")
    bin_folder = Path(sys.executable).parent
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("QUARRY_", "DAGSTER_"))}
    environment |= {"PATH": f"{bin_folder}:{environment['PATH']}", "QUARRY_ALLOW_ADDRESSES": "127.0.0.1/32"}
    # `make demo`, in this environment
    demo = [sys.executable, "-m", "quarry_dagster.demo", "--data", "demo-data", "--port", str(PORT)]
    assert "kept" in _run(demo, tmp_path, environment)
    with serve(PORT):
        for kind, text in _blocks():
            if kind == "python":
                assert _run([sys.executable, "-c", text], tmp_path, environment).strip()
            elif not text.startswith("make "):
                script = "\n".join(line for line in text.split("\n") if "activate" not in line)
                assert _run(["bash", "-euc", script], tmp_path, environment).strip()
    assert (tmp_path / "corpus.parquet").stat().st_size > 0


def test_links_of_the_documents_lead_somewhere() -> None:
    for document in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\((?!http)([^)#]+)\)", document.read_text(encoding="utf-8")):
            assert (document.parent / target).exists(), f"{document.name}: {target}"


def _run(command: list[str], folder: Path, environment: dict[str, str]) -> str:
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr
