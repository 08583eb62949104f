"""The house holds: the public face is complete, the store stands on nothing, imports make no circle, doors are one."""

import ast
import inspect
import re
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import get_args

import pytest

import quarry_dagster
from quarry_dagster import errors
from quarry_dagster.extract.extractors import EXTRACTORS
from quarry_dagster.orchestration import assets
from quarry_dagster.profiles.settings import Extraction
from quarry_dagster.quality.signals import SIGNALS
from quarry_dagster.store import schemas

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "quarry_dagster"


def _modules() -> dict[str, Path]:
    """All modules of the package by name."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def _imported(path: Path, modules: dict[str, Path]) -> set[str]:
    """The modules of the package that are imported when this one is: functions and type checking left out."""
    found: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ImportFrom) and node.module:
            inside = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= (inside & modules.keys()) | ({node.module} if inside - modules.keys() else set())
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found & modules.keys()


def test_no_import_goes_in_a_circle() -> None:
    modules = _modules()
    graph = {name: _imported(path, modules) for name, path in modules.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as e:
        pytest.fail(" -> ".join(e.args[1]))


def test_the_package_imports_neither_tests_nor_benchmarks() -> None:
    outside = re.compile(r"^\s*(?:from|import) (?:benchmarks|quarry_dagster_tests)\b", re.MULTILINE)
    assert [path for path in PACKAGE.rglob("*.py") if outside.search(path.read_text())] == []


def test_the_store_knows_nothing_above_it() -> None:
    modules = _modules()
    below = {f"quarry_dagster.{name}" for name in ("errors", "digests", "urls", "processes")}
    for name, path in modules.items():
        if name.startswith("quarry_dagster.store"):
            above = {m for m in _imported(path, modules) if not m.startswith("quarry_dagster.store")} - below
            assert not above, f"{name} imports {above}"


def test_what_a_manifest_or_a_footer_holds_is_known_in_the_store_alone() -> None:
    names = re.compile(r"manifest\.json|CURRENT\.json|key_value_metadata|\.metadata\.metadata|\[\"inputs\"\]")
    rooms = ("store", "exports")  # what is exported has a manifest of its own
    found = [p for p in PACKAGE.rglob("*.py") if p.parent.name not in rooms and names.search(p.read_text())]
    outside = [p for p in found if p.name != "export.py"]
    assert outside == []


def test_the_public_face_is_complete_and_documented() -> None:
    helpers = {"annotations", "importlib", "TYPE_CHECKING", "Any"}
    defined = {name for name, member in vars(quarry_dagster).items() if not inspect.ismodule(member)}
    assert {name for name in defined if not name.startswith("_")} - helpers <= set(quarry_dagster.__all__)
    documents = (ROOT / "README.md").read_text() + (ROOT / "docs" / "results.md").read_text()
    for name in quarry_dagster.__all__:
        member = getattr(quarry_dagster, name)
        assert inspect.getdoc(member), f"{name} has no docstring"
        assert f"quarry_dagster.{name}(" in documents, f"no document shows {name}"


def test_reading_a_corpus_loads_nothing_but_what_reads_it(tmp_path: Path) -> None:
    code = f"""
import sys, quarry_dagster
quarry_dagster.scan("deduped_corpus", data={str(tmp_path)!r}).collect()
heavy = ("dagster", "pynvml", "psutil", "pydantic", "multiprocessing", "pyarrow", "torch", "faiss")
print(*[name for name in heavy if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_the_tree_of_errors_is_drawn_whole() -> None:
    drawn = set(re.findall(r"[├└]── (\w+)", errors.__doc__ or "")) | {"QuarryError"}
    there = {name for name, member in vars(errors).items() if inspect.isclass(member)}
    assert drawn == there
    below = re.compile(rf"^class (\w+)\((?:{'|'.join(drawn)})\)", re.MULTILINE)
    elsewhere = {name for path in PACKAGE.rglob("*.py") for name in below.findall(path.read_text())} - there
    assert elsewhere == set(), "an error that a user can meet stands in errors.py"


def test_every_asset_has_a_file_of_its_name_and_a_place_in_the_list() -> None:
    files = {path.stem for path in (PACKAGE / "orchestration" / "assets").glob("*.py")} - {"__init__", "reporting"}
    assert files == set(assets.NAMES)


def test_every_column_has_a_meaning_and_a_row_in_the_documents() -> None:
    documents = (ROOT / "docs" / "tables.md").read_text()
    tables = (schemas.RAW_PAGES, schemas.EXTRACTED_TEXT, schemas.embeddings_schema(1), schemas.DEDUPED_CORPUS)
    tables += (schemas.PROBLEMS, schemas.CONSENT, schemas.FILTER_DECISIONS, schemas.quality_signals_schema())
    columns = {column for schema in (*tables, schemas.DEDUP_DECISIONS) for column in schema}
    assert columns - schemas.MEANINGS.keys() == set()
    assert {column for column in columns if f"`{column}`" not in documents} == set()


def test_every_signal_is_in_the_documents_with_its_formula_and_source() -> None:
    rows = (ROOT / "docs" / "quality.md").read_text()
    missing = [each.name for each in SIGNALS if f"| `{each.name}` | {each.formula} | {each.source} |" not in rows]
    assert missing == []
    assert all(re.search(r"_v\d+$", each.name) for each in SIGNALS)


def test_every_extractor_is_a_mode_of_the_profile_and_the_other_way_round() -> None:
    assert EXTRACTORS.keys() == set(get_args(Extraction.model_fields["mode"].annotation))
    assert {extractor.name.rsplit(" ", 1)[1] for extractor in EXTRACTORS.values()} == EXTRACTORS.keys()


def test_what_holds_a_sentence_of_the_guide_is_there() -> None:
    """Each row of docs/guide.md names tests and benchmarks that there are, a document, or what is still lacking."""
    lines = [line for line in (ROOT / "docs" / "guide.md").read_text().splitlines() if line.startswith("| ")]
    rows = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    assert len(rows) > 150 and {len(row) for row in rows} == {3}
    named = 0
    for *_, held_by in rows:
        tests = re.findall(r"`(test_\w+\.py)::(\w+)`", held_by)
        for file, test in tests:
            found = re.search(rf"^(?:def )?{test}\b", (ROOT / "quarry_dagster_tests" / file).read_text(), re.MULTILINE)
            assert found, f"{file} has no {test}"
        commands = re.findall(r"`python -m (benchmarks\.\w+)`", held_by)
        assert all((ROOT / f"{command.replace('.', '/')}.py").exists() for command in commands), held_by
        others = re.search(r"a document|needs a GPU|later: (?:service|containers)|held by|---", held_by)
        assert tests or commands or others, held_by
        named += len(tests)
    assert named > 100


def test_the_code_names_decisions_that_are_written() -> None:
    written = " ".join((ROOT / "docs" / "decisions.md").read_text().split())
    titles = [re.sub(r"[.,:]$", "", title) for title in re.findall(r"\*\*(.+?)\*\*", written)]
    named = 0
    for path in PACKAGE.rglob("*.py"):
        for sentence in re.findall(r"Why so: (.*?) in docs/decisions\.md\.", " ".join(path.read_text().split())):
            for title in re.findall(r'"(.+?)"', sentence):
                named += 1
                assert title in titles, f"{path.relative_to(ROOT)} names {title!r}"
    assert named > 20
