"""Models made from other models: made once on a machine, kept in the user's cache with what they were made from."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from filelock import FileLock

from quarry_dagster.environment import cache_folder
from quarry_dagster.errors import ModelError

_RECIPE = "recipe.json"


def made_once(recipe: dict[str, Any], make: Callable[[Path], dict[str, Any]]) -> tuple[Path, dict[str, Any]]:
    """The folder of a model made by this recipe, and what `make` noted; made now if there is none or it is damaged.

    `make` fills the folder that it is given and returns what is worth knowing of the result. All files are kept
    with their digests, which are checked each time.

    Raises:
        ModelError: the cache cannot be written.
    """
    folder = _folder_of(recipe)
    if (facts := _intact(folder)) is not None:
        return folder, facts
    check_writable()
    with FileLock(cache_folder() / "models.lock"):
        if (facts := _intact(folder)) is not None:  # another process was first
            return folder, facts
        new = folder.with_name(f"{folder.name}.new")
        shutil.rmtree(new, ignore_errors=True)  # left by a killed process
        new.mkdir()
        try:
            facts = make(new)
            files = {p.name: _digest(p) for p in new.iterdir()}
            (new / _RECIPE).write_text(json.dumps({"recipe": recipe, "facts": facts, "sha256": files}, indent=1))
            shutil.rmtree(folder, ignore_errors=True)
            new.rename(folder)
        finally:
            shutil.rmtree(new, ignore_errors=True)
    return folder, facts


def is_made(recipe: dict[str, Any]) -> bool:
    """Whether the model of this recipe is there as it was made."""
    return _intact(_folder_of(recipe)) is not None


def check_writable() -> None:
    """Make the folder of made models, if it is not there.

    Raises:
        ModelError: it cannot be written.
    """
    folder = cache_folder() / "models"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (cache_folder() / "models.lock").touch()
    except OSError as e:
        raise ModelError(
            f"cannot write {folder}, where models that are made here are kept: {e.strerror or e}; "
            "set XDG_CACHE_HOME to a folder that can be written"
        ) from e


def _folder_of(recipe: dict[str, Any]) -> Path:
    name = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:16]
    return cache_folder() / "models" / f"{recipe['backend']}-{name}"


def _intact(folder: Path) -> dict[str, Any] | None:
    """What is noted of the model in this folder, if it is there as it was made."""
    try:
        noted = json.loads((folder / _RECIPE).read_text())
    except (OSError, ValueError):  # a power cut leaves an empty file
        return None
    same = all((folder / f).is_file() and _digest(folder / f) == sha256 for f, sha256 in noted["sha256"].items())
    return noted["facts"] if same else None


def _digest(path: Path) -> str:
    with path.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()
