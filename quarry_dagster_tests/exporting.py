"""Making exports of a corpus of sixty documents, and reading them."""

import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from quarry_dagster.exports import Exported, export
from quarry_dagster.profiles.settings import Export
from quarry_dagster_tests.corpus import Corpus, profile, words


def documents() -> list[dict[str, Any]]:
    """Sixty documents on thirty domains, with own columns, and one that holds an address."""
    rows = [
        {
            "url": f"https://www.site{i % 30}.example/{i}",
            "text": words(i) + (" Write to jo.doe@corp-mail.org or call +44 20 7946 0958." if i == 7 else ""),
            "topic": "a" if i % 2 else "b",
            "title": f"Title {i}",
        }
        for i in range(60)
    ]
    rows[3]["title"] = "<script>alert(1)</script> | `x`\n# \x1b[31mred"
    return rows


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    corpus = Corpus(tmp_path_factory.mktemp("exports") / "data", profile())
    corpus.seed("a.jsonl", "".join(json.dumps(row) + "\n" for row in documents()))
    corpus.run()
    return corpus


@pytest.fixture
def corpus(made: Corpus, tmp_path: Path) -> Corpus:
    return made.copy(tmp_path / "data")


def write(corpus: Corpus, to: Path, **settings: Any) -> Exported:
    given = {name: settings.pop(name) for name in ("since", "force") if name in settings}
    wanted = Export.model_validate({"format": "parquet", "to": str(to), **settings})
    return export(corpus.store, wanted, str(to), **given)


def rows_of(to: Path, split: str = "*") -> pl.DataFrame:
    return pl.read_parquet(sorted(to.glob(f"data/{split}-*.parquet")))


def lines_of(to: Path) -> list[dict[str, Any]]:
    zstd = import_module("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")
    return [json.loads(line) for path in sorted(to.glob("data/*.zst")) for line in zstd.open(path, "rt")]


def bytes_of(to: Path) -> dict[str, bytes]:
    return {str(path.relative_to(to)): path.read_bytes() for path in sorted(to.rglob("*")) if path.is_file()}
