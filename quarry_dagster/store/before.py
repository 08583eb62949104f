"""Data roots of before there was a log: what is in them, from listing and footers, as the first commit says it.

There the highest version of a partition was current, a file CURRENT.json named what is published, and what is now a
value of the log was a JSON file each. Nothing is copied or moved. The first commit of this version brings a root over;
who only reads finds the same without it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import polars as pl

from quarry_dagster.errors import StoreError
from quarry_dagster.store.schemas import BATCHES
from quarry_dagster.store.state import Line
from quarry_dagster.urls import FIRST_FORM, FORMS

if TYPE_CHECKING:
    from quarry_dagster.store.files import Files

TABLES = (
    *("batches", "raw_pages", "extracted_text", "page_metadata", "personal_data", "quality_signals"),
    *("embeddings", "sketches"),
)
ASSETS = ("faiss_index", "deduped_corpus")
_VALUES = {
    "root.json": "root",
    "forgotten.json": "forgotten/",
    "intake/ledger.json": "ledger/",
    "checks/failed.json": "failed/",
    "takedown.json": "takedown",
}
"""The JSON files of before, and the keys of their values; one that ends with "/" has a value for each key in it."""
_SHAPES: dict[str, Callable[[dict[str, Any]], bool]] = {
    "root.json": lambda said: _is_root(said),
    "forgotten.json": lambda said: all(map(_is_day, said.values())),
    "intake/ledger.json": lambda said: all(isinstance(e, dict) and {*e} >= _ENTRY for e in said.values()),
    "checks/failed.json": lambda said: all(isinstance(each, dict) for each in said.values()),
    "takedown.json": lambda _: True,
}
"""Whether each is as it was written."""
_ENTRY = {"state", "urls", "added", "replaced", "problem_count", "problems"}
MARK = "batches/.quarry/this data root was written by a later version of QuarryCore, upgrade this one.parquet"
"""A version of before takes it for a batch, and fails with these words."""
_KEY = b"quarry"


def read(files: Files) -> list[Line]:
    """The lines that say what a root without a log holds; none where nothing is there.

    Raises:
        StoreError: the root had a log, which is gone; or a file is damaged.
    """
    if files.exists(MARK):
        raise StoreError(
            f"{files.url('log')} is gone, and without it nobody knows what counts: restore it from a backup, or make "
            "it again from what is there: quarry check --rebuild-log (docs/operate.md, 'A damaged log')"
        )
    return list(found(files))


def mark(files: Files) -> None:
    """Have versions of before say that a later one wrote here."""
    if not files.exists(MARK):
        files.write_frame(MARK, pl.DataFrame(schema=BATCHES))


def leftovers(files: Files) -> Iterator[str]:
    """Yield the files of before that the log has taken the place of."""
    for path in (*_VALUES, *(f"{asset}/CURRENT.json" for asset in ASSETS)):
        if files.exists(path):
            yield path


def found(files: Files) -> Iterator[Line]:
    """Yield the lines that say what lies in a root, by the names of its files."""
    for table in TABLES:
        yield from _partitions(files, table)
    for asset in ASSETS:
        yield from _published(files, asset)
    for path in files.list("warc"):
        yield {"add": {"path": path, "bytes": files.size(path), "sha256": None}}
    for path, key in _VALUES.items():
        if files.exists(path):
            yield from _value(files, path, key)


def _is_day(said: Any) -> bool:
    """Whether this is what was said of a forgotten page: the day, or day and form of its URL."""
    if isinstance(said, dict):
        return isinstance(said.get("day"), str) and said.get("urls") in FORMS
    return isinstance(said, str)


def _is_root(said: Mapping[str, Any]) -> bool:
    """Whether this is what a root said of itself."""
    settings = said.get("settings") or {}
    if not isinstance(settings, dict) or not isinstance(said.get("made_with", {}), dict):
        return False
    sections = (value for name, value in settings.items() if name not in ("name", "description"))
    is_form = said.get("urls", FIRST_FORM) in FORMS if isinstance(said.get("urls", FIRST_FORM), str) else False
    return is_form and all(isinstance(s, dict) for s in sections) and isinstance(said.get("confirmed", []), list)


def _partitions(files: Files, table: str) -> Iterator[Line]:
    """Yield a line for the current version of each partition."""
    current: dict[str, tuple[int, str]] = {}
    for path in files.list(table):
        parts = path.split("/")
        number = parts[-1].removesuffix(".parquet").partition("-")[0]
        if len(parts) == 3 and path.endswith(".parquet") and number.isdigit():
            current[parts[1]] = max((int(number), path), current.get(parts[1], (0, "")))
    for partition, (_, path) in sorted(current.items()):
        said = {"table": table, "partition": partition, "path": path, "over": None}
        yield {"add": {**said, **_footer(files, path), "bytes": files.size(path), "sha256": None}}


def _footer(files: Files, path: str) -> dict[str, Any]:
    """How many rows a segment has, and what its writer noted."""
    with files._parquet(path, None) as f:
        stored = (f.metadata.metadata or {}).get(_KEY, b"{}")
        rows = f.metadata.num_rows
    try:
        return {"rows": rows, "notes": json.loads(stored)}
    except ValueError as e:
        raise files.damaged(path, "the notes in its footer are not as they were written") from e


def _published(files: Files, asset: str) -> Iterator[Line]:
    """Yield the lines for what is published of an asset, and what was before it."""
    path = f"{asset}/CURRENT.json"
    if not files.exists(path):
        return
    pointer = files.read_json(path)
    try:
        numbers = [int(n) for n in (pointer["previous"], pointer["snapshot"]) if n is not None]
    except KeyError as e:
        raise files.damaged(path, f"it lacks {e}") from e
    except (TypeError, ValueError) as e:
        raise files.damaged(path, "it is not as it was written") from e
    there = [number for number in numbers if files.exists(f"{asset}/{number:06d}/manifest.json")]
    named = [path for path in files.list(asset) if path.rsplit("/", 1)[-1] != "CURRENT.json"]
    for path in named:
        yield {"add": {"path": path, "bytes": files.size(path), "sha256": None}}
    for number in there:
        manifest = f"{asset}/{number:06d}/manifest.json"
        kept = [n for n in there if n < number]
        yield {"publish": {"asset": asset, "number": number, "manifest": manifest, "kept": kept}}


def _value(files: Files, path: str, key: str) -> Iterator[Line]:
    """Yield the lines for what a JSON file held."""
    stored = files.read_json(path)
    if not isinstance(stored, dict) or not _SHAPES[path](stored):
        raise files.damaged(path, "it is not as it was written")
    if not key.endswith("/"):
        yield {"set": {"key": key, "value": stored}}
        return
    for name, value in stored.items():
        yield {"set": {"key": f"{key}{name}", "value": value}}
